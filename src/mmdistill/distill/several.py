"""What several teachers say about a batch, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdistill.distill.combinations.combination import tap_of
from mmdistill.distill.signals import PRESENT, Signals

if TYPE_CHECKING:
    from tensordict import TensorDict


class SeveralTeachers:
    """The signals of several teachers, each tap as `<teacher>:<tap>`.

    A row counts when any of them has seen anything of it.

    Args:
        sources: teacher → its signals.
    """

    def __init__(self, sources: Mapping[str, Signals]) -> None:
        self.sources = dict(sources)

    def __call__(self, batch: TensorDict) -> dict[str, Tensor]:
        """See `Signals`."""
        return side_by_side({name: source(batch) for name, source in self.sources.items()})


def side_by_side(said: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Teacher → its taps, as one mapping of `<teacher>:<tap>`."""
    together = {tap_of(name, tap): value for name, taps in said.items() for tap, value in taps.items()}
    flags = [taps[PRESENT] for taps in said.values() if PRESENT in taps]
    if len(flags) == len(said):
        together[PRESENT] = torch.stack(flags).any(dim=0)
    return together
