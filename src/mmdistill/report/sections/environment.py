"""The machine, the versions, and the commands that make the run again."""

from __future__ import annotations

import shlex
from typing import Any

from mmdistill.report.run_folder import RunFolder


def environment_entries(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of everything noted about the machine; nested names are joined by a dot."""
    entries: list[tuple[str, str]] = []
    for key, value in environment.items():
        if isinstance(value, dict):
            entries += [
                (name if key == "versions" else f"{key} · {name}", text) for name, text in environment_entries(value)
            ]
        elif isinstance(value, list):
            entries.append((key, ", ".join(str(each) for each in value)))
        elif value is not None:
            entries.append((key, str(value)))
    return [(name.replace("_", " "), text) for name, text in entries]


def reproduce_commands(run: RunFolder) -> list[tuple[str, str]]:
    """What each command does, and the command."""
    version = f"=={run.results.version}" if run.results.version else ""
    again = f"{run.results.name}-again"
    folders = " ".join(shlex.quote(f"runs/{name}") for name in (run.results.name, again))
    return [
        ("Install the version of this run", f"pip install 'mmdistill[train]{version}'"),
        (
            "Run the recipe of this page again, under another name",
            f"mmdistill run recipe.yaml {shlex.quote(f'name={again}')}",
        ),
        ("Compare the two", f"mmdistill compare {folders}"),
    ]
