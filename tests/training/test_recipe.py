from pathlib import Path

import pytest

from consumer.classifier.base import MINILM
from schemas.errors import UserError
from training.recipe import RECIPES, load_recipe

MINE = """
name = "mine"
base.id = "some/base"
lora.targets = ["query"]
"""


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_under_its_name(path: Path) -> None:
    assert load_recipe(path.stem).name == path.stem


def test_the_shipped_recipes_are_those_that_were_promised() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} == {
        "minilm-qlora",
        "tinyllama-qlora",
        "gpt2-lora",
        "gpt2-large-lora",
        "distilbert-lora",
        "distilbert-full",
    }


def test_the_default_recipe_is_quantised_and_names_the_known_base() -> None:
    recipe = load_recipe("minilm-qlora")
    assert recipe.quantisation.nf4
    assert recipe.base_model == MINILM


def test_the_published_recipes_have_the_published_numbers() -> None:
    flagship, gpt2 = load_recipe("tinyllama-qlora"), load_recipe("gpt2-lora")
    assert (flagship.lora.r, flagship.lora.alpha, flagship.lora.dropout) == (16, 32, 0.05)
    assert flagship.lora.targets == ("q_proj", "v_proj")
    assert flagship.quantisation.nf4
    assert flagship.quantisation.double
    assert (flagship.training.micro_batch_size, flagship.training.batch_size) == (16, 32)
    assert (flagship.training.epochs, flagship.training.learning_rate, flagship.max_length) == (3, 2e-4, 128)
    assert (gpt2.lora.r, gpt2.lora.alpha, gpt2.lora.dropout, gpt2.lora.targets) == (8, 32, 0.1, ("c_attn", "c_proj"))
    assert (gpt2.training.learning_rate, gpt2.training.weight_decay) == (2e-5, 0.01)
    assert (gpt2.training.batch_size, gpt2.training.epochs, gpt2.max_length) == (32, 3, 512)
    assert gpt2.training.evaluate_per_epoch


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("rank = 8", "there is no field rank"),
        ("lora.rank = 8", "there is no field lora.rank"),
        ('training.epochs = "many"', "training.epochs: Input should be a valid number"),
        ("quantisation.nf4 = 1", "quantisation.nf4: Input should be a valid boolean"),
        ('training.compute = "int8"', "training.compute: Input should be 'auto'"),
        ("training.batch_size = 12", "micro_batch_size must divide training.batch_size"),
        ("data.test_share = 0.9", "leave something to train on"),
        ('tuning = "full"\nquantisation.nf4 = true', "weights of 4 bits cannot be trained"),
        ("training.patience = 2", "needs training.evaluate_per_epoch"),
        ("training.epochs = ", "is not TOML"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE + change, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        load_recipe(str(path))


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"', encoding="utf-8")
    with pytest.raises(UserError, match="the field base is missing"):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="minilm-qlora"):
        load_recipe("maxilm")


def test_a_field_is_changed_by_its_path_and_checked_as_in_a_file() -> None:
    recipe = load_recipe("gpt2-lora")
    changed = recipe.changed({"lora.r": 4, "training.epochs": 1})
    assert (changed.lora.r, changed.training.epochs, changed.lora.alpha) == (4, 1.0, recipe.lora.alpha)
    assert changed.parameters()["lora.r"] == 4
    for wrong in ({"lora.rank": 4}, {"lora": 4}, {"r": 4}, {"training.epochs.more": 1}):
        with pytest.raises(UserError, match="has no field"):
            recipe.changed(wrong)
    with pytest.raises(UserError, match=r"lora\.r: Input should be greater"):
        recipe.changed({"lora.r": 0})
