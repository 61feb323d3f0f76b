"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.structured_logits`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from mmdistill.losses.gradient_reversal import reverse_gradient
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "mlld": [
        {"temperatures": (4.0,), "instance_weight": 0.0},
        {"temperatures": (1.0, 2.0), "batch_weight": 0.0, "class_weight": 0.0},
        {"standardise": True, "batch_weight": 10.0},
        {"selection": "published"},
    ],
    "ofa": [{"gamma": 1.0}, {"temperature": 2.0}, {"others": "raised"}],
    "listwise_kd": [
        {"form": "plackett_luce"},
        {"form": "list_net", "temperature": 2.0},
        {"top": 2},
        {"form": "plackett_luce", "top": 3, "temperature": 2.0},
    ],
    "batch_listwise_kd": [{"form": "plackett_luce"}, {"form": "list_net", "temperature": 2.0}, {"top": 2}],
    "pld": [{"temperature": 3.0}],
    "ctkd": [{"form": "instance", "hidden": 8}, {"lowest": 2.0, "span": 4.0, "strength": 0.0}],
}

INPUTS: Inputs = {}


def _mlld(standardise: bool) -> GoldenCase:
    """The authors' trainer: the weak view, then the strong one at three temperatures and the weak one at two."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        weak = (arrays["student_logits_weak"], arrays["teacher_logits_weak"])
        strong = (arrays["student_logits_strong"], arrays["teacher_logits_strong"])
        first = numbers["temperature"]
        every = functional.mlld(
            *weak, temperatures=(first, 3.0, 5.0, 2.0, 6.0), standardise=standardise, selection="published"
        )
        instances = [
            functional.mlld(
                *view, temperatures=temperatures, batch_weight=0.0, class_weight=0.0, standardise=standardise
            )
            for view, temperatures in ((strong, (first, 3.0, 5.0)), (weak, (2.0, 6.0)))
        ]
        hard = sum(F.cross_entropy(view[0], arrays["target"]) for view in (weak, strong))
        return numbers["ce_weight"] * hard + numbers["kd_weight"] * (every + instances[0] + instances[1])

    return GoldenCase("mlld", call)


def _level(name: str) -> GoldenCase:
    others = {f"{level}_weight": 0.0 for level in ("instance", "batch", "class") if level != name}
    return GoldenCase(
        "mlld",
        lambda arrays, numbers: functional.mlld(
            arrays["student_logits"], arrays["teacher_logits"], temperatures=(numbers["temperature"],), **others
        ),
    )


def _ofa(arrays: Arrays, numbers: Numbers) -> Tensor:
    """The source has no T²."""
    loss = functional.ofa(
        arrays["student_logits"],
        arrays["teacher_logits"],
        arrays["target"],
        gamma=numbers["eps"],
        temperature=numbers["temperature"],
        others="raised",
    )
    return loss / numbers["temperature"] ** 2


def _ctkd(arrays: Arrays, numbers: Numbers) -> Tensor:
    raw = reverse_gradient(arrays["param.global_T"][0], -numbers["lambda_"])
    temperature = numbers["t_start"] + numbers["t_end"] * torch.sigmoid(raw)
    return functional.ctkd(arrays["student_logits"], arrays["teacher_logits"], temperature)


GOLDEN: dict[str, GoldenCase] = {
    "mlld__full__s1d": _mlld(standardise=False),
    "mlld__full_logit_std__s1d": _mlld(standardise=True),
    "mlld__class_level__s1d": _level("class"),
    "mlld__batch_level__s1d": _level("batch"),
    "ofa__ofa_loss__s1d": GoldenCase("ofa", _ofa),
    "ofa__ofa_loss__s1a": GoldenCase("ofa", _ofa),
    "ctkd__global_t__s1d": GoldenCase("ctkd", _ctkd),
}
