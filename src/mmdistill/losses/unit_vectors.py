"""Vectors brought to length 1."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_vectors(values: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """`values` over their L2 norm along `dim`; a vector of zeros, which has no direction, stays one.

    Its gradient stays as large as that of a vector of length 1, where a smallest divisor would make it enormous.
    """
    norm = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    return values / torch.where(norm > 0, norm, 1)
