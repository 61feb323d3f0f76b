"""How large a teacher's outputs are for a batch, where they grow with what the batch is padded to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmdistill.distill.signals import LiveTeacher

if TYPE_CHECKING:
    import torch
    from tensordict import TensorDict

    from mmdistill.models.any_model import AnyModel

Size = tuple[int, ...]


class PaddedSizes:
    """The sizes that some taps of a teacher would have, row by row, if it were shown a batch.

    Stored outputs are padded to the longest row of all, those of a student to the longest row of its batch. Position
    for position they go together only at the size that the teacher gives for that batch. No rule says what it is for
    any model (strides, special tokens, a model of the user), but it depends on the padded features alone: so the
    teacher is shown one row of the batch, once for all batches that are padded alike.

    Args:
        teacher: a finished model.
        taps: outputs of variable size.
        device: where batches are.
    """

    def __init__(self, teacher: AnyModel, taps: Iterable[str], device: torch.device | str = "cpu") -> None:
        self._features = teacher.feature_names
        self._teacher = LiveTeacher(teacher, taps).to(device)
        self._known: dict[tuple[Size, ...], dict[str, Size]] = {}

    def __call__(self, batch: TensorDict) -> dict[str, Size]:
        """Tap → size of a row. Only shapes are read, so that nothing waits for the device."""
        held = batch["features"]
        padded = tuple(tuple(array.shape[1:]) for name in self._features for array in held[name].values())
        if padded not in self._known:
            self._known[padded] = {tap: tuple(value.shape[1:]) for tap, value in self._teacher(batch[:1]).items()}
        return self._known[padded]
