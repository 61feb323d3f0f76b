"""MulT: the multimodal transformer for unaligned sequences."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules, module_name
from mmdistill.models.fusion.attention_layout import AttentionLayout
from mmdistill.models.fusion.column_tokens import ColumnTokens, Sequences
from mmdistill.models.fusion.families.attention import MultOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.layers.transformer import Attention, TransformerLayer, feed_forward
from mmdistill.models.masking import masked_mean, where_true


class CrossmodalLayer(nn.Module):
    """One layer of a crossmodal transformer, section 3.2 of the paper.

    ``y = Attention(LN(t), LN(s)) + LN(t)``, then ``FFN(LN(y)) + LN(y)``. The normalised sequence is what is added, as
    the paper writes; the authors' code adds the sequence before its normalisation.

    Args:
        dim: width of both sequences; a multiple of `heads`.
        heads: attention heads.
        dropout: of both branches, while training.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.target_norm, self.source_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.feed_forward_norm, self.feed_forward = nn.LayerNorm(dim), feed_forward(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Target (B, T, dim), source (B, S, dim) and its mask (B, S) to the target's shape."""
        target = self.target_norm(target)
        target = self.feed_forward_norm(target + self.dropout(self.attention(target, self.source_norm(source), mask)))
        return target + self.dropout(self.feed_forward(target))


class MulT(nn.Module):
    """Every column's sequence is written anew from each other column, joined, and summarised; summaries side by side.

    From Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences" (ACL 2019), section 3.2: for
    each ordered pair a crossmodal transformer, every layer of which reads the source's first tokens; for each target a
    self-attention transformer over the results joined by feature. The paper takes the last position of each; here the
    mean over positions is the default, since the tokens of an image or a table have no last one, and `pool: last` is
    the paper's. Its convolutions and positional vectors in front are the encoders' affair.

    An absent column is not attended to, and its own summary is zero.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `MultOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MultOptions) -> None:
        super().__init__()
        self.columns, self.last = tuple(dims), options.pool == "last"
        joined = (len(dims) - 1) * options.dim
        self.dim = len(dims) * joined
        self.tokens = ColumnTokens(dims, options.dim)
        self.crossmodal = ColumnModules(
            {
                target: ColumnModules(
                    {
                        source: nn.ModuleList(
                            CrossmodalLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
                        )
                        for source in dims
                        if source != target
                    }
                )
                for target in dims
            }
        )
        self.joined = ColumnModules(
            {
                target: nn.ModuleList(
                    TransformerLayer(joined, options.heads, options.dropout) for _ in range(options.joined_depth)
                )
                for target in dims
            }
        )
        self.norms = ColumnModules({target: nn.LayerNorm(joined) for target in dims})

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings, tokens, masks and `present` by column, as in `ColumnTokens`, to (B, M · (M − 1) · dim)."""
        sequences = self.tokens(embeddings, tokens, masks, present)
        pool = last_position if self.last else masked_mean
        summaries = []
        for index, target in enumerate(self.columns):
            stream, mask = self._written_anew(index, sequences), sequences.masks[index]
            for layer in self.joined[target]:  # type: ignore[attr-defined]
                stream = layer(stream, mask)
            summaries.append(pool(self.norms[target](stream), mask))
        return Fused(torch.cat(summaries, dim=1))

    def _written_anew(self, index: int, sequences: Sequences) -> Tensor:
        """One column's sequence as each other column sees it, joined by feature: (B, T, (M − 1) · dim)."""
        streams = []
        for source, layers in self.crossmodal[self.columns[index]].items():  # type: ignore[operator]
            other = self.columns.index(source)
            stream = sequences.tokens[index]
            for layer in layers:
                stream = layer(stream, sequences.tokens[other], sequences.masks[other])
            streams.append(stream)
        return torch.cat(streams, dim=2)

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """Each column looks at each other, then at itself; see `ShowsAttention`."""
        labels = self.tokens.labels(lengths)
        layouts: dict[str, AttentionLayout] = {}
        for target, own in labels.items():
            for source, layers in self.crossmodal[target].items():  # type: ignore[operator]
                path = f"crossmodal.{module_name(target)}.{module_name(source)}"
                for number in range(len(layers)):
                    layouts[f"{path}.{number}.attention"] = AttentionLayout(own, labels[source])
            for number in range(len(self.joined[target])):  # type: ignore[arg-type]
                layouts[f"joined.{module_name(target)}.{number}.attention"] = AttentionLayout(own, own)
        return layouts


def last_position(values: Tensor, mask: Tensor) -> Tensor:
    """The last position whose mask is true; zero for a row that has none. Shapes as `masked_mean`."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * positions).amax(1)
    taken = values.gather(1, last.view(-1, 1, 1).expand(-1, 1, values.shape[2])).squeeze(1)
    return where_true(mask.any(1), taken)
