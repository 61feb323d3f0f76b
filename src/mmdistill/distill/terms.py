"""What a training step says: a loss to go down, and the named parts that it is the sum of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Terms:
    """The loss of a batch and its parts.

    Args:
        total: scalar that the model is to make small.
        parts: term → weighted scalar; they sum up to `total`.
        teacher: scalar that is finite if and only if all that the teacher said is, so that a failure can be laid at the
            right door; None without a teacher.
        beside: name → scalar that something beside the model learns from, such as a probe. It has no part in `total`,
            and no gradient into the model.
    """

    total: Tensor
    parts: dict[str, Tensor]
    teacher: Tensor | None = None
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def everything(self) -> Tensor:
        """The scalar that the backward pass starts from: the total and all that is learnt beside it."""
        whole = self.total
        for other in self.beside.values():
            whole = whole + other
        return whole

    def with_beside(self, beside: Mapping[str, Tensor]) -> Terms:
        """The same terms with scalars that something beside the model learns from."""
        return replace(self, beside=beside)

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
