"""Cross-attention over the columns' tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.attention_layout import AttentionLayout
from mmdistill.models.fusion.column_tokens import ColumnTokens
from mmdistill.models.fusion.families.attention import CrossAttentionOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import presence
from mmdistill.models.layers.cross_layer import CrossLayer
from mmdistill.models.masking import where_true


class CrossAttention(nn.Module):
    """Each column's embedding looks at the tokens of all other columns; the results are projected and added.

    One summary a column as the query makes the cost linear in the number of tokens, as in CrossViT (Chen et al.,
    "Cross-Attention Multi-Scale Vision Transformer", ICCV 2021). Masked tokens and absent columns are not attended to,
    and an absent column's summary is left out of the sum; a summary with nothing to look at gets zeros.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `CrossAttentionOptions`.
    """

    others: Tensor

    def __init__(self, dims: Mapping[str, int], options: CrossAttentionOptions) -> None:
        super().__init__()
        self.columns, self.dim = tuple(dims), options.dim
        self.register_buffer("others", ~torch.eye(len(dims), dtype=torch.bool).unsqueeze(-1), persistent=False)
        self.tokens = ColumnTokens(dims, options.dim)
        self.layers = nn.ModuleList(
            CrossLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
        )
        self.norm = nn.LayerNorm(options.dim)
        self.out = nn.Linear(len(dims) * options.dim, options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings, tokens, masks and `present` by column, as in `ColumnTokens`, to (B, dim)."""
        sequences = self.tokens(embeddings, tokens, masks, present)
        summaries = torch.stack([sequence[:, 0] for sequence in sequences.tokens], dim=1)
        everything = torch.cat(sequences.tokens, dim=1)
        # (B, M, L): each column sees what is there of the others.
        visible = torch.cat(
            [mask.unsqueeze(1) & others for mask, others in zip(sequences.masks, self.others, strict=True)], dim=2
        )
        for layer in self.layers:
            summaries = layer(summaries, everything, visible)
        there = presence(present, self.columns)
        return Fused(self.out(where_true(there, self.norm(summaries)).flatten(1)))

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """Columns look at the positions of columns; see `ShowsAttention`."""
        keys = sum(self.tokens.labels(lengths).values(), ())
        return {f"layers.{number}.attention": AttentionLayout(self.columns, keys) for number in range(len(self.layers))}
