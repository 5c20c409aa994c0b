"""Migrations can run again and at once; the views count each record once; the tables keep what they must."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clickhouse_connect
import pytest

from consumer.settings import load_settings
from consumer.sink.rows import TABLES
from consumer.sink.writer import Writer
from schemas.clickhouse.migrate import FOLDER, migrate, migrations
from schemas.errors import UserError
from tests.schemas.rows import TOPICS, write, write_day
from tests.sink.support import Tables, verdict
from tests.stack import TestClickHouse

NAMES = [migration.name for migration in migrations()]


@pytest.fixture
def tables(clickhouse: TestClickHouse, database: str) -> Tables:
    return Tables(clickhouse.url, database)


def test_migrations_apply_once_and_then_there_is_nothing_to_do(tables: Tables) -> None:
    assert migrate(tables.client, tables.database) == NAMES
    assert migrate(tables.client, tables.database) == []
    assert tables.count(f"{tables.database}.schema_migrations FINAL") == len(NAMES)


def test_migrations_from_several_clients_at_once_end_in_the_same_place(
    clickhouse: TestClickHouse, database: str
) -> None:
    clients = [clickhouse_connect.get_client(dsn=clickhouse.url, autogenerate_session_id=False) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda client: migrate(client, database), clients))
    assert {name for names in applied for name in names} == set(NAMES)
    assert migrate(clients[0], database) == []
    assert Tables(clickhouse.url, database).count(f"{database}.schema_migrations FINAL") == len(NAMES)


def test_a_database_that_is_not_there_is_made(tables: Tables) -> None:
    name = f"{tables.database}_new"
    assert migrate(tables.client, name) == NAMES
    tables.client.command(f"DROP DATABASE {name}")


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(tables: Tables, tmp_path: Path) -> None:
    for path in FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    migrate(tables.client, tables.database, tmp_path)
    with (tmp_path / NAMES[0]).open("a") as file:
        file.write("-- one more thought\n")
    with pytest.raises(UserError, match=f"{NAMES[0]}.*changed since.*new migration"):
        migrate(tables.client, tables.database, tmp_path)


def test_migrations_that_share_a_number_are_refused(tmp_path: Path) -> None:
    for name in ("0001_one.sql", "0001_other.sql"):
        (tmp_path / name).write_text("SELECT 1;\n")
    with pytest.raises(UserError, match="same number"):
        migrations(tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "a; DROP DATABASE b", "1a", "a`b", "ä"])
def test_a_database_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="letters, digits and underscores"):
        migrate(None, name)


def test_every_column_says_what_it_is_and_the_sink_fills_all_of_them(tables: Tables) -> None:
    tables.migrate()
    for table in TABLES:
        columns = tables.rows(
            "SELECT name, comment FROM system.columns "
            f"WHERE database = '{tables.database}' AND table = '{table.name}' ORDER BY position"
        )
        assert [column["name"] for column in columns] == list(table.columns)
        assert all(column["comment"] for column in columns)


@pytest.fixture
def day(tables: Tables, clickhouse: TestClickHouse) -> Tables:
    tables.migrate()
    write_day(clickhouse.url, tables.database)
    return tables


def test_live_verdicts_show_each_record_once_and_no_rescoring(day: Tables) -> None:
    assert day.count("verdicts") > day.count("live_verdicts") == 9


def test_verdicts_per_minute_count_each_record_once(day: Tables) -> None:
    counted = day.rows("SELECT minute, label, verdicts, blocked FROM verdicts_per_minute ORDER BY minute, label")
    assert [(row["minute"].minute, row["label"], row["verdicts"], row["blocked"]) for row in counted] == [
        (0, "spam", 2, 2), (1, "ham", 1, 0), (1, "spam", 1, 1), (2, "ham", 1, 0), (2, "spam", 1, 0), (3, "ham", 2, 0),
        (4, "ham", 1, 0),
    ]  # fmt: skip


def test_senders_say_how_much_of_their_traffic_is_spam(day: Tables) -> None:
    senders = {row["sender"]: row for row in day.rows("SELECT * FROM senders")}
    assert {name: (row["messages"], row["spam"], row["recipients"]) for name, row in senders.items()} == {
        "PRIZE": (3, 3, 3), "+4480": (3, 0, 2), "BANK": (2, 1, 2), "+4481": (1, 0, 1),
    }  # fmt: skip


def test_the_review_queue_holds_uncertain_verdicts_that_nobody_has_labelled(day: Tables) -> None:
    assert [row["event_id"] for row in day.rows("SELECT event_id FROM review_queue")] == ["e4"]  # e5 is labelled


def test_the_latest_label_counts_and_disagreement_is_told(day: Tables) -> None:
    labels = {row["event_id"]: row for row in day.rows("SELECT * FROM current_labels")}
    assert {name: row["label"] for name, row in labels.items()} == {
        "e0": "spam", "e3": "ham", "e5": "ham", "e6": "spam", "e7": "ham",
    }  # fmt: skip
    assert [name for name, row in labels.items() if row["disputed"]] == ["e7"]
    assert labels["e6"]["category"] == "loan"


def test_quality_counts_live_verdicts_against_the_latest_labels(day: Tables) -> None:
    quality = {row["model_version"]: row for row in day.rows("SELECT * FROM quality")}
    assert set(quality) == {"1", "2"}
    first = quality["1"]
    assert (first["tp"], first["fp"], first["fn"], first["tn"]) == (1, 1, 1, 2)  # e0; e5; e6; e3 twice
    assert first["precision"] == first["recall"] == 0.5
    assert first["fpr"] == pytest.approx(1 / 3)
    second = quality["2"]
    assert (second["tn"], second["precision"], second["recall"], second["fpr"]) == (1, None, None, 0.0)


def test_a_row_of_any_century_is_kept_and_a_batch_over_hundreds_of_months_is_taken(
    tables: Tables, clickhouse: TestClickHouse
) -> None:
    tables.migrate()
    writer = Writer(load_settings(clickhouse_url=clickhouse.url, clickhouse_database=tables.database))
    years = [1970, 1999, *range(2100, 2260), 2261]
    records = [verdict(n, scored_at=f"{year}-0{1 + n % 9}-01T00:00:00Z") for n, year in enumerate(years)]
    write(writer, TOPICS.spam, [(json.dumps(each).encode(), None) for each in records])
    tables.client.command("SYSTEM START MERGES verdicts")
    tables.client.command("OPTIMIZE TABLE verdicts FINAL")
    assert tables.count("verdicts") == len(years)


def test_a_row_past_its_time_to_live_goes(tables: Tables, clickhouse: TestClickHouse) -> None:
    tables.migrate()
    writer = Writer(load_settings(clickhouse_url=clickhouse.url, clickhouse_database=tables.database))
    write(writer, TOPICS.spam, [(json.dumps(verdict(1, scored_at="2021-01-01T00:00:00Z")).encode(), None)])
    tables.client.command("SYSTEM START MERGES verdicts")
    tables.client.command("OPTIMIZE TABLE verdicts FINAL")
    assert tables.count("verdicts") == 0
