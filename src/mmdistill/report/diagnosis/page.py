"""The page of a diagnosis, in the style of the report: one file that needs nothing but itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdistill.errors import require
from mmdistill.files import write_text
from mmdistill.report import numbers
from mmdistill.report.diagnosis import tables
from mmdistill.report.diagnosis.tables import Found
from mmdistill.report.figures.palette import DARK, LIGHT, css_variables
from mmdistill.report.page import Section
from mmdistill.report.table import Table

if TYPE_CHECKING:
    from mmdistill.report.figures.plot import Plot

TOPICS = {
    "drop": "Which modality to drop",
    "gain": "Whether to expect a gain",
    "teacher": "Whether the teacher is good enough",
    "temperature": "Temperature to start from",
    "next": "What to try next",
}


def write_page(diagnosis: Found, path: Path) -> None:
    """Write the page of a diagnosis.

    Args:
        diagnosis: the content of ``diagnosis.json``.
        path: of the page.

    Raises:
        MissingExtra: when the plotting packages are not installed.
        MMDistillError: when the page cannot be written.
    """
    write_text(path, render(diagnosis))


def render(diagnosis: Found) -> str:
    """The page as text."""
    for module in ("jinja2", "matplotlib"):
        require(module, "train", "The page of a diagnosis")
    import jinja2
    from markupsafe import Markup

    from mmdistill.report.diagnosis.figures import draw
    from mmdistill.report.figures.plot import look
    from mmdistill.report.figures.svg import inline_svg

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("mmdistill.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    with look():
        return templates.get_template("diagnosis.html").render(
            diagnosis=diagnosis,
            facts=_facts(diagnosis),
            headline=headline(diagnosis),
            sections=sections(diagnosis, draw(diagnosis)),
            advice=advice_by_topic(diagnosis),
            svg=partial(_marked, Markup, inline_svg),
            light=Markup(css_variables(LIGHT)),
            dark=Markup(css_variables(DARK)),
        )


def _marked(mark: Any, make: Any, argument: Any) -> Any:
    """Text of our own making, which the template must not escape."""
    return mark(make(argument))


def headline(diagnosis: Found) -> Found:
    """The advice that stands at the top as well: on the gain of the first student, else on the modality to drop."""
    return next((one for one in diagnosis["advice"] if one["topic"] == "gain"), diagnosis["advice"][0])


def advice_by_topic(diagnosis: Found) -> dict[str, list[Found]]:
    """Heading → advice, in the order of the topics; topics without advice are left out."""
    grouped = {title: [one for one in diagnosis["advice"] if one["topic"] == topic] for topic, title in TOPICS.items()}
    return {title: found for title, found in grouped.items() if found}


def sections(found: Found, figures: dict[str, list[Plot]]) -> list[Section]:
    """The sections before the advice that have something to show."""
    every = [
        Section(
            "modalities",
            "Each modality",
            "Linear models of the plain columns need no training of a network; beside them stand the models that are "
            "trained, with columns masked.",
            figures["modalities"],
            [tables.column_table(found), tables.subset_table(found)],
        ),
        Section("pairs", "Redundancy", "", tables=_there(tables.pair_table(found))),
        Section(
            "teacher",
            "The teacher",
            _teacher_lead(found),
            figures["teacher"],
            _there(tables.teacher_table(found), tables.temperature_table(found)),
        ),
        Section(
            "knowledge",
            "What the teacher knows",
            "",
            tables=_there(tables.knowledge_table(found), tables.visibility_table(found)),
        ),
        Section("models", "Students and baselines", tables=_there(tables.model_table(found))),
        Section("labels", "Labels", _label_lead(found), figures["labels"], [tables.label_table(found)], side=True),
        Section("gain", "Expected gain", tables=_there(tables.gain_table(found))),
    ]
    return [section for section in every if section.figures or section.tables]


def _there(*found: Table | None) -> list[Table]:
    return [table for table in found if table is not None]


def _teacher_lead(found: Found) -> str:
    warnings = sum(len(teacher["warnings"]) for teacher in found["teachers"].values())
    if not warnings:
        return "Nothing on the labelled rows speaks against learning from it."
    return f"{warnings} warning{'s' if warnings > 1 else ''}: see the advice."


def _label_lead(found: Found) -> str:
    rows = found["rows"]
    return (
        f"{numbers.count(rows['labelled'])} training rows have a label, {numbers.count(rows['unlabelled'])} have none. "
        "Each part of the labels is drawn three times."
    )


def _facts(found: Found) -> list[str]:
    rows = found["rows"]
    return [
        "Diagnosis",
        str(found["task"]).replace("_", " ").capitalize(),
        f"{numbers.count(rows['labelled'] + rows['unlabelled'])} training rows",
        f"{numbers.count(rows['validation'])} validation rows",
        f"mmdistill {found['version']}",
    ]
