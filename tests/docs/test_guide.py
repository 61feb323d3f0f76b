"""What the pages show is what there is: recipes are valid, commands exist, the example of one's own parts works."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.models import OptionInfo

from mmdistill import catalog
from mmdistill.cli import app
from mmdistill.recipe import Recipe
from mmdistill.recipe.document import parse_document
from tests.docs.pages import ROOT, blocks, laid_over

GUIDE = ROOT / "docs" / "guide.md"
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*/README.md")])


def commands(page: Path) -> Iterator[str]:
    """The lines of a page that call mmdistill, in fenced or indented code, but not in what a program printed."""
    printed = re.compile(r"^```text\n.*?^```$", re.MULTILINE | re.DOTALL)
    for line in printed.sub("", page.read_text(encoding="utf-8")).splitlines():
        found = re.search(r"(?:^|&& )(?:\.venv/bin/)?(mmdistill .*)$", line.strip().removeprefix("$ "))
        if found:
            yield found.group(1)


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package `my_parts` of the guide, importable and registered."""
    for block in blocks(GUIDE, "python"):
        named = re.match(r"# (my_parts/\w+\.py)\n", block)
        assert named, "every block of Python in the guide is a file of the example"
        path = tmp_path / named.group(1)
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    catalog.kinds()  # every room has filled the registry
    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))
    importlib.import_module("my_parts.catalog")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_parts"]:
        del sys.modules[name]


@pytest.mark.usefixtures("own_parts")
def test_recipes_of_the_guide_are_valid() -> None:
    whole, *parts = [parse_document(block, "guide.md").data for block in blocks(GUIDE, "yaml")]
    Recipe.from_mapping(whole, "guide.md")
    assert len(parts) > 5
    for part in parts:
        Recipe.from_mapping(laid_over(whole, part), "guide.md")


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_recipes_of_the_readmes_are_valid(page: Path) -> None:
    (block,) = blocks(page, "yaml")
    Recipe.from_mapping(parse_document(block, page.name).data, page.name)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_shown_exist(page: Path) -> None:
    known = {command.name or command.callback.__name__: command for command in app.registered_commands}
    for line in commands(page):
        name, *words = shlex.split(line.partition(" ·")[0], comments=True)[1:]
        assert name in known, line
        options = [
            word
            for parameter in inspect.signature(known[name].callback, eval_str=True).parameters.values()
            for info in parameter.annotation.__metadata__
            if isinstance(info, OptionInfo)
            for word in (info.default, *(info.param_decls or ()), f"--{parameter.name.replace('_', '-')}")
        ]
        for word in words:
            assert not word.startswith("-") or word in options, line


def test_commands_are_found() -> None:
    assert len(list(commands(GUIDE))) > 8


@pytest.mark.usefixtures("own_parts")
def test_parts_of_ones_own_work() -> None:
    torch = pytest.importorskip("torch", reason="models need mmdistill[train]")
    from mmdistill.data.features import FeatureInfo
    from mmdistill.data.modalities.base import ArraySpec
    from mmdistill.models.multimodal import build_model
    from mmdistill.recipe.schema import ModelSpec

    infos = {
        column: FeatureInfo(column, column, "image", {}, {}, {"values": ArraySpec((1, 16, 16), "uint8")})
        for column in ("front", "back")
    }
    spec = ModelSpec.model_validate(
        {"encoders": {"front": {"name": "gem", "width": 4}, "back": "gem"}, "fusion": {"name": "average", "dim": 8}}
    )
    model = build_model(spec, infos, {"digit": 3}, seed=0).eval()
    features = {column: {"values": torch.randint(0, 256, (5, 1, 16, 16), dtype=torch.uint8)} for column in infos}
    present = {"front": torch.ones(5, dtype=torch.bool), "back": torch.tensor([True, False, True, False, False])}
    outputs = model(features, present)
    assert outputs["logits"].shape == (5, 3)
    assert outputs["fused"].shape == (5, 8)
    assert outputs["front.maps"].shape == (5, 8, 4, 4)

    outputs["logits"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    features["back"]["values"][1] = 255
    torch.testing.assert_close(model(features, present)["logits"], outputs["logits"])
