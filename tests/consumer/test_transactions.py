"""The steps of one transaction against a scripted producer: what is retried, what aborts, what ends the process."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.transactions import FencedError, Outgoing, TransactionFailedError, Transactions

RECORDS = [Outgoing("t", b"k", b"1", []), Outgoing("t", b"k", b"2", [])]


def error(code: int, *, retriable: bool = False, abort: bool = False, fatal: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, "scripted", fatal, retriable, abort))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class ScriptedProducer:
    """Raises what the script holds for a step, in order, and records every call."""

    def __init__(self, **script: list[Exception]) -> None:
        self.script = script
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> int:
            self.calls.append(name)
            if self.script.get(name):
                raise self.script[name].pop(0)
            return 0

        return call


def publish(producer: ScriptedProducer) -> bool:
    return Transactions(producer, Clock()).publish(
        RECORDS, [], object(), meanwhile=lambda: producer.calls.append("meanwhile")
    )  # type: ignore[arg-type]


def test_the_steps_come_in_order() -> None:
    producer = ScriptedProducer()
    assert publish(producer)
    assert producer.calls == [
        "begin_transaction",
        "produce",
        "produce",
        "meanwhile",
        "send_offsets_to_transaction",
        "commit_transaction",
    ]


@pytest.mark.parametrize("step", ["begin_transaction", "send_offsets_to_transaction", "commit_transaction"])
def test_a_retriable_error_is_tried_again_with_the_same_arguments(step: str) -> None:
    producer = ScriptedProducer(**{step: [error(KafkaError._TIMED_OUT, retriable=True)] * 2})
    assert publish(producer)
    assert producer.calls.count(step) == 3


@pytest.mark.parametrize("step", ["send_offsets_to_transaction", "commit_transaction"])
def test_an_abortable_error_aborts_and_says_that_nothing_is_committed(step: str) -> None:
    producer = ScriptedProducer(**{step: [error(KafkaError.ILLEGAL_GENERATION, abort=True)]})
    assert not publish(producer)
    assert producer.calls[-1] == "abort_transaction"


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
def test_a_fenced_producer_stops_without_touching_the_transaction_again(code: int) -> None:
    producer = ScriptedProducer(commit_transaction=[error(code, fatal=True)])
    with pytest.raises(FencedError):
        publish(producer)
    assert producer.calls[-1] == "commit_transaction"


def test_a_producer_fenced_because_it_stood_still_is_for_a_restart_not_for_a_person() -> None:
    producer = ScriptedProducer(commit_transaction=[error(KafkaError.PRODUCER_FENCED, fatal=True)])
    clock = Clock()
    producer.produce = lambda *_, **__: setattr(clock, "now", clock.now + 25.0)  # type: ignore[attr-defined]
    with pytest.raises(TransactionFailedError, match="longer than the broker allows"):
        Transactions(producer, clock).publish(RECORDS, [], object(), meanwhile=lambda: None)  # type: ignore[arg-type]


def test_a_commit_that_never_answers_ends_the_process_instead_of_guessing() -> None:
    producer = ScriptedProducer(commit_transaction=[error(KafkaError._TIMED_OUT, retriable=True)] * 1000)
    with pytest.raises(TransactionFailedError, match="commit"):
        publish(producer)


def test_an_error_of_no_known_kind_is_taken_as_fatal() -> None:
    with pytest.raises(TransactionFailedError, match="begin"):
        publish(ScriptedProducer(begin_transaction=[error(KafkaError._STATE)]))


def test_a_full_local_queue_is_served_and_the_record_queued_once() -> None:
    producer = ScriptedProducer(produce=[BufferError("full")])
    assert publish(producer)
    assert producer.calls.count("produce") == 3
    assert "poll" in producer.calls


def test_a_local_queue_that_stays_full_aborts() -> None:
    producer = ScriptedProducer(produce=[BufferError("full")] * 1000)
    assert not publish(producer)
    assert producer.calls[-1] == "abort_transaction"


def test_an_abort_that_fails_ends_the_process() -> None:
    producer = ScriptedProducer(
        commit_transaction=[error(KafkaError.ILLEGAL_GENERATION, abort=True)],
        abort_transaction=[error(KafkaError._STATE, abort=True)],
    )
    with pytest.raises(TransactionFailedError, match="abort"):
        publish(producer)
