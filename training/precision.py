"""What training runs on: in which precision, and in how many processes."""

import torch
from accelerate import PartialState  # type: ignore[import-untyped]

from training.recipe import Compute

_BF16_FROM = (8, 0)
"""NVIDIA's compute capability from which bfloat16 is computed rather than imitated (A100; a T4 has 7.5)."""


def compute_dtype(wanted: Compute, capability: tuple[int, int] | None) -> torch.dtype:
    """Return the precision of the products: as wanted, or what suits a GPU's compute capability (None: a CPU).

    The trained weights, the head and the loss are fp32 in any case. float16 is the second choice: it needs its loss
    scaled, and NF4 trained in it fails now and then.
    """
    if wanted != "auto":
        return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[wanted]
    if capability is None:
        return torch.float32
    return torch.bfloat16 if capability >= _BF16_FROM else torch.float16


def capability() -> tuple[int, int] | None:
    """Return the compute capability of this process's GPU, or None where it trains on the CPU."""
    return torch.cuda.get_device_capability() if torch.cuda.is_available() else None


def processes() -> PartialState:
    """Return this process's place among those that train together: one alone, or several under `accelerate launch`."""
    return PartialState(cpu=not torch.cuda.is_available())
