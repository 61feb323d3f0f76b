"""Zeros stand in and count as there: the control."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmdistill.catalog import NoOptions
from mmdistill.models.missing.completed import Completed
from mmdistill.models.missing.stand_ins import stand_in


class Zero(nn.Module):
    """Zeros in the place of what a row lacks, and nobody is told.

    This is the control: what most code does about missing modalities, for comparison. The fusion takes the zeros for a
    measurement; no bit says that the column is absent. For zeros *with* such a bit use `mask` and the fusion `concat`
    with ``absent: zero``. It has no parameters.

    Args:
        dims: width of each column's embedding and tokens.
        options: none.
    """

    def __init__(self, dims: Mapping[str, int], options: NoOptions) -> None:  # noqa: ARG002 (as every strategy)
        super().__init__()
        self.dims = dict(dims)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Completed:
        """See `stand_in`."""
        zeros = {column: embeddings[column].new_zeros(width) for column, width in self.dims.items()}
        return stand_in(embeddings, tokens, masks, present, zeros)
