"""Memory fusion network, for sequences that belong together step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.sequences import MemoryOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.masking import masked_softmax, where_true


class MemoryFusion(nn.Module):
    """An LSTM for each column and a memory that is written from how their cells change at each step.

    From Zadeh et al. 2018: with ``c`` the cells of all columns at the last step and this one, an attention over their
    entries keeps those whose change matters, ``ĉ = c ⊙ softmax(D_a c)``; the memory becomes ``γ_1 ⊙ u + γ_2 ⊙ tanh(D_u
    ĉ)`` with gates ``γ_i = σ(D_i [ĉ; u])``. The result is each column's last hidden state and the memory.

    All columns of a row need the same number of steps, and a step of one belongs to the same step of the others. A step
    that is padding changes nothing. A column that a row lacks stays at zero, and its entries are left out of the
    attention; a row with nothing gives zeros. Only tokens are read, not the pooled embeddings. In an exported graph the
    number of steps is that of the example; shorter sequences are padded to it.

    Args:
        dims: width of each column's tokens.
        options: see `MemoryOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MemoryOptions) -> None:
        super().__init__()
        self.columns, self.hidden, self.memory = tuple(dims), options.hidden, options.memory
        self.inputs = ColumnModules({column: nn.Linear(width, 4 * options.hidden) for column, width in dims.items()})
        bound = options.hidden**-0.5
        recurrent = torch.empty(len(dims), options.hidden, 4 * options.hidden)
        self.recurrent = nn.Parameter(recurrent.uniform_(-bound, bound))
        cells = 2 * len(dims) * options.hidden
        self.attend = _two_layers(cells, options.attention, cells, options.dropout)
        self.propose = _two_layers(cells, options.attention, options.memory, options.dropout)
        self.keep = _two_layers(cells + options.memory, options.gates, options.memory, options.dropout)
        self.write = _two_layers(cells + options.memory, options.gates, options.memory, options.dropout)
        self.dim = len(dims) * options.hidden + options.memory

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Fuse.

        Args:
            embeddings: (B, dim) by column; not read.
            tokens: (B, L, dim) by column; where rows lack columns, L may differ. A column without any is absent in
                every row.
            masks: bool (B, L) for the columns whose tokens are padded.
            present: bool (B,) by column.

        Returns:
            (B, M · hidden + memory).

        Raises:
            InputError: when sequences of a row differ in length.
        """
        length = common_length(tokens, masks, present, self.columns)
        drives, steps = [], []
        for column in self.columns:
            own = tokens.get(column)
            if own is None:
                own = embeddings[column].unsqueeze(1).expand(-1, length, -1)
                there = torch.zeros(own.shape[:2], dtype=torch.bool, device=own.device)
            else:
                there = _real_steps(column, tokens, masks, present)
                if own.shape[1] < length:
                    missing = length - own.shape[1]
                    own, there = F.pad(own, (0, 0, 0, missing)), F.pad(there, (0, missing))
            drives.append(self.inputs[column](where_true(there, own)))
            steps.append(there)
        valid = torch.stack(steps, dim=2)
        cells, states = self._run_columns(torch.stack(drives, dim=2), valid)
        return Fused(torch.cat([states, self._run_memory(cells, valid)], dim=1))

    def _run_columns(self, drives: Tensor, valid: Tensor) -> tuple[list[Tensor], Tensor]:
        """The LSTMs of all columns at once.

        Args:
            drives: (B, L, M, 4 · hidden), what the inputs add to the gates.
            valid: bool (B, L, M), the steps that are there.

        Returns:
            The cells (B, M, hidden) before the first step and after each, and the last hidden states (B, M · hidden).
        """
        cell = state = drives.new_zeros(drives.shape[0], len(self.columns), self.hidden)
        cells = [cell]
        for drive, here in zip(drives.unbind(1), valid.unsqueeze(-1).unbind(1), strict=True):
            gates = drive + torch.einsum("bmh,mhg->bmg", state, self.recurrent)
            enter, forget, proposal, out = gates.chunk(4, dim=-1)
            fresh = forget.sigmoid() * cell + enter.sigmoid() * proposal.tanh()
            cell, state = torch.where(here, fresh, cell), torch.where(here, out.sigmoid() * fresh.tanh(), state)
            cells.append(cell)
        return cells, state.flatten(1)

    def _run_memory(self, cells: list[Tensor], valid: Tensor) -> Tensor:
        """The memory (B, memory) after the last step; `cells` as from `_run_columns`."""
        before, after = torch.stack(cells[:-1], dim=1), torch.stack(cells[1:], dim=1)
        both = torch.cat([before, after], dim=2).flatten(2)
        columns = valid.any(1, keepdim=True).repeat(1, 1, 2).repeat_interleave(self.hidden, dim=2)
        attended = masked_softmax(self.attend(both), columns, dim=2) * both
        proposals = self.propose(attended).tanh()
        memory = proposals.new_zeros(proposals.shape[0], self.memory)
        written = valid.any(2, keepdim=True)
        for seen, proposal, here in zip(attended.unbind(1), proposals.unbind(1), written.unbind(1), strict=True):
            beside = torch.cat([seen, memory], dim=1)
            fresh = self.keep(beside).sigmoid() * memory + self.write(beside).sigmoid() * proposal
            memory = torch.where(here, fresh, memory)
        return memory


def common_length(
    tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], present: Mapping[str, Tensor], columns: Sequence[str]
) -> int:
    """The number of steps of the longest of the columns' sequences; 1, which is then padding, without any.

    A column that the longest rows of a batch lack is padded to fewer steps than the others. Only then are the lengths
    of each row looked at, for which the host waits.

    Raises:
        InputError: when those of a row differ.
    """
    lengths = {column: tokens[column].shape[1] for column in columns if column in tokens}
    if not lengths:
        return 1
    first, length = next(iter(lengths.items()))
    for column, other in lengths.items():
        if other != length and not _agree(tokens, masks, present, list(lengths)):
            raise InputError(
                f"The fusion 'memory' needs sequences of equal length: {first!r} has {length} steps in this batch, "
                f"{column!r} has {other}",
                where="fusion",
                fix="Prepare the columns step by step, so that a row's sequences have equally many steps, or choose a "
                "fusion such as cross_attention that does without",
            )
    return max(lengths.values())


def _agree(
    tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], present: Mapping[str, Tensor], columns: Sequence[str]
) -> bool:
    """Whether in every row the sequences that have any steps have equally many."""
    counts = torch.stack([_real_steps(column, tokens, masks, present).sum(1) for column in columns], dim=1)
    longest = counts.amax(1, keepdim=True)
    return bool(((counts == 0) | (counts == longest)).all())


def _real_steps(
    column: str, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], present: Mapping[str, Tensor]
) -> Tensor:
    """Bool (B, L): which of a column's steps are there."""
    there = present[column].unsqueeze(1).expand(tokens[column].shape[:2])
    return there & masks[column] if column in masks else there


def _two_layers(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))
