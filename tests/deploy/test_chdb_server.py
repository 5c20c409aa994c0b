"""What the sink and the queries rely on, through the ordinary client, on chDB and on a real server alike."""

import datetime as dt
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.stack import TestClickHouse

TABLE = (
    "CREATE TABLE t (id UInt64, text String, label LowCardinality(String), at DateTime64(3, 'UTC'), note Nullable(String), "
    "signals Array(String)) ENGINE = ReplacingMergeTree ORDER BY id PARTITION BY toYYYYMM(at) "
    "TTL toDateTime(at) + INTERVAL 3000 DAY SETTINGS non_replicated_deduplication_window = 100"
)
COLUMNS = ["id", "text", "label", "at", "note", "signals"]
AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def rows(count: int, start: int = 0) -> list[list[object]]:
    return [[n, f"text {n} ✓", "spam" if n % 3 else "ham", AT, None, ["a", "b"]] for n in range(start, start + count)]


@pytest.fixture
def client(clickhouse: TestClickHouse, database: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
    client.command(TABLE)
    yield client
    client.close()


def count(client: Client) -> int:
    return int(client.command("SELECT count() FROM t"))


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_insert_of_several_blocks_keeps_every_row_in_each_encoding(
    clickhouse: TestClickHouse, client: Client, database: str, compress: bool | str
) -> None:
    writer = clickhouse_connect.get_client(dsn=clickhouse.url, database=database, compress=compress)
    writer.insert("t", rows(100_000), column_names=COLUMNS)
    assert count(client) == 100_000
    assert client.query("SELECT * FROM t WHERE id = 99999").result_rows == [
        (99_999, "text 99999 ✓", "ham", AT.replace(tzinfo=None), None, ["a", "b"])
    ]
