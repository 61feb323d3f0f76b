"""Teachers with the same weights for every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmdistill.distill.combinations.combination import Classroom, Combination
from mmdistill.errors import InputError, nearest

if TYPE_CHECKING:
    from tensordict import TensorDict


class _Constant(Combination):
    """A combination whose weights are known when it is built."""

    shares: Tensor

    def __init__(self, classroom: Classroom, options: Any) -> None:
        super().__init__(classroom, options)
        self.register_buffer("shares", self.constant_weights())

    def constant_weights(self) -> Tensor:
        """Not negative, (K,)."""
        raise NotImplementedError

    def weights(
        self,
        task: str,  # noqa: ARG002
        log_probabilities: Tensor,
        batch: TensorDict,  # noqa: ARG002
        outputs: Mapping[str, Tensor],  # noqa: ARG002
    ) -> Tensor:
        """See `Combination`."""
        return self.shares[:, None].expand(log_probabilities.shape[:2])


class Mean(_Constant):
    """Every teacher counts the same (the ensemble of Hinton et al., 2015, section 3)."""

    def constant_weights(self) -> Tensor:
        """(K,), all equal."""
        return torch.ones(len(self.classroom.teachers))


class Fixed(_Constant):
    """Weights from the recipe.

    Raises:
        InputError: when a teacher has no weight, a weight no teacher, or none is above zero.
    """

    def constant_weights(self) -> Tensor:
        """(K,), as the options say."""
        given, names, where = self.options.weights, self.classroom.names, "distill.combine.weights"
        for name in given:
            if name not in names:
                raise InputError(f"There is no teacher {name!r}", where=where, fix=nearest(name, list(names)))
        missing = [name for name in names if name not in given]
        if missing:
            raise InputError(
                f"The teacher {missing[0]!r} has no weight", where=where, fix="Give it one; 0 leaves it out"
            )
        if min(given.values()) < 0 or max(given.values()) == 0:
            raise InputError("Weights are numbers from 0 on, one of them above 0", where=where)
        return torch.tensor([float(given[name]) for name in names])


class ByValidation(_Constant):
    """softmax(score / temperature) of the teachers' scores on the validation rows.

    Raises:
        InputError: when a teacher has no such score.
    """

    reads_scores = True

    def constant_weights(self) -> Tensor:
        """(K,), summing up to 1."""
        scores = []
        for teacher in self.classroom.teachers:
            if teacher.score is None:
                raise InputError(
                    f"The teacher {teacher.name!r} has no validation score",
                    where="distill.combine",
                    fix="Give data.split.validation a fraction above 0, or choose another combination",
                )
            scores.append(teacher.score)
        return torch.softmax(torch.tensor(scores) / self.options.temperature, dim=0)
