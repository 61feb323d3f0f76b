"""What goes wrong while rows are prepared leaves nothing half-written and says what to do."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmdistill.data import extraction, feature_files
from mmdistill.data.features import features_for
from mmdistill.data.modalities.image import ImageModality
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import Table
from mmdistill.errors import MMDistillError
from mmdistill.recipe.schema import ColumnSpec
from tests.data_rows.making import grey_png

COLUMNS = {"image": ColumnSpec.model_validate({"type": "image", "size": 8}), "note": ColumnSpec.model_validate("text")}
ROWS = 200


def table() -> Table:
    return Table.of(
        {"image": [grey_png(row) for row in range(ROWS)], "note": [f"word {row % 3}" for row in range(ROWS)]}
    )


def prepared(cache: Path) -> PreparedRows:
    return prepare(table(), features_for(COLUMNS), np.arange(ROWS), cache)


def left_behind(cache: Path) -> list[str]:
    """What is in the cache but locks and whole entries."""
    features = cache / "features"
    if not features.exists():
        return []
    return [path.name for path in features.iterdir() if path.name.startswith(".") or not (path / "meta.json").is_file()]


def check_content(rows: PreparedRows) -> None:
    values = rows.features["image"].gather(torch.arange(ROWS))["values"]
    assert values[:, 0, 0, 0].tolist() == list(range(ROWS))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, values: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(feature_files._RawFile, "write", full)
        with pytest.raises(
            MMDistillError, match=r"the disk is full \(No space left on device.*mmdistill cache.*MMDISTILL_CACHE"
        ) as caught:
            prepared(tmp_path)
    assert caught.value.exit_status == 1
    assert left_behind(tmp_path) == []
    check_content(prepared(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
def test_a_write_that_the_system_refuses_is_an_error_and_not_a_signal(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.data_rows.test_store_failures import prepared, left_behind\n"
        "from mmdistill.errors import MMDistillError\n"
        "cache = Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    prepared(cache)\n"
        "except MMDistillError as error:\n"
        "    print(error.exit_status, left_behind(cache), error)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("1 [] ")
    assert "File too large" in done.stdout


@pytest.mark.parametrize("inside", ["a file", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, inside: str) -> None:
    (tmp_path / "a file").write_text("")
    if inside.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("the system has no /proc")
    with pytest.raises(MMDistillError, match="MMDISTILL_CACHE") as caught:
        prepared(tmp_path / inside / "cache")
    assert caught.value.exit_status == 1


def test_a_whole_entry_of_a_read_only_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(tmp_path)

    def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    check_content(prepared(tmp_path))


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(table(), features_for(COLUMNS), np.arange(ROWS), tmp_path, progress=interrupted)
    assert left_behind(tmp_path) == []
    check_content(prepared(tmp_path))


def test_a_failure_of_a_decoder_names_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ImageModality.extract

    def broken(self: ImageModality, cells: Any, state: Any) -> Any:
        if cells["image"] == grey_png(120):
            raise ZeroDivisionError("a bug of the decoder")
        return whole(self, cells, state)

    monkeypatch.setattr(ImageModality, "extract", broken)
    with pytest.raises(MMDistillError, match=r"row 120, column 'image': .*ZeroDivisionError: a bug of the decoder"):
        prepared(tmp_path)
    assert left_behind(tmp_path) == []


def test_arrays_that_a_modality_did_not_announce_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageModality, "extract", lambda self, cells, state: {"values": np.zeros((1, 8, 8))})
    with pytest.raises(MMDistillError, match=r"extract gave values of shape .* and type float64"):
        prepared(tmp_path)


def entry_of(cache: Path, kind: str) -> Path:
    for path in (cache / "features").iterdir():
        if json.loads((path / "meta.json").read_text())["content"]["info"]["type"] == kind:
            return path
    raise AssertionError(kind)


def cut(path: Path) -> None:
    (path / "values.bin").write_bytes((path / "values.bin").read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray((path / "values.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "values.bin").write_bytes(content)


def edit(path: Path) -> None:
    text = (path / "meta.json").read_text()
    (path / "meta.json").write_text(text.replace('"rows": 200', '"rows": 199'))


def empty(path: Path) -> None:
    (path / "meta.json").write_text("")


def lose(path: Path) -> None:
    (path / "present.bin").unlink()


@pytest.mark.parametrize("damage", [cut, flip, edit, empty, lose])
def test_a_damaged_entry_is_prepared_anew_with_a_note(tmp_path: Path, damage: Any) -> None:
    assert prepared(tmp_path).notes == []
    damage(entry_of(tmp_path, "image"))
    again = prepared(tmp_path)
    assert len(again.notes) == 1
    assert "image of the column 'image' was damaged" in again.notes[0]
    check_content(again)
    assert prepared(tmp_path).notes == []


def _prepare_in_child(cache: Path, start: Any, answers: Any) -> None:
    torch.set_num_threads(1)
    start.wait()
    rows = prepared(cache)
    answers.put(int(rows.features["image"].gather(torch.arange(ROWS))["values"].sum()))


def test_processes_that_want_the_same_do_not_clash(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(3), context.SimpleQueue()
    children = [context.Process(target=_prepare_in_child, args=(tmp_path, start, answers)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert {answers.get() for _ in children} == {sum(range(ROWS)) * 64}
    assert left_behind(tmp_path) == []


def test_threads_that_want_the_same_prepare_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    whole = extraction._extract_feature
    monkeypatch.setattr(extraction, "_extract_feature", lambda *a: counted.append(len(a[3])) or whole(*a))
    threads = [threading.Thread(target=prepared, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 2 * ROWS
    check_content(prepared(tmp_path))


def test_whoever_renames_second_keeps_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system has no locks, two may prepare the same at once."""
    whole = feature_files.FeatureWriter.finish
    nested = False

    def finish_after_another(self: feature_files.FeatureWriter) -> None:
        nonlocal nested
        if not nested:
            nested = True
            monkeypatch.setattr("mmdistill.data.store._locks", lambda *a: __import__("contextlib").nullcontext())
            prepared(tmp_path)
        whole(self)

    monkeypatch.setattr("mmdistill.data.store.remove_partial", lambda *a: None)
    monkeypatch.setattr(feature_files.FeatureWriter, "finish", finish_after_another)
    check_content(prepared(tmp_path))
    assert nested
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no kill -9")
def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from tests.data_rows.test_store_failures import COLUMNS, ROWS, table\n"
        "from mmdistill.data.features import features_for\n"
        "from mmdistill.data.store import prepare\n"
        "kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL)\n"
        "prepare(table(), features_for(COLUMNS), np.arange(ROWS), Path(sys.argv[1]), progress=kill)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(left_behind(tmp_path)) == 2
    start = time.monotonic()
    check_content(prepared(tmp_path))
    assert time.monotonic() - start < 30  # no lock is left either
    assert left_behind(tmp_path) == []
