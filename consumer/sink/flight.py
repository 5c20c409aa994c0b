"""Announced batches on their way into ClickHouse, tried again until it has confirmed every one of them."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import Final, Protocol

from consumer.assignment import Partition
from consumer.sink.writer import Batch, InsertError

FIRST_DELAY_S: Final = 0.25
LONGEST_DELAY_S: Final = 30.0


class BatchWriter(Protocol):
    """Where a flight goes to."""

    def write(self, batch: Batch) -> float:
        """Store the batch and return the seconds it took; the same batch again changes nothing. Raises InsertError."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one pass over the batches brought: which are stored, how long each took, and why it ended early, if it did."""

    stored: Sequence[Batch]
    seconds: Sequence[float]
    refused: str | None


class Flight:
    """The inserts of one flush. Called by the owner thread; the inserting itself happens in a thread behind it.

    A failure ends the pass, and after a growing, jittered delay the batches that are left are written again: the same
    objects, so the same rows under the same tokens. What an earlier attempt may have stored is recognised by those.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        writer: BatchWriter,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._left = list(batches)
        self._stored: list[Batch] = []
        self._writer = writer
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._retry_at = 0.0
        self.started = clock()
        self._running: Future[Attempt] | None = self._attempt()

    def turn(self) -> Attempt | None:
        """Take in a pass that has ended and begin another where one is due. Returns the pass that ended now."""
        ended = None
        if self._running is not None and self._running.done():
            ended = self._running.result()
            self._running = None
            stored = [batch for batch in self._left if batch in ended.stored]
            self._stored += stored
            self._left = [batch for batch in self._left if batch not in ended.stored]
            if ended.refused is not None:
                self._retry_at = self._clock() + delay(self._failures, self._jitter())
                self._failures += 1
        if self._running is None and self._left and self._clock() >= self._retry_at:
            self._running = self._attempt()
        return ended

    def drop(self, holds: Callable[[Partition, int], bool]) -> int:
        """Forget the batches whose partition is not held any more; return their rows. Whoever has it now inserts them."""
        before = len(self)
        self._left = [batch for batch in self._left if holds(batch.partition, batch.epoch)]
        self._stored = [batch for batch in self._stored if holds(batch.partition, batch.epoch)]
        return before - len(self)

    def settle(self, batches: Iterable[Batch]) -> None:
        """These are stored and their next offsets committed."""
        settled = list(batches)
        self._stored = [batch for batch in self._stored if batch not in settled]

    def __len__(self) -> int:
        """Rows in all."""
        return sum(map(len, self.batches))

    @property
    def batches(self) -> list[Batch]:
        return self._left + self._stored

    @property
    def stored(self) -> list[Batch] | None:
        """All batches, once every one of them is stored."""
        return self._stored if not self._left else None

    def wait(self, seconds: float) -> None:
        """Until the running pass ends, or not longer than that; between passes, that long."""
        if self._running is not None:
            wait([self._running], timeout=seconds)
        else:
            time.sleep(seconds)

    def _attempt(self) -> "Future[Attempt]":
        """A daemon thread, so that an insert which hangs cannot hold up the end of the process."""
        future: Future[Attempt] = Future()
        batches = list(self._left)

        def work() -> None:
            try:
                future.set_result(_write_all(self._writer, batches))
            except BaseException as error:  # noqa: BLE001 - result() raises it in the owner thread
                future.set_exception(error)

        Thread(target=work, name="sink-insert", daemon=True).start()
        return future


def delay(failures: int, jitter: float) -> float:
    """Seconds to wait after that many earlier failures: doubling up to the longest, of which `jitter` (0 to 1) takes half."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures, 16)) * (1 - jitter / 2)


def _write_all(writer: BatchWriter, batches: Sequence[Batch]) -> Attempt:
    stored: list[Batch] = []
    seconds: list[float] = []
    for batch in batches:
        try:
            seconds.append(writer.write(batch))
        except InsertError as error:
            return Attempt(stored, seconds, str(error))
        stored.append(batch)
    return Attempt(stored, seconds, None)
