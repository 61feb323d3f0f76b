"""ShaSpec: shared and specific features, the shared ones standing in for a missing column."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.subspaces import ShaSpecOptions
from mmdistill.models.fusion.fused import NOTHING, Fused
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.layers.mlp import mlp, projection
from mmdistill.models.masking import masked_mean, where_true


class ShaSpec(nn.Module):
    """``f = r + W [r; s]`` for each column, with shared features ``r`` and specific features ``s``; all side by side.

    From Wang et al. 2023, section 3. One shared encoder, behind a layer that brings the columns to one width, and one
    specific encoder a column; the residual layer ``W`` is one for all. **A missing column's features are the mean of
    the shared features of those that are there**, with nothing specific added, so that what follows always sees M
    vectors; with nothing there they are zero. While training, the shared features of a row are drawn together
    (`alignment`, the mean absolute difference) and the specific ones are to tell their column (`classification`).

    The authors' code aligns each column with its neighbour, here each pair counts, and averages: the weight does not
    depend on how many columns there are.

    Args:
        dims: width of each column's embedding.
        options: see `ShaSpecOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: ShaSpecOptions) -> None:
        super().__init__()
        self.columns, dim = tuple(dims), options.dim
        self.alignment_weight, self.classification_weight = options.alignment_weight, options.classification_weight
        self.entry = ColumnModules({column: nn.Linear(width, dim) for column, width in dims.items()})
        self.shared = nn.Linear(dim, dim)
        self.specific = ColumnModules({column: projection(width, dim) for column, width in dims.items()})
        self.residual = nn.Linear(2 * dim, dim)
        self.classifier = nn.Linear(dim, len(dims))
        self.layers = mlp(len(dims) * dim, options.hidden)
        self.dim = options.hidden[-1] if options.hidden else len(dims) * dim

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim) and the features (B, dim)."""
        there = presence(present, self.columns)
        vectors = dict(zip(self.columns, kept(embeddings, present, self.columns), strict=True))
        entered = torch.stack([self.entry[column](vector) for column, vector in vectors.items()], dim=1)
        shared = where_true(there, self.shared(entered.relu()))
        specific = torch.stack([self.specific[column](vector) for column, vector in vectors.items()], dim=1)
        specific = where_true(there, specific)
        own = shared + self.residual(torch.cat([shared, specific], dim=-1))
        stand_in = masked_mean(shared, there).unsqueeze(1)
        features = torch.where(there.unsqueeze(-1), own, stand_in.to(own.dtype))
        taps = {
            f"{column}.{name}": part[:, index]
            for name, part in (("shared", shared), ("private", specific))
            for index, column in enumerate(self.columns)
        }
        auxiliary = self._losses(shared, specific, there) if self.training else NOTHING
        return Fused(self.layers(features.flatten(1)), taps, auxiliary)

    def _losses(self, shared: Tensor, specific: Tensor, there: Tensor) -> dict[str, Tensor]:
        return {
            "alignment": self.alignment_weight * alignment(shared, there),
            "classification": self.classification_weight * classification(self.classifier(specific), there),
        }


def alignment(shared: Tensor, there: Tensor) -> Tensor:
    """Mean absolute difference between the shared features of a row, over all pairs of columns that are there.

    Args:
        shared: (B, M, D).
        there: bool (B, M).

    Returns:
        A scalar; 0 where no row has two columns.
    """
    first, second = torch.triu_indices(there.shape[1], there.shape[1], offset=1, device=there.device)
    distance = (widen(shared[:, first]) - widen(shared[:, second])).abs().mean(-1)
    return weighted_mean(distance, mask=there[:, first] & there[:, second])


def classification(logits: Tensor, there: Tensor) -> Tensor:
    """Cross-entropy of telling a column from its specific features, over those that are there.

    Args:
        logits: (B, M, M), the columns that each column's features are taken for.
        there: bool (B, M).

    Returns:
        A scalar; 0 where nothing is there.
    """
    right = -F.log_softmax(widen(logits), dim=-1).diagonal(dim1=1, dim2=2)
    return weighted_mean(right, mask=there)
