"""Learning-rate schedules are pure functions of the step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from mmdistill.training.catalog import DecayOptions, ScheduleOptions
from mmdistill.training.schedules import constant, cosine, linear, warmup_steps


def rates_of_torch(make: object, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)  # type: ignore[operator]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_equals_torch() -> None:
    schedule = cosine(20, DecayOptions(end=0.1))
    expected = rates_of_torch(lambda optimizer: CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1), 20)
    assert [schedule(step) for step in range(20)] == pytest.approx(expected)


def test_linear_equals_torch() -> None:
    schedule = linear(20, DecayOptions(end=0.25))
    expected = rates_of_torch(lambda optimizer: LinearLR(optimizer, 1.0, 0.25, total_iters=20), 20)
    assert [schedule(step) for step in range(20)] == pytest.approx(expected)


def test_constant_is_one() -> None:
    assert {constant(7, ScheduleOptions())(step) for step in range(7)} == {1.0}


@pytest.mark.parametrize(("warmup", "steps"), [(0.1, 10), (0.25, 25), (0, 0), (1, 1), (30, 30), (500, 100)])
def test_warmup_is_a_fraction_below_one_and_steps_from_one_on(warmup: float, steps: int) -> None:
    assert warmup_steps(100, warmup) == steps


@pytest.mark.parametrize("make", [constant, linear, cosine])
@given(total=st.integers(1, 300), warmup=st.one_of(st.floats(0, 0.99), st.integers(1, 400).map(float)))
def test_rises_to_the_full_rate_then_never_rises(make: object, total: int, warmup: float) -> None:
    options = ScheduleOptions(warmup=warmup) if make is constant else DecayOptions(warmup=warmup)
    schedule = make(total, options)  # type: ignore[operator]
    rates = [schedule(step) for step in range(total)]
    rising = warmup_steps(total, warmup)
    assert all(0 < rate <= 1 for rate in rates[:rising])
    assert rates[:rising] == sorted(rates[:rising])
    assert rates[rising:] == sorted(rates[rising:], reverse=True)
    if rising < total:
        assert rates[rising] == 1.0


@pytest.mark.parametrize("bad", [{"warmup": -0.1}, {"warmup": 2.5}, {"end": 1.5}, {"warm_up": 3}])
def test_bad_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DecayOptions.model_validate(bad)
