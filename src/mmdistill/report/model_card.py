"""The model card of a run: `README.md` in the form of the Hugging Face Hub, with figures from `results.json`."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from mmdistill.files import write_text
from mmdistill.report import numbers
from mmdistill.report.markdown import markdown_table, plain
from mmdistill.report.results import Results
from mmdistill.report.run_folder import RunFolder, read_run_folder
from mmdistill.report.sections.comparison import comparison_table
from mmdistill.report.sections.data import splits_table
from mmdistill.report.sections.gains import gains_table
from mmdistill.report.sections.operating_points import operating_point_summary, operating_point_table
from mmdistill.report.sections.subsets import subset_summary
from mmdistill.report.sections.trust import calibration_summary
from mmdistill.report.sections.verdict import verdict
from mmdistill.report.spread import spread

_PIPELINES = {
    ("classification", "image"): "image-classification",
    ("classification", "text"): "text-classification",
    ("classification", "audio"): "audio-classification",
    ("classification", "tabular"): "tabular-classification",
    ("regression", "tabular"): "tabular-regression",
}


def write_model_card(run_folder: Path) -> Path:
    """Write `README.md` of a finished run folder and give its path.

    Raises:
        InputError: when the run folder is not finished or damaged.
        MMDistillError: when the card cannot be written.
    """
    run = read_run_folder(run_folder)
    path = run.path / "README.md"
    write_text(path, model_card(run))
    return path


def model_card(run: RunFolder) -> str:
    """The card as text: YAML front matter, then Markdown."""
    results = run.results
    shown = results.student or results.ordered[0]
    said = verdict(results)
    parts = [
        f"---\n{_yaml(_front_matter(run, shown))}---",
        f"# {plain(results.name)}",
        _introduction(results, shown),
        f"**{plain(said.badge)}.** {plain(said.sentence)}" if said.rest is None else plain(said.sentence),
        *[plain(caution) for caution in said.cautions],
        f"## Results\n\n{markdown_table(comparison_table(results))}",
    ]
    gains = gains_table(results)
    if gains is not None:
        parts.append(markdown_table(gains))
    points = operating_point_table(results)
    if points is not None:
        parts += [operating_point_summary(results), markdown_table(points)]
    parts.append("Plots and everything else that was measured are in `report.html`.")
    parts.append(f"## How to use it\n\n{_usage(results, shown)}")
    if results.data is not None and (splits := splits_table(results.data)) is not None:
        parts.append(f"## Data\n\n{markdown_table(splits)}")
    parts.append(f"## Limits\n\n{_limits(results, shown)}")
    parts.append(f"## How it was made\n\n{_origin(run)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(run: RunFolder, shown: str) -> dict[str, Any]:
    """The metadata. No licence is stated, since the run does not know one."""
    results = run.results
    recipe = run.recipe_content
    types = _column_types(recipe)
    read = sorted({types[column] for column in results.models[shown].columns if column in types})
    tags = ["mmdistill", "knowledge-distillation", *([results.task] if results.task else []), *read]
    matter: dict[str, Any] = {"library_name": "mmdistill", "tags": list(dict.fromkeys(tags))}
    pipeline = _PIPELINES.get((results.task, read[0])) if len(read) == 1 else None
    if pipeline:
        matter["pipeline_tag"] = pipeline
    table = str((recipe.get("data") or {}).get("table") or "")
    if table.startswith("hf://"):
        matter["datasets"] = [table.removeprefix("hf://")]
    matter["metrics"] = [metric for metric in results.metric_names if results.models[shown].values(metric)]
    matter["model-index"] = [
        {
            "name": results.name,
            "results": [
                {
                    "task": {
                        "type": pipeline or results.task or "other",
                        "name": (results.task or "other").capitalize(),
                    },
                    "dataset": _dataset(table, results.name),
                    "metrics": _metrics(results, shown),
                }
            ],
        }
    ]
    return matter


def _dataset(table: str, name: str) -> dict[str, str]:
    """The data set by its name on the Hub, or by the last part of its path, so that no folder is told."""
    if table.startswith("hf://"):
        known = table.removeprefix("hf://")
        return {"name": known, "type": known, "split": "test"}
    last = re.split(r"[\\/]", table.rstrip("\\/"))[-1] or name
    return {"name": last, "type": re.sub(r"[^A-Za-z0-9._-]+", "-", last) or "table", "split": "test"}


def _metrics(results: Results, shown: str) -> list[dict[str, Any]]:
    found = []
    for metric in results.metric_names:
        values = spread(results.models[shown].values(metric))
        if values is not None:
            seeds = "mean of 1 seed" if values.count == 1 else f"mean of {values.count} seeds"
            found.append({"type": metric, "name": f"{results.metric_label(metric)} ({seeds})", "value": values.mean})
    return found


def _introduction(results: Results, shown: str) -> str:
    model = results.models[shown]
    reads = f" that reads {plain(' + '.join(model.columns))}" if model.columns else ""
    size = f", {numbers.compact(model.parameters)} parameters" if model.parameters is not None else ""
    task = f" for {plain(results.task)}" if results.task else ""
    if results.teacher is None or shown == results.teacher:
        return f"A model{task}{reads}{size}, made with mmdistill."
    teacher = results.models[results.teacher]
    large = f" of {numbers.compact(teacher.parameters)} parameters" if teacher.parameters is not None else ""
    return f"A small model{task}{reads}{size}, distilled with mmdistill from a teacher{large}."


def _usage(results: Results, shown: str) -> str:
    seed = results.models[shown].runs[0].seed
    return (
        "With this folder as it is, from the command line:\n\n"
        "```sh\n"
        "pip install 'mmdistill[train]'\n"
        "mmdistill predict . table.csv\n"
        "```\n\n"
        "or in Python:\n\n"
        "```python\n"
        "from pathlib import Path\n\n"
        "from mmdistill.models.saving import load_model\n\n"
        f"model, card = load_model(Path({f'{shown}/seed-{seed}'!r}))\n"
        "```\n\n"
        "Weights are safetensors, everything else is JSON; nothing is unpickled."
    )


def _limits(results: Results, shown: str) -> str:
    limits = [
        "The figures hold for rows like those of the test split; other sources, devices, languages or populations were "
        "not measured.",
        *[caution for caution in verdict(results).cautions if "seed" in caution],
    ]
    if len(results.models[shown].runs) > 1:
        limits.append("Scores are means over seeds; a single seed's model differs from them.")
    limits += [text for text in (subset_summary(results), calibration_summary(results)) if text]
    if results.data is not None and results.data.skipped:
        limits.append(f"{numbers.count(results.data.skipped)} rows could not be read and were left out.")
    limits.append("A student may repeat the errors and the bias of its teacher and of the data.")
    return "\n".join(f"- {plain(limit)}" for limit in limits)


def _origin(run: RunFolder) -> str:
    version = f" {run.results.version}" if run.results.version else ""
    lines = [
        f"Made with mmdistill{version} from `recipe.yaml` in this folder:",
        "```sh\nmmdistill run recipe.yaml\n```",
    ]
    if fingerprint := run.data.get("fingerprint"):
        lines.append(f"Fingerprint of the prepared rows: `{fingerprint}`")
    return "\n\n".join(lines)


def _column_types(recipe: dict[str, Any]) -> dict[str, str]:
    """Column → image, text, audio, tabular or vector, in the short and in the long form of a recipe."""
    data = recipe.get("data")
    columns = data.get("columns") if isinstance(data, dict) else None
    if not isinstance(columns, dict):
        return {}
    types = {str(name): each.get("type") if isinstance(each, dict) else each for name, each in columns.items()}
    return {name: kind for name, kind in types.items() if isinstance(kind, str)}


def _yaml(content: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    buffer = io.StringIO()
    writer.dump(content, buffer)
    return buffer.getvalue()
