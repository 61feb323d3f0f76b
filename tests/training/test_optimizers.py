"""Optimisers take the same steps as PyTorch's own, with weight decay kept off biases and norms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mmdistill.errors import InputError
from mmdistill.recipe.schema import Component
from mmdistill.training.catalog import SGDOptions
from mmdistill.training.optimizers import make_optimizer, parameter_groups
from tests.training.standins import new_model


def component(**options: Any) -> Component:
    return Component.model_validate(options)


def after_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4) -> list[torch.Tensor]:
    for step in range(steps):
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * (step + 1)) * (-1) ** number
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        ({"name": "sgd"}, lambda parameters: torch.optim.SGD(parameters, lr=0.1)),
        (
            {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "decay_vectors": True},
            lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        ),
        (
            {"name": "adam", "betas": [0.8, 0.9], "eps": 1e-6, "weight_decay": 0.1, "decay_vectors": True},
            lambda parameters: torch.optim.Adam(parameters, lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1),
        ),
        (
            {"name": "adamw", "decay_vectors": True},
            lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.01),
        ),
    ],
)
def test_takes_the_steps_of_torch(spec: dict[str, Any], theirs: Any, fused: bool) -> None:
    mine, other = new_model(), new_model()
    ours = after_steps(mine, make_optimizer(mine, component(**spec, fused=fused), 0.1))
    reference = after_steps(other, theirs(other.parameters()))
    for one, two in zip(ours, reference, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_only_matrices_decay_unless_asked() -> None:
    model = new_model()
    decayed, kept = parameter_groups(model, SGDOptions(weight_decay=0.1))
    assert {id(one) for one in decayed["params"]} == {id(model.hidden.weight), id(model.head.weight)}
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0
    assert len(kept["params"]) == 4
    (everything,) = parameter_groups(model, SGDOptions(weight_decay=0.1, decay_vectors=True))
    assert len(everything["params"]) == 6


def test_frozen_parameters_are_left_out() -> None:
    model = new_model()
    model.hidden.requires_grad_(False)
    (group,) = parameter_groups(model, SGDOptions())
    assert len(group["params"]) == 4


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(InputError, match="no parameter that can be trained"):
        parameter_groups(new_model().requires_grad_(False), SGDOptions())


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "sgd", "nesterov": True},
        {"name": "sgd", "momentum": 1.0},
        {"name": "adam", "betas": [0.9, 1.0]},
        {"name": "adamw", "momentum": 0.9},
        {"name": "adamw", "weight_decay": -1},
    ],
)
def test_bad_options_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_optimizer(new_model(), component(**bad), 0.1)


def test_an_unknown_optimizer_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'adamw'"):
        make_optimizer(new_model(), component(name="adamww"), 0.1)
