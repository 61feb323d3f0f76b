"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.maps`."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from mmdistill.losses import functional
from mmdistill.losses.connector import Connector
from mmdistill.losses.ft import Paraphraser, Translator
from mmdistill.losses.kdsvd import Layout, aligned_vectors, distance_of_vectors, teacher_vectors
from mmdistill.losses.ofd import batch_norm_margin
from mmdistill.losses.reviewkd import ReviewKD
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "at": [{"distance": "norm"}, {"power": 1.0}, {"power": 4.0}, {"power": 3.0, "absolute": False}],
    "nst": [{"kernel": "linear"}, {"kernel": "gaussian"}, {"degree": 3, "constant": 0.5}],
    "ab": [{"margin": 0.5, "stage_decay": 1.0}, {"reduction": "mean"}],
    "ft": [
        {"factor_form": "attention", "power": 2, "batch_norm": True},
        {"reconstruction": 0.0},
        {"factor_form": "attention", "channel_power": 3},
        {"reconstruction_distance": "absolute", "rate": 1.5},
    ],
    "ofd": [{"reduction": "mean", "stage_decay": 1.0}],
    "reviewkd": [{"width": 2}],
    "fsp": [{"distance": "mean", "pooling": "average"}, {"distance": "norm"}],
    "kdsvd": [{"vectors": 2}, {"layout": "width"}],
    "cwd": [{"temperature": 1.0}],
    "mgd": [{"masks": "channels", "ratio": 0.15}, {"ratio": 0.0, "reduction": "mean"}],
}

INPUTS: Inputs = {}


def _stages(arrays: Arrays, side: str) -> list[Tensor]:
    """The recorded maps of a side, shallow to deep; a pooled feature as a map of one position."""
    count = sum(name.startswith(f"{side}_feat_") for name in arrays)
    maps = [arrays[f"{side}_feat_{i}"] for i in range(count)]
    return [one[:, :, None, None] if one.dim() == 2 else one for one in maps]


def _both(arrays: Arrays) -> tuple[list[Tensor], list[Tensor]]:
    return _stages(arrays, "student"), _stages(arrays, "teacher")


def _with(part: nn.Module, arrays: Arrays, prefix: str, names: dict[str, str]) -> Any:
    """`part` called with the recorded parameters in the place of its own: our name → the recorded one."""
    recorded = {ours: arrays[f"{prefix}{theirs}"] for ours, theirs in names.items()}
    part = part.to(next(iter(recorded.values())).dtype)
    return functools.partial(torch.func.functional_call, part, recorded)


def _ft_with_translator(arrays: Arrays, numbers: Numbers) -> Tensor:
    convolutions = {f"convolutions.{i}.{end}": f"encoder.{3 * i}.{end}" for i in range(3) for end in ("weight", "bias")}
    norms = {f"normalisations.{i}.{end}": f"encoder.{3 * i + 1}.{end}" for i in range(3) for end in ("weight", "bias")}
    student, teacher = arrays["student_feat_0"], arrays["teacher_feat_0"]
    inputs, outputs = student.shape[1], teacher.shape[1]
    factors = len(arrays["param.paraphraser.encoder.6.weight"])
    translator = Translator(2, inputs, factors, batch_norm=True)
    translate = _with(translator, arrays, "param.translator.", convolutions | norms)
    encode = _with(Paraphraser(2, outputs, factors).encoder, arrays, "param.paraphraser.", convolutions)
    return functional.ft(
        translate(student),
        encode(teacher),
        factor_form="attention",
        power=numbers["p2"],
        channel_power=numbers["p1"],
    )


def _ofd(prefix: str) -> Any:
    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        student, teacher = _both(arrays)
        names = {
            "convolution.weight": "0.weight",
            "normalisation.weight": "1.weight",
            "normalisation.bias": "1.bias",
        }
        connected = [
            _with(Connector(2, ours.shape[1], theirs.shape[1]), arrays, f"{prefix}{i}.", names)(ours)
            for i, (ours, theirs) in enumerate(zip(student, teacher, strict=True))
        ]
        margins = [
            batch_norm_margin(arrays[f"teacher_bn_weight_{i}"], arrays[f"teacher_bn_bias_{i}"])
            for i in range(len(teacher))
        ]
        return functional.ofd(connected, teacher, margins)

    return call


def _reviewkd(arrays: Arrays, numbers: Numbers) -> Tensor:
    student, teacher = _both(arrays)
    deepest = len(student) - 1
    loss = ReviewKD(width=len(arrays[f"param.abfs.{deepest}.conv1.0.weight"]))
    loss.build(
        {
            "student_stages": tuple(tuple(maps.shape[1:]) for maps in student),
            "teacher_stages": tuple(tuple(maps.shape[1:]) for maps in teacher),
        }
    )
    layers = {
        "reduce": "conv1.0",
        "reduce_normalisation": "conv1.1",
        "expand": "conv2.0",
        "expand_normalisation": "conv2.1",
        "attention": "att_conv.0",
    }
    names = {
        f"fusions.{i}.{ours}.{end}": f"{deepest - i}.{theirs}.{end}"
        for i in range(deepest + 1)
        for ours, theirs in layers.items()
        for end in ("weight", "bias")
        if f"param.abfs.{deepest - i}.{theirs}.{end}" in arrays
    }
    warmed_up = min(numbers["epoch"] / numbers["warmup_epochs"], 1.0)
    return warmed_up * _with(loss, arrays, "param.abfs.", names)((student, teacher))  # type: ignore[no-any-return]


def _kdsvd(layout: Layout) -> Any:
    """kdsvd with the signs of the recorded vectors of the teacher, which the source leaves to the library."""

    def call(arrays: Arrays, numbers: Numbers) -> Tensor:
        student, teacher = _both(arrays)
        targets = []
        for i, maps in enumerate(teacher):
            found, expected = teacher_vectors(maps, numbers["k"], layout), arrays[f"teacher_v_{i}"]
            targets.append(found * (found * expected).sum(dim=1, keepdim=True).sign())
        found = [aligned_vectors(maps, target, layout) for maps, target in zip(student, targets, strict=True)]
        return distance_of_vectors(found, targets)

    return call


GOLDEN: dict[str, GoldenCase] = {
    "at__mdistiller__s1d": GoldenCase(
        "at", lambda arrays, numbers: functional.at(*_both(arrays), power=float(numbers["p"]), absolute=False)
    ),
    "at__paper_form__s1d": GoldenCase("at", lambda arrays, numbers: functional.at(*_both(arrays), distance="norm")),
    "at__abs_sum__s1d": GoldenCase(
        "at", lambda arrays, numbers: functional.at(*_both(arrays), power=float(numbers["p"]))
    ),
    "nst__poly__s1d": GoldenCase("nst", lambda arrays, numbers: functional.nst(*_both(arrays))),
    "ab__repdistiller__s1d": GoldenCase(
        "ab", lambda arrays, numbers: 3 / 1000 * functional.ab(*_both(arrays), margin=numbers["margin"])
    ),
    "ft__authors__s1d": GoldenCase(
        "ft", lambda arrays, numbers: functional.ft(arrays["student_feat_0"], arrays["teacher_feat_0"])
    ),
    "ft__repdistiller_with_translator__s1d": GoldenCase("ft", _ft_with_translator),
    "ofd__authors__s1d": GoldenCase(
        # The authors' script divides by the batch afterwards.
        "ofd",
        lambda arrays, numbers: (
            len(arrays["student_feat_0"]) * _ofd("param.Connectors.")(arrays, numbers)  # type: ignore[no-any-return]
        ),
    ),
    "ofd__mdistiller__s1d": GoldenCase("ofd", _ofd("param.connectors.connectors.")),
    "reviewkd__hcl__s1d": GoldenCase("reviewkd", lambda arrays, numbers: functional.reviewkd(*_both(arrays))),
    "reviewkd__full_with_abf__s1d": GoldenCase("reviewkd", _reviewkd),
    "fsp__repdistiller__s1d": GoldenCase(
        "fsp", lambda arrays, numbers: functional.fsp(*_both(arrays), distance="mean", pooling="average")
    ),
    "fsp__torchdistill__s1d": GoldenCase(
        "fsp", lambda arrays, numbers: numbers["weight"] * functional.fsp(*_both(arrays), distance="norm")
    ),
    "kdsvd__repdistiller__s1d": GoldenCase("kdsvd", _kdsvd("channels")),
    # Recorded in float32, as the source computes it.
    "kdsvd__mdistiller__s1d": GoldenCase("kdsvd", _kdsvd("width"), loss_tolerance=1e-4, gradient_tolerance=1e-4),
}
