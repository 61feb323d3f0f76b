"""Tensor fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.models.fusion.families.products import TensorOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.projections import Projections
from mmdistill.models.layers.mlp import mlp
from mmdistill.models.masking import where_true

LARGEST = 100_000
"""Entries of the tensor; the layer behind it has as many weights for each of its outputs."""
WIDEST, COMFORTABLE = 32, 4096
"""Width of a column and entries of the tensor that the default keeps to."""


class TensorFusion(nn.Module):
    """``h = MLP(⊗_c [1; z_c])`` with ``z_c = tanh(W_c x_c + b_c)``: every product of features, of any columns.

    From Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis" (EMNLP 2017), section 3.2. The 1 in
    front of each vector keeps the products of fewer columns, down to each column alone. The tensor has
    ``Π_c (width + 1)`` entries, which is why each column is first made narrow, here by one layer behind the encoder.
    The paper's sub-networks end in 32 and more rectified units; tanh is for fewer (`TensorOptions.activation`).

    An absent column is [1; 0]: every product with one of its features is zero and the rest remain, as if there were
    no such column. A row with nothing is a single 1.

    Args:
        dims: width of each column's embedding.
        options: see `TensorOptions`.

    Raises:
        InputError: when the tensor would have more than `LARGEST` entries.
    """

    def __init__(self, dims: Mapping[str, int], options: TensorOptions) -> None:
        super().__init__()
        self.columns = tuple(dims)
        width = options.width or max(1, min(WIDEST, _largest_width(len(dims), COMFORTABLE)))
        entries = (width + 1) ** len(dims)
        if entries > LARGEST:
            raise _too_large(len(dims), width)
        self.narrow = Projections(dims, width)
        self.activation = nn.Tanh() if options.activation == "tanh" else nn.ReLU()
        self.layers = mlp(entries, options.hidden, options.dropout)
        self.dim = options.hidden[-1] if options.hidden else entries

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        narrow = [
            where_true(present[column], self.activation(vector))
            for column, vector in zip(self.columns, self.narrow(embeddings, present), strict=True)
        ]
        return Fused(self.layers(outer_product(narrow)))


def outer_product(vectors: Sequence[Tensor]) -> Tensor:
    """``⊗ [1; z_c]`` as one vector a row, the last column's entries side by side.

    Args:
        vectors: (B, D_c) for each column.

    Returns:
        (B, Π (1 + D_c)), its first entry 1.
    """
    padded = [nn.functional.pad(vector, (1, 0), value=1.0) for vector in vectors]
    return reduce(lambda tensor, vector: (tensor.unsqueeze(2) * vector.unsqueeze(1)).flatten(1), padded)


def _largest_width(columns: int, entries: int) -> int:
    """The largest width with which the tensor keeps to so many entries; 0 when not even a width of 1 does."""
    width = 0
    while (width + 2) ** columns <= entries:
        width += 1
    return width


def _too_large(columns: int, width: int) -> InputError:
    possible = _largest_width(columns, LARGEST)
    lower = f"Lower `width` to {possible} or less, or choose" if possible else "Choose"
    return InputError(
        f"The tensor of {columns} columns of width {width} has (1 + {width})^{columns} = {(width + 1) ** columns:,} "
        f"entries a row, more than {LARGEST:,}",
        where="fusion.width",
        fix=f"{lower} low_rank_tensor, which never makes the tensor",
    )
