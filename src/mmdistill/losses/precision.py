"""The precision that losses are computed in: float32, or the inputs' own where it is wider."""

from __future__ import annotations

import torch
from torch import Tensor

_NARROW = (torch.float16, torch.bfloat16)


def widen(values: Tensor) -> Tensor:
    """`values` in float32 when they are float16 or bfloat16, and as they are otherwise."""
    return values.float() if values.dtype in _NARROW else values
