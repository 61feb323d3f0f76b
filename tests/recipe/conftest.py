"""A small valid recipe that the tests change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

RECIPE: dict[str, Any] = {
    "name": "trial",
    "data": {
        "table": "rows.csv",
        "target": "digit",
        "columns": {"image": {"type": "image", "size": 28}, "sound": {"type": "audio", "sample_rate": 8000}},
    },
    "task": "classification",
    "teacher": {"encoders": {"image": "resnet", "sound": "cnn"}, "fusion": "concat"},
    "student": {"encoders": {"sound": "tiny_cnn"}},
    "distill": {"losses": [{"name": "kd", "weight": 0.9, "temperature": 4}]},
}


@pytest.fixture
def data() -> dict[str, Any]:
    return copy.deepcopy(RECIPE)
