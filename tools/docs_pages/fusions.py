"""The page of a fusion, and the index of all by family."""

from __future__ import annotations

from collections.abc import Iterator

from docs_pages.components import recipe_line
from docs_pages.docstrings import source_of, without_arguments
from docs_pages.markdown import code, fenced, link, page, table
from docs_pages.options import options_section
from docs_pages.references import linked, source_line
from mmdistill.models.fusion.entry import FusionEntry
from mmdistill.models.fusion.families import attention, decisions, pooled, products, sequences, subspaces

TOKENS = {
    "ignored": "not read: the pooled embeddings are",
    "used": "attended to where a column has them; one without counts as one token",
    "aligned": "needed of every column, and they belong together position by position",
}
INTRODUCTION = (
    "How the embeddings of a model's columns become one vector (`teacher.fusion`, `students.<name>.fusion`). What "
    "stands in a column that a row lacks changes no output of any of them, a row that lacks everything is defined, and "
    "the batch that a row is in does not matter: one common suite of tests holds all of them to it. With one column "
    "there is nothing to fuse, and any of them hands the embedding on as it is. [Measured side by "
    "side](../../examples/av_digits_fusion/README.md); [missing modalities](../missing.md)."
)


def fusion_page(entry: FusionEntry) -> str:
    """What it is and when to use it, what it reads and adds, how a recipe names it, options."""
    found = source_of(entry.target)
    described = without_arguments(found.docstring) if found is not None else ""
    example = f"teacher:\n  fusion: {recipe_line(entry)}"
    return page(
        f"# {code(entry.name)}", entry.summary, fenced(entry.equation, "math"), f"**When to use it.** {entry.when}",
        table(("", ""), _facts(entry)), described, "## In a recipe", fenced(example, "yaml"),
        "## Options", options_section(entry.options, 3), source_line(found),
    )  # fmt: skip


def fusion_index() -> str:
    """Every fusion with one line, by family."""
    parts = ["# Fusions", INTRODUCTION]
    for heading, entries in _families():
        rows = [(link(code(one.name), f"{one.name}.md"), one.summary, one.when) for one in entries]
        parts += [f"## {heading}", table(("name", "what it is", "when to use it"), rows)]
    return page(*parts)


def _facts(entry: FusionEntry) -> list[tuple[str, str]]:
    facts = [("source", linked(entry.paper)), ("tokens", TOKENS[entry.tokens])]
    facts += [("adds the taps", ", ".join(map(code, entry.taps)))]
    facts += [("losses of its own", ", ".join(code(f"auxiliary.{name}") for name in entry.auxiliary))]
    return [(name, text) for name, text in facts if text]


def _families() -> Iterator[tuple[str, list[FusionEntry]]]:
    """Heading, from the first sentence of a family's file, and its fusions."""
    for module in (pooled, products, attention, decisions, subspaces, sequences):
        heading = (module.__doc__ or "").split(". ")[0].strip().rstrip(".")
        yield heading, sorted(module.ENTRIES, key=lambda entry: entry.name)
