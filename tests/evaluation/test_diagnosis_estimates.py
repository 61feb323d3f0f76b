"""Scores with their draws, Shapley values and interactions: sums, symmetry, known games."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdistill.evaluation.diagnosis.estimates import Estimate, make_scorer
from mmdistill.evaluation.diagnosis.redundancy import interactions
from mmdistill.evaluation.diagnosis.shapley import Subset, shapley, unique
from mmdistill.evaluation.modalities import subsets
from mmdistill.tasks.catalog import ClassificationOptions
from mmdistill.tasks.classification import ClassificationTask

STATE = {"classes": ["a", "b"], "counts": [30, 10]}


def exact(value: float) -> Estimate:
    return Estimate(value, np.full(3, value))


def game(columns: list[str], value: dict[Subset, float]) -> dict[Subset, Estimate]:
    return {subset: exact(value[subset]) for subset in value}


def test_shapley_of_the_glove_game() -> None:
    """One left glove, two right ones: a pair is worth 1 (Shapley, 1953: 2/3, 1/6, 1/6)."""
    columns = ["left", "right", "other"]
    value = {
        frozenset(chosen): float("left" in chosen and len(chosen) > 1)
        for size in range(4)
        for chosen in itertools.combinations(columns, size)
    }
    found = shapley(game(columns, value), columns)
    assert {column: one.value for column, one in found.items()} == pytest.approx(
        {"left": 2 / 3, "right": 1 / 6, "other": 1 / 6}
    )


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
@settings(max_examples=30)
def test_shapley_values_share_out_the_whole_score(values: list[float]) -> None:
    columns = list("abcd")
    every = [frozenset(one) for size in range(5) for one in itertools.combinations(columns, size)]
    scores = game(columns, dict(zip(every, values, strict=True)))
    found = shapley(scores, columns)
    whole = scores[frozenset(columns)] - scores[frozenset()]
    assert sum(one.value for one in found.values()) == pytest.approx(whole.value, abs=1e-12)
    assert np.sum([one.draws for one in found.values()], axis=0) == pytest.approx(whole.draws, abs=1e-12)


def test_one_modality_has_the_whole_score() -> None:
    scores = game(["a"], {frozenset(): 0.1, frozenset("a"): 0.7})
    assert shapley(scores, ["a"])["a"].value == pytest.approx(0.6)
    assert unique(scores, ["a"])["a"].value == pytest.approx(0.6)


def test_more_than_five_modalities_are_exact_where_no_three_interact() -> None:
    columns = list("abcdefg")
    generator = np.random.default_rng(0)
    own = dict(zip(columns, generator.normal(size=7), strict=True))
    pairs = {frozenset(pair): generator.normal() for pair in itertools.combinations(columns, 2)}

    def value(subset: Subset) -> float:
        return sum(own[one] for one in subset) + sum(extra for pair, extra in pairs.items() if pair <= subset)

    wanted = {frozenset(): 0.0} | {frozenset(one): value(frozenset(one)) for one in [*subsets(columns).values(), ()]}
    found = shapley(game(columns, wanted), columns)
    for column in columns:
        truth = own[column] + sum(extra for pair, extra in pairs.items() if column in pair) / 2
        assert found[column].value == pytest.approx(truth)


def test_redundant_columns_interact_below_zero_and_complementary_ones_above() -> None:
    same = game(["a", "b"], {frozenset(): 0.5, frozenset("a"): 0.9, frozenset("b"): 0.9, frozenset("ab"): 0.9})
    both = game(["a", "b"], {frozenset(): 0.5, frozenset("a"): 0.5, frozenset("b"): 0.5, frozenset("ab"): 1.0})
    assert interactions(same, ["a", "b"])["a", "b"].value == pytest.approx(-0.4)
    assert interactions(both, ["a", "b"])["a", "b"].value == pytest.approx(0.5)


def test_the_interval_of_an_accuracy_is_about_that_of_a_binomial() -> None:
    targets = np.zeros(400, dtype=np.int64)
    logits = np.where(np.arange(400)[:, None] < 300, [[1.0, 0.0]], [[0.0, 1.0]])
    score = make_scorer(ClassificationTask(), STATE, targets)(logits)
    assert score.value == pytest.approx(0.75)
    assert score.interval is not None
    assert score.interval[1] - score.interval[0] == pytest.approx(2 * 1.96 * math.sqrt(0.75 * 0.25 / 400), rel=0.15)


def test_rows_of_a_group_are_drawn_together() -> None:
    targets, groups = np.zeros(40, dtype=np.int64), np.repeat(np.arange(4), 10)
    scorer = make_scorer(ClassificationTask(), STATE, targets, groups=groups)
    assert all(len(set(draw[groups == group])) == 1 for draw in scorer.counts for group in range(4))


def test_a_metric_that_is_better_when_lower_is_turned_around_and_back() -> None:
    task = ClassificationTask(ClassificationOptions(primary="log_loss"))
    scorer = make_scorer(task, STATE, np.array([0, 1, 1, 0]))
    good, bad = (scorer(scale * np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])) for scale in (2, -2))
    assert (good - bad).value > 0
    assert scorer.score_json(bad)["value"] > scorer.score_json(good)["value"] > 0
    low, high = scorer.score_json(bad)["ci95"]
    assert low <= scorer.score_json(bad)["value"] <= high


def test_chance_says_how_common_each_class_is() -> None:
    scorer = make_scorer(ClassificationTask(), STATE, np.array([0, 0, 1]))
    assert scorer.chance().value == pytest.approx(2 / 3)


def test_draws_that_leave_a_metric_undefined_are_left_out_of_the_interval() -> None:
    task = ClassificationTask(ClassificationOptions(primary="auroc"))
    scorer = make_scorer(task, STATE, np.array([0, 1]))
    score = scorer(np.array([[1.0, 0], [0, 1]]))
    assert np.isnan(score.draws).any()
    assert score.interval == (1.0, 1.0)
    assert Estimate(math.nan, np.full(4, math.nan)).to_json() == {"value": None, "ci95": None}
