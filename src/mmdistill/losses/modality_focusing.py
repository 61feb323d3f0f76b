"""Which channels of a teacher speak of what both modalities see, and distillation of these alone.

Xue, Gao, Ren, Zhao, "The Modality Focusing Hypothesis: Towards Understanding Crossmodal Knowledge Distillation",
ICLR 2023, arXiv:2206.06487, algorithm 1 and section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from mmdistill.catalog import Options
from mmdistill.errors import InputError
from mmdistill.losses.families.modalities import MaskedFeatureKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean

_ROWS_AT_ONCE = 2**16
"""Rows that go through the head together; bounds the memory."""


@torch.no_grad()
def modality_saliency(
    features: Tensor,
    head: Callable[[Tensor], Tensor],
    other_output: Tensor,
    *,
    repeats: int = 100,
    distance: Literal["squared", "absolute"] = "squared",
    seed: int = 0,
) -> Tensor:
    """How much each channel of one modality matters for agreeing with the other modality (algorithm 1).

    Two models, one a modality, are first trained together on the targets and on the distance between their outputs.
    Then one channel after the other is permuted among the rows; the further the output moves from the other
    modality's, the more of what both see stands in that channel.

    Args:
        features: (N, D) of one modality, of rows that were not used for anything else: inputs, or what a layer gives.
        head: from such features to the output (N, C) that was trained to agree with the other modality.
        other_output: (N, C), what the model of the other modality says of the same rows.
        repeats: how many permutations are averaged; 100 in the authors' code.
        distance: mean of the squared differences (Gaussian data) or of the absolute ones (VGGSound).
        seed: of the permutations, which are the same for all channels.

    Returns:
        (D,) from 0 for the least to 1 for the most salient channel; all 0 where no channel stands out.

    Raises:
        InputError: when the shapes do not belong together.
    """
    if features.dim() != 2 or len(features) == 0:
        raise InputError(f"features has shape {tuple(features.shape)}, not (rows, channels)")
    if other_output.shape[:1] != features.shape[:1]:
        raise InputError(f"There are {len(features)} rows of features, but {len(other_output)} of other_output")
    rows, channels = features.shape
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, _ROWS_AT_ONCE // rows)
    total = widen(features).new_zeros(channels)
    for _ in range(repeats):
        permuted = features[torch.randperm(rows, generator=generator).to(features.device)]
        for start in range(0, channels, at_once):
            moved = _with_one_channel_moved(features, permuted, start, at_once)
            output = head(moved.flatten(0, 1)).unflatten(0, moved.shape[:2])
            if output.shape[1:] != other_output.shape:
                raise InputError(
                    f"The head gives {tuple(output.shape[1:])}, other_output is {tuple(other_output.shape)}"
                )
            difference = widen(output) - widen(other_output)
            apart = difference.square() if distance == "squared" else difference.abs()
            total[start : start + at_once] += apart.flatten(1).mean(dim=1)
    smallest, largest = total.min(), total.max()
    return (total - smallest) / torch.where(largest > smallest, largest - smallest, 1)


def _with_one_channel_moved(features: Tensor, permuted: Tensor, start: int, count: int) -> Tensor:
    """The features once for each of some channels, with that channel from `permuted`: (channels, N, D)."""
    channel = torch.arange(features.shape[1], device=features.device)
    own = channel[start : start + count, None] == channel
    return torch.where(own[:, None, :], permuted, features)


def most_salient(saliency: Tensor, count: int) -> tuple[int, ...]:
    """The channels of highest saliency in ascending order, as `masked_feature_kd` takes them for ``channels``.

    Raises:
        InputError: when there are fewer channels than `count`, or it is not positive.
    """
    if not 1 <= count <= len(saliency):
        raise InputError(f"There are {len(saliency)} channels, so {count} of them cannot be chosen", where="count")
    return tuple(sorted(saliency.topk(count).indices.tolist()))


def masked_feature_kd(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    channels: tuple[int, ...] | Tensor = (),
) -> Tensor:
    """Mean squared error on some of the teacher's channels.

    The paper shows that what helps a student of another modality are the channels that speak of what both modalities
    see. `modality_saliency` ranks them, `most_salient` chooses; the others, which the student cannot know, are not
    asked of it. (The paper itself takes the other channels out of the teacher's input to its head and distils logits.)

    Args:
        student_features: (B, D), or (B, L, D) for sequences.
        teacher_features: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        channels: the channels that are compared, as numbers or an int64 tensor on the features' device; all when empty.

    Returns:
        A scalar, at least 0, and 0 where the channels agree. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together, or there is no such channel.
    """
    student, teacher = tuple(student_features.shape), tuple(teacher_features.shape)
    if student != teacher or len(student) not in (2, 3):
        raise InputError(f"student_features has shape {student}, teacher_features {teacher}: they must be equal")
    difference = widen(student_features) - widen(teacher_features.detach())
    if len(channels):
        difference = difference.index_select(-1, _numbers(channels, difference))
    return weighted_mean(difference.square().mean(dim=-1), weight, mask)


def _numbers(channels: tuple[int, ...] | Tensor, features: Tensor) -> Tensor:
    if isinstance(channels, Tensor):
        return channels
    if max(channels) >= features.shape[-1] or min(channels) < 0:
        raise InputError(f"There are {features.shape[-1]} channels, 0 to {features.shape[-1] - 1}", where="channels")
    return torch.tensor(channels, device=features.device)


class MaskedFeatureKD(DistillationLoss):
    """`masked_feature_kd` as a module."""

    options_type = MaskedFeatureKDOptions
    channels: tuple[int, ...]
    _selected: Tensor

    def __init__(self, options: Options | None = None, **values: Any) -> None:
        super().__init__(options, **values)
        self.register_buffer("_selected", torch.tensor(self.channels, dtype=torch.int64), persistent=False)

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `masked_feature_kd`."""
        if self.channels and max(self.channels) >= teacher_features.shape[-1]:
            raise InputError(
                f"The teacher has {teacher_features.shape[-1]} channels, none of number {max(self.channels)}"
            )
        return masked_feature_kd(student_features, teacher_features, weight, mask, channels=self._selected)
