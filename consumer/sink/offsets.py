"""The Kafka side of the sink's bookkeeping: committed offsets and the spans that they announce."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from consumer.assignment import Partition
from consumer.health import Health
from consumer.sink import intent
from consumer.sink.intent import Span
from consumer.sink.writer import Batch
from consumer.starting import committed_offsets

log = logging.getLogger("smsift.sink")

RPC_S: Final = 15.0
RETRY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """Where the group left a partition: the committed offset, None for a new one, and the span it announces, if any."""

    partition: Partition
    offset: int | None
    owed: Span | None

    @property
    def position(self) -> TopicPartition:
        return TopicPartition(*self.partition, OFFSET_BEGINNING if self.offset is None else self.offset)


class Offsets:
    """Reads and commits the group's offsets; `failing` after a commit that must be tried again, `ready` when."""

    def __init__(self, consumer: Consumer, health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._health = health
        self._clock = clock
        self._retry_at = 0.0

    def starting_points(self, partitions: list[TopicPartition]) -> list[StartingPoint]:
        """Raises KafkaException where the broker does not answer."""
        found = []
        for known in committed_offsets(self._consumer, partitions, RPC_S) if partitions else ():
            offset = None if known.offset == OFFSET_INVALID else known.offset
            owed = None if offset is None else intent.decode(offset, known.metadata)
            found.append(StartingPoint(Partition(known.topic, known.partition), offset, owed))
        return found

    def announce(self, batches: Iterable[Batch]) -> list[Batch]:
        """Commit the intents of all batches that are not announced yet; return the batches that are now."""
        fresh = (batch for batch in batches if not batch.announced)
        failed = self._commit(
            TopicPartition(*batch.partition, batch.span.first, intent.encode(batch.span)) for batch in fresh
        )
        return [batch for batch in batches if batch.partition not in failed]

    def settle(self, batches: Iterable[Batch]) -> list[Batch]:
        """Commit the next offsets, which takes the intents back; return the batches that this worked for."""
        failed = self._commit(TopicPartition(*batch.partition, batch.span.next_offset) for batch in batches)
        return [batch for batch in batches if batch.partition not in failed]

    def rebalanced(self) -> None:
        """What a commit failed for may belong to another member now: look afresh."""
        self._retry_at = 0.0
        self._health.cleared("commit")

    @property
    def failing(self) -> bool:
        return self._retry_at > 0

    @property
    def ready(self) -> bool:
        return self._clock() >= self._retry_at

    def _commit(self, offsets: Iterable[TopicPartition]) -> set[Partition]:
        """One OffsetCommit for all; return the partitions that it failed for, to be tried after the next poll.

        A member that was expelled learns of it here; the poll then tells which partitions are gone.
        """
        wanted = list(offsets)
        if not wanted:
            return set()
        try:
            answered = self._consumer.commit(offsets=wanted, asynchronous=False)
            failed = {Partition(each.topic, each.partition): each.error for each in answered if each.error is not None}
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            failed = {Partition(each.topic, each.partition): error.args[0] for each in wanted}
        if failed:
            reason = next(iter(failed.values()))
            log.warning("offset commit failed", extra={"partitions": len(failed), "reason": reason.name()})
            self._health.blocked("commit", f"the broker does not take offset commits: {reason.str()}")
            self._retry_at = self._clock() + RETRY_S
        else:
            self._health.cleared("commit")
            self._retry_at = 0.0
        return set(failed)

    def check_start(self, partition: Partition, start: int, first: int) -> None:
        """The first record after an assignment: was there another before it that retention has taken? Then say so.

        A gap alone proves nothing, as transactions leave markers and aborted records between the offsets.
        """
        if first <= start:
            return
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=RPC_S)
        except KafkaException as error:
            log.info("cannot ask where the partition begins", extra={"reason": error.args[0].name()})
            return
        if low > start:
            log.warning(
                "records were deleted by retention before they became rows",
                extra={"topic": partition.topic, "partition": partition.number, "committed": start, "begins": low},
            )
