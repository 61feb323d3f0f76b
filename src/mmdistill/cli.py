"""The command line: arguments in, text out, nothing else."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mmdistill.errors import InputError, MMDistillError

EXAMPLES = """
[bold]Start here[/bold]

  mmdistill demo                              a teacher, five students and five baselines on the embedded sample

  mmdistill init reviews.csv > recipe.yaml    a first recipe from a look at a table

  mmdistill check recipe.yaml                 what is wrong with the data, before an hour is spent on it

  mmdistill run recipe.yaml train.epochs=3    any key of the recipe can be set on the command line
"""


class _Commands(typer.core.TyperGroup):
    """Prints errors that are written for users as one paragraph and leaves with their exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MMDistillError as error:
            if ctx.params.get("debug"):
                raise
            typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
            raise typer.Exit(error.exit_status) from None


app = typer.Typer(
    cls=_Commands,
    help="Turn a large multimodal model into a small one that can be shipped, and show what was kept and lost.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Keys to set, such as train.epochs=3.", metavar="[KEY=VALUE]...")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")]
Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable result as the last line.")]
RunPath = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN", show_default=False)]


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Works behind a command too.")
    ] = False,
) -> None:
    """Turn a large multimodal model into a small one that can be shipped, and show what was kept and lost."""


def main() -> None:
    """Entry point of the command `mmdistill`."""
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    app(arguments, prog_name="mmdistill")


def _notes(notes: list[str]) -> None:
    """What the user may want to know beside a result, apart from it."""
    for note in notes:
        typer.secho(f"Note: {note}", fg=typer.colors.YELLOW, err=True)


def _print_json(data: Any) -> None:
    print(json.dumps(data, allow_nan=False, ensure_ascii=False))


def _console() -> Any:
    from rich.console import Console

    return Console()


@app.command(epilog="Example: mmdistill demo --runs /tmp/runs")
def demo(
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo.")] = False,
    as_json: Json = False,
) -> None:
    """Train a teacher, students and baselines on the embedded spoken and written digits, and report."""
    from mmdistill.data.samples.catalog import demo_recipe

    _run(demo_recipe(), overrides, runs, overwrite, as_json)


@app.command(epilog="Example: mmdistill run recipe.yaml name=trial train.epochs=3")
def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run of the same name.")] = False,
    as_json: Json = False,
) -> None:
    """Train teacher, students and baselines, compare them, and write the report. Run again to resume."""
    _run(recipe, overrides, runs, overwrite, as_json)


def _run(recipe: Path, overrides: list[str] | None, runs: Path, overwrite: bool, as_json: bool) -> None:
    from mmdistill.recipe import Recipe
    from mmdistill.run import run as run_recipe

    finished = run_recipe(Recipe.load(recipe, overrides or ()), root=runs, overwrite=overwrite, progress=True)
    from mmdistill.report.terminal import results_table

    _console().print(results_table(finished.results))
    print(f"Report: {finished.folder / 'report.html'}")
    if as_json:
        _print_json(finished.results)


@app.command(epilog="Example: mmdistill init reviews.csv --target rating --output recipe.yaml")
def init(
    table: Annotated[str, typer.Argument(help="A table, a folder, hf://owner/name, or a sample.", show_default=False)],
    target: Annotated[str | None, typer.Option(help="Column to predict; guessed when left out.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; the screen when left out.")
    ] = None,
) -> None:
    """Look at a table and write a commented first recipe that runs."""
    from mmdistill.data.propose import propose
    from mmdistill.data.table import read_table
    from mmdistill.files import write_text

    text = propose(read_table(table), target=target)
    if output is None:
        print(text, end="")
        return
    if output.exists():
        raise InputError("This file exists already", where=str(output), fix="Remove it or give another --output")
    write_text(output, text)
    print(f"Wrote {output}. Next: mmdistill check {output}")


@app.command(epilog="Example: mmdistill check recipe.yaml --json")
def check(recipe: RecipeFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Audit the data of a recipe without training. Exit status 2 when there are errors."""
    from mmdistill.data.audit import render
    from mmdistill.recipe import Recipe
    from mmdistill.run.check import check_recipe

    audit = check_recipe(Recipe.load(recipe, overrides or ()))
    _console().print(render(audit))
    if as_json:
        _print_json(audit.to_json())
    if audit.errors:
        raise typer.Exit(2)


class Listed(StrEnum):
    """What `mmdistill list` can list."""

    losses = "losses"
    transforms = "transforms"
    sample_weights = "sample-weights"
    adapters = "adapters"
    combinations = "combinations"
    policies = "policies"
    fusions = "fusions"
    missing_strategies = "missing-strategies"
    modality_dropouts = "modality-dropouts"
    modality_balances = "modality-balances"
    encoders = "encoders"
    tasks = "tasks"
    samples = "samples"
    modalities = "modalities"
    augmentations = "augmentations"
    optimizers = "optimizers"
    schedules = "schedules"


@app.command("list", epilog="Example: mmdistill list encoders")
def list_components(what: Annotated[Listed, typer.Argument(show_default=False)], as_json: Json = False) -> None:
    """List the components that a recipe can name, with their options."""
    from rich.table import Table

    from mmdistill import catalog

    kinds = {
        Listed.losses: "loss",
        Listed.modalities: "modality",
        Listed.policies: "policy",
        Listed.missing_strategies: "missing strategy",
    }
    kind = kinds.get(what, what.value.removesuffix("s").replace("-", " "))
    found = [entry for entry in catalog.entries() if entry.kind == kind or entry.kind.endswith(f" {kind}")]
    found.sort(key=lambda entry: (entry.kind, getattr(entry, "family", ""), entry.name))
    rows: list[dict[str, Any]] = [
        {
            "kind": entry.kind,
            "family": getattr(entry, "family", None),
            "name": entry.name,
            "summary": entry.summary,
            "options": {
                name: None if field.is_required() else field.get_default(call_default_factory=True)
                for name, field in entry.options.model_fields.items()
            },
            "extra": entry.extra,
        }
        for entry in found
    ]
    if as_json:
        _print_json(json.loads(json.dumps(rows, default=str)))
        return
    table = Table("kind", "name", "what it is", "options", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        options = ", ".join(f"{name}={value}" for name, value in row["options"].items())
        table.add_row(row["family"] or row["kind"], f"[bold]{row['name']}[/bold]", row["summary"], options)
    _console().print(table)


@app.command(epilog="Example: mmdistill diagnose recipe.yaml --quick")
def diagnose(
    target: Annotated[
        Path,
        typer.Argument(help="A recipe (YAML) or a run folder.", metavar="RECIPE|RUN", show_default=False),
    ],
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Linear models alone: nothing is trained, no network is looked at.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The page, ending in .html; in the run folder when left out.", metavar="FILE"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which modality teaches, what the teacher is worth, and whether a student can gain. Reads no test row."""
    from mmdistill.run.diagnose import diagnose_path

    found = diagnose_path(target, overrides or (), runs, quick=quick, output=output, progress=True)
    from mmdistill.report.diagnosis.terminal import diagnosis_table

    _console().print(diagnosis_table(found.diagnosis))
    print(f"Diagnosis: {found.page}")
    if as_json:
        _print_json(found.diagnosis)


@app.command(epilog="Example: mmdistill compare runs/first runs/second --markdown comparison.md")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...", show_default=False)],
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="File to write the table to, as Markdown.", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank the students of finished runs on validation, with test score, gain, time and size beside it."""
    from mmdistill.files import write_text
    from mmdistill.report.compare import compare as compare_runs
    from mmdistill.run.folder import find_run

    comparison = compare_runs([find_run(path).path for path in runs])
    _console().print(comparison)
    if markdown is not None:
        write_text(markdown, comparison.to_markdown())
        print(f"Wrote {markdown}")
    if as_json:
        _print_json(comparison.to_json())


@app.command(epilog="Example: mmdistill report runs/demo")
def report(run: RunPath) -> None:
    """Write the report, the figures and the model card of a finished run anew."""
    from mmdistill.report import write_all
    from mmdistill.run.folder import find_run

    print(f"Report: {write_all(find_run(run).path)}")


@app.command(epilog="Example: mmdistill evaluate runs/demo --table new.csv")
def evaluate(
    run: RunPath,
    table: Annotated[
        str | None, typer.Option(help="Another table with targets; the run's test rows when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score every model of a run on its test rows, or on another table."""
    from mmdistill.run.apply import evaluate_run, scores_table
    from mmdistill.run.folder import find_run

    scores = evaluate_run(find_run(run), table)
    _console().print(scores_table(scores))
    _notes(scores["notes"])
    if as_json:
        _print_json(scores)


@app.command(epilog="Example: mmdistill predict runs/demo new.csv --output predictions.csv")
def predict(
    run: RunPath,
    table: Annotated[str, typer.Argument(help="A table with the columns the model reads.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .csv or .parquet.")] = Path(
        "predictions.csv"
    ),
    model: Annotated[str | None, typer.Option(help="Which model; the run's first student when left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed; the best on validation when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Predict the rows of a table: label and probabilities for each."""
    from mmdistill.run.apply import predict_table
    from mmdistill.run.folder import find_run

    summary = predict_table(find_run(run), table, output, model=model, seed=seed)
    print(f"Wrote {summary['rows']} predictions of {summary['model']} (seed {summary['seed']}) to {output}")
    _notes(summary["notes"])
    if as_json:
        _print_json(summary)


@app.command(epilog="Example: mmdistill cache --clear --older-than 30")
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove prepared rows.")] = False,
    older_than: Annotated[
        float | None, typer.Option(min=0, help="With --clear: only those not used for so many days.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or clean the prepared rows that runs share."""
    from mmdistill.data.cache import cache_table
    from mmdistill.data.cache import clear as clear_cache

    if clear:
        removed = clear_cache(older_than=older_than)
        print(f"Removed {len(removed)} prepared features, {sum(entry.bytes for entry in removed) / 1e6:.1f} MB")
    table, rows = cache_table()
    _console().print(table)
    if as_json:
        _print_json(rows)


@app.command(epilog="Example: mmdistill schema > recipe.schema.json")
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors that complete YAML."""
    from mmdistill.recipe.json_schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=1))


@app.command(epilog="Example: mmdistill doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which devices are found, and which extras are missing."""
    from mmdistill.doctor import examine, render

    findings = examine()
    _console().print(render(findings))
    if as_json:
        _print_json(findings)
