"""Models of one's own in a recipe: trained here, or brought with their weights."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import mmdistill
from mmdistill import Recipe
from mmdistill.errors import InputError
from mmdistill.models.saving import load_model

from .conftest import RECIPE, write_table

MODULE = """
from torch import Tensor, nn


class Scales(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.ReLU())
        self.head = nn.Linear(width, 3)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.head(self.body(numbers))


def scales(width: int = 8) -> nn.Module:
    return Scales(width)
"""
SCALES = {"factory": "my_scales:scales", "inputs": {"numbers": "size.numeric"}, "taps": {"fused": "body"}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe whose table has numbers everywhere, and a module `my_scales` that can be imported."""
    (tmp_path / "my_scales.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_scales", raising=False)
    recipe = copy.deepcopy(RECIPE)
    recipe["data"]["table"] = str(write_table(tmp_path / "animals.csv"))
    recipe["seeds"] = 1
    return recipe


def run(data: dict[str, Any], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    folder = mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "runs").folder
    return folder, json.loads((folder / "results.json").read_text())


def test_a_student_of_ones_own_is_trained_beside_its_baseline(data: dict[str, Any], tmp_path: Path) -> None:
    data["student"] = {"custom": {**SCALES, "options": {"width": 5}}}
    data["distill"]["losses"] = ["kd", {"name": "rkd_distance"}, {"name": "fitnets"}]
    folder, results = run(data, tmp_path)
    assert results["models"]["student"]["parameters"] == 2 * 5 + 5 + 5 * 3 + 3
    assert results["models"]["student"]["columns"] == ["size"]
    assert results["gain"]["baseline"] == "baseline"
    again = load_model(folder / "student" / "seed-0")[0].state_dict()
    held = load_file(folder / "student" / "seed-0" / "model.safetensors")
    assert all(torch.equal(again[name], value) for name, value in held.items())


def sure_scales(path: Path, order: list[int]) -> Path:
    """Weights that know small from large numbers, the outputs in the order of `order`."""
    weights = {"body.0.weight": torch.zeros(8, 2), "body.0.bias": torch.zeros(8)}
    weights["body.0.weight"][0, 0], weights["body.0.weight"][1, 0] = -1, 1
    head, bias = torch.zeros(3, 8), torch.tensor([0.0, 3.0, 0.0])
    head[0, 0] = head[2, 1] = 6
    save_file({**weights, "head.weight": head[order], "head.bias": bias[order]}, path)
    return path


@pytest.mark.parametrize("order", [["cat", "dog", "fish"], ["fish", "cat", "dog"]])
def test_a_teacher_that_comes_trained_is_used_as_it_is_in_whatever_order(
    data: dict[str, Any], tmp_path: Path, order: list[str]
) -> None:
    weights = sure_scales(tmp_path / "scales.safetensors", [["cat", "dog", "fish"].index(name) for name in order])
    data["teacher"] = {"trained": True, "custom": {**SCALES, "weights": str(weights), "classes": order}}
    folder, results = run(data, tmp_path)
    assert results["models"]["teacher"]["runs"][0]["metrics"]["accuracy"] > 0.7
    assert results["models"]["teacher"]["runs"][0]["steps"] == 0
    assert any("came with its weights" in text for text in results["cautions"])
    kept = load_file(folder / "teacher" / "seed-0" / "model.safetensors")
    assert torch.equal(kept["module.head.bias"], load_file(weights)["head.bias"])


def test_a_teacher_of_other_classes_is_refused_before_anything_is_trained(data: dict[str, Any], tmp_path: Path) -> None:
    weights = sure_scales(tmp_path / "scales.safetensors", [0, 1, 2])
    custom = {**SCALES, "weights": str(weights), "classes": ["cat", "dog", "bird"]}
    data["teacher"] = {"trained": True, "custom": custom}
    with pytest.raises(InputError, match="does not know 'fish' and it knows 'bird'"):
        run(data, tmp_path)


def test_a_model_that_cannot_do_without_a_column_is_refused_where_rows_lack_it(
    data: dict[str, Any], tmp_path: Path
) -> None:
    lines = (tmp_path / "animals.csv").read_text().splitlines()
    note, *_, split, label = lines[5].split(",")
    lines[5] = ",".join([note, "", "", "", split, label])
    (tmp_path / "animals.csv").write_text("\n".join(lines) + "\n")
    data["student"] = {"custom": SCALES}
    with pytest.raises(InputError, match="rows have no 'size'"):
        run(data, tmp_path)


def test_an_unknown_factory_is_named(data: dict[str, Any], tmp_path: Path) -> None:
    data["student"] = {"factory": "my_scales:scale"}
    with pytest.raises(InputError, match=r"scale.*'scales'"):
        run(data, tmp_path)


def test_what_a_factory_has_frozen_stays_frozen_when_the_teacher_learns_along(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = "\n\ndef frozen(width: int = 8) -> nn.Module:\n    model = Scales(width)\n"
    (tmp_path / "my_scales.py").write_text(f"{MODULE}{frozen}    model.body.requires_grad_(False)\n    return model\n")
    data["teacher"] = {"custom": {**SCALES, "factory": "my_scales:frozen"}}
    data["student"] = {"encoders": {"note": "bag"}}
    data["distill"] = {"policy": "co_trained"}
    folder, _ = run(data, tmp_path)
    before, after = (load_file(folder / name / "seed-0" / "model.safetensors") for name in ("teacher", "co-trained"))
    assert torch.equal(before["module.body.0.weight"], after["module.body.0.weight"])
    assert not torch.equal(before["module.head.weight"], after["module.head.weight"])


def test_a_brought_teacher_that_gives_nan_is_refused_before_anything_is_trained(
    data: dict[str, Any], tmp_path: Path
) -> None:
    nan = "\n\nclass Broken(Scales):\n    def forward(self, numbers: Tensor) -> Tensor:\n"
    (tmp_path / "my_scales.py").write_text(f"{MODULE}{nan}        return super().forward(numbers) / 0 * 0\n")
    data["teacher"] = {"trained": True, "custom": {**SCALES, "factory": "my_scales:Broken"}}
    data["student"] = {"encoders": {"note": "bag"}}
    with pytest.raises(InputError, match="'logits' of the teacher 'teacher' are NaN or infinite"):
        run(data, tmp_path)
