"""Ranking and feature distillation for multimodal recommenders (PromptMM).

Wei, Tang, Xia, Jiang, Huang, "PromptMM: Multi-Modal Knowledge Distillation for Recommendation with Prompt-Tuning",
WWW 2024, arXiv:2402.17188, section 3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.dkd import dkd
from mmdistill.losses.families.modalities import (
    PromptMMFeatureOptions,
    PromptMMListwiseOptions,
    PromptMMPairwiseOptions,
)
from mmdistill.losses.feature_shapes import check_same_shape
from mmdistill.losses.kd import kd
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, target_index
from mmdistill.losses.unit_vectors import unit_vectors


def promptmm_pairwise(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """KL(σ(d_teacher) ‖ σ(d_student)), d a row's score of the target minus that of another candidate, averaged.

    σ(d) is the chance that the target is preferred, as in Bayesian personalised ranking; how sure the teacher is of
    each preference is what the student learns. With a teacher that is certain, it is the supervised BPR loss
    −log σ(d_student). The authors' code hands −log σ to a KL divergence that expects logarithms and takes −log σ of
    the teacher for its probability; that loss falls as the student gets worse, and is not offered.

    Args:
        student_logits: (B, candidates), scores of two candidates or more.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) which candidate is the one that was chosen; negative where there is none.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.

    Returns:
        A scalar, at least 0, and 0 where all differences of scores agree. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together, or there is only one candidate.
    """
    _check_candidates(student_logits, teacher_logits, target)
    index = target_index(target)
    student, teacher = widen(student_logits), widen(teacher_logits.detach())
    student, teacher = student.gather(-1, index) - student, teacher.gather(-1, index) - teacher
    chance = teacher.sigmoid()
    divergence = chance * (F.logsigmoid(teacher) - F.logsigmoid(student))
    divergence = divergence + (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    # The target beside itself is a difference of 0 on both sides and adds nothing.
    return weighted_mean(divergence.sum(dim=-1) / (student.shape[-1] - 1), *counted(target, labelled, weight, None))


def _check_candidates(student_logits: Tensor, teacher_logits: Tensor, target: Tensor) -> None:
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    if student_logits.dim() != 2 or student_logits.shape[-1] < 2:
        raise InputError(f"student_logits has shape {tuple(student_logits.shape)}, not (rows, two candidates or more)")


class PromptMMPairwise(DistillationLoss):
    """`promptmm_pairwise` as a module."""

    options_type = PromptMMPairwiseOptions

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `promptmm_pairwise`."""
        return promptmm_pairwise(student_logits, teacher_logits, target, labelled, weight)


def promptmm_listwise(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    form: Literal["disentangled", "plain"] = "disentangled",
    alpha: float = 100.0,
    beta: float = 1.0,
) -> Tensor:
    """Divergence between the two sides' distributions over the candidates of a row.

    ``disentangled``: alpha · KL of (target, the rest) + beta · KL over the rest, which is `dkd` over candidates at
    temperature 1; ``plain``: KL over all candidates. One term for each modality that the teacher scores with.

    The authors' code passes softmax probabilities to dkd, which takes them for logits: after the second softmax no
    candidate has more than e times the chance of another. Give it scores. Its plain form has the same fault as the
    authors' pairwise one, see `promptmm_pairwise`.

    Args:
        student_logits: (B, candidates), scores of two candidates or more.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) which candidate is the one that was chosen; negative where there is none.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        form: see above.
        alpha: weight of the target's term.
        beta: weight of the term of the other candidates.

    Returns:
        A scalar, at least 0, and 0 where the sides agree up to a constant per row. Typical weight: 0.1 with the
        default alpha.

    Raises:
        InputError: when the shapes do not belong together, or there is only one candidate.
    """
    _check_candidates(student_logits, teacher_logits, target)
    if form == "disentangled":
        return dkd(student_logits, teacher_logits, target, labelled, weight, temperature=1.0, alpha=alpha, beta=beta)
    return kd(student_logits, teacher_logits, counted(target, labelled, weight, None)[0], temperature=1.0)


class PromptMMListwise(DistillationLoss):
    """`promptmm_listwise` as a module."""

    options_type = PromptMMListwiseOptions
    form: Literal["disentangled", "plain"]
    alpha: float
    beta: float

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `promptmm_listwise`."""
        return promptmm_listwise(
            student_logits,
            teacher_logits,
            target,
            labelled,
            weight,
            form=self.form,
            alpha=self.alpha,
            beta=self.beta,
        )


def promptmm_feature(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    exponent: float = 2.0,
    dropped: float = 0.0,
) -> Tensor:
    """(1 − cos(student, teacher))^exponent, averaged over rows: the scaled cosine error between embeddings.

    Above 1, the exponent lets rows that agree already count less. The authors' other choice, the mean squared error of
    normalised embeddings, is `normalised_mse`.

    Args:
        student_features: (B, D).
        teacher_features: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        exponent: at least 1; 2 in the paper.
        dropped: share of the rows, those furthest apart, that are left out as noise; from 0, as in the paper, to
            below 1. Of n rows ⌊(1 − dropped) · n⌋ are kept.

    Returns:
        A scalar from 0, where the directions agree, to 2^exponent. Typical weight: 0.1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_same_shape(student_features, teacher_features, "features")
    student, teacher = unit_vectors(widen(student_features)), unit_vectors(widen(teacher_features.detach()))
    # Not below zero, where rounding may bring it and a power has no value.
    apart = (1 - (student * teacher).sum(dim=-1)).clamp(min=0)
    if dropped > 0:
        weight = _without_furthest(apart.detach(), weight, dropped)
    return weighted_mean(apart if exponent == 1 else apart**exponent, weight)


def _without_furthest(apart: Tensor, weight: Tensor | None, dropped: float) -> Tensor:
    """The weight of each row, (B,), with that of the share of the rows that are furthest apart set to zero."""
    weight = torch.ones_like(apart) if weight is None else weight
    counts = weight > 0
    rank = torch.where(counts, apart, torch.inf).argsort(stable=True).argsort()
    # A little more than the product, whose rounding may fall below a whole number.
    kept = ((1 - dropped) * counts.sum() + 1e-4).floor()
    return weight * (rank < kept)


class PromptMMFeature(DistillationLoss):
    """`promptmm_feature` as a module."""

    options_type = PromptMMFeatureOptions
    exponent: float
    dropped: float

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `promptmm_feature`."""
        return promptmm_feature(
            student_features, teacher_features, weight, exponent=self.exponent, dropped=self.dropped
        )
