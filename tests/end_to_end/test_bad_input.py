"""Bad input gives one clear paragraph, exit status 2 (1 for a full disk), and leaves nothing half-written."""

from __future__ import annotations

import copy
import csv
import io
import subprocess
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmdistill.recipe.document import dump_yaml

from .conftest import RECIPE, Command, write_table

Change = Callable[[dict[str, Any], Path], None]


def rewrite(path: Path, change: Callable[[int, dict[str, str]], None]) -> None:
    """Change the rows of a CSV file in place."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for index, row in enumerate(rows):
        change(index, row)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def png(side: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def with_files(data: dict[str, Any], folder: Path, column: dict[str, Any], encoder: str, cells: list[str]) -> None:
    """Add a column `file` to the table, its cells taken in turn, and let both models read it."""

    def add(index: int, row: dict[str, str]) -> None:
        row["file"] = cells[index % len(cells)]

    rewrite(folder / "animals.csv", add)
    data["data"]["columns"]["file"] = column
    data["teacher"] = {"encoders": {"file": encoder}}
    data["student"] = {"encoders": {"file": encoder}}


def missing_table(data: dict[str, Any], folder: Path) -> None:
    data["data"]["table"] = str(folder / "animal.csv")


def wrong_column(data: dict[str, Any], folder: Path) -> None:
    data["data"]["columns"]["note"]["source"] = "notes"


def wrong_target(data: dict[str, Any], folder: Path) -> None:
    data["data"]["target"] = "animals"


def unreadable_image(data: dict[str, Any], folder: Path) -> None:
    (folder / "good.png").write_bytes(png())
    (folder / "bad.png").write_bytes(b"this is no image")
    with_files(data, folder, {"type": "image", "size": 8}, "tiny_cnn", ["good.png", "bad.png"])


def truncated_image(data: dict[str, Any], folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:2000])
    with_files(data, folder, {"type": "image", "size": 8}, "tiny_cnn", ["cut.png"])


def bomb_image(data: dict[str, Any], folder: Path) -> None:
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
    with_files(data, folder, {"type": "image", "size": 8}, "tiny_cnn", ["bomb.png"])


def missing_image(data: dict[str, Any], folder: Path) -> None:
    with_files(data, folder, {"type": "image", "size": 8}, "tiny_cnn", ["nowhere.png"])


def zip_escape(data: dict[str, Any], folder: Path) -> None:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("../secret.png", png())
    with_files(data, folder, {"type": "image", "size": 8, "root": "images.zip"}, "tiny_cnn", ["../secret.png"])


def truncated_wav(data: dict[str, Any], folder: Path) -> None:
    with wave.open(str(folder / "whole.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.zeros(8000, np.int16).tobytes())
    (folder / "cut.wav").write_bytes((folder / "whole.wav").read_bytes()[:5000])
    column = {"type": "audio", "sample_rate": 8000}
    with_files(data, folder, column, "tiny_cnn", ["whole.wav", "cut.wav"])


def wrong_dtype(data: dict[str, Any], folder: Path) -> None:
    data["data"]["columns"]["size"]["numeric"] = ["width", "colour"]
    data["data"]["columns"]["size"]["categorical"] = []


def the_word_na_in_numbers(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(width="NA") if index == 7 else None)


def infinity_in_numbers(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(width="inf") if index == 7 else None)


def nan_in_the_target(data: dict[str, Any], folder: Path) -> None:
    import pandas as pd

    table = pd.read_csv(folder / "animals.csv", keep_default_na=False)
    table["animal"] = np.where(table["animal"] == "cat", 1.0, np.where(table["animal"] == "dog", 2.0, np.nan))
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_pandas(table.drop(columns="width"), safe=True).set_column(
            4, "animal", pa.array(table["animal"].to_numpy(), from_pandas=False)
        ),
        folder / "animals.parquet",
    )
    data["data"]["table"] = str(folder / "animals.parquet")
    data["data"]["columns"]["size"]["numeric"] = ["weight"]


def empty_split(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(split="train") if row["split"] == "test" else None)


def unknown_split_word(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(split="holdout") if index == 3 else None)


def one_class(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(animal="cat"))


def unseen_class(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(animal="zebra") if row["split"] == "test" else None)


def group_leak(data: dict[str, Any], folder: Path) -> None:
    data["data"]["split"] = {"column": "split", "group": "colour"}


def unknown_encoder(data: dict[str, Any], folder: Path) -> None:
    data["student"]["encoders"]["note"] = "bagg"


def unknown_key(data: dict[str, Any], folder: Path) -> None:
    data["train"]["epoch"] = 3


def long_text(data: dict[str, Any], folder: Path) -> None:
    rewrite(folder / "animals.csv", lambda index, row: row.update(note="x" * 10_000_000) if index == 5 else None)


def ragged_csv(data: dict[str, Any], folder: Path) -> None:
    with (folder / "animals.csv").open("a", encoding="utf-8") as stream:
        stream.write("a,b\n")


def empty_file(data: dict[str, Any], folder: Path) -> None:
    (folder / "animals.csv").write_text("")


def not_a_table(data: dict[str, Any], folder: Path) -> None:
    (folder / "animals.parquet").write_bytes(b"not parquet at all")
    data["data"]["table"] = str(folder / "animals.parquet")


CASES: list[tuple[Change, list[str]]] = [
    (missing_table, ["animal.csv"]),
    (wrong_column, ["notes", "note"]),
    (wrong_target, ["animals", "animal"]),
    (unreadable_image, ["bad.png", "line 3", "file"]),
    (truncated_image, ["cut.png", "file"]),
    (bomb_image, ["bomb.png", "pixels"]),
    (missing_image, ["nowhere.png", "line 2"]),
    (zip_escape, ["secret.png"]),
    (truncated_wav, ["cut.wav", "line 3"]),
    (wrong_dtype, ["colour", "number"]),
    (the_word_na_in_numbers, ["NA", "line 9", "width"]),
    (infinity_in_numbers, ["inf", "line 9", "width"]),
    (nan_in_the_target, ["row 1", "target is nan"]),
    (empty_split, ["test"]),
    (unknown_split_word, ["holdout"]),
    (one_class, ["class", "cat"]),
    (unseen_class, ["zebra"]),
    (group_leak, ["colour"]),
    (unknown_encoder, ["bagg", "bag"]),
    (unknown_key, ["epoch", "epochs", "line"]),
    (long_text, ["line 7", "note", "characters"]),
    (ragged_csv, ["line 242"]),
    (empty_file, ["animals.csv"]),
    (not_a_table, ["animals.parquet"]),
]


@pytest.mark.parametrize(("change", "told"), CASES, ids=[change.__name__ for change, _ in CASES])
def test_one_clear_paragraph_and_exit_status_2(
    change: Change, told: list[str], tmp_path: Path, cache_folder: Path
) -> None:
    from typer.testing import CliRunner

    from mmdistill.cli import app

    write_table(tmp_path / "animals.csv")
    data = copy.deepcopy(RECIPE)
    data["data"]["table"] = str(tmp_path / "animals.csv")
    change(data, tmp_path)
    (tmp_path / "recipe.yaml").write_text(dump_yaml(data))
    done = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.yaml"), "--runs", str(tmp_path / "runs")])
    message = done.stderr.strip()
    assert done.exit_code == 2, (done.stdout, done.stderr, done.exception)
    for word in told:
        assert word in message
    assert message.startswith("Error: ")
    assert "\n\n" not in message
    assert "Traceback" not in message
    assert len(message) < 1200
    left = [path for path in tmp_path.rglob("*") if path.name.endswith(".part") or ".part" in path.name]
    assert left == []
    assert not list((tmp_path / "runs").rglob("model.safetensors"))


def test_the_command_says_the_same_without_a_traceback(mmdistill: Command, tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n")
    done = mmdistill("run", "twice.yaml")
    assert done.returncode == 2
    assert "twice.yaml, line 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in mmdistill("run", "twice.yaml", "--debug").stderr
    assert mmdistill("run", "none.yaml").returncode == 2
    assert mmdistill("rum").returncode == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, mounted for the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_exit_status_1_and_the_run_goes_on_later(
    mmdistill: Command, recipe_file: Path, small_disk: Path
) -> None:
    done = mmdistill("run", recipe_file, "--runs", small_disk, "student.encoders.note.dim=512")
    assert done.returncode == 1, done.stderr
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in small_disk.rglob("*") if ".part" in path.name]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = mmdistill("run", recipe_file, "--runs", small_disk, "student.encoders.note.dim=512")
    assert again.returncode == 0, again.stderr


def test_a_full_cache_disk_is_exit_status_1(
    mmdistill: Command, recipe_file: Path, tmp_path: Path, small_disk: Path
) -> None:
    (small_disk / "filler").write_bytes(b"x" * 240 * 1024)
    done = mmdistill("run", recipe_file, "--runs", tmp_path / "runs", MMDISTILL_CACHE=str(small_disk / "cache"))
    assert done.returncode == 1, done.stderr
    assert "disk is full" in done.stderr
    assert not [path for path in small_disk.rglob("*") if ".part" in path.name]


def test_a_read_only_folder_is_exit_status_2(mmdistill: Command, recipe_file: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = mmdistill("run", recipe_file, "--runs", small_disk / "runs")
    assert done.returncode == 2, done.stderr
    assert "cannot be written to" in done.stderr
