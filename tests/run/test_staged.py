"""What a stage keeps for the next one, and what it lets learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmdistill.distill.objective import Objective
from mmdistill.errors import InputError
from mmdistill.run.staged import _keep, _restore, frozen
from mmdistill.training.state import TrainResult

RESULT = TrainResult(steps=1, epochs=1, best_epoch=1, best_score=None, seconds=0.0, stopped_by="epochs", history=[])


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight


def objective() -> Objective:
    return Objective({"label": nn.CrossEntropyLoss()})


def test_tied_weights_are_kept_once_and_come_back_tied(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    _keep(tmp_path, model, objective(), RESULT)
    _restore(tmp_path, other, objective())
    assert other.second.weight is other.first.weight
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_parts_are_frozen_for_as_long_as_the_stage_takes() -> None:
    model = Tied()
    model.first.bias.requires_grad_(False)
    with frozen(model, objective(), ["first"], "here"):
        assert [name for name, one in model.named_parameters() if one.requires_grad] == ["second.bias"]
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["first.bias"]


def test_a_stage_in_which_nothing_learns_is_refused_and_leaves_nothing_frozen() -> None:
    model = Tied()
    with (
        pytest.raises(InputError, match="here: Nothing is left that learns"),
        frozen(model, objective(), ["first", "second"], "here"),
    ):
        pass
    assert all(one.requires_grad for one in model.parameters())
