"""Mean and standard deviation of a stream of vectors, without keeping the stream."""

from __future__ import annotations

import numpy as np


class Moments:
    """Running mean and variance per dimension in float64.

    Groups are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979), which stays exact where a sum of squares would cancel.

    Args:
        dim: number of dimensions D.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self._squares = np.zeros(dim)

    def update(self, values: np.ndarray) -> None:
        """Take in `values` of shape (n, D)."""
        if not len(values):
            return
        values = np.asarray(values, dtype=np.float64)
        mean = values.mean(axis=0)
        squares = np.square(values - mean).sum(axis=0)
        total = self.count + len(values)
        delta = mean - self.mean
        self._squares += squares + np.square(delta) * (self.count * len(values) / total)
        self.mean = self.mean + delta * (len(values) / total)
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation per dimension, shape (D,)."""
        return np.sqrt(self._squares / max(self.count, 1))

    def summary(self, floor: float = 1e-6) -> dict[str, list[float]]:
        """`mean` and `std` as lists; a deviation under `floor` (a constant dimension) becomes 1."""
        std = self.std
        return {"mean": self.mean.tolist(), "std": np.where(std < floor, 1.0, std).tolist()}
