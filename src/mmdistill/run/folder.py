"""The run folder: one recipe, one owner at a time, nothing half-written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmdistill.errors import InputError, MMDistillError, require
from mmdistill.files import disk_errors, read_json, write_json, write_text
from mmdistill.recipe import Recipe

LOCK = ".lock"
DIGEST = "digest.json"
DATA = "data.json"
PREAMBLE = {LOCK, DIGEST, DATA, "recipe.yaml", "environment.json", "seconds.json"}
"""What stands in a run folder before anything has been trained."""


class RunFolder:
    """Paths of a run folder, `runs/<name>/`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    def seed(self, model: str, seed: int) -> Path:
        """Folder of one trained model: `<model>/seed-<n>/`."""
        return self.path / model / f"seed-{seed}"

    def is_trained(self, model: str, seed: int) -> bool:
        """Whether the model has been trained to its end: its card is written last."""
        return (self.seed(model, seed) / "model.json").exists()


@contextlib.contextmanager
def open_run(recipe: Recipe, root: str | Path = "runs", overwrite: bool = False) -> Iterator[RunFolder]:
    """Make or resume the folder of a recipe and hold it while the run works.

    A run that fails before it has trained anything leaves no folder behind, so that a mended recipe or table finds its
    name free.

    Raises:
        InputError: when another process holds it, when it belongs to another recipe, or when it cannot be written to.
        MMDistillError: when the disk is full.
    """
    filelock = require("filelock", "train", "A run folder")
    folder = RunFolder(Path(root) / recipe.name)
    with disk_errors(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InputError(
                "Another process is working on this run",
                where=str(folder.path),
                fix="Wait for it, or give this run another name",
            ) from None
    try:
        _claim(folder, recipe, overwrite)
        yield folder
    except BaseException:
        if (folder.path / DIGEST).exists() and not _has_work(folder):
            with contextlib.suppress(OSError, MMDistillError):
                _empty(folder)
                (folder.path / LOCK).unlink()
                folder.path.rmdir()
        raise
    finally:
        lock.release()


def _has_work(folder: RunFolder) -> bool:
    """Whether anything has been trained, or is being trained, that would be lost with the folder."""
    return any(item.name not in PREAMBLE and not item.name.endswith(".part") for item in folder.path.iterdir())


def _empty(folder: RunFolder) -> None:
    """Remove everything but the lock."""
    with disk_errors(folder.path):
        for item in folder.path.iterdir():
            if item.name != LOCK:
                shutil.rmtree(item) if item.is_dir() else item.unlink()


def _claim(folder: RunFolder, recipe: Recipe, overwrite: bool) -> None:
    """Write the recipe into a new folder; let an old one be resumed by the same recipe only."""
    held = folder.path / DIGEST
    foreign = [
        item
        for item in folder.path.iterdir()
        if item.name not in {LOCK, DIGEST, "recipe.yaml"} and not item.name.endswith(".part")
    ]
    if not held.exists() and foreign:
        raise InputError(
            f"This folder was not made by a run (it holds {foreign[0].name!r})",
            where=str(folder.path),
            fix="Give the run another name",
        )
    if held.exists():
        another = read_json(held).get("recipe") != recipe.digest()
        if another and not overwrite and _has_work(folder):
            raise InputError(
                f"The run {recipe.name!r} was made with another recipe",
                where=str(folder.path),
                fix="Give this one another name (name=...), or use --overwrite to replace the run",
            )
        if another or overwrite:
            _empty(folder)
    if not held.exists():
        write_text(folder.recipe, recipe.to_yaml())
        write_json(held, {"recipe": recipe.digest()})


def find_run(path: str | Path) -> RunFolder:
    """A finished or unfinished run folder, by path or by the name below `runs/`.

    Raises:
        InputError: when there is none.
    """
    for candidate in (Path(path), Path("runs") / path):
        if (candidate / "recipe.yaml").exists():
            return RunFolder(candidate)
    raise InputError(
        "This is not a run folder (it has no recipe.yaml)",
        where=str(path),
        fix="Give the folder that `mmdistill run` printed",
    )
