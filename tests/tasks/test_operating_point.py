"""The operating point: chosen on validation rows, kept in the model's state, used for scores and predictions."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import recall_score, roc_curve

from mmdistill.errors import InputError
from mmdistill.tasks.catalog import ClassificationOptions, OperatingPoint
from mmdistill.tasks.classification import ClassificationTask
from mmdistill.tasks.decode.classification import decode, softmax
from mmdistill.tasks.operating_point import choose_threshold, rates, resampled_rates

STATE: dict[str, Any] = {"classes": ["healthy", "ill"], "counts": [5, 5]}


def task(aim: Any, **options: Any) -> ClassificationTask:
    return ClassificationTask(ClassificationOptions.model_validate({"operating_point": aim, **options}))


def logits_of(probabilities: Any) -> np.ndarray:
    """Logits of two classes whose second has these probabilities."""
    second = np.asarray(probabilities, dtype=np.float64)
    return np.stack([np.log1p(-second), np.log(second)], axis=1)


samples = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.9, 1.0]), st.booleans()), min_size=2).filter(
    lambda rows: len({positive for _, positive in rows}) == 2
)


@given(samples, st.sampled_from([0.1, 0.5, 0.9, 1.0]), st.sampled_from(["sensitivity", "specificity"]))
def test_it_reaches_what_was_asked_and_leaves_the_other_as_high_as_any_threshold(
    rows: list[tuple[float, bool]], wanted: float, name: str
) -> None:
    scores, positive = np.array([score for score, _ in rows]), np.array([flag for _, flag in rows])
    found = rates(scores >= choose_threshold(scores, positive, OperatingPoint(**{name: wanted})), positive)
    false_positive, true_positive, _ = roc_curve(positive, scores, drop_intermediate=False)
    every = {"sensitivity": true_positive, "specificity": 1 - false_positive}
    (other,) = set(every) - {name}
    assert found[name] is not None
    assert found[name] >= wanted - 1e-9
    assert found[other] == pytest.approx(every[other][every[name] >= wanted - 1e-9].max())


@given(samples)
def test_youden_is_the_largest_distance_of_the_roc_curve_from_chance(rows: list[tuple[float, bool]]) -> None:
    scores, positive = np.array([score for score, _ in rows]), np.array([flag for _, flag in rows])
    found = rates(scores >= choose_threshold(scores, positive, "youden"), positive)
    false_positive, true_positive, _ = roc_curve(positive, scores, drop_intermediate=False)
    assert found["sensitivity"] is not None
    assert found["specificity"] is not None
    assert found["sensitivity"] + found["specificity"] - 1 == pytest.approx((true_positive - false_positive).max())


def test_the_threshold_lies_halfway_between_two_rows() -> None:
    scores, positive = np.array([0.1, 0.2, 0.6, 0.8]), np.array([False, False, True, True])
    assert choose_threshold(scores, positive, "youden") == pytest.approx(0.4)


def test_a_hundred_thousand_rows_need_no_table_of_rows_by_rows() -> None:
    scores = np.random.default_rng(0).permutation(100_000) / 100_000
    tracemalloc.start()
    threshold = choose_threshold(scores, scores >= 0.4, "youden")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert threshold == pytest.approx(0.4, abs=1e-5)
    assert peak < 50e6


def test_nine_of_ten_are_ninety_percent() -> None:
    scores, positive = np.append(np.arange(1, 11) / 20, 0.9), np.arange(11) < 10
    threshold = choose_threshold(scores, positive, OperatingPoint(sensitivity=0.9))
    assert rates(scores >= threshold, positive)["sensitivity"] == 0.9


def test_a_threshold_above_every_row_where_the_surest_row_is_negative() -> None:
    scores, positive = np.array([0.5, 1.0]), np.array([True, False])
    assert not (scores >= choose_threshold(scores, positive, OperatingPoint(specificity=1))).any()


def test_it_is_chosen_on_the_rows_given_and_used_on_others() -> None:
    chosen = task({"sensitivity": 1.0})
    state = chosen.state_of_model(logits_of([0.1, 0.2, 0.3, 0.9]), np.array([0, 0, 1, 1]), STATE)
    point = state["operating_point"]
    assert point == {
        "positive": "ill",
        "threshold": pytest.approx(0.25),
        "validation": {"sensitivity": 1.0, "specificity": 1.0},
    }
    assert json.loads(json.dumps(state)) == state
    logits, targets = logits_of([0.2, 0.24, 0.26, 0.9]), np.array([0, 1, 0, 1])
    found = chosen.metrics(logits, targets, state)
    predicted = softmax(logits)[:, 1] >= point["threshold"]
    assert found["sensitivity"] == recall_score(targets, predicted) == 0.5
    assert found["specificity"] == recall_score(targets, predicted, pos_label=0) == 0.5
    assert found["accuracy"] == 0.75  # still of the more probable class


def test_the_positive_class_may_be_the_first() -> None:
    logits, targets = logits_of([0.1, 0.2, 0.3, 0.9]), np.array([0, 0, 1, 1])
    state = task("youden", positive="healthy").state_of_model(logits, targets, STATE)
    assert state["operating_point"]["positive"] == "healthy"
    assert state["operating_point"]["threshold"] == pytest.approx(0.75)


def test_rows_without_a_target_choose_nothing() -> None:
    chosen = task("youden")
    logits = logits_of([0.1, 0.2, 0.3, 0.9])
    with_all = chosen.state_of_model(logits, np.array([0, -1, 1, -1]), STATE)
    assert with_all == chosen.state_of_model(logits[[0, 2]], np.array([0, 1]), STATE)


def test_predictions_follow_the_threshold_whatever_the_temperature() -> None:
    state = {**STATE, "operating_point": {"positive": "ill", "threshold": 0.3}}
    logits = logits_of([0.2, 0.35, 0.9])
    for temperature in (1.0, 5.0):
        columns = decode({"logits": logits}, state, k=2, temperature=temperature)
        assert columns["prediction"] == ["healthy", "ill", "ill"]
        assert columns["prediction_2"] == ["ill", "healthy", "healthy"]
    np.testing.assert_allclose(decode({"logits": logits}, state)["probability"], [0.8, 0.35, 0.9])
    assert decode({"logits": logits}, STATE)["prediction"] == ["healthy", "healthy", "ill"]


def test_draws_are_the_rates_of_repeated_rows() -> None:
    generator = np.random.default_rng(0)
    chosen, logits, targets = task("youden"), logits_of(generator.uniform(0.01, 0.99, 30)), np.arange(30) % 2
    state = chosen.state_of_model(logits, targets, STATE)
    counts = np.concatenate([generator.multinomial(30, np.full(30, 1 / 30), size=20), [targets * 2]]).astype(float)
    for name in ("sensitivity", "specificity"):
        drawn = chosen.resampled_scores(name, logits, targets, state, counts)
        for count, value in zip(counts, drawn, strict=True):
            repeated = np.repeat(np.arange(30), count.astype(int))
            expected = chosen.metrics(logits[repeated], targets[repeated], state, (name,))[name]
            assert value == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


def test_a_rate_of_no_rows_is_not_defined() -> None:
    counted, positive = np.array([True, False]), np.array([True, True])
    assert rates(counted, positive) == {"sensitivity": 0.5, "specificity": None}
    assert np.isnan(resampled_rates(counted, positive, np.ones((1, 2)))["specificity"]).all()


def test_before_a_model_is_trained_there_is_no_threshold() -> None:
    found = task("youden").metrics(np.zeros((2, 2)), np.array([0, 1]), STATE)
    assert (found["sensitivity"], found["specificity"]) == (None, None)
    drawn = task("youden").resampled_scores("sensitivity", np.zeros((2, 2)), np.array([0, 1]), STATE, np.ones((3, 2)))
    assert np.isnan(drawn).all()


def test_without_the_option_nothing_is_chosen() -> None:
    plain = ClassificationTask()
    assert not plain.chooses_on_validation
    assert "sensitivity" not in plain.directions
    plain.check_validation(np.zeros(0), STATE)
    assert plain.state_of_model(np.zeros((0, 2)), np.zeros(0), STATE) is STATE


@pytest.mark.parametrize(
    ("targets", "message"), [([], "there are none"), ([-1], "there are none"), ([1, 1, -1], "all are 'ill'")]
)
def test_validation_rows_of_one_class_choose_nothing(targets: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        task("youden").check_validation(np.array(targets), STATE)
    with pytest.raises(InputError, match=message):
        task("youden").state_of_model(np.zeros((len(targets), 2)), np.array(targets), STATE)


def test_more_than_two_classes_are_refused_before_training() -> None:
    with pytest.raises(InputError, match="between two classes, and there are 3"):
        task("youden").fit(["a", "b", "c"], [0, 1, 2])


def test_an_unknown_positive_class_is_refused_before_training() -> None:
    with pytest.raises(InputError, match="'il'") as caught:
        task("youden", positive="il").fit(["healthy", "ill"], [0, 1])
    assert "ill" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"operating_point": {}},
        {"operating_point": {"sensitivity": 0.9, "specificity": 0.9}},
        {"operating_point": {"sensitivity": 0}},
        {"operating_point": {"specificity": 1.1}},
        {"operating_point": {"precision": 0.9}},
        {"operating_point": "best"},
        {"positive": "ill"},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClassificationOptions.model_validate(options)


def test_options_survive_the_card() -> None:
    options = ClassificationOptions.model_validate({"operating_point": {"sensitivity": 0.9}, "positive": "ill"})
    assert ClassificationOptions.model_validate(options.model_dump(mode="json")) == options
