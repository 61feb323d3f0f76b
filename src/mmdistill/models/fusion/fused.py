"""What every fusion hands over."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Fused(NamedTuple):
    """The columns of a batch as one vector a row, and what a fusion lets others see of how it came about.

    Args:
        embedding: (B, dim).
        taps: further outputs by their full tap name, batch first, zero where a row lacks the column that they belong
            to: ``<column>.shared`` (B, D), ``gates`` (B, M)… They are the same in training and evaluation.
        auxiliary: scalars that the fusion itself wants to be small, already weighted; only while training.
    """

    embedding: Tensor
    taps: Mapping[str, Tensor] = NOTHING
    auxiliary: Mapping[str, Tensor] = NOTHING
