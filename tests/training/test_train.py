"""A model made by training is the model that is served."""

import importlib.metadata
import json
import logging
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import TrainerState
from transformers.trainer import Trainer
from typer.testing import CliRunner

import smsift
from consumer.classifier import load
from consumer.classifier.artifact import ADAPTER, MODEL, Artifact
from schemas.corpus import CorpusSpec
from schemas.errors import UserError
from tests.training.tiny import corpus, make_base, recipe_for, write_recipe
from training import trainer
from training.calibrate import fit_platt
from training.data import Splits
from training.decision import prior_shift
from training.progress import Progress
from training.recipe import RECIPES, Recipe, load_recipe
from training.train import train, train_on

TEXTS = ["win a free cash prize now", "see you at home for dinner", "coffee tomorrow", "", "loan " * 50]
ASK = (
    "import json, sys; from consumer.classifier import load\n"
    "for folder, base in json.loads(sys.argv[1]):\n"
    "    model = load(folder, base=base)\n"
    "    print(json.dumps([each.margin for each in model.classify(json.loads(sys.argv[2]))]))"
)
KINDS = {"minilm": "bert", "tinyllama": "llama", "gpt2": "gpt2", "distilbert": "distilbert"}


def shrunk(recipe: Recipe, base: Path) -> Recipe:
    """The recipe for a tiny base of its architecture: everything but sizes stays."""
    batch = {"training.batch_size": 8, "training.micro_batch_size": 4, "training.epochs": 1.0, "lora.r": 4}
    data = {"data.validation_share": 0.25, "data.test_share": 0.25}
    mine = recipe_for(base).base
    return recipe.changed({"base.id": mine.id, "base.sha256": mine.sha256, "base.package": None, **batch, **data})


def test_every_recipe_trains_and_answers_in_a_fresh_process_as_in_this_one(
    tiny_bases: dict[str, Path], tiny_splits: Splits, tmp_path: Path
) -> None:
    recipes = [load_recipe(path.stem) for path in sorted(RECIPES.glob("*.toml"))]
    recipes.append(load_recipe("gpt2-lora").changed({"name": "gpt2-qlora", "quantisation.nf4": True}))
    recipes.append(load_recipe("distilbert-lora").changed({"name": "distilbert-qlora", "quantisation.nf4": True}))
    made: list[tuple[Artifact, str]] = []
    for recipe in recipes:
        base = tiny_bases[KINDS[recipe.name.partition("-")[0]]]
        artifact = train_on(
            shrunk(recipe, base), tiny_splits, tmp_path / recipe.name, base=str(base), max_steps=3, version="1"
        )
        assert artifact.manifest.architecture == KINDS[recipe.name.partition("-")[0]]
        assert (artifact.manifest.quantisation is not None) == recipe.quantisation.nf4
        assert (artifact.manifest.lora is None) == (recipe.tuning == "full")
        assert ((MODEL if recipe.tuning == "full" else ADAPTER) in artifact.manifest.files) is True
        assert artifact.manifest.training["steps"] == 3
        made.append((artifact, str(base)))
    places = json.dumps([(str(artifact.folder), base) for artifact, base in made])
    answer = subprocess.run(
        [sys.executable, "-c", ASK, places, json.dumps(TEXTS)], capture_output=True, text=True, check=True, timeout=120
    )
    for (artifact, base), line in zip(made, answer.stdout.splitlines(), strict=True):
        here = [each.margin for each in load(artifact.folder, base=base).classify(TEXTS)]
        assert json.loads(line) == pytest.approx(here, abs=1e-5), artifact.manifest.name


@pytest.mark.parametrize("kind", ["distilbert", "gpt2", "llama"])
def test_a_margin_does_not_depend_on_the_batch(
    kind: str, tiny_bases: dict[str, Path], tiny_splits: Splits, tmp_path: Path
) -> None:
    base = tiny_bases[kind]
    recipe = recipe_for(base, kind, quantisation__nf4=False)
    model = load(train_on(recipe, tiny_splits, tmp_path / "made", base=str(base), max_steps=1).folder, base=str(base))
    texts = [*TEXTS, *(text for text, _ in corpus(30)), "\u200b", "see " * 9]
    together = [each.margin for each in model.classify(texts)]
    alone = [model.classify([text])[0].margin for text in texts]
    assert together == pytest.approx(alone, abs=1e-3)


def test_a_model_tuned_whole_needs_no_base(tiny_bases: dict[str, Path], tiny_splits: Splits, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "distilbert")
    recipe = recipe_for(base, "distilbert", tuning="full", quantisation__nf4=False)
    made = train_on(recipe, tiny_splits, tmp_path / "made", base=str(base), max_steps=1)
    (base / "model.safetensors").unlink()
    assert len(load(made.folder).classify(TEXTS)) == len(TEXTS)


def test_full_precision_needs_no_bitsandbytes(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name == "bitsandbytes":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn.modules", None)  # what an import of its layers then meets
    recipe = recipe_for(tiny_base, quantisation__nf4=False)
    made = train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=1)
    assert "bitsandbytes" not in made.manifest.libraries


def test_the_manifest_says_what_the_model_is_made_from_and_worth(tiny_model: Artifact) -> None:
    manifest = tiny_model.manifest
    assert manifest.metrics.keys() == {"validation", "made"}
    assert manifest.metrics["made"]["n"]
    assert manifest.training["steps"] == 12
    assert manifest.training["compute"] == "float32"
    assert manifest.quantisation is not None
    assert manifest.files[ADAPTER].size == (tiny_model.folder / ADAPTER).stat().st_size
    assert {"torch", "transformers", "peft", "bitsandbytes"} <= manifest.libraries.keys()


def test_a_base_of_unknown_digest_is_pinned_by_the_manifest(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    recipe = recipe_for(tiny_base).changed({"base.sha256": None})
    made = train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=1)
    assert made.manifest.base.sha256 == recipe_for(tiny_base).base.sha256
    other = make_base(tmp_path / "other", "distilbert")
    with pytest.raises(UserError, match="not the base"):
        load(made.folder, base=str(other))


def test_another_base_than_the_recipes_is_trained_on_and_named(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    recipe = recipe_for(tiny_base).changed({"base.sha256": "0" * 64})
    made = train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=1)
    assert made.manifest.base.id == tiny_base.name
    assert len(load(made.folder, base=str(tiny_base)).classify(TEXTS)) == len(TEXTS)


def test_the_same_seed_makes_the_same_adapter(
    tiny_base: Path, tiny_splits: Splits, tiny_model: Artifact, tmp_path: Path
) -> None:
    again = train_on(
        recipe_for(tiny_base), tiny_splits, tmp_path / "again", base=str(tiny_base), max_steps=12, version="1"
    )
    assert again.manifest.data_version == tiny_model.manifest.data_version
    texts = [text for text, _ in corpus(30)]
    first, second = (
        [each.margin for each in load(model.folder, base=str(tiny_base)).classify(texts)]
        for model in (tiny_model, again)
    )
    assert first == pytest.approx(second, abs=1e-3)


def test_corpora_are_read_from_files_and_a_held_out_one_is_only_tested_on(tiny_base: Path, tmp_path: Path) -> None:
    for name, rows in (("ours", corpus(90)), ("theirs", corpus(40, seed=2))):
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    model = train(
        recipe_for(tiny_base),
        [CorpusSpec(tmp_path / "ours.jsonl")],
        tmp_path / "model",
        held_out=[CorpusSpec(tmp_path / "theirs.jsonl")],
        base=str(tiny_base),
        max_steps=2,
    )
    assert {"validation", "ours", "theirs"} == model.manifest.metrics.keys()
    assert int(model.manifest.training["texts"]) < 90


def test_the_training_split_alone_is_augmented(tiny_base: Path, tiny_splits: Splits, tmp_path: Path) -> None:
    recipe = recipe_for(tiny_base, data__augmentation=["leetspeak", "deletion"], data__augment_copies=2)
    made = train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=1)
    assert int(made.manifest.training["texts"]) > len(tiny_splits.train)
    assert made.manifest.metrics["validation"]["n"] == len(tiny_splits.validation)
    with pytest.raises(UserError, match=r"augmentation: unknown attacks: magic"):
        train_on(recipe.changed({"data.augmentation": ["magic"]}), tiny_splits, tmp_path / "no", base=str(tiny_base))


def test_class_weights_balance_the_classes_and_their_shift_is_undone(tiny_splits: Splits) -> None:
    labels = ["spam"] + ["ham"] * 9
    weights = trainer.class_weights(labels)
    assert weights.tolist() == pytest.approx([10 / 18, 5.0])  # ham, spam
    assert (weights[0] * 9 + weights[1]) / 10 == pytest.approx(1.0)
    rows = tiny_splits.train
    spam = sum(each.label == "spam" for each in rows)
    assert prior_shift(rows, rows, weighted=False) == 0
    shift = prior_shift(rows, rows, weighted=True)
    assert shift == pytest.approx(math.log((len(rows) - spam) / spam))
    margins, is_spam = [-3.0, -2.0, -1.0, 0.5, -0.5, 1.0, 2.0], [False, False, False, False, True, True, True]
    plain = fit_platt(margins, is_spam)
    shifted = fit_platt([margin + shift for margin in margins], is_spam, shift)
    for margin in margins:
        assert shifted.a * (margin + shift) + shifted.b == pytest.approx(plain.a * margin + plain.b, abs=1e-6)


def test_weights_change_what_is_learnt(tiny_base: Path, tiny_splits: Splits, tmp_path: Path) -> None:
    margins = []
    for weighted in (False, True):
        recipe = recipe_for(tiny_base, training__class_weights=weighted, quantisation__nf4=False)
        made = train_on(recipe, tiny_splits, tmp_path / str(weighted), base=str(tiny_base), max_steps=12)
        model = load(made.folder, base=str(tiny_base))
        margins.append(sum(each.margin for each in model.classify([text for text, _ in corpus(60)])))
    assert margins[1] > margins[0]  # spam, the rarer class, weighs more


def test_one_step_is_never_one_class_however_the_lengths_are_grouped() -> None:
    lengths = [30] * 40 + [5] * 60  # as spam and ham
    sampler = trainer.StepBuckets(lengths, step=20, seed=0)
    drawn = list(sampler)
    assert sorted(drawn) == list(range(100))
    for start in range(0, 100, 20):
        step = drawn[start : start + 20]
        assert {lengths[i] for i in step} == {30, 5}
        assert [lengths[i] for i in step] == sorted(lengths[i] for i in step)
    sampler.set_epoch(1)
    assert list(sampler) != drawn


# --- bad input


def test_a_corpus_called_validation_does_not_take_the_place_of_the_validation_split(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    (test,) = tiny_splits.tests.values()
    splits = replace(tiny_splits, tests={"validation": test[:-1]})
    made = train_on(recipe_for(tiny_base), splits, tmp_path / "m", base=str(tiny_base), max_steps=1)
    sizes = {name: found["n"] for name, found in made.manifest.metrics.items()}
    assert sizes == {"validation": len(tiny_splits.validation), "test validation": len(test) - 1}


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        train(recipe_for(tiny_base), [CorpusSpec(Path("absent.csv"))], tmp_path)


def test_an_interrupted_training_says_how_to_go_on_and_the_same_command_does(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSIFT_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("SMSIFT_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    logger = logging.getLogger("smsift")
    for name, value in (("handlers", logger.handlers[:]), ("propagate", logger.propagate), ("level", logger.level)):
        monkeypatch.setattr(logger, name, value)  # the command configures logs: later tests find them as they were
    write_recipe(recipe_for(tiny_base), tmp_path / "tiny.toml")
    rows = [json.dumps({"text": text, "label": label}) for text, label in corpus(120)]
    (tmp_path / "made.jsonl").write_text("\n".join(rows))
    command = ["train", "tiny.toml", "--data", "made.jsonl", "--out", "m", "--base", str(tiny_base), "--max-steps", "4"]

    def interrupt(_: object, __: object, state: TrainerState, *___: object, **____: object) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as while_training:
        while_training.setattr(Progress, "on_step_end", interrupt)
        cut = CliRunner().invoke(smsift.app, command)
    assert cut.exit_code == 130
    assert "smsift: interrupted; the same command goes on from the last checkpoint" in cut.stderr
    whole = CliRunner().invoke(smsift.app, command)
    assert whole.exit_code == 0, whole.output
    said = [whole.stdout.index(each) for each in ("training took", "saved m; judging", "report: m", "saved m: tiny")]
    assert said == sorted(said)
    refused = CliRunner().invoke(smsift.app, [*command, "--data", "absent.csv"])
    assert "not empty" in str(refused.exception)  # before it is found that there is no such corpus


def test_ten_rows_are_one_sentence(tmp_path: Path, tiny_base: Path) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in corpus(10)]
    (tmp_path / "ten.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=r"give (a larger corpus|more data)"):
        train(recipe_for(tiny_base), [CorpusSpec(tmp_path / "ten.jsonl")], tmp_path / "made", base=str(tiny_base))
    assert not (tmp_path / "made").exists()


def test_one_class_is_one_sentence(tmp_path: Path, tiny_base: Path) -> None:
    lines = [json.dumps({"text": text, "label": "ham"}) for text, _ in corpus(90)]
    (tmp_path / "ham.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match="needs both spam and ham"):
        train(recipe_for(tiny_base), [CorpusSpec(tmp_path / "ham.jsonl")], tmp_path / "made", base=str(tiny_base))


def test_fewer_texts_than_a_batch_names_the_setting(tiny_base: Path, tiny_splits: Splits, tmp_path: Path) -> None:
    recipe = recipe_for(tiny_base, training__batch_size=512)
    with pytest.raises(UserError, match=r"lower training\.batch_size \(512\)"):
        train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_does_not_suffice_names_the_settings_to_change(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "training_step", full)
    with pytest.raises(UserError, match=r"training\.micro_batch_size \(now 8\) or max_length \(now 32\)"):
        train_on(recipe_for(tiny_base), tiny_splits, tmp_path / "made", base=str(tiny_base))
    assert not (tmp_path / "made").exists()


def test_weights_that_are_no_numbers_name_the_settings_to_change(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path
) -> None:
    recipe = recipe_for(tiny_base, quantisation__nf4=False, training__learning_rate=1e38, training__warmup_share=0)
    with pytest.raises(UserError, match=r"diverged: lower training\.learning_rate \(now 1e\+38\)"):
        train_on(recipe, tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=4)
    assert not (tmp_path / "made").exists()


def test_a_disk_that_fills_up_with_checkpoints_is_one_sentence(
    tiny_base: Path, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"Cannot write checkpoints .*No space left"):
        train_on(recipe_for(tiny_base), tiny_splits, tmp_path / "made", base=str(tiny_base), max_steps=2)
    assert not (tmp_path / "made").exists()
