"""LSTM text encoders, forward or in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.catalog import TextBilstmOptions, TextLstmOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.text_words import Words
from mmdistill.models.layers.recurrent import Recurrent, last_state
from mmdistill.models.masking import masked_max, masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class RecurrentText(nn.Module):
    """Word vectors through LSTM layers, then pooled.

    Args:
        info: a text feature.
        options: see `TextLstmOptions`.
        bidirectional: read backwards as well.
    """

    def __init__(self, info: FeatureInfo, options: TextLstmOptions, bidirectional: bool) -> None:
        super().__init__()
        self.pool, self.bidirectional = options.pool, bidirectional
        self.words = Words(info, options.embedding)
        self.dropout = nn.Dropout(options.dropout)
        self.recurrent = Recurrent(
            "lstm", options.embedding, options.hidden, options.layers, bidirectional, options.dropout
        )
        self.dim = self.recurrent.dim

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` int64 (B, L) and `mask` to an embedding (B, dim) and tokens (B, L, dim)."""
        words, mask = self.words(arrays)
        states = self.recurrent(self.dropout(words), mask)
        if self.pool == "mean":
            embedding = masked_mean(states, mask)
        elif self.pool == "max":
            embedding = masked_max(states, mask)
        else:
            embedding = last_state(states, mask, self.bidirectional)
        return Encoded(embedding, states, mask)


def lstm(info: FeatureInfo, options: TextLstmOptions) -> RecurrentText:
    """The text encoder `lstm`."""
    return RecurrentText(info, options, bidirectional=False)


def bilstm(info: FeatureInfo, options: TextBilstmOptions) -> RecurrentText:
    """The text encoder `bilstm`."""
    return RecurrentText(info, options, bidirectional=True)
