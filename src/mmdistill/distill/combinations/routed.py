"""Teachers chosen for each row by a learned router.

A mixture of experts whose experts are the teachers: the gate of Shazeer et al., "Outrageously Large Neural Networks",
ICLR 2017, arXiv:1701.06538, with the load-balancing term of Fedus, Zoph, Shazeer, "Switch Transformers", JMLR 2022,
arXiv:2101.03961, equations 4 to 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmdistill.distill.combinations.combination import Classroom, Combination
from mmdistill.errors import InputError

if TYPE_CHECKING:
    from tensordict import TensorDict

NAME = "router"


class Routed(Combination):
    """A small network reads the student's `fused`, without sending gradient into it, and gives the teachers' weights.

    The router cannot learn from the distillation losses, which hold what teachers say as given: it would choose the
    teacher that is easiest to agree with. It learns from the targets: the cross-entropy of the weighted mixture, on
    rows that have one. The balance term K · Σ fₖ · Pₖ (share of rows for which teacher k is first, times its mean
    weight) is 1 when all are used alike and up to K when one is used alone.

    Raises:
        InputError: when the student has no `fused`.
    """

    def __init__(self, classroom: Classroom, options: Any) -> None:
        super().__init__(classroom, options)
        shape = classroom.student_taps.get("fused")
        if shape is None or len(shape) != 1 or shape[0] is None:
            raise InputError(
                "The router reads the student's `fused`, one vector a row, and this student has none",
                where="distill.combine",
                fix="Name that tap of the custom model `fused`, or choose another combination",
            )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(classroom.seed)
            self.router = nn.Sequential(
                nn.Linear(shape[0], options.hidden), nn.ReLU(), nn.Linear(options.hidden, len(classroom.teachers))
            )

    def weights(
        self,
        task: str,  # noqa: ARG002
        log_probabilities: Tensor,  # noqa: ARG002
        batch: TensorDict,  # noqa: ARG002
        outputs: Mapping[str, Tensor],
    ) -> Tensor:
        """See `Combination`; one choice for all tasks."""
        return torch.softmax(self.router(outputs["fused"].detach()).float(), dim=-1).T

    def losses(self, batch: TensorDict, chosen: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """`router`: what it learns from the targets, and the balance."""
        total: Tensor | None = None
        for task, (weights, log_probabilities) in chosen.items():
            value = self._cross_entropy(task, weights, log_probabilities, batch) * self.options.weight
            total = value if total is None else total + value
        weights = next(iter(chosen.values()))[0]
        assert total is not None
        return {NAME: total + self.options.balance * balance(weights)}

    def _cross_entropy(self, task: str, weights: Tensor, log_probabilities: Tensor, batch: TensorDict) -> Tensor:
        target, labelled = batch["target"][task], batch["labelled"][task]
        if target.is_floating_point() or target.shape != log_probabilities.shape[1:-1]:
            return weights.sum() * 0
        known = labelled.view(-1, *[1] * (target.dim() - 1)) & (target >= 0)
        index = target.clamp(min=0).expand(log_probabilities.shape[:-1]).unsqueeze(-1)
        right = log_probabilities.gather(-1, index).squeeze(-1)
        tiny = torch.finfo(weights.dtype).tiny
        log_weights = weights.clamp_min(tiny).log().view(*weights.shape, *[1] * (right.dim() - 2))
        error = -torch.logsumexp(log_weights + right, dim=0)
        return (error * known).sum() / known.sum().clamp_min(1)


def balance(weights: Tensor) -> Tensor:
    """K · Σ fₖ · Pₖ for weights (K, B) that sum up to 1: 1 when teachers are used alike, K when one is used alone."""
    teachers = weights.shape[0]
    first = nn.functional.one_hot(weights.argmax(dim=0), teachers).to(weights.dtype).mean(dim=0)
    return teachers * (first * weights.mean(dim=1)).sum()
