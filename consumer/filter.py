"""The filter: consume → classify → publish, each inbound record to exactly one of spam, ham and dead.

    owner thread   consume ─ batch ─┐                             ┌─ drop what left ─ transaction ─ commit
    worker thread                   └─ decode ─ classify ─ encode ┘

One thread owns consumer and producer; the model runs in another, on batches that carry their own offsets. No
transaction is open while it runs, so a rebalance finds nothing to commit: work on a partition that has left is
dropped, and its new owner does it again.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from operator import attrgetter
from threading import Event as StopEvent
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from consumer.assignment import OffsetWentBackError, Partition
from consumer.batching import Batcher, Budget
from consumer.classifier.contract import Classifier
from consumer.collector import calm_garbage_collector
from consumer.dead_letters import FaultLimit, FaultWatch
from consumer.health import Health, serving
from consumer.kafka_clients import client, consumer_config, topic_ids, transactional_config
from consumer.metrics import Metrics
from consumer.reader import GroupReader, Record
from consumer.scoring import Scored, ScoredBatch, Scorer
from consumer.settings import Settings
from consumer.signals import EXIT_RESTART, stop_on_signals
from consumer.starting import first_offsets
from consumer.transactions import FencedError, TransactionFailedError, Transactions
from consumer.verdicts import Privacy, VerdictEncoder

log = logging.getLogger("smsift.filter")

EXIT_FENCED: Final = 3
# A poll serves rebalances and wakes at the first record; this bounds how late a finished batch is noticed.
POLL_S: Final = 0.01
# Not polling is enough to hold records back. Only when the model keeps the loop waiting longer than this are the
# partitions paused and polls resumed: a pause throws away what librdkafka has fetched ahead.
PAUSE_AFTER_S: Final = 5.0
RPC_S: Final = 15.0
ENVELOPE_BYTES: Final = 150
COLLECTOR: Final = (100_000, 20, 20)  # a micro-batch is thousands of objects that all go again
# For whole batches at once: these run at C's speed over tens of thousands of records a second.
_SOURCE: Final = attrgetter("source")
_OUTCOME: Final = attrgetter("outcome")
_TENURE: Final = attrgetter("partition", "epoch")
_PLACE: Final = attrgetter("partition", "offset")


class Filter:
    """The loop. Build it with `assemble`."""

    def __init__(
        self,
        settings: Settings,
        *,
        consumer: Consumer,
        transactions: Transactions,
        scorer: Scorer,
        metrics: Metrics,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._transactions = transactions
        self._scorer = scorer
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self.reader = GroupReader(
            consumer,
            [settings.topics.inbound],
            take_up=self._take_up,
            let_go=lambda _: None,  # what was read of them is dropped by its epoch
            metrics=metrics,
            health=health,
            clock=clock,
        )
        budget = Budget(settings.batch_tokens, settings.batch_messages, settings.linger_ms / 1000)
        self.batcher: Batcher[Record] = Batcher(budget, clock)
        self._in_model: deque[Future[ScoredBatch]] = deque()  # in the order submitted
        self._moved_at = clock()  # when a batch last left the model, or entered an idle one
        self._faults = FaultWatch(FaultLimit(settings.dead_window, settings.dead_ratio, settings.dead_in_a_row))
        self._halted = False

    def run(self, stop: StopEvent) -> None:
        """Until `stop` is set; then finish the batch in the model, within the drain budget, and leave the group.

        Raises UserError, FencedError, TransactionFailedError or KafkaException; whatever was open is settled by the
        next start.
        """
        self._transactions.start()
        self.reader.join()
        try:
            while not stop.is_set():
                self.turn()
            self._drain()
        finally:
            self.reader.leave()

    def turn(self) -> None:
        """One turn of the loop: read what there is, keep the model busy, publish what it has answered."""
        self._health.turned()
        self._read()
        finished = self._take_finished()
        if finished is not None:
            self._publish(finished)  # which starts the next batch while it waits for the broker
        self._start_next()
        self.reader.report(len(self.batcher))

    # --- read, with bounded memory

    def _read(self) -> None:
        full = self._full()
        if full and not self.reader.paused:
            self._wait_for_room()
            return
        if self.reader.paused and not self._halted and not full:
            self.reader.resume()
        try:
            records = self.reader.read(self._poll_timeout())
            self.batcher.extend(records, [estimate_tokens(record.message.value()) for record in records])
        except OffsetWentBackError:
            log.exception("reading again from the committed offsets")
            self._rewind()

    def _poll_timeout(self) -> float:
        if self._in_model:
            return 0.0 if self._in_model[0].done() else POLL_S
        wait_s = self.batcher.wait_s()
        return POLL_S if wait_s is None else min(wait_s, POLL_S)

    def _full(self) -> bool:
        batches = self._settings.buffer_batches
        return (
            self.batcher.tokens >= batches * self._settings.batch_tokens
            or len(self.batcher) >= batches * self._settings.batch_messages
        )

    def _wait_for_room(self) -> None:
        """The model is behind: wait for it, and pause the partitions only when that takes long."""
        if not self._in_model:
            return
        wait([self._in_model[0]], timeout=POLL_S * 5)
        if not self._in_model[0].done() and self._clock() - self._moved_at > PAUSE_AFTER_S:
            self.reader.pause()

    def _take_up(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        starts = first_offsets(self._consumer, partitions, self._settings.start, self.reader.committed, RPC_S)
        self.reader.committed.update({Partition(each.topic, each.partition): each.offset for each in starts})
        return starts

    def _rewind(self) -> None:
        """Forget everything read and not committed, and read it again from the committed offsets."""
        self.batcher.clear()
        self.reader.rewind()

    # --- classify

    def _take_finished(self) -> ScoredBatch | None:
        if not self._in_model or not self._in_model[0].done():
            return None
        batch = self._in_model.popleft().result()
        self._moved_at = self._clock()
        self._metrics.observe("smsift_classify_seconds", batch.seconds)
        return batch

    def _start_next(self) -> None:
        """An idle model gets what is due, full or not; behind a busy one a full batch waits, so that it never idles."""
        if self._halted:
            return
        if not self._in_model and self.batcher.wait_s() == 0.0:
            self._moved_at = self._clock()
            self._submit()
        if len(self._in_model) == 1 and self.batcher.full:
            self._submit()

    def _submit(self) -> None:
        batch = self.batcher.take()
        self._metrics.observe("smsift_batch_messages", len(batch))
        self._in_model.append(self._scorer.submit(batch))

    # --- publish

    def _publish(self, batch: ScoredBatch) -> None:
        """Nothing here polls the consumer: what is owned at the first line is what the commit vouches for."""
        records = self._still_owned(batch.records)
        self._metrics.count("smsift_dropped_records", len(batch.records) - len(records))
        if not records:
            return
        broken = self._faults.exceeded_by(
            [scored.rejection is not None and scored.rejection.own_fault for scored in records]
        )
        if broken is not None:
            self._halt(broken)
            return
        last_offsets = dict(map(_PLACE, map(_SOURCE, records)))
        next_offsets = {partition: offset + 1 for partition, offset in last_offsets.items()}
        started = self._clock()
        committed = self._transactions.publish(
            [scored.outgoing for scored in records],
            [TopicPartition(topic, number, offset) for (topic, number), offset in next_offsets.items()],
            self._consumer.consumer_group_metadata(),
            meanwhile=self._start_next,
        )
        if committed:
            self._metrics.observe("smsift_transaction_seconds", self._clock() - started)
            self.reader.committed.update(next_offsets)
            self._count(records)
        else:
            self._metrics.count("smsift_transaction_aborts")
            self._rewind()

    def _still_owned(self, records: list[Scored]) -> list[Scored]:
        tenures = set(map(_TENURE, map(_SOURCE, records)))
        held = {tenure for tenure in tenures if self.reader.ownership.holds(*tenure)}
        return records if held == tenures else [scored for scored in records if _TENURE(scored.source) in held]

    def _count(self, records: list[Scored]) -> None:
        for outcome, number in Counter(map(_OUTCOME, records)).items():
            self._metrics.count("smsift_records", number, outcome=outcome)
        for reason, number in Counter(scored.rejection.reason for scored in records if scored.rejection).items():
            self._metrics.count("smsift_dead_letters", number, reason=reason)
        # The oldest record stands for its batch: one observation a transaction keeps this off the hot path.
        latency_s = time.time() - records[0].source.timestamp_s
        self._metrics.observe("smsift_verdict_latency_seconds", max(0.0, latency_s))

    def _halt(self, sentence: str) -> None:
        """Faults of our own must not empty the topic into the dead letters: stop, stay live, wait for a person."""
        log.error("paused: %s; roll back the deploy or model and restart", sentence)
        self._halted = True
        self._metrics.set("smsift_halted", 1)
        self._health.blocked("faults", f"paused: {sentence}")
        self._rewind()
        self.reader.pause()

    # --- stop

    def _drain(self) -> None:
        """Publish what is in the model, if it answers in time; the rest is read again by whoever is next."""
        self.batcher.clear()
        deadline = self._clock() + self._settings.drain_s
        while self._in_model:
            wait([self._in_model[0]], timeout=max(0.0, deadline - self._clock()))
            finished = self._take_finished()
            if finished is None:
                log.warning("what is in the model was not finished in time and will be read again")
                return
            self._publish(finished)


def estimate_tokens(value: bytes | None) -> int:
    """What a record will cost the model, from its size alone: decoding is the worker's business.

    About four bytes of text are a token, and an event has some 150 bytes around its text. Errs on the dear side for
    escaped text, and bounds the memory of a micro-batch too. The engine counts real tokens when it cuts its batches.
    """
    return max(2, (len(value or b"") - ENVELOPE_BYTES) // 4)


def assemble(
    settings: Settings,
    classifier: Classifier,
    *,
    metrics: Metrics,
    health: Health,
    consumer: Consumer | None = None,
    producer: Producer | None = None,
) -> Filter:
    """A filter with clients as the settings say, or with those that are given.

    Raises UserError where the broker does not answer or a topic is not there.
    """
    topics = settings.topics
    topic_id = topic_ids(settings, [topics.inbound, topics.spam, topics.ham, topics.dead])[topics.inbound]
    privacy = Privacy(settings.pseudonym_secret, settings.text_mode)
    encoder = VerdictEncoder(classifier.identity, topics.inbound, topic_id, privacy)
    producing = transactional_config(settings)
    return Filter(
        settings,
        consumer=consumer or client(Consumer, filter_consumer_config(settings)),
        transactions=Transactions(producer or client(Producer, producing)),
        scorer=Scorer(classifier, encoder, topics, topic_id, dead_limit=int(producing["message.max.bytes"])),
        metrics=metrics,
        health=health,
    )


def filter_consumer_config(settings: Settings) -> dict[str, Any]:
    """`--start` also says where to go on from an offset that is no longer there; by itself that is an error."""
    reset = "error" if settings.start == "auto" else settings.start
    return consumer_config(settings, settings.filter_group, **{"auto.offset.reset": reset})


def run(settings: Settings, load_classifier: Callable[[], Classifier]) -> int:
    """Run a filter until SIGTERM or SIGINT.

    Returns the exit code: 0; 1 where only a new process can go on; 3 where another producer has taken the id.

    Raises UserError where settings, broker, topics or model are not as they must be.
    """
    stop = stop_on_signals()
    metrics = Metrics("filter")
    health = Health(settings.stall_s)
    with serving(settings, health, metrics):
        classifier = load_classifier()
        classifier.warm_up()
        calm_garbage_collector(*COLLECTOR)
        metrics.watch_gpu()
        log.info("model loaded", extra={"model": classifier.identity.name, "version": classifier.identity.version})
        try:
            assemble(settings, classifier, metrics=metrics, health=health).run(stop)
        except FencedError as fenced:
            log.error(str(fenced))  # noqa: TRY400 - expected, and said in full
            return EXIT_FENCED
        except (TransactionFailedError, KafkaException) as failed:
            log.error("ended, for a restart to settle what was open: %s", failed)  # noqa: TRY400 - its place says nothing
            return EXIT_RESTART
    log.info("stopped")
    return 0
