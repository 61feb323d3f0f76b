"""Several teachers as one: the mean of their probabilities under weights that each combination chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.distill.signals import PRESENT
from mmdistill.distill.term import BETWEEN
from mmdistill.errors import InputError
from mmdistill.losses.module import Shape
from mmdistill.losses.precision import widen

if TYPE_CHECKING:
    from tensordict import TensorDict


@dataclass(frozen=True)
class Teaching:
    """What a combination may know about one of the teachers.

    Args:
        name: of the teacher.
        taps: its taps with their shapes per row.
        columns: that it reads.
        score: on the validation rows, higher when better; None where nothing was validated.
    """

    name: str
    taps: Mapping[str, Shape]
    columns: tuple[str, ...]
    score: float | None = None


@dataclass(frozen=True)
class Classroom:
    """What there is to combine, and for whom.

    Args:
        teachers: at least two.
        logits: task → tap of its logits.
        student_taps: the student's taps with their shapes per row.
        student_columns: that the student reads.
        seed: of first weights.
    """

    teachers: tuple[Teaching, ...]
    logits: Mapping[str, str]
    student_taps: Mapping[str, Shape]
    student_columns: tuple[str, ...] = ()
    seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the teachers."""
        return tuple(one.name for one in self.teachers)


def tap_of(teacher: str, tap: str) -> str:
    """How a tap is called where there are several teachers: `<teacher>:<tap>`."""
    return f"{teacher}{BETWEEN}{tap}"


class Combination(nn.Module):
    """Gives the logits that stand for all teachers: log Σ wₖ · softmax(zₖ).

    The mean is taken of probabilities, not of logits, so that a teacher with larger logits does not count for more. The
    result is normalised log-probabilities, which a loss softens with its own temperature as it does with logits.

    Args:
        classroom: teachers and student.
        options: of the combination.

    Raises:
        InputError: when the teachers do not have the same outputs.
    """

    reads_scores = False
    """Whether the teachers' validation scores count; where they do not, they need not be known."""

    def __init__(self, classroom: Classroom, options: Any) -> None:
        super().__init__()
        self.classroom, self.options = classroom, options
        _same_outputs(classroom)

    @property
    def taps(self) -> dict[str, Shape]:
        """The taps that it gives beside the teachers' own, with their shapes per row."""
        first = self.classroom.teachers[0].taps
        return {tap: first[tap] for tap in self.classroom.logits.values()}

    def needs(self, teacher: str) -> set[str]:  # noqa: ARG002  a combination may need other taps of each teacher
        """The taps that it reads of a teacher."""
        return set(self.classroom.logits.values())

    def weights(self, task: str, log_probabilities: Tensor, batch: TensorDict, outputs: Mapping[str, Tensor]) -> Tensor:
        """What each teacher counts.

        Args:
            task: name of the task.
            log_probabilities: (K, B, …, C), one for each teacher.
            batch: of the loader.
            outputs: the student's taps.

        Returns:
            Not negative, (K, B); what they sum up to does not matter.
        """
        raise NotImplementedError

    def losses(self, batch: TensorDict, chosen: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:  # noqa: ARG002
        """What the combination itself learns from, by name: nothing, unless it has something to learn.

        Args:
            batch: of the loader.
            chosen: task → weights (K, B) that sum up to 1 and log-probabilities (K, B, …, C).
        """
        return {}

    def forward(
        self, batch: TensorDict, outputs: Mapping[str, Tensor], signals: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Signals with the combined taps, and the weighted losses of the combination itself."""
        said, chosen = dict(signals), {}
        for task, tap in self.classroom.logits.items():
            logits = [widen(signals[tap_of(name, tap)]) for name in self.classroom.names]
            log_probabilities = F.log_softmax(torch.stack(logits), dim=-1)
            weights = self.weights(task, log_probabilities, batch, outputs)
            weights = _normalised(weights, _seen(self.classroom.names, signals, weights))
            said[tap] = _mixture(weights.detach(), log_probabilities)
            chosen[task] = weights, log_probabilities
        return said, self.losses(batch, chosen)


def _mixture(weights: Tensor, log_probabilities: Tensor) -> Tensor:
    """log Σ wₖ pₖ over the first dimension."""
    shape = (*weights.shape, *[1] * (log_probabilities.dim() - 2))
    # Finite, so that a weight of zero times a probability of zero is not NaN.
    log_weights = weights.clamp_min(torch.finfo(weights.dtype).tiny).log().view(shape)
    return torch.logsumexp(log_weights + log_probabilities, dim=0)


def _seen(names: Sequence[str], signals: Mapping[str, Tensor], like: Tensor) -> Tensor | None:
    """(K, B): which teachers have seen anything of a row; None when all have of all."""
    flags = [signals.get(tap_of(name, PRESENT)) for name in names]
    if all(flag is None for flag in flags):
        return None
    every = torch.ones_like(like[0], dtype=torch.bool)
    return torch.stack([every if flag is None else flag for flag in flags])


def _normalised(weights: Tensor, seen: Tensor | None) -> Tensor:
    """Weights that sum up to 1 over the teachers that have seen the row; equal ones where none has."""
    if seen is not None:
        weights = weights * seen
    total = weights.sum(dim=0, keepdim=True)
    return torch.where(total > 0, weights / torch.where(total > 0, total, 1), 1 / len(weights))


def _same_outputs(classroom: Classroom) -> None:
    first = classroom.teachers[0]
    for tap in classroom.logits.values():
        for teacher in classroom.teachers:
            if tap not in teacher.taps:
                raise InputError(
                    f"The teacher {teacher.name!r} has no tap {tap!r}, so it has no say in the logits",
                    where="distill.combine",
                    fix="Name the teachers of each student with `teacher`",
                )
            mine, theirs = first.taps[tap], teacher.taps[tap]
            if mine[-1:] != theirs[-1:]:
                raise InputError(
                    f"The teachers {first.name!r} and {teacher.name!r} have {mine[-1]} and {theirs[-1]} outputs",
                    where="distill.combine",
                    fix="Combine teachers of the same classes",
                )
