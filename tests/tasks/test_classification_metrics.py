"""The metrics of classification, against scikit-learn and torchmetrics."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdistill.errors import InputError, MMDistillError
from mmdistill.tasks.catalog import ClassificationOptions
from mmdistill.tasks.classification import ClassificationTask
from mmdistill.tasks.decode.classification import softmax

TASK = ClassificationTask(ClassificationOptions(top_k=2))


def state(classes: int, counts: list[int] | None = None) -> dict[str, Any]:
    return {"classes": [str(index) for index in range(classes)], "counts": counts or [1] * classes}


def rows(number: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, number)
    return (rng.standard_normal((number, classes)) + 1.5 * np.eye(classes)[targets]).astype(np.float32), targets


def scores(logits: np.ndarray, targets: np.ndarray, classes: int) -> dict[str, float | None]:
    return TASK.metrics({"logits": logits}, targets, state(classes))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_every_metric_equals_torchmetrics(classes: int) -> None:
    from torchmetrics.functional import classification as tm

    logits, targets = rows(200, classes)
    found = scores(logits, targets, classes)
    probabilities, truth = torch.from_numpy(softmax(logits)), torch.from_numpy(targets)
    common: dict[str, Any] = {"num_classes": classes}
    expected = {
        "accuracy": tm.multiclass_accuracy(probabilities, truth, average="micro", **common),
        "macro_precision": tm.multiclass_precision(probabilities, truth, average="macro", **common),
        "macro_recall": tm.multiclass_recall(probabilities, truth, average="macro", **common),
        "macro_f1": tm.multiclass_f1_score(probabilities, truth, average="macro", **common),
        "expected_calibration_error": tm.multiclass_calibration_error(probabilities, truth, n_bins=15, **common),
        "auroc": tm.binary_auroc(probabilities[:, 1], truth)
        if classes == 2
        else tm.multiclass_auroc(probabilities, truth, **common),
    }
    if classes > 2:
        expected["top_2_accuracy"] = tm.multiclass_accuracy(probabilities, truth, average="micro", top_k=2, **common)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), abs=1e-6), name


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_every_metric_equals_scikit_learn(classes: int) -> None:
    from sklearn import metrics as sk

    logits, targets = rows(200, classes, seed=1)
    found = scores(logits, targets, classes)
    probabilities, guesses = softmax(logits), logits.argmax(1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, guesses))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(targets, guesses, average="macro"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(targets, probabilities))
    if classes == 2:
        assert found["auroc"] == pytest.approx(sk.roc_auc_score(targets, probabilities[:, 1]))
    else:
        assert found["auroc"] == pytest.approx(sk.roc_auc_score(targets, probabilities, multi_class="ovr"))
        assert found["top_2_accuracy"] == pytest.approx(sk.top_k_accuracy_score(targets, probabilities, k=2))


def test_by_hand() -> None:
    logits = np.log(np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]]))
    found = TASK.metrics(logits, np.array([0, 1, 1, 2]), state(3, [5, 1, 1]))
    assert found["accuracy"] == 0.75
    assert found["majority_accuracy"] == 0.25
    assert found["top_2_accuracy"] == 1.0
    assert found["macro_recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["macro_precision"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-(math.log(0.6) + math.log(0.7) + math.log(0.4) + math.log(0.7)) / 4)
    assert found["expected_calibration_error"] == pytest.approx((0.4 + 2 * 0.3 + 0.5) / 4)


def test_the_majority_line_predicts_the_majority_of_training() -> None:
    logits, targets = rows(50, 3)
    found = TASK.metrics(logits, targets, state(3, [1, 9, 2]))
    assert found["majority_accuracy"] == (targets == 1).mean()


def test_metrics_come_with_their_direction_and_as_json() -> None:
    found = scores(*rows(50, 3), 3)
    assert list(found) == list(TASK.directions)
    lower = {name for name, higher in TASK.directions.items() if not higher}
    assert lower == {"log_loss", "expected_calibration_error"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_fractions_stay_fractions() -> None:
    found = scores(*rows(50, 3), 3)
    assert all(0 <= value <= 1 for name, value in found.items() if name != "log_loss" and value is not None)


def test_rows_without_target_are_left_out() -> None:
    logits, targets = rows(60, 3)
    hidden = np.arange(60) % 3 == 0
    found = scores(logits, np.where(hidden, -1, targets), 3)
    assert found == scores(logits[~hidden], targets[~hidden], 3)


def test_tensors_and_arrays_give_the_same() -> None:
    logits, targets = rows(40, 3)
    tensors = TASK.metrics({"logits": torch.from_numpy(logits)}, torch.from_numpy(targets), state(3))
    assert tensors == scores(logits, targets, 3)
    halves = TASK.metrics(torch.from_numpy(logits).bfloat16(), torch.from_numpy(targets), state(3))
    assert halves["accuracy"] == pytest.approx(tensors["accuracy"], abs=0.1)


def test_what_is_not_defined_is_null() -> None:
    logits, _ = rows(10, 3)
    assert scores(logits, np.zeros(10, dtype=np.int64), 3)["auroc"] is None
    assert set(scores(logits[:0], np.zeros(0, dtype=np.int64), 3).values()) == {None}
    wide = ClassificationTask(ClassificationOptions(top_k=3))
    assert wide.metrics(logits, np.arange(10) % 3, state(3))["top_3_accuracy"] is None


def test_auroc_is_over_the_classes_that_occur() -> None:
    logits, targets = rows(40, 4)
    kept = targets != 3
    from sklearn.metrics import roc_auc_score

    expected = np.mean([roc_auc_score(targets[kept] == c, softmax(logits[kept])[:, c]) for c in range(3)])
    assert scores(logits[kept], targets[kept], 4)["auroc"] == pytest.approx(expected)


def test_ties_go_to_the_first_class_everywhere() -> None:
    found = scores(np.zeros((4, 4)), np.arange(4), 4)
    assert found["accuracy"] == 0.25
    assert found["top_2_accuracy"] == 0.5
    assert found["auroc"] == 0.5
    assert found["log_loss"] == pytest.approx(math.log(4))


def test_extreme_logits_give_finite_scores_without_warnings() -> None:
    logits, targets = 1e4 * np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(logits, targets, 3)
    assert all(value is not None and math.isfinite(value) for value in found.values())
    assert found["log_loss"] == pytest.approx(1e4 / 4)


def test_the_quick_look_is_the_primary_metric_alone() -> None:
    logits, targets = rows(40, 3)
    for name in ("accuracy", "macro_f1", "log_loss", "auroc"):
        task = ClassificationTask(ClassificationOptions(primary=name))
        assert task.primary == name
        assert task.quick_metrics(logits, targets, state(3)) == {name: scores(logits, targets, 3)[name]}


# Parts for the bootstrap


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "top_2_accuracy"])
def test_row_scores_have_the_metric_as_their_mean(metric: str) -> None:
    logits, targets = rows(40, 4)
    targets[::5] = -1
    parts = TASK.row_scores(metric, logits, targets)
    assert parts is not None
    assert len(parts) == 32
    assert parts.mean() == pytest.approx(scores(logits, targets, 4)[metric])


@pytest.mark.parametrize("metric", ["macro_f1", "auroc", "expected_calibration_error"])
def test_a_metric_that_is_no_mean_has_no_row_scores(metric: str) -> None:
    assert TASK.row_scores(metric, *rows(40, 4)) is None


@settings(max_examples=25, deadline=None)
@given(classes=st.integers(2, 5), number=st.integers(2, 40), seed=st.integers(0, 10_000), coarse=st.booleans())
def test_metrics_on_draws_equal_metrics_on_the_rows_drawn(classes: int, number: int, seed: int, coarse: bool) -> None:
    logits, targets = rows(number, classes, seed)
    if coarse:
        logits = logits.round()
    counts = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=3).astype(np.float64)
    for metric in TASK.directions:
        drawn = TASK.resampled_scores(metric, logits, targets, state(classes), counts)
        for line, value in zip(counts.astype(int), drawn, strict=True):
            index = np.repeat(np.arange(number), line)
            expected = scores(logits[index], targets[index], classes)[metric]
            assert value == pytest.approx(np.nan if expected is None else expected, nan_ok=True, abs=1e-12), metric


# Details


def test_details_hold_the_per_class_table_and_the_confusion_matrix() -> None:
    from sklearn.metrics import classification_report, confusion_matrix

    logits, targets = rows(80, 3)
    found = TASK.details(logits, targets, state(3))
    assert found["classes"] == ["0", "1", "2"]
    assert found["confusion"] == confusion_matrix(targets, logits.argmax(1)).tolist()
    report = classification_report(targets, logits.argmax(1), output_dict=True)
    for line in found["per_class"]:
        expected = report[line["class"]]
        assert line["precision"] == pytest.approx(expected["precision"])
        assert line["recall"] == pytest.approx(expected["recall"])
        assert line["f1"] == pytest.approx(expected["f1-score"])
        assert line["support"] == expected["support"]
    json.dumps(found, allow_nan=False)


def test_a_class_without_rows_has_a_line_in_the_details() -> None:
    found = TASK.details(np.eye(3)[[0, 1]], np.array([0, 1]), state(3))
    assert found["per_class"][2] == {"class": "2", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert np.array(found["confusion"]).sum() == 2


def test_the_head_gives_a_logit_for_every_class() -> None:
    assert TASK.output_size(state(7)) == 7
    assert TASK.head(12, state(7))(torch.zeros(2, 12)).shape == (2, 7)


# Wrong use


def test_logits_that_are_not_finite_are_an_error_that_counts_rows() -> None:
    logits, targets = rows(10, 3)
    logits[2, 1], logits[5, 0] = np.nan, np.inf
    with pytest.raises(MMDistillError, match="NaN or infinite logits for 2 of 10 rows"):
        scores(logits, targets, 3)


def test_unknown_metrics_and_shapes_are_errors() -> None:
    with pytest.raises(InputError, match="no metric 'acuracy'"):
        TASK.metrics(*rows(10, 3), state(3), names=["acuracy"])
    with pytest.raises(MMDistillError, match=r"\(10, 3\).*\(9,\)"):
        scores(rows(10, 3)[0], np.zeros(9, dtype=np.int64), 3)
