"""Learned projectors from a student's tap to a teacher's of another width; trained with the student, then dropped."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Shape = tuple[int | None, ...]


class Projector(nn.Module):
    """A linear map, or two with a ReLU between, over the channels of a tap.

    On maps (channels first) it is a 1×1 convolution, on tokens it is applied to each of them (Romero et al., 2015,
    FitNets).

    Args:
        inputs: channels of the student's tap.
        outputs: channels of the teacher's tap.
        kind: ``linear``, or ``mlp`` with a hidden layer as wide as the wider of the two.
        channels_first: whether channels are the first axis of a row, as in maps, instead of the last.
    """

    def __init__(
        self, inputs: int, outputs: int, kind: Literal["linear", "mlp"] = "linear", *, channels_first: bool = False
    ) -> None:
        super().__init__()
        self.channels_first = channels_first
        self.project: nn.Module = nn.Linear(inputs, outputs)
        if kind == "mlp":
            hidden = max(inputs, outputs)
            self.project = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, values: Tensor) -> Tensor:
        """(B, …, inputs) → (B, …, outputs), or (B, inputs, …) → (B, outputs, …) with channels first."""
        if not self.channels_first:
            projected: Tensor = self.project(values)
            return projected
        projected = self.project(values.movedim(1, -1))
        return projected.movedim(-1, 1)


def make_projector(
    inputs: int, outputs: int, kind: Literal["linear", "mlp"], *, channels_first: bool, seed: int
) -> Projector:
    """A projector whose first weights depend on `seed` alone and which leaves the process's random state as it was.

    So a student starts from the same weights as its baseline, which has no projectors.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Projector(inputs, outputs, kind, channels_first=channels_first)


def channels_first(tap: str, shape: Shape) -> bool:
    """Whether channels come first in a row of a tap: in maps, and in whatever has three axes or more."""
    return tap.endswith("maps") or len(shape) > 2


def channels(tap: str, shape: Shape) -> int | None:
    """Width of a tap; None when it differs from batch to batch."""
    if not shape:
        return 1
    return shape[0] if channels_first(tap, shape) else shape[-1]
