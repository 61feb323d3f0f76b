"""A student that teaches itself: the moving average of its own weights.

Tarvainen, Valpola, "Mean Teachers Are Better Role Models", NIPS 2017, arXiv:1703.01780, section 2.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.distill.signals import LiveTeacher

if TYPE_CHECKING:
    from tensordict import TensorDict


class OwnPast(nn.Module):
    """The average of a model's weights over its steps, as a teacher in evaluation mode.

    It is part of the phase, so that a checkpoint holds it; its parameters ask for no gradient.

    Args:
        model: what is followed; the average starts from a copy of it.
        taps: outputs wanted.
        decay: share of the average kept at each step, at most (1 + step) / (10 + step), so that the first weights are
            forgotten soon.
        columns: the columns that it reads, where a row may lack all of them.
    """

    def __init__(self, model: nn.Module, taps: Iterable[str], decay: float, columns: Collection[str] = ()) -> None:
        super().__init__()
        self.teacher = LiveTeacher(copy.deepcopy(model), taps, columns)
        self.decay = decay

    def forward(self, batch: TensorDict) -> dict[str, Tensor]:
        """See `Signals`."""
        said: dict[str, Tensor] = self.teacher(batch)
        return said

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Move towards the model after its optimiser step number `step`, counted from 1."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.teacher.model.state_dict(keep_vars=True), model.state_dict(keep_vars=True)
        once = {id(value): name for name, value in mine.items()}.values()  # tied weights have several names
        averaged = [name for name in once if theirs[name].is_floating_point()]
        torch._foreach_lerp_([mine[name].data for name in averaged], [theirs[name].data for name in averaged], share)
        for name in set(once).difference(averaged):  # counters, such as the batches that a norm has seen
            mine[name].copy_(theirs[name])
