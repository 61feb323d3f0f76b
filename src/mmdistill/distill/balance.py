"""Terms rescaled so that each has the share of the gradient that its weight asks for.

Chen, Badrinarayanan, Lee, Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
Multitask Networks", ICML 2018, arXiv:1711.02257, section 3.1, with equal training rates (alpha = 0): the gradient of
every term is brought to their mean norm. GradNorm learns the factors by gradient descent; here they are solved for,
from averages of norms that are measured now and then over all weights of the student, as the adaptive weight of Esser,
Rombach, Ommer, "Taming Transformers for High-Resolution Image Synthesis", CVPR 2021, arXiv:2012.09841, equation 7, is
for two terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

DECAY = 0.8
"""Share of an average norm that a new measurement leaves."""
RANGE = 1e4
"""Largest factor, and the inverse of the smallest."""


class GradientBalance(nn.Module):
    """Factors that multiply the weights of terms.

    With norms n and weights w the factor of a term is Σ w n / Σ w over n: the norms of the gradients then stand to each
    other as the weights do, and their sum stays what it was, so that the learning rate keeps its meaning. Factors are 1
    until norms have been measured. Everything stays on the device, and is saved with the objective.

    Args:
        count: number of terms.
    """

    norms: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("norms", torch.full((count,), -1.0))

    def factors(self, weights: Sequence[float]) -> list[Tensor]:
        """The factor of each term at its present weight.

        Args:
            weights: from the schedules; not negative.

        Returns:
            Scalars on the device.
        """
        known = self.norms > 0
        share = torch.stack([torch.full_like(norm, weight) for norm, weight in zip(self.norms, weights, strict=True)])
        share = share * known
        total = share.sum()
        mean = (share * self.norms).sum() / torch.where(total > 0, total, 1)
        factors = (mean / torch.where(known, self.norms, 1)).clamp(1 / RANGE, RANGE)
        return list(torch.where(known & (mean > 0), factors, 1).unbind())

    @torch.no_grad()
    def observe(self, norms: Tensor) -> None:
        """Take up measured norms, one a term, of the gradients before weight and factor; ones that are NaN, infinite or
        zero leave the average as it is.
        """
        usable = norms.isfinite() & (norms > 0)
        averaged = torch.where(self.norms > 0, DECAY * self.norms + (1 - DECAY) * norms, norms)
        self.norms.copy_(torch.where(usable, averaged, self.norms))
