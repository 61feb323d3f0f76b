"""A small table of words and numbers, whose numbers tell more than its words, and a recipe that runs in seconds."""

from __future__ import annotations

import copy
import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmdistill.recipe.document import dump_yaml

WORDS = {"cat": ["purr", "whisker", "meow"], "dog": ["bark", "leash", "fetch"], "fish": ["fin", "scale", "swim"]}
FILLER = ["the", "a", "and", "very", "small", "large", "one", "of", "them"]


def write_table(path: Path, rows: int = 240, seed: int = 0) -> Path:
    """Rows of words (a hint that is often missing), two numbers (a clear signal), a kind, a split and a label."""
    generator = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["note", "width", "weight", "colour", "split", "animal"])
        for index in range(rows):
            animal = list(WORDS)[index % 3]
            hints = [generator.choice(WORDS[animal])] if generator.random() < 0.7 else []
            note = " ".join(generator.permutation([*hints, *generator.choice(FILLER, 4)]))
            width, weight = generator.normal(index % 3, 0.4), generator.normal(-(index % 3), 0.4)
            split = ["train", "train", "train", "train", "validation", "test"][index // 3 % 6]
            label = "" if split == "train" and generator.random() < 0.5 else animal
            empty = generator.random() < 0.1
            colour = generator.choice(["red", "blue"])
            writer.writerow([note, "" if empty else f"{width:.3f}", f"{weight:.3f}", colour, split, label])
    return path


RECIPE: dict[str, Any] = {
    "name": "animals",
    "data": {
        "target": "animal",
        "split": "split",
        "columns": {
            "note": {"type": "text"},
            "size": {"type": "tabular", "numeric": ["width", "weight"], "categorical": ["colour"]},
        },
    },
    "task": "classification",
    "teacher": {"encoders": {"note": "bag", "size": "mlp"}, "fusion": "concat"},
    "student": {"encoders": {"note": "bag"}},
    "distill": {"losses": [{"name": "kd", "temperature": 2}]},
    "train": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01},
    "seeds": 2,
    "evaluation": {"resamples": 200, "latency_repeats": 2},
    "compute": {"threads": 1},
}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prepared rows of a test stay in its own folder."""
    monkeypatch.setenv("MMDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """The recipe as a mapping, with its table written."""
    recipe = copy.deepcopy(RECIPE)
    recipe["data"]["table"] = str(write_table(tmp_path / "animals.csv"))
    return recipe


@pytest.fixture
def recipe_file(tmp_path: Path, data: dict[str, Any]) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_yaml(data))
    return path


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def mmdistill(tmp_path: Path) -> Command:
    """Run the installed command in the test's folder."""

    def call(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = Path(sys.executable).with_name("mmdistill")
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
        return subprocess.run(
            [str(command), *map(str, words)], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    return call
