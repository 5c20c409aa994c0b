"""What people said about the filter's verdicts, as a corpus: ClickHouse's verdicts joined with its labels."""

import logging
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any, Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from consumer.clickhouse import connect, explain
from consumer.settings import Settings
from schemas.corpus import CLICKHOUSE, Corpus, Message
from schemas.errors import UserError

log = logging.getLogger("smsift.corpus")

# One row per event: a producer may repeat it, and then the latest text counts. The label is the latest, whoever gave it.
_QUERY: Final = """
SELECT verdict.text AS text, verdict.text_mode AS text_mode, verdict.country AS country,
    said.label AS label, said.category AS category, said.disputed AS disputed
FROM (
    SELECT event_id, text, text_mode, country
    FROM live_verdicts
    WHERE scored_at >= {since:DateTime64(3, 'UTC')}
    ORDER BY scored_at DESC, source_partition DESC, source_offset DESC
    LIMIT 1 BY event_id
) AS verdict
INNER JOIN current_labels AS said ON said.event_id = verdict.event_id
ORDER BY verdict.event_id
"""


def labelled_verdicts(settings: Settings, since: str) -> Corpus:
    """The labelled messages among those scored since a date or time (ISO 8601, UTC unless it says otherwise).

    Texts that were hashed or dropped before they were stored are left out and counted as `text_gone`. Raises UserError
    where ClickHouse refuses, or where no text is left.
    """
    moment = _moment(since)
    client = connect(settings, settings.clickhouse_database)
    try:
        rows: list[dict[str, Any]] = list(client.query(_QUERY, parameters={"since": moment}).named_results())
    except ClickHouseError as error:
        raise UserError(f"Cannot read verdicts and labels from ClickHouse: {explain(error)}.") from error
    finally:
        client.close()
    kept = [row for row in rows if row["text_mode"] == "keep"]
    gone = len(rows) - len(kept)
    if gone:
        log.warning(
            "%d labelled messages since %s have no text: it was hashed or dropped (SMSIFT_TEXT_MODE)", gone, since
        )
    if not rows:
        raise UserError(f"ClickHouse has no labelled verdicts scored since {since}: choose an earlier date.")
    if not kept:
        raise UserError(
            f"The texts of all {gone} labelled verdicts since {since} were hashed or dropped (SMSIFT_TEXT_MODE): "
            "there is nothing to learn from."
        )
    log.info("%d labelled messages since %s, %d disputed", len(kept), since, sum(bool(row["disputed"]) for row in kept))
    messages = [
        Message(row["text"], row["label"], row["category"] or None, None, row["country"].upper() or None)
        for row in kept
    ]
    return Corpus(messages, Counter(text_gone=gone) if gone else {})


def _moment(since: str) -> datetime:
    try:
        moment = (
            datetime.fromisoformat(since)
            if "T" in since
            else datetime.combine(date.fromisoformat(since), datetime.min.time())
        )
    except ValueError:
        raise UserError(f"{CLICKHOUSE}:{since} has no date: write {CLICKHOUSE}:2026-01-31.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
