"""Folders with one sub-folder per class."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmdistill.data.table import read_table
from mmdistill.errors import InputError


def make(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def test_classes_are_the_names_of_the_folders(tmp_path: Path) -> None:
    make(
        tmp_path,
        "dog/2.png",
        "cat/1.png",
        "cat/deep/3.png",
        "README.md",
        ".hidden/x.png",
        "cat/.DS_Store",
        "empty/.keep",
    )
    table = read_table(tmp_path)
    assert table.columns == ["path", "label"]
    assert table.column("path") == ["cat/1.png", "cat/deep/3.png", "dog/2.png"]
    assert table.column("label") == ["cat", "cat", "dog"]
    assert table.root == tmp_path
    assert table.where(2) == str(tmp_path / "dog" / "2.png")
    assert [row for row, _ in table.cells(["label"], rows=[2, 0])] == [0, 2]


def test_folders_of_splits_give_a_split_column(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "val/cat/2.png", "Test/dog/3.png")
    table = read_table(tmp_path)
    assert {tuple(cells.values()) for _, cells in table.cells(["label", "split"])} == {
        ("cat", "train"),
        ("cat", "val"),
        ("dog", "Test"),
    }


def test_digest_follows_names_sizes_and_times(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/2.png")
    digests = {read_table(tmp_path).digest}
    os.utime(tmp_path / "cat/1.png", (1, 1))
    digests.add(read_table(tmp_path).digest)
    (tmp_path / "cat/1.png").rename(tmp_path / "cat/3.png")
    digests.add(read_table(tmp_path).digest)
    assert len(digests) == 3
    assert read_table(tmp_path).digest in digests


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "data", "cat/1.png")
    make(tmp_path / "elsewhere", "2.png")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "cat" / "loop").symlink_to(tmp_path / "data" / "cat")
    assert read_table(tmp_path / "data").column("path") == ["cat/1.png", "dog/2.png"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.png", "b.png"], "no files in class folders"),
        (["cat/1.png", "stray.png"], "'stray.png'"),
        (["train/cat/1.png", "train/2.png"], "'train/2.png'"),
        (["train/cat/1.png", "labels/cat.txt"], "labels"),
        (["cat/.keep"], "no files"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, files: list[str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_table(make(tmp_path, *files))
    assert words in str(caught.value)
