"""Recurrent layers over padded sequences without packing.

Packing needs the lengths on the host and so a wait for the device in every step. A forward layer needs no lengths at
all: what follows a sequence cannot reach back into it. A backward layer gets each sequence reversed within its own
length by one gather.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

_CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


def reverse_within(values: Tensor, mask: Tensor) -> Tensor:
    """Each row reversed within its own length; padding stays where it is. Its own inverse.

    Args:
        values: (B, L, D).
        mask: bool (B, L), true on the first positions of each row.
    """
    positions = torch.arange(values.shape[1], device=values.device)
    lengths = mask.sum(1, keepdim=True)
    source = torch.where(positions < lengths, lengths - 1 - positions, positions)
    return values.gather(1, source.unsqueeze(-1).expand_as(values))


class Recurrent(nn.Module):
    """LSTM or GRU layers, forward or in both directions.

    Args:
        cell: ``lstm`` or ``gru``.
        inputs: width of the input.
        hidden: width of each direction.
        layers: number of layers.
        bidirectional: add a layer that reads backwards and concatenate the two.
        dropout: between layers, while training.
    """

    def __init__(
        self,
        cell: Literal["lstm", "gru"],
        inputs: int,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = hidden * (2 if bidirectional else 1)
        widths = [inputs] + [self.dim] * (layers - 1)
        self.ahead = nn.ModuleList(_CELLS[cell](width, hidden, batch_first=True) for width in widths)
        self.back = nn.ModuleList(
            _CELLS[cell](width, hidden, batch_first=True) for width in (widths if bidirectional else [])
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Outputs (B, L, dim) of the last layer; those at masked positions mean nothing.

        Args:
            values: (B, L, inputs).
            mask: bool (B, L), true on the first positions of each row.
        """
        for index, layer in enumerate(self.ahead):
            if index:
                values = self.dropout(values)
            outputs = layer(values)[0]
            if self.back:
                reverse = self.back[index](reverse_within(values, mask))[0]
                outputs = torch.cat([outputs, reverse_within(reverse, mask)], dim=-1)
            values = outputs
        return values


def last_state(outputs: Tensor, mask: Tensor, bidirectional: bool) -> Tensor:
    """What each direction holds when it has read the whole row.

    Args:
        outputs: (B, L, D) of a `Recurrent`.
        mask: bool (B, L), true on the first positions of each row.
        bidirectional: whether the second half of D read backwards, and so ends at position 0.

    Returns:
        (B, D); the outputs at position 0 for an empty row.
    """
    last = (mask.sum(1) - 1).clamp(min=0)
    end = outputs.gather(1, last[:, None, None].expand(-1, 1, outputs.shape[-1])).squeeze(1)
    if not bidirectional:
        return end
    half = outputs.shape[-1] // 2
    return torch.cat([end[:, :half], outputs[:, 0, half:]], dim=-1)
