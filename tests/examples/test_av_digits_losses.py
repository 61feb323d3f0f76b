"""The forty losses on one student: one loss each, the same student, and every one of them can be bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmdistill import catalog
from mmdistill.distill.build import build_objective
from mmdistill.losses.entry import LossEntry
from mmdistill.models.multimodal import build_model
from mmdistill.recipe import Recipe
from mmdistill.report.objectives import SUPERVISED, objective_of
from mmdistill.run.plan import plan
from mmdistill.tasks.cross_entropy import CrossEntropy
from tests.models.features import image, log_mel

RECIPE = Path(__file__).resolve().parents[2] / "examples" / "av_digits_losses" / "recipe.yaml"
CLASSES, ROWS = 10, 300


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.load(RECIPE)


def test_at_least_twenty_four_students_learn_from_one_loss_each(recipe: Recipe) -> None:
    content = recipe.model_dump(mode="json", exclude_none=True)
    objectives = {
        name: [loss for loss in objective_of(content, name) if loss != SUPERVISED] for name in recipe.students
    }
    assert len(objectives) >= 24
    assert all(len(losses) == 1 for losses in objectives.values())
    assert len({losses[0] for losses in objectives.values()}) == len(objectives)


def test_all_families_that_compare_two_models_of_sound_are_there(recipe: Recipe) -> None:
    names = {student.distill.losses[0].name for student in recipe.students.values() if student.distill}
    entries = [catalog.get("loss", name) for name in names]
    families = {entry.family for entry in entries if isinstance(entry, LossEntry)}
    assert families >= {"logits", "features", "relations", "modalities"}


def test_the_students_are_the_same_and_share_a_baseline(recipe: Recipe) -> None:
    alike = {str(student.model_dump(exclude={"distill"})) for student in recipe.students.values()}
    assert len(alike) == 1
    planned = plan(recipe)
    assert [model.role for model in planned.models].count("baseline") == 1
    assert [model.role for model in planned.models].count("teacher") == 1
    assert len({comparison.baseline for comparison in planned.comparisons}) == 1


def test_enough_draws_for_a_gain_to_stand_among_so_many(recipe: Recipe) -> None:
    assert 2 / (recipe.evaluation.resamples + 1) * len(recipe.students) < 0.05


def test_every_objective_is_bound_to_these_models(recipe: Recipe) -> None:
    infos = {"image": image(), "sound": log_mel()}
    teacher = build_model(recipe.teachers["teacher"], infos, {"digit": CLASSES}, 0)
    first = next(iter(recipe.students.values()))
    student = build_model(first, {"sound": infos["sound"]}, {"digit": CLASSES}, 0)
    targets: dict[str, Any] = {"digit": torch.arange(ROWS) % CLASSES}
    for name, spec in recipe.students.items():
        objective = build_objective(
            {"digit": CrossEntropy()},
            recipe.distill_for(spec),
            student_taps=student.taps,
            teacher_taps=teacher.taps,
            total_steps=10,
            steps_per_epoch=5,
            rows=torch.arange(ROWS),
            targets=targets,
        )
        assert objective.teacher_taps, name
