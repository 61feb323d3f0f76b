"""The loss on the targets, from a name or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.tasks.cross_entropy import CrossEntropy

CROSS_ENTROPY = "cross_entropy"


class FunctionLoss(nn.Module):
    """A function of outputs and targets as a supervised loss.

    Args:
        function: gives a scalar; a module is trained, moved and saved with the objective.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        labelled: Tensor,  # noqa: ARG002  the function leaves out what it wants to
        mixed: Mapping[str, Any] | None = None,  # noqa: ARG002  loaders of one's own mix nothing
    ) -> Tensor:
        """The loss of a batch, a scalar."""
        return self.function(logits, target)


def supervised_loss(loss: str | Callable[[Tensor, Tensor], Tensor] | None) -> nn.Module:
    """The loss on the targets; cross-entropy also where it will have no weight.

    Raises:
        InputError: when the name is unknown.
    """
    if loss is None or loss == CROSS_ENTROPY:
        return CrossEntropy()
    if isinstance(loss, str) or not callable(loss):
        raise InputError(
            f"There is no supervised loss {loss!r}",
            where="supervised",
            fix="Write cross_entropy, a function of outputs and targets, or None",
        )
    return FunctionLoss(loss)
