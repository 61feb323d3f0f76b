"""Whether a teacher ranks the classes of a row in an order that the student's columns can follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmdistill.evaluation.diagnosis.estimates import Floats

SELECTED_ABOVE = 0.0
"""The threshold above which C2KD teaches a row."""


def rank_agreement(student_logits: Floats, teacher_logits: Floats) -> dict[str, Any]:
    """Kendall's tau between two rankings of the classes of each row.

    Huo, Xu, Guo, Wang, Guo, "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge Distillation", CVPR 2024, leaves
    out rows in which it is low, because there the teacher contradicts what the student can see.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C).

    Returns:
        ``kendall``, its mean over the rows, from −1 to 1; ``followed``, the share of rows above the threshold 0, which
        C2KD would teach; ``rows``.
    """
    from mmdistill.losses.rank_agreement import kendall_agreement

    pair = (torch.from_numpy(np.asarray(logits, dtype=np.float64)) for logits in (student_logits, teacher_logits))
    tau = kendall_agreement(*pair)
    return {
        "kendall": float(tau.mean()),
        "followed": float((tau > SELECTED_ABOVE).double().mean()),
        "rows": len(tau),
    }
