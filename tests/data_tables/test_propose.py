"""The first recipe that `mmdistill init` writes: it loads, says what was guessed, leaves out what is dangerous."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdistill.data.file_roots import find_root
from mmdistill.data.profile import profile_column
from mmdistill.data.propose import propose
from mmdistill.data.table import Table, read_table
from mmdistill.errors import InputError
from mmdistill.recipe import Recipe

RANDOM = np.random.default_rng(0)
WORDS = ("good", "bad", "fine", "poor", "warm", "cold", "soft", "hard", "long", "short", "dear", "cheap")


def sentences(rows: int) -> list[str]:
    return [" ".join(RANDOM.choice(WORDS, RANDOM.integers(5, 12))) + f" {row}" for row in range(rows)]


def recipe_of(text: str, folder: Path) -> Recipe:
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return Recipe.load(folder / "recipe.yaml")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a/1.png", "a/2.JPG"] * 20, "image"),
        ([{"bytes": b"\x89PNG\r\n", "path": None}], "image"),
        ([b"RIFF\0\0\0\0WAVEfmt "], "audio"),
        ([{"bytes": None, "path": "x.flac"}], "audio"),
        (["1.npz"] * 5, "vector"),
        ([np.zeros(4), np.ones(4)], "vector"),
        ([[[1, 2], [3, 4]], [[1, 2]]], "vector"),
        ([[1, 2], [1, 2, 3]], "other"),
        ([{"x": 1}], "other"),
        ([None, None], "empty"),
        (["same"] * 9, "constant"),
        (["train", "val", "test"] * 5, "split"),
        ([str(value) for value in RANDOM.random(50)], "number"),
        ([1, 2, 3, 2, 1] * 10, "number"),
        (["1.5"] * 30 + ["2.5"] * 30 + ["-inf"], "mixed"),
        ([f"user{row}" for row in range(60)], "identifier"),
        (list(range(60)), "identifier"),
        (["red", "green"] * 30, "category"),
        (["light blue", "dark red"] * 30, "category"),
        (sentences(60), "text"),
        ([True, False] * 5, "number"),
    ],
)
def test_kinds_of_columns(cells: list, kind: str) -> None:
    assert profile_column("x", cells, len(cells)).kind == kind


def test_whole_numbers_are_identifiers_by_name() -> None:
    numbers = [str(value) for value in RANDOM.integers(0, 30, 200)]
    assert profile_column("clothing_id", numbers, 200).kind == "identifier"
    assert profile_column("humidity", numbers, 200).kind == "number"


def mixed_table(rows: int = 200) -> dict[str, list]:
    label = RANDOM.choice(["up", "down"], rows).tolist()
    return {
        "row_id": list(range(rows)),
        "patient": [f"p{row % 20}" for row in range(rows)],
        "Review text": [None, *sentences(rows)[1:]],
        "age": RANDOM.integers(18, 90, rows).tolist(),
        "colour": RANDOM.choice(["red", "green", "no"], rows).tolist(),
        "leak": [f"{name}!" for name in label],
        "label": label,
        "notes": [None] * rows,
    }


def test_a_proposed_recipe_loads_and_explains_itself(tmp_path: Path) -> None:
    text = propose(Table.of(mixed_table()))
    recipe = recipe_of(text, tmp_path)
    assert recipe.data.target == "label"
    assert set(recipe.data.columns) == {"Review_text", "tabular"}
    assert recipe.data.columns["Review_text"].source == "Review text"
    assert recipe.data.columns["tabular"].settings().numeric == ("age",)
    assert recipe.data.columns["tabular"].settings().categorical == ("colour",)
    assert set(recipe.teachers["teacher"].encoders) == {"Review_text", "tabular"}
    assert recipe.teachers["teacher"].fusion is not None
    (student,) = recipe.students.values()
    assert list(student.encoders) == ["Review_text"]
    for words in (
        "label  # guessed from its name",
        "# left out: 'row_id' looks like an identifier",
        "# left out: 'leak' gives the target away",
        "# left out: 'notes' is empty",
        "# group: patient",
    ):
        assert words in text


def test_the_student_reads_the_cheapest_informative_column(tmp_path: Path) -> None:
    table = mixed_table()
    table["colour"] = ["red" if name == "up" or row % 4 == 0 else "green" for row, name in enumerate(table["label"])]
    text = propose(Table.of(table))
    (student,) = recipe_of(text, tmp_path).students.values()
    assert list(student.encoders) == ["tabular"]
    assert "cheapest to read, and 'colour' alone scores" in text


def test_a_split_column_is_used_and_a_broken_one_is_explained(tmp_path: Path) -> None:
    table = mixed_table() | {"fold": ["train"] * 150 + ["dev"] * 25 + ["test"] * 25}
    assert recipe_of(propose(Table.of(table)), tmp_path).data.split.column == "fold"
    table["fold"][3] = None
    text = propose(Table.of(table))
    assert recipe_of(text, tmp_path).data.split.column is None
    assert "# the column fold cannot be used" in text


def test_media_bytes_and_vectors(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pictures = []
    for _ in range(40):
        out = io.BytesIO()
        Image.fromarray(RANDOM.integers(0, 255, (12, 30), dtype=np.uint8)).save(out, "PNG")
        pictures.append({"bytes": out.getvalue(), "path": None})
    sequences = [RANDOM.random((1 + row % 3, 4)).tolist() for row in range(40)]
    columns = {"image": pictures, "words": sequences, "flat": RANDOM.random((40, 6)).tolist(), "y": [0, 1] * 20}
    pq.write_table(pa.table(columns), tmp_path / "my data.parquet")
    recipe = recipe_of(propose(read_table(tmp_path / "my data.parquet")), tmp_path)
    assert recipe.name == "my-data"
    assert {name: column.type for name, column in recipe.data.columns.items()} == {
        "image": "image",
        "words": "vector",
        "flat": "vector",
    }
    assert recipe.data.columns["image"].settings().height_and_width == (12, 30)
    assert recipe.teachers["teacher"].encoders["words"].name == "transformer"
    assert recipe.teachers["teacher"].encoders["flat"].name == "mlp"


def test_files_are_looked_for_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("deep/png/b.png", b"")
        archive.writestr("c.png", b"")
    assert find_root(tmp_path, ["pictures/a.png"]) == ""
    assert find_root(tmp_path, ["a.png"]) == "pictures"
    assert find_root(tmp_path, ["b.png"]) == "more.zip/deep/png"
    assert find_root(tmp_path, ["c.png"]) == "more.zip"
    assert find_root(tmp_path, ["c.png", "b.png"]) is None


def test_a_folder_of_classes_gives_a_recipe(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for row in range(10):
            Image.new("L", (40, 40), row * 20).save(tmp_path / "pets" / name / f"{row}.png")
    recipe = recipe_of(propose(read_table(tmp_path / "pets")), tmp_path)
    assert recipe.name == "pets"
    assert recipe.data.columns["path"].settings().height_and_width == (40, 40)


def test_paths_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    table = {"image": [f"{row}.png" for row in range(40)], "label": ["a", "b"] * 20}
    with pytest.raises(InputError, match="No column is left") as caught:
        propose(Table.of(table, root=tmp_path))
    assert "'image' names files that are neither beside the table" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("lable", "Did you mean 'label'"),
        ("notes", "has only one value"),
        ("Review text", "cannot be learned as classes"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(target: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        propose(Table.of(mixed_table()), target)


def test_a_table_without_a_likely_target_asks_for_one() -> None:
    with pytest.raises(InputError, match="Name it with --target: text"):
        propose(Table.of({"text": sentences(50)}))


def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    table = {
        "yes": sentences(60),
        "a: b # c": RANDOM.random(60).tolist(),
        "no\nway": ["x", "y"] * 30,
        "label": [1, 0] * 30,
    }
    recipe = recipe_of(propose(Table.of(table)), tmp_path)
    assert set(recipe.data.columns) == {"yes", "tabular"}
    extra = recipe.data.columns["tabular"].model_extra
    assert extra == {"numeric": ["a: b # c"]} or (extra is not None and extra["numeric"] == ["a: b # c"])


@pytest.mark.skipif("MMDISTILL_DATA" not in os.environ, reason="MMDISTILL_DATA is not set")
@pytest.mark.parametrize(
    ("name", "target", "columns"),
    [
        ("covid_xray/metadata.csv", "icu", {"file": "image", "tabular": "tabular"}),
        (
            "womens_clothing_reviews/reviews.csv.gz",
            "recommended",
            {"title": "text", "review_text": "text", "tabular": "tabular"},
        ),
        ("banking77/train.csv", None, {"text": "text"}),
        ("nlvr_subset/pairs.csv", None, {"file": "image", "sentence": "text", "tabular": "tabular"}),
        ("mr_polarity/sentences.csv", None, {"text": "text"}),
        ("fsdd/index.csv", None, {"file": "audio", "tabular": "tabular"}),
        (
            "goodbooks_books/books.csv.gz",
            "language_code",
            {"original_title": "text", "title": "text", "tabular": "tabular"},
        ),
    ],
)
def test_real_tables_give_recipes_that_load(name: str, target: str | None, columns: dict, tmp_path: Path) -> None:
    text = propose(read_table(Path(os.environ["MMDISTILL_DATA"]) / name), target)
    recipe = recipe_of(text, tmp_path)
    assert {key: column.type for key, column in recipe.data.columns.items()} == columns
    if name.startswith("covid"):
        assert "# left out: 'icu_admission_offset' gives the target away" in text
        assert "# group: patient_id" in text
        assert "'crp_val' holds numbers, but also '-inf'" in text


def test_paths_into_a_zip_file_beside_the_table_and_a_reserved_name(tmp_path: Path) -> None:
    lines = ["logits,label"]
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for number in range(40):
            picture = io.BytesIO()
            Image.new("L", (8, 8), number).save(picture, "PNG")
            archive.writestr(f"in here/{number}.png", picture.getvalue())
            lines.append(f"pictures.zip/in here/{number}.png,{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    text = propose(read_table(tmp_path / "t.csv"))
    assert "logits_column: {type: image, source: logits, size: 8}" in text
