"""Denormal numbers are flushed while a model is trained, and only then."""

from __future__ import annotations

import pytest
import torch

from mmdistill.training.denormals import denormals_as_zero

SMALL = 1e-40


def denormals_survive() -> bool:
    return bool(torch.tensor([SMALL]).mul(1.0).item() != 0)


def test_denormals_are_zero_inside_and_not_outside() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormal numbers")
    assert denormals_survive()
    with pytest.raises(RuntimeError), denormals_as_zero():
        assert not denormals_survive()
        raise RuntimeError
    assert denormals_survive()
