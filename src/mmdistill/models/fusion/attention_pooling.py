"""Pooling by attention: learned queries read the tokens of all columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.attention_layout import QUERY, AttentionLayout, learned_label
from mmdistill.models.fusion.column_tokens import ColumnTokens
from mmdistill.models.fusion.families.attention import AttentionPoolingOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.layers.transformer import Attention, feed_forward


class AttentionPooling(nn.Module):
    """``H = LN(S + Attention(S, FFN(Z)))``, ``LN(H + FFN(H))`` with learned queries S; the results stand side by side.

    The pooling by multi-head attention of Lee et al., "Set Transformer" (ICML 2019), section 3.2, over the
    tokens Z of all columns. An absent column is not attended to; a row without any gives what the queries are alone.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `AttentionPoolingOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: AttentionPoolingOptions) -> None:
        super().__init__()
        self.dim = options.queries * options.dim
        self.tokens = ColumnTokens(dims, options.dim)
        self.token_feed_forward = feed_forward(options.dim)
        self.queries = nn.Parameter(torch.randn(1, options.queries, options.dim) * options.dim**-0.5)
        self.attention = Attention(options.dim, options.heads)
        self.attention_norm = nn.LayerNorm(options.dim)
        self.feed_forward, self.norm = feed_forward(options.dim), nn.LayerNorm(options.dim)
        self.dropout = nn.Dropout(options.dropout)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings, tokens, masks and `present` by column, as in `ColumnTokens`, to (B, queries · dim)."""
        sequences = self.tokens(embeddings, tokens, masks, present)
        everything = self.token_feed_forward(torch.cat(sequences.tokens, dim=1))
        queries = self.queries.expand(everything.shape[0], -1, -1)
        seen = self.attention(queries, everything, torch.cat(sequences.masks, dim=1))
        pooled = self.attention_norm(queries + self.dropout(seen))
        return Fused(self.norm(pooled + self.dropout(self.feed_forward(pooled))).flatten(1))

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """Queries look at the columns' positions; see `ShowsAttention`."""
        keys = sum(self.tokens.labels(lengths).values(), ())
        queries = (learned_label(QUERY, self.tokens.columns),) * self.queries.shape[1]
        return {"attention": AttentionLayout(queries, keys)}
