"""A run folder belongs to one recipe and one process, and nothing in it is half-written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mmdistill.errors import InputError, MMDistillError
from mmdistill.files import read_json, write_json, write_text, written_aside
from mmdistill.recipe import Recipe
from mmdistill.run.folder import find_run, open_run

from .test_plan import recipe


def test_the_resolved_recipe_is_kept(tmp_path: Path) -> None:
    with open_run(recipe(), tmp_path) as folder:
        assert Recipe.load(folder.recipe) == recipe()
    assert find_run(tmp_path / "trial").path == tmp_path / "trial"


def test_the_same_recipe_resumes_and_another_is_refused(tmp_path: Path) -> None:
    with open_run(recipe(), tmp_path) as folder:
        write_text(folder.path / "teacher" / "kept.txt", "x")
    with open_run(recipe(), tmp_path) as folder:
        assert (folder.path / "teacher" / "kept.txt").exists()
    with pytest.raises(InputError, match="another recipe"), open_run(recipe(seeds=[5]), tmp_path):
        pass
    with open_run(recipe(seeds=[5]), tmp_path, overwrite=True) as folder:
        assert not (folder.path / "teacher").exists()
        assert Recipe.load(folder.recipe).seeds == [5]


def test_a_run_that_fails_before_it_trains_leaves_its_name_free(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such column"), open_run(recipe(), tmp_path) as folder:
        write_json(folder.path / "data.json", {})
        raise InputError("There is no such column")
    assert not (tmp_path / "trial").exists()
    with pytest.raises(RuntimeError), open_run(recipe(), tmp_path) as folder:
        write_text(folder.path / "teacher" / "seed-0" / "history.csv", "x")
        raise RuntimeError
    assert (tmp_path / "trial" / "teacher").exists()


def test_a_run_that_was_killed_before_it_trained_is_replaced_by_another_recipe(tmp_path: Path) -> None:
    with open_run(recipe(), tmp_path):
        pass
    with open_run(recipe(seeds=[5]), tmp_path) as folder:
        assert Recipe.load(folder.recipe).seeds == [5]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with open_run(recipe(), tmp_path), pytest.raises(InputError, match="Another process"), open_run(recipe(), tmp_path):
        pass


def test_a_folder_that_no_run_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not made by a run"), open_run(recipe(), tmp_path, overwrite=True):
        pass
    assert (tmp_path / "trial" / "thesis.tex").exists()


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        find_run(tmp_path)


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["results.json"]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [(errno.ENOSPC, MMDistillError, "disk is full"), (errno.EROFS, InputError, "cannot be written to")],
)
def test_disk_errors_are_one_sentence(tmp_path: Path, code: int, kind: type[MMDistillError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught, written_aside(tmp_path / "file"):
        raise OSError(code, os.strerror(code))
    assert caught.value.exit_status == (1 if code == errno.ENOSPC else 2)
    assert os.listdir(tmp_path) == []
