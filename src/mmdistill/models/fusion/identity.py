"""The fusion of one column: nothing to fuse."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmdistill.models.fusion.fused import Fused
from mmdistill.models.masking import where_true


class Identity(nn.Module):
    """Hands one column's embedding over as it is, zero for a row that lacks it; it has no parameters.

    Args:
        dims: the column and the width of its embedding.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        ((self.column, self.dim),) = dims.items()

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """The embedding (B, dim)."""
        return Fused(where_true(present[self.column], embeddings[self.column]))
