"""One micro-batch, one transaction.

    1. begin
    2. produce every verdict and dead letter
    3. send the offsets, with the group metadata of this moment
    4. commit, which flushes first

A transaction is open for the milliseconds that takes: the model has answered before it begins, so a slow model can
neither time one out nor hold back read_committed readers. Each step that librdkafka calls retriable is tried again
with the same arguments; one that demands an abort is aborted; anything else ends the process, and the next start
with the same transactional.id settles what it left open.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from consumer.decode import Headers
from consumer.kafka_clients import TRANSACTION_TIMEOUT_MS

log = logging.getLogger("smsift.transactions")

# One attempt may take as long as the broker gives a transaction. After twice that the coordinator has aborted it, so
# trying on is of no use: the process ends, and its restart learns the outcome from init_transactions.
ATTEMPT_S: Final = TRANSACTION_TIMEOUT_MS / 1000
BUDGET_S: Final = 2 * ATTEMPT_S
INIT_BUDGET_S: Final = (
    60.0  # a new broker loads its transaction state first; another replica's hang takes 10 s to expire
)
QUEUE_FULL_POLL_S: Final = 0.05

_FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001
)


class Outgoing(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class FencedError(Exception):
    """Another producer with this transactional.id has started: this one must stop, and not be restarted beside it."""


class TransactionFailedError(Exception):
    """The producer cannot go on; only a new process can."""


class _MustAbortError(Exception):
    pass


class Transactions:
    """Runs transactions on one producer; only the owner thread calls it."""

    def __init__(self, producer: Producer, clock: Callable[[], float] = time.monotonic) -> None:
        self._producer = producer
        self._clock = clock
        self._begun_at = clock()

    def start(self) -> None:
        """Fence earlier holders of the id and settle what they left open.

        Raises FencedError or TransactionFailedError.
        """
        self._retry("init", INIT_BUDGET_S, lambda: self._producer.init_transactions(ATTEMPT_S))

    def publish(
        self,
        records: Sequence[Outgoing],
        offsets: list[TopicPartition],
        group_metadata: object,
        meanwhile: Callable[[], None],
    ) -> bool:
        """Return True when records and offsets are committed, False when nothing of them is: then read again.

        `meanwhile` is called once all is handed over and the broker is about to be waited for: what it starts in
        another thread then runs while this one needs no processor.

        Raises FencedError or TransactionFailedError; the outcome is then settled by the next start.
        """
        self._begun_at = self._clock()
        try:
            self._retry("begin", BUDGET_S, self._producer.begin_transaction)
            self._produce(records)
            meanwhile()
            self._retry(
                "send offsets",
                BUDGET_S,
                lambda: self._producer.send_offsets_to_transaction(offsets, group_metadata, ATTEMPT_S),
            )
            self._retry("commit", BUDGET_S, lambda: self._producer.commit_transaction(ATTEMPT_S))
        except _MustAbortError as reason:
            log.warning("transaction aborted", extra={"reason": str(reason), "records": len(records)})
            self._retry("abort", BUDGET_S, lambda: self._producer.abort_transaction(ATTEMPT_S))
            return False
        return True

    def _produce(self, records: Sequence[Outgoing]) -> None:
        produce = self._producer.produce
        for topic, key, value, headers in records:
            try:
                produce(topic, value, key, headers=cast("Any", headers))
            except BufferError:
                self._produce_when_there_is_room(topic, key, value, headers)
            except KafkaException as error:
                # A record that cannot even be queued (too large, unknown topic) would abort for ever: say so and stop.
                raise self._judge("produce", error.args[0]) from error

    def _produce_when_there_is_room(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        deadline = self._clock() + BUDGET_S
        while self._clock() < deadline:
            self._producer.poll(QUEUE_FULL_POLL_S)
            with contextlib.suppress(BufferError):
                self._producer.produce(topic, value, key, headers=cast("Any", headers))
                return
        raise _MustAbortError("the local queue stayed full")

    def _retry(self, step: str, budget_s: float, call: Callable[[], Any]) -> None:
        deadline = self._clock() + budget_s
        while True:
            try:
                call()
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if not reason.fatal() and reason.retriable() and self._clock() < deadline:
                    log.info("trying again", extra={"step": step, "reason": reason.name()})
                    continue
                raise self._judge(step, reason) from error
            else:
                return

    def _judge(self, step: str, reason: KafkaError) -> Exception:
        if reason.code() in _FENCED and step != "init" and self._clock() - self._begun_at > ATTEMPT_S:
            # The coordinator ends a transaction that stands still, and fences its producer as it would an older twin.
            return TransactionFailedError("The transaction was open for longer than the broker allows.")
        if reason.code() in _FENCED:
            return FencedError(
                "Another filter has started with the same transactional id; give each replica an SMSIFT_TRANSACTIONAL_ID "
                "of its own."
            )
        if reason.txn_requires_abort() and not reason.fatal() and step != "abort":
            return _MustAbortError(f"{step}: {reason.name()}")
        return TransactionFailedError(f"Transaction failed at {step}: {reason.name()}: {reason.str()}")
