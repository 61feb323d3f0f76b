"""Frequency-decoupled feature distillation across modalities (FD-CMKD).

Liu, Zhang, Huang, Xu, Yang, "Distilling Cross-Modal Knowledge via Feature Disentanglement", AAAI 2026,
arXiv:2511.19887: low frequencies of features are much alike across modalities, high ones are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.features import FrequencyFeaturesOptions
from mmdistill.losses.feature_shapes import check_same_shape
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.unit_vectors import unit_vectors


def frequency_features(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    cutoff: float = 0.5,
    low_weight: float = 1.0,
    high_weight: float = 1.0,
) -> Tensor:
    """low_weight · MSE of the low bands + high_weight · MSE of the log-compressed high bands.

    Features are split by a discrete Fourier transform into two bands, brought back, and each band is divided by its L2
    norm; the mean of the features, which is frequency 0, is in neither band, so that only the shape is compared
    (the paper's scale consistency). The high band is compressed by sign(x) · log(1 + |x|) before it is compared.
    Vectors are transformed over their channels, as in the paper; maps over their spatial axes, each channel alone. A
    frequency is low when it is at most `cutoff` of the highest one along every axis.

    The paper's loss on shared classifiers is not part of this.

    Args:
        student_features: (B, D), (B, L, D), or maps (B, C, H, W).
        teacher_features: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count; for (B, L, D) only.
        cutoff: share of the highest frequency up to which one is low, between 0 and 1; 1/2 in the paper.
        low_weight: of the low band.
        high_weight: of the high band.

    Returns:
        A scalar, at least 0, and 0 where both bands agree up to mean and scale. Typical weight: 1; as bands of length 1
        have mean squares of 1/D, about D gives it the size of other losses on features.

    Raises:
        InputError: when the shapes do not belong together, or are too small to have both bands.
    """
    check_same_shape(student_features, teacher_features, "features")
    student, teacher = widen(student_features), widen(teacher_features.detach())
    axes = tuple(range(2, student.dim())) if student.dim() > 3 else (student.dim() - 1,)
    low = _low_frequencies([student.shape[axis] for axis in axes], cutoff, student.device)
    student_low, student_high = _bands(student, low, axes)
    teacher_low, teacher_high = _bands(teacher, low, axes)
    squares = low_weight * (student_low - teacher_low).square()
    squares = squares + high_weight * (_compressed(student_high) - _compressed(teacher_high)).square()
    errors = squares.mean(dim=-1) if squares.dim() == 3 else squares.flatten(1).mean(dim=1)
    return weighted_mean(errors, weight, mask)


def _low_frequencies(sizes: Sequence[int], cutoff: float, device: torch.device) -> Tensor:
    """True at the low frequencies of a real transform over axes of these sizes, frequency 0 among them.

    Raises:
        InputError: when there is no low frequency but 0, or no high one.
    """
    highest = [size // 2 for size in sizes]
    if not any(int(cutoff * top) for top in highest) or all(int(cutoff * top) == top for top in highest):
        raise InputError(
            f"Features of size {'x'.join(map(str, sizes))} have no low or no high frequencies at a cutoff of {cutoff}",
            where="frequency_features",
            fix="Compare longer vectors or larger maps, or set another cutoff",
        )
    low = torch.ones((), dtype=torch.bool, device=device)
    for axis, (size, top) in enumerate(zip(sizes, highest, strict=True)):
        last = axis == len(sizes) - 1
        frequency = torch.arange(top + 1 if last else size, device=device)
        # The second half of a complex transform holds the negative frequencies.
        frequency = frequency if last else torch.minimum(frequency, size - frequency)
        low = low[..., None] & (frequency <= int(cutoff * top))
    return low


def _bands(values: Tensor, low: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The low and the high band of values without their mean, each of length 1 over `axes`."""
    centred = values - values.mean(dim=axes, keepdim=True)
    spectrum = torch.fft.rfftn(centred, dim=axes)
    band = torch.fft.irfftn(spectrum * low, s=[values.shape[axis] for axis in axes], dim=axes)
    return unit_vectors(band, axes), unit_vectors(centred - band, axes)


def _compressed(values: Tensor) -> Tensor:
    """sign(x) · log(1 + |x|), whose slope falls with |x|."""
    return values.sign() * values.abs().log1p()


class FrequencyFeatures(DistillationLoss):
    """`frequency_features` as a module."""

    options_type = FrequencyFeaturesOptions
    cutoff: float
    low_weight: float
    high_weight: float

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `frequency_features`."""
        return frequency_features(
            student_features,
            teacher_features,
            weight,
            mask,
            cutoff=self.cutoff,
            low_weight=self.low_weight,
            high_weight=self.high_weight,
        )
