"""A sweep trains every combination and ends in one table; the command trains, judges and keeps the data."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from consumer.classifier.artifact import Artifact, load_artifact
from consumer.settings import Settings
from schemas.errors import UserError
from tests.training.tiny import corpus, recipe_for
from training.commands.train import train as command
from training.data import Splits
from training.run import REPORT, Run, run
from training.snapshots import list_, pull
from training.sweep import Changes, assignments, claim, combinations, folder_name, sweep, table, value_of, values_of

ROOT = Path(__file__).parents[2]


def test_values_are_toml_or_plain_words() -> None:
    assert values_of("8,16,32") == [8, 16, 32]
    assert values_of("float32,bfloat16") == ["float32", "bfloat16"]
    assert values_of('["query"],["query", "value"]') == [["query"], ["query", "value"]]
    assert [value_of(text) for text in ("1e-4", "true", "auto")] == [1e-4, True, "auto"]


def test_a_wrong_assignment_is_one_sentence() -> None:
    assert assignments(["lora.r=8", "training.epochs = 1"], "--set") == {"lora.r": "8", "training.epochs": "1"}
    for wrong in (["lora.r"], ["lora.r="], ["lora.r=8", "lora.r=16"]):
        with pytest.raises(UserError, match="--set takes field=value"):
            assignments(wrong, "--set")


def test_two_fields_are_combined() -> None:
    assert combinations({"lora.r": [8, 16], "training.epochs": [1, 2]}) == [
        {"lora.r": 8, "training.epochs": 1},
        {"lora.r": 8, "training.epochs": 2},
        {"lora.r": 16, "training.epochs": 1},
        {"lora.r": 16, "training.epochs": 2},
    ]
    assert folder_name({"lora.r": 8, "training.compute": "a/b"}) == "lora.r=8,training.compute=a-b"


def test_a_sweep_keeps_what_is_done_and_ends_in_one_table(
    tiny_base: Path, tiny_splits: Splits, tiny_model: Artifact, tmp_path: Path
) -> None:
    settings = Settings(local_dir=tmp_path / "local", tracking_uri="http://127.0.0.1:9")  # nobody is there
    trained: list[int] = []

    def train(changes: Changes, folder: Path) -> Artifact:
        trained.append(changes["lora.r"])
        recipe = recipe_for(tiny_base).changed(changes)
        return run(recipe, tiny_splits, folder, Run(settings, base=str(tiny_base), max_steps=2, report=False))

    sweep({"lora.r": [2]}, tmp_path / "sweep", train)
    points = sweep({"lora.r": [2, 3]}, tmp_path / "sweep", train)
    assert trained == [2, 3]
    assert [point.artifact.manifest.lora.rank for point in points if point.artifact.manifest.lora] == [2, 3]
    screen = io.StringIO()
    Console(file=screen, width=120).print(table(points))
    shown = screen.getvalue()
    assert "lora.r" in shown
    assert "F1 made" in shown
    best = min(points, key=lambda point: point.artifact.manifest.metrics["validation"]["nll"] or 0)
    rows = [line for line in shown.splitlines() if line.startswith("│")]
    assert rows[0].split()[1] == str(best.changes["lora.r"])


def test_one_table_never_compares_models_of_different_data_or_recipes(tmp_path: Path) -> None:
    claim(tmp_path / "sweep", [{"training.epochs": 3.0}, "data", 0])
    claim(tmp_path / "sweep", [{"training.epochs": 3.0}, "data", 0])
    for other in ([{"training.epochs": 1.0}, "data", 0], [{"training.epochs": 3.0}, "data", 1]):
        with pytest.raises(UserError, match="a sweep with another recipe, data or seed"):
            claim(tmp_path / "sweep", other)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write the sweep"):
        claim(tmp_path / "file" / "sweep", [])


def test_a_run_ends_with_a_model_a_report_and_a_snapshot_though_the_log_of_runs_is_away(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    settings = Settings(local_dir=tmp_path / "local", tracking_uri="http://127.0.0.1:9")
    made = run(recipe_for(tiny_base), tiny_splits, tmp_path / "made", Run(settings, base=str(tiny_base), max_steps=2))
    assert load_artifact(tmp_path / "made").digest == made.digest
    assert (made.folder / REPORT / "report.html").is_file()
    assert [each.digest for each in list_(settings.data_folder)] == [tiny_splits.version]
    again = run(
        recipe_for(tiny_base),
        pull(settings.data_folder, tiny_splits.version[:8]),
        tmp_path / "again",
        Run(settings, base=str(tiny_base), max_steps=2, report=False),
    )
    assert again.manifest.data_version == made.manifest.data_version
    assert again.manifest.metrics["made"]["n"] == made.manifest.metrics["made"]["n"]


def test_a_snapshot_store_that_cannot_be_written_undoes_neither_the_model_nor_its_report(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(data_store=str(tmp_path / "file" / "data"), tracking_uri="http://127.0.0.1:9")
    made = run(recipe_for(tiny_base), tiny_splits, tmp_path / "made", Run(settings, base=str(tiny_base), max_steps=1))
    assert load_artifact(tmp_path / "made").manifest.name == "tiny"
    assert (made.folder / REPORT / "report.html").is_file()


def test_the_command_prints_its_own_lines_and_nothing_else(tiny_base: Path, tmp_path: Path) -> None:
    rows = [json.dumps({"sms": text, "kind": label}) for text, label in corpus()]
    (tmp_path / "ours.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "tiny.toml").write_text(
        'name = "tiny"\nmax_length = 32\nbase.id = "tiny/base"\nquantisation.nf4 = true\nlora.targets = ["query"]\n'
        "training = {batch_size = 8}\ndata = {validation_share = 0.25, test_share = 0.25}\n",
        encoding="utf-8",
    )
    options = ["--data", "ours.jsonl:sms:kind", "--out", "made", "--base", str(tiny_base), "--max-steps", "3"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "smsift.py"), "train", "tiny.toml", *options, "--set", "lora.r=2", "--no-report"],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["training", lines[1].split()[0], "training", "saved"]
    assert "parameters are trained" in lines[1]
    assert all(json.loads(line)["logger"].startswith("smsift.") for line in done.stderr.splitlines())
    assert load_artifact(tmp_path / "made").manifest.lora is not None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give --data PATH, or --from-snapshot"),
        ({"data": ["a.csv"], "from_snapshot": "abcdef"}, "and not both"),
        ({"data": ["a.csv"], "change": ["lora.rank=8"]}, "has no field lora.rank"),
        ({"recipe": "nosuch", "data": ["a.csv"]}, "no readable recipe nosuch"),
    ],
)
def test_wrong_arguments_are_one_sentence(options: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        command(**{"recipe": "minilm-qlora", "out": tmp_path / "made", **options})  # type: ignore[arg-type]
