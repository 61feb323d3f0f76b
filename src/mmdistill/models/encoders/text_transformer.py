"""Small transformer over word vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.models.encoders.catalog import TextTransformerOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.text_words import Words
from mmdistill.models.layers.transformer import TransformerLayer, run_layers, sinusoidal_positions
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class TextTransformer(nn.Module):
    """Word vectors plus positions through pre-norm transformer layers; the embedding is the mean of the tokens.

    Args:
        info: a text feature.
        options: see `TextTransformerOptions`.

    Raises:
        InputError: when learned positions are asked for and the column's texts may be longer.
    """

    def __init__(self, info: FeatureInfo, options: TextTransformerOptions) -> None:
        super().__init__()
        self.dim = options.dim
        self.words = Words(info, options.dim)
        self.positions = learned_positions(info, options) if options.positions == "learned" else None
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
        )
        self.norm = nn.LayerNorm(options.dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` int64 (B, L) and `mask` to an embedding (B, dim), tokens (B, L, dim) and those of each layer."""
        words, mask = self.words(arrays)
        length = words.shape[1]
        if self.positions is None:
            # Word vectors have about unit length (see `Words`), positions half of `dim` in square: bring them level.
            positions = sinusoidal_positions(length, self.dim, words) * (2 / self.dim) ** 0.5
        else:
            positions = self.positions.weight[:length]
        tokens = self.dropout(words + positions)
        layers = run_layers(self.layers, tokens, mask)
        tokens = self.norm(layers[-1])
        return Encoded(masked_mean(tokens, mask), tokens, mask, layers=layers)


def learned_positions(info: FeatureInfo, options: TextTransformerOptions) -> nn.Embedding:
    """A learned vector for each of `max_length` positions.

    Raises:
        InputError: when the column keeps longer texts than that.
    """
    longest = info.settings.get("max_length")
    if isinstance(longest, int) and longest > options.max_length:
        raise InputError(
            f"The column keeps texts of up to {longest} tokens, but the encoder learns {options.max_length} positions",
            where=f"column {info.column!r}, encoder transformer",
            fix=f"Set max_length: {longest} for the encoder, or choose positions: sinusoidal",
        )
    positions = nn.Embedding(options.max_length, options.dim)
    nn.init.normal_(positions.weight, std=options.dim**-0.5)
    return positions
