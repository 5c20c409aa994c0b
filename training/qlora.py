"""A base model under training: held in NF4 or in full precision, with a low-rank adapter and a fresh head, or whole.

Two traps of bitsandbytes are handled here, each with a test. Layers that are not named in `llm_int8_skip_modules` are
quantised, what stands before the logits among them. And in evaluation mode a quantised layer repacks its weights, for
good, for a CPU kernel that has no gradient: a model that was evaluated would not train again.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, BitsAndBytesConfig, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from consumer.classifier.architecture import POOLING, Architecture, architecture_of, pad_id
from consumer.classifier.artifact import CONFIG, Quantisation
from consumer.classifier.network import SequenceClassifier
from schemas.errors import UserError
from training.recipe import Recipe

LABELS: Final = ("ham", "spam")
"""In the order of the head's outputs."""
_POOLER: Final = "pooler"
"""BERT's layer between network and head: small, and too near the answer to be rounded."""
_BLOCK: Final = 64
"""Weights that share a magnitude in NF4."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a model under training weighs."""

    trainable: int
    """Parameters that are trained."""
    total: int
    """All parameters, the head's untrained original among them, as the adapter library counts."""
    base_bytes_16: int
    """The base at 16 bits a weight."""
    base_bytes_nf4: int
    """The base with its linear layers in NF4 and the rest at 16 bits."""

    def __str__(self) -> str:
        share = 100 * self.trainable / self.total
        return (
            f"{self.trainable:,} of {self.total:,} parameters are trained ({share:.2f} %); the base takes "
            f"{self.base_bytes_16 / 1e6:,.0f} MB at 16 bits, {self.base_bytes_nf4 / 1e6:,.0f} MB in NF4"
        )


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model under training and how its base is held."""

    model: nn.Module
    """A PeftModel over a SequenceClassifier, or that alone where the whole network is trained."""
    architecture: Architecture
    quantisation: Quantisation | None
    size: Size


def prepare(base: Path, recipe: Recipe, compute: torch.dtype = torch.float32) -> Tuned:
    """Load the base as the recipe says and add a fresh adapter and head. Randomness is torch's: seed it before.

    Raises UserError where the base is of an unknown kind, or the recipe's targets name no layer of it.
    """
    config = AutoConfig.for_model(**base_config(base, recipe.base.pooling))
    size = measure(config, recipe)
    settings: dict[str, Any] = {"config": config, "dtype": torch.float32, "trust_remote_code": False}
    if recipe.quantisation.nf4:
        settings["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=recipe.quantisation.double,
            bnb_4bit_compute_dtype=compute,
            llm_int8_skip_modules=[_POOLER],
        )
    with _quiet():  # its report of the weights that a classifier does not need
        backbone, report = AutoModel.from_pretrained(base, output_loading_info=True, **settings)
    quantised = tuple(_keep_trainable(backbone)) if recipe.quantisation.nf4 else ()
    if quantised and not torch.cuda.is_available():
        _hold_dequantised(backbone, recipe.quantisation.dequantise_below_mb)
    fresh = sorted({name.rpartition(".")[0] for name in report["missing_keys"]})
    if any(_POOLER not in name.split(".") for name in fresh):
        raise UserError(f"The base model {recipe.base.id} has no weights for {fresh[0]}: it is not a complete model.")
    network = SequenceClassifier(backbone, len(LABELS))
    model = _with_adapter(network, recipe, tuple(f"backbone.{name}" for name in fresh))
    quantisation = Quantisation(double=recipe.quantisation.double, modules=quantised) if quantised else None
    return Tuned(model, network.architecture, quantisation, size)


def base_config(base: Path, pooling: str = "default") -> dict[str, Any]:
    """Return the base's `config.json` with a pad token, whether or not it has one, and how its head pools.

    The model is served with this too.
    """
    config: dict[str, Any] = json.loads((base / CONFIG).read_text(encoding="utf-8"))
    config |= {POOLING: pooling} if pooling != "default" else {}
    architecture_of(config)
    return config | {"pad_token_id": pad_id(config)}


def measure(config: PretrainedConfig, recipe: Recipe) -> Size:
    """Count what the recipe would train of a network, without making it."""
    with torch.device("meta"), _quiet():
        outline = SequenceClassifier(AutoModel.from_config(config), len(LABELS))  # type: ignore[no-untyped-call]
        base = sum(each.numel() for each in outline.backbone.parameters())
        linear = sum(
            cast("Tensor", each.weight).numel() for name, each in _linears(outline.backbone) if _POOLER not in name
        )
        model = _with_adapter(outline, recipe, ())
    # 4 bits a weight and a magnitude a block: in 8 bits, with one more in 32 for every 256 of them, or in 32 bits.
    magnitude = 1 + 4 / 256 if recipe.quantisation.double else 4
    return Size(
        trainable=sum(each.numel() for each in model.parameters() if each.requires_grad),
        total=sum(each.numel() for each in model.parameters()),
        base_bytes_16=2 * base,
        base_bytes_nf4=round(linear * (0.5 + magnitude / _BLOCK) + 2 * (base - linear)),
    )


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what was trained, fp32, on the CPU: adapter and head as `consumer.classifier.merge` reads them, or all."""
    tensors: dict[str, Tensor] = {}
    if not isinstance(model, PeftModel):
        tensors = {_plain_name(name): parameter for name, parameter in model.named_parameters()}
        return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    for name, parameter in model.named_parameters():
        plain = _plain_name(name)
        for matrix in ("lora_A", "lora_B"):
            if plain.endswith(f".{matrix}.default.weight"):
                tensors[plain.removesuffix(".default.weight")] = parameter
        module, found, part = plain.partition(".modules_to_save.default.")
        if found:
            tensors[f"{module}.{part}"] = parameter
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def _with_adapter(network: SequenceClassifier, recipe: Recipe, fresh: tuple[str, ...]) -> nn.Module:
    """Add the recipe's adapter; `fresh` names modules that the base has no weights for, which are trained whole."""
    if recipe.tuning == "full":
        return network
    layers = [f"backbone.{name}" for name, _ in _linears(network.backbone)]
    targets = [name for name in layers if name.rsplit(".", 1)[-1] in recipe.lora.targets and name not in fresh]
    if not targets:
        raise UserError(f"The recipe's lora.targets name no layer of the base {recipe.base.id}.")
    adapter = LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,  # type: ignore[arg-type] # peft annotates int and only divides by the rank
        lora_dropout=recipe.lora.dropout,
        target_modules=targets,
        modules_to_save=[*network.architecture.head, *fresh],
        fan_in_fan_out=isinstance(network.get_submodule(targets[0]), Conv1D),
        bias=recipe.lora.bias,
    )
    return get_peft_model(cast("transformers.PreTrainedModel", network), adapter)


def _linears(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, each) for name, each in backbone.named_modules() if isinstance(each, nn.Linear | Conv1D))


def _keep_trainable(backbone: nn.Module) -> Iterator[str]:
    """Switch the gradient-free CPU kernel off in every 4-bit layer; yield the names of those layers."""
    from bitsandbytes.nn.modules import Linear4bit

    for name, module in backbone.named_modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
            yield name


def _hold_dequantised(backbone: nn.Module, below_mb: int) -> None:
    """Put plain layers with the values that the 4 bits stand for in place of quantised ones, where they take little.

    A quantised layer works these values out anew in every forward and every backward pass.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    layers = [(name, each) for name, each in backbone.named_modules() if isinstance(each, Linear4bit)]
    if sum(4 * each.in_features * each.out_features for _, each in layers) >= below_mb * 1e6:
        return
    for name, layer in layers:
        with torch.device("meta"):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        packed: Any = layer.weight
        values = dequantize_4bit(packed.data, packed.quant_state).float()
        plain.weight = nn.Parameter(values, requires_grad=False)
        plain.bias = layer.bias
        backbone.set_submodule(name, plain)
    backbone.is_loaded_in_4bit = False  # type: ignore[assignment] # the model library's mark, no module


def _plain_name(name: str) -> str:
    """A name as in the base's own state dict: without what peft and the classifier put before it."""
    return name.removeprefix("base_model.model.").removeprefix("backbone.")


@contextmanager
def _quiet() -> Iterator[None]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
