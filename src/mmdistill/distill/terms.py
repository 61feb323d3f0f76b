"""What a training step says: a loss to go down, and the named parts that it is the sum of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Terms:
    """The loss of a batch and its parts.

    Args:
        total: scalar that the backward pass starts from.
        parts: term → weighted scalar; they sum up to `total`.
        teacher: scalar that is finite if and only if all that the teacher said is, so that a failure can be laid at the
            right door; None without a teacher.
    """

    total: Tensor
    parts: dict[str, Tensor]
    teacher: Tensor | None = None

    @classmethod
    def sum(cls, parts: dict[str, Tensor], teacher: Tensor | None = None) -> Terms:
        """The terms whose total is the sum of the parts, in their order.

        Raises:
            ValueError: when there are no parts.
        """
        if not parts:
            raise ValueError("a step needs at least one loss term")
        first, *others = parts.values()
        total = first
        for other in others:
            total = total + other
        return cls(total, parts, teacher)
