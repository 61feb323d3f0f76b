"""The page of every loss: its recipe can be bound to models, its Python runs, recorded runs are told as they are."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mmdistill import catalog
from mmdistill.losses.entry import LossEntry
from mmdistill.recipe import Recipe
from tests.docs.pages import DOCS, ROOT, blocks, laid_over, recipes

torch = pytest.importorskip("torch", reason="losses need mmdistill[train]")
sys.path.append(str(ROOT / "tools"))

from docs_pages import deviations, families  # noqa: E402
from docs_pages.published import PUBLISHED  # noqa: E402
from mmdistill.distill.build import build_objective  # noqa: E402
from mmdistill.losses import functional  # noqa: E402
from tests.distill import test_every_loss as small  # noqa: E402
from tests.losses import test_golden as golden  # noqa: E402

ENTRIES = families.loss_entries()
LOSSES = DOCS / "losses"
each_loss = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
BASE: dict[str, Any] = {
    "name": "page",
    "data": {
        "table": "rows.csv",
        "target": "label",
        "columns": {"image": "image", "table": {"type": "tabular", "numeric": ["a"]}, "text": "text"},
    },
    "task": "classification",
    "teacher": {"encoders": {"image": "resnet", "table": "mlp", "text": "transformer"}},
    "student": {"encoders": {"image": "resnet", "table": "mlp", "text": "transformer"}},
}


def taps(model: small.Model) -> dict[str, Any]:
    """Those of a model whose columns have embeddings of one width, as losses between columns want them."""
    return model.taps | dict.fromkeys(("image", "table", "text"), (6,))


@each_loss
def test_the_recipe_of_the_page_fits_models(entry: LossEntry) -> None:
    (fragment,) = recipes(LOSSES / f"{entry.name}.md")
    recipe = Recipe.from_mapping(laid_over(BASE, fragment), f"{entry.name}.md")
    student, teacher = small.Model(12, seed=1), small.Model(24, seed=2)
    classes = torch.arange(small.ROWS) % small.CLASSES
    objective = build_objective(
        {"label": small.NoLoss()},
        recipe.distill,
        student_taps=taps(student),
        teacher_taps=taps(teacher),
        student_heads=student.heads,
        teacher_heads=teacher.heads,
        rows=torch.arange(small.ROWS),
        targets={"label": classes},
        total_steps=4,
    )
    assert [term.name for term in objective.terms] == [entry.name]


@each_loss
def test_the_python_of_the_page_runs(entry: LossEntry) -> None:
    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    exec(blocks(LOSSES / f"{entry.name}.md", "python")[0], namespace)
    value = namespace["value" if entry.learned else "loss"]
    assert value.shape == ()
    assert bool(value.isfinite())
    assert entry.learned or torch.equal(value, namespace["same"])
    for name in entry.needs:
        given = namespace[name] if isinstance(namespace[name], tuple) else (namespace[name],)
        assert all((one.grad is not None) == name.startswith("student_") for one in given), name


def test_every_loss_stands_in_the_index_once() -> None:
    index = (LOSSES / "README.md").read_text(encoding="utf-8")
    sections = index.split("\n## ", 2)[2]
    named = re.findall(r"^\| \[`(\w+)`\]\(\w+\.md\)", sections, re.MULTILINE)
    assert sorted(named) == sorted(catalog.names("loss"))


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_counts_the_losses(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(r"(\d+) (?:losses:|个损失：)", text) == [str(len(ENTRIES))]


def test_every_recorded_run_is_listed() -> None:
    text = (LOSSES / "deviations.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+__\w+__s1[ad])`", text)
    assert sorted(listed) == sorted([*golden.GOLDEN, *deviations.NOT_LOSSES])
    if golden.FOLDER is not None and golden.FOLDER.is_dir():
        assert sorted(listed) == sorted(path.stem for path in golden.FOLDER.glob("*.npz"))


recordings = pytest.mark.skipif(
    golden.FOLDER is None or not golden.FOLDER.is_dir(), reason="the folder golden/ beside MMDISTILL_DATA is not there"
)


@recordings
@pytest.mark.parametrize("name", PUBLISHED)
def test_sources_are_those_that_were_recorded(name: str) -> None:
    assert golden.FOLDER is not None
    method = json.loads((golden.FOLDER / f"{name.split('__')[0]}.json").read_text())
    (variant,) = [one for one in method["variants"] if any(case["file"] == f"{name}.npz" for case in one["cases"])]
    assert (PUBLISHED[name].repository, PUBLISHED[name].symbol) == (variant["source_repo"], variant["symbol"])


UNSEEN = {"kdsvd", "reviewkd", "attention_mse", "attention_cross_entropy", "clipkd_interactive", "clipkd_cross"}
"""Losses whose cases call a part of them, or hold the function since the import."""
PARTS = {"ft__repdistiller_with_translator__s1d": {"power", "batch_norm"}}
"""Options of the module's parts, or numbers that are forms."""


@recordings
@pytest.mark.parametrize("name", [name for name in PUBLISHED if golden.GOLDEN[name].loss not in UNSEEN])
def test_options_are_those_that_the_case_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, used = golden.GOLDEN[name].loss, {}
    fields = catalog.get("loss", loss).options.model_fields
    function: Callable[..., Any] = getattr(functional, loss)

    def spy(*arguments: Any, **options: Any) -> Any:
        forms = {key: value for key, value in options.items() if isinstance(value, str | bool) or value is None}
        used.update({key: value for key, value in forms.items() if key in fields and value != fields[key].default})
        return function(*arguments, **options)

    monkeypatch.setattr(functional, loss, spy, raising=False)
    arrays, case = golden.recorded(name)
    golden.ours(name, arrays, case, torch.float64)
    told = {key: value for key, value in PUBLISHED[name].options.items() if key not in PARTS.get(name, ())}
    assert used == told
