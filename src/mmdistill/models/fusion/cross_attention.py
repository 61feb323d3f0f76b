"""Cross-attention over the columns' tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.attention import CrossAttentionOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.layers.transformer import Attention, feed_forward
from mmdistill.models.masking import where_true


class CrossLayer(nn.Module):
    """Summaries look at tokens, then pass a feed-forward network; both branches are pre-norm and added.

    Args:
        dim: width of summaries and tokens.
        heads: attention heads.
        dropout: chance of zeroing an activation while training.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.summary_norm, self.token_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.feed_forward_norm, self.feed_forward = nn.LayerNorm(dim), feed_forward(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, summaries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Summaries (B, M, dim), tokens (B, L, dim), mask (B, M, L) to summaries of the same shape."""
        seen = self.attention(self.summary_norm(summaries), self.token_norm(tokens), mask)
        summaries = summaries + self.dropout(seen)
        return summaries + self.dropout(self.feed_forward(self.feed_forward_norm(summaries)))


class CrossAttention(nn.Module):
    """Each column's embedding looks at the tokens of all other columns; the results are projected and added.

    One summary a column as the query makes the cost linear in the number of tokens, as in CrossViT (Chen et al.,
    "Cross-Attention Multi-Scale Vision Transformer", ICCV 2021). A column without tokens counts as one token. Masked
    tokens and absent columns are not attended to, and an absent column's summary is left out of the sum; a summary
    with nothing to look at gets zeros.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `CrossAttentionOptions`.
    """

    others: Tensor

    def __init__(self, dims: Mapping[str, int], options: CrossAttentionOptions) -> None:
        super().__init__()
        self.columns, self.dim = tuple(dims), options.dim
        self.register_buffer("others", ~torch.eye(len(dims), dtype=torch.bool).unsqueeze(-1), persistent=False)
        self.summaries = ColumnModules({column: nn.Linear(width, options.dim) for column, width in dims.items()})
        self.tokens = ColumnModules({column: nn.Linear(width, options.dim) for column, width in dims.items()})
        self.modality = nn.Parameter(torch.randn(len(dims), options.dim) * options.dim**-0.5)
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
        """Fuse.

        Args:
            embeddings: (B, dim) by column.
            tokens: (B, L, dim) for the columns that have them.
            masks: bool (B, L) for the columns whose tokens are padded.
            present: bool (B,) by column.

        Returns:
            (B, dim).
        """
        there = presence(present, self.columns)
        vectors = kept(embeddings, present, self.columns)
        summaries = torch.stack(
            [self.summaries[column](vector) for column, vector in zip(self.columns, vectors, strict=True)], dim=1
        )
        summaries = summaries + self.modality
        everything, visible = self._all_tokens(vectors, tokens, masks, present)
        for layer in self.layers:
            summaries = layer(summaries, everything, visible)
        return Fused(self.out(where_true(there, self.norm(summaries)).flatten(1)))

    def _all_tokens(
        self,
        vectors: list[Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The tokens of all columns (B, L, dim), and which of them each column may look at (B, M, L)."""
        parts: list[Tensor] = []
        visible: list[Tensor] = []
        for index, (column, vector) in enumerate(zip(self.columns, vectors, strict=True)):
            own = tokens.get(column)
            if own is None:
                own = vector.unsqueeze(1)
            mask = present[column].unsqueeze(1).expand(own.shape[:2])
            if column in tokens and column in masks:
                mask = mask & masks[column]
            parts.append(self.tokens[column](where_true(mask, own)) + self.modality[index])
            visible.append(mask.unsqueeze(1) & self.others[index])
        return torch.cat(parts, dim=1), torch.cat(visible, dim=2)
