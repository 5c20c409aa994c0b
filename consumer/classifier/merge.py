"""Base weights plus adapter: the weights that are served.

LoRA's product is added in fp32 to one of two bases, as the manifest says: what training saw (NF4 and back), or the
base's own weights. Adding to the NF4 weights and quantising again, as adapter libraries do, would round once more.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from consumer.classifier.architecture import Architecture
from consumer.classifier.artifact import Lora, Quantisation
from consumer.classifier.nf4 import through_nf4
from schemas.errors import UserError


def merged_weights(
    base: Path,
    adapter: dict[str, Tensor],
    lora: Lora,
    dequantised: Quantisation | None,
    architecture: Architecture,
) -> dict[str, Tensor]:
    """Return the fp32 state dict of `base` (a safetensors file) with the adapter merged in, and the adapter's head.

    `adapter` holds `<module>.lora_A` (rank, inputs), `<module>.lora_B` (outputs, rank) and whole tensors under their
    own names. `dequantised` names the modules whose weights make the way through NF4 first; None: none does.
    The layers' weights lie as `architecture` says. Raises UserError where adapter and base do not fit.
    """
    quantised = frozenset(dequantised.modules) if dequantised else frozenset[str]()
    weights: dict[str, Tensor] = {}
    with safe_open(base, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
            weight = file.get_tensor(name)
            if not weight.is_floating_point():  # position ids, which some checkpoints carry
                continue
            # A copy of its own: a tensor of a mapped file would keep the whole file resident.
            weight = weight.to(torch.float32, copy=True)
            name = architecture.plain(name)  # noqa: PLW2901 - checkpoints differ in this prefix alone
            module = name.removesuffix(".weight")
            if dequantised and module in quantised:
                weight = _through_nf4(weight, dequantised, architecture)
            weights[name] = weight
    for name in _modules(adapter):
        target = weights.get(f"{name}.weight")
        a, b = adapter[f"{name}.lora_A"].float(), adapter.get(f"{name}.lora_B", torch.empty(0)).float()
        if target is not None and architecture.transposed:
            target = target.T  # a view: adding to it changes the weight
        if target is None or b.ndim != 2 or (b.shape[0], a.shape[1]) != target.shape or a.shape[0] != lora.rank:
            raise UserError(f"The adapter does not fit the base model at {name}: was it made for another base?")
        target += (b @ a) * lora.scaling
    weights.update({name: tensor.float() for name, tensor in adapter.items() if not _is_lora(name)})
    return weights


def _through_nf4(weight: Tensor, how: Quantisation, architecture: Architecture) -> Tensor:
    """Training quantises every weight as (outputs, inputs), whichever way it is stored."""
    if architecture.transposed:
        return through_nf4(weight.T.contiguous(), how.block_size, double=how.double).T.contiguous()
    return through_nf4(weight, how.block_size, double=how.double)


def _modules(names: Iterable[str]) -> list[str]:
    return [name.removesuffix(".lora_A") for name in names if name.endswith(".lora_A")]


def _is_lora(name: str) -> bool:
    return name.endswith((".lora_A", ".lora_B"))
