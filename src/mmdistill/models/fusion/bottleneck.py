"""Multimodal bottleneck transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules, module_name
from mmdistill.models.fusion.attention_layout import BOTTLENECK, AttentionLayout, learned_label
from mmdistill.models.fusion.column_tokens import ColumnTokens
from mmdistill.models.fusion.families.attention import BottleneckOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import presence
from mmdistill.models.layers.transformer import TransformerLayer
from mmdistill.models.masking import masked_mean


class Bottleneck(nn.Module):
    """A transformer a column; columns exchange only through a few bottleneck tokens, which they share.

    From Nagrani et al., "Attention Bottlenecks for Multimodal Fusion" (NeurIPS 2021), section 3.2:
    ``[z_c, b_c] = Transformer_c([z_c, b])`` in each column, and ``b`` becomes the mean of the ``b_c``. The result is
    the mean of the columns' class tokens, as the paper's common classifier averages their logits. The class token is
    the column's pooled embedding, whose encoder has already gathered into it what a class token would hold by then.

    An absent column is left out of both means. In a row without any column the result is zero.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `BottleneckOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: BottleneckOptions) -> None:
        super().__init__()
        self.columns, self.dim, self.fusion_layer = tuple(dims), options.dim, options.fusion_layer
        self.tokens = ColumnTokens(dims, options.dim)
        self.bottlenecks = nn.Parameter(torch.randn(1, options.bottlenecks, options.dim) * options.dim**-0.5)
        self.layers = nn.ModuleList(
            ColumnModules({column: TransformerLayer(options.dim, options.heads, options.dropout) for column in dims})
            for _ in range(options.depth)
        )
        self.norms = ColumnModules({column: nn.LayerNorm(options.dim) for column in dims})

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings, tokens, masks and `present` by column, as in `ColumnTokens`, to (B, dim)."""
        streams, allowed = self.tokens(embeddings, tokens, masks, present)
        there = presence(present, self.columns)
        bottlenecks = self.bottlenecks.expand(there.shape[0], -1, -1)
        for number, module in enumerate(self.layers):
            layer = cast(ColumnModules, module)
            if number < self.fusion_layer:
                streams = [
                    layer[column](stream, mask)
                    for column, stream, mask in zip(self.columns, streams, allowed, strict=True)
                ]
            else:
                streams, bottlenecks = self._exchange(layer, streams, allowed, bottlenecks, there)
        classes = [self.norms[column](stream[:, 0]) for column, stream in zip(self.columns, streams, strict=True)]
        return Fused(masked_mean(torch.stack(classes, dim=1), there))

    def _exchange(
        self, layer: ColumnModules, streams: list[Tensor], masks: list[Tensor], bottlenecks: Tensor, there: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """One layer with the bottlenecks (B, N, dim) behind every stream (B, L, dim); `there` is bool (B, M)."""
        always = there.new_ones(bottlenecks.shape[:2])
        passed = [
            layer[column](torch.cat([stream, bottlenecks], dim=1), torch.cat([mask, always], dim=1))
            for column, stream, mask in zip(self.columns, streams, masks, strict=True)
        ]
        count = bottlenecks.shape[1]
        copies = torch.stack([stream[:, -count:].flatten(1) for stream in passed], dim=1)
        return [stream[:, :-count] for stream in passed], masked_mean(copies, there).unflatten(1, (count, -1))

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """In each column its positions, and the bottlenecks from `fusion_layer` on; see `ShowsAttention`."""
        shared = (learned_label(BOTTLENECK, self.columns),) * self.bottlenecks.shape[1]
        layouts: dict[str, AttentionLayout] = {}
        for number in range(len(self.layers)):
            for column, own in self.tokens.labels(lengths).items():
                labels = own if number < self.fusion_layer else own + shared
                path = f"layers.{number}.{module_name(column)}.attention"
                layouts[path] = AttentionLayout(labels, labels, column)
        return layouts
