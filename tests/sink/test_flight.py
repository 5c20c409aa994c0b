"""A flight tries the same batches until all are stored, waits longer each time, and forgets what has left."""

import time
from collections.abc import Sequence

import pytest

from consumer.assignment import Partition
from consumer.sink.flight import LONGEST_DELAY_S, Attempt, Flight, delay
from consumer.sink.intent import Span
from consumer.sink.rows import VERDICTS
from consumer.sink.writer import Batch, InsertError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Refuses the writes whose numbers it is told, and remembers every batch that it was given."""

    def __init__(self, refuse: Sequence[int] = ()) -> None:
        self.given: list[Batch] = []
        self._refuse = refuse

    def write(self, batch: Batch) -> float:
        self.given.append(batch)
        if len(self.given) - 1 in self._refuse:
            raise InsertError("ClickHouse is away.")
        return 0.5


def batch(number: int) -> Batch:
    return Batch(Partition("sms.spam", number), 1, "id", Span(0, 1), {VERDICTS: [(0,), (1,)]})


def next_pass(flight: Flight) -> Attempt:
    """Turn until the running pass has ended."""
    deadline = time.monotonic() + 10
    while (attempt := flight.turn()) is None:
        assert time.monotonic() < deadline
        flight.wait(0.01)
    return attempt


def test_all_batches_are_stored_in_one_pass() -> None:
    store, batches = Store(), [batch(0), batch(1)]
    flight = Flight(batches, store, Clock())
    assert next_pass(flight).refused is None
    assert flight.stored == store.given == batches
    flight.settle(batches)
    assert flight.batches == []


def test_after_a_refusal_the_same_batches_are_given_again_without_those_that_are_stored() -> None:
    clock, store, batches = Clock(), Store(refuse=[1]), [batch(0), batch(1), batch(2)]
    flight = Flight(batches, store, clock, jitter=lambda: 0.0)
    assert next_pass(flight).refused == "ClickHouse is away."
    assert flight.stored is None
    clock.now += delay(0, 0.0)
    flight.turn()
    assert next_pass(flight).refused is None
    assert store.given == [batches[0], batches[1], batches[1], batches[2]]
    assert flight.stored == batches


def test_no_pass_begins_before_the_delay_is_over() -> None:
    clock, store = Clock(), Store(refuse=[0])
    flight = Flight([batch(0)], store, clock, jitter=lambda: 0.0)
    next_pass(flight)
    clock.now += delay(0, 0.0) * 0.99
    assert flight.turn() is None
    assert len(store.given) == 1
    clock.now += delay(0, 0.0) * 0.02
    flight.turn()
    next_pass(flight)
    assert len(store.given) == 2


def test_delays_grow_to_a_bound_and_jitter_takes_up_to_half() -> None:
    delays = [delay(failures, 0.0) for failures in range(12)]
    assert delays == sorted(delays)
    assert delays[0] < 1
    assert delays[-1] == delay(1000, 0.0) == LONGEST_DELAY_S
    assert delay(3, 1.0) == delay(3, 0.0) / 2


def test_batches_of_partitions_that_left_are_dropped_stored_or_not() -> None:
    store, batches = Store(), [batch(0), batch(1)]
    flight = Flight(batches, store, Clock())
    next_pass(flight)
    assert flight.drop(lambda partition, epoch: partition.number == 1 and epoch == 1) == 2
    assert flight.stored == [batches[1]]
    assert flight.drop(lambda *_: False) == 2
    assert flight.batches == []


def test_an_error_that_is_no_refusal_reaches_the_owner() -> None:
    class Broken:
        def write(self, _: Batch) -> float:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        next_pass(Flight([batch(0)], Broken(), Clock()))
