from pathlib import Path

import pytest

from consumer.classifier.artifact import Artifact
from tests.training.tiny import TARGETS, corpus, make_base, recipe_for
from training.data import Splits, split_corpora
from training.train import train_on


@pytest.fixture(scope="session")
def tiny_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base of each architecture."""
    return {kind: make_base(tmp_path_factory.mktemp("bases") / kind, kind) for kind in TARGETS}


@pytest.fixture(scope="session")
def tiny_base(tiny_bases: dict[str, Path]) -> Path:
    return tiny_bases["bert"]


@pytest.fixture(scope="session")
def tiny_splits() -> Splits:
    return split_corpora({"made": corpus()}, {}, validation_share=0.25, test_share=0.25, seed=0)


@pytest.fixture(scope="session")
def tiny_model(tiny_base: Path, tiny_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model folder made by a few steps of QLoRA on the tiny base."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    return train_on(recipe_for(tiny_base), tiny_splits, out, base=str(tiny_base), max_steps=12, version="1")


@pytest.fixture(scope="session")
def learnt_splits() -> Splits:
    return split_corpora({"made": corpus(300)}, {}, validation_share=0.25, test_share=0.25, seed=0)


@pytest.fixture(scope="session")
def learnt_model(tiny_base: Path, learnt_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model that has learnt its texts, for what asks more of one than that it answers."""
    recipe = recipe_for(tiny_base, training__learning_rate=2e-2, training__epochs=20.0)
    out = tmp_path_factory.mktemp("models") / "learnt"
    return train_on(recipe, learnt_splits, out, base=str(tiny_base), max_steps=60, version="1")
