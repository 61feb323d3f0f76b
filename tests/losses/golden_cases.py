"""Which recorded case of a published implementation each loss is held to, and how the two are brought together.

A loss that joins adds its files here. What a source computes beside the loss (a hard-label term, a weight of its own)
is put around ours in `combine`; nothing in here changes what ours computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import functional as F

Arrays = dict[str, Tensor]
Numbers = dict[str, Any]


@dataclass(frozen=True)
class GoldenCase:
    """One recorded case.

    Args:
        loss: our loss.
        options: from the case's hyper-parameters to our options.
        combine: from our loss, the inputs and the hyper-parameters to what the source computes.
        options_beside: options that choose the source's form where it is not our default.
    """

    loss: str
    options: dict[str, str] = field(default_factory=dict)
    combine: Callable[[Tensor, Arrays, Numbers], Tensor] = lambda loss, arrays, numbers: loss
    options_beside: dict[str, Any] = field(default_factory=dict)


def _with_cross_entropy(hard: Callable[[float], float]) -> Callable[[Tensor, Arrays, Numbers], Tensor]:
    def combine(loss: Tensor, arrays: Arrays, numbers: Numbers) -> Tensor:
        share = hard(numbers["alpha"])
        return (1 - share) * loss + share * F.cross_entropy(arrays["student_logits"], arrays["target"])

    return combine


GOLDEN: dict[str, GoldenCase] = {
    "kd__kl_t2__s1d": GoldenCase("kd", {"temperature": "temperature"}),
    "kd__kl_plus_ce__s1d": GoldenCase("kd", {"temperature": "temperature"}, _with_cross_entropy(lambda alpha: alpha)),
    "kd__kl_ce_szagoruyko__s1d": GoldenCase("kd", {"T": "temperature"}, _with_cross_entropy(lambda alpha: 1 - alpha)),
    "soft_ce__textbrewer__s1d": GoldenCase(
        "soft_cross_entropy", {"temperature": "temperature"}, options_beside={"scale": "none"}
    ),
    "soft_ce__mmcls__s1d": GoldenCase(
        "soft_cross_entropy", {"temp": "temperature"}, lambda loss, arrays, numbers: numbers["alpha"] * loss
    ),
    "mse_logits__textbrewer__s1d": GoldenCase("mse_logits", {"temperature": "temperature"}),
    "dkd__mdistiller__s1d": GoldenCase("dkd", {"temperature": "temperature", "alpha": "alpha", "beta": "beta"}),
}
