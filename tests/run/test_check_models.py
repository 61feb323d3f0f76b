"""`mmdistill check` looks at a table with the eyes of every model of the recipe."""

from __future__ import annotations

import json
from pathlib import Path

from mmdistill.recipe import Recipe
from mmdistill.run.check import check_recipe


def test_a_subset_that_only_test_rows_have_is_told_for_the_models_that_read_it(tmp_path: Path) -> None:
    lines = []
    for row in range(60):
        split = ("train", "train", "train", "test", "validation")[row % 5]
        cells = {"left": [row, 1.0], "right": [1.0, -row], "split": split, "label": "ab"[row % 2]}
        if split == "test" and row < 20:
            cells["right"] = None
        lines.append(json.dumps(cells))
    (tmp_path / "table.jsonl").write_text("\n".join(lines))
    encoders = {"left": "mlp", "right": "mlp"}
    recipe = Recipe.from_mapping(
        {
            "name": "sides",
            "data": {
                "table": str(tmp_path / "table.jsonl"),
                "target": "label",
                "split": "split",
                "columns": {"left": "vector", "right": "vector"},
            },
            "task": "classification",
            "teacher": {"encoders": encoders},
            "students": {
                "plain": {"encoders": encoders},
                "hidden": {"encoders": encoders, "modality_dropout": {"name": "uniform"}},
                "left": {"encoders": {"left": "mlp"}},
            },
            "distill": {"losses": ["kd"]},
        }
    )
    found = [finding.where for finding in check_recipe(recipe).warnings if finding.code == "unseen-subset"]
    assert found == ["teacher, test", "plain, test"]
