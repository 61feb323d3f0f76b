"""Alternating unimodal adaptation: one column at a time.

Zhang, Yoon, Bansal, Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation", CVPR 2024,
arXiv:2311.10707.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.distill.terms import Terms
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.options import AlternatingOptions


def column_of_step(step: int, columns: int, joint_every: int) -> int | None:
    """Which column a step is about, counted from 0; None when about all.

    Args:
        step: counted from 0.
        columns: how many there are.
        joint_every: every so many steps is about all columns; 0: none.
    """
    if joint_every and (step + 1) % joint_every == 0:
        return None
    alone = step - (step // joint_every if joint_every else 0)
    return alone % columns


def without_direction(projector: Tensor, mean: Tensor, regularisation: float) -> Tensor:
    """A projector that takes out one direction more: P − P h hᵀ P / (α + hᵀ P h).

    Args:
        projector: (D, D), symmetric; the identity at first.
        mean: (D,), the mean input h of a step.
        regularisation: α > 0.
    """
    along = projector @ mean
    return projector - torch.outer(along, along) / (regularisation + mean @ along)


class Alternating(ModalityBalance):
    """Shows the model one column at a time, and all of them now and then.

    A row that lacks the column whose turn it is is shown what it has: nothing at all would teach the heads nothing but
    how common the classes are. With `orthogonal`, the gradient of a linear head is projected away from the mean inputs
    that the head had at earlier steps, so that one column does not overwrite what the head has learnt of another. The
    head reads `fused`, which all columns share. The paper joins the columns only when a prediction is wanted, by the
    entropies of their answers; here the model's own fusion does it, and joint steps train that.

    Args:
        training: of a model of several columns.
        options: see `AlternatingOptions`.
    """

    def __init__(self, training: Training, options: AlternatingOptions) -> None:
        super().__init__(training)
        self.options = options
        heads = [one for _, one in training.model.heads.items() if isinstance(one, nn.Linear)]
        self._heads = tuple(heads) if options.orthogonal else ()
        self.projector: Tensor | None
        self.register_buffer("projector", torch.eye(heads[0].in_features) if self._heads else None)
        self._mean: Tensor | None = None
        self._batches = 0

    def shown(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """See `ModalityBalance`."""
        index = column_of_step(step, len(self.columns), self.options.joint_every)
        if index is None:
            return present
        chosen = self.columns[index]
        lacking = ~present[chosen]
        return {one: there if one == chosen else there & lacking for one, there in present.items()}

    @torch.no_grad()
    def terms(
        self,
        batch: TensorDict,  # noqa: ARG002
        outputs: Mapping[str, Tensor],
        signals: Mapping[str, Tensor],  # noqa: ARG002
        terms: Terms,
        step: int,
    ) -> Terms:
        """See `ModalityBalance`; takes note of what the heads read."""
        if self._heads and column_of_step(step, len(self.columns), self.options.joint_every) is not None:
            mean = outputs["fused"].detach().float().mean(dim=0)
            self._mean = mean if self._mean is None else self._mean + mean
            self._batches += 1
        return terms

    @torch.no_grad()
    def after_backward(self, step: int) -> None:  # noqa: ARG002
        """See `ModalityBalance`; joint steps are left as they are."""
        mean, batches = self._mean, self._batches
        self._mean, self._batches = None, 0
        if mean is None:
            return
        assert self.projector is not None
        for head in self._heads:
            if head.weight.grad is not None:
                head.weight.grad.copy_(head.weight.grad @ self.projector.to(head.weight.grad.dtype))
        self.projector.copy_(without_direction(self.projector, mean / batches, self.options.regularisation))
