"""The examples with models that nobody here wrote: their models are built, and the script without a recipe runs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmdistill.data.features import FeatureInfo
from mmdistill.recipe import Recipe
from tests.models.features import image, text

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SCRIPT = EXAMPLES / "clip_dual_encoder/run.py"

torch = pytest.importorskip("torch", reason="needs mmdistill[train]")


@pytest.fixture
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("clip_dual_encoder", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "library", "info", "classes", "widths"),
    [
        ("timm_mobilenet", "timm", image(size=32), 10, {"teacher": 512, "student": 1024}),
        ("bert_bilstm", "transformers", text(vocabulary=2000, max_length=32), 77, {"teacher": 128, "student": 128}),
    ],
)
def test_both_models_of_a_recipe_are_built_with_their_taps(
    name: str, library: str, info: FeatureInfo, classes: int, widths: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library, reason="the extra backbones is not installed")
    from mmdistill.models.custom.build import build_custom

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    recipe = Recipe.load(EXAMPLES / name / "recipe.yaml")
    for side, spec in recipe.model_specs().items():
        assert spec.custom is not None
        model = build_custom(spec.custom, {info.column: info}, {"class": classes}, 0)
        assert model.taps == {"logits": (classes,), "fused": (widths[side],)}


def test_the_script_says_what_it_needs() -> None:
    pytest.importorskip("transformers", reason="the extra backbones is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "MMDISTILL_DATA"}
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "MMDISTILL_DATA is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_recall_counts_the_texts_among_the_nearest(script: ModuleType) -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    target = torch.arange(3)
    assert [script.recall(logits, target, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_captions_are_cut_and_padded(script: ModuleType) -> None:
    assert script.token_ids("Red heart!", {"heart": 7})[:4] == [script.UNKNOWN, 7, script.END, script.PAD]
    assert script.token_ids("a " * 90, {"a": 5}) == [5] * (script.LENGTH - 1) + [script.END]


def test_the_script_leaves_its_results(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the extra backbones is not installed")
    if not (Path(os.environ.get("MMDISTILL_DATA", "")) / "emoji").is_dir():
        pytest.skip("MMDISTILL_DATA does not name a folder that holds emoji")
    monkeypatch.chdir(tmp_path)
    for name, value in {"SEEDS": (0,), "TEACHER_EPOCHS": 1, "STUDENT_EPOCHS": 1}.items():
        monkeypatch.setattr(script, name, value)
    threads = torch.get_num_threads()
    try:
        assert script.main() == 0
    finally:
        torch.set_num_threads(threads)
    results = json.loads((tmp_path / "runs/clip_dual_encoder/results.json").read_text(encoding="utf-8"))
    assert set(results["models"]) == {"teacher", "student", "baseline"}
    assert results["gain"]["seeds"] == 1
    assert "text_recall_at_1" in capsys.readouterr().out
