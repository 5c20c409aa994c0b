"""Topics read as a member of a consumer group: what is owned, what is admitted, and when to hold back.

Filter and sink are both built on it. Everything happens on the owner's thread: the rebalance callbacks run inside
`read`, and nothing else polls, so between two reads the assignment does not change.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from consumer.assignment import Ownership, Partition
from consumer.health import Health
from consumer.metrics import Metrics
from schemas.errors import UserError

if TYPE_CHECKING:
    from confluent_kafka import Message

log = logging.getLogger("smsift.reader")

READ_AT_ONCE: Final = 2_000
REPORT_EVERY_S: Final = 1.0


class Record(NamedTuple):
    """One record as read, and the epoch of its partition's assignment in which it was."""

    partition: Partition
    offset: int
    epoch: int
    message: "Message[bytes, bytes]"

    @property
    def timestamp_s(self) -> float:
        return self.message.timestamp()[1] / 1000


class GroupReader:
    """One member's view of the group.

    `take_up` is asked where to read newly assigned partitions from, each with a real offset or a logical one; `let_go`
    is told which have left. Both are called inside `read` and must not poll.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: list[str],
        *,
        take_up: Callable[[list[TopicPartition]], list[TopicPartition]],
        let_go: Callable[[list[Partition]], None],
        metrics: Metrics,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ownership = Ownership()
        self.paused = False
        self.committed: dict[Partition, int] = {}  # next offsets, for the lag; the owner keeps them current
        self._consumer = consumer
        self._topics = topics
        self._take_up = take_up
        self._let_go = let_go
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._report_at = 0.0

    def join(self) -> None:
        """Become a member; the first assignment comes with some later `read`."""
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        self._health.blocked("group", "waiting for the group's first assignment")
        self._health.turned()
        self._health.cleared("start")

    def leave(self) -> None:
        self._consumer.close()

    def read(self, timeout_s: float) -> list[Record]:
        """Wait for the first record up to `timeout_s`, and return it with what else is at hand.

        Raises OffsetWentBackError where what was read must be read again, UserError where a person has to act, and
        whatever `take_up` raises.
        """
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        following = [] if self.paused else self._consumer.consume(READ_AT_ONCE, 0)
        admitted = []
        partition = Partition("", -1)
        for message in (first, *following):
            error = message.error()
            if error is not None:
                self._judge(error)
                continue
            topic, number, offset = message.topic() or "", message.partition(), message.offset() or 0
            if number != partition.number or topic != partition.topic:  # they come in runs
                partition = Partition(topic, number or 0)
            epoch = self.ownership.admit(partition, offset)
            if epoch is not None:  # else it left while its records were on the way
                admitted.append(Record(partition, offset, epoch, message))
        return admitted

    def pause(self) -> None:
        """Hold all partitions back while staying a member. Costs what librdkafka has fetched ahead."""
        self._consumer.pause(self._consumer.assignment())
        self.paused = True
        self._metrics.set("smsift_paused", 1)

    def resume(self) -> None:
        self._consumer.resume(self._consumer.assignment())
        self.paused = False
        self._metrics.set("smsift_paused", 0)

    def rewind(self) -> None:
        """Everything read is stale: read on from where `take_up` says."""
        self.ownership.rewound()
        assignment = self._consumer.assignment()
        for start in self._take_up(assignment) if assignment else ():
            self._consumer.seek(start)

    def report(self, buffered: int) -> None:
        """Set the gauges, at most once a second. Lag is by high watermarks, so it counts transaction markers too."""
        now = self._clock()
        if now - self._report_at < REPORT_EVERY_S:
            return
        self._report_at = now
        self._metrics.set("smsift_buffered_messages", buffered)
        for partition, offset in self.committed.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if high >= 0:
                lag = max(0, high - offset)
                self._metrics.set("smsift_lag", lag, topic=partition.topic, partition=str(partition.number))

    def _on_assign(self, _: object, partitions: list[TopicPartition]) -> None:
        starts = self._take_up(partitions) if partitions else []
        self.ownership.gained(_named(starts))
        self._consumer.incremental_assign(starts)
        # librdkafka remembers a pause across assignments: a partition that left while paused comes back paused.
        (self._consumer.pause if self.paused else self._consumer.resume)(starts)
        self._health.cleared("group")
        self._changed("gained", len(starts))

    def _on_revoke(self, _: object, partitions: list[TopicPartition]) -> None:
        left = list(_named(partitions))
        self.ownership.left(left)
        self._let_go(left)
        for partition in left:
            self.committed.pop(partition, None)
            self._metrics.forget("smsift_lag", topic=partition.topic, partition=str(partition.number))
        self._changed("left", len(left))

    def _changed(self, how: Literal["gained", "left"], number: int) -> None:
        owned = len(self.ownership.partitions)
        self._metrics.count("smsift_rebalances")
        self._metrics.set("smsift_assigned_partitions", owned)
        log.info("assignment changed", extra={how: number, "owned": owned})

    def _judge(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the name that librdkafka gives it
            raise UserError(
                "The group's offset is no longer in the topic: records were deleted before they were judged, or the "
                "topic was recreated. Choose where to go on with `smsift filter --start earliest` or `--start latest`."
            )
        if error.fatal() or error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
        ):
            raise UserError(f"Cannot read {', '.join(self._topics)}: {error.str()}.")
        log.warning("read error", extra={"reason": error.name()})


def _named(partitions: Iterable[TopicPartition]) -> Iterable[Partition]:
    return (Partition(each.topic, each.partition) for each in partitions)
