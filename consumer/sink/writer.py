"""The ClickHouse side of the sink: one insert per batch and table, under the batch's deduplication token."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.insert import InsertContext

from consumer.assignment import Partition
from consumer.clickhouse import connect, explain
from consumer.settings import Settings
from consumer.sink import intent
from consumer.sink.intent import Span
from consumer.sink.rows import Row, Table
from schemas.errors import UserError

INSERT_SETTINGS: Final[dict[str, Any]] = {
    # Acknowledged means stored. Asynchronous inserts are on by default since 26.3, and have lost rows with tokens.
    "async_insert": 0,
    "insert_deduplicate": 1,
    # Before 26.2 a block that the table drops as a duplicate still reaches its materialized views.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # A batch that spans more than 100 months would be refused for ever. Months go by the filter's clock, so it takes a
    # broken clock or a stranger on the topic to make one; neither may stop the sink.
    "max_partitions_per_insert_block": 0,
}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive records of one partition as rows by table, in the order of their offsets; equal only to itself.

    `epoch` is the partition's assignment in which they were read; `announced` says that a committed intent holds the
    span already.
    """

    partition: Partition
    epoch: int
    topic_id: str
    span: Span
    rows: Mapping[Table, Sequence[Row]] = field(repr=False)
    announced: bool = False

    @property
    def token(self) -> str:
        return intent.token(self.topic_id, self.partition.number, self.span)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.rows.values())


class InsertError(Exception):
    """ClickHouse did not confirm an insert. Whether it stored the rows is unknown: repeat the same batch.

    The message is a sentence that holds nothing from the rows.
    """


class Writer:
    """Writes batches, from any thread; connects at the first one, and tries again at the next where that fails."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises UserError where no ClickHouse is configured; whether it answers shows at the first write."""
        settings.require_clickhouse_url()
        self._settings = settings
        self._clock = clock
        self._client: Any = None

    def write(self, batch: Batch) -> float:
        """Insert the batch and return the seconds it took. Blocks, for each table up to the client's timeouts.

        The same batch written again leaves the tables as they were. Raises InsertError.
        """
        started = self._clock()
        try:
            if self._client is None:
                self._client = connect(self._settings)
            for table, rows in batch.rows.items():
                insert = self._insert(table, rows, batch.token)
                self._client.data_insert(insert)
                vars(insert).clear()  # it refers to itself, and would keep all columns until the collector comes by
        except UserError as error:
            raise InsertError(str(error)) from error
        except (ClickHouseError, OSError) as error:
            raise InsertError(f"ClickHouse does not take the rows: {explain(error)}.") from error
        return self._clock() - started

    def _insert(self, table: Table, rows: Sequence[Row], token: str) -> InsertContext:
        """One Native block: ClickHouse tells a repeated insert by token and block, so the cut must never differ."""
        return InsertContext(
            f"{self._settings.clickhouse_database}.{table.name}",
            table.columns,
            [_native(name) for name in table.types],
            list(zip(*rows, strict=True)),
            column_oriented=True,
            settings=INSERT_SETTINGS | {"insert_deduplication_token": token},
            block_size=len(rows),
        )


@cache
def _native(name: str) -> Any:
    return get_from_name(name)
