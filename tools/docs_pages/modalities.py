"""Reference page of what happens to the columns of a model: what stands in, what is hidden, what is balanced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from docs_pages.components import recipe_line, sentence
from docs_pages.docstrings import source_of, without_arguments
from docs_pages.markdown import anchor, code, fenced, link, page, table
from docs_pages.options import options_section
from docs_pages.references import linked
from mmdistill import catalog
from mmdistill.catalog import Entry


@dataclass(frozen=True)
class Part:
    """A key of a model and the kind of component that it names.

    Args:
        heading: of its part of the page.
        key: of the model.
        kind: of the catalog.
        introduction: what the key does.
        guide: page that says what to choose, relative to the reference.
    """

    heading: str
    key: str
    kind: str
    introduction: str
    guide: str


PARTS = (
    Part(
        "Strategies for missing columns",
        "missing",
        "missing strategy",
        "what stands in for a column that a row lacks, between the encoders and the fusion.",
        "../missing.md#what-stands-in",
    ),
    Part(
        "Modality dropout",
        "modality_dropout",
        "modality dropout",
        "which columns of a row are hidden from a model while it learns. Its teacher sees them all. A number is the "
        "chance of `independent`.",
        "../missing.md#modality-dropout",
    ),
    Part(
        "Balance",
        "modality_balance",
        "modality balance",
        "what keeps one column from drowning out the others while a model learns; a name or a list of several.",
        "../balance.md",
    ),
)
INTRODUCTION = (
    "Keys of a model of several columns: `teacher` or an entry of `teachers`, `student` or an entry of `students`. The "
    "guides say what to choose: [missing modalities](../missing.md), [teachers that use all their "
    "columns](../balance.md)."
)
NEEDS = (
    ("reads_probes", "probes of the columns, which are then trained; `probes: false` is refused"),
    ("reads_validation", "validation rows"),
    ("unimodal_teachers", "a model of each column alone, trained first; for teachers only"),
    ("classes", "targets that are one class a row"),
)
"""What an entry may say that it needs, and how a page says it."""


def modalities_page() -> str:
    """Strategies, dropout and balance: an index of each kind, then every component of it."""
    return page("# Modalities", INTRODUCTION, *(piece for part in PARTS for piece in _part(part)))


def _part(part: Part) -> Iterator[str]:
    entries = catalog.entries(part.kind)
    yield f"## {part.heading}"
    yield f"`{part.key}`: {part.introduction} [Which to choose]({part.guide})."
    rows = [(link(code(one.name), f"#{anchor(one.name)}"), one.summary) for one in entries]
    yield table(("name", "what it is"), rows)
    yield from (_component(part.key, entry) for entry in entries)


def _component(key: str, entry: Entry) -> str:
    """What it is, its equation and when to use it, where it comes from and what it needs, options."""
    found = source_of(entry.target)
    described = without_arguments(found.docstring) if found is not None else ""
    equation, when = _said(entry, "equation"), _said(entry, "when")
    facts = [(name, text) for name, text in (("source", linked(_said(entry, "paper"))), *_needs(entry)) if text]
    return page(
        f"### {code(entry.name)}", sentence(entry.summary), fenced(equation, "math") if equation else "",
        f"**When to use it.** {when}" if when else "", table(("", ""), facts) if facts else "", described,
        fenced(f"{key}: {recipe_line(entry)}", "yaml"), options_section(entry.options, 5),
    )  # fmt: skip


def _needs(entry: Entry) -> Iterator[tuple[str, str]]:
    """What it adds and needs, as lines of a table; an empty text where there is nothing to say."""
    losses = getattr(entry, "auxiliary", ())
    yield "losses of its own", ", ".join(code(f"auxiliary.{name}") for name in losses)
    yield "needs", "; ".join(text for name, text in NEEDS if getattr(entry, name, False))
    yield "not with", "`train.mixup`" if not getattr(entry, "mixup", True) else ""


def _said(entry: Entry, name: str) -> str:
    """A text that an entry may have; empty where its type has none."""
    return str(getattr(entry, name, ""))
