"""The recipes of the guides are valid and fit models, and the Python of the guide to custom models runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mmdistill.recipe import Recipe
from tests.docs.pages import DOCS, blocks, laid_over, recipes

GUIDES = [DOCS / name for name in ("teachers.md", "objectives.md", "custom_models.md")]


def whole_recipes(page: Path) -> list[Recipe]:
    """Every block of a page, laid over the first one unless it is a whole recipe itself."""
    first, *others = recipes(page)
    every = [first, *(one if {"name", "data"} <= one.keys() else laid_over(first, one) for one in others)]
    return [Recipe.from_mapping(one, page.name) for one in every]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_recipe_is_valid(page: Path) -> None:
    assert len(whole_recipes(page)) == page.read_text(encoding="utf-8").count("```yaml") > 5


@pytest.mark.parametrize("number", range(len(recipes(DOCS / "objectives.md"))))
def test_every_objective_fits_its_models(number: int) -> None:
    torch = pytest.importorskip("torch", reason="models need mmdistill[train]")
    from mmdistill.distill.build import build_objective
    from mmdistill.models.multimodal import build_model
    from mmdistill.run.staged import freeze
    from mmdistill.tasks.cross_entropy import CrossEntropy
    from tests.models.features import image, log_mel

    recipe = whole_recipes(DOCS / "objectives.md")[number]
    infos = {"image": image(size=16), "sound": log_mel()}

    def built(spec: Any) -> Any:
        return build_model(spec, {column: infos[column] for column in spec.encoders}, {"digit": 10}, seed=0)

    teacher, student_spec = built(recipe.teachers["teacher"]), recipe.students["student"]
    width = teacher.taps["fused"][-1] if student_spec.head == "teacher" else None
    student = built(student_spec.model_copy(update={"projection": width}))
    for number, distill in enumerate(recipe.distill.in_stages()):
        objective = build_objective(
            {"digit": CrossEntropy()},
            distill,
            student_taps=student.taps,
            teacher_taps=teacher.taps,
            student_heads=student.heads,
            teacher_heads=teacher.heads,
            rows=torch.arange(100),
            targets={"digit": torch.arange(100) % 10},
            total_steps=100,
            steps_per_epoch=10,
        )
        assert len(objective.terms) == len(distill.losses)
        for stage in recipe.distill.stages[number : number + 1]:
            freeze(student, objective, stage.freeze, "freeze")


def test_the_python_of_custom_models_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("torch", reason="models need mmdistill[train]")
    monkeypatch.chdir(tmp_path)
    page, namespace = DOCS / "custom_models.md", {"__name__": "page"}
    for block in blocks(page, "python"):
        file = re.match(r"# (\w+\.py)\n", block)
        if file:
            (tmp_path / file.group(1)).write_text(block, encoding="utf-8")
        exec(block, {"__name__": "file"} if file else namespace)
    printed = capsys.readouterr().out
    assert "{'logits': (10,), 'fused': (16,), 'image.maps': (16, 4, 4)}" in printed
    assert "Did you mean 'head'" in printed
    _own_student_is_built()


def _own_student_is_built() -> None:
    """The factory of the page makes the student of its recipe."""
    from mmdistill.models.custom.build import build_custom
    from tests.models.features import image

    custom = whole_recipes(DOCS / "custom_models.md")[0].students["student"].custom
    assert custom is not None
    assert build_custom(custom, {"image": image(size=16)}, {"digit": 10}, seed=0).taps["image.maps"] == (8, 4, 4)
