"""Class probabilities from logits, and the divergence between two of them that most logit losses are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.losses.precision import widen


def softened(logits: Tensor, temperature: float) -> Tensor:
    """The logits over the temperature, in float32 or wider."""
    logits = widen(logits)
    # A product is faster than a division, forward and backward.
    return logits if temperature == 1 else logits * (1 / temperature)


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) over the last dimension, in float32 or wider."""
    return softened(logits, temperature).log_softmax(dim=-1)


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(logits / temperature) over the last dimension, in float32 or wider."""
    return softened(logits, temperature).softmax(dim=-1)


def kl_terms(first: Tensor, second: Tensor) -> Tensor:
    """What KL(first ‖ second) sums over the classes, both as log-probabilities (…, C)."""
    difference = first - second  # while both are still in the cache
    return first.exp() * difference


def kl_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first ‖ second) over the last dimension, both as log-probabilities: (…, C) to (…)."""
    return kl_terms(first, second).sum(dim=-1)


def log_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    """log(share · first + (1 − share) · second) of two tensors of probabilities.

    It stays finite where both are 0: the smallest normal number is added, which changes no other value.
    """
    mixture = torch.lerp(second, first, share)
    return mixture.add_(torch.finfo(mixture.dtype).tiny).log_()
