"""Feature-wise linear modulation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.products import FiLMOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import presence
from mmdistill.models.fusion.projections import Projections
from mmdistill.models.masking import masked_mean, where_true


class FiLM(nn.Module):
    """``h = mean_c (γ_c ∘ (W_c x_c + b_c)) + β``: one column scales and shifts the features of all others.

    From Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer" (AAAI 2018), equation 2, on the
    columns' embeddings. γ and β are linear in the conditioning column, and γ is 1 plus what its layer gives, as
    in the paper, so that no feature begins switched off. With more than two columns each of the others has a γ of its
    own; β is common, since only the mean of several would be seen.

    Without the conditioning column γ is 1 and β is 0: the others pass as they are. Another absent column is left out
    of the mean. With the conditioning column alone h is β, which so stands for what it says itself; a row with
    nothing gives zeros.

    Args:
        dims: width of each column's embedding.
        options: see `FiLMOptions`.

    Raises:
        InputError: when the model has no column of the name in `by`.
    """

    def __init__(self, dims: Mapping[str, int], options: FiLMOptions) -> None:
        super().__init__()
        options.check(dims, "fusion")
        self.by = next(iter(dims)) if options.by is None else options.by
        self.dim = options.dim
        self.others = tuple(column for column in dims if column != self.by)
        self.project = Projections({column: dims[column] for column in self.others}, options.dim)
        self.scale = nn.Linear(dims[self.by], len(self.others) * options.dim)
        self.shift = nn.Linear(dims[self.by], options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        conditioned = present[self.by]
        condition = where_true(conditioned, embeddings[self.by])
        scale = 1 + where_true(conditioned, self.scale(condition)).unflatten(1, (len(self.others), self.dim))
        shift = where_true(conditioned, self.shift(condition))
        features = torch.stack(self.project(embeddings, present), dim=1)
        return Fused(masked_mean(scale * features, presence(present, self.others)) + shift)
