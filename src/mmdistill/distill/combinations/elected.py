"""For each column, the teacher that knows it best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmdistill.distill.combinations.combination import Classroom, Combination, Teaching, tap_of
from mmdistill.errors import InputError
from mmdistill.losses.module import Shape

if TYPE_CHECKING:
    from tensordict import TensorDict


class Elected(Combination):
    """Each column of the student elects the best teacher that reads it; a teacher's weight is its number of columns.

    The elected teacher's embedding of a column is given as the tap `<column>`, so that losses between the embeddings of
    a column find the teacher that knows it. Among teachers of equal score the one of fewer columns is elected, then the
    first.

    Raises:
        InputError: when no teacher reads a column of the student, or scores are missing.
    """

    reads_scores = True
    shares: Tensor

    def __init__(self, classroom: Classroom, options: Any) -> None:
        super().__init__(classroom, options)
        self.elected = {column: _best(column, classroom) for column in classroom.student_columns}
        votes = [sum(one.name == name for one in self.elected.values()) for name in classroom.names]
        self.register_buffer("shares", torch.tensor(votes, dtype=torch.float32))

    @property
    def taps(self) -> dict[str, Shape]:
        """See `Combination`; with the embeddings of the columns."""
        columns = {column: one.taps[column] for column, one in self.elected.items() if column in one.taps}
        return {**super().taps, **columns}

    def needs(self, teacher: str) -> set[str]:
        """See `Combination`; with the columns that elected the teacher."""
        columns = {column for column, one in self.elected.items() if one.name == teacher and column in one.taps}
        return super().needs(teacher) | columns

    def weights(
        self,
        task: str,  # noqa: ARG002
        log_probabilities: Tensor,
        batch: TensorDict,  # noqa: ARG002
        outputs: Mapping[str, Tensor],  # noqa: ARG002
    ) -> Tensor:
        """See `Combination`."""
        return self.shares[:, None].expand(log_probabilities.shape[:2])

    def forward(
        self, batch: TensorDict, outputs: Mapping[str, Tensor], signals: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See `Combination`; with the embeddings of the columns."""
        said, losses = super().forward(batch, outputs, signals)
        for column, teacher in self.elected.items():
            if column in teacher.taps:
                said[column] = signals[tap_of(teacher.name, column)]
        return said, losses


def _best(column: str, classroom: Classroom) -> Teaching:
    candidates = [one for one in classroom.teachers if column in one.columns]
    if not candidates:
        raise InputError(
            f"No teacher reads the column {column!r}, so it cannot elect one",
            where="distill.combine",
            fix="Add a teacher that reads it, or choose another combination",
        )
    if any(one.score is None for one in candidates) and len(candidates) > 1:
        raise InputError(
            "Teachers are elected by their validation scores, and there are none",
            where="distill.combine",
            fix="Give data.split.validation a fraction above 0, or choose another combination",
        )
    return max(candidates, key=lambda one: (one.score or 0.0, -len(one.columns)))
