"""The analysts' cookbook: every query runs on real rows and answers what its first line asks."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.schemas.rows import write_day
from tests.sink.support import YESTERDAY, Tables
from tests.stack import TestClickHouse

FOLDER = Path(__file__).parents[2] / "deploy" / "clickhouse" / "queries"
FILES = sorted(path.stem for path in FOLDER.glob("*.sql"))
PARAMETERS: dict[str, Any] = {
    "since": f"{YESTERDAY} 00:00:00",
    "most": 10,
    "least": 2,
    "sender": "PRIZE",
    "event_id": "e7",
    "model_version": "1",
}


@pytest.fixture
def day(clickhouse: TestClickHouse, database: str) -> Tables:
    tables = Tables(clickhouse.url, database).migrate()
    write_day(clickhouse.url, database)
    return tables


def ask(tables: Tables, name: str, **parameters: Any) -> list[dict[str, Any]]:
    text = (FOLDER / f"{name}.sql").read_text()
    return list(tables.client.query(text, parameters=PARAMETERS | parameters).named_results())


@pytest.mark.parametrize("name", FILES)
def test_each_query_says_what_it_answers_and_names_the_parameters_it_takes(name: str) -> None:
    text = (FOLDER / f"{name}.sql").read_text()
    question, parameters = text.splitlines()[:2]
    assert question.startswith("-- ")
    assert "?" in question
    told = set(re.findall(r"(\w+)(?:=[^(]+)?(?: \(|,|$)", parameters.removeprefix("-- Parameters: ")))
    taken = set(re.findall(r"\{(\w+):", text))
    assert taken <= told
    assert taken or "none" in parameters


@pytest.mark.parametrize("name", FILES)
def test_each_query_runs_and_finds_rows(day: Tables, name: str) -> None:
    assert ask(day, name)


def test_top_spam_senders(day: Tables) -> None:
    assert [(row["sender"], row["spam"]) for row in ask(day, "top_spam_senders")] == [("PRIZE", 3), ("BANK", 1)]


def test_message_trail_shows_rescorings_and_labels(day: Tables) -> None:
    trail = ask(day, "message_trail")
    assert [(row["run"], row["label"], row["said"]) for row in trail] == [("", "ham", "ham"), ("again", "spam", "ham")]


def test_mistakes_in_both_directions(day: Tables) -> None:
    assert [row["event_id"] for row in ask(day, "false_positives")] == ["e5"]
    assert [row["event_id"] for row in ask(day, "missed_spam")] == ["e6"]


def test_threshold_sweep_trades_recall_for_precision(day: Tables) -> None:
    sweep = {row["threshold"]: row for row in ask(day, "threshold_sweep")}
    assert len(sweep) == 19
    low, high = sweep[0.25], sweep[0.7]
    assert (low["tp"], low["fp"], low["fn"], low["tn"]) == (2, 1, 0, 2)
    assert (high["tp"], high["fp"], high["fn"], high["tn"]) == (1, 0, 1, 3)
    assert high["precision"] == 1.0
    assert high["recall"] == 0.5


def test_calibration_puts_scores_beside_what_people_say(day: Tables) -> None:
    assert {row["score_from"]: (row["labelled"], row["spam_share"]) for row in ask(day, "calibration")} == {
        0.0: (2, 0.0), 0.3: (1, 1.0), 0.6: (1, 0.0), 0.9: (1, 1.0),
    }  # fmt: skip


def test_a_campaign_is_one_form_however_its_digits_and_links_vary(day: Tables) -> None:
    (campaign,) = ask(day, "campaigns", least=3)
    assert (campaign["messages"], campaign["recipients"], campaign["senders"]) == (3, 3, 1)
    assert campaign["form"] == "you won 0 gbp, claim at <link>"


def test_dead_letters_are_counted_by_reason_and_tell_where_the_bytes_are(day: Tables) -> None:
    found = {row["reason"]: row for row in ask(day, "dead_letters_by_reason")}
    assert {reason: (row["records"], row["bytes"]) for reason, row in found.items()} == {
        "not_json": (2, 2), "tombstone": (1, 0),
    }  # fmt: skip
    assert found["tombstone"]["latest"] == ("sms.dead", 0, 2)


def test_signals_tell_their_lift(day: Tables) -> None:
    assert [(row["signal"], row["messages"], row["spam_share"]) for row in ask(day, "signals")] == [("url", 3, 1.0)]


def test_latency_is_in_seconds(day: Tables) -> None:
    first = ask(day, "latency")[0]
    assert list(first["p50_p95_p99"]) == [0.25, 0.25, 0.25]


def test_repeated_events_and_disputed_labels(day: Tables) -> None:
    assert [(row["event_id"], row["records"]) for row in ask(day, "repeated_events")] == [("e3", 2)]
    assert [row["event_id"] for row in ask(day, "disputed_labels")] == ["e7"]
