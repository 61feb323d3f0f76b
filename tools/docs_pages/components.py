"""Pages of what a recipe can name: losses, fusions, tasks, encoders, column types, optimizers and schedules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from docs_pages.docstrings import Source, signature_block, source_of, to_markdown, without_arguments
from docs_pages.markdown import code, fenced, link, page, table
from docs_pages.options import flow, options_section, plain
from mmdistill import catalog
from mmdistill.catalog import Entry
from mmdistill.losses.entry import LossEntry

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = {
    "logits": "Losses between logits",
    "features": "Losses between features",
    "relations": "Losses between relations of rows",
    "contrastive": "Contrastive losses",
    "modalities": "Losses between modalities",
}
EQUALITY = {
    "zero": "the loss is zero",
    "minimum": "the loss has its minimum, which is not zero",
    "none": "nothing in particular: it also depends on other inputs",
}


def loss_page(entry: LossEntry) -> str:
    """A loss: what it is, equation, facts, how a recipe and Python name it, options, function."""
    name = entry.target.partition(":")[2]
    function = source_of(f"{entry.target.partition(':')[0]}:{entry.name}")
    facts = [
        ("source", _paper(entry.paper)),
        ("family", entry.family),
        ("needs", ", ".join(map(code, entry.needs))),
        ("uses when given", ", ".join(map(code, entry.accepts)) or "nothing else"),
        ("typical weight", entry.typical_weight),
        ("where student and teacher agree", EQUALITY[entry.equality]),
        ("sequences", "(B, L, C) with a mask as well as (B, C)" if entry.sequences else "rows only, (B, C)"),
        ("over a batch", "weighted mean of one value a row" if entry.by_row else "compares the rows of the batch"),
    ]
    parts = [
        f"# {code(entry.name)}", entry.summary, fenced(entry.equation, "math"), table(("", ""), facts),
        "## In a recipe", fenced(f"distill:\n  losses:\n    - {_short(entry, weight=1)}", "yaml"),
        "## Options", options_section(entry.options, 3),
        "## In Python",
    ]  # fmt: skip
    keywords = ", ".join(f"{key}={value!r}" for key, value in _defaults(entry).items())
    parts.append(
        fenced(
            f"from mmdistill.losses import {name}\nfrom mmdistill.losses.functional import {entry.name}\n\n"
            f"loss = {name}({keywords})  # a module: loss({', '.join(entry.needs)})",
            "python",
        )
    )
    if function is not None:
        parts += [signature_block(function), to_markdown(function.docstring)]
    return page(*parts, _source(source_of(entry.target)))


def component_page(entry: Entry, example: str) -> str:
    """A fusion or a task: what it is, how a recipe names it, options."""
    found = source_of(entry.target)
    described = without_arguments(found.docstring) if found is not None else ""
    return page(
        f"# {code(entry.name)}", entry.summary, described, "## In a recipe", fenced(example, "yaml"),
        "## Options", options_section(entry.options, 3), _metrics(entry), _source(found),
    )  # fmt: skip


def fusion_page(entry: Entry) -> str:
    """A fusion."""
    return component_page(entry, f"teacher:\n  fusion: {_short(entry)}")


def task_page(entry: Entry) -> str:
    """A task."""
    return component_page(entry, f"task: {_short(entry, key='type')}")


def index_page(title: str, introduction: str, entries: Sequence[Entry]) -> str:
    """Names and summaries of one kind, by family where there are several."""
    parts = [f"# {title}", introduction]
    families = {entry.family for entry in entries if isinstance(entry, LossEntry)}
    groups = {
        heading: [entry for entry in entries if getattr(entry, "family", None) == family]
        for family, heading in FAMILIES.items()
        if family in families
    } or {"": list(entries)}
    for heading, group in groups.items():
        rows = [_index_row(entry) for entry in group]
        parts += [f"## {heading}" if heading else "", table(("name", "what it is", "source")[: len(rows[0])], rows)]
    return page(*parts)


def columns_page() -> str:
    """Settings and augmentations of every column type."""
    parts = [
        "# Column types",
        "Settings of `data.columns.<name>`, by `type`, and what its `augment` can do. Beside them every column takes "
        "`source` and `augment`: see [the recipe](recipe.md#datacolumnsname). A model that wants settings of its own "
        "says so under `features`.",
    ]
    for entry in catalog.entries("modality"):
        augmentation = catalog.get("augmentation", entry.name)
        parts += [
            f"## {entry.name}", entry.summary, options_section(entry.options, 4),
            f"### {entry.name}: augment", augmentation.summary, options_section(augmentation.options, 4),
        ]  # fmt: skip
    return page(*parts)


def encoders_page() -> str:
    """Every encoder, by the type of column that it reads."""
    parts = [
        "# Encoders",
        "`teacher.encoders` and `students.<name>.encoders` give each column that a model reads one of these. A bare "
        "name takes the defaults: `sound: tiny_cnn` is `sound: {name: tiny_cnn}`.",
    ]
    for kind in (kind for kind in catalog.kinds() if kind.endswith(" encoder")):
        parts.append(f"## {kind.removesuffix(' encoder').capitalize()}")
        parts += [_small(entry) for entry in catalog.entries(kind)]
    return page(*parts)


def training_page() -> str:
    """Optimizers and schedules."""
    parts = ["# Optimizers and schedules", "Components of `train.optimizer` and `train.schedule`."]
    for kind in ("optimizer", "schedule"):
        parts.append(f"## {kind.capitalize()}s")
        parts += [_small(entry) for entry in catalog.entries(kind)]
    return page(*parts)


def _small(entry: Entry) -> str:
    """A component under a heading of its own on a common page."""
    found = source_of(entry.target)
    # The docstring of a class describes a component; that of a function that builds one only names it.
    described = without_arguments(found.docstring) if found is not None and found.is_class else ""
    needs = f"Needs the extra `{entry.extra}`: `pip install 'mmdistill[{entry.extra}]'`."
    extra = needs if entry.extra not in (None, "train") else ""
    return page(
        f"### {code(entry.name)}", _sentence(entry.summary), described, extra, options_section(entry.options, 5)
    )


def _index_row(entry: Entry) -> tuple[str, ...]:
    named = (link(code(entry.name), f"{entry.name}.md"), entry.summary)
    return (*named, _paper(entry.paper)) if isinstance(entry, LossEntry) else named


def _metrics(entry: Entry) -> str:
    """The metrics of a task with their direction."""
    if entry.kind != "task":
        return ""
    task = entry.load()(entry.options())
    rows = [
        (code(name), "higher" if higher else "lower", "selects models and states the gain" * (name == task.primary))
        for name, higher in task.directions.items()
        if not name.startswith("majority_")  # the score of a constant answer, which no model has
    ]
    return "## Metrics\n\n" + table(("metric", "better when", "with the defaults"), rows)


def _defaults(entry: Entry) -> dict[str, object]:
    """The options that have a default worth writing."""
    fields = entry.options.model_fields.items()
    values = {
        key: plain(field.get_default(call_default_factory=True)) for key, field in fields if not field.is_required()
    }
    return {key: value for key, value in values.items() if value is not None}


def _short(entry: Entry, key: str = "name", **more: object) -> str:
    """The component as one line of YAML with its defaults."""
    return flow({key: entry.name, **more, **_defaults(entry)})


def _paper(text: str) -> str:
    """A reference whose arXiv number leads to the paper."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _source(source: Source | None) -> str:
    if source is None:
        return ""
    path = source.path.resolve().relative_to(ROOT).as_posix()
    return f"Source: {link(code(path), f'../../{path}')}"


__all__ = ["columns_page", "encoders_page", "fusion_page", "index_page", "loss_page", "task_page", "training_page"]
