"""A loss that is no number stops the training soon, and says where it began."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.distill.terms import Terms
from mmdistill.errors import MMDistillError
from mmdistill.recipe.schema import ComputeSpec
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.checkpoint import FILE_NAME
from mmdistill.training.loop import fit
from mmdistill.training.phase import Phase
from mmdistill.training.record import NotFiniteError, Record
from tests.training.standins import Memory, new_model, spec


def scalar(value: float) -> Tensor:
    return torch.tensor(value)


def terms(kd: float, supervised: float = 1.0) -> Terms:
    return Terms.sum({"supervised": scalar(supervised), "kd": scalar(kd)})


def test_readings_come_back_in_order() -> None:
    record = Record(3)
    record.add(0, terms(2.0), torch.arange(4))
    record.add(0, terms(3.0), torch.arange(5))
    record.add_gradient_norm(scalar(7.0))
    assert record.room == 1
    first, second = record.read()
    assert first.values == {"supervised": 1.0, "kd": 2.0, "total": 3.0}
    assert (first.rows, first.gradient_norm) == (4, None)
    assert (second.rows, second.gradient_norm) == (5, 7.0)
    assert record.read() == []
    assert record.room == 3


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")])
def test_the_first_bad_batch_is_named(value: float, word: str) -> None:
    record = Record(4)
    for step, kd in enumerate([1.0, value, math.nan]):
        record.add(step, terms(kd), torch.tensor([10 * step, 10 * step + 1]))
        record.add_gradient_norm(scalar(1.0))
    with pytest.raises(NotFiniteError, match=f"step 2: The loss term 'kd' became {word}.*rows 10, 11") as caught:
        record.read()
    assert (caught.value.step, caught.value.term, caught.value.rows) == (2, "kd", [10, 11])


def test_terms_that_only_overflow_together_are_named_as_their_total() -> None:
    record = Record(1)
    record.add(0, terms(3e38, 3e38), torch.arange(2))
    with pytest.raises(NotFiniteError, match="'total'"):
        record.read()


def test_a_gradient_that_is_no_number_is_named_though_the_losses_are_finite() -> None:
    record = Record(1)
    record.add(0, terms(1.0), torch.arange(2))
    record.add_gradient_norm(scalar(math.nan))
    with pytest.raises(NotFiniteError, match="gradient is not finite") as caught:
        record.read()
    assert caught.value.term == "gradient_norm"


def test_with_a_gradient_scaler_an_infinite_gradient_is_a_step_left_out() -> None:
    record = Record(1, skips_overflow=True)
    record.add(0, terms(1.0), torch.arange(2))
    record.add_gradient_norm(scalar(math.inf))
    assert len(record.read()) == 1


class Spoiled(nn.Module):
    """Cross-entropy that becomes NaN at one optimiser step."""

    def __init__(self, at: int, how: str) -> None:
        super().__init__()
        self.model, self.at, self.how = new_model(), at, how
        self.batches: list[Tensor] = []

    def step(self, batch: Any, index: int) -> Terms:
        logits = self.model(batch["features"])["logits"]
        loss = F.cross_entropy(logits, batch["target"]["label"])
        other = 0.1 * logits.square().mean()
        if index == self.at:
            self.batches.append(batch["row"])
            if self.how == "loss":
                other = other * math.nan
            else:
                # Finite, with a gradient that is not: the square root at zero.
                other = other + (logits - logits.detach()).sum().abs().sqrt()
        return Terms.sum({"supervised": loss, "other": other})


@pytest.mark.parametrize(("how", "term"), [("loss", "other"), ("gradient", "gradient_norm")])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_stops_within_the_stated_steps(tmp_path: Path, how: str, term: str, accumulate: int) -> None:
    spoiled, steps = Spoiled(6, how), []
    train = spec(epochs=9, log_every=5, checkpoint={"steps": 4}, accumulate=accumulate)

    def step(batch: Any, index: int) -> Terms:
        steps.append(index)
        return spoiled.step(batch, index)

    phase = Phase("student", {"model": spoiled.model}, {"all": torch.optim.SGD(spoiled.model.parameters(), 0.1)}, step)
    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    with pytest.raises(NotFiniteError) as caught:
        fit(phase, Memory(), train, accelerator=accelerator, seed=0, folder=tmp_path)
    assert (caught.value.step, caught.value.term) == (7, term)
    assert caught.value.rows in [rows.tolist() for rows in spoiled.batches]
    assert max(steps) - 6 < 5
    kept = torch.load(tmp_path / FILE_NAME, weights_only=True)["state"]
    assert kept["position"]["step"] < 7
    assert all(value.isfinite().all() for value in kept["modules"]["model"].values())


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    """Every loss and gradient is finite, and the update still overflows."""
    model = new_model()

    class Overflowing(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            result = super().step(closure)
            with torch.no_grad():
                model.head.bias.fill_(math.inf)
            return result

    def step(batch: Any, index: int) -> Terms:
        return Terms.sum({"loss": F.cross_entropy(model(batch["features"])["fused"], batch["target"]["label"])})

    phase = Phase("student", {"model": model}, {"all": Overflowing(model.parameters(), 0.1)}, step)
    accelerator, train = make_accelerator(ComputeSpec(device="cpu")), spec(checkpoint={"steps": 1})
    with pytest.raises(MMDistillError, match="weights are no longer finite"):
        fit(phase, Memory(), train, accelerator=accelerator, seed=0, folder=tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
