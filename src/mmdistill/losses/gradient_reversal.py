"""Gradient reversal, for parts that are to work against a loss.

Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, arXiv:1409.7495.
"""

from __future__ import annotations

from torch import Tensor


def reverse_gradient(values: Tensor, strength: float) -> Tensor:
    """`values` as they are, with a gradient that is −strength times what comes back."""
    held = values.detach()
    return held - strength * (values - held)
