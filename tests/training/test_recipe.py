from pathlib import Path

import pytest

from consumer.classifier.base import MINILM
from schemas.errors import UserError
from training.recipe import RECIPES, load_recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_under_its_name(path: Path) -> None:
    assert load_recipe(path.stem).name == path.stem


def test_the_default_recipe_is_quantised_and_names_the_known_base() -> None:
    recipe = load_recipe("minilm-qlora")
    assert recipe.quantise
    assert recipe.base_model == MINILM


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("rank = 8", "unknown fields: rank"),
        ('epochs = "many"', "epochs must be of type float"),
        ("quantise = 1", "quantise must be of type bool"),
        ('compute = "float16"', "bfloat16 or float32"),
        ("test_share = 0.9", "leave something to train on"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    lines = ['name = "mine"', 'base = "some/base"', f'base_sha256 = "{"0" * 64}"', change]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="minilm-qlora"):
        load_recipe("maxilm")
