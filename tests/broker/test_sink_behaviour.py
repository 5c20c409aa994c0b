"""What the sink writes, and what it does with rubbish, missing tables and SIGTERM: on real parts."""

import json
import urllib.error
import urllib.request

import pytest

from deploy.local.ports import free_port
from tests.broker.support import process, until
from tests.sink.support import (
    Tables,
    dead_headers,
    label,
    publish,
    publish_verdicts,
    running,
    settings_for,
    settled,
    verdict,
)
from tests.stack import TestClickHouse, TestKafka


@pytest.fixture
def tables(clickhouse: TestClickHouse, database: str) -> Tables:
    return Tables(clickhouse.url, database)


def test_rows_say_what_the_records_say(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    bootstrap, topics = kafka.bootstrap_servers, settings.topics
    tables.migrate()
    publish_verdicts(bootstrap, topics, range(200))
    publish(bootstrap, topics.dead, [b"{", b""], headers=dead_headers(500))
    publish(bootstrap, topics.dead, [None], headers=dead_headers(501, reason="tombstone"))
    publish(bootstrap, topics.labels, [label(number) for number in range(50)])
    with running(settings) as state:
        until(lambda: tables.count("verdicts") == 200 and tables.count("labels") == 50, "verdicts and labels have rows")
        until(
            lambda: tables.count("dead_letters") == 3 or tables.count("dead_letters FINAL") == 2, "so do dead letters"
        )
        until(lambda: not state.health.obstacles, "the sink is ready")
        # Rows are counted when their offsets are committed, a moment after a reader can see them.
        until(lambda: state.metric("smsift_rows_total", table="verdicts") == 200, "the rows are counted")
    rows = {row["event_id"]: row for row in tables.rows("SELECT * FROM verdicts")}
    assert len(rows) == 200
    for number in range(200):
        expected = verdict(number)
        row = rows[expected["event_id"]]
        same = set(expected) - {"received_at", "scored_at"}
        assert {name: row[name] for name in same} == {name: expected[name] for name in same}
        assert row["received_at"].isoformat().startswith(expected["received_at"][:23])
    dead = {row["source_offset"]: row for row in tables.rows("SELECT * FROM dead_letters FINAL")}
    assert {offset: row["reason"] for offset, row in dead.items()} == {500: "not_json", 501: "tombstone"}


def test_unparsable_records_become_dead_letter_rows_and_hold_nothing_up(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    tables.migrate()
    rubbish = [b"hello", None, b"\xff\xfe", json.dumps(verdict(1) | {"source_offset": 2**70}).encode(), b"[]"]
    for topic in (settings.topics.spam, settings.topics.labels, settings.topics.dead):
        publish(kafka.bootstrap_servers, topic, [*rubbish, b"x" * 900_000])
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(100))
    with running(settings) as state:
        until(lambda: tables.count("verdicts") == 100 and tables.count("dead_letters") == 18, "all have rows")
        assert state.metric("smsift_unparsed_records_total") == 18
    rows = tables.rows("SELECT source_topic, reason, size, record_topic FROM dead_letters")
    assert {row["reason"] for row in rows} == {"unparsable"}
    assert all(row["source_topic"] == row["record_topic"] for row in rows)
    assert sorted(row["size"] for row in rows)[-3:] == [900_000] * 3


def test_a_labeller_who_changes_her_mind_has_one_label_the_latest(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    tables.migrate()
    opinions = [label(1), label(1, labeller="bob"), label(1, label="ham", at="2020-01-01T00:00:00Z")]
    publish(kafka.bootstrap_servers, settings.topics.labels, opinions)
    with running(settings):
        until(lambda: tables.count("labels FINAL") == 2, "each labeller has a label")
        ask = "SELECT labeller, label FROM labels FINAL ORDER BY labeller"
        until(lambda: tables.rows(ask)[0]["label"] == "ham", "and it is the one she published last")
    assert tables.rows(ask) == [{"labeller": "ann", "label": "ham"}, {"labeller": "bob", "label": "spam"}]


def test_missing_tables_are_said_in_readiness_and_rows_come_once_they_are_there(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, clickhouse.url, database)
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(50))
    with running(settings) as state:
        until(lambda: "smsift migrate" in state.health.obstacles.get("clickhouse", ""), "it says what to do")
        tables.migrate()
        until(lambda: tables.count("verdicts") == 50, "every verdict has a row")
        until(lambda: not state.health.obstacles, "ready again")


def test_sigterm_inserts_what_was_read_and_leaves_nothing_announced(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    port = free_port()
    settings = settings_for(
        kafka.bootstrap_servers, topic_prefix, clickhouse.url, database, sink_linger_ms=60_000, http_port=port
    )
    tables.migrate()
    publish_verdicts(kafka.bootstrap_servers, settings.topics, range(300))
    before = settled(settings)
    with process(["-m", "smsift", "sink"], settings) as sink:
        until(lambda: "smsift_buffered_messages 300.0" in metrics_at(port), "all is read and nothing is due")
        assert tables.count("verdicts") == 0
        sink.terminate()
        assert sink.wait(30) == 0
    assert tables.count("verdicts") == 300
    assert settled(settings) == before


def test_sigterm_while_clickhouse_is_away_ends_within_the_budget_and_loses_nothing(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tables: Tables
) -> None:
    away = settings_for(kafka.bootstrap_servers, topic_prefix, "http://127.0.0.1:9", database, drain_s=0.5)
    tables.migrate()
    publish_verdicts(kafka.bootstrap_servers, away.topics, range(100))
    with running(away) as state:
        until(lambda: state.metric("smsift_insert_failures_total") > 0, "an insert has failed")
    with running(away.model_copy(update={"clickhouse_url": clickhouse.url})):
        until(lambda: tables.count("verdicts FINAL") == 100, "every verdict has a row")
    assert tables.count("verdicts") == 100


def metrics_at(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""
