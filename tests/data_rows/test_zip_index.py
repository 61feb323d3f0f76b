"""The compact index of a zip file agrees with `zipfile`, in threads and after a fork, and refuses what is damaged."""

from __future__ import annotations

import multiprocessing
import random
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdistill.data.modalities.zip_index import ZipError, ZipIndex

NAMES = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0/\\"), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(content=st.dictionaries(NAMES, st.binary(max_size=200), max_size=8), prefix=st.binary(max_size=30))
def test_reads_what_zipfile_reads(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], prefix: bytes
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for position, (name, data) in enumerate(content.items()):
            archive.writestr(zipfile.ZipInfo(name), data, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED][position % 2])
    path.write_bytes(prefix + path.read_bytes())
    index = ZipIndex(path)
    assert [member.name for member in index.members()] == list(content)
    for name, data in content.items():
        member = index.find(name)
        assert member is not None
        assert index.read(member) == data
    assert index.find("no such name") is None


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20_000):  # more than a megabyte of directory, read in several pieces
            archive.writestr(f"folder/with a rather long name/{number:05d}.txt", str(number) * 20)
    return path


def read(index: ZipIndex, number: int) -> bytes:
    member = index.find(f"folder/with a rather long name/{number:05d}.txt")
    assert member is not None
    return index.read(member)


def test_finds_every_one_of_many_members_from_many_threads(many: Path) -> None:
    index = ZipIndex(many)
    assert len(index) == 20_000
    numbers = random.Random(0).sample(range(20_000), 2_000)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: read(index, number), numbers)) == [str(n).encode() * 20 for n in numbers]


def _check_numbers(index: ZipIndex, numbers: list[int], answers: multiprocessing.SimpleQueue[bool]) -> None:
    answers.put(all(read(index, number) == str(number).encode() * 20 for number in numbers))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork")
def test_forked_processes_do_not_disturb_each_other(many: Path) -> None:
    index, context = ZipIndex(many), multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    children = [
        context.Process(target=_check_numbers, args=(index, list(range(start, 20_000, 40)), answers))
        for start in range(4)
    ]
    for child in children:
        child.start()
    assert all(read(index, number) == str(number).encode() * 20 for number in range(5, 20_000, 40))
    for child in children:
        child.join()
    assert [answers.get() for _ in children] == [True] * 4


def test_reads_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1_000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(9):
            archive.writestr(str(number), bytes([number]) * 2_000)
    index = ZipIndex(tmp_path / "a.zip")
    assert len(index) == 9
    for number in range(9):
        member = index.find(str(number))
        assert member is not None
        assert index.read(member) == bytes([number]) * 2_000


def test_the_last_of_equal_names_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", b"new")
    index = ZipIndex(tmp_path / "a.zip")
    member = index.find("a")
    assert member is not None
    assert index.read(member) == b"new"


@pytest.mark.parametrize("content", [b"", b"not a zip file at all", b"PK\5\6" + b"\xff" * 18])
def test_refuses_what_is_no_zip_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ZipError):
        ZipIndex(tmp_path / "a.zip")


def test_notices_a_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"some content")
    path.write_bytes(path.read_bytes().replace(b"some content", b"some contend"))
    index = ZipIndex(path)
    member = index.find("a")
    assert member is not None
    with pytest.raises(ZipError, match="checksum"):
        index.read(member)


def test_unpacks_no_more_than_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 50_000_000)
    lie = (10).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace((50_000_000).to_bytes(4, "little"), lie))
    index = ZipIndex(path)
    member = index.find("a")
    assert member is not None
    assert member.size == 10
    with pytest.raises(ZipError, match="checksum"):
        index.read(member)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", b"content " * 20)
        archive.writestr("c.txt", b"more")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        index = ZipIndex(path)
        for member in list(index.members()):
            index.read(member)
    except ZipError:
        pass
