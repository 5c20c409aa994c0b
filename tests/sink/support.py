"""What the sink's tests share: verdicts, dead letters and labels on their topics, a sink in a thread, and its rows."""

import json
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import clickhouse_connect
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.health import Health
from consumer.metrics import Metrics
from consumer.settings import Settings, load_settings
from consumer.sink.service import assemble
from consumer.sink.sink import Sink
from schemas.clickhouse.migrate import migrate
from schemas.events import DeadLetter
from schemas.topics import Topics

# Rows are deleted 400 days after these times, so the tests' rows are of yesterday.
YESTERDAY = f"{datetime.now(UTC).date() - timedelta(days=1)}"


def verdict(number: int, **changes: Any) -> dict[str, Any]:
    label = "spam" if number % 3 == 0 else "ham"
    return {
        "event_id": f"e{number}",
        "sender": f"+44770090{number % 37:04d}",
        "recipient": "+447700900999",
        "text": f"message {number} ☎",
        "received_at": f"{YESTERDAY}T03:04:05.678901Z",
        "label": label,
        "score": 0.9 if label == "spam" else 0.1,
        "margin": 2.5 if label == "spam" else -2.5,
        "action": "block" if label == "spam" else "deliver",
        "signals": ["url", "homoglyphs"] if number % 2 else [],
        "model_name": "null",
        "model_version": "1",
        "model_digest": "d" * 64,
        "threshold": 0.5,
        "normaliser_version": "1",
        "source_topic": "sms.inbound",
        "source_topic_id": "abc",
        "source_partition": number % 4,
        "source_offset": number,
        "scored_at": f"{YESTERDAY}T03:04:06Z",
    } | changes


def label(number: int, **changes: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "label": "spam", "labeller": "ann", "at": "2026-01-03T00:00:00Z"} | changes


def dead_headers(number: int, **changes: Any) -> list[tuple[str, bytes]]:
    fields = {
        "reason": "not_json",
        "detail": "The value is not JSON.",
        "source_topic": "sms.inbound",
        "source_topic_id": "abc",
        "source_partition": number % 4,
        "source_offset": number,
        "failed_at": f"{YESTERDAY}T03:04:06Z",
    } | changes
    return DeadLetter.model_validate(fields).as_headers()


def publish_verdicts(bootstrap: str, topics: Topics, numbers: Iterable[int], seed: int = 1) -> None:
    """In transactions, some of them aborted first: offsets have gaps, as the filter leaves them."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"{topics.prefix}verdicts-{seed}",
            "partitioner": "murmur2_random",
            "retry.backoff.ms": 10,
        }
    )
    producer.init_transactions(30)
    dice = random.Random(seed)
    left = list(numbers)
    while left:
        size = dice.randint(20, 120)
        chunk, left = left[:size], left[size:]
        for aborted in (dice.random() < 0.3, False):
            producer.begin_transaction()
            for number in chunk:
                value = verdict(number)
                topic = topics.spam if value["label"] == "spam" else topics.ham
                producer.produce(topic, json.dumps(value).encode(), key=value["sender"].encode())
            if aborted:
                producer.flush(30)
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)
                break


def publish(bootstrap: str, topic: str, values: Sequence[bytes | dict[str, Any] | None], **options: Any) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True})
    for value in values:
        key = value["event_id"].encode() if isinstance(value, dict) else None
        producer.produce(topic, json.dumps(value).encode() if isinstance(value, dict) else value, key=key, **options)
    assert producer.flush(30) == 0


def settings_for(bootstrap: str, prefix: str, url: str, database: str, **changes: Any) -> Settings:
    return load_settings(
        bootstrap_servers=bootstrap,
        topic_prefix=prefix,
        sink_group=f"{prefix}sink",
        clickhouse_url=url,
        clickhouse_database=database,
        # A member that was killed is noticed after this long; the tests would wait 30 s for each otherwise.
        kafka_consumer={"session.timeout.ms": 3000, "heartbeat.interval.ms": 500},
        **({"sink_linger_ms": 50} | changes),
    )


class Tables:
    """Reads what the sink wrote."""

    def __init__(self, url: str, database: str) -> None:
        self.client = clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False)
        self.database = database

    def migrate(self) -> "Tables":
        """Make the tables, and keep ClickHouse from merging rows of the same key away: repeated rows must show."""
        migrate(self.client, self.database)
        self.client.database = self.database
        self.stop_merges()
        return self

    def stop_merges(self) -> None:
        """Until the server ends."""
        self.client.command(f"SYSTEM STOP MERGES {self.database}.verdicts")

    def count(self, table: str) -> int:
        """Rows as they are stored, without FINAL: a row that was inserted twice counts twice."""
        return int(self.client.query(f"SELECT count() FROM {table}").result_rows[0][0])

    def rows(self, query: str) -> list[dict[str, Any]]:
        return list(self.client.query(query).named_results())


def settled(settings: Settings) -> int:
    """How many partitions of the sink's topics have everything committed and announce nothing."""
    topics = settings.topics
    consumer = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": settings.sink_group})
    try:
        partitions = [
            TopicPartition(topic, number)
            for topic in (topics.spam, topics.ham, topics.dead, topics.labels)
            for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        return sum(1 for known in consumer.committed(partitions, timeout=10) if not known.metadata)
    finally:
        consumer.close()


@dataclass
class Running:
    """A sink in a thread of this process."""

    sink: Sink
    health: Health
    metrics: Metrics
    stop: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def _run(self) -> None:
        try:
            self.sink.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def running(settings: Settings, **parts: Any) -> Iterator[Running]:
    """Run a sink in a thread until the block ends; its error, if any, is raised then."""
    metrics, health = Metrics("sink"), Health(settings.stall_s)
    state = Running(assemble(settings, metrics=metrics, health=health, **parts), health, metrics)
    thread = threading.Thread(target=state._run, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.stop.set()
        thread.join(60)
        assert not thread.is_alive()
    if state.error is not None:
        raise state.error
