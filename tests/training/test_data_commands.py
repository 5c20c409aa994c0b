"""`smsift data` as a person types it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import smsift
from schemas.errors import UserError
from tests.training.tiny import corpus


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a person works: no settings but the defaults, two corpora."""
    logger = logging.getLogger("smsift")
    before = logger.handlers[:], logger.propagate, logger.level
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_STORE", "LOCAL_DIR"):
        monkeypatch.delenv(f"SMSIFT_{name}", raising=False)
    for name, rows in (("ours", corpus(120)), ("theirs", corpus(40, seed=9))):
        lines = [json.dumps({"msg text": text, "kind": label}) for text, label in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    yield tmp_path
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


def data(*arguments: str) -> Result:
    answer = CliRunner().invoke(smsift.app, ["data", *arguments])
    if isinstance(answer.exception, UserError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer


def test_what_is_added_is_listed_and_pulled_as_a_corpus_again(folder: Path) -> None:
    added = data("add", "ours.jsonl:msg text:kind", "--held-out", "theirs.jsonl:msg text:kind", "--seed", "3")
    digest = added.stdout.strip()
    assert len(digest) == 64
    (listed,) = [json.loads(line) for line in data("list", "--json").stdout.splitlines()]
    assert listed["digest"] == digest
    assert listed["options"]["seed"] == 3
    assert digest[:12] in data("list").stdout
    assert f"{sum(listed['rows'].values()):,} rows" in data("pull", digest[:8]).stdout
    data("pull", digest, "--out", "pulled.jsonl")
    rows = [json.loads(line) for line in (folder / "pulled.jsonl").read_text().splitlines()]
    assert {split: sum(row["split"] == split for row in rows) for split in listed["rows"]} == listed["rows"]
    assert {row["text"] for row in rows} <= {text for text, _ in (*corpus(120), *corpus(40, seed=9))}
    data("describe", "pulled.jsonl")


def test_the_same_data_and_seed_give_the_same_digest_wherever_the_store_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data("add", "ours.jsonl:msg text:kind").stdout
    monkeypatch.setenv("SMSIFT_DATA_STORE", "memory://elsewhere")
    assert data("add", "ours.jsonl:msg text:kind").stdout == first
    assert first.strip()[:12] in data("list").stdout


def test_describe_compares_with_files_snapshots_and_the_test_sets_of_all_of_them(folder: Path) -> None:
    ours = "ours.jsonl:msg text:kind"
    digest = data("add", ours).stdout.strip()
    (line,) = data("describe", ours, "--json", "--against", ours, "--against", digest[:12]).stdout.splitlines()
    about = json.loads(line)
    overlaps = {each["name"]: each["same"] + each["similar"] for each in about["overlaps"]}
    rows = about["labels"]["spam"] + about["labels"]["ham"]
    assert overlaps[ours] == rows
    assert 0 < overlaps["test set ours"] < overlaps[f"snapshot {digest[:12]}"] == rows
    (line,) = data("describe", ours, "--json", "--no-snapshots").stdout.splitlines()
    assert json.loads(line)["overlaps"] == []


def test_describe_shows_a_table_and_writes_a_page_without_any_text(folder: Path) -> None:
    answer = data("describe", "ours.jsonl:msg text:kind", "theirs.jsonl:msg text:kind", "--html", "page.html")
    page = (folder / "page.html").read_text()
    assert "ours" in answer.stdout
    assert "theirs" in answer.stdout
    for text, _ in corpus(120):
        assert text not in answer.stdout + page


def test_an_empty_store_and_an_unknown_digest_are_answered_with_the_next_step(folder: Path) -> None:
    assert "smsift data add" in data("list").stdout
    with pytest.raises(UserError, match="smsift data list"):
        data("pull", "abcdef12")


def test_a_corpus_called_like_a_split_is_told_apart_from_it(folder: Path) -> None:
    (folder / "ours.jsonl").rename("train.jsonl")
    (folder / "theirs.jsonl").rename("validation.jsonl")
    added = data("add", "train.jsonl:msg text:kind", "--held-out", "validation.jsonl:msg text:kind")
    (listed,) = [json.loads(line) for line in data("list", "--json").stdout.splitlines()]
    rows = listed["rows"]
    assert f"train {rows['train']}, validation {rows['validation']}; tests: " in added.stderr
    tests = added.stderr.partition("tests: ")[2].splitlines()[0]
    assert set(tests.split(", ")) == {f"train {rows['test:train']}", f"validation {rows['test:validation']}"}


@pytest.mark.parametrize(
    ("given", "sentence"), [("abc", "No snapshot begins with abc:"), ("f" * 64, "no snapshot ffff")]
)
def test_a_snapshot_that_is_not_there_is_one_sentence(folder: Path, given: str, sentence: str) -> None:
    assert folder.is_dir()
    with pytest.raises(UserError, match=sentence):
        data("pull", given)
