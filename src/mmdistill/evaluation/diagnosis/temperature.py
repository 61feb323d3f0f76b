"""A temperature to start from, from what the teacher says of the rows that the student will learn from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mmdistill.evaluation.calibration import HIGHEST_TEMPERATURE, best_temperature
from mmdistill.evaluation.diagnosis.estimates import Floats, Indices
from mmdistill.tasks.decode.classification import log_softmax

HIGHEST_START = 20.0
_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)
RULE = (
    "The larger of two: the temperature that calibrates the teacher on validation rows (Guo et al., ICML 2017), and "
    "the one at which its outputs on training rows are as unsure as the calibrated ones on validation rows (our own "
    "rule: a teacher has learnt its training rows by heart, so that there it seems surer than it is). At least 1."
)


def mean_entropy(logits: Floats, temperature: float = 1.0) -> float:
    """Mean entropy of the softened classes over the rows, in nats, from 0 to ln C."""
    logarithms = log_softmax(logits, temperature)
    return float(-(np.exp(logarithms) * logarithms).sum(axis=-1).mean())


def temperature_of_entropy(logits: Floats, entropy: float) -> float:
    """The temperature at which the mean entropy is as asked; entropy rises with temperature.

    Returns:
        Between 0.01 and 100; an end of that range where no temperature in it gives so little, or so much.
    """
    from scipy.optimize import brentq

    def missing(log_temperature: float) -> float:
        return mean_entropy(logits, math.exp(log_temperature)) - entropy

    low, high = -math.log(HIGHEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    if missing(low) >= 0:
        return math.exp(low)
    if missing(high) <= 0:
        return math.exp(high)
    return math.exp(float(brentq(missing, low, high, xtol=1e-6)))


def starting_temperature(
    train_logits: Floats, validation_logits: Floats, validation_targets: Indices
) -> dict[str, Any]:
    """Where to start a search for the temperature of a distillation loss.

    Args:
        train_logits: (N, C), of the rows that the student learns from.
        validation_logits: (M, C).
        validation_targets: (M,) class indices.

    Returns:
        ``temperature``, a round number from 1 to 20; ``rule``; ``calibrating`` and ``as_unsure_in_training``, the two
        temperatures behind it; ``entropy``: mean entropy in nats of the training rows at 1 and at the temperature, of
        the validation rows as calibrated, and ln C, the highest possible.
    """
    calibrating = best_temperature(validation_logits, validation_targets)
    unsure = mean_entropy(validation_logits, calibrating)
    in_training = temperature_of_entropy(train_logits, unsure)
    wanted = min(max(1.0, calibrating, in_training), HIGHEST_START)
    start = min(_STEPS, key=lambda step: abs(math.log(step / wanted)))
    return {
        "temperature": start,
        "rule": RULE,
        "calibrating": calibrating,
        "as_unsure_in_training": in_training,
        "entropy": {
            "train_at_1": mean_entropy(train_logits),
            "train_at_start": mean_entropy(train_logits, start),
            "validation_calibrated": unsure,
            "highest": math.log(np.shape(train_logits)[1]),
        },
    }
