from pathlib import Path

import pytest

from consumer.classifier.artifact import Artifact
from tests.training.tiny import corpus, make_base, recipe_for
from training.data import split_corpora
from training.train import train_on


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_model(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model folder made by a few steps of QLoRA on the tiny base."""
    splits = split_corpora({"made": corpus()}, {}, validation_share=0.25, test_share=0.25, seed=0)
    out = tmp_path_factory.mktemp("models") / "tiny"
    return train_on(recipe_for(tiny_base), splits, out, base=str(tiny_base), max_steps=12, version="1")
