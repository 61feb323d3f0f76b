"""The cache folder: where it is, what is in it, and how it is emptied."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdistill.data.cache import cache_folder, cache_table, clear, list_entries, lock
from mmdistill.data.features import features_for
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import Table
from mmdistill.errors import InputError
from mmdistill.recipe.schema import ColumnSpec


def prepared(cache: Path, kind: str = "text") -> PreparedRows:
    spec = {"text": {"type": "text"}, "tabular": {"type": "tabular", "numeric": ["age"]}}[kind]
    table = Table.of({"x": ["some words"] * 50, "age": [3] * 50})
    return prepare(table, features_for({"x": ColumnSpec.model_validate(spec)}), np.arange(9), cache)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MMDISTILL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if os.name == "posix":
        assert cache_folder() == tmp_path / "xdg" / "mmdistill"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_folder() == Path.home() / ".cache" / "mmdistill"
    monkeypatch.setenv("MMDISTILL_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert cache_folder(tmp_path / "other") == tmp_path / "other"
    assert not (tmp_path / "own").exists()


def test_an_empty_cache_has_no_entries(tmp_path: Path) -> None:
    assert list_entries(tmp_path / "nothing") == []
    assert clear(folder=tmp_path / "nothing") == []


def test_entries_say_what_they_are(tmp_path: Path) -> None:
    rows = prepared(tmp_path)
    (entry,) = list_entries(tmp_path)
    assert entry.kind == "features"
    assert entry.summary == "text of rows in memory, 50 rows"
    assert entry.bytes >= rows.nbytes > 50 * 8
    assert entry.days < 1
    _, plain = cache_table(tmp_path)
    assert plain[0]["fingerprint"] == entry.name
    assert plain[0]["bytes"] == entry.bytes


def test_clearing(tmp_path: Path) -> None:
    prepared(tmp_path), prepared(tmp_path, "tabular")
    assert len(clear(folder=tmp_path)) == 2
    assert list_entries(tmp_path) == []


def test_clearing_only_what_was_not_used_for_long(tmp_path: Path) -> None:
    prepared(tmp_path)
    (old,) = list_entries(tmp_path)
    prepared(tmp_path, "tabular")
    month_ago = time.time() - 31 * 86_400
    os.utime(old.path / "meta.json", (month_ago, month_ago))
    assert [entry.name for entry in clear(older_than=30, folder=tmp_path)] == [old.name]
    assert len(list_entries(tmp_path)) == 1


def test_use_makes_an_entry_young(tmp_path: Path) -> None:
    prepared(tmp_path)
    (entry,) = list_entries(tmp_path)
    os.utime(entry.path / "meta.json", (0, 0))
    prepared(tmp_path)
    assert list_entries(tmp_path)[0].days < 1


def test_what_is_being_prepared_stays(tmp_path: Path) -> None:
    prepared(tmp_path)
    (entry,) = list_entries(tmp_path)
    unfinished = entry.path.with_name(f".{entry.name}.123-abcd")
    unfinished.mkdir()
    with lock(tmp_path, entry.name):
        assert clear(folder=tmp_path) == []
        assert {each.summary for each in list_entries(tmp_path)} == {entry.summary, "unfinished"}
    assert len(clear(folder=tmp_path)) == 2


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps files that are open")
def test_a_run_keeps_its_rows_when_the_cache_is_emptied(tmp_path: Path) -> None:
    rows = prepared(tmp_path)
    clear(folder=tmp_path)
    assert rows.features["x"].gather(torch.tensor([0, 49]))["mask"].all()


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="The cache folder is a file"):
        list_entries(tmp_path / "file")
