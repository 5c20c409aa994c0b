"""The sink: verdicts, dead letters and labels from Kafka into ClickHouse, each record one row.

    owner thread     read ─ buffer ─┬─ announce ─┐              ┌─ commit next offsets
    insert thread                   │            └─ insert ─────┘
                            one OffsetCommit: offset = first, metadata "first-last"

State of a partition's committed offset, and what a crash there leaves to whoever reads the partition next:
  next, no metadata      nothing was inserted from here on: read on
  first, "first-last"    inserted or not: read exactly first to last again and insert it under the same token;
                         ClickHouse drops it if it is there
The intent may be written over until the first insert under it; after that only the next offset replaces it. A batch
whose partition has left is dropped: its new owner finds the intent. Nothing polls the consumer between the look at
what is owned and a commit.
"""

import logging
import time
from collections.abc import Callable
from threading import Event as StopEvent
from typing import Final, Literal, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from consumer.assignment import OffsetWentBackError, Ownership, Partition
from consumer.health import Health
from consumer.kafka_clients import topic_ids
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.sink.buffer import Buffers, PartitionBuffer
from consumer.sink.flight import BatchWriter, Flight
from consumer.sink.offsets import Offsets
from consumer.sink.rows import DEAD_LETTERS, REASON, ROW_BYTES, UNREADABLE, VERDICTS, Headers, Place, RowReader
from schemas.errors import UserError

log = logging.getLogger("smsift.sink")

POLL_S: Final = 0.02  # a poll wakes at the first record; this bounds how late a finished insert is noticed
READ_AT_ONCE: Final = 2_000
# Not polling is enough to hold records back while an insert runs. Only when it takes longer than this are the
# partitions paused and polls resumed, so that the member stays in the group: a pause throws the prefetch away.
PAUSE_AFTER_S: Final = 2.0
REPORT_EVERY_S: Final = 1.0


class Sink:
    """The loop. `consumer.sink.service` builds it; a test may give it parts of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        consumer: Consumer,
        writer: BatchWriter,
        metrics: Metrics,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._writer = writer
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._reader = RowReader(settings.topics)
        self._ownership = Ownership()
        self._offsets = Offsets(consumer, health, clock)
        self._buffers = Buffers(settings.sink_batch_rows, settings.sink_linger_ms / 1000)
        self._flight: Flight | None = None
        self._paused = False
        self._committed: dict[Partition, int] = {}
        self._report_at = 0.0

    def run(self, stop: StopEvent) -> None:
        """Until `stop` is set; then insert and commit what was read, within the drain budget, and leave the group.

        Raises UserError or KafkaException; the next start goes on where this one ended.
        """
        topics = list(self._reader.topics)
        topic_ids(self._settings, topics)  # a topic that is not there is said now, not at some assignment
        self._consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        self._health.blocked("group", "waiting for the group's first assignment")
        self._health.cleared("start")
        self._metrics.set("smsift_clickhouse_up", 1)
        try:
            while not stop.is_set():
                self.turn()
            self._drain()
        finally:
            self._consumer.close()

    def turn(self) -> None:
        """One turn of the loop: read what there is, take in what is stored, send off what is due."""
        self._health.turned()
        self._read()
        self._land()
        self._launch(flush=False)
        self._report()

    # --- read

    def _read(self) -> None:
        full = self._full()
        if full and not self._paused:
            self._wait_for_room()
            return
        if self._paused and not full:
            self._resume()
        message = self._consumer.poll(POLL_S)
        if message is None:
            return
        following = [] if self._paused else self._consumer.consume(READ_AT_ONCE, 0)
        now = self._clock()
        try:
            for each in (message, *following):
                self._admit(each, now)
        except OffsetWentBackError:
            log.exception("reading again from the committed offsets")
            self._rewind()

    def _admit(self, message: "Message[bytes, bytes]", now: float) -> None:
        error = message.error()
        if error is not None:
            self._judge_read_error(error)
            return
        partition = Partition(message.topic() or "", message.partition() or 0)
        offset = message.offset()
        assert offset is not None
        epoch = self._ownership.admit(partition, offset)
        if epoch is None:
            return
        buffer = self._buffers[partition]
        if buffer.start is not None:
            self._offsets.check_start(partition, buffer.start, offset)
            buffer.start = None
        value = message.value()
        headers = cast("Callable[[], Headers | None]", message.headers)
        table, row = self._reader.read(value, buffer.place, offset, headers, message.timestamp)
        if table is VERDICTS:
            size = ROW_BYTES + len(value or b"")
        else:
            size = ROW_BYTES
            if table is DEAD_LETTERS and row[REASON] == UNREADABLE:
                self._metrics.count("smsift_unparsed_records")
        buffer.add(offset, epoch, size, table, row, now)

    def _judge_read_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
        ):
            raise UserError(f"Cannot read the topics of the sink: {error.str()}")
        log.warning("read error", extra={"reason": error.name()})

    # --- bounded memory

    def _full(self) -> bool:
        """Whether reading must wait for a flight or a commit. Without either, what is buffered can leave now."""
        return (self._flight is not None or self._offsets.failing) and self._buffers.full

    def _wait_for_room(self) -> None:
        """ClickHouse is behind: wait for it, and pause the partitions only when that takes long."""
        if self._flight is not None and self._clock() - self._flight.started < PAUSE_AFTER_S:
            self._flight.wait(POLL_S)
            return
        self._consumer.pause(self._consumer.assignment())
        self._paused = True
        self._metrics.set("smsift_paused", 1)

    def _resume(self) -> None:
        self._consumer.resume(self._consumer.assignment())
        self._paused = False
        self._metrics.set("smsift_paused", 0)

    # --- announce and insert

    def _launch(self, *, flush: bool) -> None:
        """Announce what is due and send it off. One flight at a time; nothing here polls."""
        now = self._clock()
        if self._flight is not None or not self._offsets.ready or not (flush or self._buffers.due(now)):
            return
        for buffer in self._buffers.lost():
            self._give_up(buffer)
        batches = [batch for batch in self._buffers.cut() if self._ownership.holds(batch.partition, batch.epoch)]
        announced = self._offsets.announce(batches)
        self._buffers.take_out(announced, now)
        if announced:
            self._flight = Flight(announced, self._writer, self._clock)

    def _give_up(self, buffer: PartitionBuffer) -> None:
        """What is left of the announced span is inserted as any other rows."""
        log.warning(
            "an announced batch can no longer be read as it was: repeated rows are told by their keys only",
            extra={"topic": buffer.partition.topic, "partition": buffer.partition.number, "span": buffer.owed},
        )
        self._metrics.count("smsift_lost_intents")
        buffer.owed = None

    # --- take in

    def _land(self) -> None:
        """Take in what is stored, and commit the next offsets once all of the flight is. Nothing here polls."""
        if self._flight is None:
            return
        self._metrics.count("smsift_dropped_records", self._flight.drop(self._ownership.holds))
        attempt = self._flight.turn()
        if attempt is not None:
            for seconds in attempt.seconds:
                self._metrics.observe("smsift_insert_seconds", seconds)
            self._tell_clickhouse(attempt.refused)
        stored = self._flight.stored
        if stored is None or not self._offsets.ready:
            return
        settled = self._offsets.settle(stored)
        self._flight.settle(settled)
        for batch in settled:
            self._committed[batch.partition] = batch.span.next_offset
            for table, rows in batch.rows.items():
                self._metrics.count("smsift_rows", len(rows), table=table.name)
        if not self._flight.batches:
            self._flight = None

    def _tell_clickhouse(self, refused: str | None) -> None:
        if refused is None:
            self._health.cleared("clickhouse")
        else:
            log.warning("insert failed and will be tried again: %s", refused)
            self._health.blocked("clickhouse", refused)
            self._metrics.count("smsift_insert_failures")
        self._metrics.set("smsift_clickhouse_up", refused is None)

    # --- rebalance and rewind; the callbacks run inside poll() and consume(), on the owner thread

    def _on_assign(self, _: object, partitions: list[TopicPartition]) -> None:
        starts = self._take_up(partitions)
        self._ownership.gained(Partition(each.topic, each.partition) for each in starts)
        self._consumer.incremental_assign(starts)
        # librdkafka remembers a pause across assignments: a partition that left while paused comes back paused.
        (self._consumer.pause if self._paused else self._consumer.resume)(starts)
        self._health.cleared("group")
        self._changed("gained", len(starts))

    def _take_up(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Open empty buffers for the partitions; return where each is to be read from."""
        ids = topic_ids(self._settings, sorted({each.topic for each in partitions})) if partitions else {}
        points = self._offsets.starting_points(partitions)
        for point in points:
            partition = point.partition
            place = Place(partition.topic, ids[partition.topic], partition.number)
            self._buffers.open(PartitionBuffer(place, point.offset, point.owed))
            if point.offset is not None:
                self._committed[partition] = point.offset
        return [point.position for point in points]

    def _on_revoke(self, _: object, partitions: list[TopicPartition]) -> None:
        left = [Partition(each.topic, each.partition) for each in partitions]
        self._ownership.left(left)
        self._offsets.rebalanced()
        for partition in left:
            self._metrics.count("smsift_dropped_records", self._buffers.close(partition))
            self._committed.pop(partition, None)
            self._metrics.forget("smsift_lag", topic=partition.topic, partition=str(partition.number))
        self._changed("left", len(left))

    def _changed(self, how: Literal["gained", "left"], number: int) -> None:
        self._metrics.count("smsift_rebalances")
        self._metrics.set("smsift_assigned_partitions", len(self._ownership.partitions))
        log.info("assignment changed", extra={how: number, "owned": len(self._ownership.partitions)})

    def _rewind(self) -> None:
        """Forget everything read and not inserted, and read it again from the committed offsets."""
        self._ownership.rewound()
        for start in self._take_up(self._consumer.assignment()):
            self._consumer.seek(start)

    # --- stop and report

    def _drain(self) -> None:
        """Insert and commit what was read, if ClickHouse takes it in time; the rest is read again by whoever is next."""
        deadline = self._clock() + self._settings.drain_s
        while self._clock() < deadline:
            self._land()
            self._launch(flush=True)
            if self._flight is not None:
                self._flight.wait(POLL_S)
            elif not self._offsets.failing:
                return
        log.warning("not everything was inserted in time; it will be read again")

    def _report(self) -> None:
        now = self._clock()
        if now - self._report_at < REPORT_EVERY_S:
            return
        self._report_at = now
        in_flight = sum(map(len, self._flight.batches)) if self._flight is not None else 0
        self._metrics.set("smsift_buffered_messages", len(self._buffers) + in_flight)
        for partition, offset in self._committed.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if high >= 0:
                self._metrics.set(
                    "smsift_lag", max(0, high - offset), topic=partition.topic, partition=str(partition.number)
                )
