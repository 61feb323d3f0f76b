"""Every fusion on the same encoders: the recipe names them all, and its table chooses on validation alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mmdistill import catalog
from mmdistill.models.multimodal import build_model
from mmdistill.recipe import Recipe
from tests.models.features import vector

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "av_digits_fusion"
NEEDS_ALIGNED_SEQUENCES = {"memory"}


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"av_digits_fusion_{name}", FOLDER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.load(FOLDER / "recipe.yaml")


def results(**models: tuple[list[float], list[float]]) -> dict[str, Any]:
    runs = {
        name: [
            {"validation": {"accuracy": one}, "metrics": {"accuracy": other}, "train_seconds": 2.0}
            for one, other in zip(validation, test, strict=True)
        ]
        for name, (validation, test) in models.items()
    }
    return {"models": {name: {"runs": held, "parameters": 10} for name, held in runs.items()}}


def test_every_fusion_that_takes_a_single_vector_is_compared_under_its_own_name(recipe: Recipe) -> None:
    fusions = {name: spec.fusion.name for name, spec in recipe.teachers.items() if spec.fusion}
    assert set(fusions) == set(catalog.names("fusion")) - NEEDS_ALIGNED_SEQUENCES
    assert all(name == fusion for name, fusion in fusions.items())


def test_nothing_but_the_fusion_differs(recipe: Recipe) -> None:
    assert len({str(spec.model_dump(exclude={"fusion"})) for spec in recipe.teachers.values()}) == 1
    assert recipe.train.epochs == 5
    assert len(recipe.seeds) == 3


def test_every_model_is_built(recipe: Recipe) -> None:
    infos = {"image": vector("image", 4), "sound": vector("sound", 16, sequence=True)}
    for name, spec in recipe.teachers.items():
        assert build_model(spec, infos, {"digit": 10}, 0).columns == ("image", "sound"), name


def test_the_validation_rows_choose_and_the_test_rows_do_not() -> None:
    table = script("table")
    lines = table.lines(results(lucky=([0.90, 0.90], [0.99, 0.99]), chosen=([0.92, 0.94], [0.90, 0.92])))
    assert [line.fusion for line in lines] == ["chosen", "lucky"]
    assert lines[0].test == pytest.approx(91)
    assert lines[0].test_spread == pytest.approx(2**0.5)
    assert table.markdown(lines).splitlines()[2] == "| chosen | 93.0 ± 1.4 | 91.0 ± 1.4 | 2 | 10 |"


def test_a_table_of_a_run_that_is_not_there_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("table").main(tmp_path) == 2
    assert "results.json" in capsys.readouterr().err


def test_the_model_by_hand_is_as_large_as_the_readme_says() -> None:
    model = script("by_hand").ByHand(("image", "sound"))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"{count:,} parameters" in (FOLDER / "README.md").read_text(encoding="utf-8")
