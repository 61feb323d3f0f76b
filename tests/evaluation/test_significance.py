"""The paired gain: its interval holds the truth as often as it says, and its sentence claims no more."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from mmdistill.errors import MMDistillError
from mmdistill.evaluation.significance import draw_row_counts, paired_gain, paired_gain_of_scores, task_gain
from mmdistill.evaluation.verdict import retained, verdict
from mmdistill.tasks.catalog import ClassificationOptions
from mmdistill.tasks.classification import ClassificationTask


def gain_of(difference: np.ndarray, **options: Any) -> dict[str, Any]:
    return paired_gain(difference, np.zeros_like(difference), **{"higher_is_better": True, **options})


# Coverage


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize(
    ("of_seeds", "of_rows", "of_both"),
    [(0.03, 0.0, 0.0), (0.03, 0.2, 0.2), (0.01, 0.3, 0.3), (0.0, 0.3, 0.3), (0.0, 0.05, 0.4)],
)
def test_the_interval_holds_the_truth_in_about_95_of_100_experiments(
    seeds: int, of_seeds: float, of_rows: float, of_both: float
) -> None:
    """Gains made of a part of the seed, a part of the row and a part of both; the truth is 0.02."""
    rng, experiments, held = np.random.default_rng(0), 250, 0
    for _ in range(experiments):
        difference = (
            0.02
            + of_seeds * rng.standard_normal((seeds, 1))
            + of_rows * rng.standard_normal((1, 120))
            + of_both * rng.standard_normal((seeds, 120))
        )
        low, high = gain_of(difference, resamples=300)["ci95"]
        held += low <= 0.02 <= high
    assert 0.90 <= held / experiments <= 0.995


def test_coverage_holds_for_right_and_wrong_answers_too() -> None:
    """Rows of unequal difficulty, seeds of unequal quality, one probability of being right a model."""
    rng, experiments, held = np.random.default_rng(1), 250, 0

    def right(quality: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        return (rng.random((4, 150)) < 1 / (1 + np.exp(difficulty - quality))).astype(float)

    population = rng.standard_normal(200_000)
    truth = 0.0
    for shift in rng.standard_normal(200) * 0.2:
        sample = rng.choice(population, 2000)
        truth += ((1 / (1 + np.exp(sample - 1.3 - shift))) - (1 / (1 + np.exp(sample - 1.0)))).mean() / 200
    for _ in range(experiments):
        difficulty = rng.choice(population, (1, 150))
        student = right(1.3 + 0.2 * rng.standard_normal((4, 1)), difficulty)
        baseline = right(np.full((4, 1), 1.0), difficulty)
        low, high = paired_gain(student, baseline, higher_is_better=True, resamples=300)["ci95"]
        held += low <= truth <= high
    assert 0.90 <= held / experiments <= 0.995


def test_without_any_difference_a_gain_is_claimed_in_about_5_of_100_experiments() -> None:
    rng = np.random.default_rng(2)
    claims = [
        gain_of(0.02 * rng.standard_normal((5, 1)) + 0.3 * rng.standard_normal((5, 120)), resamples=300)["p_value"]
        < 0.05
        for _ in range(300)
    ]
    assert 0.005 <= np.mean(claims) <= 0.09


def test_rows_of_a_group_are_drawn_together() -> None:
    """With ten rows a patient, all alike, the plain interval is √10 too narrow."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(30), 10)
    difference = rng.standard_normal(30)[patients][None, :]
    plain, grouped = gain_of(difference), gain_of(difference, groups=patients)
    width = [gain["ci95"][1] - gain["ci95"][0] for gain in (plain, grouped)]
    assert width[1] / width[0] == pytest.approx(10**0.5, rel=0.15)


# The numbers


def test_the_mean_is_the_mean_difference_over_seeds_and_rows() -> None:
    student, baseline = np.array([[1.0, 1, 0, 1], [1, 0, 1, 1]]), np.array([[1.0, 0, 0, 0], [0, 0, 1, 1]])
    gain = paired_gain(student, baseline, higher_is_better=True)
    assert gain["mean"] == 0.375
    assert gain["per_seed"] == [0.5, 0.25]
    assert (gain["seeds"], gain["rows"], gain["resampled"]) == (2, 4, "seeds and rows")


def test_a_gain_is_positive_when_better_whatever_the_direction() -> None:
    student, baseline = np.full((3, 20), 0.2), np.full((3, 20), 0.5)
    assert paired_gain(student, baseline, higher_is_better=False)["mean"] == pytest.approx(0.3)
    assert paired_gain(student, baseline, higher_is_better=True)["mean"] == pytest.approx(-0.3)


def test_swapping_the_models_mirrors_the_interval() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random((3, 50)), rng.random((3, 50))
    one, two = (paired_gain(*pair, higher_is_better=True) for pair in ((first, second), (second, first)))
    np.testing.assert_allclose(one["ci95"], [-value for value in reversed(two["ci95"])])
    assert one["p_value"] == two["p_value"]


def test_the_same_input_gives_the_same_numbers() -> None:
    difference = np.random.default_rng(5).standard_normal((3, 50))
    assert gain_of(difference) == gain_of(difference)
    assert gain_of(difference, seed=1)["ci95"] != gain_of(difference)["ci95"]


def test_one_seed_resamples_rows_only_and_says_so() -> None:
    difference = np.random.default_rng(6).standard_normal((1, 400))
    gain = gain_of(difference, resamples=4000)
    assert (gain["resampled"], gain["seeds"]) == ("rows", 1)
    error = difference.std() / 20
    np.testing.assert_allclose(gain["ci95"], difference.mean() + np.array([-1.96, 1.96]) * error, atol=0.15 * error)


def test_models_that_answer_alike_show_no_difference() -> None:
    gain = gain_of(np.zeros((3, 20)))
    assert (gain["mean"], gain["ci95"], gain["p_value"]) == (0.0, [0.0, 0.0], 1.0)


def test_the_p_value_is_never_zero() -> None:
    assert gain_of(np.ones((5, 50)), resamples=1000)["p_value"] == pytest.approx(2 / 1001)


def test_the_p_value_and_the_interval_agree() -> None:
    rng = np.random.default_rng(7)
    for shift in np.linspace(-0.15, 0.15, 13):
        gain = gain_of(shift + 0.4 * rng.standard_normal((5, 80)))
        low, high = gain["ci95"]
        if abs(gain["p_value"] - 0.05) > 0.005:
            assert (gain["p_value"] < 0.05) == (low > 0 or high < 0)


def test_two_seeds_that_disagree_prove_nothing() -> None:
    low, high = gain_of(np.array([[0.2], [0.05]]) + np.zeros((2, 1000)))["ci95"]
    assert low < 0 < high


def test_gains_go_into_json() -> None:
    json.dumps(gain_of(np.random.default_rng(8).standard_normal((2, 9))), allow_nan=False)


def test_ten_thousand_rows_and_five_seeds_take_seconds() -> None:
    difference = np.random.default_rng(9).standard_normal((5, 10_000))
    start = time.perf_counter()
    gain_of(difference)
    assert time.perf_counter() - start < 15


def test_row_counts_add_up_in_blocks() -> None:
    counts = np.concatenate(list(draw_row_counts(9_000, 1_000, np.random.default_rng(0))))
    assert counts.shape == (1_000, 9_000)
    assert (counts.sum(axis=1) == 9_000).all()
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.2)


# Metrics of a task


def outputs(quality: float, targets: np.ndarray, seeds: int = 3, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"logits": quality * np.eye(3)[targets] + rng.standard_normal((len(targets), 3))} for _ in range(seeds)]


TARGETS = np.random.default_rng(0).integers(0, 3, 150)
STATE = {"classes": ["a", "b", "c"], "counts": [5, 4, 3]}
TASK = ClassificationTask(ClassificationOptions(top_k=2))


@pytest.mark.parametrize("metric", TASK.directions)
def test_every_metric_of_a_task_has_a_gain(metric: str) -> None:
    student, baseline = outputs(2.0, TARGETS), outputs(1.0, TARGETS, seed=1)
    gain = task_gain(TASK, metric, student, baseline, TARGETS, STATE, resamples=200, names=("small", "control"))
    scores = [
        np.mean([TASK.metrics(found, TARGETS, STATE, [metric])[metric] for found in models])
        for models in (student, baseline)
    ]
    sign = 1 if TASK.directions[metric] else -1
    assert gain["mean"] == pytest.approx(sign * (scores[0] - scores[1]))
    assert (gain["student"], gain["baseline"], gain["metric"]) == ("small", "control", metric)
    assert gain["ci95"][0] <= gain["mean"] <= gain["ci95"][1]
    json.dumps(gain, allow_nan=False)


def test_the_path_for_any_metric_gives_what_the_fast_one_gives() -> None:
    student, baseline = (np.random.default_rng(seed).random((3, 60)) for seed in (1, 2))

    def score(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = counts.sum(axis=1, keepdims=True)
        return counts @ student.T / total, counts @ baseline.T / total

    fast = paired_gain(student, baseline, higher_is_better=False)
    slow = paired_gain_of_scores(score, 60, higher_is_better=False)
    np.testing.assert_allclose(slow["ci95"], fast["ci95"])
    assert slow["mean"] == pytest.approx(fast["mean"])


def test_draws_without_a_defined_metric_are_counted_and_left_out() -> None:
    targets = np.array([0] * 29 + [1])
    binary = ClassificationTask()
    state = {"classes": ["a", "b"], "counts": [29, 1]}
    models = [{"logits": np.random.default_rng(seed).standard_normal((30, 2))} for seed in range(4)]
    gain = task_gain(binary, "auroc", models[:2], models[2:], targets, state)
    assert gain["undefined_resamples"] / gain["resamples"] == pytest.approx((1 - 1 / 30) ** 30, abs=0.05)
    assert gain["ci95"] is not None


def test_a_metric_that_is_not_defined_has_no_gain_and_the_verdict_says_so() -> None:
    targets = np.zeros(20, dtype=np.int64)
    gain = task_gain(TASK, "auroc", outputs(1, targets), outputs(1, targets), targets, STATE)
    assert gain["mean"] is None
    assert gain["ci95"] is None
    assert gain["p_value"] is None
    assert "cannot be told" in verdict(gain)


def test_models_must_be_paired() -> None:
    with pytest.raises(MMDistillError, match="3 student seeds and 2 baseline seeds"):
        task_gain(TASK, "accuracy", outputs(1, TARGETS), outputs(1, TARGETS, seeds=2), TARGETS, STATE)
    with pytest.raises(MMDistillError, match="shapes"):
        paired_gain(np.zeros((2, 5)), np.zeros((2, 6)), higher_is_better=True)
    with pytest.raises(MMDistillError, match="group labels"):
        gain_of(np.zeros((2, 5)), groups=[1, 2])


# The sentence


def claim(low: float, high: float, **more: Any) -> str:
    return verdict(
        {"student": "student", "baseline": "baseline", "metric": "macro_f1", "mean": (low + high) / 2,
         "ci95": [low, high], "seeds": 5, "rows": 300, **more}
    )  # fmt: skip


def test_helped_when_the_whole_interval_is_above_zero() -> None:
    assert claim(0.06, 0.14) == (
        "Distillation helped: student is better than baseline by 0.100 in macro f1 "
        "(95 % interval +0.060 to +0.140, 5 seeds, 300 test rows)."
    )


def test_hurt_when_it_is_below() -> None:
    assert claim(-0.03, -0.01).startswith("Distillation hurt: student is worse than baseline by 0.020 in macro f1")


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.2), (-0.2, 0.01), (0.0, 0.1), (-0.1, 0.0), (0.0, 0.0)])
def test_no_claim_when_zero_lies_in_the_interval(low: float, high: float) -> None:
    sentence = claim(low, high)
    assert sentence.startswith("No clear difference")
    assert "includes 0" in sentence
    assert "helped" not in sentence
    assert "hurt" not in sentence


def test_a_small_bound_is_not_rounded_to_zero() -> None:
    assert "+0.0002 to" in claim(0.0002, 0.1)


def test_something_else_can_be_on_trial() -> None:
    gain = {"student": "student", "baseline": "control", "metric": "accuracy", "mean": None, "ci95": None}
    assert verdict(gain, "The other column").startswith("Whether the other column helped cannot be told")


def test_one_seed_is_pointed_out() -> None:
    assert "One seed" in claim(0.1, 0.2, seeds=1)
    assert "One seed" not in claim(0.1, 0.2)


def test_retained_is_null_where_a_ratio_means_nothing() -> None:
    assert retained(0.45, 0.9, True) == 0.5
    assert retained(0.4, 0.3, False) is None
    assert retained(0.4, 0.0, True) is None
    assert retained(0.4, -0.1, True) is None
    assert retained(None, 0.3, True) is None
