"""The pre-norm layer in which one set of vectors looks at another."""

from __future__ import annotations

from torch import Tensor, nn

from mmdistill.models.layers.transformer import Attention, feed_forward


class CrossLayer(nn.Module):
    """Vectors look at tokens, then pass a feed-forward network; both branches are pre-norm and added.

    Args:
        dim: width of vectors and tokens; a multiple of `heads`.
        heads: attention heads.
        dropout: of both branches, while training.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.query_norm, self.token_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.feed_forward_norm, self.feed_forward = nn.LayerNorm(dim), feed_forward(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, Q, dim), tokens (B, L, dim), mask (B, L) or (B, Q, L) to vectors of the same shape."""
        seen = self.attention(self.query_norm(vectors), self.token_norm(tokens), mask)
        vectors = vectors + self.dropout(seen)
        return vectors + self.dropout(self.feed_forward(self.feed_forward_norm(vectors)))
