"""The traps of quantised training, and parity between the trained and the served network, of every architecture."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from torch import nn
from transformers import LlamaConfig

from consumer.classifier.bert import Bert, Shape
from consumer.classifier.merge import merged_weights
from consumer.classifier.network import SequenceClassifier
from consumer.classifier.nf4 import through_nf4
from schemas.errors import UserError
from tests.training.tiny import make_base, recipe_for
from training.qlora import Tuned, base_config, measure, prepare, trained_tensors
from training.recipe import Recipe, load_recipe

KINDS = ["bert", "distilbert", "gpt2", "llama"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(kind: str, tiny_bases: dict[str, Path]) -> Path:
    return tiny_bases[kind]


@pytest.fixture
def recipe(base: Path, kind: str) -> Recipe:
    """Weights stay packed in 4 bits, as on a GPU."""
    return recipe_for(base, kind, lora__dropout=0.0, quantisation__dequantise_below_mb=0)


def tune(base: Path, recipe: Recipe) -> Tuned:
    torch.manual_seed(3)
    prepared = prepare(base, recipe)
    for name, parameter in prepared.model.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide the adapter from every comparison
            nn.init.normal_(parameter, std=0.05)
    return prepared


@pytest.fixture
def tuned(base: Path, recipe: Recipe) -> Tuned:
    return tune(base, recipe)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(5, 40, (8, 12), generator=generator), torch.tensor([12, 3, 7, 1, 9, 12, 5, 2])


def gradients(tuned: Tuned, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    tuned.model.train()
    tuned.model.zero_grad()
    nn.functional.cross_entropy(tuned.model(*batch), torch.tensor([0, 1] * 4)).backward()
    return {name: each.grad.clone() for name, each in tuned.model.named_parameters() if each.grad is not None}


def test_gradients_after_an_evaluation_equal_those_before_it(
    tuned: Tuned, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    before = gradients(tuned, batch)
    tuned.model.eval()
    with torch.no_grad():
        tuned.model(*batch)
    after = gradients(tuned, batch)
    trained = {name for name, each in tuned.model.named_parameters() if each.requires_grad}
    assert before.keys() == after.keys() == trained
    for name, gradient in before.items():
        assert bool(gradient.any()) or "lora_A" in name, name
        torch.testing.assert_close(after[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_layers_are_quantised_and_what_stands_before_the_logits_is_not(tuned: Tuned, kind: str) -> None:
    quantised = [name for name, module in tuned.model.named_modules() if isinstance(module, Linear4bit)]
    assert len(quantised) == {"bert": 12, "distilbert": 12, "gpt2": 8, "llama": 14}[kind]
    head = {*tuned.architecture.head, "pooler"}
    assert not any(head & set(name.split(".")) for name in quantised)
    before_logits = [(name, each) for name, each in tuned.model.named_parameters() if head & set(name.split("."))]
    assert before_logits
    assert {each.dtype for _, each in before_logits} == {torch.float32}
    assert tuned.quantisation is not None
    assert len(tuned.quantisation.modules) == len(quantised)


def test_the_merged_network_gives_the_logits_of_the_trained_one(
    base: Path, kind: str, recipe: Recipe, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    # Double quantisation may round a block's magnitude the other way (see the last test): too much for this tolerance.
    recipe = recipe.changed({"quantisation.double": False})
    tuned = tune(base, recipe)
    assert recipe.adapter is not None
    weights = merged_weights(
        base / "model.safetensors",
        trained_tensors(tuned.model),
        recipe.adapter,
        tuned.quantisation,
        tuned.architecture,
    )
    config = base_config(base, recipe.base.pooling)
    network = Bert(Shape.of(config), weights) if kind == "bert" else SequenceClassifier.from_weights(config, weights)
    tuned.model.eval()
    with torch.no_grad():
        trained = tuned.model(*batch)
        served = network.logits(*batch)
    torch.testing.assert_close(served, trained, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "distilbert"], indirect=True)
def test_an_encoder_read_by_the_mean_of_its_tokens_is_served_as_it_was_trained(
    base: Path, kind: str, recipe: Recipe, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    recipe = recipe.changed({"quantisation.double": False, "base.pooling": "mean"})
    tuned = tune(base, recipe)
    assert recipe.adapter is not None
    weights = merged_weights(
        base / "model.safetensors", trained_tensors(tuned.model), recipe.adapter, tuned.quantisation, tuned.architecture
    )
    config = base_config(base, recipe.base.pooling)
    network = Bert(Shape.of(config), weights) if kind == "bert" else SequenceClassifier.from_weights(config, weights)
    ids, lengths = batch
    tuned.model.eval()
    with torch.no_grad():
        served = network.logits(ids, lengths)
        torch.testing.assert_close(served, tuned.model(ids, lengths), rtol=1e-4, atol=1e-4)
        other_padding = ids.where(torch.arange(ids.shape[1]) < lengths[:, None], 7)
        torch.testing.assert_close(network.logits(other_padding, lengths), served)
        another_text = ids.clone()
        another_text[:, 1] = 39  # neither first nor last: a token that only the mean reads directly
        assert not torch.allclose(network.logits(another_text, lengths), served)
    assert not any("pooler" in name for name, _ in tuned.model.named_parameters())


def test_a_decoder_does_not_pool_by_the_mean(tiny_bases: dict[str, Path]) -> None:
    recipe = recipe_for(tiny_bases["gpt2"], "gpt2", base__pooling="mean")
    with pytest.raises(UserError, match="gpt2 cannot pool by mean"):
        prepare(tiny_bases["gpt2"], recipe)


def test_the_values_held_in_place_of_4_bits_give_the_same_answers(
    base: Path, kind: str, tuned: Tuned, recipe: Recipe, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    held = tune(base, recipe.changed({"quantisation.dequantise_below_mb": 1024}))
    assert not any(isinstance(module, Linear4bit) for module in held.model.modules())
    assert held.quantisation == tuned.quantisation
    with torch.no_grad():
        torch.testing.assert_close(held.model.eval()(*batch), tuned.model.eval()(*batch), rtol=1e-5, atol=1e-5)


def test_what_was_trained_is_saved_and_nothing_else(tuned: Tuned) -> None:
    tensors = trained_tensors(tuned.model)
    assert sum(tensor.numel() for tensor in tensors.values()) == tuned.size.trainable
    assert {f"{name}.weight" for name in tuned.architecture.head} <= tensors.keys()


def test_a_decoder_is_read_at_the_texts_last_token_even_where_that_is_the_pad_token(
    tiny_bases: dict[str, Path],
) -> None:
    for kind in ("gpt2", "llama"):
        recipe = recipe_for(tiny_bases[kind], kind, quantisation__nf4=False)
        model = tune(tiny_bases[kind], recipe).model.eval()
        pad = base_config(tiny_bases[kind])["pad_token_id"]
        text = [7, 8, 9, pad, pad]
        with torch.no_grad():
            alone = model(torch.tensor([text]), torch.tensor([5]))
            shorter = model(torch.tensor([text]), torch.tensor([3]))
            beside = model(torch.tensor([[*text, pad, pad], [5, 6, 7, 8, 9, 10, 11]]), torch.tensor([5, 7]))
        torch.testing.assert_close(beside[:1], alone, rtol=1e-4, atol=1e-5)
        assert float((alone - shorter).abs().max()) > 1e-3


def test_a_base_without_a_pad_token_gets_its_end_of_text(tiny_bases: dict[str, Path]) -> None:
    config = base_config(tiny_bases["gpt2"])
    assert config["pad_token_id"] == config["eos_token_id"]
    assert base_config(tiny_bases["bert"])["pad_token_id"] == 0


def test_the_flagship_trains_as_many_parameters_as_published() -> None:
    network = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
    )
    size = measure(network, load_recipe("tinyllama-qlora"))
    assert (size.trainable, size.total) == (2_256_896, 1_036_773_376)
    assert size.base_bytes_16 == 2 * 1_034_512_384
    assert 0.5e9 < size.base_bytes_nf4 < 0.7e9


def test_a_recipe_for_another_architecture_is_one_sentence(tiny_bases: dict[str, Path]) -> None:
    recipe = recipe_for(tiny_bases["llama"], "bert")
    with pytest.raises(UserError, match=r"lora\.targets name no layer"):
        prepare(tiny_bases["llama"], recipe)


def test_an_architecture_that_is_not_supported_is_one_sentence(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    (base / "config.json").write_text('{"model_type": "t5", "vocab_size": 10}')
    with pytest.raises(UserError, match="t5 is not supported: use one of bert, distilbert, gpt2, llama"):
        prepare(base, recipe_for(base))


def test_a_served_network_fetches_no_code_that_its_config_names(tiny_bases: dict[str, Path]) -> None:
    config = base_config(tiny_bases["gpt2"]) | {"attn_implementation": "kernels-community/anything"}
    weights = load_file(tiny_bases["gpt2"] / "model.safetensors")
    weights = {name.removeprefix("transformer."): each for name, each in weights.items()}
    network = SequenceClassifier.from_weights(config, weights | {"score.weight": torch.zeros(2, 64)})
    assert network.backbone.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("wrong", "head", "named"), [({"n_embd": 68}, 68, r"h\.0"), ({"n_layer": 3}, 64, r"h\.2"), ({}, 60, "score")]
)
def test_weights_that_do_not_fit_the_network_are_one_sentence(
    tiny_bases: dict[str, Path], wrong: dict[str, int], head: int, named: str
) -> None:
    weights = load_file(tiny_bases["gpt2"] / "model.safetensors")
    weights = {name.removeprefix("transformer."): each for name, each in weights.items()}
    with pytest.raises(UserError, match=rf"do not fit its network: .*{named}.* of another shape"):
        SequenceClassifier.from_weights(
            base_config(tiny_bases["gpt2"]) | wrong, weights | {"score.weight": torch.zeros(2, head)}
        )


@pytest.mark.parametrize("double", [True, False])
def test_nf4_in_plain_torch_equals_the_training_librarys(tiny_base: Path, double: bool) -> None:
    words = load_file(tiny_base / "model.safetensors")["encoder.layer.0.intermediate.dense.weight"]
    weight = torch.cat([words] * 8) * torch.linspace(0.5, 2, 8 * len(words))[:, None]
    packed, state = quantize_4bit(weight, blocksize=64, compress_statistics=double, quant_type="nf4")
    theirs, ours = dequantize_4bit(packed, state), through_nf4(weight, 64, double=double)
    # Double quantisation may round a block's magnitude to the neighbouring 8-bit value where it lies half-way.
    assert float((theirs != ours).float().mean()) <= (0.01 if double else 0.0)
    torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.02)
