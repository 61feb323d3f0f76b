"""How well stated confidence agrees with what is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15


@dataclass(frozen=True)
class ReliabilityBins:
    """Rows by their confidence, in bins of equal width over [0, 1].

    Attributes:
        edges: (bins + 1,) from 0 to 1; a bin holds what is above its lower and at most its upper edge.
        counts: (bins,) rows.
        confidence: (bins,) mean confidence of the rows; NaN in an empty bin.
        accuracy: (bins,) part of the rows that is right; NaN in an empty bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def expected_calibration_error(self) -> float:
        """Mean over rows of |accuracy − confidence| of their bin, in [0, 1]; NaN without rows."""
        filled = self.counts > 0
        if not filled.any():
            return float("nan")
        gap = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((gap * self.counts[filled]).sum() / self.counts.sum())


def _edges(bins: int) -> NDArray[np.float64]:
    return np.linspace(0.0, 1.0, bins + 1)


def bin_of(confidence: NDArray[np.float64], bins: int = ECE_BINS) -> NDArray[np.int64]:
    """The bin of each confidence, (N,) in [0, bins); what lies on an edge belongs to the bin below it."""
    return np.clip(np.searchsorted(_edges(bins), confidence, side="left") - 1, 0, bins - 1).astype(np.int64)


def reliability_bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = ECE_BINS
) -> ReliabilityBins:
    """Sort rows into bins of their confidence.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, equations 1
    to 3, with 15 bins as there.

    Args:
        confidence: (N,) probability of the predicted class, in [0, 1].
        right: (N,) whether the prediction is right.
        bins: number of bins.
    """
    index = bin_of(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(index, weights=confidence, minlength=bins) / counts
        accuracy = np.bincount(index, weights=right.astype(np.float64), minlength=bins) / counts
    return ReliabilityBins(_edges(bins), counts.astype(np.int64), mean_confidence, accuracy)
