"""Holm's adjustment: by hand, against its definition, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.evaluation.multiplicity import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_gain_is_not_adjusted_and_none_is_no_error() -> None:
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(P_VALUES)
def test_a_level_rejects_what_the_stepwise_procedure_rejects(p_values: list[float]) -> None:
    """Holm, 1979: from the smallest on, reject while p is at most level / (number left); stop at the first above."""
    level, left, rejected = 0.05, len(p_values), set()
    for index in sorted(range(len(p_values)), key=lambda one: p_values[one]):
        if p_values[index] * left > level:
            break
        rejected.add(index)
        left -= 1
    assert {index for index, p in enumerate(holm(p_values)) if p <= level} == rejected


@given(P_VALUES)
def test_between_the_plain_value_and_bonferroni(p_values: list[float]) -> None:
    for plain, adjusted in zip(p_values, holm(p_values), strict=True):
        assert plain <= adjusted <= max(plain, min(1.0, plain * len(p_values)))


def test_the_chance_of_any_false_gain_is_at_most_the_level() -> None:
    """Twenty gains that are none, half of them dependent: one in twenty experiments finds one, not two in five."""
    numbers = np.random.default_rng(0).uniform(size=(2000, 20))
    numbers[:, 10:] = numbers[:, :1]
    found = np.mean([min(holm(list(row))) < 0.05 for row in numbers])
    assert np.mean(numbers.min(axis=1) < 0.05) > 0.35
    assert found < 0.06
