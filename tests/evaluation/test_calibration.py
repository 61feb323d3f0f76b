"""Calibration and the temperature that would mend it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmdistill.evaluation.calibration import best_temperature, calibration, reliability_diagram
from mmdistill.tasks.decode.classification import softmax
from mmdistill.tasks.reliability import reliability_bins


def honest(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets drawn from the very probabilities that they state."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((number, 4))
    targets = (softmax(logits).cumsum(axis=1) < rng.random((number, 1))).sum(axis=1)
    return logits, targets


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_was_put_in_is_found_again(temperature: float) -> None:
    logits, targets = honest(20_000)
    assert best_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)


def test_it_has_the_least_loss_on_a_grid() -> None:
    logits, targets = honest(300)
    found = best_temperature(3 * logits, targets)

    def loss(temperature: float) -> float:
        return F.cross_entropy(torch.from_numpy(3 * logits) / temperature, torch.from_numpy(targets)).item()

    assert loss(found) <= min(loss(temperature) for temperature in np.geomspace(0.05, 20, 200))


def test_it_stops_at_a_bound_when_there_is_no_best() -> None:
    right = np.eye(3)[[0, 1, 2]]
    assert best_temperature(right, np.array([0, 1, 2])) == 0.01
    assert best_temperature(right, np.array([1, 2, 0])) == 100.0
    assert best_temperature(np.zeros((3, 3)), np.array([0, 1, 2])) == 100.0


def test_honest_probabilities_have_a_small_error_and_boastful_ones_a_large() -> None:
    logits, targets = honest(20_000)
    assert reliability_diagram(logits, targets)["expected_calibration_error"] < 0.015
    assert reliability_diagram(5 * logits, targets)["expected_calibration_error"] > 0.15


def test_bins_by_hand() -> None:
    found = reliability_bins(np.array([0.5, 0.55, 0.95, 1.0]), np.array([True, False, True, True]), bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 2]
    assert found.accuracy[4] == 1.0
    assert found.confidence[9] == pytest.approx(0.975)
    assert found.expected_calibration_error == pytest.approx((0.5 + 0.55 + 2 * 0.025) / 4)


def test_the_diagram_is_json_with_null_in_empty_bins() -> None:
    logits, targets = honest(50)
    diagram = reliability_diagram(logits, targets)
    assert sum(line["count"] for line in diagram["bins"]) == 50
    assert diagram["bins"][0] == {"lower": 0.0, "upper": pytest.approx(1 / 15), "count": 0, "confidence": None,
                                  "accuracy": None}  # fmt: skip
    json.dumps(diagram, allow_nan=False)


def test_validation_chooses_the_temperature_and_test_tells_what_it_would_do() -> None:
    logits, targets = honest(4_000)
    validation_logits, validation_targets = honest(4_000, seed=1)
    found = calibration(3 * logits, targets, 3 * validation_logits, validation_targets)
    assert found["temperature"] == best_temperature(3 * validation_logits, validation_targets)
    assert found["with_temperature"]["expected_calibration_error"] < 0.3 * found["expected_calibration_error"]
    assert found["with_temperature"]["log_loss"] < found["log_loss"]
    json.dumps(found, allow_nan=False)


def test_without_rows_there_is_nothing_to_say() -> None:
    logits, targets = honest(5)
    found = calibration(logits, targets, logits[:0], targets[:0])
    assert found["temperature"] is None
    assert found["with_temperature"] is None
    empty = calibration(logits[:0], targets[:0], logits, targets)
    assert empty["expected_calibration_error"] is None
    assert empty["log_loss"] is None
