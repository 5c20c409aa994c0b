"""Rows between being read and being cut into batches: a buffer per partition, and all of them together."""

from collections.abc import Iterable
from typing import Final, Literal

from consumer.assignment import Partition
from consumer.sink.intent import Span
from consumer.sink.rows import Place, Row, Table
from consumer.sink.writer import Batch

# Long texts reach this before the rows reach theirs: 32 MiB a flush, twice that in memory, far below one block.
FLUSH_BYTES: Final = 32 * 1024 * 1024
MOST_FLUSHES: Final = 2
State = Literal["free", "waiting", "complete", "lost"]


class PartitionBuffer:
    """What was read of one partition in one assignment of it, in the order of the offsets.

    `start` is where reading began, None where the group had no offset. `owed` is the span that an intent announced
    before this assignment: it is cut first and exactly as announced, and nothing else until then.
    """

    def __init__(self, place: Place, start: int | None = None, owed: Span | None = None) -> None:
        self.place = place
        self.partition = Partition(place.topic, place.partition)
        self.start = start
        self.owed = owed
        self.bytes = 0
        self.since = 0.0
        self._epoch = 0
        self._rows: list[tuple[int, int, Table, Row]] = []  # offset, size, table, row

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, offset: int, epoch: int, size: int, table: Table, row: Row, now: float) -> None:
        """`size` is about what the row holds in memory, in bytes; `now` counts from the oldest row on."""
        if not self._rows:
            self.since = now
        self._epoch = epoch
        self._rows.append((offset, size, table, row))
        self.bytes += size

    @property
    def state(self) -> State:
        """free: nothing is owed. waiting: the owed span is not read to its end. complete: it is, as announced.

        lost: the span cannot be read as it was announced, because retention has taken some or all of it.
        """
        if self.owed is None:
            return "free"
        if not self._rows:
            return "waiting"
        if self._rows[0][0] != self.owed.first:
            return "lost"
        if self._rows[-1][0] < self.owed.last:
            return "waiting"
        return "complete" if any(offset == self.owed.last for offset, *_ in self._rows) else "lost"

    def cut(self, most_rows: int) -> Batch | None:
        """The next batch, still in the buffer: the owed span, or else up to `most_rows`. None where there is none yet."""
        if not self._rows or self.state in ("waiting", "lost"):
            return None
        rows: dict[Table, list[Row]] = {}
        first = last = self._rows[0][0]
        for offset, _, table, row in self._rows if self.owed else self._rows[:most_rows]:
            if self.owed and offset > self.owed.last:
                break
            rows.setdefault(table, []).append(row)
            last = offset
        return Batch(
            self.partition, self._epoch, self.place.topic_id, Span(first, last), rows, announced=self.owed is not None
        )

    def take_out(self, batch: Batch, now: float) -> None:
        """The batch is announced: its rows are the batch's from now on."""
        self.bytes -= sum(size for _, size, _, _ in self._rows[: len(batch)])
        del self._rows[: len(batch)]
        self.owed = None
        self.since = now


class Buffers:
    """One buffer for each partition that is owned. A flush is due by rows, by size, by age, or where one is owed."""

    def __init__(self, flush_rows: int, linger_s: float) -> None:
        self._flush_rows = flush_rows
        self._linger_s = linger_s
        self._buffers: dict[Partition, PartitionBuffer] = {}

    def __getitem__(self, partition: Partition) -> PartitionBuffer:
        return self._buffers[partition]

    def __len__(self) -> int:
        """Rows in all."""
        return sum(map(len, self._buffers.values()))

    def open(self, buffer: PartitionBuffer) -> None:
        """Begin with this one; what an earlier assignment of the partition left is gone."""
        self._buffers[buffer.partition] = buffer

    def close(self, partition: Partition) -> int:
        """Forget the partition; return the rows that were dropped."""
        return len(self._buffers.pop(partition, ()))

    @property
    def full(self) -> bool:
        return len(self) >= MOST_FLUSHES * self._flush_rows or self._bytes >= MOST_FLUSHES * FLUSH_BYTES

    def due(self, now: float) -> bool:
        if len(self) >= self._flush_rows or self._bytes >= FLUSH_BYTES:
            return True
        return any(
            buffer.owed is not None or now - buffer.since >= self._linger_s
            for buffer in self._buffers.values()
            if len(buffer)
        )

    def lost(self) -> list[PartitionBuffer]:
        """Those whose owed span can no longer be read as it was announced."""
        return [buffer for buffer in self._buffers.values() if buffer.state == "lost"]

    def cut(self) -> list[Batch]:
        """The next batch of each partition that has one."""
        return [batch for buffer in self._buffers.values() if (batch := buffer.cut(self._flush_rows)) is not None]

    def take_out(self, batches: Iterable[Batch], now: float) -> None:
        for batch in batches:
            self._buffers[batch.partition].take_out(batch, now)

    @property
    def _bytes(self) -> int:
        return sum(buffer.bytes for buffer in self._buffers.values())
