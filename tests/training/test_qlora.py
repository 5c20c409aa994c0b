"""The traps of quantised training, and parity between the trained and the served network."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from consumer.classifier.bert import Bert, Shape
from consumer.classifier.merge import merged_weights
from consumer.classifier.nf4 import through_nf4
from tests.training.tiny import corpus, recipe_for
from training.qlora import Tuned, adapter_tensors, load_tokenizer, prepare


@pytest.fixture
def tuned(tiny_base: Path) -> Tuned:
    torch.manual_seed(3)
    prepared = prepare(tiny_base, recipe_for(tiny_base, lora_dropout=0.0))
    for name, parameter in prepared.model.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide the adapter from every comparison
            nn.init.normal_(parameter, std=0.05)
    return prepared


@pytest.fixture
def batch(tiny_base: Path) -> dict[str, torch.Tensor]:
    rows = corpus(16)
    encoded = load_tokenizer(tiny_base)([text for text, _ in rows], padding=True, return_tensors="pt")
    return {
        "input_ids": encoded["input_ids"],
        "attention_mask": encoded["attention_mask"],
        "labels": torch.tensor([int(label == "spam") for _, label in rows]),
    }


def gradients(tuned: Tuned, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tuned.model.train()
    tuned.model.zero_grad()
    tuned.model(**batch).loss.backward()
    return {name: each.grad.clone() for name, each in tuned.model.named_parameters() if each.grad is not None}


def test_gradients_after_an_evaluation_equal_those_before_it(tuned: Tuned, batch: dict[str, torch.Tensor]) -> None:
    before = gradients(tuned, batch)
    tuned.model.eval()
    with torch.no_grad():
        tuned.model(**batch)
    after = gradients(tuned, batch)
    assert before.keys() == after.keys()
    assert (
        len(before) == 2 * (2 * 6 + 1) + 2
    )  # A and B of every linear layer and the pooler, the head's weight and bias
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_encoder_is_quantised_and_what_stands_before_the_logits_is_not(tuned: Tuned) -> None:
    quantised = [name for name, module in tuned.model.named_modules() if isinstance(module, Linear4bit)]
    assert len(quantised) == 12
    assert all(".encoder." in name for name in quantised)
    for name, parameter in tuned.model.named_parameters():
        if "classifier" in name or "pooler" in name:
            assert parameter.dtype == torch.float32
    assert tuned.quantisation is not None
    assert "encoder.layer.0.attention.self.query" in tuned.quantisation.modules


def test_the_merged_network_gives_the_logits_of_the_trained_one(
    tiny_base: Path, tuned: Tuned, batch: dict[str, torch.Tensor]
) -> None:
    recipe = recipe_for(tiny_base)
    weights = merged_weights(
        tiny_base / "model.safetensors", adapter_tensors(tuned.model), recipe.lora, tuned.quantisation
    )
    config = tuned.model.config.to_dict()
    served = Bert(Shape.of(config), weights).logits(batch["input_ids"], batch["attention_mask"].sum(dim=1))
    tuned.model.eval()
    with torch.no_grad():
        trained = tuned.model(**batch).logits
    torch.testing.assert_close(served, trained, rtol=1e-3, atol=1e-3)


def test_the_adapter_is_complete_and_nothing_else_was_trained(tuned: Tuned) -> None:
    tensors = adapter_tensors(tuned.model)
    assert sum(tensor.numel() for tensor in tensors.values()) == tuned.trainable_parameters
    assert {"classifier.weight", "classifier.bias", "pooler.dense.lora_A"} <= tensors.keys()


@pytest.mark.parametrize("double", [True, False])
def test_nf4_in_plain_torch_equals_the_training_librarys(tiny_base: Path, double: bool) -> None:
    words = load_file(tiny_base / "model.safetensors")["encoder.layer.0.intermediate.dense.weight"]
    weight = torch.cat([words] * 8) * torch.linspace(0.5, 2, 8 * len(words))[:, None]
    packed, state = quantize_4bit(weight, blocksize=64, compress_statistics=double, quant_type="nf4")
    theirs, ours = dequantize_4bit(packed, state), through_nf4(weight, 64, double=double)
    # Double quantisation may round a block's magnitude to the neighbouring 8-bit value where it lies half-way.
    assert float((theirs != ours).float().mean()) <= (0.01 if double else 0.0)
    torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.02)


def test_the_tokenizer_neither_pads_nor_truncates_by_itself(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    assert len(tokenizer("win " * 90)["input_ids"]) == 92
    assert len(tokenizer("win")["input_ids"]) == 3
    assert Tokenizer.from_file(str(tiny_base / "tokenizer.json")).encode("win").ids == tokenizer("win")["input_ids"]
