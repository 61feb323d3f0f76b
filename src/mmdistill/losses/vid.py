"""Variational information distillation.

Ahn, Hu, Damianou, Lawrence, Dai, "Variational Information Distillation for Knowledge Transfer", CVPR 2019,
arXiv:1904.05835, equations 5 and 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.features import VIDOptions
from mmdistill.losses.feature_shapes import channels_last, check_same_shape
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean


def vid(
    student_features: Tensor,
    teacher_features: Tensor,
    scale: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    smallest_variance: float = 1e-5,
) -> Tensor:
    """½ ((teacher − mean)² / variance + log variance), averaged over channels, and rows or positions.

    It is the negative logarithm of a Gaussian density, but for the constant ½ log 2π, with a variance
    log(1 + exp(scale)) + smallest_variance of each channel. The smaller it is, the more the student's features tell of
    the teacher's. Variances are learned with the student; mdistiller keeps them out of its parameters, so that there
    they stay at their first value and the loss is a mean squared error.

    Args:
        student_features: (B, D), (B, L, D), or maps (B, D, H, W): the teacher's features as a network predicts them
            from the student's.
        teacher_features: the same shape; receives no gradient.
        scale: (D,), gives the variance of each channel.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count; for (B, L, D) only.
        smallest_variance: above 0.

    Returns:
        A scalar, which can be negative. Typical weight: 1; the paper sums over several layers.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_same_shape(student_features, teacher_features, "features")
    mean, teacher = channels_last(widen(student_features)), channels_last(widen(teacher_features.detach()))
    if scale.shape != mean.shape[-1:]:
        raise InputError(f"scale has shape {tuple(scale.shape)}, but there are {mean.shape[-1]} channels")
    variance = F.softplus(widen(scale)) + smallest_variance
    # One logarithm a channel, not one a value.
    surprise = 0.5 * ((teacher - mean).square() / variance).mean(dim=-1) + 0.5 * variance.log().mean()
    return weighted_mean(surprise, weight, mask)


class VID(DistillationLoss):
    """`vid` with its variances and its mean network: three linear maps over the channels, 1x1 convolutions on maps."""

    options_type = VIDOptions
    initial_variance: float
    smallest_variance: float
    hidden: int | None

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """The mean network from the student's channels to the teacher's, and the variances."""
        inputs, outputs = (_channels(shapes, f"{side}_features") for side in ("student", "teacher"))
        hidden = outputs if self.hidden is None else self.hidden
        self.mean_network = nn.Sequential(
            nn.Linear(inputs, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, outputs, bias=False),
        )
        wanted = self.initial_variance - self.smallest_variance
        # The inverse of the softplus, by what does not overflow for large variances.
        first = wanted + math.log(-math.expm1(-wanted))
        self.scale = nn.Parameter(torch.full((outputs,), first))

    @without_autocast
    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `vid`; the student's features may have another width than the teacher's.

        Raises:
            InputError: when `build` was not called, or the shapes do not belong together.
        """
        require_built(self, "mean_network")
        mean = self.mean_network(channels_last(widen(student_features)))
        teacher = channels_last(widen(teacher_features.detach()))
        return vid(mean, teacher, self.scale, weight, mask, smallest_variance=self.smallest_variance)


def _channels(shapes: Mapping[str, Shape | tuple[Shape, ...]], name: str) -> int:
    """The number of channels of an input."""
    shape = shapes.get(name)
    channels = None
    if shape:
        channels = shape[0] if len(shape) > 2 else shape[-1]
    if not isinstance(channels, int):
        raise InputError(
            f"vid needs the number of channels of {name}, but a row of it has shape {shape}",
            where="VID.build",
            fix="Give the shape of one row, such as (64,) or (64, 7, 7)",
        )
    return channels
