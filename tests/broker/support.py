"""What the broker tests share: inbound records, a filter in a thread or in a process, and what came out at the end."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from consumer.classifier.contract import Classification, Classifier
from consumer.classifier.null import Null
from consumer.filter import Filter, assemble
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.settings import Settings, as_environment, load_settings
from consumer.starting import committed_offsets
from schemas.topics import Topics

DEADLINE_S = 90.0


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "sender": f"+44770090{number % 37:04d}",
        "recipient": "+447700900999",
        "text": f"message {number}",
        "received_at": "2026-01-02T03:04:05Z",
    } | changes


def publish(bootstrap: str, topic: str, values: Sequence[bytes | dict[str, Any] | None], **options: Any) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True})
    for value in values:
        key = value["sender"].encode() if isinstance(value, dict) else None
        producer.produce(topic, json.dumps(value).encode() if isinstance(value, dict) else value, key=key, **options)
    assert producer.flush(30) == 0


def read_all(bootstrap: str, topics: Sequence[str], isolation: str = "read_committed") -> list[Message]:
    """Every record of the topics up to where they end now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )
    known = consumer.list_topics(timeout=10).topics
    partitions = [TopicPartition(topic, number, 0) for topic in topics for number in known[topic].partitions]
    consumer.assign(partitions)
    messages, open_ends = [], len(partitions)
    deadline = time.monotonic() + DEADLINE_S
    while open_ends and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                messages.append(message)
            else:
                open_ends -= 1
    consumer.close()
    assert not open_ends
    return messages


@dataclass(frozen=True)
class Outcome:
    """Source coordinates → how often each came out, and the records themselves."""

    times: Counter[tuple[int, int]]
    verdicts: list[dict[str, Any]]
    dead: list[dict[str, str]]

    @classmethod
    def of(cls, bootstrap: str, topics: Topics) -> "Outcome":
        times: Counter[tuple[int, int]] = Counter()
        verdicts, dead = [], []
        for message in read_all(bootstrap, [topics.spam, topics.ham, topics.dead]):
            if message.topic() == topics.dead:
                record = {name: (value or b"").decode() for name, value in message.headers() or []}
                dead.append(record)
            else:
                record = json.loads(message.value() or b"")
                verdicts.append(record)
            times[int(record["source_partition"]), int(record["source_offset"])] += 1
        return cls(times, verdicts, dead)

    def assert_each_once(self, expected: int) -> None:
        repeated = {source: times for source, times in self.times.items() if times > 1}
        assert not repeated
        assert len(self.times) == expected


def committed(bootstrap: str, settings: Settings) -> int:
    """Records of inbound that the filter's group has committed, over all partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": settings.filter_group})
    try:
        partitions = (
            consumer.list_topics(settings.topics.inbound, timeout=10).topics[settings.topics.inbound].partitions
        )
        wanted = [TopicPartition(settings.topics.inbound, number) for number in partitions]
        return sum(max(0, known.offset) for known in committed_offsets(consumer, wanted, 10.0))
    finally:
        consumer.close()


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.05)


def settings_for(bootstrap: str, prefix: str, **changes: Any) -> Settings:
    return load_settings(
        bootstrap_servers=bootstrap,
        topic_prefix=prefix,
        filter_group=f"{prefix}filter",
        transactional_id=changes.pop("transactional_id", f"{prefix}filter-0"),
        # A member that was killed is noticed after this long; the tests would wait 30 s for each otherwise.
        kafka_consumer={"session.timeout.ms": 2000, "heartbeat.interval.ms": 500},
        **changes,
    )


class Scripted(Null):
    """A classifier whose answer to each text is scripted; the rest of it is the null classifier's."""

    def __init__(self, script: Callable[[str], None]) -> None:
        self._script = script

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        for text in texts:
            self._script(text)
        return super().classify(texts)


@dataclass
class Running:
    """A filter in a thread of this process."""

    filter: Filter
    health: Health
    metrics: Metrics
    stop: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def _run(self) -> None:
        try:
            self.filter.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error


@contextmanager
def running(settings: Settings, classifier: Classifier | None = None, **clients: Any) -> Iterator[Running]:
    """Run a filter in a thread until the block ends; its error, if any, is raised then unless the test took it."""
    metrics, health = Metrics("filter"), Health(settings.stall_s)
    filter_ = assemble(settings, classifier or Null(), metrics=metrics, health=health, **clients)
    state = Running(filter_, health, metrics)
    thread = threading.Thread(target=state._run, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.stop.set()
        thread.join(30)
        assert not thread.is_alive()
    if state.error is not None:
        raise state.error


@contextmanager
def process(
    arguments: Sequence[str], settings: Settings, stderr: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A smsift process under these settings; killed, by its id, at the end of the block if it still runs."""
    out = stderr.open("wb") if stderr else None
    running_ = subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, **as_environment(settings)}, stderr=out
    )
    try:
        yield running_
    finally:
        if running_.poll() is None:
            running_.kill()
        running_.wait()
        if out is not None:
            out.close()
