"""A table of two columns and what is made of it: prepared rows, loaders, models, all of them the library's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdistill.data.features import Feature, FeatureInfo
from mmdistill.data.loader import Loader
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import read_table
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ColumnSpec, Component, ModelSpec
from mmdistill.tasks.classification import ClassificationTask

ROWS, TRAIN = 160, 120


class SmallRun:
    """Prepared rows of ``easy`` and ``hard`` vectors, a third of them unlabelled, and the task of three classes.

    Args:
        folder: for table and cache.
        absent: rows whose ``easy`` cell is empty.
    """

    def __init__(self, folder: Path, absent: frozenset[int] = frozenset()) -> None:
        numbers = np.random.default_rng(0)
        classes = numbers.integers(0, 3, ROWS)
        easy = np.eye(3)[classes] * 2 + numbers.normal(0, 0.5, (ROWS, 3))
        hard = np.eye(3)[classes] + numbers.normal(0, 0.8, (ROWS, 3))
        lines = [
            {
                "easy": None if row in absent else easy[row].round(3).tolist(),
                "hard": hard[row].round(3).tolist(),
                "class": None if row < TRAIN and row % 3 == 0 else "abc"[classes[row]],
            }
            for row in range(ROWS)
        ]
        path = folder / "table.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
        table = read_table(path)
        columns = {name: ColumnSpec(type="vector") for name in ("easy", "hard")}
        features = [Feature(name, name, "vector", (name,), spec.settings()) for name, spec in columns.items()]
        self.train_rows, self.test_rows = np.arange(TRAIN), np.arange(TRAIN, ROWS)
        self.prepared: PreparedRows = prepare(table, features, self.train_rows, folder / "cache")
        self.task = ClassificationTask()
        cells = table.column("class")
        self.state = self.task.fit(cells, self.train_rows)
        self.targets = {"class": self.task.encode(cells, self.state)}

    @property
    def infos(self) -> dict[str, FeatureInfo]:
        return {name: store.info for name, store in self.prepared.features.items()}

    def loader(self, rows: Any = None, **options: Any) -> Loader:
        chosen = self.train_rows if rows is None else rows
        settings: dict[str, Any] = {"batch_size": 16, "shuffle": False, **options}
        return Loader(self.prepared, self.targets, chosen, **settings)

    def model(self, *columns: str, seed: int = 0, hidden: int = 16) -> MultimodalModel:
        encoder = Component.model_validate({"name": "mlp", "hidden": [hidden, hidden]})
        spec = ModelSpec(encoders=dict.fromkeys(columns, encoder))
        return build_model(spec, {column: self.infos[column] for column in columns}, {"class": 3}, seed)

    def score(self, model: MultimodalModel, rows: Any = None) -> float:
        """Accuracy on the test rows."""
        from mmdistill.models.inference import collect

        chosen = self.test_rows if rows is None else rows
        outputs = collect(model, self.loader(chosen), ["logits"])
        values = torch.as_tensor(self.targets["class"][0])[torch.as_tensor(chosen)]
        accuracy = self.task.quick_metrics(outputs, values, self.state)["accuracy"]
        assert accuracy is not None
        return accuracy
