"""What a row counts by the columns that the student was shown of it.

Under modality dropout most rows of a batch are incomplete, and the loss of those is what a student with fewer columns
has to learn from. MMANet (Wei, Luo, Luo, CVPR 2023, arXiv:2304.08028) gives the combinations that a model is weak at a
further loss; here a row's combination says what the row counts in the losses that there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmdistill.data.subset_names import named_subsets


def subset(
    seen: Tensor,
    columns: Sequence[str],
    *,
    missing_weight: float = 2.0,
    weights: Mapping[str, float] | None = None,
) -> Tensor:
    """`missing_weight` to the power of how many columns were not shown, or what is stated for the shown ones.

    Args:
        seen: bool (B, M), which columns the student was shown.
        columns: their names.
        missing_weight: above 0.
        weights: names of columns joined by ``+`` → what a row counts that was shown exactly these.

    Returns:
        (B,), not negative.

    Raises:
        InputError: when `weights` name another column, or a subset twice.
    """
    hidden = len(columns) - seen.sum(dim=1)
    counts = torch.pow(missing_weight, hidden.to(torch.float32))
    for named, weight in named_subsets(weights or {}, columns, "weights").items():
        same = [flags if column in named else ~flags for column, flags in zip(columns, seen.unbind(1), strict=True)]
        counts = torch.where(torch.stack(same).all(dim=0), weight, counts)
    return counts
