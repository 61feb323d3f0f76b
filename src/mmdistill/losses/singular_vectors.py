"""Leading right singular vectors of many matrices, with a gradient that stays finite where singular values meet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def singular_vectors(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values and right singular vectors.

    The exact gradient divides by the differences of squared singular values, and by singular values. Where these are
    below the precision of the numbers, the direction of a vector is arbitrary, and so is its gradient: there it is
    faded out. The singular values receive no gradient, and the signs of the vectors are arbitrary.

    Args:
        matrices: (B, M, N).

    Returns:
        (B, K) in falling order, and (B, N, K), with K = min(M, N).
    """
    values, vectors, _ = _SingularVectors.apply(matrices)
    return values, vectors


class _SingularVectors(torch.autograd.Function):
    """With A = U S Vᵀ and Ω = VᵀdV: Ω_ij = (S P + Pᵀ S)_ij / (s_j² − s_i²), where P = Uᵀ dA V."""

    @staticmethod
    def forward(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        return values, right.mH.contiguous(), left

    @staticmethod
    def setup_context(
        context: Any,
        inputs: tuple[Tensor],  # noqa: ARG004 (PyTorch's signature)
        output: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        values, vectors, left = output
        context.mark_non_differentiable(values, left)
        context.save_for_backward(values, vectors, left)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        values, vectors, left = context.saved_tensors
        gradient = gradients[1]
        finfo = torch.finfo(values.dtype)
        scale = values[:, :1].clamp(min=finfo.tiny**0.5)
        values = values / scale
        projected = vectors.mT @ gradient
        squares = values.square()
        inner = projected * _inverse(squares[:, None, :] - squares[:, :, None], finfo.eps)
        result = left @ (values[:, :, None] * (inner + inner.mT)) @ vectors.mT
        # What a vector changes by outside the span of all of them.
        outside = gradient - vectors @ projected
        result = result + left @ (_inverse(values, finfo.eps)[:, :, None] * outside.mT)
        return result / scale[:, :, None]


def _inverse(values: Tensor, precision: float) -> Tensor:
    """1 / values, fading to 0 where they are below `precision`."""
    return values / (values.square() + precision**2)
