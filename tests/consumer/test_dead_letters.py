import hashlib
from datetime import UTC, datetime

import pytest

from consumer.dead_letters import Dead, FaultLimit, FaultWatch, Place, dead_letter
from consumer.decode import Rejection
from schemas.events import DeadLetter
from schemas.topics import DEAD_MAX_BYTES, INBOUND_MAX_BYTES

AT = datetime(2026, 1, 2, tzinfo=UTC)
PLACE = Place("sms.inbound", "id", 3, 44)
NOT_JSON = Rejection("not_json", "It is not.")


def test_a_dead_letter_holds_the_original_and_says_why_and_whence() -> None:
    letter = dead_letter(NOT_JSON, PLACE, AT, (b"k", None, [("a", b"1"), ("b", None)]), DEAD_MAX_BYTES)
    said = DeadLetter.from_headers(letter.headers)
    assert (letter.key, letter.value) == (b"k", None)
    assert (said.reason, said.source_partition, said.source_offset, said.failed_at) == ("not_json", 3, 44, AT)
    assert letter.headers[-2:] == [("original.a", b"1"), ("original.b", None)]


@pytest.mark.parametrize("header", [("h", b"x" * 1000), ("a", b""), ("", None)])
def test_a_hostile_producers_headers_cannot_make_a_dead_letter_too_large(header: tuple[str, bytes | None]) -> None:
    letter = dead_letter(NOT_JSON, PLACE, AT, (b"k", b"x" * INBOUND_MAX_BYTES, [header] * 100_000), DEAD_MAX_BYTES)
    assert ("original_headers_cut", b"true") in letter.headers
    assert letter.value is not None
    assert size(letter) < DEAD_MAX_BYTES


def test_a_record_too_large_for_any_dead_letter_leaves_its_size_and_digest() -> None:
    """The broker counts compressed bytes: megabytes of zeros pass its limit and not the client's."""
    letter = dead_letter(NOT_JSON, PLACE, AT, (b"k" * 9, b"0" * 5_000_000, [("a", b"1")]), DEAD_MAX_BYTES)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (None, None)
    assert DeadLetter.from_headers(letter.headers).reason == "too_large"
    assert headers["original_size"] == b"5000009"
    assert headers["original_sha256"] == hashlib.sha256(b"0" * 5_000_000).hexdigest().encode()


def size(letter: Dead) -> int:
    headers = sum(len(name) + len(value or b"") + 10 for name, value in letter.headers)
    return len(letter.key or b"") + len(letter.value or b"") + headers


def test_so_many_own_faults_in_a_row_break_the_limit_and_a_good_record_starts_the_row_anew() -> None:
    watch = FaultWatch(FaultLimit(window=1000, ratio=0.5, in_a_row=3))
    assert watch.exceeded_by([True, True, False, True, True]) is None
    assert "3 records in a row" in (watch.exceeded_by([True]) or "")


def test_half_of_the_window_breaks_the_limit_but_only_once_the_window_is_full() -> None:
    watch = FaultWatch(FaultLimit(window=10, ratio=0.5, in_a_row=100))
    assert watch.exceeded_by([True, True, True, False, False, False, False, False, False]) is None
    assert watch.exceeded_by([True]) is None  # 4 of 10
    assert watch.exceeded_by([False, False, False]) is None  # the oldest three faults have left the window
    assert watch.exceeded_by([True] * 3) is None  # 4 of 10
    assert "5 of the last 10" in (watch.exceeded_by([True]) or "")
