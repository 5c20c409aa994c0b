"""Exactly-once throughput of the filter, beside the bare transactional loop in the same run.

Both read the same inbound topic of real-looking events from its start with a group of their own, publish one record
for each in transactions, commit the offsets in them, and stop at the last record. The bare loop copies the bytes:
consume, begin, produce, send offsets, commit, and nothing else, so it is what the clients and the broker allow.
"""

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.classifier.contract import Classifier
from consumer.filter import assemble
from consumer.health import Health
from consumer.kafka_clients import client_config, consumer_config, transactional_config
from consumer.metrics import Metrics
from consumer.settings import Settings, load_settings
from deploy.local import stack
from producer_sim import traffic
from producer_sim.corpus import open_corpus
from schemas.errors import UserError
from schemas.topics import Topics, create_topics
from tests.bench.report import Case, Report

BATCH: Final = 4_000  # messages in a transaction, in both
TOKENS: Final = 1_000_000  # no limit: the null classifier has no token budget to keep
PARTITIONS: Final = 4
STALLED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """Messages per second from the first record read to the last transaction committed."""

    rate: float
    transactions: int


def run(
    settings: Settings, load_classifier: Callable[[], Classifier], *, messages: int, repeats: int, name: str
) -> Report:
    """Interleave filter and bare loop `repeats` times on one broker and return medians and ratios.

    Raises UserError where the broker cannot be had.
    """
    with _broker(settings) as servers:
        here = load_settings(
            bootstrap_servers=servers,
            topic_prefix=f"bench{uuid.uuid4().hex[:8]}.",
            batch_messages=BATCH,
            batch_tokens=TOKENS,
        )
        admin = AdminClient(client_config(here))
        create_topics(admin, here.topic_prefix, PARTITIONS, 1)
        try:
            plan = traffic.Plan(rate=None, count=messages, run="bench")
            traffic.simulate(plan, open_corpus(None, 1), servers, here.topics)
            classifier = load_classifier()
            classifier.warm_up()
            _bare(here, messages)  # not counted: the first transactions on a broker load its coordinator
            pairs = [(_filter(here, classifier, messages), _bare(here, messages)) for _ in range(repeats)]
        finally:
            admin.delete_topics(list(here.topics.all))
    ratios = [ours.rate / bare.rate for ours, bare in pairs]
    cases = [
        Case("pipeline", f"filter {name}", "rate", statistics.median(ours.rate for ours, _ in pairs), "messages/s",
             "bare loop", statistics.median(ratios)),
        Case("pipeline", "bare loop", "rate", statistics.median(bare.rate for _, bare in pairs), "messages/s"),
        Case("pipeline", f"filter {name}", "lowest ratio", min(ratios), "", "bare loop", min(ratios)),
        Case("pipeline", f"filter {name}", "highest ratio", max(ratios), "", "bare loop", max(ratios)),
    ]  # fmt: skip
    return Report({"messages": messages, "repeats": repeats, "batch": BATCH}, classifier.identity.digest, cases)


@contextmanager
def _broker(settings: Settings) -> Iterator[str]:
    if settings.bootstrap_servers:
        yield settings.bootstrap_servers
    else:
        with stack.running(settings) as addresses:
            yield addresses.bootstrap_servers


def _filter(settings: Settings, classifier: Classifier, messages: int) -> Run:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    settings = settings.model_copy(update={"filter_group": name, "transactional_id": name})
    metrics, stop = Metrics("filter"), threading.Event()
    filter_ = assemble(settings, classifier, metrics=metrics, health=Health(60.0))
    started: list[float] = []
    filter_.reader._on_assign = _timed(filter_.reader._on_assign, started)  # type: ignore[method-assign]
    worker = threading.Thread(target=filter_.run, args=(stop,))
    worker.start()

    def committed() -> int:
        outcomes = [metrics.registry.get_sample_value("smsift_records_total", {"outcome": o}) for o in OUTCOMES]
        return int(sum(outcome or 0 for outcome in outcomes))

    seconds = _until(lambda: committed() >= messages, started)
    stop.set()
    worker.join()
    return Run(messages / seconds, int(metrics.registry.get_sample_value("smsift_transaction_seconds_count") or 0))


OUTCOMES: Final = ("spam", "ham", "dead")


def _timed(call: Callable[..., Any], started: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> None:
        call(*arguments)
        started.append(time.monotonic())

    return timed


def _until(done: Callable[[], bool], started: list[float]) -> float:
    """Seconds from the first assignment to `done`, looked at every two milliseconds."""
    deadline = time.monotonic() + STALLED_S
    while not done():
        if time.monotonic() > deadline:
            raise UserError("The benchmark stalled: the broker or the machine is too slow for so many messages.")
        time.sleep(0.002)
    return time.monotonic() - started[0]


def _bare(settings: Settings, messages: int) -> Run:
    """The same clients and settings as the filter's, and nothing between consume and produce."""
    name = f"bare-{uuid.uuid4().hex[:8]}"
    consumer = Consumer(consumer_config(settings, name, **{"auto.offset.reset": "earliest"}))
    producer = Producer(transactional_config(settings.model_copy(update={"transactional_id": name})))
    producer.init_transactions(30)
    topics: Topics = settings.topics
    started: list[float] = []
    consumer.subscribe([topics.inbound], on_assign=lambda *_: started.append(time.monotonic()))
    copied = transactions = 0
    while copied < messages:
        batch = consumer.consume(BATCH, 0.05)
        if not batch:
            continue
        producer.begin_transaction()
        offsets: dict[tuple[str, int], int] = {}
        for message in batch:
            producer.produce(topics.ham, message.value(), message.key())
            offsets[message.topic(), message.partition()] = message.offset() + 1  # type: ignore[index,operator]
        positions = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        copied += len(batch)
        transactions += 1
    seconds = time.monotonic() - started[0]
    consumer.close()
    return Run(copied / seconds, transactions)
