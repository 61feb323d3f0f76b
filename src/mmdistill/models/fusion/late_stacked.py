"""Late fusion by stacking: a small network on what each column says."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.decisions import LateStackedOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.late import HiddenLayers
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.layers.mlp import mlp
from mmdistill.models.masking import where_true


class LateStacked(nn.Module):
    """Each column's scores ``s_c = W_c x_c + b_c``, side by side with a presence bit a column, then a small network.

    Stacking (Wolpert 1992) with both levels trained together: the columns meet only in their scores. The scores of an
    absent column are zero, which its bit tells from scores that are zero.

    Args:
        dims: width of each column's embedding.
        options: see `LateStackedOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: LateStackedOptions) -> None:
        super().__init__()
        self.columns, self.hidden = tuple(dims), HiddenLayers(dims, options.hidden)
        widths = dict(zip(dims, self.hidden.widths, strict=True))
        self.scores = ColumnModules({column: nn.Linear(width, options.scores) for column, width in widths.items()})
        self.layers = mlp(len(dims) * (options.scores + 1), options.layers)
        self.dim = options.layers[-1]

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim) and the scores (B, scores)."""
        vectors = self.hidden(kept(embeddings, present, self.columns))
        scores = {
            column: where_true(present[column], self.scores[column](vector))
            for column, vector in zip(self.columns, vectors, strict=True)
        }
        bits = presence(present, self.columns).to(vectors[0].dtype)
        taps = {f"{column}.scores": values for column, values in scores.items()}
        return Fused(self.layers(torch.cat([*scores.values(), bits], dim=1)), taps)
