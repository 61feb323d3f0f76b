"""What the modalities write and what the encoders read are in the same units, for every column type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmdistill.data.features import features_for
from mmdistill.data.loader import Loader
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import Table
from mmdistill.models.layers.standardise import Standardise
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import ColumnSpec, ModelSpec

ROWS = 96


def columns() -> dict[str, list[object]]:
    draw = np.random.default_rng(0)
    return {
        "image": [draw.integers(0, 256, (12, 12), dtype=np.uint8) for _ in range(ROWS)],
        "vector": [draw.normal(5, 3, 6) for _ in range(ROWS)],
        "sound": [{"array": draw.normal(0, 0.2, 4000), "sampling_rate": 8000} for _ in range(ROWS)],
        "width": [float(value) for value in draw.normal(100, 20, ROWS)],
    }


def prepared(spec: dict[str, dict[str, object]], folder: Path) -> PreparedRows:
    described = {name: ColumnSpec.model_validate(value) for name, value in spec.items()}
    return prepare(Table.of(columns()), features_for(described), np.arange(ROWS), cache=folder)


@pytest.mark.parametrize(
    ("column", "settings", "encoders"),
    [
        ("image", {"type": "image", "size": 12}, ["tiny_cnn", "cnn", "resnet", "mobilenet", "mlp"]),
        ("vector", {"type": "vector"}, ["mlp"]),
        ("sound", {"type": "audio", "sample_rate": 8000}, ["tiny_cnn", "cnn", "crnn"]),
    ],
)
def test_training_rows_are_standardised_for_every_encoder(
    column: str, settings: dict[str, object], encoders: list[str], tmp_path: Path
) -> None:
    rows = prepared({column: settings}, tmp_path)
    info = rows.features[column].info
    batch = next(Loader(rows, {}, np.arange(ROWS), ROWS, shuffle=False).batches(0))
    for name in encoders:
        model = build_model(ModelSpec.model_validate({"encoders": {column: name}}), {column: info}, {"y": 2}, seed=0)
        layers = [module for module in model.modules() if isinstance(module, Standardise)]
        assert len(layers) == 1, name
        values = layers[0](batch["features", column, "values"])
        assert abs(values.mean().item()) < 0.1, name
        assert values.std().item() == pytest.approx(1, abs=0.15), name


def test_numbers_of_a_table_are_standardised_when_they_are_prepared(tmp_path: Path) -> None:
    rows = prepared({"facts": {"type": "tabular", "numeric": ["width"]}}, tmp_path)
    numeric = rows.features["facts"].gather(torch.arange(ROWS))["numeric"]
    assert abs(numeric.mean().item()) < 0.1
    assert numeric.std().item() == pytest.approx(1, abs=0.1)
