"""The state of losses that learn: asking for what `DistillationLoss.build` makes."""

from __future__ import annotations

from torch import nn

from mmdistill.errors import InputError


def require_built(loss: nn.Module, part: str) -> None:
    """Require that `build` has made a part of a loss.

    Raises:
        InputError: when it has not.
    """
    if not hasattr(loss, part):
        raise InputError(
            f"{type(loss).__name__} is not built yet: it has no {part}",
            fix="Call build once, before the first step, and give its parameters to the optimiser",
        )
