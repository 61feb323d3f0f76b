"""One recorded case of a published implementation, and how ours is brought to compute the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

Arrays: TypeAlias = dict[str, Tensor]
Numbers: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class GoldenCase:
    """One file of the golden folder.

    Args:
        loss: our loss; with several in one case, the main one.
        call: from the recorded arrays (inputs, parameters and buffers by their recorded names, with gradient where one
            was recorded) and the hyper-parameters to what the source computes. What a source adds around the loss (a
            hard-label term, a weight, a regressor) is put around ours here; nothing here repairs ours.
        deviation: why ours differs from the source on purpose; the test then holds that it does differ, and a test of
            the family shows how. Empty where ours gives the recorded numbers.
        loss_tolerance: relative, in float64.
        gradient_tolerance: share of the largest entry of a recorded gradient.
        zero_gradients: recorded gradients that are zero but for rounding, compared with the largest of the others.
        without_gradient: recorded gradients that are not compared, with the reason beside it in a comment.
    """

    loss: str
    call: Callable[[Arrays, Numbers], Tensor]
    deviation: str = ""
    loss_tolerance: float = 1e-7
    gradient_tolerance: float = 1e-5
    zero_gradients: tuple[str, ...] = ()
    without_gradient: tuple[str, ...] = ()
