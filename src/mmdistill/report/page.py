"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdistill.errors import require
from mmdistill.files import write_text
from mmdistill.report import numbers
from mmdistill.report.figures.palette import DARK, LIGHT, css_variables
from mmdistill.report.results import Results
from mmdistill.report.run_folder import RunFolder, read_run_folder
from mmdistill.report.sections.classes import class_table
from mmdistill.report.sections.comparison import comparison_table, cost_table, metrics_table, seconds_table
from mmdistill.report.sections.data import classes_table, missing_table, skipped_table, splits_table
from mmdistill.report.sections.environment import environment_entries, reproduce_commands
from mmdistill.report.sections.gains import gains_table
from mmdistill.report.sections.operating_points import operating_point_summary, operating_point_table
from mmdistill.report.sections.probes import probe_summary, probe_table
from mmdistill.report.sections.subsets import drop_table, subset_summary, subset_table
from mmdistill.report.sections.teaching import teaching_summary, teaching_table
from mmdistill.report.sections.trust import agreement_table, calibration_summary, calibration_table
from mmdistill.report.sections.verdict import key_figures, verdict
from mmdistill.report.table import Table

if TYPE_CHECKING:
    from mmdistill.report.figures.plot import Plot


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Args:
        id: its anchor.
        title: its heading.
        lead: a sentence or two under the heading.
        figures: section → plots that it shows, see `figures.every.draw`.
        tables: tables under the figures.
        side: figures to the left of the tables instead of above them.
    """

    id: str
    title: str
    lead: str = ""
    figures: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    side: bool = False


def write_report(run_folder: Path) -> Path:
    """Write `report.html` of a finished run folder and give its path.

    Raises:
        InputError: when the run folder is not finished or damaged, saying what is missing.
        MissingExtra: when the plotting packages are not installed.
        MMDistillError: when the page cannot be written.
    """
    run = read_run_folder(run_folder)
    path = run.path / "report.html"
    write_text(path, render(run))
    return path


def render(run: RunFolder) -> str:
    """The page of a run, as text."""
    for module in ("jinja2", "seaborn"):
        require(module, "train", "The report")
    import jinja2

    from mmdistill.report.figures.every import draw
    from mmdistill.report.figures.plot import look
    from mmdistill.report.figures.svg import inline_svg

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("mmdistill.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    figures = draw(run)
    with look():
        return templates.get_template("report.html").render(
            results=run.results,
            verdict=verdict(run.results),
            key_figures=key_figures(run.results),
            sections=sections(run, figures),
            facts=_facts(run),
            environment=environment_entries(run.environment),
            commands=reproduce_commands(run),
            recipe=_highlighted(run.recipe),
            fingerprint=run.data.get("fingerprint", ""),
            svg=partial(_marked, inline_svg),
            light=_marked(css_variables, LIGHT),
            dark=_marked(css_variables, DARK),
        )


def _marked(make: Any, argument: Any) -> Any:
    """Text of our own making, which the template must not escape."""
    from markupsafe import Markup

    return Markup(make(argument))


def sections(run: RunFolder, figures: dict[str, list[Plot]]) -> list[Section]:
    """The sections between the verdict and the recipe that have something to show, in order."""
    results = run.results
    found = [
        Section("scores", "Every model", tables=_present(comparison_table(results), metrics_table(results))),
        Section("gain", "What the teacher added", _gain_lead(results), figures["gain"], _present(gains_table(results))),
        Section("curves", "Training", "", figures["curves"]),
        Section(
            "teaching",
            "What taught the student" if results.student else "What each model learnt from",
            teaching_summary(run),
            figures["teaching"],
            _present(teaching_table(run)),
        ),
        Section(
            "probes", "What each column has learnt", probe_summary(run), figures["probes"], _present(probe_table(run))
        ),
        Section(
            "tradeoff",
            "Score against size and speed",
            "Up and to the left is better." if results.higher_is_better else "Down and to the left is better.",
            figures["tradeoff"],
        ),
        Section(
            "confusion",
            "Confusion",
            "Each row is a true class and adds up to one; all seeds of a model are counted together.",
            figures["confusion"],
        ),
        Section("classes", "Class by class", tables=_present(class_table(results))),
        Section(
            "operating-point",
            "At the operating point",
            operating_point_summary(results),
            tables=_present(operating_point_table(results)),
        ),
        Section(
            "subsets",
            "With fewer modalities",
            subset_summary(results),
            figures["subsets"],
            _present(drop_table(results), subset_table(results)),
            side=True,
        ),
        Section(
            "fusion",
            "How the columns come together",
            "Over some hundreds of test rows: where a fusion by attention looks (which says what is read, not what "
            "decides), and how what columns share lies beside what each has alone.",
            figures["fusion"],
        ),
        Section(
            "calibration",
            "Calibration",
            calibration_summary(results),
            figures["calibration"],
            _present(calibration_table(results)),
            side=True,
        ),
        Section(
            "agreement",
            "Agreement with the teacher",
            "How often the student answers like its teacher, right or wrong, and how far their outputs are apart.",
            tables=_present(agreement_table(results)),
        ),
        Section("cost", "Cost", tables=_present(cost_table(results), seconds_table(results))),
        _data_section(results, figures["data"]),
    ]
    return [section for section in found if section.figures or section.tables]


def _data_section(results: Results, figures: list[Plot]) -> Section:
    if results.data is None:
        return Section("data", "Data")
    rows = f"{numbers.count(results.data.rows)} rows in the table." if results.data.rows is not None else ""
    data = results.data
    tables = _present(splits_table(data), missing_table(data), classes_table(results), skipped_table(data))
    return Section("data", "Data", rows, figures, tables, side=True)


def _present(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]


def _gain_lead(results: Results) -> str:
    count = len({gain.student for gain in results.all_gains})
    whom = "The student is" if count == 1 else "Every student is"
    lead = (
        f"{whom} trained again without a teacher, with the same steps, data, schedule and initial weights. The "
        "difference is what distillation added."
    )
    if any(gain.compared_with == "control" for gain in results.all_gains):
        lead += (
            " A control learns from a teacher that reads the student's own columns only: the difference to it is what "
            "the teacher's other columns added."
        )
    return lead


def _facts(run: RunFolder) -> list[str]:
    """What stands under the run's name: task, date, device, version."""
    results = run.results
    facts = [results.task.replace("_", " ").capitalize(), _date(results.created)]
    device = run.environment.get("device")
    facts += [str(device)] if device and not isinstance(device, dict) else []
    facts += [f"mmdistill {results.version}"] if results.version else []
    return [fact for fact in facts if fact]


def _date(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y}"


def _highlighted(recipe: str) -> Any:
    """The recipe with its keys, values and comments in `<span>`s; everything in it is escaped."""
    if not recipe:
        return ""
    from markupsafe import Markup
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import YamlLexer

    return Markup(highlight(recipe, YamlLexer(), HtmlFormatter(nowrap=True)))
