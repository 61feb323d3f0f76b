"""Frame-level distillation of acoustic models, with a say on the frames where a CTC teacher gives the blank.

Hilmes, Rossenbach, Schlüter, "Analyzing the Importance of Blank for CTC-Based Knowledge Distillation", Interspeech
2025, arXiv:2506.01503.

A model trained with connectionist temporal classification gives the blank at most frames and a label in short spikes,
so that a mean over frames teaches mostly blanks. Blank elimination keeps the frames of spikes alone; keeping blanks on
both sides of a spike tells the student where it begins and ends.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.task_outputs import FrameKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.positions import Average, mean_of_positions
from mmdistill.losses.probabilities import kl_terms, log_probabilities
from mmdistill.losses.shapes import check_logits


def frame_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    blank: int | None = None,
    blank_weight: float = 0.0,
    context: int = 0,
    average: Average = "positions",
) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) at each frame, averaged with the weights of the frames.

    Without `blank` every frame of the mask counts the same. With it, a frame at which the teacher's likeliest class is
    the blank counts `blank_weight`, unless a frame of another class is at most `context` frames away, before or after:
    then it counts 1, as all others do. `blank_weight` 0 and `context` 0 are blank elimination, `blank_weight` 1 is the
    plain loss.

    Args:
        student_logits: (B, frames, C), or (B, C) for one frame a row; student and teacher must have the same frames.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, frames), true at frames that count.
        temperature: above 0.
        blank: class of the blank; None for a model without one.
        blank_weight: 0 to 1, what a frame of the blank counts.
        context: frames on each side of a spike that count in full.
        average: over all frames (``positions``) together, or of each of the ``rows`` first.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per frame; 0 too when the teacher
        gives nothing but blanks and these count nothing. Typical weight: 0.9 beside 0.1 of the CTC loss; 1 alone.

    Raises:
        InputError: when the shapes do not belong together, or there is no such class as `blank`.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    shares = mask
    if blank is not None:
        if blank >= teacher.shape[-1]:
            raise InputError(f"The blank is class {blank}, but there are {teacher.shape[-1]} classes", where="blank")
        shares = _frame_shares(teacher.argmax(dim=-1) != blank, mask, blank_weight, context)
    return mean_of_positions(kl_terms(teacher, student), weight, shares, average, scale=temperature**2)


def _frame_shares(spikes: Tensor, mask: Tensor | None, blank_weight: float, context: int) -> Tensor:
    """What each frame counts, 0 to 1, from where the spikes are, (B, frames) or (B,)."""
    if mask is not None:
        spikes = spikes & mask.bool()
    if context > 0 and spikes.dim() == 2:
        width = 2 * context + 1
        spikes = F.max_pool1d(spikes.float()[:, None], width, stride=1, padding=context)[:, 0] > 0
    shares = torch.where(spikes, 1.0, blank_weight)
    return shares if mask is None else shares * mask


class FrameKD(DistillationLoss):
    """`frame_kd` as a module."""

    options_type = FrameKDOptions
    temperature: float
    blank: int | None
    blank_weight: float
    context: int
    average: Average

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `frame_kd`."""
        return frame_kd(
            student_logits,
            teacher_logits,
            weight,
            mask,
            temperature=self.temperature,
            blank=self.blank,
            blank_weight=self.blank_weight,
            context=self.context,
            average=self.average,
        )
