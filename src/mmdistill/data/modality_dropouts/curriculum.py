"""Modality dropout that begins with complete rows and hides more and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmdistill.data.modality_dropouts.catalog import CurriculumOptions
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.data.modality_dropouts.independent import drop


class Curriculum(ModalityDropout):
    """`independent` with a chance that rises in a straight line and then stays.

    Args:
        columns: see `ModalityDropout`.
        options: see `CurriculumOptions`.
        seed: see `ModalityDropout`.
        total_steps: see `ModalityDropout`.
    """

    def __init__(self, columns: Sequence[str], options: CurriculumOptions, *, seed: int, total_steps: int) -> None:
        super().__init__(columns, seed=seed, total_steps=total_steps)
        self.start, self.end = options.start, options.end
        self.rising_steps = options.share * total_steps

    def probability(self, step: int) -> float:
        """Chance of hiding a column at an optimiser step, counted from 0."""
        return self.start + (self.end - self.start) * min(1.0, step / self.rising_steps)

    def forward(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> dict[str, Tensor]:
        """See `drop`, with the step as the view."""
        return drop(present, self.seed, rows, step, self.probability(step))
