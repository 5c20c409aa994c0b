"""The check that nothing was lost or repeated: every inbound record against the verdicts and dead letters it led to.

A record is known by its coordinates (topic, partition, offset), never by its content. Two bytes are kept per inbound
record, and the last offset per sender.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import orjson
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from producer_sim.broker import ANSWER_S, partitions_of
from schemas.errors import UserError
from schemas.topics import Topics

BATCH: Final = 5_000
SILENCE_S: Final = 30.0  # three times the transaction timeout of the filter
SETTLING: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})

T = TypeVar("T")
Offsets = Mapping[tuple[str, int], int]
"""Offsets by (topic, partition)."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of the inbound records. All but the first five are zero when the pipeline kept its promise."""

    events: int
    verdicts: int
    spam: int
    ham: int
    dead: int
    lost: int  # inbound records without an outcome
    duplicated: int  # outcomes beyond the first of a record
    invented: int  # outcomes that name an inbound record which is not there
    misfiled: int  # verdicts whose label is not that of their topic
    unreadable: int  # outcomes that do not say where they come from
    out_of_order: int  # verdicts that overtook an earlier one of the same sender and partition

    @property
    def ok(self) -> bool:
        return not (
            self.lost or self.duplicated or self.invented or self.misfiled or self.unreadable or self.out_of_order
        )


def verify(
    bootstrap_servers: str,
    topics: Topics,
    properties: Mapping[str, Any] | None = None,
    *,
    start: Offsets | None = None,
    on_verdict: Callable[[dict[str, Any]], None] | None = None,
) -> Verification:
    """Read the inbound, spam, ham and dead topics read_committed, from `start` to where they end now; a transaction that is open at
    that moment is waited for.

    A partition missing from `start` is read from its beginning; outcomes of records before the start are ignored. Call
    this when the filter has caught up: a record that it has not judged yet counts as lost. `on_verdict` is given every
    verdict of a record in range. Raises UserError where the broker stops answering or a topic is missing.
    """
    start = start or {}
    with _Reader(bootstrap_servers, properties or {}) as reader:
        # Inbound first: what is judged between the two looks is then beyond the end, and ignored.
        inbound = reader.ranges([topics.inbound], start)
        outcomes = reader.ranges([topics.spam, topics.ham, topics.dead], start)
        ledger = _Ledger(topics, inbound)
        for record in reader.read(inbound):
            ledger.arrived(record)
        for record in reader.read(outcomes):
            ledger.led_to(record, on_verdict)
    return ledger.balance()


def end_offsets(bootstrap_servers: str, topics: Topics, properties: Mapping[str, Any] | None = None) -> Offsets:
    """Where the four topics end now: the `start` of a verification that shall cover only what comes later."""
    with _Reader(bootstrap_servers, properties or {}) as reader:
        ranges = reader.ranges([topics.inbound, topics.spam, topics.ham, topics.dead], {})
    return {place: stretch.stop for place, stretch in ranges.items()}


class _Ledger:
    """Arrivals and outcomes per inbound partition, one byte each per offset."""

    def __init__(self, topics: Topics, inbound: Mapping[tuple[str, int], range]) -> None:
        self._topics = topics
        self._ranges = {partition: stretch for (_, partition), stretch in inbound.items()}
        self._arrived = {partition: bytearray(len(stretch)) for partition, stretch in self._ranges.items()}
        self._outcomes = {partition: bytearray(len(stretch)) for partition, stretch in self._ranges.items()}
        self._latest: dict[tuple[str, int, bytes | None], int] = {}
        self._spam = self._ham = self._dead = self._misfiled = self._unreadable = self._out_of_order = 0

    def arrived(self, record: Message) -> None:
        partition = _known(record.partition())
        self._arrived[partition][_known(record.offset()) - self._ranges[partition].start] = 1

    def led_to(self, record: Message, on_verdict: Callable[[dict[str, Any]], None] | None) -> None:
        topic = record.topic()
        try:
            verdict = None if topic == self._topics.dead else orjson.loads(record.value() or b"")
            source, partition, offset = _source(record) if verdict is None else _source_fields(verdict)
        except (ValueError, TypeError, KeyError):
            self._unreadable += 1
            return
        stretch = self._ranges.get(partition)
        if source != self._topics.inbound or stretch is None or offset < 0:
            self._unreadable += 1
            return
        if offset not in stretch:
            return
        outcomes = self._outcomes[partition]
        outcomes[offset - stretch.start] = min(outcomes[offset - stretch.start] + 1, 255)
        if verdict is None:
            self._dead += 1
            return
        self._judged(record, verdict, partition, offset)
        if on_verdict is not None:
            on_verdict(verdict)

    def _judged(self, record: Message, verdict: dict[str, Any], partition: int, offset: int) -> None:
        topic = _known(record.topic())
        spam = topic == self._topics.spam
        self._spam += spam
        self._ham += not spam
        self._misfiled += verdict.get("label") != ("spam" if spam else "ham")
        key = record.key()
        sender = (topic, partition, key.encode() if isinstance(key, str) else key)
        self._out_of_order += offset < self._latest.get(sender, -1)
        self._latest[sender] = max(offset, self._latest.get(sender, -1))

    def balance(self) -> Verification:
        events = lost = duplicated = invented = 0
        for partition, arrived in self._arrived.items():
            outcomes = self._outcomes[partition]
            events += sum(arrived)
            for there, count in zip(arrived, outcomes, strict=True):
                if there and count == 1:
                    continue
                lost += there and not count
                invented += not there and count > 0
                duplicated += max(count - 1, 0)
        return Verification(
            events=events,
            verdicts=self._spam + self._ham,
            spam=self._spam,
            ham=self._ham,
            dead=self._dead,
            lost=lost,
            duplicated=duplicated,
            invented=invented,
            misfiled=self._misfiled,
            unreadable=self._unreadable,
            out_of_order=self._out_of_order,
        )


def _known(value: T | None) -> T:
    """A field that every consumed record has; the client's types allow None."""
    assert value is not None
    return value


def _source_fields(verdict: dict[str, Any]) -> tuple[str, int, int]:
    return verdict["source_topic"], int(verdict["source_partition"]), int(verdict["source_offset"])


def _source(record: Message) -> tuple[str, int, int]:
    headers = dict(record.headers() or [])
    topic, partition, offset = (headers[f"source_{name}"] for name in ("topic", "partition", "offset"))
    return _text(topic), int(_text(partition)), int(_text(offset))


def _text(header: str | bytes | None) -> str:
    return header.decode() if isinstance(header, bytes) else header or ""


class _Reader:
    """Reads stretches of partitions with a consumer that belongs to no group's business and commits nothing."""

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, Any]) -> None:
        self._servers = bootstrap_servers
        logger = logging.getLogger("smsift.librdkafka")
        self._admin = AdminClient({**properties, "bootstrap.servers": bootstrap_servers}, logger=logger)
        self._consumer = Consumer(
            {
                **properties,
                "bootstrap.servers": bootstrap_servers,
                "group.id": "smsift-verify",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                # Transaction markers take offsets but are no records: only this event tells that the end is reached.
                "enable.partition.eof": True,
            },
            logger=logger,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def ranges(self, names: list[str], start: Offsets) -> dict[tuple[str, int], range]:
        """From `start`, or the first offset kept, to the high watermark, of every partition of the topics.

        The high watermark, not the last stable offset: for a moment after a commit its markers are on their way, and a
        reader that stopped at the last stable offset would miss records that are committed.
        """
        places = [
            TopicPartition(name, partition)
            for name, partitions in partitions_of(self._consumer, self._servers, names).items()
            for partition in partitions
        ]
        lows = self._offsets(places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        highs = self._offsets(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        firsts = {place: max(low, start.get(place, 0)) for place, low in lows.items()}
        return {place: range(first, max(highs[place], first)) for place, first in firsts.items()}

    def _offsets(self, places: list[TopicPartition], which: OffsetSpec) -> dict[tuple[str, int], int]:
        deadline = time.monotonic() + ANSWER_S
        while True:
            asked = self._admin.list_offsets(
                dict.fromkeys(places, which),
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=ANSWER_S,
            )
            try:
                return {(place.topic, place.partition): answer.result().offset for place, answer in asked.items()}
            except KafkaException as error:
                # A partition made a moment ago may still be looking for its leader.
                if error.args[0].code() not in SETTLING or time.monotonic() > deadline:
                    raise UserError(f"Cannot ask {self._servers} for offsets: {error.args[0].str()}.") from error
                time.sleep(0.05)

    def read(self, ranges: Mapping[tuple[str, int], range]) -> Iterator[Message]:
        """The records within the ranges; each partition in its order."""
        open_ends = {place: stretch.stop for place, stretch in ranges.items() if len(stretch)}
        self._consumer.assign([TopicPartition(*place, ranges[place].start) for place in open_ends])
        heard = time.monotonic()
        while open_ends:
            records = self._consumer.consume(BATCH, timeout=0.1)
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_S:
                raise UserError(
                    f"{min(open_ends)[0]} did not reach its end within {SILENCE_S:.0f} s: "
                    f"a transaction is still open, or the broker at {self._servers} is gone."
                )
            for record in records:
                place = (_known(record.topic()), _known(record.partition()))
                end = open_ends.get(place)
                error = record.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  (the client's name for it)
                        raise UserError(f"Reading {place[0]} failed: {error.str()}.")
                    if end is not None and _known(record.offset()) >= end:
                        del open_ends[place]
                elif end is not None:
                    offset = _known(record.offset())
                    if offset < end:
                        yield record
                    if offset >= end - 1:
                        del open_ends[place]
        self._consumer.unassign()
