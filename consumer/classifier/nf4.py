"""NF4 and back: the weights that a layer quantised in training multiplies by.

A layer in NF4 (QLoRA, arXiv:2305.14314) keeps, per block of 64 weights, their largest magnitude and 4 bits each: the
nearest of 16 quantiles of the normal distribution. Double quantisation keeps the magnitudes themselves, less their
mean, in 8 bits per block of 256. Serving needs only the result, so this is plain torch: the training library compiles
kernels for it at run time. A test holds both to the same weights, but for magnitudes (a few in 1,000) that lie half-way
between two 8-bit values, where that library's look-up table may take the other.
"""

from typing import Final

import torch
from torch import Tensor

_QUANTILES: Final = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
_SCALES_PER_BLOCK: Final = 256


def through_nf4(weight: Tensor, block_size: int, *, double: bool) -> Tensor:
    """Return the fp32 weight rounded to NF4; its size must be a multiple of the block size (ValueError otherwise)."""
    if weight.numel() % block_size:
        raise ValueError(f"a weight of {weight.numel()} values has no whole number of blocks of {block_size}")
    blocks = weight.float().reshape(-1, block_size)
    scales = blocks.abs().amax(dim=1)
    quantiles = torch.tensor(_QUANTILES)
    rounded = _nearest(blocks / scales.clamp(min=1e-38)[:, None], quantiles)
    if double:
        scales = _through_8_bits(scales)
    return (rounded * scales[:, None]).reshape(weight.shape)


def _through_8_bits(scales: Tensor) -> Tensor:
    mean = scales.mean()
    padding = -len(scales) % _SCALES_PER_BLOCK
    blocks = torch.nn.functional.pad(scales - mean, (0, padding)).reshape(-1, _SCALES_PER_BLOCK)
    largest = blocks.abs().amax(dim=1, keepdim=True).clamp(min=1e-38)
    restored = _nearest(blocks / largest, _dynamic_code()) * largest
    return restored.reshape(-1)[: len(scales)] + mean


def _nearest(values: Tensor, code: Tensor) -> Tensor:
    """Round each value to the nearest of a sorted code."""
    return code[torch.bucketize(values, (code[:-1] + code[1:]) / 2)]


def _dynamic_code() -> Tensor:
    """The 256 values of the signed dynamic type (arXiv:1511.04561): per decade from 1e-7 to 1, twice as many as below."""
    code = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1)
        means = 10.0 ** (exponent - 6) * (edges[:-1] + edges[1:]) / 2
        code += [*means.tolist(), *(-means).tolist()]
    return torch.tensor(sorted(code))
