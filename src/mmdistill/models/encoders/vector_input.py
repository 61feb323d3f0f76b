"""Ready-made features become network input: standardised, and zero where masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.models.layers.standardise import Standardise, statistics
from mmdistill.models.masking import sequence_mask, where_true

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class VectorInput(nn.Module):
    """A vector feature's arrays to standardised values and, for a sequence, their mask.

    Args:
        info: a vector feature, fixed (D,) or a sequence of (D,); `state` holds `mean` and `std`.
    """

    def __init__(self, info: FeatureInfo) -> None:
        super().__init__()
        values = info.arrays["values"]
        self.size, self.sequence = values.shape[0], values.sequence
        self.standardise = Standardise(*statistics(info.state))

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """`values` (B, D), or (B, L, D) with `mask`, to values of the same shape and mask (None when fixed)."""
        values = self.standardise(arrays["values"])
        if not self.sequence:
            return values, None
        mask = sequence_mask(arrays)
        return where_true(mask, values), mask


def require_sequence(info: FeatureInfo, encoder: str) -> None:
    """Refuse an encoder of sequences for a vector of fixed length.

    Raises:
        InputError: when the feature is not a sequence.
    """
    if not info.arrays["values"].sequence:
        raise InputError(
            f"The vector encoder {encoder!r} reads sequences of vectors, but this column has one vector a row",
            where=f"column {info.column!r}",
            fix="Choose the encoder mlp",
        )
