"""Exactly-once throughput of the filter, beside two bare transactional loops in the same run.

All read the same inbound topic of real-looking events from its start with a group of their own, publish one record for
each in transactions of the same size, commit the offsets in them, and stop at the last record. Both loops publish a
ready-made verdict with its header, so they move as many bytes as the filter, and do nothing else. The bare loop is the
one that the client's own example has: poll, produce with a delivery report, commit after so many. The batched loop
takes its records by consume and asks for no reports: it is what the clients and the broker allow.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final, cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.assignment import Partition
from consumer.classifier.contract import Classifier
from consumer.collector import calm_garbage_collector
from consumer.filter import COLLECTOR, assemble
from consumer.health import Health
from consumer.kafka_clients import client_config, consumer_config, transactional_config
from consumer.metrics import Metrics
from consumer.reader import Record
from consumer.scoring import Scorer
from consumer.settings import Settings, load_settings
from consumer.transactions import Outgoing
from consumer.verdicts import Privacy, VerdictEncoder
from deploy.local import stack
from producer_sim import traffic
from producer_sim.corpus import generate
from schemas.errors import UserError
from schemas.topics import create_topics
from tests.bench.report import Case, Report

FILTER: Final = "filter"
BARE: Final = "bare loop"
BATCHED: Final = "batched bare loop"
TEXTS: Final = 20_000  # distinct messages; drawing them costs more than sending them
BATCHES: Final = (250, 1_000, 4_000)  # messages in a transaction, in all of them
TOKENS: Final = 1_000_000  # no limit: the null classifier has no token budget to keep
PARTITIONS: Final = 4
STALLED_S: Final = 60.0


def run(settings: Settings, load_classifier: Callable[[], Classifier], *, messages: int, repeats: int) -> Report:
    """Interleave filter and bare loop `repeats` times on one broker and return medians and ratios.

    Raises UserError where the broker cannot be had.
    """
    with _broker(settings) as servers:
        here = load_settings(
            bootstrap_servers=servers,
            topic_prefix=f"bench{uuid.uuid4().hex[:8]}.",
            batch_tokens=TOKENS,
        )
        admin = AdminClient(client_config(here))
        create_topics(admin, here.topic_prefix, PARTITIONS, 1)
        try:
            corpus = itertools.cycle(list(generate(1, TEXTS)))
            traffic.simulate(traffic.Plan(rate=None, count=messages, run="bench"), corpus, servers, here.topics)
            classifier = load_classifier()
            classifier.warm_up()
            calm_garbage_collector(*COLLECTOR)
            cases = list(_measure(here, classifier, messages, repeats))
        finally:
            admin.delete_topics(list(here.topics.all))
    return Report({"messages": messages, "repeats": repeats}, classifier.identity.digest, cases)


def _measure(settings: Settings, classifier: Classifier, messages: int, repeats: int) -> Iterator[Case]:
    verdict = next(iter(_published(settings, classifier)))
    _batched(settings, messages, BATCHES[-1], verdict)  # not counted: the first transactions load the coordinator
    for batch in BATCHES:
        here = settings.model_copy(update={"batch_messages": batch})
        runs: list[dict[str, float]] = [
            {
                FILTER: _filter(here, classifier, messages),
                BARE: _bare(settings, messages, batch, verdict),
                BATCHED: _batched(settings, messages, batch, verdict),
            }
            for _ in range(repeats)
        ]
        size = f"{batch} a transaction"
        ours = median(run[FILTER] for run in runs)
        for peer in (BARE, BATCHED):
            ratios = [run[FILTER] / run[peer] for run in runs]
            yield Case("pipeline", f"{FILTER}, {size}", "rate", ours, "messages/s", peer, median(ratios))
            yield Case("pipeline", f"{FILTER}, {size}", "lowest ratio", min(ratios), "", peer, min(ratios))
            yield Case("pipeline", f"{FILTER}, {size}", "highest ratio", max(ratios), "", peer, max(ratios))
            yield Case("pipeline", f"{peer}, {size}", "rate", median(run[peer] for run in runs), "messages/s")


def _published(settings: Settings, classifier: Classifier) -> Iterator[Outgoing]:
    """What the filter publishes about the first inbound records, so that the bare loop moves as many bytes."""
    consumer = Consumer(consumer_config(settings, f"look-{uuid.uuid4().hex[:8]}", **{"auto.offset.reset": "earliest"}))
    consumer.assign([TopicPartition(settings.topics.inbound, 0, 0)])
    encoder = VerdictEncoder(classifier.identity, settings.topics.inbound, "A" * 22, Privacy())
    scorer = Scorer(classifier, encoder, settings.topics, "A" * 22)
    records = [Record(Partition(settings.topics.inbound, 0), 0, 0, message) for message in consumer.consume(10, 10.0)]
    consumer.close()
    return (scored.outgoing for scored in scorer.score(records).records)


def _case(name: str, rates: list[float]) -> Case:
    return Case("pipeline", name, "rate", median(rates), "messages/s")


@contextmanager
def _broker(settings: Settings) -> Iterator[str]:
    if settings.bootstrap_servers:
        yield settings.bootstrap_servers
    else:
        with stack.running(settings) as addresses:
            yield addresses.bootstrap_servers


def _filter(settings: Settings, classifier: Classifier, messages: int) -> float:
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
    return messages / seconds


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


def _bare(settings: Settings, messages: int, size: int, verdict: Outgoing) -> float:
    with _clients(settings, reports=True) as (consumer, producer, started):
        done = 0
        while done < messages:
            producer.begin_transaction()
            last = min(done + size, messages)
            while done < last:
                message = consumer.poll(0.1)
                if message is None:
                    continue
                _produce(producer, settings, verdict, message)
                producer.poll(0)
                done += 1
            positions = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
            producer.commit_transaction(30)
        return messages / (time.monotonic() - started[0])


def _batched(settings: Settings, messages: int, size: int, verdict: Outgoing) -> float:
    with _clients(settings, reports=False) as (consumer, producer, started):
        done = 0
        while done < messages:
            batch = consumer.consume(size, 0.05)
            if not batch:
                continue
            producer.begin_transaction()
            offsets: dict[Any, int] = {}
            for message in batch:
                _produce(producer, settings, verdict, message)
                offsets[message.topic(), message.partition()] = (message.offset() or 0) + 1
            positions = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
            producer.commit_transaction(30)
            done += len(batch)
        return done / (time.monotonic() - started[0])


def _produce(producer: Producer, settings: Settings, verdict: Outgoing, message: "Message[bytes, bytes]") -> None:
    producer.produce(settings.topics.ham, verdict.value, message.key(), headers=cast("Any", verdict.headers))


@contextmanager
def _clients(settings: Settings, *, reports: bool) -> Iterator[tuple[Consumer, Producer, list[float]]]:
    """The same clients and settings as the filter's, and when their first assignment came."""
    name = f"bare-{uuid.uuid4().hex[:8]}"
    consumer = Consumer(consumer_config(settings, name, **{"auto.offset.reset": "earliest"}))
    producing = transactional_config(settings.model_copy(update={"transactional_id": name}))
    producer = Producer({**producing, "delivery.report.only.error": not reports})
    producer.init_transactions(30)
    started: list[float] = []
    consumer.subscribe([settings.topics.inbound], on_assign=lambda *_: started.append(time.monotonic()))
    try:
        yield consumer, producer, started
    finally:
        consumer.close()
