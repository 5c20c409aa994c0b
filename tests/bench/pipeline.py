"""Exactly-once throughput of the filter, beside bare transactional loops in the same run.

All read the same inbound topic of real-looking events from its start with a group of their own, publish one record for
each in transactions of the same size, commit the offsets in them, and stop at the last record. The bare loop publishes
a ready-made verdict with its header, so it moves as many bytes as the filter and does nothing else: it is what the
clients and the broker allow. The copying loop publishes the inbound bytes as they are, a third of the size.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.assignment import Partition
from consumer.classifier.contract import Classifier
from consumer.filter import assemble, calm_garbage_collector
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
COPY: Final = "bare loop, copying"
TEXTS: Final = 20_000  # distinct messages; drawing them costs more than sending them
BATCH: Final = 4_000  # messages in a transaction, in both
TOKENS: Final = 1_000_000  # no limit: the null classifier has no token budget to keep
PARTITIONS: Final = 4
STALLED_S: Final = 60.0


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
            corpus = itertools.cycle(list(generate(1, TEXTS)))
            traffic.simulate(traffic.Plan(rate=None, count=messages, run="bench"), corpus, servers, here.topics)
            classifier = load_classifier()
            classifier.warm_up()
            calm_garbage_collector()
            rates = _interleaved(here, classifier, messages, repeats)
        finally:
            admin.delete_topics(list(here.topics.all))
    ours = rates.pop(FILTER)
    cases = [_case(f"filter, {name} classifier", ours)]
    for peer, theirs in rates.items():
        cases.append(_case(peer, theirs))
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        for what, ratio in (("median", median(ratios)), ("lowest", min(ratios)), ("highest", max(ratios))):
            cases.append(Case("pipeline", cases[0].case, f"{what} ratio", ratio, "", peer, ratio))
    return Report({"messages": messages, "repeats": repeats, "batch": BATCH}, classifier.identity.digest, cases)


def _interleaved(settings: Settings, classifier: Classifier, messages: int, repeats: int) -> dict[str, list[float]]:
    verdict = next(iter(_published(settings, classifier)))
    runs: dict[str, Callable[[], float]] = {
        FILTER: lambda: _filter(settings, classifier, messages),
        BARE: lambda: _bare(settings, messages, lambda message: (verdict.value, message.key(), verdict.headers)),
        COPY: lambda: _bare(settings, messages, lambda message: (message.value(), message.key(), None)),
    }
    runs[COPY]()  # not counted: the first transactions on a broker load its coordinator
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run_once in runs.items():
            rates[name].append(run_once())
    return rates


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


def _bare(settings: Settings, messages: int, made: Callable[["Message[bytes, bytes]"], tuple[Any, Any, Any]]) -> float:
    """The same clients and settings as the filter's, and between consume and produce only `made`."""
    name = f"bare-{uuid.uuid4().hex[:8]}"
    consumer = Consumer(consumer_config(settings, name, **{"auto.offset.reset": "earliest"}))
    producer = Producer(transactional_config(settings.model_copy(update={"transactional_id": name})))
    producer.init_transactions(30)
    out = settings.topics.ham
    started: list[float] = []
    consumer.subscribe([settings.topics.inbound], on_assign=lambda *_: started.append(time.monotonic()))
    done = 0
    while done < messages:
        batch = consumer.consume(BATCH, 0.05)
        if not batch:
            continue
        producer.begin_transaction()
        offsets: dict[Any, int] = {}
        for message in batch:
            value, key, headers = made(message)
            producer.produce(out, value, key, headers=headers)
            offsets[message.topic(), message.partition()] = (message.offset() or 0) + 1
        positions = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        done += len(batch)
    seconds = time.monotonic() - started[0]
    consumer.close()
    return done / seconds
