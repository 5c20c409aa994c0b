"""The demo, small: the real stack, two filters with the shipped model, a sink, and a check of every record."""

import re
from pathlib import Path

import pytest

from deploy.local.leash import ROOT
from tests.test_front_desk import smsift

LINE = re.compile(
    r"demo: events=(\d+) verdicts=(\d+) spam=(\d+) ham=(\d+) dead=(\d+) rows=(\d+) lost=(\d+) duplicated=(\d+) "
    r"accuracy=(\d\.\d{3}) p99_ms=(\d+)( false_positives=\d+)?"
)


@pytest.mark.slow
def test_the_demo_loses_nothing_and_ends_with_one_line_for_scripts() -> None:
    answer = smsift("demo", "--count", "500", "--rate", "100", cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    match = LINE.fullmatch(answer.stdout.strip().splitlines()[-1])
    assert match
    events, verdicts, spam, ham, dead, rows, lost, duplicated = (int(group) for group in match.groups()[:8])
    assert events == 500
    assert verdicts == spam + ham
    assert rows == verdicts + dead == events
    assert dead > 0
    assert lost == duplicated == 0
    assert float(match[9]) > 0.9
    assert match[11] is None


@pytest.mark.slow
def test_the_demo_on_a_corpus_of_ones_own_counts_false_positives(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("ham\tSee you at lunch\nspam\tWINNER!! Claim your 900 prize, call 09061701461 now\n" * 20)
    answer = smsift("demo", "--corpus", str(corpus), "--count", "60", "--filters", "1", cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    match = LINE.fullmatch(answer.stdout.strip().splitlines()[-1])
    assert match
    assert match[11] == " false_positives=0"
