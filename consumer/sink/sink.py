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
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, TopicPartition

from consumer.assignment import OffsetWentBackError, Partition
from consumer.decode import Rejection, headers_of
from consumer.health import Health
from consumer.kafka_clients import topic_ids
from consumer.metrics import Metrics
from consumer.reader import GroupReader, Record
from consumer.settings import Settings
from consumer.sink.buffer import Buffers, PartitionBuffer
from consumer.sink.flight import BatchWriter, Flight
from consumer.sink.offsets import Offsets
from consumer.sink.rows import DEAD_LETTERS, REASON, ROW_BYTES, UNREADABLE, VERDICTS, Headers, Place, RowMaker

if TYPE_CHECKING:
    from confluent_kafka import Message

log = logging.getLogger("smsift.sink")

POLL_S: Final = 0.02  # a poll wakes at the first record; this bounds how late a finished insert is noticed
# Not polling is enough to hold records back while an insert runs. Only when it takes longer than this are the
# partitions paused and polls resumed, so that the member stays in the group: a pause throws the prefetch away.
PAUSE_AFTER_S: Final = 2.0


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
        self._writer = writer
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._rows = RowMaker(settings.topics)
        self.reader = GroupReader(
            consumer,
            list(self._rows.topics),
            take_up=self._take_up,
            let_go=self._let_go,
            metrics=metrics,
            health=health,
            clock=clock,
        )
        self._offsets = Offsets(consumer, health, clock)
        self._buffers = Buffers(settings.sink_batch_rows, settings.sink_linger_ms / 1000)
        self._flight: Flight | None = None

    def run(self, stop: StopEvent) -> None:
        """Until `stop` is set; then insert and commit what was read, within the drain budget, and leave the group.

        Raises UserError or KafkaException; the next start goes on where this one ended.
        """
        topic_ids(self._settings, list(self._rows.topics))  # a topic that is not there is said now, not later
        self._metrics.set("smsift_clickhouse_up", 1)
        self.reader.join()
        try:
            while not stop.is_set():
                self.turn()
            self._drain()
        finally:
            self.reader.leave()

    def turn(self) -> None:
        """One turn of the loop: read what there is, take in what is stored, send off what is due."""
        self._health.turned()
        self._read()
        self._land()
        self._launch(flush=False)
        self.reader.report(len(self._buffers) + (0 if self._flight is None else len(self._flight)))

    # --- read, with bounded memory

    def _read(self) -> None:
        full = self._full()
        if full and not self.reader.paused:
            self._wait_for_room()
            return
        if self.reader.paused and not full:
            self.reader.resume()
        try:
            records = self.reader.read(POLL_S)
        except OffsetWentBackError:
            log.exception("reading again from the committed offsets")
            self.reader.rewind()
            return
        now = self._clock()
        for record in records:
            self._keep(record, now)

    def _keep(self, record: Record, now: float) -> None:
        buffer = self._buffers[record.partition]
        if buffer.start is not None:
            self._offsets.check_start(record.partition, buffer.start, record.offset)
            buffer.start = None
        message = record.message
        value = message.value()
        table, row = self._rows.make(value, buffer.place, record.offset, lambda: _headers(message), message.timestamp)
        size = ROW_BYTES
        if table is VERDICTS:
            size += len(value or b"")
        elif table is DEAD_LETTERS and row[REASON] == UNREADABLE:
            self._metrics.count("smsift_unparsed_records")
        buffer.add(record.offset, record.epoch, size, table, row, now)

    def _full(self) -> bool:
        """Whether reading must wait for a flight or a commit. Without either, what is buffered can leave now."""
        return (self._flight is not None or self._offsets.failing) and self._buffers.full

    def _wait_for_room(self) -> None:
        """ClickHouse is behind: wait for it, and pause the partitions only when that takes long."""
        if self._flight is not None and self._clock() - self._flight.started < PAUSE_AFTER_S:
            self._flight.wait(POLL_S)
            return
        self.reader.pause()

    # --- announce and insert

    def _launch(self, *, flush: bool) -> None:
        """Announce what is due and send it off. One flight at a time; nothing here polls."""
        now = self._clock()
        if self._flight is not None or not self._offsets.ready or not (flush or self._buffers.due(now)):
            return
        for buffer in self._buffers.lost():
            self._give_up(buffer)
        batches = [batch for batch in self._buffers.cut() if self.reader.ownership.holds(batch.partition, batch.epoch)]
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
        self._metrics.count("smsift_dropped_records", self._flight.drop(self.reader.ownership.holds))
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
            self.reader.committed[batch.partition] = batch.span.next_offset
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

    # --- rebalance: called inside the reader's read

    def _take_up(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Open empty buffers for the partitions; return where each is to be read from."""
        ids = topic_ids(self._settings, sorted({each.topic for each in partitions}))
        points = self._offsets.starting_points(partitions)
        for point in points:
            partition = point.partition
            place = Place(partition.topic, ids[partition.topic], partition.number)
            self._buffers.open(PartitionBuffer(place, point.offset, point.owed))
            if point.offset is not None:
                self.reader.committed[partition] = point.offset
        return [point.position for point in points]

    def _let_go(self, partitions: list[Partition]) -> None:
        self._offsets.rebalanced()
        for partition in partitions:
            self._metrics.count("smsift_dropped_records", self._buffers.close(partition))

    # --- stop

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


def _headers(message: "Message[bytes, bytes]") -> Headers | None:
    """None where they cannot be read: then the record is no dead letter of ours, and becomes an unreadable one."""
    headers = headers_of(message)
    return None if isinstance(headers, Rejection) else headers
