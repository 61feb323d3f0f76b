"""The recipes of the guides are valid and fit models, and the Python of the guide to custom models runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from mmdistill.recipe import Recipe
from tests.docs.pages import DOCS, blocks, laid_over, recipes

GUIDES = [DOCS / name for name in ("teachers.md", "objectives.md", "custom_models.md", "missing.md", "balance.md")]
MODALITIES = [DOCS / name for name in ("missing.md", "balance.md")]


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
    from mmdistill.run.staged import frozen
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
            with frozen(student, objective, stage.freeze, "freeze"):
                pass


@pytest.mark.parametrize("page", MODALITIES, ids=lambda page: page.stem)
def test_models_of_several_columns_are_built_and_do_without_any(page: Path) -> None:
    torch = pytest.importorskip("torch", reason="models need mmdistill[train]")
    from mmdistill.data.modality_dropouts.build import build_dropout
    from mmdistill.models.multimodal import build_model
    from tests.models.features import image, log_mel, text

    known = {"image": image(size=16), "sound": log_mel(), "note": text("note")}
    for spec in (one for recipe in whole_recipes(page) for one in recipe.model_specs().values()):
        build_dropout(spec.modality_dropout, sorted(spec.encoders), seed=0, total_steps=10)
        model = build_model(spec, {column: known[column] for column in spec.encoders}, {"digit": 10}, seed=0).eval()
        nothing = {column: torch.zeros(2, dtype=torch.bool) for column in model.columns}
        assert bool(model({}, nothing)["logits"].isfinite().all())


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


BUILT = [0, 1, 4, 5]
"""Recipes of the page whose models need neither a file nor a factory that it does not show."""


@pytest.mark.parametrize("number", BUILT)
def test_models_of_custom_models_are_built_and_their_losses_fit(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="models need mmdistill[train]")
    pytest.importorskip("timm", reason="the extra backbones is not installed")
    pytest.importorskip("transformers", reason="the extra backbones is not installed")
    from mmdistill.distill.build import build_objective
    from mmdistill.models.custom.build import build_custom
    from mmdistill.models.multimodal import build_model
    from mmdistill.tasks.cross_entropy import CrossEntropy
    from tests.models.features import image, text

    page = DOCS / "custom_models.md"
    (nets,) = [block for block in blocks(page, "python") if block.startswith("# my_nets.py")]
    (tmp_path / "my_nets.py").write_text(nets, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    recipe, known = whole_recipes(page)[number], {"image": image(size=16), "note": text("note")}

    def built(spec: Any) -> Any:
        infos = {column: known[column] for column in recipe.columns_of(spec)}
        if spec.custom is None:
            return build_model(spec, infos, {"digit": 10}, seed=0)
        return build_custom(spec.custom, infos, {"digit": 10}, seed=0)

    teacher, student = built(recipe.teachers["teacher"]), built(recipe.students["student"])
    losses = {"digit": CrossEntropy()}
    objective = build_objective(
        losses, recipe.distill, student_taps=student.taps, teacher_taps=teacher.taps, total_steps=10
    )
    assert len(objective.terms) == len(recipe.distill.losses)
