"""A learned vector a column stands in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.catalog import NoOptions
from mmdistill.models.missing.completed import Completed
from mmdistill.models.missing.stand_ins import stand_in

INITIAL_STD = 0.02
"""Of the first weights, as is usual for the mask tokens of transformers."""


class LearnedToken(nn.Module):
    """One vector a column, trained with the model, in the place of its embedding and as its only token.

    As the learned tokens that transformers are given for what is masked. It is trained only if rows lack the column in
    training, on their own or by modality dropout.

    Args:
        dims: width of each column's embedding and tokens.
        options: none.
    """

    def __init__(self, dims: Mapping[str, int], options: NoOptions) -> None:  # noqa: ARG002 (as every strategy)
        super().__init__()
        self.dims = dict(dims)
        # One parameter for all columns: a column may be called what PyTorch accepts as no parameter's name.
        self.vectors = nn.Parameter(torch.randn(sum(dims.values())) * INITIAL_STD)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Completed:
        """See `stand_in`."""
        own = dict(zip(self.dims, self.vectors.split(list(self.dims.values())), strict=True))
        return stand_in(embeddings, tokens, masks, present, own)
