"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.divergences`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from mmdistill.losses.transforms.standardise import standardise
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "reverse_kl": [{"temperature": 3.0}],
    "symmetric_kl": [{"temperature": 3.0, "reverse_share": 0.9}, {"reverse_share": 1.0}],
    "skewed_kl": [{"temperature": 3.0, "skew": 0.5}],
    "skewed_reverse_kl": [{"temperature": 3.0, "skew": 0.5}],
    "gjsd": [{"beta": 0.1, "temperature": 3.0}, {"beta": 1.0, "scale": "none"}],
    "nkd": [{"temperature": 2.0}, {"gamma": 0.0}],
    "dist": [{"temperature": 4.0}, {"inter_weight": 0.0}, {"intra_weight": 0.0}],
    "wsld": [{"temperature": 4.0}],
    "ttm": [{"exponent": 1.0}],
    "wttm": [{"exponent": 0.5}],
}

INPUTS: Inputs = {}

_FLOAT32 = 1e-6
"""Relative tolerance for DistiLLM, whose code computes in float32 whatever its inputs are."""


def _tokens(name: str, tolerance: float = 1e-7, **renamed: str) -> GoldenCase:
    """A loss of tokens of which those with label -100 do not count, without T²; ours → recorded name of an option."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        options = {option: numbers[recorded] for option, recorded in renamed.items()}
        loss: Tensor = getattr(functional, name)(
            arrays["student_logits"], arrays["teacher_logits"], mask=arrays["labels"] != -100, **options
        )
        return loss / options.get("temperature", 1.0) ** 2

    return GoldenCase(name, call, loss_tolerance=tolerance)


def _teacher_entropy(arrays: Arrays) -> Tensor:
    """What DistiLLM does not subtract from its forward terms: the mean entropy of the teacher over the tokens."""
    teacher = arrays["teacher_logits"].log_softmax(dim=-1)
    return -(teacher.exp() * teacher).sum(dim=-1)[arrays["labels"] != -100].mean()


def _js_distance(arrays: Arrays, numbers: Numbers) -> Tensor:
    return functional.gjsd(
        arrays["student_logits"], arrays["teacher_logits"], mask=arrays["labels"] != -100, beta=1 - numbers["lam"]
    )


def _symmetric(arrays: Arrays, numbers: Numbers) -> Tensor:
    loss = functional.symmetric_kl(
        arrays["student_logits"],
        arrays["teacher_logits"],
        mask=arrays["labels"] != -100,
        reverse_share=numbers["lam"],
    )
    return loss + (1 - numbers["lam"]) * _teacher_entropy(arrays)


def _skewed(arrays: Arrays, numbers: Numbers) -> Tensor:
    loss = functional.skewed_kl(
        arrays["student_logits"], arrays["teacher_logits"], mask=arrays["labels"] != -100, skew=numbers["lam"]
    )
    return loss + _teacher_entropy(arrays)


def _nkd(arrays: Arrays, numbers: Numbers) -> Tensor:
    return functional.nkd(
        arrays["student_logits"],
        arrays["teacher_logits"],
        arrays["target"],
        temperature=numbers["temp"],
        gamma=numbers["gamma"],
    )


def _dist(arrays: Arrays, numbers: Numbers) -> Tensor:
    return functional.dist(
        arrays["student_logits"],
        arrays["teacher_logits"],
        temperature=numbers.get("tau", 1.0),
        inter_weight=numbers["beta"],
        intra_weight=numbers["gamma"],
        epsilon=1e-8,
    )


def _wsld(name: str, *, hard: bool) -> GoldenCase:
    """The weighted soft term times its alpha, beside the hard cross-entropy that the authors' class adds."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        loss = numbers["alpha"] * functional.wsld(
            arrays["student_logits"], arrays["teacher_logits"], arrays["target"], temperature=numbers[name]
        )
        return loss + F.cross_entropy(arrays["student_logits"], arrays["target"]) if hard else loss

    return GoldenCase("wsld", call)


def _standardised(arrays: Arrays) -> tuple[Tensor, Tensor]:
    return standardise(arrays["student_logits"]), standardise(arrays["teacher_logits"])


GOLDEN: dict[str, GoldenCase] = {
    "reverse_kl__trl_reverse__s1d": _tokens("reverse_kl", temperature="temperature"),
    "reverse_kl__trl_forward__s1d": _tokens("gjsd", temperature="temperature", beta="beta"),
    "reverse_kl__distillm_reverse_kl__s1d": _tokens("reverse_kl", _FLOAT32),
    "reverse_kl__distillm_forward_kl__s1d": GoldenCase(
        "soft_cross_entropy",
        lambda arrays, numbers: functional.soft_cross_entropy(
            arrays["student_logits"], arrays["teacher_logits"], mask=arrays["labels"] != -100, temperature=1.0
        ),
        loss_tolerance=_FLOAT32,
    ),
    "reverse_kl__distillm_symmetric_kl__s1d": GoldenCase("symmetric_kl", _symmetric, loss_tolerance=_FLOAT32),
    "reverse_kl__distillm_skewed_forward_kl__s1d": GoldenCase("skewed_kl", _skewed, loss_tolerance=_FLOAT32),
    "reverse_kl__distillm_skewed_reverse_kl__s1d": _tokens("skewed_reverse_kl", _FLOAT32, skew="lam"),
    "gjsd__trl_masked__s1d": _tokens("gjsd", beta="beta", temperature="temperature"),
    "gjsd__trl_unmasked__s1d": GoldenCase(
        "gjsd",
        lambda arrays, numbers: functional.gjsd(
            arrays["student_logits"], arrays["teacher_logits"], beta=numbers["beta"], temperature=numbers["temperature"]
        ),
        deviation="Without labels TRL divides the sum over all tokens by the number of rows, so that the loss grows "
        "with the length of the sequences; the paper averages over tokens (equation 2), and so does ours.",
    ),
    "gjsd__distillm_js_distance__s1d": GoldenCase("gjsd", _js_distance, loss_tolerance=_FLOAT32),
    "nkd__mmcls__s1d": GoldenCase("nkd", _nkd),
    "dist__classification__s1d": GoldenCase("dist", _dist),
    "dist__segmentation_4d__s1d": GoldenCase("dist", _dist),
    "wsld__mmcls__s1d": _wsld("temp", hard=False),
    "wsld__authors_total__s1d": _wsld("T", hard=True),
    "ttm__ttm__s1d": GoldenCase(
        "ttm",
        lambda arrays, numbers: functional.ttm(
            arrays["student_logits"], arrays["teacher_logits"], exponent=numbers["l"]
        ),
    ),
    "ttm__wttm__s1d": GoldenCase(
        "wttm",
        lambda arrays, numbers: functional.wttm(
            arrays["student_logits"], arrays["teacher_logits"], exponent=numbers["l"]
        ),
    ),
    "logit_std__kd__s1d": GoldenCase(
        "kd", lambda arrays, numbers: functional.kd(*_standardised(arrays), temperature=numbers["temperature"])
    ),
    "logit_std__dkd__s1d": GoldenCase(
        "dkd",
        lambda arrays, numbers: functional.dkd(
            *_standardised(arrays),
            arrays["target"],
            temperature=numbers["temperature"],
            alpha=numbers["alpha"],
            beta=numbers["beta"],
        ),
    ),
}
