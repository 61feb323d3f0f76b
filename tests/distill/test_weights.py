"""Weights of loss terms over training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.distill.schedules import always_zero, weight_schedule
from mmdistill.errors import InputError
from mmdistill.recipe.schema import LossWeight


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


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_change_without_length_is_a_jump(shape: str) -> None:
    weight = LossWeight.model_validate({"shape": shape, "start": 1, "end": 2, "begin": 0.5, "until": 0.5})
    assert values(weight, 4) == [1, 1, 2, 2, 2]


@given(
    st.sampled_from(["linear", "cosine", "step"]),
    st.floats(0, 10),
    st.floats(0, 10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 50),
)
def test_a_weight_stays_between_its_ends(
    shape: str, start: float, end: float, one: float, other: float, steps: int
) -> None:
    weight = LossWeight.model_validate(
        {"shape": shape, "start": start, "end": end, "begin": min(one, other), "until": max(one, other)}
    )
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
