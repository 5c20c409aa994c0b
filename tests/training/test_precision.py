import pytest
import torch

from training.precision import compute_dtype


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        (None, torch.float32),  # a CPU
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),  # T4
        ((8, 0), torch.bfloat16),  # A100
        ((9, 0), torch.bfloat16),
    ],
)
def test_a_device_gets_the_precision_it_computes_in(capability: tuple[int, int] | None, expected: torch.dtype) -> None:
    assert compute_dtype("auto", capability) == expected


def test_a_recipes_precision_goes_before_the_devices() -> None:
    assert compute_dtype("float32", (9, 0)) == torch.float32
    assert compute_dtype("bfloat16", None) == torch.bfloat16
