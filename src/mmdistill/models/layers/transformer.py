"""Attention and the pre-norm transformer layer (Vaswani et al. 2017; Xiong et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.models.masking import masked_softmax


class Attention(nn.Module):
    """Multi-head attention of queries over keys that may be masked.

    An extra key and value of zeros is always there to attend to, so that a query all of whose keys are masked gets
    zeros rather than NaN, and a query with one key can still turn away from it.

    Args:
        dim: width of queries, keys and values; a multiple of `heads`.
        heads: number of heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        # A bias on the keys would shift all scores of a query alike and change nothing but the share of the extra key.
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Attend.

        Args:
            queries: (B, Q, dim).
            keys: (B, K, dim), finite also where masked.
            mask: bool (B, K), or (B, Q, K) when it differs between queries; true where attending is allowed.

        Returns:
            (B, Q, dim).
        """
        mixed = F.scaled_dot_product_attention(
            self._split(self.query(queries)),
            self._with_nothing(self.key(keys)),
            self._with_nothing(self.value(keys)),
            attn_mask=_allowed(mask).expand(-1, -1, queries.shape[1], -1),
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """How much each query attends to each key, of the same inputs: what `forward` never holds as a whole.

        Returns:
            (B, heads, Q, K + 1): shares that sum to one, zero where masked; the last is that of the extra zero key.
        """
        split = self._split(self.query(queries))
        scores = split @ self._with_nothing(self.key(keys)).transpose(-1, -2) * split.shape[-1] ** -0.5
        return masked_softmax(scores, _allowed(mask), dim=-1)

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _with_nothing(self, values: Tensor) -> Tensor:
        """Keys or values (B, K, dim) by head, with the extra one of zeros behind: (B, heads, K + 1, dim / heads)."""
        return F.pad(self._split(values), (0, 0, 0, 1))


def _allowed(mask: Tensor) -> Tensor:
    """A mask (B, K) or (B, Q, K) as bool (B, 1, 1 or Q, K + 1), the extra key always allowed."""
    return F.pad(mask if mask.ndim == 3 else mask.unsqueeze(1), (0, 1), value=True).unsqueeze(1)


def feed_forward(dim: int, expansion: int = 2) -> nn.Sequential:
    """The position-wise network of a transformer layer."""
    return nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward network, each added to its input.

    Dropout is on both branches only: on the attention weights it would keep PyTorch from its fused kernels, and drawing
    it for weights and hidden activations took a third of a step on a CPU.

    Args:
        dim: width of the tokens; a multiple of `heads`.
        heads: number of heads.
        dropout: of both branches, while training.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.feed_forward_norm, self.feed_forward = nn.LayerNorm(dim), feed_forward(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, L, dim) and their bool mask (B, L) to tokens of the same shape."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.dropout(self.attention(normed, normed, mask))
        return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))


def run_layers(layers: Iterable[nn.Module], tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """The tokens (B, L, dim) after each of one or more `TransformerLayer`, shallow to deep."""
    states = []
    for layer in layers:
        tokens = layer(tokens, mask)
        states.append(tokens)
    return tuple(states)


def sinusoidal_positions(length: int, dim: int, like: Tensor) -> Tensor:
    """Sine and cosine of each position at geometric wavelengths, (length, dim), on the device and dtype of `like`.

    From "Attention Is All You Need" (Vaswani et al. 2017), section 3.5, with sines first and cosines after.
    """
    half = (dim + 1) // 2
    steps = torch.arange(half, device=like.device, dtype=torch.float32)
    angles = torch.arange(length, device=like.device, dtype=torch.float32).unsqueeze(1) * torch.exp(
        steps * (-math.log(10_000.0) / half)
    )
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim].to(like.dtype)
