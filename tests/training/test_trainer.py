"""The training loop: it goes on after a kill, keeps the best weights, stops early and shows where it is."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tokenizers import Tokenizer
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import Trainer

from consumer.classifier import load
from consumer.classifier.engine import Encoder
from schemas.errors import UserError
from tests.training.tiny import corpus, recipe_for
from training.data import Splits
from training.progress import Progress, Tally
from training.qlora import LABELS, Tuned, prepare
from training.recipe import Recipe
from training.train import train_on
from training.trainer import fit

STEPS = 12
KILL = """
import os, signal, sys
from pathlib import Path
from transformers import Trainer
from tests.training.tiny import corpus, recipe_for
from training.data import split_corpora
from training.train import train_on

step, calls = Trainer.training_step, [0]

def dying(*args, **kwargs):
    calls[0] += 1
    if calls[0] == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*args, **kwargs)

Trainer.training_step = dying
base = Path(sys.argv[1])
splits = split_corpora({"made": corpus()}, {}, validation_share=0.25, test_share=0.25, seed=0)
recipe = recipe_for(base, lora__dropout=0.2, training__micro_batch_size=4)
train_on(recipe, splits, Path(sys.argv[2]), base=str(base), max_steps=12, version="1")
"""


def margins(folder: Path, base: Path) -> list[float]:
    return [each.margin for each in load(folder, base=str(base)).classify([text for text, _ in corpus(30)])]


def test_a_run_that_was_killed_goes_on_and_ends_as_one_that_was_not(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    # Chance, too, must go on where it was: amid the second epoch, and between the micro-batches of a step.
    recipe = recipe_for(tiny_base, lora__dropout=0.2, training__micro_batch_size=4)
    assert 9 % (len(tiny_splits.train) // recipe.training.batch_size)
    out = tmp_path / "killed"
    died = subprocess.run([sys.executable, "-c", KILL, str(tiny_base), str(out)], check=False, timeout=120)
    assert died.returncode == -9
    assert not out.exists()
    work = tmp_path / "killed.work"
    checkpoints = sorted(work.glob("checkpoint-*"))

    with pytest.raises(UserError, match="unfinished run with other arguments"):
        train_on(recipe, tiny_splits, out, base=str(tiny_base), max_steps=STEPS, seed=1)

    assert checkpoints[-1].name == "checkpoint-9"
    half = work / "checkpoint-10"  # as a kill amid its writing leaves it
    shutil.copytree(checkpoints[-1], half)
    (half / "trainer_state.json").write_text('{"epoch":')
    (half / "adapter_model.safetensors").write_bytes(b"half")

    resumed = train_on(recipe, tiny_splits, out, base=str(tiny_base), max_steps=STEPS, version="1")
    assert resumed.manifest.training["steps"] == STEPS
    assert not work.exists()
    whole = train_on(recipe, tiny_splits, tmp_path / "whole", base=str(tiny_base), max_steps=STEPS, version="1")
    assert margins(out, tiny_base) == pytest.approx(margins(whole.folder, tiny_base), abs=1e-4)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_run_that_was_killed_after_its_last_step_is_only_saved(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuning: str
) -> None:
    recipe = recipe_for(tiny_base, tuning=tuning, quantisation__nf4=False)
    whole = train_on(recipe, tiny_splits, tmp_path / "whole", base=str(tiny_base), max_steps=3)
    monkeypatch.setattr("training.train.decide", _crash)
    with pytest.raises(KeyboardInterrupt):
        train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=3)
    monkeypatch.undo()
    monkeypatch.setattr("transformers.Trainer.training_step", _crash)  # no step is made again
    made = train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=3)
    assert made.manifest.training["steps"] == 3
    assert margins(made.folder, tiny_base) == pytest.approx(margins(whole.folder, tiny_base), abs=1e-4)


def _crash(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def encoder(base: Path) -> Encoder:
    return Encoder(Tokenizer.from_file(str(base / "tokenizer.json")), 32, 0)


def validation_loss(tuned: Tuned, base: Path, splits: Splits) -> float:
    encode = encoder(base)
    ids, lengths = encode.padded([encode.ids(each) for each in encode([each.text for each in splits.validation])])
    labels = torch.tensor([LABELS.index(each.label) for each in splits.validation])
    with torch.no_grad():
        return float(nn.functional.cross_entropy(tuned.model(ids, lengths), labels))


def fitted(recipe: Recipe, base: Path, splits: Splits, work: Path) -> tuple[Tuned, int, dict[str, object]]:
    torch.manual_seed(0)
    tuned = prepare(base, recipe)
    steps = fit(tuned, encoder(base), splits.train, splits.validation, recipe, seed=0, work=work)
    last = max(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return tuned, steps, json.loads((last / "trainer_state.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_weights_of_the_best_epoch_are_kept(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path, tuning: str
) -> None:
    recipe = recipe_for(
        tiny_base,
        tuning=tuning,
        quantisation__nf4=False,
        training__learning_rate=0.05,  # too high to get better for long
        training__epochs=6,
        training__evaluate_per_epoch=True,
    )
    tuned, steps, state = fitted(recipe, tiny_base, tiny_splits, tmp_path)
    losses = [row["eval_loss"] for row in state["log_history"] if "eval_loss" in row]  # type: ignore[attr-defined]
    assert len(losses) == 6
    assert min(losses) < losses[-1]
    assert steps == 6 * (len(tiny_splits.train) // 8)
    assert validation_loss(tuned, tiny_base, tiny_splits) == pytest.approx(min(losses), abs=1e-4)


def test_training_ends_when_validation_gets_no_better(tiny_base: Path, tiny_splits: Splits, tmp_path: Path) -> None:
    recipe = recipe_for(
        tiny_base,
        quantisation__nf4=False,
        training__learning_rate=0.05,
        training__epochs=20,
        training__evaluate_per_epoch=True,
        training__patience=1,
    )
    _, steps, state = fitted(recipe, tiny_base, tiny_splits, tmp_path)
    assert steps < 20 * (len(tiny_splits.train) // 8)
    assert state["best_global_step"] != steps


def test_a_kill_does_not_put_off_the_end_of_a_run_that_gets_no_better(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(
        tiny_base,
        quantisation__nf4=False,
        training__learning_rate=0.05,
        training__epochs=20,
        training__evaluate_per_epoch=True,
        training__patience=2,
    )
    _, steps, _ = fitted(recipe, tiny_base, tiny_splits, tmp_path / "whole")
    assert steps < 20 * (len(tiny_splits.train) // 8)
    step, calls = Trainer.training_step, iter(range(steps))

    def dying(*given: Any, **named: Any) -> Any:
        if next(calls) == steps - 2:  # in the last epoch, after one that was no better
            _crash()
        return step(*given, **named)

    monkeypatch.setattr(Trainer, "training_step", dying)
    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, tiny_base, tiny_splits, tmp_path / "killed")
    monkeypatch.undo()
    assert fitted(recipe, tiny_base, tiny_splits, tmp_path / "killed")[1] == steps


def test_the_head_can_learn_at_a_rate_of_its_own(tiny_base: Path, tiny_splits: Splits, tmp_path: Path) -> None:
    moved = []
    for factor in (1.0, 20.0):
        recipe = recipe_for(
            tiny_base, quantisation__nf4=False, training__learning_rate=1e-4, training__head_rate_factor=factor
        )
        torch.manual_seed(0)
        tuned = prepare(tiny_base, recipe)
        head = next(each for name, each in tuned.model.named_parameters() if "classifier.modules_to_save" in name)
        before = head.detach().clone()
        fit(
            tuned,
            encoder(tiny_base),
            tiny_splits.train,
            tiny_splits.validation,
            recipe,
            seed=0,
            work=tmp_path / str(factor),
            max_steps=3,
        )
        moved.append(float((head.detach() - before).abs().max()))
    assert moved[1] > 5 * moved[0]


@pytest.mark.slow
def test_two_processes_share_the_texts_of_a_step_and_make_one_model(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(KILL.replace("== 20", "== -1").replace("dropout=0.2", "dropout=0.0"))
    # What `accelerate launch` starts on GPUs; on a CPU it would ask for MPI.
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*launch, str(tmp_path / "program.py"), str(tiny_base), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = train_on(
        recipe_for(tiny_base, lora__dropout=0.0),
        tiny_splits,
        tmp_path / "one",
        base=str(tiny_base),
        max_steps=STEPS,
        version="1",
    )
    assert margins(tmp_path / "two", tiny_base) == pytest.approx(margins(alone.folder, tiny_base), abs=1e-3)
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["training"]["processes"] == 2
    assert manifest["training"]["steps"] == STEPS


def test_a_terminal_shows_a_bar_and_a_log_gets_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    arguments = TrainingArguments(output_dir="unused", use_cpu=True, report_to=[])
    state = TrainerState(max_steps=100, is_world_process_zero=True)
    control = TrainerControl()
    for terminal in (True, False):
        screen = io.StringIO()
        tally = Tally()
        progress = Progress(tally, Console(file=screen, force_terminal=terminal, width=160))
        state.global_step = 0
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="smsift.training"):
            progress.on_train_begin(arguments, state, control)
            for step in range(1, 101):
                state.global_step, tally.tokens = step, 50 * step
                progress.on_log(arguments, state, control, logs={"loss": 0.25, "learning_rate": 1e-3})
                progress.on_step_end(arguments, state, control)
            progress.on_train_end(arguments, state, control)
        lines = [record.getMessage() for record in caplog.records]
        shown = screen.getvalue() if terminal else lines[0]
        assert "loss 0.25, learning rate 0.001" in shown
        assert "tokens/s" in shown
        assert bool(screen.getvalue()) == terminal
        assert len(lines) == (0 if terminal else 10)
