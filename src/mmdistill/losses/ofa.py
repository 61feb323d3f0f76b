"""One-for-all distillation: adaptive target enhancement, for student and teacher of different architectures.

Hao, Guo, Han, Tang, Hu, Wang, Xu, "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge
Distillation", NeurIPS 2023, arXiv:2310.19444.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.families.structured_logits import OFAOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import log_probabilities, probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, target_index


def ofa(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    gamma: float = 1.5,
    temperature: float = 1.0,
    others: Literal["plain", "raised"] = "plain",
) -> Tensor:
    """−T² · Σ_c w_c · log p_c of the student, with w the teacher's probabilities, that of the target enhanced.

    The target has the weight (1 + p)^gamma − 1, with p the teacher's probability of it, every other class its own
    probability; the 1 that is taken off is the supervised loss, which stands beside this one with weight 1. At gamma 1
    it is the soft cross-entropy. A larger gamma strengthens the target's share the more, the surer the teacher is, so
    that a student of another architecture learns less of the teacher's particular view of the other classes. The
    authors' code raises the probabilities of the other classes to gamma too (``others: raised``).

    In the paper the student has an exit after each stage, a small head of its own on the stage's features, and each
    exit as well as the final logits has this loss. One call takes the logits of one exit: add a term for each, with
    `taps` naming the exit. Exits are dropped when the student is trained.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences: the final ones, or those of one exit.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) or (B, L) class indices; a negative one is a row without target.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        gamma: at least 1; the authors take 1 to 1.5.
        temperature: above 0; the authors keep it at 1, where T² makes no difference.
        others: weight of the other classes, their ``plain`` probability or it ``raised`` to gamma.

    Returns:
        A scalar, at least 0; not zero where student and teacher agree, and its minimum is there with gamma 1 only.
        Typical weight: 1, for each exit and for the final logits.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    index = target_index(target)
    teacher = probabilities(teacher_logits.detach(), temperature)
    enhanced = (1 + teacher.gather(-1, index)) ** gamma - 1
    weights = (teacher**gamma if others == "raised" else teacher).scatter(-1, index, enhanced)
    terms = weights * log_probabilities(student_logits, temperature)
    return mean_of_sums(terms, *counted(target, labelled, weight, mask), scale=-(temperature**2))


class OFA(DistillationLoss):
    """`ofa` as a module."""

    options_type = OFAOptions
    gamma: float
    temperature: float
    others: Literal["plain", "raised"]

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `ofa`."""
        return ofa(
            student_logits,
            teacher_logits,
            target,
            labelled,
            weight,
            mask,
            gamma=self.gamma,
            temperature=self.temperature,
            others=self.others,
        )
