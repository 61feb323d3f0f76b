"""Write the reference pages of docs/ from the sources they describe; `--check` only says whether they are current.

Recipe keys come from the JSON Schema, components from the catalog and the docstrings of what it names, commands from
the help of the command line.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdistill import catalog
from mmdistill.catalog import Entry

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTE = "<!-- Written by tools/make_docs.py from the sources; change those, then run `make docs`. -->\n\n"
PLACES = {"loss": "losses", "fusion": "fusions", "task": "tasks"}


def pages() -> Iterator[tuple[Path, str]]:
    """Path and text of every generated page."""
    from mmdistill.recipe.schema import ColumnSpec

    yield DOCS / "reference" / "recipe.md", recipe_page()
    yield DOCS / "reference" / "commands.md", commands_page()
    yield DOCS / "reference" / "columns.md", columns_page(ColumnSpec)
    yield (
        DOCS / "reference" / "encoders.md",
        list_page("Encoders", [e for e in catalog.entries() if e.kind.endswith(" encoder")]),
    )
    training = [*catalog.entries("optimizer"), *catalog.entries("schedule")]
    yield DOCS / "reference" / "training.md", list_page("Optimisers and schedules", training)
    for kind, folder in PLACES.items():
        entries = catalog.entries(kind)
        for entry in entries:
            yield DOCS / folder / f"{entry.name}.md", component_page(entry)
        yield DOCS / folder / "README.md", index_page(kind, entries)


def options_table(model: Any) -> str:
    """A table of the fields of a pydantic model: key, type, default, meaning."""
    schema = model.model_json_schema()
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        form = schema["properties"].get(name, {})
        default = (
            "required" if field.is_required() else f"`{default_text(field.get_default(call_default_factory=True))}`"
        )
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {type_text(form)} | {default} | {meaning} |")
    return "\n".join(rows) if len(rows) > 2 else "No options."


def default_text(value: Any) -> str:
    """A default as a recipe would write it."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", exclude_none=True)
        return value["name"] if set(value) == {"name"} else str(value).replace("|", "\\|")
    if isinstance(value, list):
        return "[" + ", ".join(default_text(item) for item in value) + "]"
    return (
        {None: "none", True: "true", False: "false"}.get(value, str(value))
        if not isinstance(value, dict | tuple)
        else str(value)
    )


def type_text(form: dict[str, Any]) -> str:
    """A JSON Schema type in words, with its bounds."""
    if "anyOf" in form:
        return " or ".join(dict.fromkeys(type_text(part) for part in form["anyOf"] if part.get("type") != "null"))
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    if "const" in form:
        return f"`{form['const']}`"
    if "$ref" in form:
        return form["$ref"].rsplit("/", 1)[-1].removesuffix("Spec").lower()
    bounds = [
        text
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in form
        for text in [f"{sign} {form[key]}"]
    ]
    words = {
        "integer": "integer",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "object": "mapping",
    }
    kind = form.get("type", "any")
    name = f"list of {type_text(form.get('items', {}))}" if kind == "array" else words.get(kind, kind)
    return f"{name} {' and '.join(bounds)}".strip()


def recipe_page() -> str:
    """Every key of a recipe."""
    from mmdistill.recipe import schema
    from mmdistill.recipe.recipe import Recipe

    parts = [
        ("The recipe", Recipe), ("data", schema.DataSpec), ("data.split", schema.SplitSpec),
        ("data.columns.<name>", schema.ColumnSpec), ("tasks.<name>", schema.TaskSpec), ("teacher", schema.TeacherSpec),
        ("students.<name>", schema.StudentSpec), ("distill", schema.DistillSpec), ("distill.losses[]", schema.LossTerm),
        ("distill.losses[].weight", schema.LossWeight), ("distill.losses[].taps", schema.Taps),
        ("distill.signals", schema.SignalsSpec), ("train", schema.TrainSpec), ("train.stop", schema.StopSpec),
        ("train.checkpoint", schema.CheckpointSpec), ("evaluation", schema.EvaluationSpec), ("compute", schema.ComputeSpec),
    ]  # fmt: skip
    text = NOTE + "# Reference of the recipe\n\nEvery key can be set on the command line as well: "
    text += "`mmdistill run recipe.yaml train.epochs=3`. `mmdistill schema` prints the same as JSON Schema.\n"
    for title, model in parts:
        text += f"\n## {title}\n\n{docstring(model)}\n\n{options_table(model)}\n"
    return text


def columns_page(_: Any) -> str:
    """Settings and augmentations of every column type."""
    text = NOTE + "# Column types\n\nSettings of `data.columns.<name>`, by `type`, and what `augment` can do with it.\n"
    for entry in catalog.entries("modality"):
        text += f"\n## {entry.name}\n\n{entry.summary}\n\n{options_table(entry.options)}\n"
        augmentation = catalog.get("augmentation", entry.name)
        text += f"\n### {entry.name}: augment\n\n{augmentation.summary}\n\n{options_table(augmentation.options)}\n"
    return text


def list_page(title: str, entries: list[Entry]) -> str:
    """Several small components on one page."""
    text = NOTE + f"# {title}\n"
    for entry in entries:
        extra = f" Needs the extra `{entry.extra}`." if entry.extra else ""
        text += f"\n## {entry.name} ({entry.kind})\n\n{entry.summary}{extra}\n\n{options_table(entry.options)}\n"
    return text


def component_page(entry: Entry) -> str:
    """A page of its own: summary, docstring of the code, options, how a recipe names it."""
    named = entry.load()
    source = Path(inspect.getfile(named)).resolve().relative_to(ROOT)
    text = f"{NOTE}# {entry.name}\n\n{entry.summary}\n\n{docstring(named)}\n"
    function = pure_function(entry)
    if function is not None:
        text += f"\n## As a function\n\n```python\n{function.__name__}{inspect.signature(function)}\n```\n\n{docstring(function)}\n"
    text += f"\n## Options\n\n{options_table(entry.options)}\n\nSource: [`{source}`](../../{source})\n"
    return text


def pure_function(entry: Entry) -> Any:
    """The pure function behind a loss, if there is one."""
    if entry.kind != "loss":
        return None
    from mmdistill.losses import functional

    return getattr(functional, entry.name, None)


def index_page(kind: str, entries: list[Entry]) -> str:
    """Names and summaries of one kind."""
    title = PLACES[kind].capitalize()
    rows = "\n".join(f"| [{entry.name}]({entry.name}.md) | {entry.summary} |" for entry in entries)
    return f"{NOTE}# {title}\n\n| name | what it is |\n| --- | --- |\n{rows}\n"


def commands_page() -> str:
    """The help of every command."""
    import typer

    from mmdistill.cli import app

    group = typer.main.get_command(app)
    text = NOTE + "# Commands\n\nExit status: 0 done, 1 failed while working, 2 wrong use or bad recipe or data. "
    text += "`--debug` shows the traceback of an error.\n"
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        text += f"\n## mmdistill {name}\n\n{' '.join((command.help or '').split())}\n\n"
        for parameter in command.params:
            if parameter.name == "help":
                continue
            words = ", ".join(f"`{word}`" for word in parameter.opts) if parameter.opts else f"`{parameter.name}`"
            label = (
                f"`{(parameter.metavar or parameter.name.upper())}`"
                if parameter.param_type_name == "argument"
                else words
            )
            text += f"- {label}: {getattr(parameter, 'help', '') or ''}\n"
        if command.epilog:
            text += f"\n{command.epilog.replace('Example: ', 'Example: `')}`\n"
    return text


def docstring(thing: Any) -> str:
    """A docstring as Markdown: `Args:`-like sections become bold lines with lists."""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    result: list[str] = []
    in_section = False
    for line in lines:
        if line.strip() in {"Args:", "Returns:", "Raises:", "Shapes:", "Source:", "References:"}:
            result += ["", f"**{line.strip().rstrip(':')}**", ""]
            in_section = True
        elif in_section and line.startswith("    ") and not line.startswith("     ") and ": " in line:
            name, _, rest = line.strip().partition(": ")
            result.append(f"- `{name}`: {rest}")
        elif in_section and line.startswith("    "):
            result.append(textwrap.indent(line.strip(), "  " if result and result[-1].startswith(("-", "  ")) else ""))
        else:
            in_section = in_section and not line.strip()
            result.append(line)
    return "\n".join(result).strip()


def main() -> int:
    """Write the pages, or with `--check` compare them; the exit status is 1 when one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args().check
    stale = []
    for path, text in pages():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'out of date' if check else 'wrote'}: {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
