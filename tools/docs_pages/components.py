"""Pages of what a recipe can name beside losses: tasks, encoders, column types, optimizers and schedules."""

from __future__ import annotations

from collections.abc import Sequence

from docs_pages.docstrings import source_of, without_arguments
from docs_pages.markdown import code, fenced, link, page, table
from docs_pages.options import flow, options_section, plain
from docs_pages.references import source_line
from mmdistill import catalog
from mmdistill.catalog import Entry


def component_page(entry: Entry, example: str) -> str:
    """A task: what it is, how a recipe names it, options."""
    found = source_of(entry.target)
    described = without_arguments(found.docstring) if found is not None else ""
    return page(
        f"# {code(entry.name)}", entry.summary, described, "## In a recipe", fenced(example, "yaml"),
        "## Options", options_section(entry.options, 3), _metrics(entry), source_line(found),
    )  # fmt: skip


def task_page(entry: Entry) -> str:
    """A task."""
    return component_page(entry, f"task: {recipe_line(entry, key='type')}")


def index_page(title: str, introduction: str, entries: Sequence[Entry]) -> str:
    """Names and summaries of one kind."""
    rows = [(link(code(entry.name), f"{entry.name}.md"), entry.summary) for entry in entries]
    return page(f"# {title}", introduction, table(("name", "what it is"), rows))


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
        parts += [small(entry) for entry in catalog.entries(kind)]
    return page(*parts)


def training_page() -> str:
    """Optimizers and schedules."""
    parts = ["# Optimizers and schedules", "Components of `train.optimizer` and `train.schedule`."]
    for kind in ("optimizer", "schedule"):
        parts.append(f"## {kind.capitalize()}s")
        parts += [small(entry) for entry in catalog.entries(kind)]
    return page(*parts)


def small(entry: Entry) -> str:
    """A component under a heading of its own on a common page."""
    found = source_of(entry.target)
    # The docstring of a class describes a component; that of a function that builds one only names it.
    described = without_arguments(found.docstring) if found is not None and found.is_class else ""
    needs = f"Needs the extra `{entry.extra}`: `pip install 'mmdistill[{entry.extra}]'`."
    extra = needs if entry.extra not in (None, "train") else ""
    return page(f"### {code(entry.name)}", sentence(entry.summary), described, extra, options_section(entry.options, 5))


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
    """The options that have a default worth writing, and the first example of those that have to be given."""
    values: dict[str, object] = {}
    for key, field in entry.options.model_fields.items():
        if not field.is_required():
            values[key] = plain(field.get_default(call_default_factory=True))
        elif field.examples:
            values[key] = field.examples[0]
    return {key: value for key, value in values.items() if value is not None}


def recipe_line(entry: Entry, key: str = "name", **more: object) -> str:
    """The component as one line of YAML with its defaults."""
    return flow({key: entry.name, **more, **_defaults(entry)})


def sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


__all__ = [
    "columns_page",
    "encoders_page",
    "index_page",
    "recipe_line",
    "sentence",
    "small",
    "task_page",
    "training_page",
]
