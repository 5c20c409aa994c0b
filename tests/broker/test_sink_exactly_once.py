"""One row per record whatever dies, joins, leaves or goes away: on a real broker and a real ClickHouse engine."""

import signal
import threading
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.settings import Settings
from consumer.sink import intent
from consumer.sink.intent import Span
from consumer.sink.writer import Batch, Writer
from deploy.local.clickhouse import start_chdb
from tests.broker.crashing_sink import POINTS
from tests.broker.support import process, until
from tests.sink.support import Tables, publish, publish_verdicts, running, settings_for, settled, verdict
from tests.stack import TestClickHouse, TestKafka

RECORDS = 900
CRASHER = str(Path(__file__).with_name("crashing_sink.py"))


@pytest.fixture
def tables(clickhouse: TestClickHouse, database: str) -> Tables:
    return Tables(clickhouse.url, database).migrate()


@pytest.mark.parametrize("point", POINTS)
def test_sigkill_at_each_point_leaves_one_stored_row_per_verdict(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables, point: str
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(RECORDS))
    for repetition, rows in ((1, 20), (2, 33)):  # each start would cut differently by itself
        resized = settings.model_copy(update={"sink_batch_rows": rows})
        with process([CRASHER, point, str(repetition)], resized) as crashing:
            assert crashing.wait(60) == -9
    with running(settings.model_copy(update={"sink_batch_rows": 50})):
        until(lambda: tables.count("verdicts FINAL") == RECORDS, "every verdict has a row")
    assert tables.count("verdicts") == RECORDS


def test_sigkill_between_insert_and_commit_leaves_rows_that_are_announced_so_the_crash_test_can_fail(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(200))
    before = settled(settings)
    with process([CRASHER, "after_last_insert", "1"], settings) as crashing:
        assert crashing.wait(60) == -9
    stored = tables.count("verdicts")
    assert stored > 0
    assert settled(settings) < before
    with running(settings):
        until(lambda: settled(settings) == before and tables.count("verdicts FINAL") == 200, "all taken up")
    assert tables.count("verdicts") == 200


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_that_join_and_leave_leave_one_stored_row_per_verdict(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables, protocol: str
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database, sink_batch_rows=20)
    settings = settings.model_copy(update={"kafka_consumer": settings.kafka_consumer | {"group.protocol": protocol}})
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(RECORDS))
    with running(settings, writer=Gated(settings, pace_s=0.02)):
        until(lambda: tables.count("verdicts") > 100, "the first member works")
        for round_ in range(2):
            with running(settings, writer=Gated(settings, pace_s=0.02)) as joined:
                until(lambda joined=joined: bool(joined.sink.reader.ownership.partitions), "the second has partitions")
                begin = RECORDS + 300 * round_
                publish_verdicts(kafka.bootstrap_servers, settings.topics, range(begin, begin + 300), seed=2 + round_)
        until(lambda: tables.count("verdicts FINAL") == RECORDS + 600, "every verdict has a row")
    assert tables.count("verdicts") == RECORDS + 600


def test_a_batch_in_flight_whose_partition_left_is_stored_once_by_both_owners(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database, sink_batch_rows=RECORDS)
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(RECORDS))
    slow = Gated(settings)
    slow.gate.clear()
    with running(settings, writer=slow) as first:
        until(slow.entered.is_set, "the first member has announced and begins to insert")
        with running(settings.model_copy(update={"sink_batch_rows": 7})) as second:
            until(lambda: tables.count("verdicts") > 0, "the second has inserted what the first announced")
            slow.gate.set()
            until(lambda: tables.count("verdicts FINAL") == RECORDS, "every verdict has a row")
            assert first.metric("smsift_dropped_records_total") > 0
            assert second.metric("smsift_rows_total", table="verdicts") > 0
        until(lambda: tables.count("verdicts FINAL") == RECORDS, "every verdict still has a row")
    assert tables.count("verdicts") == RECORDS


def test_a_member_that_was_frozen_until_it_was_expelled_adds_no_row_when_it_wakes(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database, sink_batch_rows=20)
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(RECORDS))
    with process(["-m", "smsift", "sink"], settings) as frozen:
        until(lambda: tables.count("verdicts") > 0, "the first member works")
        frozen.send_signal(signal.SIGSTOP)
        with running(settings.model_copy(update={"sink_batch_rows": 33})):
            publish_verdicts(kafka.bootstrap_servers, settings.topics, range(RECORDS, RECORDS + 300), seed=2)
            until(lambda: tables.count("verdicts FINAL") == RECORDS + 300, "the second member does all of it")
            frozen.send_signal(signal.SIGCONT)
            publish_verdicts(kafka.bootstrap_servers, settings.topics, range(RECORDS + 300, RECORDS + 600), seed=3)
            until(lambda: tables.count("verdicts FINAL") == RECORDS + 600, "both go on")
        frozen.terminate()
        assert frozen.wait(30) == 0
    assert tables.count("verdicts") == RECORDS + 600


def test_an_outage_of_clickhouse_delays_rows_and_is_said_in_readiness(
    kafka: TestKafka, topic_prefix: str, tmp_path: Path
) -> None:
    server = start_chdb(tmp_path)
    port = int(server.url.rsplit(":", 1)[1])
    tables = Tables(server.url, "smsift_outage").migrate()
    settings = settings_for(
        kafka.bootstrap_servers, topic_prefix, server.url, "smsift_outage", sink_batch_rows=100, stall_s=5.0
    )
    try:
        publish_verdicts(kafka.bootstrap_servers, settings.topics, range(300))
        with running(settings) as state:
            until(lambda: tables.count("verdicts") == 300, "rows before the outage")
            server.process.kill()
            publish_verdicts(kafka.bootstrap_servers, settings.topics, range(300, RECORDS), seed=2)
            until(lambda: "clickhouse" in state.health.obstacles, "readiness says so")
            until(lambda: state.metric("smsift_insert_failures_total") >= 3, "it is tried again")
            until(lambda: state.metric("smsift_paused") == 1, "memory is bounded by a pause")
            assert state.metric("smsift_clickhouse_up") == 0
            assert state.health.live
            assert state.metric("smsift_buffered_messages") < RECORDS - 300
            server = start_chdb(tmp_path, port)
            tables.stop_merges()
            until(lambda: tables.count("verdicts FINAL") == RECORDS, "every verdict has a row")
            until(lambda: not state.health.obstacles, "ready again")
        assert tables.count("verdicts") == RECORDS
    finally:
        server.process.stop()


def test_a_span_that_retention_took_falls_back_to_row_keys_and_is_counted(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    topic = settings.topics.ham
    publish(kafka.bootstrap_servers, topic, [verdict(number, label="ham") for number in range(100)], partition=0)
    announce(settings, TopicPartition(topic, 0, 10, intent.encode(Span(10, 49))))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 30)]).values():
        deleted.result()
    with running(settings) as state:
        until(lambda: tables.count("verdicts FINAL") == 70, "what is left has rows")
        assert state.metric("smsift_lost_intents_total") == 1
    assert tables.count("verdicts") == 70


def test_an_announced_span_is_inserted_under_its_own_token_before_anything_after_it(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    topic = settings.topics.ham
    publish(kafka.bootstrap_servers, topic, [verdict(number, label="ham") for number in range(100)], partition=0)
    announce(settings, TopicPartition(topic, 0, 10, intent.encode(Span(10, 49))))
    seen = Gated(settings)
    with running(settings, writer=seen):
        until(lambda: tables.count("verdicts FINAL") == 90, "every verdict from the committed offset on has a row")
    assert [batch.span for batch in seen.written if batch.partition.topic == topic] == [Span(10, 49), Span(50, 99)]


class Gated(Writer):
    """The real writer behind a gate, at a pace; remembers what it has written."""

    def __init__(self, settings: Settings, pace_s: float = 0.0) -> None:
        super().__init__(settings)
        self.gate, self.entered, self.written = threading.Event(), threading.Event(), list[Batch]()
        self.gate.set()
        self._pace = threading.Event(), pace_s

    def write(self, batch: Batch) -> float:
        self.entered.set()
        assert self.gate.wait(60)
        never, pace_s = self._pace
        never.wait(pace_s)
        seconds = super().write(batch)
        self.written.append(batch)
        return seconds


def announce(settings: Settings, offset: TopicPartition) -> None:
    """As a sink that was killed leaves it."""
    consumer = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": settings.sink_group})
    consumer.commit(offsets=[offset], asynchronous=False)
    consumer.close()
