"""Optimisers of a module's trainable parameters, with weight decay kept off biases and norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mmdistill.errors import InputError
from mmdistill.recipe.schema import Component
from mmdistill.training.catalog import AdamOptions, OptimizerOptions, SGDOptions

FUSED_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})


def make_optimizer(module: nn.Module, component: Component, learning_rate: float) -> Optimizer:
    """The optimiser that a recipe names, over the parameters of `module` that require a gradient.

    Args:
        module: what is trained; frozen parameters are left out.
        component: ``train.optimizer``.
        learning_rate: highest learning rate, > 0.

    Raises:
        InputError: when nothing in `module` can be trained, or when `fused` is asked for and not possible.
    """
    optimizer: Optimizer = component.build("optimizer", module, learning_rate)
    return optimizer


def sgd(module: nn.Module, learning_rate: float, options: SGDOptions) -> SGD:
    """Gradient descent with optional momentum (Sutskever et al., 2013)."""
    return SGD(
        parameter_groups(module, options),
        lr=learning_rate,
        momentum=options.momentum,
        nesterov=options.nesterov,
        **_fused(module, options),
    )


def adam(module: nn.Module, learning_rate: float, options: AdamOptions) -> Adam:
    """Adam (Kingma and Ba, 2015)."""
    return Adam(
        parameter_groups(module, options),
        lr=learning_rate,
        betas=options.betas,
        eps=options.eps,
        **_fused(module, options),
    )


def adamw(module: nn.Module, learning_rate: float, options: AdamOptions) -> AdamW:
    """AdamW (Loshchilov and Hutter, 2019)."""
    return AdamW(
        parameter_groups(module, options),
        lr=learning_rate,
        betas=options.betas,
        eps=options.eps,
        **_fused(module, options),
    )


def parameter_groups(module: nn.Module, options: OptimizerOptions) -> list[dict[str, Any]]:
    """Trainable parameters in one group, or in two: matrices with the weight decay, vectors without.

    Biases and the scales of norms are the parameters of at most one dimension; decaying them costs accuracy and keeps
    nothing small (He et al., 2019, "Bag of tricks").

    Raises:
        InputError: when `module` has no trainable parameter.
    """
    parameters = trainable(module)
    if not parameters:
        raise InputError(
            "The model has no parameter that can be trained",
            fix="Unfreeze an encoder, or choose a model that learns",
        )
    if options.weight_decay == 0 or options.decay_vectors:
        return [{"params": parameters, "weight_decay": options.weight_decay}]
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a module that require a gradient, each once, in the order of the module tree."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _fused(module: nn.Module, options: OptimizerOptions) -> dict[str, bool]:
    """The `fused` argument. Left out in the recipe it is on where PyTorch has such a kernel."""
    possible = all(
        parameter.device.type in FUSED_DEVICES and torch.is_floating_point(parameter) for parameter in trainable(module)
    )
    if options.fused and not possible:
        raise InputError(
            "A fused optimiser is not available for the device or the type of these parameters",
            where="train.optimizer.fused",
            fix="Leave fused out",
        )
    return {"fused": possible if options.fused is None else options.fused}
