"""`smsift evaluate` from the command line down, on a model folder that was trained here."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import smsift
from consumer.classifier import load
from consumer.classifier.artifact import Artifact
from consumer.settings import load_settings
from schemas.errors import UserError
from tests.training.tiny import corpus
from training import snapshots
from training.data import Splits


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a labelled file of each kind, as the current one, with settings of its own."""
    logger = logging.getLogger("smsift")
    before = logger.handlers[:], logger.propagate, logger.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSIFT_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("SMSIFT_BASE", str(tiny_base))
    monkeypatch.setenv("SMSIFT_DEVICE", "cpu")
    for name in ("MODEL", "MODELS", "DATA_STORE"):
        monkeypatch.delenv(f"SMSIFT_{name}", raising=False)
    rows = corpus(60, seed=5)
    lines = [f"{'smishing' if label == 'spam' else '0'},{text}" for text, label in rows]
    (tmp_path / "mixed.csv").write_text("\n".join(["kind,msg", *lines]))
    (tmp_path / "spam.txt").write_text("".join(f"spam\t{text}\n" for text, label in rows if label == "spam"))
    (tmp_path / "ham.txt").write_text("".join(f"ham\t{text}\n" for text, label in rows if label == "ham"))
    yield tmp_path
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


def evaluate(*arguments: str) -> Result:
    answer = CliRunner().invoke(smsift.app, ["evaluate", *arguments])
    if isinstance(answer.exception, UserError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer


def test_json_alone_is_printed_and_says_what_the_filter_would_do(learnt_model: Artifact, tiny_base: Path) -> None:
    answer = evaluate(str(learnt_model.folder), "--data", "mixed.csv:msg:kind", "--json", "--no-attacks")
    found = json.loads(answer.stdout)
    said = load(learnt_model.folder, base=str(tiny_base)).classify([text for text, _ in corpus(60, seed=5)])
    right = sum(each.label == label for each, (_, label) in zip(said, corpus(60, seed=5), strict=True))
    assert {"recall", "precision", "f1", "fpr", "n"} <= found.keys()
    assert (found["n"], found["spam"]) == (60, 20)
    assert found["accuracy"] == pytest.approx(right / 60, abs=1e-6)
    assert found["model"]["digest"] == learnt_model.digest
    assert found["attacks"] == []
    assert found["peers"].keys() == {"before tuning", "after tuning", "naive Bayes"}
    assert found["peers"]["before tuning"]["auprc"] < found["peers"]["after tuning"]["auprc"]


@pytest.mark.parametrize(("name", "told", "untold"), [("spam", "recall", "fpr"), ("ham", "fpr", "recall")])
def test_a_file_with_one_class_has_null_for_what_it_cannot_tell(
    learnt_model: Artifact, name: str, told: str, untold: str
) -> None:
    found = json.loads(evaluate(str(learnt_model.folder), "--data", f"{name}.txt", "--json", "--no-attacks").stdout)
    assert found[told] is not None
    assert [found[each] for each in (untold, "precision", "f1", "auprc")] == [None] * 4
    assert "before tuning" not in found["peers"]


def test_several_files_are_pooled_and_told_apart(learnt_model: Artifact) -> None:
    files = ["--data", "spam.txt", "--data", "ham.txt", "--data", "mixed.csv:msg:kind"]
    found = json.loads(evaluate(str(learnt_model.folder), *files, "--json", "--no-attacks", "--before", "none").stdout)
    assert {name: each["n"] for name, each in found["data"].items()} == {"spam": 20, "ham": 40, "mixed": 60}
    assert found["n"] == 120
    distinct = json.loads(evaluate(str(learnt_model.folder), *files, "--json", "--no-attacks", "--distinct").stdout)
    assert distinct["n"] <= 60
    assert distinct["data"].keys() == {"spam", "ham"}  # `mixed` holds nothing new


def test_the_training_split_at_hand_teaches_the_floor_and_is_told_apart(
    learnt_model: Artifact, learnt_splits: Splits
) -> None:
    snapshots.add(load_settings().data_folder, learnt_splits)
    Path("seen.jsonl").write_text(
        "\n".join(json.dumps({"text": each.original, "label": each.label}) for each in learnt_splits.train[:30])
    )
    files = ["--data", "seen.jsonl", "--data", "mixed.csv:msg:kind"]
    answer = evaluate(str(learnt_model.folder), *files, "--json", "--no-attacks", "--report", "out")
    found = json.loads(answer.stdout)
    assert f"{len(learnt_splits.train)} training texts" in found["peers"]["naive Bayes"]["note"]
    assert "validation split" in found["peers"]["before tuning"]["note"]
    seen = {each["value"]: each["n"] for each in found["slices"] if each["trait"] == "in the training split"}
    assert seen["yes"] >= 30
    assert found["trained_on"] == seen["yes"]
    caution = f"{seen['yes']} of {found['n']} texts were trained on: these figures flatter the model"
    assert caution in answer.stderr
    assert all(caution in Path("out", page).read_text() for page in ("report.html", "report.md"))


def test_people_get_tables_and_a_report(learnt_model: Artifact) -> None:
    arguments = ["--data", "mixed.csv:msg:kind", "--report", "out", "--before", str(learnt_model.folder)]
    answer = evaluate(str(learnt_model.folder), *arguments)
    assert "recall" in answer.stdout
    assert "zero width" in answer.stdout
    assert "before: tiny 1" in answer.stdout
    assert "coffee" not in Path("out/report.html").read_text() + Path("out/report.md").read_text()
    evaluate(str(learnt_model.folder), "--data", "ham.txt", "--no-attacks", "--report", "shown", "--show-text")
    assert "coffee" in Path("shown/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give --data"),
        (["--data", "absent.csv"], "no corpus"),
        (["--data", "mixed.csv:text:kind"], "no column 'text'"),
        (["--data", "mixed.csv:kind:msg"], "no label"),
        (["--data", "empty.csv"], "empty"),
        (["absent", "--data", "ham.txt"], "no model"),
        (["--data", "ham.txt", "--before", "absent"], "no model"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, learnt_model: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty.csv").write_text("")
    monkeypatch.setenv("SMSIFT_MODEL", str(learnt_model.folder))
    with pytest.raises(UserError, match=sentence):
        evaluate("--no-attacks", *arguments)


def test_a_report_that_cannot_be_written_is_a_sentence(learnt_model: Artifact) -> None:
    Path("taken").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        evaluate(str(learnt_model.folder), "--data", "ham.txt", "--no-attacks", "--report", "taken")
