"""The worker's side of the filter: a micro-batch of inbound records → what will be published about each.

Runs off the owner thread and has no side effects, so a result whose partition has gone is simply dropped.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Final

from consumer.assignment import Partition
from consumer.classifier.contract import Classification, Classifier
from consumer.dead_letters import dead_headers
from consumer.decode import Headers, Rejection
from consumer.transactions import Outgoing
from consumer.verdicts import VerdictEncoder
from schemas.events import SCHEMA_HEADER, VERDICT_SCHEMA, SmsEvent
from schemas.topics import Topics

log = logging.getLogger("smsift.scoring")

TRACEPARENT: Final = "traceparent"  # W3C Trace Context, passed through
_VERDICT_HEADER: Final = (SCHEMA_HEADER, VERDICT_SCHEMA.encode())
_CLASSIFIER_FAILED: Final = Rejection(
    "classifier_failed", "The model failed on this record alone; see the filter's log at this time.", own_fault=True
)


@dataclass(frozen=True, slots=True)
class Inbound:
    """One record as read: where from, in which epoch of its partition, and the event or why it is none.

    The raw value is kept only where it will be needed, for a dead letter or a possible one.
    """

    partition: Partition
    offset: int
    epoch: int
    timestamp_s: float
    content: SmsEvent | Rejection
    key: bytes | None
    value: bytes | None
    headers: Headers | None


@dataclass(frozen=True, slots=True)
class Scored:
    """One record and what to publish about it; `reason` is set where that is a dead letter."""

    source: Inbound
    outgoing: Outgoing
    outcome: str  # spam, ham or dead
    reason: str | None
    own_fault: bool


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """In the order read. `seconds` is the model's time."""

    records: list[Scored]
    seconds: float


class Scorer:
    """Classifies in one worker thread, one micro-batch at a time."""

    def __init__(self, classifier: Classifier, encoder: VerdictEncoder, topics: Topics, topic_id: str) -> None:
        self._classifier = classifier
        self._encoder = encoder
        self._topics = topics
        self._topic_id = topic_id
        self._tasks: SimpleQueue[tuple[list[Inbound], Future[ScoredBatch]]] = SimpleQueue()
        # A daemon, unlike an executor's thread: a model that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name="classify", daemon=True).start()

    def estimate_tokens(self, record: Inbound) -> int:
        """The record's cost for the batcher; a rejected one costs what it holds in memory."""
        if isinstance(record.content, Rejection):
            return 1 + len(record.value or b"") // 4
        return self._classifier.estimate_tokens(record.content.text)

    def submit(self, batch: list[Inbound]) -> "Future[ScoredBatch]":
        """Return at once; micro-batches are answered in the order they were submitted."""
        future: Future[ScoredBatch] = Future()
        self._tasks.put((batch, future))
        return future

    def _work(self) -> None:
        while True:
            batch, future = self._tasks.get()
            try:
                future.set_result(self.score(batch))
            except BaseException as error:  # noqa: BLE001 - raised again on the owner thread by future.result()
                future.set_exception(error)

    def score(self, batch: Sequence[Inbound]) -> ScoredBatch:
        """Never raises for what a record holds; a text on which the model throws becomes a dead letter."""
        started = time.perf_counter()
        texts = [record.content.text for record in batch if isinstance(record.content, SmsEvent)]
        answers = iter(classify_in_parts(self._classifier.classify, texts))
        seconds = time.perf_counter() - started
        now = datetime.now(UTC)
        records = [
            self._dead(record, record.content, now)
            if isinstance(record.content, Rejection)
            else self._judged(record, record.content, next(answers), now)
            for record in batch
        ]
        return ScoredBatch(records, seconds)

    def _judged(self, record: Inbound, event: SmsEvent, answer: Classification | None, now: datetime) -> Scored:
        if answer is None:
            return self._dead(record, _CLASSIFIER_FAILED, now)
        key, value = self._encoder.encode(event, answer, record.partition.number, record.offset, now)
        headers: Headers = [_VERDICT_HEADER]
        if record.headers:
            headers += [header for header in record.headers if header[0] == TRACEPARENT]
        topic = self._topics.spam if answer.label == "spam" else self._topics.ham
        return Scored(record, Outgoing(topic, key, value, headers), answer.label, None, own_fault=False)

    def _dead(self, record: Inbound, rejection: Rejection, now: datetime) -> Scored:
        source = (record.partition.topic, self._topic_id, record.partition.number, record.offset)
        headers = dead_headers(rejection, source, now, record.headers)
        outgoing = Outgoing(self._topics.dead, record.key, record.value, headers)
        return Scored(record, outgoing, "dead", rejection.reason, rejection.own_fault)


def classify_in_parts(
    classify: Callable[[Sequence[str]], list[Classification]], texts: Sequence[str]
) -> list[Classification | None]:
    """Classify all texts; where the model throws, halve until each culprit stands alone, and answer None for it.

    A text that makes the model throw costs about 2·log2(n) further calls, and none of its neighbours its verdict.
    """
    if not texts:
        return []
    try:
        return list(classify(texts))
    except Exception as error:  # noqa: BLE001 - the culprit becomes a dead letter, which counts as our own fault
        # Only the kind and place of the error are logged: its message may quote the text.
        log.error(  # noqa: TRY400
            "the model failed", extra={"error": type(error).__name__, "at": _place(error), "texts": len(texts)}
        )
        if len(texts) == 1:
            return [None]
        middle = len(texts) // 2
        return [*classify_in_parts(classify, texts[:middle]), *classify_in_parts(classify, texts[middle:])]


def _place(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback else ""
