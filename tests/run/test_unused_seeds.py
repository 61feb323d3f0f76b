"""A recipe of teachers alone that gives several seeds and trains one is told so, before the run and in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mmdistill
from mmdistill.recipe import Recipe
from mmdistill.run.check import check_recipe
from mmdistill.run.unused_seeds import unused_seeds

MODEL: dict[str, Any] = {"encoders": {"left": "mlp"}}


def recipe(table: str = "t.jsonl", **changes: Any) -> Recipe:
    data = {
        "name": "sides",
        "data": {"table": table, "target": "label", "columns": {"left": "vector"}},
        "task": "classification",
        "teachers": {"wide": MODEL, "narrow": MODEL},
        "train": {"epochs": 1},
        "seeds": [3, 4],
    }
    return Recipe.from_mapping({**data, **changes})


def test_seeds_that_no_model_uses_are_warned_about() -> None:
    found = unused_seeds(recipe())
    assert found is not None
    assert (found.level, found.code, found.where) == ("warning", "unused-seeds", "seeds")
    assert "2 seeds" in found.message and "seed 3 alone" in found.message and "per_seed: true" in found.fix


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 1},
        {"teachers": {"wide": {**MODEL, "per_seed": True}, "narrow": MODEL}},
        {"teachers": {"wide": MODEL}, "student": MODEL, "distill": {"losses": ["kd"]}},
    ],
)
def test_seeds_that_are_used_are_not(changes: dict[str, Any]) -> None:
    assert unused_seeds(recipe(**changes)) is None


def test_check_and_run_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMDISTILL_CACHE", str(tmp_path / "cache"))
    rows = [{"left": [row, 1.0], "label": "ab"[row % 2]} for row in range(60)]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    of = recipe(str(tmp_path / "table.jsonl"))
    audit = check_recipe(of)
    assert "unused-seeds" in [one.code for one in audit.warnings]
    levels = [one.level for one in audit.findings]
    assert levels == sorted(levels, key=["error", "warning", "info"].index)
    results = json.loads((mmdistill.run(of, root=tmp_path / "runs").folder / "results.json").read_text())
    (caution,) = results["cautions"]
    assert "seed 3 alone" in caution and "per_seed: true" in caution
