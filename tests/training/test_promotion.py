"""`smsift promote`, `models` and `rollback`, from the command line down to the files, with MLflow away."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.classifier.artifact import MANIFEST, Artifact, load_artifact
from consumer.classifier.models_folder import chosen, read_aliases
from consumer.settings import load_settings
from schemas.errors import UserError
from smsift import app
from tests.training.tiny import corpus
from training import snapshots
from training.data import Splits
from training.promotion import frozen_test

FLOORS = """
accuracy = 0.9
recall = 0.8
f1 = 0.8
ece = 0.2
least_ham = 10
attack_recall_loss = 1.0
attack_fpr_rise = 1.0
relative_speed = 0.0
"""


@pytest.fixture
def models(tmp_path: Path, tiny_base: Path, learnt_splits: Splits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, with the settings of a project of its own, whose data store has the model's snapshot.

    No model comes with smsift: the real one is of a larger base than the tiny models, and slower.
    """
    monkeypatch.setattr("consumer.classifier.model.DEFAULT_MODEL", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "floors.toml").write_text(FLOORS)
    monkeypatch.setenv("SMSIFT_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("SMSIFT_BASE", str(tiny_base))
    monkeypatch.setenv("SMSIFT_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    snapshots.add(load_settings().data_folder, learnt_splits)
    return tmp_path / "local" / "models"


def changed(model: Artifact, folder: Path, **changes: object) -> Path:
    """A copy of a model whose manifest says something else."""
    shutil.copytree(model.folder, folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | changes), encoding="utf-8")
    return folder


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_model_that_passes_becomes_champion_although_mlflow_is_away(models: Path, learnt_model: Artifact) -> None:
    said = run("promote", str(learnt_model.folder), "--floors", "floors.toml")
    assert "promoted: tiny 1 is the champion" in said
    assert "FAIL" not in said
    assert "accuracy" in said
    folder = chosen(None, str(models), Path("unused"))
    assert folder is not None
    assert load_artifact(folder).digest == learnt_model.digest
    (answer,) = run("classify", "--json", "win a free cash prize now").splitlines()
    assert json.loads(answer)["label"] == "spam"  # the shipped model would not load on the tiny base


def test_models_are_listed_and_rolled_back_in_one_command_each(
    models: Path, learnt_model: Artifact, tmp_path: Path
) -> None:
    assert "No model was promoted yet" in run("models")
    run("promote", str(learnt_model.folder), "--floors", "floors.toml")
    run("promote", str(changed(learnt_model, tmp_path / "two", version="2")), "--floors", "floors.toml")
    listed = [json.loads(line) for line in run("models", "--json").splitlines()]
    assert {each["folder"]: each["aliases"] for each in listed} == {
        "tiny-2": ["champion"],
        "tiny-1": ["previous"],
    }
    assert all(each["gate"]["f1"] and each["created"] for each in listed)
    assert "tiny-1 is the champion again, tiny-2 is the previous one" in run("rollback")
    table = run("models")
    assert "tiny-1" in table
    assert "challenger, previous" in table


@pytest.mark.parametrize(("threshold", "why"), [(0.9999999, "recall 0.0000"), (1e-9, "FPR 1.0000")])
def test_an_all_ham_and_an_all_spam_model_are_refused_with_exit_code_1_and_change_nothing(
    models: Path, learnt_model: Artifact, tmp_path: Path, threshold: float, why: str
) -> None:
    review = {"low": min(threshold, 0.1), "high": 1.0}
    useless = changed(learnt_model, tmp_path / "useless", threshold=threshold, review=review)
    said = run("promote", str(useless), "--floors", "floors.toml", code=1)
    assert f"FAIL  {why}" in said
    assert "refused: tiny 1" in said
    assert not models.exists()


def test_the_shipped_floors_and_the_accuracy_threshold_decide(models: Path, learnt_model: Artifact) -> None:
    said = run("promote", str(learnt_model.folder), "--floors", "floors.toml", "--accuracy-threshold", "1", code=1)
    assert "at least 1" in said
    decision = json.loads(run("promote", str(learnt_model.folder), "--json", code=1))
    assert not decision["passed"]
    assert "accuracy" in decision["metrics"]
    assert not models.exists()


def test_a_worse_model_than_the_champion_is_refused_and_the_champion_stays(
    models: Path, learnt_model: Artifact, tmp_path: Path
) -> None:
    run("promote", str(learnt_model.folder), "--floors", "floors.toml")
    before = read_aliases(str(models))
    said = run(
        "promote",
        str(
            changed(
                learnt_model, tmp_path / "worse", version="2", threshold=0.9999999, review={"low": 0.1, "high": 1.0}
            )
        ),
        "--floors",
        "floors.toml",
        code=1,
    )
    assert "to tiny 1" in said
    assert read_aliases(str(models)) == before
    assert [path.name for path in models.iterdir() if path.is_dir()] == ["tiny-1"]


def test_the_first_promotion_is_refused_to_a_model_worse_than_the_one_that_comes_with_smsift(
    models: Path, learnt_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    misses = changed(learnt_model, tmp_path / "worse", version="2", threshold=0.9999999, review={"low": 0.1, "high": 1})
    (tmp_path / "none.toml").write_text(FLOORS.replace("= 0.9", "= 0.0").replace("= 0.8", "= 0.0"))
    run("promote", str(misses), "--floors", "none.toml", "--json")  # where nothing serves, such floors let it in
    run("rollback")
    monkeypatch.setattr("consumer.classifier.model.DEFAULT_MODEL", learnt_model.folder)
    said = run("promote", str(misses), "--floors", "none.toml", code=1)
    assert "FAIL  F1 0.0000" in said
    assert "to tiny 1, which comes with smsift" in said
    assert read_aliases(str(models)).champion is None
    assert "tiny 1 is the champion" in run("promote", str(learnt_model.folder), "--floors", "none.toml")


def test_where_the_model_that_comes_with_smsift_does_not_load_the_floors_decide_and_the_reason_says_so(
    models: Path, learnt_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {"id": "no hub has this", "sha256": "0" * 64, "package": None}
    shipped = changed(learnt_model, tmp_path / "shipped", base=nowhere)
    monkeypatch.setattr("consumer.classifier.model.DEFAULT_MODEL", shipped)
    said = run("promote", str(learnt_model.folder), "--floors", "floors.toml")
    assert "no comparison with the model that comes with smsift" in said
    assert "no hub has this is not at hand" in said
    assert "promoted: tiny 1" in said


def test_rollback_of_the_first_champion_returns_to_the_model_that_comes_with_smsift_in_mlflow_too(
    models: Path, learnt_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("SMSIFT_TRACKING_URI", uri)
    run("promote", str(learnt_model.folder), "--floors", "floors.toml")
    assert set(MlflowClient(uri).get_registered_model("spam").aliases) == {"champion", "challenger"}
    assert "the model that comes with smsift serves again" in run("rollback")
    assert chosen(None, str(models), Path("unused")) is None
    assert set(MlflowClient(uri).get_registered_model("spam").aliases) == {"challenger"}
    result = CliRunner().invoke(app, ["rollback"])
    assert isinstance(result.exception, UserError)


def test_labelled_files_are_judged_on_instead_of_the_models_own_tests(
    models: Path, learnt_model: Artifact, tmp_path: Path
) -> None:
    rows = [json.dumps({"msg": text, "kind": label}) for text, label in corpus(90, seed=9)]
    (tmp_path / "other.jsonl").write_text("\n".join(rows))
    shutil.rmtree(load_settings().data_folder)
    given = f"{tmp_path / 'other.jsonl'}:msg:kind"
    decision = json.loads(
        run("promote", str(learnt_model.folder), "--floors", "floors.toml", "--data", given, "--json")
    )
    assert decision["metrics"]["n"] > 60


def test_a_model_whose_data_is_nowhere_names_the_way_out(models: Path, learnt_model: Artifact) -> None:
    shutil.rmtree(load_settings().data_folder)
    result = CliRunner().invoke(app, ["promote", str(learnt_model.folder)])
    assert isinstance(result.exception, UserError)
    assert "--data" in str(result.exception)


def test_a_model_behind_another_normaliser_is_not_judged(models: Path, learnt_model: Artifact, tmp_path: Path) -> None:
    old = changed(learnt_model, tmp_path / "old", normaliser_version="0")
    result = CliRunner().invoke(app, ["promote", str(old)])
    assert isinstance(result.exception, UserError)
    assert "normaliser 0" in str(result.exception)


def test_what_a_model_was_trained_on_is_not_part_of_the_frozen_test(
    models: Path, learnt_model: Artifact, learnt_splits: Splits
) -> None:
    tests = [each for part in learnt_splits.tests.values() for each in part]
    shouted = [replace(each, text=each.text.upper()) for each in learnt_splits.train]
    frozen = frozen_test(load_settings().data_folder, learnt_model, None, [*shouted, *tests])
    assert frozen.left_out == len(shouted)
    assert frozen.examples == tuple(tests)
    assert frozen.digest != frozen_test(load_settings().data_folder, learnt_model, None, tests[1:]).digest
