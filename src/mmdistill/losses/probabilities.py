"""Class probabilities from logits, and the divergence between two of them that most logit losses are made of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.precision import widen


def softened(logits: Tensor, temperature: float) -> Tensor:
    """The logits over the temperature, in float32 or wider."""
    logits = widen(logits)
    return logits if temperature == 1 else logits / temperature


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) over the last dimension, in float32 or wider."""
    return F.log_softmax(softened(logits, temperature), dim=-1)


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(logits / temperature) over the last dimension, in float32 or wider."""
    return F.softmax(softened(logits, temperature), dim=-1)


def kl_terms(first: Tensor, second: Tensor) -> Tensor:
    """What KL(first ‖ second) sums over the classes, both as log-probabilities (…, C)."""
    return first.exp() * (first - second)


def kl_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first ‖ second) over the last dimension, both as log-probabilities: (…, C) to (…)."""
    return kl_terms(first, second).sum(dim=-1)


def log_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    """log(share · first + (1 − share) · second) of two tensors of probabilities.

    It stays finite where both are 0: the smallest normal number is added, which changes no other value.
    """
    mixture = torch.lerp(second, first, share)
    return mixture.add_(torch.finfo(mixture.dtype).tiny).log_()
