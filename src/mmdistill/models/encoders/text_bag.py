"""Bag of words: the mean of word embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.catalog import TextBagOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.text_words import Words
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class TextBag(nn.Module):
    """Mean of the word vectors of a text, whatever their order.

    Args:
        info: a text feature.
        options: see `TextBagOptions`.
    """

    def __init__(self, info: FeatureInfo, options: TextBagOptions) -> None:
        super().__init__()
        self.dim = options.dim
        self.words = Words(info, options.dim, options.init_std)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` int64 (B, L) and `mask` to an embedding (B, dim) and tokens (B, L, dim)."""
        words, mask = self.words(arrays)
        words = self.dropout(words)
        return Encoded(masked_mean(words, mask), words, mask)
