"""Shared and private representations of the modalities (MISA): alike, apart, and together enough to restore the input.

Hazarika, Zimmermann, Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment Analysis",
ACM MM 2020, arXiv:2005.03545, section 3. Central moment discrepancy: Zellinger et al., ICLR 2017, arXiv:1702.08811;
difference and scale-invariant error: Bousmalis et al., NIPS 2016, arXiv:1608.06019.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.columns import stack_columns, stack_pairs
from mmdistill.losses.families.shared_private import (
    MISACMDOptions,
    MISADifferenceOptions,
    MISAReconstructionOptions,
)
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.row_shares import row_shares


def misa_cmd(
    student_shared: tuple[Tensor, ...],
    weight: Tensor | None = None,
    *,
    moments: int = 5,
    interval: float = 1.0,
) -> Tensor:
    """Central moment discrepancy between the shared representations of the columns, averaged over their pairs.

    ‖E(a) − E(b)‖ / |I| + Σ_k ‖c_k(a) − c_k(b)‖ / |I|^k with the central moments c_k, k from 2 to `moments`, and the
    length |I| of the interval that the values lie in. The authors' code has no interval, which is the same for the
    outputs of a sigmoid that it takes; there the gradient is not finite where two columns have equal moments.

    Args:
        student_shared: (B, D) each, two columns or more; bounded values, such as those of a sigmoid.
        weight: (B,) weight of each row, not negative.
        moments: highest moment that is compared, at least 1; 5 in the paper.
        interval: length of the interval that the values lie in, above 0; 1 for a sigmoid, 2 for a tanh.

    Returns:
        A scalar, at least 0, and 0 where the columns have the same moments. Typical weight: 0.7 to 1.

    Raises:
        InputError: when there are fewer than two columns, or shapes differ.
    """
    shared = stack_columns(student_shared, "student_shared", at_least=2)
    shares = row_shares(shared, weight)[:, None, None]
    mean = (shares * shared).sum(dim=0)
    centred = (shared - mean) / interval
    central = [(shares * centred**order).sum(dim=0) for order in range(2, moments + 1)]
    columns = range(shared.shape[1])
    lengths = [
        _length(one[i] - one[j]) for one in (mean / interval, *central) for i in columns for j in columns if i < j
    ]
    return torch.stack(lengths).sum() / (len(lengths) / moments)


def _length(vector: Tensor) -> Tensor:
    """L2 norm, brought to size first: the square of a fifth power would overflow; its gradient at zero is zero."""
    size = vector.detach().abs().amax()
    size = torch.where(size > 0, size, 1)
    return torch.linalg.vector_norm(vector / size) * size


class MISACMD(DistillationLoss):
    """`misa_cmd` as a module."""

    options_type = MISACMDOptions
    moments: int
    interval: float

    def forward(self, student_shared: tuple[Tensor, ...], weight: Tensor | None = None) -> Tensor:
        """See `misa_cmd`."""
        return misa_cmd(student_shared, weight, moments=self.moments, interval=self.interval)


@without_autocast
def misa_difference(
    student_shared: tuple[Tensor, ...],
    student_private: tuple[Tensor, ...],
    weight: Tensor | None = None,
    *,
    reduction: Literal["sum", "mean"] = "sum",
    detach_norm: bool = False,
) -> Tensor:
    """Σ ‖Aᵀ B‖² over (shared, private) of each column and (private, private) of each pair of columns.

    A and B (B, D) are centred over the batch, then each row is divided by its length. The authors' code takes the
    mean over the D × D entries in place of the squared Frobenius norm (``reduction="mean"``) and lets no gradient
    through the lengths (``detach_norm=True``).

    Args:
        student_shared: (B, D) each, one a column.
        student_private: the same columns and shapes.
        weight: (B,) weight of each row, not negative; only the relative size matters.
        reduction: ``sum`` of the squares of the D × D products, or their ``mean``.
        detach_norm: take the lengths of the rows as constants in the gradient.

    Returns:
        A scalar, at least 0; with ``sum`` it grows with the square of the number of rows. Typical weight: 0.3 with
        ``mean``.

    Raises:
        InputError: when the columns or shapes of the two differ.
    """
    shared, private = stack_pairs(student_shared, "student_shared", student_private, "student_private")
    shares = row_shares(shared, weight)[:, None, None]
    # Weights of mean 1 over the rows that count, so that a row of weight 0 is as if it were not there.
    weights = shares * (shares > 0).sum()
    parts = [_centred_rows(values, shares, detach_norm) for values in (shared, private)]
    columns = range(shared.shape[1])
    pairs = [(parts[0][:, i], parts[1][:, i]) for i in columns]
    pairs += [(parts[1][:, i], parts[1][:, j]) for i in columns for j in columns if i < j]
    products = torch.stack([(weights[:, 0] * one).T @ other for one, other in pairs])
    squares = products.square().sum(dim=0)
    return squares.sum() if reduction == "sum" else squares.mean()


def _centred_rows(values: Tensor, shares: Tensor, detach_norm: bool) -> Tensor:
    """Each column minus its mean over the batch, each row of it over its length: (B, columns, D)."""
    centred = values - (shares * values).sum(dim=0)
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    return centred / ((norm.detach() if detach_norm else norm) + 1e-6)


class MISADifference(DistillationLoss):
    """`misa_difference` as a module."""

    options_type = MISADifferenceOptions
    reduction: Literal["sum", "mean"]
    detach_norm: bool

    def forward(
        self, student_shared: tuple[Tensor, ...], student_private: tuple[Tensor, ...], weight: Tensor | None = None
    ) -> Tensor:
        """See `misa_difference`."""
        return misa_difference(
            student_shared, student_private, weight, reduction=self.reduction, detach_norm=self.detach_norm
        )


def misa_reconstruction(
    student_embeddings: tuple[Tensor, ...],
    student_reconstructions: tuple[Tensor, ...],
    weight: Tensor | None = None,
    *,
    error: Literal["squared", "scale_invariant", "squared_mean"] = "squared",
) -> Tensor:
    """Error of what a decoder restores from a column's shared and private representation, averaged over the columns.

    With d the difference of a row, of width D: ‖d‖² / D (``squared``, MISA), ‖d‖² / D − (Σ d)² / D²
    (``scale_invariant``, Bousmalis et al.), or (Σ d)² / D² alone (``squared_mean``). The last is what the authors'
    class SIMSE computes, over the whole batch as if it were one row: errors that cancel out count nothing in it.

    Args:
        student_embeddings: (B, D) each, one a column; they receive gradient, as in the paper.
        student_reconstructions: the same columns and shapes.
        weight: (B,) weight of each row, not negative.
        error: see above.

    Returns:
        A scalar, at least 0. Typical weight: 1.

    Raises:
        InputError: when the columns or shapes of the two differ.
    """
    originals, restored = stack_pairs(
        student_embeddings, "student_embeddings", student_reconstructions, "student_reconstructions"
    )
    difference = restored - originals
    squared, mean = difference.square().mean(dim=-1), difference.mean(dim=-1).square()
    values = {"squared": squared, "scale_invariant": squared - mean, "squared_mean": mean}[error]
    return weighted_mean(values.mean(dim=1), weight)


class MISAReconstruction(DistillationLoss):
    """`misa_reconstruction` as a module."""

    options_type = MISAReconstructionOptions
    error: Literal["squared", "scale_invariant", "squared_mean"]

    def forward(
        self,
        student_embeddings: tuple[Tensor, ...],
        student_reconstructions: tuple[Tensor, ...],
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `misa_reconstruction`."""
        return misa_reconstruction(student_embeddings, student_reconstructions, weight, error=self.error)
