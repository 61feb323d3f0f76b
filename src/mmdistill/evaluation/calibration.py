"""Whether stated probabilities can be believed, and what one temperature would mend.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599. The temperature
is reported only; predictions stay as the model gives them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.tasks.class_metrics import negative_log_likelihood, reliability
from mmdistill.tasks.decode.classification import log_softmax
from mmdistill.tasks.reliability import ECE_BINS

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 100.0


def reliability_diagram(logits: Floats, targets: Indices, bins: int = ECE_BINS) -> dict[str, Any]:
    """The numbers behind a reliability diagram.

    Args:
        logits: (N, C).
        targets: (N,) class indices.
        bins: bins of equal width over [0, 1].

    Returns:
        ``expected_calibration_error`` and ``bins``, a list of ``lower``, ``upper``, ``count``, ``confidence`` and
        ``accuracy``, the last two None in an empty bin.
    """
    found = reliability(logits, targets, bins)
    return {
        "expected_calibration_error": _finite(found.expected_calibration_error),
        "bins": [
            {
                "lower": float(found.edges[index]),
                "upper": float(found.edges[index + 1]),
                "count": int(found.counts[index]),
                "confidence": _finite(float(found.confidence[index])),
                "accuracy": _finite(float(found.accuracy[index])),
            }
            for index in range(bins)
        ],
    }


def best_temperature(logits: Floats, targets: Indices) -> float:
    """The temperature whose softmax gives the targets the highest likelihood, in [0.01, 100].

    Above 1 for a model that is too sure of itself. The loss is convex in 1 / temperature, so its slope has one root at
    most; at a bound when there is none, as when every row is right (the lower) or logits say nothing (the upper).

    Args:
        logits: (N, C), of validation rows.
        targets: (N,) class indices.
    """
    from scipy.optimize import brentq

    wide = np.asarray(logits, dtype=np.float64)
    own = np.take_along_axis(wide, targets[:, None], axis=1)[:, 0]

    def slope(log_inverse: float) -> float:
        probabilities = np.exp(log_softmax(wide, math.exp(-log_inverse)))
        return float(((probabilities * wide).sum(axis=1) - own).mean())

    low, high = -math.log(HIGHEST_TEMPERATURE), -math.log(LOWEST_TEMPERATURE)
    if slope(low) >= 0:
        return HIGHEST_TEMPERATURE
    if slope(high) <= 0:
        return LOWEST_TEMPERATURE
    return math.exp(-float(brentq(slope, low, high, xtol=1e-8)))


def calibration(
    logits: Floats, targets: Indices, validation_logits: Floats, validation_targets: Indices, bins: int = ECE_BINS
) -> dict[str, Any]:
    """Calibration on test rows, as it is and with the temperature that validation rows choose.

    Args:
        logits: (N, C) of test rows.
        targets: (N,) their class indices.
        validation_logits: (M, C).
        validation_targets: (M,).
        bins: bins of the reliability diagram.

    Returns:
        What `reliability_diagram` gives, ``log_loss``, ``temperature``, and under ``with_temperature`` the
        ``expected_calibration_error`` and ``log_loss`` that test rows would have with it; ``temperature`` and
        ``with_temperature`` are None without validation rows.
    """
    result = reliability_diagram(logits, targets, bins)
    result["log_loss"] = _mean_loss(logits, targets)
    result["temperature"] = result["with_temperature"] = None
    if len(validation_targets):
        temperature = best_temperature(validation_logits, validation_targets)
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        result["temperature"] = temperature
        result["with_temperature"] = {
            "expected_calibration_error": _finite(reliability(scaled, targets, bins).expected_calibration_error),
            "log_loss": _mean_loss(scaled, targets),
        }
    return result


def _mean_loss(logits: Floats, targets: Indices) -> float | None:
    return float(negative_log_likelihood(logits, targets).mean()) if len(targets) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
