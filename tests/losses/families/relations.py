"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.relations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "sp": [{"norm": "l1"}],
    "cc": [{"kernel": "bilinear"}, {"order": 3}, {"normalize": False}, {"reduction": "norm"}],
    "rkd_distance": [{"measure": "square"}],
    "rkd": [{"distance_weight": 1.0, "angle_weight": 2.0, "measure": "square"}],
    "pkt": [{"epsilon": 1e-3}],
    "dark_rank": [{"alpha": 1.0, "beta": 1.0, "length": 10}],
    "crd": [{"dimension": 5, "negatives": 2, "memory_precision": "float32", "momentum": 0.0}],
    "cka": [{"kernel": "rbf"}, {"estimator": "debiased"}, {"kernel": "rbf", "bandwidth": 0.5, "estimator": "debiased"}],
}

INPUTS: Inputs = {}


def _embeddings(name: str, **options: str) -> Callable[[Arrays, Numbers], Tensor]:
    """A loss of pooled features; `options` name the hyper-parameters that the source calls otherwise."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        given: dict[str, Any] = {ours: numbers[theirs] for ours, theirs in options.items()}
        loss: Tensor = getattr(functional, name)(arrays["student_emb"], arrays["teacher_emb"], **given)
        return loss

    return call


def _stages(**options: Any) -> Callable[[Arrays, Numbers], Tensor]:
    """sp over stages, which the sources sum."""

    def call(arrays: Arrays, _: Numbers) -> Tensor:
        number = sum(name.startswith("student_feat_") for name in arrays)
        stages = [(arrays[f"student_feat_{i}"], arrays[f"teacher_feat_{i}"]) for i in range(number)]
        losses = [functional.sp(student, teacher, **options) for student, teacher in stages]
        return sum(losses[1:], losses[0])

    return call


def _embed(arrays: Arrays, side: str) -> Tensor:
    return F.linear(
        arrays[f"{side}_emb"],
        arrays[f"param.embed_{side[0]}.linear.weight"],
        arrays[f"param.embed_{side[0]}.linear.bias"],
    )


def _crd(arrays: Arrays, numbers: Numbers) -> Tensor:
    """The source's memory_v1 is the student's; its buffer holds [K, T, Z_v1, Z_v2, momentum], Z negative when unset."""
    state = arrays["buffer.contrast.params"]
    contrast = [arrays[f"buffer.contrast.memory_v{side}"][arrays["contrast_idx"]] for side in (1, 2)]
    student, teacher = (F.normalize(_embed(arrays, side)) for side in ("student", "teacher"))
    normalizers = state[2:4] if state[2] > 0 else None
    rows, temperature = numbers["n_data"], state[1].item()  # single precision in the source
    return functional.crd(student, teacher, *contrast, normalizers, rows=rows, temperature=temperature, epsilon=1e-7)


GOLDEN: dict[str, GoldenCase] = {
    "sp__l2__s1d": GoldenCase("sp", _stages()),
    "sp__torchdistill_l1__s1d": GoldenCase("sp", _stages(norm="l1")),
    # The source trains the teacher's embedding as well; ours gives no gradient to the teacher's side.
    "cc__repdistiller__s1d": GoldenCase(
        "cc",
        lambda arrays, _: functional.cc(_embed(arrays, "student"), _embed(arrays, "teacher"), form="consecutive"),
    ),
    "cc__torchdistill__s1d": GoldenCase(
        "cc",
        lambda arrays, numbers: functional.cc(
            arrays["student_emb"],
            arrays["teacher_emb"],
            kernel=numbers["kernel"],
            gamma=numbers.get("gamma", 0.4),
            order=numbers.get("max_p", 2),
            normalize=False,
            reduction="norm",
        ),
    ),
    "cc__kd_zoo__s1d": GoldenCase("cc", _embeddings("cc", gamma="gamma", order="P_order")),
    "rkd__distance__s1d": GoldenCase("rkd_distance", _embeddings("rkd_distance")),
    "rkd__angle__s1d": GoldenCase("rkd_angle", _embeddings("rkd_angle")),
    "rkd__combined__s1d": GoldenCase(
        "rkd",
        lambda arrays, numbers: functional.rkd(
            arrays["student_emb"],
            arrays["teacher_emb"],
            distance_weight=numbers["distance_weight"],
            angle_weight=numbers["angle_weight"],
            measure="square" if numbers["squared"] else "length",
        ),
    ),
    "rkd__hard_darkrank__s1d": GoldenCase(
        "dark_rank", _embeddings("dark_rank", alpha="alpha", beta="beta", length="permute_len")
    ),
    "pkt__cosine__s1d": GoldenCase(
        "pkt",
        lambda arrays, numbers: functional.pkt(
            arrays["student_emb"], arrays["teacher_emb"], form="code", epsilon=numbers["eps"]
        ),
    ),
    "crd__first_step__s1d": GoldenCase("crd", _crd),
    "crd__later_step__s1d": GoldenCase("crd", _crd),
}
