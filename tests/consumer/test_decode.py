import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decode import Rejection, decode
from schemas.events import SmsEvent

GOOD: dict[str, Any] = {
    "event_id": "1",
    "sender": "+447700900001",
    "recipient": "MyBank",
    "text": "hello",
    "received_at": "2026-01-02T03:04:05+02:00",
}


def test_a_valid_record_is_an_event_in_utc() -> None:
    event = decode(json.dumps(GOOD).encode(), None)
    assert isinstance(event, SmsEvent)
    assert event.received_at.isoformat() == "2026-01-02T01:04:05+00:00"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_rejection_with_a_sentence(value: bytes) -> None:
    result = decode(value, None)
    assert isinstance(result, Rejection)
    assert result.detail.endswith(".")


@given(st.dictionaries(st.sampled_from([*GOOD, "udh", "country"]), st.one_of(st.text(), st.integers(), st.none())))
def test_no_detail_repeats_what_was_in_the_record(changes: dict[str, Any]) -> None:
    secret = "Zq9secretZq9"
    marked = {name: f"{secret}\x00{value}" * 3 for name, value in changes.items()}
    result = decode(json.dumps(GOOD | marked).encode(), None)
    assert not isinstance(result, Rejection) or secret not in result.detail


def test_the_detail_names_fields_and_what_is_allowed_and_stays_short() -> None:
    result = decode(b'{"text": 7, "udh": {"reference": 1, "total": 0, "sequence": 1}}', None)
    assert isinstance(result, Rejection)
    assert result.reason == "missing_field"
    assert result.detail == ("event_id: Field required; sender: Field required; recipient: Field required; and 3 more.")


@pytest.mark.parametrize(
    ("schema", "reason", "own_fault"),
    [
        (b"sms.event/2", "unknown_schema", True),
        (b"sms.event/x", "wrong_schema", False),
        (b"junk", "wrong_schema", False),
    ],
)
def test_only_a_plausible_newer_version_is_our_own_fault(schema: bytes, reason: str, own_fault: bool) -> None:
    result = decode(json.dumps(GOOD).encode(), [("schema", schema)])
    assert isinstance(result, Rejection)
    assert (result.reason, result.own_fault) == (reason, own_fault)


def test_the_current_schema_and_a_record_without_one_are_both_read() -> None:
    value = json.dumps(GOOD).encode()
    assert isinstance(decode(value, [("schema", b"sms.event/1"), ("other", None)]), SmsEvent)
    assert isinstance(decode(value, []), SmsEvent)
