"""A model made by training is the model that is served."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.classifier import load
from consumer.classifier.artifact import ADAPTER, Artifact
from schemas.errors import UserError
from tests.training.tiny import corpus, recipe_for
from training.data import split_corpora
from training.train import CorpusSpec, train, train_on

TEXTS = ["win a free cash prize now", "see you at home for dinner", "coffee tomorrow", "", "loan " * 50]


def test_a_fresh_process_gives_the_same_margins(tiny_base: Path, tiny_model: Artifact) -> None:
    program = (
        "import json, sys; from consumer.classifier import load;"
        "model = load(sys.argv[1], base=sys.argv[2]);"
        "print(json.dumps([each.margin for each in model.classify(json.loads(sys.argv[3]))]))"
    )
    arguments = [sys.executable, "-c", program, str(tiny_model.folder), str(tiny_base), json.dumps(TEXTS)]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    here = [each.margin for each in load(tiny_model.folder, base=str(tiny_base)).classify(TEXTS)]
    assert json.loads(answer.stdout) == pytest.approx(here, abs=1e-5)


def test_the_manifest_says_what_the_model_is_made_from_and_worth(tiny_model: Artifact) -> None:
    manifest = tiny_model.manifest
    assert manifest.metrics.keys() == {"validation", "made"}
    assert manifest.metrics["made"]["n"]
    assert manifest.training["steps"] == 12
    assert manifest.quantisation is not None
    assert manifest.files[ADAPTER].size == (tiny_model.folder / ADAPTER).stat().st_size
    assert {"torch", "transformers", "peft", "bitsandbytes"} <= manifest.libraries.keys()


def test_the_same_seed_makes_the_same_adapter(tiny_base: Path, tiny_model: Artifact, tmp_path: Path) -> None:
    splits = split_corpora({"made": corpus()}, {}, validation_share=0.25, test_share=0.25, seed=0)
    again = train_on(recipe_for(tiny_base), splits, tmp_path / "again", base=str(tiny_base), max_steps=12, version="1")
    assert again.manifest.data_version == tiny_model.manifest.data_version
    texts = [text for text, _ in corpus(30)]
    first, second = (
        [each.margin for each in load(model.folder, base=str(tiny_base)).classify(texts)]
        for model in (tiny_model, again)
    )
    assert first == pytest.approx(second, abs=1e-3)


def test_without_quantisation_the_same_recipe_is_plain_lora(tiny_base: Path, tmp_path: Path) -> None:
    splits = split_corpora({"made": corpus()}, {}, validation_share=0.25, test_share=0.25, seed=0)
    recipe = recipe_for(tiny_base, quantise=False)
    model = train_on(recipe, splits, tmp_path / "plain", base=str(tiny_base), max_steps=3)
    assert model.manifest.quantisation is None
    assert model.manifest.merge == "full_precision"
    assert len(load(model.folder, base=str(tiny_base)).classify(TEXTS)) == len(TEXTS)


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


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        train(recipe_for(tiny_base), [CorpusSpec(Path("absent.csv"))], tmp_path)
