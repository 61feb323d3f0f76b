"""Modality dropout: hide columns of a row while training, so that a model learns to do without them.

Neverova et al., 2016, "ModDrop: adaptive multi-modal gesture recognition", with one coin for each row and column and
never a row with nothing left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmdistill.data.modality_dropouts.catalog import IndependentOptions
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.data.modality_dropouts.spared import shown_of
from mmdistill.data.modality_dropouts.stacking import by_column, stacked
from mmdistill.data.views import uniform


def drop(
    present: Mapping[str, Tensor], seed: int, rows: Tensor, views: Tensor | int, probability: float
) -> dict[str, Tensor]:
    """Which columns of each row stay.

    Each column that a row has is hidden with `probability`, independently; where all would go, one of them, drawn
    uniformly, stays. So of K columns a row keeps all with chance (1 - p)^K, and p is the chance of hiding a column
    but for that repair. A pure function of its arguments: the batch does not matter, nor the order of the columns.

    Args:
        present: column to bool (B,): which columns each row has. It is not changed.
        seed: of the run.
        rows: int64 (B,), row numbers.
        views: int64 (B,) or one number, which must change each time that a row is shown; ``batch["view"]`` does only
            when something is augmented, the number of the step always does.
        probability: chance of hiding a column, in [0, 1).

    Returns:
        column to bool (B,). A row that has nothing has nothing still.
    """
    if not 0 <= probability < 1:
        raise ValueError(f"probability is {probability}, not in [0, 1)")
    if probability == 0 or len(present) < 2:
        return dict(present)
    had = stacked(present)
    draws = uniform(seed, rows, views, "modality dropout", (had.shape[1],))
    return by_column(shown_of(had, draws, probability), present)


class Independent(ModalityDropout):
    """One coin for each row and column; see `drop`.

    Args:
        columns: see `ModalityDropout`.
        options: see `IndependentOptions`.
        seed: see `ModalityDropout`.
        total_steps: see `ModalityDropout`.
    """

    def __init__(self, columns: Sequence[str], options: IndependentOptions, *, seed: int, total_steps: int) -> None:
        super().__init__(columns, seed=seed, total_steps=total_steps)
        self.probability = options.probability

    def forward(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> dict[str, Tensor]:
        """See `drop`, with the step as the view."""
        return drop(present, self.seed, rows, step, self.probability)
