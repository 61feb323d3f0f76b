"""Models that learn in one training: what they hear of each other, and what stays their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmdistill.distill.own_past import OwnPast
from mmdistill.distill.signals import PRESENT
from mmdistill.distill.terms import Terms
from mmdistill.recipe.schema import ComputeSpec
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.group import heard
from mmdistill.training.loop import fit
from mmdistill.training.phase import Phase
from tests.training.standins import Memory, equal_weights, new_model, spec


def trained(models: dict[str, nn.Module], scales: dict[str, float]) -> None:
    def step(batch: Any, index: int) -> Terms:
        target = batch["target"]["label"]
        return Terms.sum(
            {
                name: F.cross_entropy(model(batch["features"])["logits"], target) * scales[name]
                for name, model in models.items()
            }
        )

    optimizers = {name: torch.optim.SGD(model.parameters(), 0.1) for name, model in models.items()}
    phase = Phase("together", models, optimizers, step)
    settings = spec(clip_norm=0.05, select="last")
    fit(phase, Memory(), settings, accelerator=make_accelerator(ComputeSpec(device="cpu")), seed=0)


def test_a_gradient_is_not_clipped_for_that_of_a_peer() -> None:
    alone, beside = new_model(0, dropout=0.0), new_model(0, dropout=0.0)
    trained({"one": alone}, {"one": 1.0})
    trained({"one": beside, "two": new_model(1, dropout=0.0)}, {"one": 1.0, "two": 1000.0})
    assert equal_weights(alone, beside)


def test_what_is_said_of_a_row_that_was_not_seen_does_not_count() -> None:
    batch: Any = {"present": {"sound": torch.tensor([True, False]), "text": torch.tensor([False, False])}}
    outputs = {"a": {"logits": torch.ones(2, 3, requires_grad=True)}, "b": {"logits": torch.ones(2, 3)}}
    said = heard({"a": ("sound", "text")}, outputs, batch)
    assert said[PRESENT].tolist() == [True, False]
    assert not said["logits"].requires_grad
    assert PRESENT not in heard({"b": ()}, outputs, batch)
    both = heard({"a": ("sound",), "b": ("text",)}, outputs, batch)
    assert both[f"a:{PRESENT}"].tolist() == [True, False]
    assert both[PRESENT].tolist() == [True, False]


def test_tied_weights_follow_once() -> None:
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    past = OwnPast(model, ["logits"], decay=0.9)
    before = first.weight.detach().clone()
    with torch.no_grad():
        first.weight.add_(1)
    past.follow(model, step=1000)
    torch.testing.assert_close(past.teacher.model.state_dict()["0.weight"], before + 0.1)


def test_what_is_left_behind_keeps_its_last_state() -> None:
    """An objective may remember every row of the data: only the models are put back to their best epoch."""
    models = {"one": new_model(0), "two": new_model(1)}
    seen: list[dict[str, torch.Tensor]] = []

    def validate() -> float:
        seen.append({name: next(model.parameters()).detach().clone() for name, model in models.items()})
        return -float(len(seen))

    def step(batch: Any, index: int) -> Terms:
        target = batch["target"]["label"]
        losses = {name: F.cross_entropy(model(batch["features"])["logits"], target) for name, model in models.items()}
        return Terms.sum(losses)

    optimizers = {name: torch.optim.SGD(model.parameters(), 0.1) for name, model in models.items()}
    phase = Phase("together", models, optimizers, step, left_behind=("two",))
    fit(
        phase,
        Memory(),
        spec(epochs=3),
        accelerator=make_accelerator(ComputeSpec(device="cpu")),
        seed=0,
        validate=validate,
    )
    assert len(seen) == 3
    assert torch.equal(next(models["one"].parameters()), seen[0]["one"])
    assert torch.equal(next(models["two"].parameters()), seen[-1]["two"])
    assert not torch.equal(seen[0]["two"], seen[-1]["two"])
