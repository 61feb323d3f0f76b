"""Weights of loss terms over training."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmdistill.distill.schedules import always_zero, weight_schedule
from mmdistill.errors import InputError
from mmdistill.recipe.loss_weight import LossWeight


def values(weight: LossWeight | float, steps: int) -> list[float]:
    schedule = weight_schedule(weight, steps)
    return [schedule(step) for step in range(steps + 1)]


def test_a_number_stays() -> None:
    assert set(values(0.9, 5)) == {0.9}


def test_linear_between_two_fractions_of_the_steps() -> None:
    weight = LossWeight(shape="linear", start=1, end=3, begin=0.2, until=0.6)
    assert values(weight, 10) == pytest.approx([1, 1, 1, 1.5, 2, 2.5, 3, 3, 3, 3, 3])


def test_half_a_cosine() -> None:
    weight = LossWeight(shape="cosine", start=0, end=2)
    assert values(weight, 4) == pytest.approx([0, 2 * 0.1464466, 1, 2 * 0.8535534, 2], abs=1e-6)


def test_all_at_once() -> None:
    assert values(LossWeight(shape="step", start=0, end=5, begin=0.5), 4) == [0, 0, 5, 5, 5]


def test_warm_up_rises_from_nothing() -> None:
    assert values(LossWeight(shape="warm_up", end=2, until=0.5), 4) == [0, 1, 2, 2, 2]


def test_only_after_a_moment() -> None:
    assert values(LossWeight(shape="only_after", end=2, begin=0.5), 4) == [0, 0, 2, 2, 2]


def test_constant_is_its_end() -> None:
    assert values(LossWeight(shape="constant", end=0.3), 3) == [0.3] * 4


def test_the_ramp_of_temporal_ensembling() -> None:
    """exp(-5 (1 - t)²), which is 0.0067 just after t = 0 and there 0."""
    weight = LossWeight(shape="ramp", end=2, until=0.5)
    expected = [0, 2 * math.exp(-5 * 0.75**2), 2 * math.exp(-1.25), 2 * math.exp(-5 / 16), 2, 2, 2, 2, 2]
    assert values(weight, 8) == pytest.approx(expected)


def test_moments_may_be_counted_in_steps_or_epochs() -> None:
    steps = LossWeight(unit="steps", begin=2, until=4)
    assert values(steps, 6) == [0, 0, 0, 0.5, 1, 1, 1]
    epochs = weight_schedule(LossWeight(unit="epochs", until=2), 100, steps_per_epoch=5)
    assert [epochs(step) for step in (0, 5, 10, 20)] == [0, 0.5, 1, 1]
    open_ended = LossWeight(unit="steps", begin=2)
    assert values(open_ended, 6) == [0, 0, 0, 0.25, 0.5, 0.75, 1]


def test_epochs_need_to_be_known() -> None:
    with pytest.raises(InputError, match="counts epochs, and nothing says"):
        weight_schedule(LossWeight(unit="epochs", until=2), 100)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": "constant", "begin": 0.5}, "does not use 'begin'"),
        ({"shape": "warm_up", "start": 1}, "does not use 'start'"),
        ({"shape": "only_after", "until": 1}, "does not use 'until'"),
        ({"until": 5}, "fraction of all steps"),
    ],
)
def test_keys_that_a_shape_does_not_use_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossWeight.model_validate(values)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_change_without_length_is_a_jump(shape: str) -> None:
    weight = LossWeight.model_validate({"shape": shape, "start": 1, "end": 2, "begin": 0.5, "until": 0.5})
    assert values(weight, 4) == [1, 1, 2, 2, 2]


@given(
    st.sampled_from(["linear", "cosine", "ramp", "step"]),
    st.floats(0, 10),
    st.floats(0, 10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 50),
)
def test_a_weight_stays_between_its_ends(
    shape: str, start: float, end: float, one: float, other: float, steps: int
) -> None:
    until = {} if shape == "step" else {"until": max(one, other)}
    weight = LossWeight.model_validate({"shape": shape, "start": start, "end": end, "begin": min(one, other), **until})
    low, high = min(start, end), max(start, end)
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values(weight, steps))


def test_a_change_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(InputError, match="before it begins"):
        weight_schedule(LossWeight(begin=0.6, until=0.2), 10)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_a_number_from_zero_on(bad: float) -> None:
    with pytest.raises(InputError, match="from 0 on"):
        weight_schedule(bad, 10)


def test_what_is_always_zero() -> None:
    assert always_zero(0)
    assert always_zero(LossWeight(start=0, end=0))
    assert not always_zero(LossWeight(start=0, end=1))
