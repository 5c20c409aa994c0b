"""The command as a person types it: answers, refusals and exit codes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.classifier.model import DEFAULT_MODEL
from consumer.clickhouse import connect
from consumer.query import COOKBOOK, answer
from consumer.settings import load_settings
from deploy.local.leash import ROOT
from schemas.clickhouse.migrate import migrate
from tests.broker.support import event, publish, running, until
from tests.broker.support import settings_for as filter_settings
from tests.stack import TestClickHouse, TestKafka

PRIZE = "Congratulations! You have won $1000 cash or a $2000 award. Claim now: call 09061701461"
COFFEE = "Hey, are we still meeting for coffee tomorrow?"


def smsift(
    *arguments: str, cwd: Path, stdin: str | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SMSIFT_")}
    return subprocess.run(
        [sys.executable, "-m", "smsift", *arguments],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def assert_refused(answer: "subprocess.CompletedProcess[str]", *said: str) -> None:
    """One sentence on stderr, exit code 2, no traceback."""
    assert answer.returncode == 2, answer.stderr
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith("smsift: ")
    assert last.endswith((".", "!"))
    assert "Traceback" not in answer.stderr
    for words in said:
        assert words in last


def test_the_front_desk_itself_imports_nothing_heavy() -> None:
    heavy = "torch transformers confluent_kafka chdb clickhouse_connect pydantic rich.live numpy"
    code = f"import sys, smsift; print([name for name in {heavy.split()!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_help_names_every_command_and_every_command_has_help(tmp_path: Path) -> None:
    answer = smsift("--help", cwd=tmp_path, COLUMNS="120")
    commands = re.findall(r"│ ([a-z]+) {2,}", answer.stdout)
    assert {"filter", "sink", "up", "down", "status", "demo", "simulate", "classify", "tail", "query", "doctor"} <= set(
        commands
    )
    for command in ("filter", "demo", "classify"):
        assert smsift(command, "--help", cwd=tmp_path).returncode == 0


def test_classify_judges_arguments_and_lines_of_stdin_without_kafka(tmp_path: Path) -> None:
    answer = smsift("classify", "--json", PRIZE, COFFEE, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert [json.loads(line)["label"] for line in answer.stdout.splitlines()] == ["spam", "ham"]
    answer = smsift("classify", cwd=tmp_path, stdin=f"{COFFEE}\n{PRIZE}\n")
    assert [line.split()[0] for line in answer.stdout.splitlines()] == ["ham", "spam"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_trace(tmp_path: Path, unbuffered: str) -> None:
    """Whether the pipe breaks while a command prints, or when what it printed is flushed at its end."""
    (tmp_path / "few.csv").write_text("text,label\nsee you at six,ham\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        answer = subprocess.run(
            [sys.executable, "-m", "smsift", "data", "describe", "few.csv", "--json"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=150,
            check=False,
        )
    assert answer.stderr == ""


def test_a_model_folder_with_one_flipped_byte_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(DEFAULT_MODEL, folder)
    weights = bytearray((folder / "adapter.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "adapter.safetensors").write_bytes(weights)
    assert_refused(smsift("classify", "--model", str(folder), "x", cwd=tmp_path), "adapter.safetensors")
    assert_refused(smsift("classify", "--model", str(tmp_path / "none"), "x", cwd=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["tail", "spam"], {}, "smsift up"),
        (["tail", "nonsense"], {"SMSIFT_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "choose one of inbound"),
        (["query", "SELECT 1"], {}, "smsift up"),
        (["query", "SELECT 1"], {"SMSIFT_CLICKHOUSE_URL": "http://127.0.0.1:1"}, "does not answer"),
        (["simulate", "--count", "1"], {}, "smsift up"),
        (["filter"], {"SMSIFT_LINGER_MS": "soon"}, "SMSIFT_LINGER_MS"),
        (["demo", "--corpus", "no/such.csv"], {}, "no/such.csv"),
        (["corpus", "no/such/folder.jsonl"], {}, "no/such/folder.jsonl"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    assert_refused(smsift(*arguments, cwd=tmp_path, **variables), said)


def test_a_corpus_without_the_named_column_names_the_columns_there_are(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("body,kind\nhello,ham\n")
    answer = smsift("demo", "--corpus", "corpus.csv", cwd=tmp_path)
    assert_refused(answer, "body", "kind")


def test_every_query_of_the_cookbook_runs_by_name_with_its_defaults(
    clickhouse: TestClickHouse, database: str, tmp_path: Path
) -> None:
    there = {"clickhouse_url": clickhouse.url, "clickhouse_database": database}
    settings = load_settings(**there)
    migrate(connect(settings), database)
    needed = {"sender": "x", "event_id": "x", "model_version": "x"}
    names = sorted(path.stem for path in COOKBOOK.glob("*.sql"))
    assert len(names) > 10
    for name in names:
        answer(settings, name, "TSV", needed)


def test_doctor_finds_what_is_missing_and_is_content_when_it_is_there(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tmp_path: Path
) -> None:
    there = {
        "SMSIFT_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SMSIFT_CLICKHOUSE_URL": clickhouse.url,
        "SMSIFT_CLICKHOUSE_DATABASE": database,
    }
    answer = smsift("doctor", cwd=tmp_path, **there, SMSIFT_TOPIC_PREFIX="nothere.", SMSIFT_TEXTMODE="drop")
    assert "change nothing: SMSIFT_TEXTMODE" in answer.stdout
    assert answer.returncode == 1
    assert "✗ Topics are missing: nothere.inbound" in answer.stdout
    assert "✗ Migrations are not applied" in answer.stdout
    assert smsift("migrate", cwd=tmp_path, **there).returncode == 0
    answer = smsift("doctor", cwd=tmp_path, **there, SMSIFT_TOPIC_PREFIX=topic_prefix)
    assert answer.returncode == 0, answer.stdout
    assert "✗" not in answer.stdout
    assert "every digest matches" in answer.stdout


def test_tail_shows_committed_records_and_query_answers(
    kafka: TestKafka, topic_prefix: str, clickhouse: TestClickHouse, database: str, tmp_path: Path
) -> None:
    settings = filter_settings(kafka.bootstrap_servers, topic_prefix)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(1), b"rubbish"], partition=0)
    with running(settings) as state:
        done = state.metrics.registry.get_sample_value
        until(lambda: done("smsift_records_total", {"outcome": "dead"}) == 1.0, "both are judged")
    there = {"SMSIFT_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "SMSIFT_TOPIC_PREFIX": topic_prefix}
    shown = smsift("tail", "ham", "--from-start", "--count", "1", cwd=tmp_path, **there)
    assert "message 1" in shown.stdout
    shown = smsift("tail", "dead", "--from-start", "--count", "1", cwd=tmp_path, **there)
    assert "not_json" in shown.stdout
    there = {"SMSIFT_CLICKHOUSE_URL": clickhouse.url, "SMSIFT_CLICKHOUSE_DATABASE": database}
    assert smsift("query", "SELECT 6 * 7", "--format", "TSV", cwd=tmp_path, **there).stdout == "42\n"
    assert_refused(smsift("query", "SELECT nonsense", cwd=tmp_path, **there), "nonsense")
    assert smsift("migrate", cwd=tmp_path, **there).returncode == 0
    assert smsift("query", "top_spam_senders", "--param", "most=5", cwd=tmp_path, **there).returncode == 0
    assert_refused(smsift("query", "sender_history", cwd=tmp_path, **there), "--param sender=VALUE")
    assert_refused(smsift("query", "nosuchname", cwd=tmp_path, **there), "top_spam_senders")
