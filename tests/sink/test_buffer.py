"""Batches are cut as announced, or else as far as rows have come; and nothing else before what is owed."""

import pytest

from consumer.assignment import Partition
from consumer.sink.buffer import FLUSH_BYTES, Buffers, PartitionBuffer
from consumer.sink.intent import Span
from consumer.sink.rows import DEAD_LETTERS, VERDICTS, Place

SPAM = Partition("sms.spam", 0)
HAM = Partition("sms.ham", 0)


def buffer(*offsets: int, owed: Span | None = None, partition: Partition = SPAM, size: int = 1) -> PartitionBuffer:
    made = PartitionBuffer(Place(partition.topic, "id", partition.number), offsets[0] if offsets else None, owed)
    for offset in offsets:
        made.add(offset, 7, size, VERDICTS if offset % 2 else DEAD_LETTERS, (offset,), now=float(offset))
    return made


def test_a_batch_covers_its_first_to_its_last_record_and_sorts_rows_by_table() -> None:
    batch = buffer(10, 11, 15).cut(100)
    assert batch is not None
    assert batch.span == Span(10, 15)
    assert batch.rows == {DEAD_LETTERS: [(10,)], VERDICTS: [(11,), (15,)]}
    assert (batch.epoch, batch.announced, len(batch)) == (7, False, 3)


def test_a_cut_takes_no_more_rows_than_allowed_and_the_rest_follows() -> None:
    filled = buffer(1, 2, 3)
    first = filled.cut(2)
    assert first is not None
    assert first.span == Span(1, 2)
    filled.take_out(first, now=9.0)
    second = filled.cut(2)
    assert second is not None
    assert second.span == Span(3, 3)
    assert (len(filled), filled.bytes, filled.since) == (1, 1, 9.0)


def test_what_is_not_taken_out_is_cut_again_with_what_came_since() -> None:
    filled = buffer(1, 2)
    filled.cut(100)
    filled.add(5, 7, 1, VERDICTS, (5,), now=5.0)
    again = filled.cut(100)
    assert again is not None
    assert again.span == Span(1, 5)


@pytest.mark.parametrize(
    ("offsets", "state"),
    [
        ((), "waiting"),
        ((10,), "waiting"),
        ((10, 19), "waiting"),
        ((10, 20), "complete"),
        ((10, 20, 30), "complete"),
        ((11, 20), "lost"),
        ((30,), "lost"),
        ((10, 21), "lost"),
    ],
)
def test_an_owed_span_is_complete_only_as_it_was_announced(offsets: tuple[int, ...], state: str) -> None:
    assert buffer(*offsets, owed=Span(10, 20)).state == state


def test_an_owed_span_is_cut_exactly_even_beyond_the_row_limit() -> None:
    filled = buffer(10, 12, 14, 20, 21, 22, owed=Span(10, 20))
    batch = filled.cut(2)
    assert batch is not None
    assert (batch.span, batch.announced, len(batch)) == (Span(10, 20), True, 4)
    filled.take_out(batch, now=0.0)
    following = filled.cut(2)
    assert following is not None
    assert (following.span, following.announced) == (Span(21, 22), False)


def test_nothing_is_cut_while_an_owed_span_is_incomplete() -> None:
    assert buffer(10, 12, owed=Span(10, 20)).cut(100) is None


def test_a_flush_is_due_by_rows_by_bytes_by_age_or_by_debt() -> None:
    def due(now: float, made: PartitionBuffer) -> bool:
        buffers = Buffers(flush_rows=3, linger_s=5.0)
        buffers.open(buffer(partition=HAM))
        buffers.open(made)
        return buffers.due(now)

    assert not due(1.0, buffer())
    assert not due(5.9, buffer(1, 2))
    assert due(6.0, buffer(1, 2))
    assert due(1.0, buffer(1, 2, 3))
    assert due(1.0, buffer(1, size=FLUSH_BYTES))
    assert due(1.0, buffer(1, owed=Span(1, 1)))


def test_reopening_a_partition_forgets_what_its_last_assignment_left() -> None:
    buffers = Buffers(flush_rows=10, linger_s=1.0)
    buffers.open(buffer(1, 2))
    buffers.open(buffer(5))
    assert [batch.span for batch in buffers.cut()] == [Span(5, 5)]
    assert buffers.close(SPAM) == 1
    assert buffers.close(SPAM) == 0
    assert len(buffers) == 0


def test_buffers_are_full_at_twice_a_flush() -> None:
    buffers = Buffers(flush_rows=2, linger_s=1.0)
    buffers.open(buffer(1, 2, 3))
    assert not buffers.full
    buffers.open(buffer(1, partition=HAM))
    assert buffers.full
