import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode import Rejection, Sms, _plain, decode
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
    assert isinstance(event, Sms)
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
    assert isinstance(decode(value, [("schema", b"sms.event/1"), ("other", None)]), Sms)
    assert isinstance(decode(value, []), Sms)


# Close to valid, so that both readers have something to disagree about.
FIELD = {
    "event_id": st.one_of(st.text(max_size=66), st.integers()),
    "sender": st.one_of(st.text(max_size=14), st.from_regex(r"\+?[0-9]{1,17}", fullmatch=True), st.just("+44\n")),
    "recipient": st.text(alphabet="+0123456789\n٣ A\x7f\x85\u200b", max_size=18),
    "text": st.one_of(
        st.text(max_size=20), st.text(alphabet="a\ud800", max_size=3), st.just("é" * 1600), st.just("a" * 1601)
    ),
    "received_at": st.one_of(
        st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        st.datetimes().map(lambda moment: moment.isoformat() + "+05:30"),
        st.sampled_from(
            ["2026-01-02", "2026-01-02 03:04:05Z", "1969-12-31T23:59:59.999Z", "2026-01-02T03:04:60Z", 5, 1e30]
        ),
        st.sampled_from(
            ["2261-12-31T23:59:59Z", "2262-01-01T00:00:00Z", "2026-01-02t03:04:05z", "2026-01-02T24:00:00Z"]
        ),
    ),
    "tenant": st.one_of(st.none(), st.text(max_size=66)),
    "country": st.one_of(st.none(), st.sampled_from(["GB", "gb", "G", "GB\n", "ÄÖ", 3])),
    "encoding": st.one_of(st.none(), st.text(max_size=34)),
    "udh": st.sampled_from([None, {"reference": 1, "total": 2, "sequence": 1}, {"reference": -1}, 5]),
    "unknown": st.integers(),
}


@settings(max_examples=1500, deadline=None)
@given(st.fixed_dictionaries({}, optional=FIELD), st.booleans(), st.integers(0, 400), st.binary(max_size=2))
def test_what_the_fast_reader_accepts_the_contract_accepts_with_the_same_values(
    fields: dict[str, Any], escaped: bool, place: int, noise: bytes
) -> None:
    whole = json.dumps(GOOD | fields, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    for value in (whole, whole[:place] + noise + whole[place + len(noise) :]):
        fast = _plain(value)
        if fast is not None:
            slow = SmsEvent.model_validate_json(value)
            assert {name: getattr(fast, name) for name in Sms.__struct_fields__} == {
                name: getattr(slow, name) for name in Sms.__struct_fields__
            }


def test_plain_records_take_the_fast_way_and_others_still_arrive() -> None:
    plain = GOOD | {"received_at": "2026-01-02T03:04:05.678901Z"}
    assert _plain(json.dumps(plain).encode())
    for odd in ({"received_at": "2026-01-02T03:04:05"}, {"udh": {"reference": 1, "total": 2, "sequence": 1}}):
        value = json.dumps(GOOD | odd).encode()
        assert _plain(value) is None
        assert isinstance(decode(value, None), Sms)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ('"x": ' + "[" * 20_000 + "]" * 20_000, {"not_json"}),
        ('"udh": ' + '{"a":' * 3_000 + "1" + "}" * 3_000, {"not_json", "bad_field", "missing_field"}),
        ('"received_at": "9999-12-31T23:59:59-01:00"', {"timestamp_out_of_range"}),
        ('"received_at": "0001-01-01T00:00:00+01:00"', {"timestamp_out_of_range"}),
    ],
)
def test_no_record_can_make_the_decoder_throw(changes: str, reason: set[str]) -> None:
    value = json.dumps(GOOD)[:-1] + ", " + changes + "}"
    result = decode(value.encode(), None)
    assert isinstance(result, Rejection)
    assert result.reason in reason
