"""Questions about pictures: what is answered in training, and how large the models are."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from mmdistill.models.multimodal import build_model
from mmdistill.recipe import Recipe
from tests.models.features import image, text

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "easy_vqa"


@pytest.fixture
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("easy_vqa_prepare", FOLDER / "prepare.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_student_is_small() -> None:
    student = next(iter(Recipe.load(FOLDER / "recipe.yaml").students.values()))
    infos = {"picture": image("picture", 64, 3), "question": text("question", vocabulary=60, max_length=12)}
    model = build_model(student, infos, {"answer_of_4000": 13}, 0)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 50_000


def test_all_answers_and_the_first_few_are_two_recipes_of_one_table() -> None:
    few, every = (Recipe.load(FOLDER / name) for name in ("recipe.yaml", "recipe.full.yaml"))
    assert few.data.table == every.data.table
    assert few.data.split.group == "file", "questions about one picture have to stay on one side"
    assert (every.data.split.validation, every.train.select) == (0, "last")


def test_four_thousand_training_questions_keep_their_answer(script: ModuleType) -> None:
    folder = Path(os.environ.get("MMDISTILL_DATA", ""))
    if not (folder / script.NEEDS[0]).is_file():
        pytest.skip("MMDISTILL_DATA does not name a folder that holds easy_vqa")
    rows = script.make_table(folder).to_pylist()
    train, test = ([row for row in rows if row["split"] == split] for split in ("train", "test"))
    assert (len(train), len(test)) == (38_575, 9_673)
    known = [row for row in train if row["answer_of_4000"] is not None]
    assert len(known) == 4_000
    assert all(row["answer_of_4000"] == row["answer"] for row in known + test)
    assert not {row["file"] for row in train} & {row["file"] for row in test}
