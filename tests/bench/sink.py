"""Rows per second of the whole sink, beside bare inserts of the same rows in the same run.

The sink reads verdicts from their topics, checks them, announces, inserts and commits. The bare case inserts rows that
are already made, in batches as large as the sink's, with clickhouse-connect alone: what the engine and its client
allow. `python -m tests.bench.sink [--json] [--rows N] [--repeats N]`.
"""

import argparse
import statistics
import threading
import time
import uuid
from typing import Any, Final

import psutil
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.assignment import Partition
from consumer.clickhouse import connect
from consumer.collector import calm_garbage_collector
from consumer.health import Health
from consumer.kafka_clients import client_config
from consumer.metrics import Metrics
from consumer.settings import Settings, load_settings
from consumer.sink.intent import Span
from consumer.sink.rows import VERDICTS, Place, RowMaker
from consumer.sink.service import COLLECTOR, assemble
from consumer.sink.writer import Batch, Writer
from deploy.local import stack
from producer_sim.corpus import open_corpus
from schemas.clickhouse.migrate import migrate
from schemas.events import Verdict
from schemas.topics import create_topics
from tests.bench.report import Case, Report
from tests.sink.support import verdict

PARTITIONS: Final = 4
STALLED_S: Final = 120.0
DEFAULT_ROWS: Final = 200_000


def run(settings: Settings, *, rows: int = DEFAULT_ROWS, repeats: int = 3) -> Report:
    """Interleave sink and bare inserts `repeats` times on one stack and return medians and ratios.

    Raises UserError where broker or ClickHouse cannot be had.
    """
    calm_garbage_collector(*COLLECTOR)
    with stack.running(settings) as addresses:
        here = load_settings(
            bootstrap_servers=addresses.bootstrap_servers,
            clickhouse_url=addresses.clickhouse_url,
            topic_prefix=f"bench{uuid.uuid4().hex[:8]}.",
            clickhouse_database=f"bench{uuid.uuid4().hex[:8]}",
            sink_linger_ms=100,  # the last rows come before a full flush, and their wait is not what is measured
        )
        admin, client = AdminClient(client_config(here)), connect(here)
        create_topics(admin, here.topic_prefix, PARTITIONS, 1)
        migrate(client, here.clickhouse_database)
        try:
            values = _verdicts(rows)
            _publish(here, values)
            _bare(here, values)  # not counted: the engine's first inserts read its code from disk
            pairs = [(_sink(here, client, rows), _bare(here, values)) for _ in range(repeats)]
        finally:
            admin.delete_topics(list(here.topics.all))
            client.command(f"DROP DATABASE IF EXISTS {here.clickhouse_database}")
    ratios = [ours / bare for ours, bare in pairs]
    memory = psutil.Process().memory_info().rss / 2**20
    return Report(
        {"rows": rows, "repeats": repeats, "batch": here.sink_batch_rows, "bytes": sum(map(len, values)) // rows},
        None,
        [
            Case("sink", "whole sink", "rate", statistics.median(ours for ours, _ in pairs), "rows/s",
                 "bare insert", statistics.median(ratios)),
            Case("sink", "bare insert", "rate", statistics.median(bare for _, bare in pairs), "rows/s"),
            Case("sink", "whole sink", "lowest ratio", min(ratios), "", "bare insert", min(ratios)),
            Case("sink", "bench process", "resident", memory, "MiB"),
        ],
    )  # fmt: skip


def _verdicts(rows: int) -> list[bytes]:
    corpus = open_corpus(None, 1)
    texts = [message.text for message, _ in zip(iter(corpus), range(5_000), strict=False)]
    made = []
    for number in range(rows):
        value = verdict(number, text=texts[number % len(texts)], event_id=f"bench-{number:012d}")
        made.append(Verdict.model_validate(value).model_dump_json().encode())
    return made


def _publish(settings: Settings, values: list[bytes]) -> None:
    producer = Producer({**client_config(settings), "linger.ms": 20, "compression.type": "lz4"})
    for number, value in enumerate(values):
        topic = settings.topics.spam if number % 3 == 0 else settings.topics.ham
        while True:
            try:
                producer.produce(topic, value, key=str(number % 997))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def _sink(settings: Settings, client: Any, rows: int) -> float:
    """Rows per second from the first assignment to the last commit, into an empty table."""
    client.command(f"TRUNCATE TABLE {settings.clickhouse_database}.verdicts")
    settings = settings.model_copy(update={"sink_group": f"bench-{uuid.uuid4().hex[:8]}"})
    metrics, stop, started = Metrics("sink"), threading.Event(), list[float]()

    def assigned(partitions: list[TopicPartition]) -> list[TopicPartition]:
        started.append(time.monotonic())
        return take_up(partitions)

    sink = assemble(settings, metrics=metrics, health=Health(60.0))
    take_up, sink.reader._take_up = sink.reader._take_up, assigned
    worker = threading.Thread(target=sink.run, args=(stop,))
    worker.start()
    deadline = time.monotonic() + STALLED_S
    while (metrics.registry.get_sample_value("smsift_rows_total", {"table": "verdicts"}) or 0) < rows:
        assert time.monotonic() < deadline, "the sink stalled"
        time.sleep(0.005)
    seconds = time.monotonic() - started[0]
    stop.set()
    worker.join()
    return rows / seconds


def _bare(settings: Settings, values: list[bytes]) -> float:
    """Rows per second of inserts alone: rows are made before the clock starts, tokens never repeat."""
    maker, writer = RowMaker(settings.topics), Writer(settings)
    at = Place(settings.topics.ham, uuid.uuid4().hex, 0)
    rows = [maker.make(value, at, number, lambda: None, lambda: (1, 0))[1] for number, value in enumerate(values)]
    size = settings.sink_batch_rows
    batches = [
        Batch(
            Partition(at.topic, 0),
            1,
            at.topic_id,
            Span(first, first + size - 1),
            {VERDICTS: rows[first : first + size]},
        )
        for first in range(0, len(rows), size)
    ]
    started = time.monotonic()
    for batch in batches:
        writer.write(batch)
    return len(rows) / (time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sink", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="JSON Lines")
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, help="verdicts in each case")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repetitions; the median counts")
    arguments = parser.parse_args()
    report = run(load_settings(), rows=arguments.rows, repeats=arguments.repeats)
    print("\n".join(report.json_lines() if arguments.json else report.table()))


if __name__ == "__main__":
    main()
