"""What a tabular feature holds, and the vectors of its categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


def numeric_columns(info: FeatureInfo) -> int:
    """How many numeric source columns the feature has."""
    spec = info.arrays.get("numeric")
    return spec.shape[0] if spec else 0


def cardinalities(info: FeatureInfo) -> list[int]:
    """How many indices each categorical source column has; 0 is missing, 1 unknown."""
    return [int(size) for size in info.state.get("cardinalities", [])]


def numbers_and_indicators(arrays: Mapping[str, Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Numbers (B, N), zero where missing, and the missing indicators (B, N), both in `dtype`.

    A missing number was imputed when the rows were prepared. Zero, the mean of a standardised number, beside an
    indicator of one lets the model choose what a missing number means.
    """
    missing = arrays["missing"]
    return arrays["numeric"].to(dtype).masked_fill(missing, 0), missing.to(dtype)


class Categories(nn.Module):
    """A learned vector for every category of every column, all in one table.

    Args:
        sizes: indices of each column.
        width: width of a vector.
    """

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        starts = [sum(sizes[:column]) for column in range(len(sizes))]
        self.register_buffer("offsets", torch.tensor(starts), persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices int64 (B, K) to vectors (B, K, width)."""
        return self.table(indices + self.offsets)
