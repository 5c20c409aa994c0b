"""Corpora as the commands are given them: several at once, held out or not, and the labelled verdicts of ClickHouse."""

import json
import logging
from pathlib import Path

import pytest

from consumer.settings import Settings, load_settings
from consumer.sink.writer import Writer
from schemas.corpus import CorpusSpec, Message, parse_spec
from schemas.errors import UserError
from tests.schemas.rows import LABELS, VERDICTS, write_day
from tests.schemas.rows import write as write_records
from tests.sink.support import YESTERDAY, Tables, label, verdict
from tests.stack import TestClickHouse
from tests.training.tiny import corpus
from training.corpora import read, read_and_split
from training.data import Splits


def written(path: Path, rows: list[tuple[str, str]]) -> CorpusSpec:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return CorpusSpec(path)


def split(*data: CorpusSpec, held_out: tuple[CorpusSpec, ...] = ()) -> Splits:
    return read_and_split(data, held_out, validation_share=0.25, test_share=0.25, seed=0)


def test_what_was_left_out_is_told_by_corpus_and_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("smsift"), "propagate", True)
    known = "please remember to bring the blue folder to the office on thursday morning"
    ours = [*corpus(100), (known, "ham"), (known.upper(), "ham"), ("buy this lamp", "ham"), ("Buy this lamp!", "spam")]
    ours += [("  ", "ham"), ("\u200b", "ham"), ("\ufffd\ufffd\ufffd\ufffd a", "spam"), ("nobody knows", "")]
    theirs = [(known, "ham"), (known + " thanks", "ham"), ("an entirely different text about fishing", "ham")]
    with caplog.at_level(logging.INFO, "smsift.corpus"):
        splits = split(written(tmp_path / "ours.jsonl", ours), held_out=(written(tmp_path / "theirs.jsonl", theirs),))
    counts = dict(splits.dropped.by_corpus["ours"])
    counts.pop("variant", None)
    assert counts == {"empty": 2, "unreadable": 1, "unlabelled": 1, "duplicate": 1, "conflicting": 2}
    assert splits.dropped.by_corpus["theirs"] == {"overlapping": 2}
    assert splits.dropped.conflicting == 2
    assert "left out of theirs: overlapping 2" in caplog.text
    assert "folder" not in caplog.text


def test_a_corpus_of_one_class_can_be_read_but_not_trained_on(tmp_path: Path) -> None:
    ham = written(tmp_path / "ham.jsonl", [row for row in corpus(100) if row[1] == "ham"])
    assert {message.label for message in read(ham).messages} == {"ham"}
    with pytest.raises(UserError, match="both spam and ham"):
        split(ham)
    both = written(tmp_path / "both.jsonl", corpus(100, seed=2))
    assert {each.label for each in split(both, held_out=(ham,)).tests["ham"]} == {"ham"}


def test_ten_rows_are_too_few_and_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    rows = [("win cash", "spam"), *((f"see you at the {word}", "ham") for word in "abcdefghi")]
    with pytest.raises(UserError, match="give a larger corpus"):
        split(written(tmp_path / "ten.jsonl", rows))


def test_two_corpora_of_one_name_or_none_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second = written(tmp_path / "a.jsonl", corpus(100)), written(tmp_path / "a" / "a.jsonl", corpus(100))
    with pytest.raises(UserError, match="Two corpora are named a"):
        split(first, second)
    with pytest.raises(UserError, match="At least one corpus"):
        split()


@pytest.fixture
def settings(clickhouse: TestClickHouse, database: str) -> Settings:
    Tables(clickhouse.url, database).migrate()
    return load_settings(clickhouse_url=clickhouse.url, clickhouse_database=database)


def test_verdicts_give_their_text_and_labels_the_latest_word(settings: Settings) -> None:
    write_day(settings.require_clickhouse_url(), settings.clickhouse_database)
    found = read(parse_spec(f"clickhouse:{YESTERDAY}"), settings)
    texts = {each["event_id"]: each["text"] for each in VERDICTS}
    latest = {"e0": "spam", "e3": "ham", "e5": "ham", "e6": "spam", "e7": "ham"}
    assert {(message.text, message.label) for message in found.messages} == {
        (texts[event], said) for event, said in latest.items()
    }
    assert len(found.messages) == len({each["event_id"] for each in LABELS})  # e3 has two verdicts, e7 a re-scoring
    assert Message(texts["e6"], "spam", "loan") in found.messages
    assert found.left_out == {}


def test_texts_that_were_not_kept_are_counted_and_verdicts_before_the_date_not_read(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("smsift"), "propagate", True)
    writer = Writer(settings)
    verdicts = [
        verdict(1, country="gb"),
        verdict(2, text="f" * 64, text_mode="hash"),
        verdict(3, text=None, text_mode="drop"),
        verdict(4, scored_at="2024-01-01T00:00:00Z"),
    ]
    write_records(writer, "sms.ham", [(json.dumps(each).encode(), None) for each in verdicts])
    write_records(writer, "sms.labels", [(json.dumps(label(n)).encode(), None) for n in (1, 2, 3, 4)])
    found = read(parse_spec(f"clickhouse:{YESTERDAY}T00:00:00"), settings)
    assert found.messages == [Message(verdict(1)["text"], "spam", None, None, "GB")]
    assert found.left_out == {"text_gone": 2}
    assert "2 labelled messages" in caplog.text
    with pytest.raises(UserError, match="no labelled verdicts scored since 2999"):
        read(CorpusSpec("clickhouse:2999-01-01"), settings)
    with pytest.raises(UserError, match="write clickhouse:2026-01-31"):
        read(CorpusSpec("clickhouse:yesterday"), settings)


def test_texts_that_are_all_gone_are_no_corpus(settings: Settings) -> None:
    writer = Writer(settings)
    write_records(writer, "sms.ham", [(json.dumps(verdict(3, text=None, text_mode="drop")).encode(), None)])
    write_records(writer, "sms.labels", [(json.dumps(label(3)).encode(), None)])
    with pytest.raises(UserError, match="nothing to learn from"):
        read(CorpusSpec(f"clickhouse:{YESTERDAY}"), settings)


def test_a_clickhouse_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match="Cannot use ClickHouse"):
        read(CorpusSpec("clickhouse:2026-01-01"), load_settings(clickhouse_url="http://127.0.0.1:9"))
