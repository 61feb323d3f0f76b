"""Channel-wise distillation: each channel of a map is a distribution over positions.

Shu, Liu, Gao, Yan, Shen, "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021, arXiv:2011.13256,
section 3.2.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.maps import CWDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import check_maps


def cwd(
    student_maps: Tensor, teacher_maps: Tensor, weight: Tensor | None = None, *, temperature: float = 4.0
) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) over positions, averaged over channels and rows.

    Args:
        student_maps: (B, C, *positions): features, or logits of a dense prediction.
        teacher_maps: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        temperature: above 0; the higher, the larger the region of a channel that counts. The paper takes 4.

    Returns:
        A scalar, at least 0, and 0 where the maps agree up to a constant a channel. Typical weight: 50 for features, 3
        for logits.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_maps(student_maps, teacher_maps, equal_widths=True, equal_sizes=True)
    student = F.log_softmax(widen(student_maps).flatten(2) / temperature, dim=2)
    teacher = F.log_softmax(widen(teacher_maps.detach()).flatten(2) / temperature, dim=2)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=2).mean(dim=1)
    return weighted_mean(divergence, weight) * temperature**2


class CWD(DistillationLoss):
    """`cwd` as a module."""

    options_type = CWDOptions
    temperature: float

    def forward(self, student_maps: Tensor, teacher_maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `cwd`."""
        return cwd(student_maps, teacher_maps, weight, temperature=self.temperature)
