"""The tokens of every column in one width: what fusions by attention attend to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.masking import where_true


class Sequences(NamedTuple):
    """A sequence a column, in the order of the columns.

    Args:
        tokens: (B, 1 + L, dim) for each column, the pooled one first; finite where masked.
        masks: bool (B, 1 + L) for each column.
    """

    tokens: list[Tensor]
    masks: list[Tensor]


class ColumnTokens(nn.Module):
    """Each column as its pooled embedding followed by its tokens, projected to a common width.

    A learned vector tells the columns apart (the modality-type embedding of ViLT, Kim et al., ICML 2021), another the
    pooled token from the rest. The pooled token is there also where a column has tokens, as a class token is: encoders
    put into it what no single token holds, their pooling is trained through it, and a row with an empty text still
    says that it is empty. A column without tokens is that one token. Positions are not added: encoders have seen them,
    through positional vectors, recurrence or convolution.

    Args:
        dims: width of each column's embedding and tokens.
        dim: the common width.
    """

    def __init__(self, dims: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.columns = tuple(dims)
        self.project = ColumnModules({column: nn.Linear(width, dim) for column, width in dims.items()})
        self.column = nn.Parameter(torch.randn(len(dims), dim) * dim**-0.5)
        self.pooled = nn.Parameter(torch.randn(dim) * dim**-0.5)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Sequences:
        """What every fusion is given (see `Fused`'s producers) to a sequence a column.

        Args:
            embeddings: (B, width) by column.
            tokens: (B, L, width) for the columns that have them.
            masks: bool (B, L) for the columns whose tokens are padded.
            present: bool (B,) by column. All of a column is masked in the rows that lack it.
        """
        sequences = Sequences([], [])
        for column, project, learned in zip(self.columns, self._projections(), self.column, strict=True):
            there = present[column].unsqueeze(1)
            sequence = project(where_true(present[column], embeddings[column])).unsqueeze(1) + (learned + self.pooled)
            mask = there
            if column in tokens:
                own = there.expand(tokens[column].shape[:2])
                own = own & masks[column] if column in masks else own
                sequence = torch.cat([sequence, project(where_true(own, tokens[column])) + learned], dim=1)
                mask = torch.cat([there, own], dim=1)
            sequences.tokens.append(sequence)
            sequences.masks.append(mask)
        return sequences

    def labels(self, lengths: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
        """The name of each column, once for each position of its sequence; `lengths` counts its tokens."""
        return {column: (column,) * (1 + lengths.get(column, 0)) for column in self.columns}

    def _projections(self) -> list[nn.Module]:
        return [self.project[column] for column in self.columns]
