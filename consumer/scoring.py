"""The worker's side of the filter: a micro-batch of inbound records → what will be published about each.

Runs off the owner thread and has no side effects, so a result whose partition has gone is simply dropped.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from itertools import islice
from queue import SimpleQueue
from typing import Final, NamedTuple

from consumer.classifier.contract import Classification, Classifier
from consumer.dead_letters import Place, dead_letter
from consumer.decode import CURRENT_SCHEMA, Headers, Rejection, Sms, decode, headers_of
from consumer.reader import Record
from consumer.transactions import Outgoing
from consumer.verdicts import VerdictEncoder
from schemas.events import SCHEMA_HEADER, VERDICT_SCHEMA
from schemas.topics import DEAD_MAX_BYTES, Topics

log = logging.getLogger("smsift.scoring")

TRACEPARENT: Final = "traceparent"  # W3C Trace Context, passed through; one, of 55 characters in today's version
TRACEPARENT_BYTES: Final = 128
_VERDICT_HEADERS: Final[Headers] = [(SCHEMA_HEADER, VERDICT_SCHEMA.encode())]
_CLASSIFIER_FAILED: Final = Rejection(
    "classifier_failed", "The model failed on this record alone; see the filter's log at this time.", own_fault=True
)
_DECODER_FAILED: Final = Rejection(
    "decoder_failed", "The decoder failed on this record; see the filter's log at this time.", own_fault=True
)


class Scored(NamedTuple):
    """One record and what to publish about it; `rejection` says why where that is a dead letter."""

    source: Record
    outgoing: Outgoing
    outcome: str  # spam, ham or dead
    rejection: Rejection | None


class ScoredBatch(NamedTuple):
    """In the order read. `seconds` is the model's time."""

    records: list[Scored]
    seconds: float


class Scorer:
    """Classifies in one worker thread, one micro-batch at a time."""

    def __init__(
        self,
        classifier: Classifier,
        encoder: VerdictEncoder,
        topics: Topics,
        topic_id: str,
        dead_limit: int = DEAD_MAX_BYTES,
    ) -> None:
        self._classifier = classifier
        self._encoder = encoder
        self._topic_of = {"spam": topics.spam, "ham": topics.ham}
        self._dead_topic = topics.dead
        self._dead_limit = dead_limit
        self._topic_id = topic_id
        self._tasks: SimpleQueue[tuple[list[Record], Future[ScoredBatch]]] = SimpleQueue()
        # A daemon, unlike an executor's thread: a model that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name="classify", daemon=True).start()

    def submit(self, batch: list[Record]) -> "Future[ScoredBatch]":
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

    def score(self, batch: Sequence[Record]) -> ScoredBatch:
        """Never raises for what a record holds; a text on which the model throws becomes a dead letter."""
        headers, contents = [], []
        for record in batch:
            own, content = _read(record)
            headers.append(own)
            contents.append(content)
        texts = [content.text for content in contents if isinstance(content, Sms)]
        started = time.perf_counter()
        answers = iter(classify_in_parts(self._classifier.classify, texts))
        seconds = time.perf_counter() - started
        now = datetime.now(UTC)
        encode = self._encoder.for_batch(now)
        records = []
        for record, own, content in zip(batch, headers, contents, strict=True):
            if isinstance(content, Rejection):
                records.append(self._dead(record, own, content, now))
            elif (answer := next(answers)) is None:
                records.append(self._dead(record, own, _CLASSIFIER_FAILED, now))
            else:
                key, value = encode(content, answer, record.partition.number, record.offset)
                outgoing = Outgoing(self._topic_of[answer.label], key, value, _verdict_headers(own))
                records.append(Scored(record, outgoing, answer.label, None))
        return ScoredBatch(records, seconds)

    def _dead(self, record: Record, headers: Headers | None, rejection: Rejection, now: datetime) -> Scored:
        place = Place(record.partition.topic, self._topic_id, record.partition.number, record.offset)
        original = (record.message.key(), record.message.value(), headers)
        letter = dead_letter(rejection, place, now, original, self._dead_limit)
        return Scored(record, Outgoing(self._dead_topic, letter.key, letter.value, letter.headers), "dead", rejection)


def _read(record: Record) -> tuple[Headers | None, Sms | Rejection]:
    """Headers and content. Whatever the decoder may throw costs this one record, and counts as our own fault."""
    headers = headers_of(record.message)
    if isinstance(headers, Rejection):
        return None, headers
    try:
        return headers, decode(record.message.value(), headers)
    except Exception as error:  # noqa: BLE001
        log.error("the decoder failed", extra={"error": type(error).__name__, "at": _place(error)})  # noqa: TRY400
        return headers, _DECODER_FAILED


def _verdict_headers(original: Headers | None) -> Headers:
    if not original or original == CURRENT_SCHEMA:
        return _VERDICT_HEADERS
    traces = (header for header in original if header[0] == TRACEPARENT and len(header[1] or b"") <= TRACEPARENT_BYTES)
    return [*_VERDICT_HEADERS, *islice(traces, 1)]


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
