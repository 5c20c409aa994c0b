"""One verdict per record whatever dies, joins, leaves or is aborted: on a real broker."""

import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.filter import EXIT_FENCED
from consumer.kafka_clients import transactional_config
from consumer.transactions import FencedError
from tests.broker.crashing_filter import POINTS
from tests.broker.support import (
    Outcome,
    Scripted,
    committed,
    event,
    process,
    publish,
    read_all,
    running,
    settings_for,
    until,
)
from tests.stack import TestKafka

RECORDS = 600
CRASHER = str(Path(__file__).with_name("crashing_filter.py"))


@pytest.mark.parametrize("point", POINTS)
def test_sigkill_at_each_point_leaves_one_verdict_per_record(kafka: TestKafka, topic_prefix: str, point: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=50)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(RECORDS)])
    for repetition in ("1", "2"):
        with process([CRASHER, point, repetition], settings) as crashing:
            assert crashing.wait(60) == -9
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == RECORDS, "all committed")
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(RECORDS)


def test_a_transaction_cut_by_sigkill_is_there_uncommitted_so_the_crash_test_can_fail(
    kafka: TestKafka, topic_prefix: str
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=50)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(100)])
    with process([CRASHER, "after_send_offsets", "1"], settings) as crashing:
        assert crashing.wait(60) == -9
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 100, "all committed")
    assert len(read_all(kafka.bootstrap_servers, [settings.topics.ham])) == 100
    assert len(read_all(kafka.bootstrap_servers, [settings.topics.ham], "read_uncommitted")) > 100


def test_a_member_that_joins_and_leaves_leaves_one_verdict_per_record(kafka: TestKafka, topic_prefix: str) -> None:
    first = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=20)
    second = settings_for(
        kafka.bootstrap_servers, topic_prefix, batch_messages=20, transactional_id=f"{topic_prefix}filter-1"
    )
    publish(kafka.bootstrap_servers, first.topics.inbound, [event(n) for n in range(RECORDS)])
    pace = threading.Event()
    slow = Scripted(lambda _: pace.wait(0.002) or None)
    with running(first, slow):
        until(lambda: committed(kafka.bootstrap_servers, first) > 50, "the first member works")
        for _ in range(2):
            with running(second, slow) as joined:
                until(
                    lambda joined=joined: bool(joined.filter.reader.ownership.partitions), "the second has partitions"
                )
                publish(kafka.bootstrap_servers, first.topics.inbound, [event(n) for n in range(200)])
        pace.set()
        until(lambda: committed(kafka.bootstrap_servers, first) == RECORDS + 400, "all committed")
    Outcome.of(kafka.bootstrap_servers, first.topics).assert_each_once(RECORDS + 400)


def test_a_batch_in_the_model_whose_partition_left_and_came_back_is_dropped(
    kafka: TestKafka, topic_prefix: str
) -> None:
    """The old batch's offsets would pass as the member's own; only the epoch of the assignment tells them apart."""
    first = settings_for(kafka.bootstrap_servers, topic_prefix)
    second = settings_for(kafka.bootstrap_servers, topic_prefix, transactional_id=f"{topic_prefix}filter-1")
    publish(kafka.bootstrap_servers, first.topics.inbound, [event(n) for n in range(200)])
    in_model, release = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        in_model.set()
        release.wait(60)

    with running(first, Scripted(hold)) as one:
        assert in_model.wait(30)
        owned = set(one.filter.reader.ownership.partitions)
        with running(second):
            until(lambda: len(one.filter.reader.ownership.partitions) < len(owned), "partitions have left")
            left = owned - set(one.filter.reader.ownership.partitions)
            until(lambda: committed(kafka.bootstrap_servers, first) > 0, "the second has judged them")
        until(lambda: set(one.filter.reader.ownership.partitions) == owned, "and they are back")
        release.set()
        until(lambda: committed(kafka.bootstrap_servers, first) == 200, "all committed")
        dropped = one.metrics.registry.get_sample_value("smsift_dropped_records_total")
    assert left
    assert dropped
    Outcome.of(kafka.bootstrap_servers, first.topics).assert_each_once(200)


class AbortingProducer:
    """Answers the first commits as a broker does that wants the transaction aborted."""

    def __init__(self, producer: Producer, times: int) -> None:
        self._producer, self.left = producer, times

    def commit_transaction(self, *arguments: Any) -> None:
        if self.left:
            self.left -= 1
            self._producer.flush()
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "scripted", False, False, True))
        self._producer.commit_transaction(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def test_aborted_transactions_are_read_again_and_published_once(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=50)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(RECORDS)])
    producer = AbortingProducer(Producer(transactional_config(settings)), times=3)
    with running(settings, producer=producer) as state:
        until(lambda: committed(kafka.bootstrap_servers, settings) == RECORDS, "all committed")
        assert state.metrics.registry.get_sample_value("smsift_transaction_aborts_total") == 3
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(RECORDS)


def test_a_second_filter_with_the_same_transactional_id_fences_the_first(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    with pytest.raises(FencedError, match="same transactional id"), running(settings) as first:
        publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(10)])
        until(lambda: committed(kafka.bootstrap_servers, settings) == 10, "the first works")
        usurper = Producer(transactional_config(settings))
        usurper.init_transactions(20)
        publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(10)])
        until(lambda: first.error is not None, "the first has noticed")
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 20, "its successor goes on")
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(20)
    assert EXIT_FENCED == 3


def test_sigterm_publishes_the_running_batch_and_exits_clean(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=50)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(RECORDS)])
    with process(["-m", "smsift", "filter", "--classifier", "null"], settings) as service:
        until(lambda: committed(kafka.bootstrap_servers, settings) > 0, "it works")
        service.terminate()
        assert service.wait(30) == 0
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == RECORDS, "all committed")
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(RECORDS)


def test_records_of_one_sender_keep_their_order_in_each_verdict_topic(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=30)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(RECORDS)])
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == RECORDS, "all committed")
    last: dict[str, int] = {}
    partition_of: dict[str, int] = {}
    for verdict in Outcome.of(kafka.bootstrap_servers, settings.topics).verdicts:
        sender, number = verdict["sender"], int(verdict["event_id"][1:])
        assert last.get(sender, -1) < number
        assert partition_of.setdefault(sender, verdict["source_partition"]) == verdict["source_partition"]
        last[sender] = number
