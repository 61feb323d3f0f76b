"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.logits`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "kd": [{"temperature": 1.0}],
    "soft_cross_entropy": [{"temperature": 1.0}, {"temperature": 3.0, "scale": "none"}],
    "mse_logits": [{"temperature": 2.0}, {"reduction": "half_sum"}],
    "dkd": [{"temperature": 1.0, "alpha": 0.5, "beta": 2.0}, {"alpha": 0.0}, {"beta": 0.0}],
}

INPUTS: Inputs = {}


def _kd(name: str, hard: Callable[[float], float] | None = None) -> Callable[[Arrays, Numbers], Tensor]:
    """kd, beside the hard-label term that a source adds to it: its share of the sum as a function of its alpha."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        soft = functional.kd(arrays["student_logits"], arrays["teacher_logits"], temperature=numbers[name])
        if hard is None:
            return soft
        share = hard(numbers["alpha"])
        return (1 - share) * soft + share * F.cross_entropy(arrays["student_logits"], arrays["target"])

    return call


GOLDEN: dict[str, GoldenCase] = {
    "kd__kl_t2__s1d": GoldenCase("kd", _kd("temperature")),
    "kd__kl_plus_ce__s1d": GoldenCase("kd", _kd("temperature", lambda alpha: alpha)),
    "kd__kl_ce_szagoruyko__s1d": GoldenCase("kd", _kd("T", lambda alpha: 1 - alpha)),
    "soft_ce__textbrewer__s1d": GoldenCase(
        "soft_cross_entropy",
        lambda arrays, numbers: functional.soft_cross_entropy(
            arrays["student_logits"], arrays["teacher_logits"], temperature=numbers["temperature"], scale="none"
        ),
    ),
    "soft_ce__mmcls__s1d": GoldenCase(
        "soft_cross_entropy",
        lambda arrays, numbers: (
            numbers["alpha"]
            * functional.soft_cross_entropy(
                arrays["student_logits"], arrays["teacher_logits"], temperature=numbers["temp"]
            )
        ),
    ),
    "mse_logits__textbrewer__s1d": GoldenCase(
        "mse_logits",
        lambda arrays, numbers: functional.mse_logits(
            arrays["student_logits"], arrays["teacher_logits"], temperature=numbers["temperature"]
        ),
    ),
    "dkd__mdistiller__s1d": GoldenCase(
        "dkd",
        lambda arrays, numbers: functional.dkd(
            arrays["student_logits"],
            arrays["teacher_logits"],
            arrays["target"],
            temperature=numbers["temperature"],
            alpha=numbers["alpha"],
            beta=numbers["beta"],
        ),
    ),
}
