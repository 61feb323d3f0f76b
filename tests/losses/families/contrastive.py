"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.contrastive`."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "clipkd_feature": [{"reduction": "mean"}],
    "clipkd_relation": [{"student_scale": 10.0, "teacher_scale": 10.0}],
    "clipkd_interactive": [{"scale_form": "as_is"}],
    "clipkd_cross": [{"scale_form": "as_is", "teacher_scale": 10.0}],
    "clipkd_gradient": [{"form": "code"}, {"student_scale": 5.0, "teacher_scale": 5.0}],
    "clipkd_augmented": [{"scale_form": "as_is"}],
    "tinyclip_affinity": [{"student_scale": 10.0, "teacher_scale": 10.0}],
    "mobileclip": [{"student_scale": 10.0, "teacher_scales": (10.0,)}],
    "mobileclip_sigmoid": [{"contrastive_weight": 1.0, "student_scale": 10.0, "teacher_biases": (0.0,)}],
}

INPUTS: Inputs = {}


def _sides(arrays: Arrays, text: str = "text") -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return arrays["student_image"], arrays[f"student_{text}"], arrays["teacher_image"], arrays[f"teacher_{text}"]


def _scaled(name: str, **options: Any) -> Any:
    """A loss that takes the logit scales of both sides."""

    def call(arrays: Arrays, _: Numbers) -> Tensor:
        scales = arrays["logit_scale"], arrays["teacher_logit_scale"]
        loss: Tensor = getattr(functional, name)(*_sides(arrays), *scales, **options)
        return loss

    return call


def _tinyclip(arrays: Arrays, numbers: Numbers) -> Tensor:
    candidates = "learn" if numbers["gather_with_grad"] else "fixed"
    loss: Tensor = _scaled("tinyclip_affinity", normalize=False, candidates=candidates)(arrays, numbers)
    return loss


def _afd(arrays: Arrays, _: Numbers) -> Tensor:
    image, text = (
        lambda fused, name=name: F.linear(fused, arrays[f"param.{name}.weight"], arrays[f"param.{name}.bias"])  # type: ignore[misc]
        for name in ("visual_fusion_proj", "text_fusion_proj")
    )
    return functional.clipkd_augmented(*_sides(arrays), image, text, arrays["param.fusion_logit_scale"])


def _mobileclip(arrays: Arrays, numbers: Numbers, text: str = "text", teachers: int = 2) -> Tensor:
    """The source's student as it is given, at its own scale; recorded teachers are of equal width."""
    scales = numbers.get("dist_logit_scale", numbers.get("teacher_logit_scale"))
    contrastive, distillation = numbers.get("distill_loss_weights", (1.0, 1.0))
    width = arrays["teacher_image"].shape[1] // teachers
    return functional.mobileclip(
        *_sides(arrays, text),
        arrays["logit_scale"],
        contrastive_weight=contrastive,
        distillation_weight=distillation,
        teacher_widths=(width,) * teachers,
        teacher_scales=tuple(scales) if isinstance(scales, list) else (scales,),
        normalize=False,
    )


def _sigmoid(arrays: Arrays, numbers: Numbers) -> Tensor:
    contrastive, distillation = numbers["distill_loss_weights"]
    return functional.mobileclip_sigmoid(
        *_sides(arrays),
        arrays["logit_scale"],
        arrays["logit_bias"],
        contrastive_weight=contrastive,
        distillation_weight=distillation,
        teacher_widths=(arrays["teacher_image"].shape[1] // 2,) * 2,
        teacher_scales=tuple(numbers["dist_logit_scale"]),
        teacher_biases=tuple(numbers["dist_logit_bias"]),
        normalize=False,
    )


GOLDEN: dict[str, GoldenCase] = {
    # The student's own contrastive loss, which mobileclip has as a part.
    "clipkd__task__s1d": GoldenCase(
        "mobileclip",
        lambda arrays, _: functional.mobileclip(
            *_sides(arrays), arrays["logit_scale"], contrastive_weight=1.0, distillation_weight=0.0
        ),
    ),
    "clipkd__fd__s1d": GoldenCase(
        "clipkd_feature", lambda arrays, _: functional.clipkd_feature(*_sides(arrays), reduction="mean")
    ),
    "clipkd__ckd__s1d": GoldenCase("clipkd_relation", _scaled("clipkd_relation")),
    "clipkd__icl__s1d": GoldenCase(
        "clipkd_interactive",
        lambda arrays, _: functional.clipkd_interactive(*_sides(arrays), arrays["param.cross_logit_scale"]),
    ),
    "clipkd__cross_kd__s1d": GoldenCase(
        "clipkd_cross",
        lambda arrays, numbers: functional.clipkd_cross(
            *_sides(arrays), arrays["param.cross_logit_scale"], teacher_scale=numbers["teacher_logit_scale"]
        ),
    ),
    "clipkd__gd__s1d": GoldenCase("clipkd_gradient", _scaled("clipkd_gradient", form="code")),
    "clipkd__afd__s1d": GoldenCase("clipkd_augmented", _afd),
    "tinyclip__affinity__s1d": GoldenCase("tinyclip_affinity", _tinyclip),
    "mobileclip__base__s1d": GoldenCase("mobileclip", lambda arrays, numbers: _mobileclip(arrays, numbers, teachers=1)),
    "mobileclip__ensemble_v1__s1d": GoldenCase("mobileclip", _mobileclip),
    "mobileclip__ensemble_v2__s1d": GoldenCase("mobileclip", _mobileclip),
    # The sum over the real and the synthetic captions: two terms.
    "mobileclip__reinforced_v1__s1d": GoldenCase(
        "mobileclip",
        lambda arrays, numbers: _mobileclip(arrays, numbers) + _mobileclip(arrays, numbers, "syn_text"),
    ),
    "mobileclip__siglip_v2__s1d": GoldenCase("mobileclip_sigmoid", _sigmoid),
}
