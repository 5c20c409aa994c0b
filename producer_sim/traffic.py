"""Open-loop traffic: events leave at their intended times, however slow the system behind them is.

An event's `received_at` is the time at which it was meant to be sent. A sender that falls behind sends at once and
keeps the old time, so latency measured against it does not hide the wait.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count as counted
from itertools import islice
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from producer_sim.broker import partitions_of
from producer_sim.labels import label_maker
from producer_sim.malformed import MALFORMED, ODD, Maker, Wire, as_wire
from producer_sim.population import Population
from schemas.corpus import Message
from schemas.errors import UserError
from schemas.events import LabelName
from schemas.topics import Topics

log = logging.getLogger(__name__)

BURST: Final = 500  # events between two looks at the clock, the stop and the delivery reports
FLUSH_S: Final = 60.0  # what is still unsent after that is reported as failed
# Ours to decide: the order of a sender's messages and their number stand on these.
FIXED: Final = {
    "partitioner": "murmur2_random",
    "enable.idempotence": True,
    # Only failures call back: a call per success would cost a third of the rate.
    "delivery.report.only.error": True,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to send, how fast, and with what faults.

    `rate`: events per second, None for as fast as possible. `count` and `duration_s`: the first to be reached ends the
    run; with neither it runs until stopped. `run` is part of every event id: runs of different names share no id.
    `malformed` and `odd` are the shares of records made by malformed.MALFORMED and malformed.ODD.
    """

    rate: float | None = 200.0
    count: int | None = None
    duration_s: float | None = None
    seed: int = 0
    run: str = "sim"
    malformed: float = 0.0
    odd: float = 0.0
    senders: int = 2_000
    recipients: int = 10_000

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < 10_000_000:
            raise UserError(f"The rate is events per second and above 0, not {self.rate}.")
        if (self.count is not None and self.count < 0) or (self.duration_s is not None and self.duration_s < 0):
            raise UserError("The count and the duration cannot be negative.")
        if self.malformed < 0 or self.odd < 0 or self.malformed + self.odd > 1:
            raise UserError("The shares of malformed and of odd records lie between 0 and 1, together at most 1.")
        if not 1 <= len(self.run) <= 40:
            raise UserError("The name of a run has 1 to 40 characters.")

    @property
    def limit(self) -> int | None:
        """The number of events after which the run ends, where count or rate and duration decide it."""
        if self.duration_s is None or self.rate is None:
            return self.count
        within = int(self.duration_s * self.rate)
        return within if self.count is None else min(self.count, within)


class Truth(NamedTuple):
    """What the simulator knows about one record it sent."""

    event_id: str
    message: Message
    intended: float  # unix time, s
    fault: str | None  # the name of the maker in MALFORMED: this record must become a dead letter
    oddity: str | None  # the name of the maker in ODD: this record is unusual and must be judged

    @property
    def label(self) -> LabelName:
        return self.message.label


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did. `sent` counts records that the broker acknowledged, malformed ones included."""

    intended: int
    sent: int
    failed: int
    malformed: int
    odd: int
    labels: int
    labels_failed: int
    seconds: float
    stopped: bool

    @property
    def rate(self) -> float:
        """Acknowledged records per second."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0


def records(plan: Plan, corpus: Iterator[Message]) -> Iterator[Callable[[float], tuple[Truth, Wire]]]:
    """The records of a run in order, each still to be given its intended time.

    The same plan and corpus give the same ids, senders, texts and faults.
    """
    people = Population(plan.seed, plan.senders, plan.recipients)
    uniform = random.Random(f"faults {plan.seed}").random
    faulty, odd = plan.malformed, plan.malformed + plan.odd
    for number, message in zip(counted(), corpus, strict=False):
        fields = {
            "event_id": f"{plan.run}-{plan.seed}-{number}",
            "sender": people.sender_of(message),
            "recipient": people.recipient(),
            "text": message.text,
        }
        draw = uniform() if odd else 1.0
        maker = _picked(MALFORMED, uniform()) if draw < faulty else _picked(ODD, uniform()) if draw < odd else None
        yield _Record(fields, message, maker, uniform, malformed=draw < faulty).at


class _Record(NamedTuple):
    fields: dict[str, Any]
    message: Message
    maker: Maker | None
    uniform: Callable[[], float]
    malformed: bool

    def at(self, intended: float) -> tuple[Truth, Wire]:
        fields, maker = self.fields, self.maker
        event_id = fields["event_id"]
        fields["received_at"] = datetime.fromtimestamp(intended, UTC)
        if maker is None:
            return Truth(event_id, self.message, intended, None, None), as_wire(fields)
        wire = maker.make(fields, self.uniform)
        fault, oddity = (maker.name, None) if self.malformed else (None, maker.name)
        return Truth(event_id, self.message, intended, fault, oddity), wire


def _picked(makers: tuple[Maker, ...], uniform: float) -> Maker:
    return makers[int(uniform * len(makers))]


def simulate(
    plan: Plan,
    corpus: Iterator[Message],
    bootstrap_servers: str,
    topics: Topics,
    properties: Mapping[str, Any] | None = None,
    *,
    label_quality: float | None = None,
    on_event: Callable[[Truth], None] | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Send the plan's events to the inbound topic; returns when all are acknowledged or given up.

    `properties` are librdkafka's. With a `label_quality`, the truth about every judgeable event goes to the labels
    topic. `on_event` hears of each event before it is sent, in this thread. `stop`, or Ctrl-C, ends the run cleanly:
    what was handed over is still delivered. Raises UserError where no broker answers or a topic is missing.
    """
    stop = stop or threading.Event()
    label = None if label_quality is None else label_maker(label_quality, plan.seed)
    sending = _Sending(_producer(bootstrap_servers, properties or {}, topics, labels=label is not None), topics)
    made = islice(records(plan, corpus), plan.limit)
    malformed = odd = 0
    begun, wall = time.monotonic(), time.time()
    try:
        for number, at in enumerate(made):
            if number % BURST == 0:
                sending.producer.poll(0)
            elapsed = time.monotonic() - begun
            due = elapsed if plan.rate is None else number / plan.rate
            if stop.is_set() or (plan.duration_s is not None and due >= plan.duration_s):
                break
            if due > elapsed:
                sending.producer.poll(0)
                if stop.wait(due - elapsed):
                    break
            truth, wire = at(wall + due)
            if on_event is not None:
                on_event(truth)
            sending.produce(topics.inbound, wire)
            malformed += truth.fault is not None
            odd += truth.oddity is not None
            if label is not None and truth.fault is None:
                sending.produce(topics.labels, label(truth.event_id, truth.message, truth.intended))
    except KeyboardInterrupt:
        stop.set()
    failed = sending.finish()
    events, labels = sending.handed.get(topics.inbound, 0), sending.handed.get(topics.labels, 0)
    return Report(
        intended=events,
        sent=events - failed.get(topics.inbound, 0),
        failed=failed.get(topics.inbound, 0),
        malformed=malformed,
        odd=odd,
        labels=labels - failed.get(topics.labels, 0),
        labels_failed=failed.get(topics.labels, 0),
        seconds=time.monotonic() - begun,
        stopped=stop.is_set(),
    )


@contextmanager
def stopped_by_signals(*signals: signal.Signals) -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM (or the given signals) set; the former handlers come back afterwards."""
    stop = threading.Event()
    former = {
        number: signal.signal(number, lambda *_: stop.set()) for number in signals or (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class _Sending:
    """A producer and the count of what was handed to it and what it could not deliver, by topic."""

    def __init__(self, producer: Producer, topics: Topics) -> None:
        self.producer = producer
        self.handed: dict[str, int] = {topics.inbound: 0, topics.labels: 0}
        self._failed: dict[str, int] = {}

    def produce(self, topic: str, wire: Wire) -> None:
        """Hand one record over; waits while the local queue is full."""
        while True:
            try:
                self.producer.produce(topic, wire.value, wire.key, headers=wire.headers, on_delivery=self._reported)
            except BufferError:
                self.producer.poll(0.05)
                continue
            except KafkaException as error:  # refused at once: larger than message.max.bytes
                self._count_failure(topic, error.args[0])
            self.handed[topic] += 1
            return

    def finish(self) -> dict[str, int]:
        """Deliver what is queued; the failures by topic, with what could not be delivered in time among them."""
        if self.producer.flush(FLUSH_S):
            self.producer.purge()
            self.producer.flush(1.0)
        return self._failed

    def _reported(self, error: KafkaError | None, record: Delivered) -> None:
        if error is not None:
            self._count_failure(record.topic() or "", error)

    def _count_failure(self, topic: str, error: KafkaError) -> None:
        self._failed[topic] = self._failed.get(topic, 0) + 1
        if self._failed[topic] == 1:
            log.error("a record for %s was not delivered: %s", topic, error.str())


def _producer(servers: str, properties: Mapping[str, Any], topics: Topics, *, labels: bool) -> Producer:
    """A connected producer; UserError where the broker or a topic is missing, or a property is refused."""
    clash = [name for name, value in FIXED.items() if name in properties and properties[name] != value]
    if clash:
        raise UserError(f"The simulator sets {', '.join(clash)} itself; leave it out of the Kafka properties.")
    config = {
        "bootstrap.servers": servers,
        "compression.type": "lz4",
        "linger.ms": 5,
        "queue.buffering.max.messages": 200_000,
        **properties,
        **FIXED,
    }
    try:
        producer = Producer(config, logger=logging.getLogger("smsift.librdkafka"))
    except KafkaException as error:
        raise UserError(f"The Kafka properties are refused: {error.args[0].str()}.") from error
    partitions_of(producer, servers, [topics.inbound, *([topics.labels] if labels else [])])
    return producer
