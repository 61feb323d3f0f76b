"""What is installed, which devices are there, and why a part would not work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)(?:;\s*(.*))?$")
EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def versions(
    packages: tuple[str, ...] = ("torch", "tensordict", "accelerate", "numpy", "torchmetrics"),
) -> dict[str, str]:
    """Versions of Python, this package and the packages that decide a run's numbers; absent ones are left out."""
    found = {"python": platform.python_version(), "mmdistill": importlib.metadata.version("mmdistill")}
    for package in packages:
        version = _version(package)
        if version is not None:
            found[package] = version
    return found


def examine() -> dict[str, Any]:
    """Findings of `mmdistill doctor`, JSON-able."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "device": device(),
        "extras": extras(),
        "cache": _cache(),
    }


def device() -> dict[str, Any]:
    """The device `auto` stands for, and why it is not a GPU when it is not."""
    if _version("torch") is None:
        return {"auto": None, "reason": "PyTorch is not installed (pip install 'mmdistill[train]')"}
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return {"auto": "cuda", "names": names, "cuda": torch.version.cuda}
    if torch.backends.mps.is_available():
        return {"auto": "mps", "names": ["Apple GPU"]}
    return {"auto": "cpu", "threads": torch.get_num_threads(), "reason": _why_no_gpu(torch)}


def _why_no_gpu(torch: Any) -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return "this build of PyTorch has no GPU support"
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return "CUDA_VISIBLE_DEVICES is empty, which hides every GPU"
    if shutil.which("nvidia-smi") is None and not Path("/proc/driver/nvidia").exists():
        return "no NVIDIA driver was found on this machine"
    return f"the driver does not work with this PyTorch (CUDA {torch.version.cuda})"


def extras() -> dict[str, dict[str, Any]]:
    """For each extra of this package: whether it is complete, and which distributions are missing."""
    groups: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("mmdistill") or []:
        match = REQUIREMENT.match(line)
        marker = EXTRA.search(line)
        if match and marker and match.group(1).lower() != "mmdistill":
            groups.setdefault(marker.group(1), []).append(match.group(1))
    return {
        extra: {"complete": not missing, "missing": missing}
        for extra, packages in sorted(groups.items())
        for missing in [[package for package in packages if _version(package) is None]]
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    from mmdistill.data.cache import cache_folder

    folder = cache_folder()
    return {"folder": str(folder), "writable": os.access(_existing_parent(folder), os.W_OK)}


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def render(findings: dict[str, Any]) -> Any:
    """The findings as a table for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(
        "[bold]versions[/bold]", ", ".join(f"{name} {version}" for name, version in findings["versions"].items())
    )
    table.add_row("[bold]platform[/bold]", f"{findings['platform']}, {findings['cpu_count']} CPUs")
    found = findings["device"]
    names = ", ".join(found.get("names", []))
    why = f"no GPU: {found['reason']}" if found.get("reason") else names
    table.add_row("[bold]device[/bold]", f"{found['auto'] or 'none'} ({escape(why)})")
    for extra, state in findings["extras"].items():
        missing = f"[yellow]missing {', '.join(state['missing'])}[/yellow]: pip install 'mmdistill\\[{extra}]'"
        table.add_row(f"[bold]extra[/bold] {extra}", "[green]complete[/green]" if state["complete"] else missing)
    writable = "writable" if findings["cache"]["writable"] else "[red]not writable[/red]"
    table.add_row("[bold]cache[/bold]", f"{findings['cache']['folder']} ({writable})")
    table.add_row("[bold]interpreter[/bold]", sys.executable)
    return table
