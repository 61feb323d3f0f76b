"""An error while a model is built says which model it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mmdistill
from mmdistill.errors import InputError, MissingExtra
from mmdistill.recipe import Recipe
from mmdistill.run.model_key import model_key, naming
from mmdistill.run.plan import plan

SIDES = {"left": "vector", "right": "vector"}
PLAIN: dict[str, Any] = {"encoders": {"left": "mlp", "right": "mlp"}}


def recipe(table: str = "t.jsonl", **changes: Any) -> Recipe:
    data = {
        "name": "sides",
        "data": {"table": table, "target": "label", "columns": SIDES},
        "task": "classification",
        "teacher": PLAIN,
        "students": {"small": PLAIN},
        "distill": {"losses": ["kd"]},
        "train": {"epochs": 1},
        "seeds": 1,
    }
    return Recipe.from_mapping({**data, **changes})


def test_models_of_the_recipe_are_named_by_their_key_and_others_by_their_name() -> None:
    of = recipe()
    assert [model_key(of, one) for one in plan(of).models] == ["teachers.teacher", "students.small", "small-baseline"]


def test_an_error_gets_the_model_in_front_once() -> None:
    of = recipe()
    student = plan(of).model("small")
    for where, expected in [
        ("", "students.small"),
        ("fusion", "students.small.fusion"),
        ("students.small.custom", "students.small.custom"),
    ]:
        with pytest.raises(MissingExtra) as caught, naming(of, student):
            raise MissingExtra("It is not there", where=where, fix="Install it")
        assert (caught.value.where, caught.value.fix) == (expected, "Install it")


def test_a_fusion_that_does_not_fit_its_encoders_is_told_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether vectors are sequences only the table tells."""
    monkeypatch.setenv("MMDISTILL_CACHE", str(tmp_path / "cache"))
    rows = [{"left": [row, 1.0], "right": [1.0, -row], "label": "ab"[row % 2]} for row in range(60)]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    of = recipe(str(tmp_path / "table.jsonl"), students={"small": {**PLAIN, "fusion": "memory"}})
    with pytest.raises(InputError, match="needs a sequence of every column") as caught:
        mmdistill.run(of, root=tmp_path / "runs")
    assert caught.value.where == "students.small.fusion"
