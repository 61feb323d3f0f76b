"""A student as one would write it without knowing this library: plain PyTorch, tensors in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class BiLSTM(nn.Module):
    """Word vectors, an LSTM in each direction, and a linear layer on their last states (Tang et al., 2019)."""

    def __init__(self, words: int, embedding: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, embedding, padding_idx=0)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids (B, L) and their mask (B, L) to logits (B, classes)."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(self.words(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (states, _) = self.lstm(packed)
        return self.head(self.dropout(torch.cat([states[-2], states[-1]], dim=1)))


def bilstm(words: int, classes: int, embedding: int = 64, hidden: int = 64) -> BiLSTM:
    """The factory that the recipe names."""
    return BiLSTM(words, embedding, hidden, classes)
