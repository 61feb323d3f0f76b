"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.truncated_logits`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmdistill.losses import functional
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

_DIVERGENCE: list[dict[str, Any]] = [
    {"k": 2},
    {"k": 2, "temperature": 3.0},
    {"k": 3, "temperature": 2.0, "remainder": "dropped"},
]

OPTIONS: Settings = {
    "topk_kl": _DIVERGENCE,
    "topk_jsd": _DIVERGENCE,
    "topk_tvd": _DIVERGENCE,
    "topk_hinge": [{"k": 3}],
    "topk_logistic_ranking": [{"k": 2}],
}

INPUTS: Inputs = {}


def _sparse(name: str) -> Callable[[Arrays, Numbers], Tensor]:
    """The source is told no remainder: it is what is left of the k probabilities."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        given = {key: value for key, value in numbers.items() if key in ("temperature", "margin")}
        if "missing" in numbers:
            given["remainder"] = numbers["missing"]
        rest = (-torch.expm1(arrays["target_logprobs"].logsumexp(dim=-1).clamp(max=-1e-6))).log()
        loss: Tensor = getattr(functional, name)(
            arrays["student_logits"],
            teacher_values=arrays["target_logprobs"],
            teacher_indices=arrays["target_ids"],
            teacher_log_remainder=rest,
            mask=arrays["mask"],
            **given,
        )
        return loss

    return call


GOLDEN: dict[str, GoldenCase] = {
    # The source computes these four partly in float32, whatever the type of its inputs.
    "topk_sparse_kl__kl__s1d": GoldenCase("topk_kl", _sparse("topk_kl"), loss_tolerance=1e-6),
    "topk_sparse_kl__jsd__s1d": GoldenCase("topk_jsd", _sparse("topk_jsd"), loss_tolerance=1e-6),
    "topk_sparse_kl__tvd__s1d": GoldenCase("topk_tvd", _sparse("topk_tvd"), loss_tolerance=1e-6),
    "topk_sparse_kl__kl_dense__s1d": GoldenCase(
        "topk_kl",
        lambda arrays, numbers: functional.topk_kl(
            arrays["student_logits"],
            arrays["teacher_logits"],
            mask=arrays["labels"] != -100,
            k=arrays["student_logits"].shape[-1],
            temperature=numbers["temperature"],
        ),
        loss_tolerance=1e-6,
    ),
    "topk_sparse_kl__hinge__s1d": GoldenCase("topk_hinge", _sparse("topk_hinge")),
    "topk_sparse_kl__logistic_ranking__s1d": GoldenCase(
        "topk_logistic_ranking", _sparse("topk_logistic_ranking"), loss_tolerance=1e-7
    ),
}
