"""The examples of several columns: their tables, on made-up and on real sources, and what their recipes compare."""

from __future__ import annotations

import importlib.util
import math
import os
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mmdistill.recipe import Recipe

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"prepare_{name}", EXAMPLES / name / "prepare.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def source(name: str) -> Path:
    folder = Path(os.environ.get("MMDISTILL_DATA", ""))
    if "MMDISTILL_DATA" not in os.environ or not (folder / name).is_dir():
        pytest.skip(f"MMDISTILL_DATA does not name a folder that holds {name}")
    return folder


def by_split(rows: list[dict[str, Any]], column: str) -> dict[str, set[Any]]:
    return {split: {row[column] for row in rows if row["split"] == split} for split in {row["split"] for row in rows}}


def disjoint(sets: dict[str, set[Any]]) -> bool:
    return len(set().union(*sets.values())) == sum(len(one) for one in sets.values())


class TestMosi:
    def test_an_utterance_comes_last_after_those_of_its_own_video(self) -> None:
        module = script("mosi")
        utterances = [{"video_id": video} for video in ["a"] * 12 + ["b"] * 2]
        runs = [rows.tolist() for rows in module.preceding(utterances)]
        assert [runs[0], runs[2]] == [[0], [0, 1, 2]]
        assert runs[11] == list(range(2, 12))  # no more than ten
        assert runs[13] == [12, 13]

    def test_validation_videos_come_from_the_clean_part_and_no_video_is_on_two_sides(self) -> None:
        rows = script("mosi").make_table(source("cmu_mosi")).to_pylist()
        assert Counter(row["split"] for row in rows) == {"train": 1447, "validation": 255, "test": 497}
        videos = by_split(rows, "video_id")
        assert disjoint(videos)
        assert {split: len(names) for split, names in videos.items()} == {"train": 62, "validation": 10, "test": 21}
        for row in rows:
            lengths = {len(row[f"{column}_so_far"]) for column in ("audio", "text", "video")}
            assert len(lengths) == 1
            assert 1 <= lengths.pop() <= 10
            assert row["text_so_far"][-1] == row["text"]

    def test_one_of_two_equal_students_learns_with_columns_hidden(self) -> None:
        students = Recipe.load(EXAMPLES / "mosi/recipe.dropout.yaml").students
        robust, plain = students["robust"], students["plain"]
        assert robust.modality_dropout is not None
        assert plain.modality_dropout is None
        assert robust.model_copy(update={"modality_dropout": None}) == plain


class TestAvDigits:
    def test_one_of_two_equal_students_learns_with_columns_hidden(self) -> None:
        students = Recipe.load(EXAMPLES / "av_digits/recipe.dropout.yaml").students
        robust, plain = students["robust"], students["plain"]
        assert robust.modality_dropout is not None
        assert plain.modality_dropout is None
        assert robust.model_copy(update={"modality_dropout": None}) == plain


class TestNlvr:
    def test_an_object_is_its_box_shape_colour_and_place(self) -> None:
        module = script("nlvr")
        things = module.numbers([[["circle", "Black", 20, 80, 0]], [], [["square", "Yellow", 10, 5, 90]]])
        assert things[0] == [1, 0, 0, 0, 1, 0, 0, 1, 0, 0.2, 0.8, 0.0, 1.0, 0.2]
        assert things[1][:9] == [0, 0, 1, 1, 0, 0, 1, 0, 0]

    def test_counts_are_those_of_the_fullest_and_the_emptiest_box(self) -> None:
        module = script("nlvr")
        boxes = [
            [["square", "Black", 20, 40, 80], ["square", "Yellow", 20, 40, 59]],
            [["circle", "Black", 10, 50, 50]],
            [],
        ]
        found = np.array(module.counts(module.numbers(boxes))).reshape(5, -1)
        least, middle, most, every, boxes_with = found
        everything, shapes, colours = slice(0, 1), slice(1, 4), slice(4, 7)
        assert [row[everything].item() for row in found] == [0, 1, 2, 3, 2]
        assert every[shapes].tolist() == [2, 1, 0]
        assert every[colours].tolist() == [1, 2, 0]
        assert (least <= middle).all()
        assert (middle <= most).all()
        at_edge = found[:, 19:38]
        assert at_edge[3, 0] == 1  # the black square stands on the floor
        top, bottom = every[-6:-3], every[-3:]
        assert (top.tolist(), bottom.tolist()) == ([1, 1, 0], [0, 2, 0])
        assert boxes_with[colours].tolist() == [1, 2, 0]

    def test_the_box_order_does_not_change_the_counts(self) -> None:
        module = script("nlvr")
        boxes = [[["square", "Black", 20, 40, 80]], [["circle", "Yellow", 10, 3, 90]] * 2, []]
        assert module.counts(module.numbers(boxes)) == module.counts(module.numbers(boxes[::-1]))

    def test_a_picture_stays_in_the_last_split_that_holds_it(self) -> None:
        splits = script("nlvr").without_known_pictures(
            ["train", "test", "train", "validation", "validation"], ["a", "a", "b", "b", "c"]
        )
        assert splits == ["", "test", "", "validation", "validation"]

    def test_no_picture_is_in_two_splits_and_no_sentence_both_teaches_and_chooses(self) -> None:
        rows = script("nlvr").make_table(source("nlvr_subset")).to_pylist()
        pictures = [{**row, "pixels": row["picture"]["bytes"]} for row in rows]
        assert disjoint(by_split(pictures, "pixels"))
        sentences = by_split(rows, "sentence")
        assert not sentences["train"] & sentences["validation"]
        assert Counter(row["split"] for row in rows)["test"] == 990
        assert Counter(row["answer"] for row in rows).keys() == {"true", "false"}

    def test_only_the_teacher_is_told_what_the_picture_shows(self) -> None:
        recipe = Recipe.load(EXAMPLES / "nlvr/recipe.yaml")
        assert set(recipe.teachers["teacher"].encoders) == {"sentence", "counts"}
        assert set(recipe.students["student"].encoders) == {"picture", "sentence"}


class TestCovidXray:
    @pytest.mark.parametrize(("cell", "value"), [("3.5", 3.5), ("", None), ("inf", None), ("-inf", None), ("0.0", 0.0)])
    def test_a_value_beyond_the_scale_of_its_test_is_missing(self, cell: str, value: float | None) -> None:
        assert script("covid_xray").measured(cell) == value

    def test_nothing_that_states_the_answer_is_left_and_no_patient_is_on_two_sides(self) -> None:
        rows = script("covid_xray").make_table(source("covid_xray")).to_pylist()
        assert len(rows) == 243
        tests = {"crp", "d_dimer", "factor_xii", "ldh", "lymphocytes", "neutrophils", "pco2", "po2"}
        assert set(rows[0]) == {"xray", "patient", "intensive_care", "split", *tests}
        assert disjoint(by_split(rows, "patient"))
        values = [row[name] for row in rows for name in tests if row[name] is not None]
        assert all(math.isfinite(value) for value in values)
        assert sum(all(row[name] is None for name in tests) for row in rows) >= 63  # no laboratory values at all

    def test_the_threshold_is_chosen_and_whole_patients_are_drawn(self) -> None:
        recipe = Recipe.load(EXAMPLES / "covid_xray/recipe.yaml")
        options = recipe.tasks[next(iter(recipe.tasks))].options()
        assert options.operating_point.sensitivity == 0.9
        assert options.positive == "yes"
        assert options.primary == "auroc"
        assert recipe.data.split.group == "patient"
