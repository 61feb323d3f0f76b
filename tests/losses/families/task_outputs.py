"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.task_outputs`."""

from __future__ import annotations

from tests.losses.golden_case import GoldenCase
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "binary_kd": [{"temperature": 1.0, "reduction": "sum"}],
    "regression_kd": [{"distance": "l1"}, {"distance": "huber", "delta": 0.5}],
    "token_kd": [{"temperature": 2.0}],
    "frame_kd": [{"temperature": 2.0}, {"blank": 0, "blank_weight": 1.0}],
}

INPUTS: Inputs = {
    "bounded_regression": {"target": lambda rows, classes, numbers, _: numbers(rows, classes)},
}

GOLDEN: dict[str, GoldenCase] = {}
