"""A cell becomes bytes: paths, zip members, embedded bytes; nothing leaves its folder or outgrows its limit."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.reader import CellReader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").write_bytes(b"cat")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a/b.png", b"bee")
        archive.writestr("a/c.png", b"sea" * 100, compress_type=zipfile.ZIP_DEFLATED)
        archive.writestr("../outside.png", b"out")
    return tmp_path


@pytest.mark.parametrize(
    ("cell", "content"),
    [
        ("pictures/cat.png", b"cat"),
        ("images.zip/a/b.png", b"bee"),
        ("images.zip/a/c.png", b"sea" * 100),
        (b"raw", b"raw"),
        ({"bytes": b"held", "path": "name.png"}, b"held"),
        ({"bytes": None, "path": "pictures/cat.png"}, b"cat"),
    ],
)
def test_reads_paths_members_and_bytes(folder: Path, cell: object, content: bytes) -> None:
    assert CellReader(folder).read(cell) == content


def test_absolute_paths_are_the_table_owners_own(folder: Path) -> None:
    assert CellReader("/nowhere").read(str(folder / "pictures" / "cat.png")) == b"cat"
    assert CellReader("/nowhere").read(f"{folder}/images.zip/a/b.png") == b"bee"


@pytest.mark.parametrize(("root", "cell"), [("images.zip", "a/b.png"), ("images.zip/a", "b.png")])
def test_a_column_may_start_in_a_zip_file(folder: Path, root: str, cell: str) -> None:
    assert CellReader(folder).within(root).read(cell) == b"bee"


def test_a_column_may_start_in_a_folder(folder: Path) -> None:
    assert CellReader(folder).within("pictures").read("cat.png") == b"cat"


@pytest.mark.parametrize(
    "member", ["../outside.png", "a/../../outside.png", "a\\..\\..\\outside.png", "/etc/passwd", "C:\\x.png", "C:x.png"]
)
def test_a_member_stays_in_its_zip_file(folder: Path, member: str) -> None:
    with pytest.raises(CellError, match=r"leaves its folder|absolute path"):
        CellReader(folder).within("images.zip").read(member)


def test_a_path_does_not_leave_a_zip_file_that_it_entered(folder: Path) -> None:
    with pytest.raises(CellError, match="leaves its folder"):
        CellReader(folder).read("images.zip/../pictures/cat.png")


@pytest.mark.parametrize("name", ["../images.zip", "/etc/hostname"])
def test_a_path_stays_under_the_root_of_its_column(folder: Path, name: str) -> None:
    with pytest.raises(CellError, match=r"leaves its folder|absolute path"):
        CellReader(folder).within("pictures").read(name)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("pictures/cat.jpg", r"not there .*Did you mean 'cat.png'"),
        ("nowhere/cat.png", "not there"),
        ("pictures/cat.png/more", "not there"),
        ("images.zip/b.png", r"not in images.zip.*Did you mean 'a/b.png'"),
        ("images.zip/a/d.png", r"not in images.zip.*Did you mean 'a/\w.png'"),
        ("images.zip", "not in images.zip"),
        ("pictures", "not a file"),
        ("a\0b", "zero character"),
        ("x" * 5000, "cannot be read"),
        ("https://example.org/cat.png", "web address"),
        (3.5, r"is a number \(3.5\), not a path"),
        ({"width": 3}, "mapping with the keys width"),
    ],
)
def test_says_what_is_wrong_with_a_cell(folder: Path, cell: object, message: str) -> None:
    with pytest.raises(CellError, match=message):
        CellReader(folder).read(cell)


def test_a_damaged_zip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and nothing more")
    with pytest.raises(CellError, match=r"broken.zip, which cannot be opened"):
        CellReader(tmp_path).read("broken.zip/a.png")


@pytest.mark.parametrize("cell", [b"x" * 3000, "big.png", "big.zip/big.png"])
def test_refuses_what_is_larger_than_the_limit(tmp_path: Path, cell: object) -> None:
    (tmp_path / "big.png").write_bytes(b"x" * 3000)
    with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.png", b"x" * 3000)
    with pytest.raises(CellError, match=r"more than max_megabytes = 0.002"):
        CellReader(tmp_path).within(None, max_megabytes=0.002).read(cell)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(CellError, match="not a file"):
        CellReader(tmp_path).read("pipe.png")


def test_a_reader_without_root_reads_no_path(folder: Path) -> None:
    reader = CellReader(None)
    assert reader.read(b"bytes") == b"bytes"
    for name in ("pictures/cat.png", str(folder / "pictures" / "cat.png")):
        with pytest.raises(CellError, match="paths are not read here"):
            reader.read(name)
        with pytest.raises(CellError, match="paths are not read here"):
            reader.within(str(folder)).read(name)
