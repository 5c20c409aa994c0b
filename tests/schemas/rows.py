"""A small day of traffic in ClickHouse, written through the sink's own rows and writer."""

import json
from collections.abc import Sequence
from typing import Any

from consumer.assignment import Partition
from consumer.settings import load_settings
from consumer.sink.intent import Span
from consumer.sink.rows import Place, RowMaker
from consumer.sink.writer import Batch, Writer
from schemas.topics import Topics
from tests.sink.support import YESTERDAY, dead_headers, label, verdict

TOPICS = Topics()
PRIZE = "You won 1000 GBP, claim at http://prize.example/a1"
# event, sender, recipient, text, label, score, action, model version; e7 is scored again under a run's name
VERDICTS: list[dict[str, Any]] = [
    verdict(
        number,
        event_id=event_id,
        source_offset=number,
        sender=sender,
        recipient=recipient,
        text=text,
        label=said,
        score=score,
        action=action,
        model_version=version,
        signals=signals,
        run=run,
        received_at=f"{YESTERDAY}T10:00:00Z",
        scored_at=f"{YESTERDAY}T10:0{minute}:00.250Z",
    )
    for number, event_id, sender, recipient, text, said, score, action, version, signals, run, minute in [
        (0, "e0", "PRIZE", "+4471", PRIZE, "spam", 0.99, "block", "1", ["url"], "", 0),
        (1, "e1", "PRIZE", "+4472", PRIZE.replace("a1", "b2"), "spam", 0.97, "block", "1", ["url"], "", 0),
        (2, "e2", "PRIZE", "+4473", PRIZE.replace("1000", "2000"), "spam", 0.95, "block", "1", ["url"], "", 1),
        (3, "e3", "+4480", "+4471", "Coffee tomorrow?", "ham", 0.02, "deliver", "1", [], "", 1),
        (4, "e4", "+4480", "+4472", "Call me back", "ham", 0.45, "review", "1", [], "", 2),
        (5, "e5", "BANK", "+4473", "Your code is 1234", "spam", 0.60, "review", "1", [], "", 2),
        (6, "e6", "BANK", "+4474", "Your loan is ready", "ham", 0.30, "deliver", "1", [], "", 3),
        (7, "e7", "+4481", "+4475", "Hello", "ham", 0.10, "deliver", "2", [], "", 3),
        (7, "e7", "+4481", "+4475", "Hello", "spam", 0.90, "block", "3", [], "again", 4),
        (8, "e3", "+4480", "+4471", "Coffee tomorrow?", "ham", 0.02, "deliver", "1", [], "", 4),
    ]
]
LABELS: list[dict[str, Any]] = [
    label(0, label="spam"),
    label(3, label="spam"),  # changes her mind below
    label(3, label="ham", at="2026-01-03T01:00:00Z"),
    label(5, label="ham"),
    label(6, label="spam", category="loan"),
    label(7, label="ham"),
    label(7, label="spam", labeller="bob", at="2026-01-02T00:00:00Z"),
]


def write_day(url: str, database: str) -> None:
    """Every verdict twice under different tokens, as if row keys alone had to tell: readers must not see it."""
    writer = Writer(load_settings(clickhouse_url=url, clickhouse_database=database))
    verdicts = [(json.dumps(each).encode(), None) for each in VERDICTS]
    write(writer, TOPICS.ham, verdicts)
    write(writer, TOPICS.ham, verdicts, partition=1)
    write(writer, TOPICS.labels, [(json.dumps(each).encode(), None) for each in LABELS])
    write(
        writer,
        TOPICS.dead,
        [(b"{", dead_headers(1)), (b"[", dead_headers(2)), (None, dead_headers(3, reason="tombstone"))],
    )


def write(writer: Writer, topic: str, records: Sequence[tuple[bytes | None, Any]], partition: int = 0) -> None:
    """The records at offsets from 0 on, as one batch."""
    maker = RowMaker(TOPICS)
    rows: dict[Any, list[Any]] = {}
    for offset, (value, headers) in enumerate(records):
        table, row = maker.make(value, Place(topic, "topic-id", partition), offset, lambda h=headers: h, lambda: (1, 0))
        rows.setdefault(table, []).append(row)
    writer.write(Batch(Partition(topic, partition), 1, "topic-id", Span(0, len(records) - 1), rows))
