"""What MLflow shows is what lies in the folders, and the model it serves is the one that the filter serves."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest

from consumer.classifier import load
from consumer.classifier.artifact import ADAPTER, Artifact
from consumer.classifier.models_folder import Alias, Aliases
from consumer.classify import lines
from tests.training.folders import make_folder
from tests.training.tiny import corpus
from training import tracking

TEXTS = ["win a free cash prize now", "see you at home for dinner", "fr\u0435\u0435 priz\u200be", ""]


@dataclass(frozen=True)
class Logged:
    """A tracking store of the test's own, with one run nested in a sweep, judged and registered."""

    uri: str
    client: Any
    run: Any
    artifact: Artifact


@pytest.fixture(scope="module")
def logged(learnt_model: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "report").mkdir()
    (folder / "report" / "report.md").write_text("# Report")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    parent = tracking.open_sweep(uri, "sweep", {"lora.r": "4,8"})
    assert parent is not None
    run_id = tracking.log_run(uri, learnt_model, {"lora.r": 4}, report_folder=folder / "report", parent=parent)
    assert run_id is not None
    client = mlflow.MlflowClient(uri)
    assert client.search_registered_models() == []  # training registers nothing
    run = client.get_run(run_id)
    assert run.data.tags["mlflow.parentRunId"] == parent
    return Logged(uri, client, run, learnt_model)


def alias(artifact: Artifact) -> Alias:
    return Alias(folder=f"{artifact.manifest.name}-{artifact.manifest.version}", digest=artifact.digest)


def names(client: Any, run_id: str, path: str) -> set[str]:
    return {each.path.rpartition("/")[2] for each in client.list_artifacts(run_id, path)}


def test_a_run_has_parameters_data_metrics_report_and_the_model_folder(logged: Logged) -> None:
    data, manifest = logged.run.data, logged.artifact.manifest
    assert data.params["lora.r"] == "4"
    assert data.params["data_version"] == manifest.data_version
    assert data.params["seed"] == "0"
    assert data.params["base_sha256"] == manifest.base.sha256
    assert data.params["library.torch"] == manifest.libraries["torch"]
    assert data.metrics["made/f1"] == manifest.metrics["made"]["f1"]
    run_id = logged.run.info.run_id
    assert names(logged.client, run_id, "model") == {*manifest.files, "manifest.json"}
    assert names(logged.client, run_id, "report") == {"report.md"}


def test_artefacts_lie_beside_the_database_and_hold_no_message(logged: Logged) -> None:
    folder = Path(logged.uri.removeprefix("sqlite:///")).parent
    files = [path for path in (folder / "mlartifacts").rglob("*") if path.is_file()]
    assert any(path.name == "MLmodel" for path in files)
    written = b"".join(path.read_bytes() for path in [*files, folder / "mlflow.db"])
    assert not [text for text, _ in corpus(300) if text.encode() in written]


def test_a_refused_model_is_logged_with_its_reasons_and_not_registered(logged: Logged, tmp_path: Path) -> None:
    decision = {
        "passed": False,
        "reasons": ["FAIL  recall 0.0000, at least 0.5"],
        "metrics": {"recall": 0.0, "f1": None},
    }
    refused = tracking.log_decision(logged.uri, logged.artifact, decision)
    assert refused == logged.run.info.run_id
    run = logged.client.get_run(refused)
    assert run.data.tags["smsift.gate"] == "refused"
    assert run.data.metrics["gate/recall"] == 0.0
    told = mlflow.artifacts.download_artifacts(
        run_id=refused, artifact_path="gate.json", dst_path=str(tmp_path), tracking_uri=logged.uri
    )
    assert json.loads(Path(told).read_text(encoding="utf-8"))["reasons"] == decision["reasons"]
    assert logged.client.search_registered_models() == []


def test_aliases_are_mirrored_and_what_mlflow_missed_is_registered_then(logged: Logged, tmp_path: Path) -> None:
    older = make_folder(tmp_path / "older", "0")  # promoted while MLflow was away
    known = {alias(each): each for each in (logged.artifact, older)}
    aliases = Aliases(champion=alias(logged.artifact), challenger=alias(logged.artifact), previous=alias(older))
    assert tracking.mirror(logged.uri, aliases, known.__getitem__)
    assert tracking.mirror(logged.uri, aliases, known.__getitem__)  # and nothing twice

    def digest(name: str) -> str:
        return str(logged.client.get_model_version_by_alias("spam", name).tags["smsift.digest"])

    assert [digest(name) for name in ("champion", "challenger", "previous")] == [
        logged.artifact.digest, logged.artifact.digest, older.digest,
    ]  # fmt: skip
    assert len(logged.client.search_model_versions("name = 'spam'")) == 2
    assert logged.client.get_model_version_by_alias("spam", "champion").run_id == logged.run.info.run_id
    swapped = aliases.model_copy(update={"champion": aliases.previous, "previous": None})
    assert tracking.mirror(logged.uri, swapped, known.__getitem__)
    assert digest("champion") == older.digest
    assert "previous" not in logged.client.get_registered_model("spam").aliases


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db", "bogus://x"])
def test_where_mlflow_is_away_a_warning_says_so_and_nothing_is_raised(
    learnt_model: Artifact, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "smsift.tracking"):
        assert tracking.log_run(uri, learnt_model) is None
        assert tracking.open_sweep(uri, "sweep") is None
        assert tracking.log_decision(uri, learnt_model, {"passed": True, "metrics": {}}) is None
        assert not tracking.mirror(uri, Aliases(champion=alias(learnt_model)), lambda _: learnt_model)
    assert caplog.text.count("did not take") == 4
    assert "secret" not in caplog.text


def test_a_run_that_cannot_be_logged_whole_is_marked_as_failed(logged: Logged, tmp_path: Path) -> None:
    broken = make_folder(tmp_path / "broken", "3")
    (broken.folder / ADAPTER).unlink()
    assert tracking.log_run(logged.uri, broken) is None
    (failed,) = logged.client.search_runs(
        [logged.run.info.experiment_id], f"tags.`smsift.digest` = '{broken.digest}'", max_results=2
    )
    assert failed.info.status == "FAILED"


@pytest.mark.slow
@pytest.mark.timeout(600)  # several processes import torch, on whatever machine this is
def test_mlflow_serves_the_champion_with_the_answers_of_classify(
    logged: Logged, tiny_base: Path, tmp_path: Path
) -> None:
    champion = Aliases(champion=alias(logged.artifact))
    assert tracking.mirror(logged.uri, champion, lambda _: logged.artifact)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binaries = Path(sys.executable).parent
    arguments = ["models", "serve", "-m", "models:/spam@champion", "--env-manager", "local", "--workers", "1"]
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",  # the server is started by its name
        "MLFLOW_TRACKING_URI": logged.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SMSIFT_BASE": str(tiny_base),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(binaries / "mlflow"), *arguments, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")
        model = load(logged.artifact.folder, base=str(tiny_base))
        expected = [json.loads(line) for line in lines(model, TEXTS, json_lines=True)]
        for body in ({"inputs": TEXTS}, {"dataframe_records": [{"text": text} for text in TEXTS]}):
            answers = ask(f"http://127.0.0.1:{port}/invocations", body)["predictions"]
            assert [each | {"score": None, "margin": None} for each in answers] == [
                each | {"score": None, "margin": None} for each in expected
            ]
            for name in ("score", "margin"):
                assert [each[name] for each in answers] == pytest.approx([each[name] for each in expected], abs=1e-5)
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def ask(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)


def wait_until_it_answers(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(log.read_text(errors="replace")[-3000:])
            time.sleep(0.2)  # between polls; the deadline decides
