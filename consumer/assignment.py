"""Which partitions this member owns, and since when.

Kafka fences members, not partitions: a current member can commit offsets of a partition that another member owns by
now. So every record carries the epoch of its partition's assignment at the time it was read, and whoever commits
first drops the records whose epoch is no longer the partition's. No poll may come between that and the commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(slots=True)
class _Tenure:
    epoch: int
    next_offset: int


class OffsetWentBackError(Exception):
    """A partition handed out an offset below one it had handed out: the read position is not what it should be."""


class Ownership:
    """An epoch per owned partition; only the owner thread calls it."""

    def __init__(self) -> None:
        self._tenures: dict[Partition, _Tenure] = {}
        self._epoch = 0

    def gained(self, partitions: Iterable[Partition]) -> None:
        """A new epoch starts for each, also where it was owned before."""
        self._epoch += 1
        for partition in partitions:
            self._tenures[partition] = _Tenure(self._epoch, 0)

    def left(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._tenures.pop(partition, None)

    def rewound(self) -> None:
        """Everything read so far will be read again: start a new epoch for all that is owned."""
        self.gained(list(self._tenures))

    def admit(self, partition: Partition, offset: int) -> int | None:
        """Return the epoch for a record just read, or None where its partition is not owned.

        Raises OffsetWentBackError where the partition went back without a rewind.
        """
        tenure = self._tenures.get(partition)
        if tenure is None:
            return None
        if offset < tenure.next_offset:
            raise OffsetWentBackError(
                f"{partition.topic}/{partition.number} handed out offset {offset} after {tenure.next_offset - 1}"
            )
        tenure.next_offset = offset + 1
        return tenure.epoch

    def holds(self, partition: Partition, epoch: int) -> bool:
        """Whether a record read in that epoch may still be published."""
        tenure = self._tenures.get(partition)
        return tenure is not None and tenure.epoch == epoch

    @property
    def partitions(self) -> list[Partition]:
        return sorted(self._tenures)
