"""Records become rows by their content alone; what is not what it should be becomes a dead letter's row."""

import hashlib
import json
from datetime import datetime
from typing import Any

import pytest

from consumer.sink.rows import DEAD_LETTERS, LABELS, VERDICTS, Place, Row, RowMaker, Table
from schemas.events import Verdict
from schemas.topics import Topics
from tests.sink.support import YESTERDAY, dead_headers, label, verdict

TOPICS = Topics()
MAKER = RowMaker(TOPICS)
TIMESTAMP = 1_767_322_800_000
YESTERDAY_MS = round(datetime.fromisoformat(f"{YESTERDAY}T03:04:05.678+00:00").timestamp() * 1000)


def read(topic: str, value: Any, headers: Any = None, timestamp: int = TIMESTAMP) -> tuple[Table, Row]:
    raw = json.dumps(value).encode() if isinstance(value, dict) else value
    return MAKER.make(raw, Place(topic, "topic-id", 3), 41, lambda: headers, lambda: (1, timestamp))


def named(read_row: tuple[Table, Row]) -> dict[str, Any]:
    table, row = read_row
    return dict(zip(table.columns, row, strict=True))


def test_a_verdict_becomes_a_row_with_every_field() -> None:
    value = verdict(
        7,
        tenant="acme",
        category=None,
        received_at="2026-01-02T03:04:05.678901Z",
        scored_at="2026-01-02T05:04:06+02:00",
    )
    read_row = read(TOPICS.spam, value)
    assert read_row[0] is VERDICTS
    row = named(read_row)
    same = set(value) - {"received_at", "scored_at", "signals", "category"}
    assert {name: row[name] for name in same} == {name: value[name] for name in same}
    assert row["signals"] == ("url", "homoglyphs")
    assert (row["tenant"], row["category"], row["country"], row["run"]) == ("acme", "", "", "")
    assert row["received_at"] == 1_767_323_045_678
    assert row["scored_at"] == 1_767_323_046_000


def test_a_verdict_without_text_has_an_empty_one() -> None:
    row = named(read(TOPICS.ham, verdict(1, text=None, text_mode="drop")))
    assert (row["text"], row["text_mode"]) == ("", "drop")


def test_a_label_is_versioned_by_its_offset() -> None:
    read_row = read(TOPICS.labels, label(5, category="parcel"))
    assert read_row[0] is LABELS
    assert read_row[1][:4] == ("e5", "ann", "spam", "parcel")
    assert named(read_row)["version"] == 41


def test_a_dead_letter_keeps_reason_source_size_and_digest_and_not_the_bytes() -> None:
    read_row = read(TOPICS.dead, b"somebody's text", dead_headers(9))
    assert read_row[0] is DEAD_LETTERS
    row = named(read_row)
    assert (row["source_topic"], row["source_partition"], row["source_offset"]) == ("sms.inbound", 1, 9)
    assert (row["record_topic"], row["record_partition"], row["record_offset"]) == (TOPICS.dead, 3, 41)
    assert (row["size"], row["digest"]) == (15, hashlib.sha256(b"somebody's text").hexdigest())
    assert "somebody" not in repr(read_row[1])


def test_a_tombstone_has_no_size_and_no_digest() -> None:
    row = named(read(TOPICS.dead, None, dead_headers(9, reason="tombstone")))
    assert (row["size"], row["digest"]) == (0, "")


UNREADABLE: dict[str, tuple[str, Any, Any]] = {
    "a null verdict": (TOPICS.spam, None, None),
    "a verdict that is not JSON": (TOPICS.spam, b"secret", None),
    "a verdict that is not UTF-8": (TOPICS.spam, b'{"text": "\xff"}', None),
    "a list": (TOPICS.ham, b"[]", None),
    "a lone surrogate": (TOPICS.ham, json.dumps(verdict(1, text="\ud83d")).encode(), None),
    "no label": (TOPICS.ham, {k: v for k, v in verdict(1).items() if k != "label"}, None),
    "a score that is none": (TOPICS.ham, verdict(1, score="secret"), None),
    "a score above 1": (TOPICS.ham, verdict(1, score=2), None),
    "a year 1969": (TOPICS.ham, verdict(1, scored_at="1969-01-01T00:00:00Z"), None),
    "an offset larger than any": (TOPICS.ham, verdict(1, source_offset=2**64), None),
    "a partition larger than any": (TOPICS.ham, verdict(1, source_partition=2**32), None),
    "a null label": (TOPICS.labels, None, None),
    "a label of its own": (TOPICS.labels, label(1, label="secret"), None),
    "a dead letter without headers": (TOPICS.dead, b"secret", None),
    "a dead letter with half its headers": (TOPICS.dead, b"secret", dead_headers(1)[:3]),
    "a dead letter from an impossible offset": (TOPICS.dead, b"secret", dead_headers(1, source_offset=2**63)),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_becomes_a_row_under_its_own_coordinates_without_its_content(what: str) -> None:
    topic, value, headers = UNREADABLE[what]
    read_row = read(topic, value, headers)
    assert read_row[0] is DEAD_LETTERS
    row = named(read_row)
    assert (row["source_topic"], row["source_topic_id"], row["source_partition"], row["source_offset"]) == (
        topic, "topic-id", 3, 41,
    )  # fmt: skip
    assert row["reason"] == "unparsable"
    assert row["detail"].startswith(f"The sink cannot read this record of {topic}: ")
    assert row["failed_at"] == TIMESTAMP
    assert "secret" not in repr(read_row[1])


@pytest.mark.parametrize(("timestamp", "kept"), [(-1, 0), (0, 0), (TIMESTAMP, TIMESTAMP), (10**15, 0)])
def test_an_impossible_record_timestamp_becomes_1970_always(timestamp: int, kept: int) -> None:
    assert named(read(TOPICS.spam, None, timestamp=timestamp))["failed_at"] == kept


def test_the_same_record_gives_the_same_row_again() -> None:
    for topic, value, headers in [
        (TOPICS.spam, verdict(1), None),
        (TOPICS.dead, b"x", dead_headers(1)),
        *UNREADABLE.values(),
    ]:
        assert read(topic, value, headers) == read(topic, value, headers)


@pytest.mark.parametrize(
    "changes",
    [
        {"received_at": "2026-01-02T03:04:05"},  # no zone: UTC
        {"received_at": "2026-01-02T05:04:05+02:00"},
        {"received_at": 1_767_323_045},
        {"weather": "rain"},
        {"score": "0.5"},
    ],
)
def test_what_the_quick_check_refuses_is_judged_by_the_contract(changes: dict[str, Any]) -> None:
    assert named(read(TOPICS.ham, verdict(1, **changes)))["received_at"] in (1_767_323_045_000, YESTERDAY_MS)


def test_a_verdict_with_only_the_required_fields_has_the_contracts_defaults() -> None:
    required = {name: value for name, value in verdict(1).items() if Verdict.model_fields[name].is_required()}
    row = named(read(TOPICS.ham, required))
    assert (row["text"], row["text_mode"], row["signals"], row["run"]) == ("", "keep", (), "")
