from datetime import UTC, datetime

from consumer.dead_letters import MAX_HEADER_BYTES, FaultLimit, FaultWatch, dead_headers
from consumer.decode import Rejection
from schemas.events import DeadLetter
from schemas.topics import DEAD_MAX_BYTES, INBOUND_MAX_BYTES

AT = datetime(2026, 1, 2, tzinfo=UTC)
SOURCE = ("sms.inbound", "id", 3, 44)


def test_headers_round_trip_and_keep_the_source_records_own() -> None:
    headers = dead_headers(Rejection("not_json", "It is not."), SOURCE, AT, [("a", b"1"), ("b", None)])
    letter = DeadLetter.from_headers(headers)
    assert (letter.reason, letter.source_partition, letter.source_offset) == ("not_json", 3, 44)
    assert letter.failed_at == AT
    assert headers[-2:] == [("original.a", b"1"), ("original.b", None)]


def test_a_hostile_producers_headers_cannot_make_a_dead_letter_too_large_to_publish() -> None:
    huge = [(f"h{n}", b"x" * 1000) for n in range(1000)]
    headers = dead_headers(Rejection("not_json", "It is not."), SOURCE, AT, list(huge))
    assert ("original_headers_cut", b"true") in headers
    size = sum(len(name) + len(value or b"") + 10 for name, value in headers)
    assert size < MAX_HEADER_BYTES * 1.5 < DEAD_MAX_BYTES - INBOUND_MAX_BYTES


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
