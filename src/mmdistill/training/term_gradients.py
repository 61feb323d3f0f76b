"""How strongly each loss term pulls at the weights of the models, measured now and then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mmdistill.distill.objective import Objective
from mmdistill.distill.terms import Terms
from mmdistill.training.phase import Phase

EVERY = 25
"""Fewest optimiser steps between two measurements, each of which costs a backward pass a term."""
FLOAT16_SCALE = 1024.0
"""Under float16 gradients of activations would underflow; the loss is multiplied by this first."""


class TermGradients:
    """Measures the gradient of each term at the first step and every so many after it.

    Args:
        phase: whose modules, but for objectives, hold the weights that count; a term that moves only its own adapter
            teaches no one. It is told of the norms, where it wants to know.
        log_every: optimiser steps between two readings of the losses.
        scaled: whether gradients are in float16.
    """

    def __init__(self, phase: Phase, log_every: int, *, scaled: bool = False) -> None:
        self._parameters = model_parameters(phase.modules.values())
        self._observe = phase.observe
        self._every = EVERY if phase.observe is not None else max(EVERY, log_every)
        self._scale = FLOAT16_SCALE if scaled else 1.0

    def at(self, step: int, terms: Terms) -> Tensor | None:
        """The norm of each term's gradient, (terms,); None when it is not due, or there is one term only.

        Args:
            step: the optimiser step, counted from 0.
            terms: of a batch, before its backward pass.
        """
        if len(terms.parts) < 2 or step % self._every:
            return None
        norms = term_gradient_norms(terms, self._parameters, scale=self._scale)
        if self._observe is not None:
            self._observe(norms, step)
        return norms


def model_parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The trainable parameters of all modules but objectives, each once."""
    found = {
        id(parameter): parameter
        for module in modules
        if not isinstance(module, Objective)
        for parameter in module.parameters()
        if parameter.requires_grad
    }
    return list(found.values())


def term_gradient_norms(terms: Terms, parameters: Sequence[Tensor], *, scale: float = 1.0) -> Tensor:
    """The norm of the gradient of every weighted term over some parameters.

    The graph is kept, so that the backward pass of the step can follow; nothing waits for the device.

    Args:
        terms: of a batch, not yet gone through.
        parameters: the gradients of which are taken.
        scale: see `FLOAT16_SCALE`.

    Returns:
        (terms,), 0 for a term that reaches none of the parameters.
    """
    return torch.stack([_norm(part, parameters, scale) for part in terms.parts.values()])


def _norm(part: Tensor, parameters: Sequence[Tensor], scale: float) -> Tensor:
    if not part.requires_grad or not parameters:
        return torch.zeros_like(part.detach(), dtype=torch.float32)
    found = torch.autograd.grad(part * scale, parameters, retain_graph=True, allow_unused=True)
    gradients = [gradient for gradient in found if gradient is not None]
    if not gradients:
        return torch.zeros_like(part.detach(), dtype=torch.float32)
    return torch.nn.utils.get_total_norm(gradients).to(torch.float32) / scale
