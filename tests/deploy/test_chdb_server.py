"""What the sink and the queries rely on, through the ordinary client: on chDB and on a server in Docker alike."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.stack import TestClickHouse

COLUMNS = ["id", "text", "label", "at", "note", "signals"]
AT = dt.datetime(2026, 3, 1, 10, 20, 30, 456_000, tzinfo=dt.UTC)
UNKNOWN_TABLE, SYNTAX_ERROR = 60, 62


def rows(count: int, start: int = 0) -> list[list[object]]:
    return [[n, f"text {n} ✓", "spam" if n % 3 else "ham", AT, None, ["a", "b"]] for n in range(start, start + count)]


def count(client: Client) -> int:
    return int(client.command("SELECT count() FROM t"))


@pytest.fixture
def client(clickhouse: TestClickHouse, database: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
    client.command(
        "CREATE TABLE t (id UInt64, text String, label LowCardinality(String), at DateTime64(3, 'UTC'), "
        "note Nullable(String), signals Array(String)) ENGINE = ReplacingMergeTree ORDER BY id "
        "PARTITION BY toYYYYMM(at) TTL toDateTime(at) + INTERVAL 20 YEAR "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    yield client
    client.close()


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_insert_of_several_blocks_keeps_every_row_in_each_encoding(
    clickhouse: TestClickHouse, client: Client, database: str, compress: bool | str
) -> None:
    writer = clickhouse_connect.get_client(dsn=clickhouse.url, database=database, compress=compress)
    summary = writer.insert("t", rows(100_000), column_names=COLUMNS)
    assert summary.written_rows == count(client) == 100_000
    assert client.query("SELECT * FROM t WHERE id = 99999").result_rows == [
        (99_999, "text 99999 ✓", "ham", AT.replace(tzinfo=None), None, ["a", "b"])
    ]


def test_same_token_twice_inserts_once_and_another_token_inserts_again(client: Client) -> None:
    for token in ("one", "one", "two"):
        client.insert("t", rows(50_000), column_names=COLUMNS, settings={"insert_deduplication_token": token})
    assert count(client) == 100_000
    assert client.command("SELECT count() FROM t FINAL") == 50_000


def test_token_of_one_client_does_not_swallow_the_insert_of_another(
    clickhouse: TestClickHouse, client: Client, database: str
) -> None:
    other = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
    client.insert("t", rows(10), column_names=COLUMNS, settings={"insert_deduplication_token": "mine"})
    other.insert("t", rows(10, start=100), column_names=COLUMNS)
    client.insert("t", rows(10, start=200), column_names=COLUMNS)
    assert count(client) == 30
    assert other.command("SELECT value FROM system.settings WHERE name = 'insert_deduplication_token'") == ""


def test_set_and_use_end_with_their_request(clickhouse: TestClickHouse, client: Client, database: str) -> None:
    stranger = clickhouse_connect.get_client(dsn=clickhouse.url, autogenerate_session_id=False)
    stranger.command("SET max_block_size = 77")
    stranger.command(f"USE {database}")
    assert stranger.command("SELECT value FROM system.settings WHERE name = 'max_block_size'") != 77
    assert stranger.command("SELECT currentDatabase()") == "default"


def test_concurrent_writers_and_readers_lose_and_repeat_nothing(
    clickhouse: TestClickHouse, client: Client, database: str
) -> None:
    def write(writer: int) -> None:
        own = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
        for batch in range(5):
            token = {"insert_deduplication_token": f"{writer}-{batch}"}
            for _ in range(2):  # each batch is sent again, as after a crash
                own.insert("t", rows(100, start=(writer * 5 + batch) * 100), column_names=COLUMNS, settings=token)
            own.query("SELECT label, count() FROM t GROUP BY label")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert count(client) == client.command("SELECT uniqExact(id) FROM t") == 3_000


def test_query_parameters_arrive_unchanged(client: Client) -> None:
    hostile = "it's \\ a\ttab\nline 🙂 {x:String} ; -- `"
    answer = client.query(
        "SELECT {text:String} AS text, {n:Int32} + 1 AS n, {list:Array(String)} AS list, {at:DateTime64(3, 'UTC')} AS at",
        parameters={"text": hostile, "n": 4, "list": [hostile, "b"], "at": AT},
    )
    assert answer.result_rows == [(hostile, 5, [hostile, "b"], AT.replace(tzinfo=None))]


def test_parameters_too_long_for_a_url_arrive_as_a_form(client: Client) -> None:
    ids = [f"event-{n:08}" for n in range(20_000)]
    assert client.query("SELECT length({ids:Array(String)}) AS n", parameters={"ids": ids}).result_rows == [(20_000,)]


def test_settings_of_a_query_apply_to_it(client: Client) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    assert client.query(sql, settings={"max_threads": 3}).result_rows == [("3",)]
    with pytest.raises(DatabaseError, match="memory limit") as error:
        client.query("SELECT groupArray(number) FROM numbers(10000000)", settings={"max_memory_usage": 1_000_000})
    assert error.value.code == 241
    assert client.command("SELECT 1") == 1


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", SYNTAX_ERROR),
        ("SELECT * FROM no_such_table", UNKNOWN_TABLE),
        ("SELECT 1; SELECT 2", SYNTAX_ERROR),
    ],
)
def test_wrong_query_is_an_error_with_the_servers_code(client: Client, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError) as error:
        client.command(sql)
    assert error.value.code == code


def test_insert_that_cannot_be_stored_is_an_error_and_stores_nothing(client: Client) -> None:
    with pytest.raises(DatabaseError) as error:
        client.insert("no_such_table", [["x"]], column_names=["text"], column_type_names=["String"])
    assert error.value.code == UNKNOWN_TABLE
    with pytest.raises(DatabaseError) as error:
        client.insert("t", rows(1), column_names=COLUMNS, settings={"no_such_setting": "1"})
    good = '{"id": 1, "text": "x", "label": "ham", "at": "2026-01-01 00:00:00.000", "signals": []}\n'
    with pytest.raises(DatabaseError):
        client.raw_insert("t", insert_block=good + "not json\n", fmt="JSONEachRow")
    block = client.raw_query("SELECT number AS id FROM numbers(1000)", fmt="Native")
    with pytest.raises(DatabaseError):
        client.raw_insert("t", ["id"], block + block[:-100], fmt="Native")  # a sender that died in its second block
    assert count(client) == 0


def test_text_formats_and_plain_sql_insert_too(client: Client) -> None:
    client.raw_insert("t", ["id", "at"], "1,2026-01-01 00:00:00\n2,2026-01-01 00:00:00\n", fmt="CSV")
    client.command("INSERT INTO t (id, text, at) VALUES (3, 'a; FORMAT Native', now()), (4, 'b', now())")
    client.command("INSERT INTO t (id, at) SELECT number + 5, now() FROM numbers(2)")
    assert client.query("SELECT id FROM t ORDER BY id").result_columns == [[1, 2, 3, 4, 5, 6]]
    assert client.command("SELECT text FROM t WHERE id = 3") == "a; FORMAT Native"


def test_replacing_tables_views_and_ttl_work(client: Client) -> None:
    client.insert("t", rows(3), column_names=COLUMNS)
    client.insert("t", [[1, "newer", "ham", AT, "n", []]], column_names=COLUMNS)
    client.insert("t", [[9, "long ago", "ham", AT.replace(year=1980), None, []]], column_names=COLUMNS)
    client.command("CREATE VIEW per_label AS SELECT label, count() AS n FROM t FINAL GROUP BY label")
    client.command("OPTIMIZE TABLE t FINAL")
    assert client.query("SELECT id, text FROM t ORDER BY id").result_rows == [
        (0, "text 0 ✓"),
        (1, "newer"),
        (2, "text 2 ✓"),
    ]
    assert sorted(client.query("SELECT * FROM per_label").result_rows) == [("ham", 2), ("spam", 1)]


def test_results_of_every_size_and_format_come_back(client: Client) -> None:
    assert client.query("SELECT id FROM t").result_rows == []
    assert client.query("SELECT id, label FROM t LIMIT 0").column_names == ("id", "label")
    assert client.query("SELECT number FROM numbers(300000)").row_count == 300_000
    assert client.query_arrow("SELECT number FROM numbers(5)").num_rows == 5
    assert client.raw_query("SELECT 1 AS x FORMAT JSONEachRow") == b'{"x":1}\n'
    assert client.raw_query("SELECT 1 AS x", fmt="CSV") == b"1\n"
    assert client.command("EXISTS TABLE t") == 1
    assert client.ping()
    assert tuple(map(int, str(client.server_version).split(".")[:2])) >= (25, 3)
