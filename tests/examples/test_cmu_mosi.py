"""The command on CMU-MOSI: its table, its run and what it prints, on made-up utterances and on the real ones."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mmdistill.recipe import Recipe

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "replications" / "cmu_mosi.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("cmu_mosi", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "TABLE", tmp_path / "table.parquet")
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Sixty utterances of six videos, two of them for testing."""
    folder, numbers = tmp_path / "data" / "cmu_mosi", np.random.default_rng(0)
    folder.mkdir(parents=True)
    labels = np.arange(60) % 2
    features = {
        name: numbers.normal(labels[:, None], 1, (60, 5)).astype(np.float32) for name in ("text", "audio", "video")
    }
    np.savez(folder / "features.npz", **features)
    with (folder / "utterances.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "utterance_id", "video_id", "split", "label", "text"])
        for row in range(60):
            video, split = f"v{row // 10}", "test" if row >= 40 else "train"
            writer.writerow([row, f"{video}_{row}", video, split, labels[row], "WORDS"])
    return folder.parent


def test_it_prepares_runs_and_prints_ours_beside_the_reference(
    script: ModuleType,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MMDISTILL_DATA", str(source))
    monkeypatch.setenv("MMDISTILL_CACHE", str(tmp_path / "cache"))
    keys = ["seeds=2", "train.epochs=1", "evaluation.resamples=100"]
    monkeypatch.setattr(sys, "argv", ["cmu_mosi.py", "--runs", str(tmp_path / "runs"), *keys])
    assert script.main() == 0
    printed = capsys.readouterr().out
    assert "mean of 2 seeds" in printed
    assert "55.2 → 55.0" in printed
    assert "75.6 → 75.7" in printed
    assert (tmp_path / "runs" / "cmu_mosi" / "report.html").exists()


def test_without_the_data_it_says_what_to_set(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MMDISTILL_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["cmu_mosi.py"])
    assert script.main() == 2
    assert "MMDISTILL_DATA" in capsys.readouterr().err


def test_whole_videos_are_drawn_and_no_training_row_chooses_anything(script: ModuleType) -> None:
    recipe = Recipe.load(script.RECIPE)
    assert recipe.data.split.group == "video_id"
    assert recipe.data.split.validation == 0
    assert recipe.train.select == "last"


@pytest.mark.skipif("MMDISTILL_DATA" not in os.environ, reason="MMDISTILL_DATA is not set")
def test_the_official_split_keeps_videos_apart(script: ModuleType) -> None:
    folder = Path(os.environ["MMDISTILL_DATA"])
    if not (folder / script.NEEDS[0]).exists():
        pytest.skip("MMDISTILL_DATA has no cmu_mosi")
    rows = script.make_table(folder).to_pylist()
    videos = {split: {row["video_id"] for row in rows if row["split"] == split} for split in ("train", "test")}
    assert {split: len(names) for split, names in videos.items()} == {"train": 62, "test": 31}
    assert not videos["train"] & videos["test"]
    assert sum(row["split"] == "test" for row in rows) == 752
    assert [len(rows[0][column]) for column in ("audio", "text", "video")] == [73, 100, 100]
