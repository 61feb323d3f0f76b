"""Single stream: one transformer over the tokens of all columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.attention_layout import CLASS, AttentionLayout, learned_label
from mmdistill.models.fusion.column_tokens import ColumnTokens
from mmdistill.models.fusion.families.attention import SingleStreamOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.layers.transformer import TransformerLayer


class SingleStream(nn.Module):
    """The tokens of all columns and a class token pass one transformer; the result is the class token.

    The early fusion of VisualBERT (Li et al. 2019), UNITER (Chen et al., ECCV 2020) and ViLT (Kim et al., ICML 2021),
    here over what encoders give. The tokens of an absent column are masked; in a row without any the class token is
    alone.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `SingleStreamOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: SingleStreamOptions) -> None:
        super().__init__()
        self.dim = options.dim
        self.tokens = ColumnTokens(dims, options.dim)
        self.class_token = nn.Parameter(torch.randn(1, 1, options.dim) * options.dim**-0.5)
        self.layers = nn.ModuleList(
            TransformerLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
        )
        self.norm = nn.LayerNorm(options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings, tokens, masks and `present` by column, as in `ColumnTokens`, to (B, dim)."""
        sequences = self.tokens(embeddings, tokens, masks, present)
        rows = sequences.tokens[0].shape[0]
        stream = torch.cat([self.class_token.expand(rows, -1, -1), *sequences.tokens], dim=1)
        always = sequences.masks[0].new_ones(rows, 1)
        mask = torch.cat([always, *sequences.masks], dim=1)
        for layer in self.layers:
            stream = layer(stream, mask)
        return Fused(self.norm(stream[:, 0]))

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """All positions look at all; see `ShowsAttention`."""
        labels = (learned_label(CLASS, self.tokens.columns), *sum(self.tokens.labels(lengths).values(), ()))
        return {f"layers.{number}.attention": AttentionLayout(labels, labels) for number in range(len(self.layers))}
