"""The stages of a run: prepare, train every model, then open the test rows once and report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mmdistill.data.table import read_table
from mmdistill.doctor import versions
from mmdistill.errors import InputError
from mmdistill.files import disk_errors, read_json, write_json
from mmdistill.recipe import Recipe
from mmdistill.run.borrowed import borrow_teachers, caution, keep_borrowed
from mmdistill.run.brought import keep_brought
from mmdistill.run.dataset import Dataset, load_dataset
from mmdistill.run.folder import DATA, RunFolder, open_run
from mmdistill.run.learn import learn, rehearse
from mmdistill.run.measure import measure
from mmdistill.run.plan import PlannedModel, plan
from mmdistill.run.unused_seeds import unused_seeds
from mmdistill.run.workshop import Workshop
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.progress import Silent, progress_for

SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class FinishedRun:
    """What a run leaves: its folder and the content of results.json."""

    folder: Path
    results: dict[str, Any]


@dataclass(frozen=True)
class OpenedWorkshop:
    """A run that is ready to train.

    Args:
        shop: what training needs.
        cautions: what the user has to know about seeds, and about teachers that were not trained here.
        seconds: by stage.
    """

    shop: Workshop
    cautions: list[str]
    seconds: Clock


def execute(recipe: Recipe, root: Path, overwrite: bool, progress: bool) -> FinishedRun:
    """Do every stage that is not done yet; see `mmdistill.run`."""
    with open_run(recipe, root, overwrite) as folder, disk_errors(folder.path):
        if folder.results.exists():
            refuse_changed_table(recipe, folder)
        else:
            _work(recipe, folder, progress)
        if not (folder.path / "report.html").exists():
            from mmdistill.report import write_all

            write_all(folder.path)
        return FinishedRun(folder.path, read_json(folder.results))


def _work(recipe: Recipe, folder: RunFolder, progress: bool) -> None:
    """Everything up to results.json, which is written last."""
    opened = open_workshop(recipe, folder, progress)
    train_models(opened, opened.shop.plan.models)
    with opened.seconds.of("evaluation"):
        results = measure(opened.shop)
    write_json(folder.results, {**results, "cautions": opened.cautions, "seconds": opened.seconds.spent})
    (folder.path / "seconds.json").unlink(missing_ok=True)


def open_workshop(recipe: Recipe, folder: RunFolder, progress: bool) -> OpenedWorkshop:
    """Everything before the first training: rows, teachers that are there already, a rehearsal of every objective.

    Raises:
        InputError: when something of the recipe does not fit its data, or the data is not what the run began with.
    """
    console = Console(stderr=True, quiet=not progress)
    seconds = Clock(folder.path / "seconds.json")
    accelerator = make_accelerator(recipe.compute)
    borrowed = borrow_teachers(recipe)
    with seconds.of("preparation"):
        extra = [feature for teacher in borrowed.values() for feature in teacher.features]
        dataset = load_dataset(recipe, shown_preparation(console) if progress else None, extra)
    for note in dataset.prepared.notes:
        console.print(f"Note: {note}")
    _refuse_other_data(folder, dataset)
    write_json(folder.path / DATA, dataset.facts())
    write_json(folder.path / "environment.json", environment(accelerator.device))
    shown = progress_for(console) if progress else Silent()
    shop = Workshop(recipe, plan(recipe), folder, dataset, accelerator, shown)
    for name, teacher in borrowed.items():
        keep_borrowed(shop, name, teacher)
    cautions = [text for text in (caution(shop, teacher) for teacher in borrowed.values()) if text]
    cautions += keep_brought(shop)
    unused = unused_seeds(recipe)
    if unused is not None:
        cautions.append(f"{unused.message} {unused.fix}")
    for text in cautions:
        console.print(f"Caution: {text}")
    rehearse(shop)
    return OpenedWorkshop(shop, cautions, seconds)


def train_models(opened: OpenedWorkshop, models: Iterable[PlannedModel]) -> None:
    """Train some models of the plan, in the order given; those that are trained already are left as they are."""
    for planned in models:
        for seed in planned.seeds:
            with opened.seconds.of(planned.name):
                learn(opened.shop, planned, seed)


def _refuse_other_data(folder: RunFolder, dataset: Dataset) -> None:
    """Models of one run are trained and scored on one and the same data.

    Raises:
        InputError: when some are trained already and the table, its files or the libraries that read them have changed.
    """
    held = folder.path / DATA
    if not held.exists() or next(folder.path.glob("*/seed-*/model.json"), None) is None:
        return
    if read_json(held).get("fingerprint") != dataset.prepared.fingerprint:
        raise _changed(folder, "the table, the files it names, or the libraries that read them")


def refuse_changed_table(recipe: Recipe, folder: RunFolder) -> None:
    """The results of a finished run are not those of a table that has changed since. A table that is gone is no news.

    Raises:
        InputError: when the table has another content now.
    """
    held = read_json(folder.path / DATA).get("identity", {}).get("table")
    try:
        table = read_table(recipe.data.table, recipe.data.format, recipe.data.limit)
    except InputError:
        return
    if held is not None and table.digest != held:
        raise _changed(folder, "the table has another content now")


def _changed(folder: RunFolder, what: str) -> InputError:
    return InputError(
        f"The data changed since this run was made, so that its models would not be comparable: {what}",
        where=str(folder.path),
        fix="Use --overwrite to train every model again, or give the run another name (name=...)",
    )


def shown_preparation(console: Console) -> Callable[[int, int], None]:
    """A line now and then while rows are prepared; nothing when the cache has them."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            console.print(f"Prepared {done:,} of {total:,} rows")

    return show


class Clock:
    """Seconds by stage, kept on disk so that a resumed run adds to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spent: dict[str, float] = read_json(path) if path.exists() else {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count what happens inside for a stage, also when it is interrupted."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent[stage] = round(self.spent.get(stage, 0.0) + time.monotonic() - began, 3)
            write_json(self.path, self.spent)


def environment(device: torch.device) -> dict[str, Any]:
    """What numbers depend on beside the recipe."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
