"""The page of a loss, and the index of all."""

from __future__ import annotations

import inspect
import re

from docs_pages.chooser import CHOICES
from docs_pages.deviations import recorded_section
from docs_pages.docstrings import Source, signature_block, source_of, to_markdown
from docs_pages.families import loss_entries, sections
from docs_pages.inputs import adapted, compared, inputs_table, kind_of
from docs_pages.markdown import code, fenced, link, page, prose, table
from docs_pages.options import options_section
from docs_pages.references import linked, source_line
from docs_pages.snippets import python_snippet, recipe_snippet
from mmdistill.losses.entry import Invariance, LossEntry

EQUALITY = {
    "zero": "the loss is zero",
    "minimum": "the loss has its minimum, which is not zero",
    "none": "nothing in particular",
}
INVARIANCES: dict[Invariance, str] = {
    "shift": "a constant added to all channels of a row",
    "scale": "a positive factor on one side",
    "permutation": "the order of the channels, of each side by itself",
    "joint permutation": "the order of the channels, the same on both sides",
    "rotation": "a rotation of the channels, of each side by itself",
}
ADAPTERS = "../reference/terms.md#adapters"


def loss_page(entry: LossEntry) -> str:
    """A loss: what it is and when to use it, its inputs, how a recipe and Python name it, options, function."""
    function = _function(entry)
    parts = [
        f"# {code(entry.name)}", entry.summary, fenced(entry.equation, "math"), f"**When to use it.** {entry.when}",
        table(("", ""), _facts(entry)),
        "## Inputs", inputs_table(entry), _alternatives(entry), _not_built_in(entry),
        "## In a recipe", fenced(recipe_snippet(entry), "yaml"),
        "## Options", options_section(entry.options, 3),
        "## In Python", fenced(python_snippet(entry), "python"),
    ]  # fmt: skip
    if function is not None:
        parts += [signature_block(function), to_markdown(function.docstring)]
    notes = _notes(entry)
    parts += ["## Notes", notes] if notes else []
    parts += ["## Checked against", recorded_section(entry.name)]
    return page(*parts, source_line(source_of(entry.target)))


def index_page() -> str:
    """What to choose, then every loss with one line, by family."""
    entries = {entry.name: entry for entry in loss_entries()}
    parts = [
        "# Losses",
        f"What `distill.losses` can name: {len(entries)} losses. Each is a pure function and a module of the same "
        "arguments, computed in float32 or wider; teacher inputs never receive gradient; all give one number, the "
        "weighted mean over the rows, or over what the rows say of each other. All are held by one common suite of "
        "tests, and to the recorded numbers of published code where there are any: [where ours differs, and "
        "why](deviations.md).",
        "A term of a recipe may have [an adapter, transforms of the logits and sample "
        "weights](../reference/terms.md). How terms are put together, weighted and staged is in the [guide to "
        "objectives](../objectives.md).",
        "## What to choose",
        table(("I have…", "use", ""), [(choice.have, _named(choice.use, entries), choice.why) for choice in CHOICES]),
    ]
    for heading, losses in sections():
        rows = [(link(code(one.name), f"{one.name}.md"), one.summary, _short(one)) for one in losses]
        parts += [f"## {heading}", table(("name", "what it is", "source"), rows)]
    return page(*parts)


def _named(names: tuple[str, ...], entries: dict[str, LossEntry]) -> str:
    unknown = [name for name in names if name not in entries]
    assert not unknown, f"docs_pages/chooser.py names {unknown}, and there is no such loss"
    return ", ".join(link(code(name), f"{name}.md") for name in names)


def _facts(entry: LossEntry) -> list[tuple[str, str]]:
    changes = "; ".join(INVARIANCES[one] for one in entry.invariances)
    return [
        ("source", linked(entry.paper)),
        ("typical weight", entry.typical_weight),
        ("cost of a step", entry.cost),
        ("learns", ", ".join(map(code, entry.learned)) or "nothing"),
        ("adapter", _adapter(entry)),
        ("rows", "independent: the mean of one value a row" if entry.by_row else "compared: the batch is part of it"),
        ("positions", "(B, L, C) with a `mask` as well as (B, C)" if entry.sequences else "as the arguments say"),
        ("where both sides agree", EQUALITY[entry.equality]),
        ("does not change with", changes or "nothing in particular"),
        *([] if entry.compiles else [("torch.compile", "with graph breaks")]),
    ]


def _adapter(entry: LossEntry) -> str:
    joined = adapted(entry)
    if joined:
        what = " and ".join([*["widths"] * entry.equal_widths, *["sizes"] * entry.equal_sizes])
        return f"{link('chosen', ADAPTERS)} where {what} of the {' and '.join(joined)} differ; trained, then dropped"
    if compared(entry):
        return "none needed: any two widths are compared"
    return "none: there are no features to join"


def _alternatives(entry: LossEntry) -> str:
    groups = [", ".join(map(code, group)) for group in entry.alternatives]
    return f"One of these groups is needed: {'; or '.join(groups)}." if groups else ""


def _not_built_in(entry: LossEntry) -> str:
    names = [code(name) for name in entry.needs if not kind_of(name).built_in]
    if not names:
        return ""
    guide = link("model of your own", "../custom_models.md")
    return f"No built-in encoder gives {' or '.join(names)}: use a {guide} that has such taps."


def _function(entry: LossEntry) -> Source | None:
    return source_of(f"{entry.target.partition(':')[0]}:{entry.name}")


def _notes(entry: LossEntry) -> str:
    """What the file says beyond its title and its source."""
    module = source_of(entry.target)
    assert module is not None
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(module.module_docstring))
    return prose("\n\n".join(paragraphs[2:]))


def _short(entry: LossEntry) -> str:
    """First author and year."""
    years = re.findall(r"\b(?:19|20)\d\d\b", entry.paper)
    return f"{entry.paper.split(',')[0]} {years[0]}" if years else entry.paper.split(",")[0]


__all__ = ["index_page", "loss_page"]
