"""The mean of the training rows stands in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.masking import where_true
from mmdistill.models.missing.catalog import TrainingMeanOptions
from mmdistill.models.missing.completed import Completed
from mmdistill.models.missing.stand_ins import stand_in


class TrainingMean(nn.Module):
    """Mean imputation: the mean of a column's embedding over the training rows that have it.

    The mean is taken of what the encoder gives while it is trained, a batch at a time, and is fixed in eval mode. It is
    held in buffers and saved with the model. No gradient passes through it.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `TrainingMeanOptions`.
    """

    means: Tensor
    counts: Tensor

    def __init__(self, dims: Mapping[str, int], options: TrainingMeanOptions) -> None:
        super().__init__()
        self.dims, self.momentum = dict(dims), options.momentum
        self.register_buffer("means", torch.zeros(sum(dims.values())))
        self.register_buffer("counts", torch.zeros(len(dims), dtype=torch.int64))

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Completed:
        """See `stand_in`. In training the batch is part of the mean that stands in for what it lacks."""
        if self.training:
            self._take_in(embeddings, present)
        # A copy: the buffer changes at the next step, when gradients of this one may still be wanted.
        own = dict(zip(self.dims, self.means.clone().split(list(self.dims.values())), strict=True))
        return stand_in(embeddings, tokens, masks, present, own)

    @torch.no_grad()
    def _take_in(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        """m ← m + (Σ x - n · m) / N over the n present rows of the batch, N of them so far; or the exponential mean."""
        wide = torch.promote_types(self.means.dtype, torch.float32)
        before = self.means.to(wide).split(list(self.dims.values()))
        after: list[Tensor] = []
        counts: list[Tensor] = []
        for index, (column, mean) in enumerate(zip(self.dims, before, strict=True)):
            rows = present[column]
            count = rows.sum()
            total = self.counts[index] + count
            difference = where_true(rows, embeddings[column].to(wide) - mean).sum(0)
            share = 1 / total.clamp(min=1).to(wide)
            if self.momentum is not None:
                # The first rows are taken as they are, so that the mean does not lean towards its first value of zero.
                later = self.momentum / count.clamp(min=1).to(wide)
                share = torch.where(self.counts[index] > 0, later, share)
            after.append(mean + difference * share)
            counts.append(total)
        self.means.copy_(torch.cat(after))
        self.counts.copy_(torch.stack(counts))
