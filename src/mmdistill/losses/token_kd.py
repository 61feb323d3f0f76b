"""Word-level knowledge distillation of sequence decoders.

Kim, Rush, "Sequence-Level Knowledge Distillation", EMNLP 2016, arXiv:1606.07947, section 3.1.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.task_outputs import TokenKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.positions import Average, mean_of_positions
from mmdistill.losses.probabilities import kl_terms, log_probabilities
from mmdistill.losses.shapes import check_logits, check_target


def token_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor | None = None,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    average: Average = "positions",
) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) at each token.

    Both sides must have read the same tokens before it. A token counts where the mask says so and the target is a
    token: the label −100 (or any below 0) leaves out padding, prompts and whatever else has no loss of its own. A row
    without targets counts at all tokens of the mask. The paper writes the cross-entropy, which has the same gradient,
    and takes T = 1.

    Args:
        student_logits: (B, L, vocabulary), or (B, vocabulary) for one token a row.
        teacher_logits: the same shape; receives no gradient.
        target: (B, L) or (B,) token numbers, aligned with the logits; those below 0 are left out.
        labelled: (B,), true where a row has targets; all when left out.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at tokens that count.
        temperature: above 0.
        average: over all ``positions`` together, or of each of the ``rows`` first (length-normalised).

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per token. Typical weight: 0.5
        beside 0.5 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    counts = mask
    if target is not None:
        check_target(target, student_logits)
        known = target >= 0
        if labelled is not None:
            known = known | ~labelled.bool().view(-1, *[1] * (target.dim() - 1))
        counts = known if mask is None else mask & known
    student = log_probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    return mean_of_positions(kl_terms(teacher, student), weight, counts, average, scale=temperature**2)


class TokenKD(DistillationLoss):
    """`token_kd` as a module."""

    options_type = TokenKDOptions
    temperature: float
    average: Average

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor | None = None,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `token_kd`."""
        return token_kd(
            student_logits,
            teacher_logits,
            target,
            labelled,
            weight,
            mask,
            temperature=self.temperature,
            average=self.average,
        )
