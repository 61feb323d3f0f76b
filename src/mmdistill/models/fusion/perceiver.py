"""Perceiver: a few latent vectors read the tokens of all columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.attention_layout import LATENT, QUERY, AttentionLayout, learned_label
from mmdistill.models.fusion.column_tokens import ColumnTokens
from mmdistill.models.fusion.families.attention import PerceiverOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.layers.cross_layer import CrossLayer
from mmdistill.models.layers.transformer import TransformerLayer


class Block(nn.Module):
    """Latents read the tokens, then attend to each other.

    Args:
        options: see `PerceiverOptions`.
    """

    def __init__(self, options: PerceiverOptions) -> None:
        super().__init__()
        self.read = CrossLayer(options.dim, options.heads, options.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
        )

    def forward(self, latents: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Latents (B, N, dim), tokens (B, L, dim) and their mask (B, L) to latents."""
        latents = self.read(latents, tokens, mask)
        every = mask.new_ones(latents.shape[:2])
        for layer in self.layers:
            latents = layer(latents, every)
        return latents


class Perceiver(nn.Module):
    """Learned latents read the tokens of all columns and attend to each other, several times over.

    From Jaegle et al., "Perceiver: General Perception with Iterative Attention" (ICML 2021), section 3. The result is
    the mean of the latents, as there, or what a learned query reads from them, as in Perceiver IO (ICLR 2022). An
    absent column is not read; in a row without any the latents only attend to each other.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `PerceiverOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: PerceiverOptions) -> None:
        super().__init__()
        self.dim, self.repeats = options.dim, options.repeats
        spread = options.dim**-0.5
        self.tokens = ColumnTokens(dims, options.dim)
        self.latents = nn.Parameter(torch.randn(1, options.latents, options.dim) * spread)
        self.blocks = nn.ModuleList(Block(options) for _ in range(1 if options.share_weights else options.repeats))
        queried = options.output == "query"
        self.query = nn.Parameter(torch.randn(1, 1, options.dim) * spread) if queried else None
        self.answer = CrossLayer(options.dim, options.heads, options.dropout) if queried else None
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
        everything, mask = torch.cat(sequences.tokens, dim=1), torch.cat(sequences.masks, dim=1)
        rows = everything.shape[0]
        latents = self.latents.expand(rows, -1, -1)
        for number in range(self.repeats):
            latents = self.blocks[number % len(self.blocks)](latents, everything, mask)
        if self.query is None or self.answer is None:
            return Fused(self.norm(latents).mean(1))
        every = mask.new_ones(latents.shape[:2])
        return Fused(self.norm(self.answer(self.query.expand(rows, -1, -1), latents, every)).squeeze(1))

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """Latents look at the columns' positions and at each other; see `ShowsAttention`."""
        columns = self.tokens.columns
        keys = sum(self.tokens.labels(lengths).values(), ())
        latents = (learned_label(LATENT, columns),) * self.latents.shape[1]
        layouts: dict[str, AttentionLayout] = {}
        for block, module in enumerate(self.blocks):
            layouts[f"blocks.{block}.read.attention"] = AttentionLayout(latents, keys)
            for number in range(len(module.layers)):  # type: ignore[arg-type]
                layouts[f"blocks.{block}.layers.{number}.attention"] = AttentionLayout(latents, latents)
        if self.answer is not None:
            layouts["answer.attention"] = AttentionLayout((learned_label(QUERY, columns),), latents)
        return layouts
