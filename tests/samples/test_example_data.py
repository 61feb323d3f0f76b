"""The examples: their shared preparation, their recipes, and their tables where the source data are there."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from mmdistill.errors import InputError, MMDistillError
from mmdistill.recipe import Recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*/prepare.py"))
RECIPES = sorted(EXAMPLES.glob("*/recipe*.yaml"))


def load(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"examples_{path.parent.name}_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


example_data = load(EXAMPLES / "example_data.py")


def source(name: str) -> Path:
    folder = Path(os.environ.get("MMDISTILL_DATA", "")) / name
    if "MMDISTILL_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"MMDISTILL_DATA does not name a folder that holds {name}")
    return folder.parent


def idx(values: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(header + values.tobytes())


class TestSourceData:
    @given(arrays(np.uint8, array_shapes(max_dims=3, max_side=5)))
    def test_an_idx_file_gives_its_array_back(self, tmp_path_factory, values):
        path = tmp_path_factory.mktemp("idx") / "values.gz"
        path.write_bytes(idx(values))
        np.testing.assert_array_equal(example_data.read_idx(path), values)

    @given(st.integers(0, 40))
    def test_a_shorter_idx_file_is_refused(self, tmp_path_factory, kept):
        whole = gzip.decompress(idx(np.ones((4, 6), np.uint8)))
        path = tmp_path_factory.mktemp("idx") / "values.gz"
        path.write_bytes(gzip.compress(whole[: min(kept, len(whole) - 1)]))
        with pytest.raises(InputError, match=r"values\.gz: This is not an IDX file of bytes, or it is cut short"):
            example_data.read_idx(path)

    @pytest.mark.parametrize("content", [b"plain text", gzip.compress(b"x" * 1000)[:40], b""])
    def test_what_is_not_gzip_is_refused(self, tmp_path, content):
        (tmp_path / "values.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"values\.gz"):
            example_data.read_idx(tmp_path / "values.gz")

    def test_a_missing_variable_is_named_with_the_files_it_should_lead_to(self, monkeypatch):
        monkeypatch.delenv("MMDISTILL_DATA", raising=False)
        with pytest.raises(InputError, match=r"MMDISTILL_DATA is not set.*that holds one/a, two/b"):
            example_data.find_source(["one/a", "two/b"])

    def test_only_the_missing_files_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MMDISTILL_DATA", str(tmp_path))
        (tmp_path / "kept.csv").touch()
        with pytest.raises(InputError, match="There is no gone, no lost") as error:
            example_data.find_source(["kept.csv", "gone", "lost"])
        assert "kept.csv" not in error.value.what


class TestPreparing:
    @pytest.fixture
    def script(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setenv("MMDISTILL_DATA", str(tmp_path))
        path = tmp_path / "prepare.py"
        path.write_text("# first version")
        return path

    def test_writes_once_and_again_only_when_the_script_changes(self, script, tmp_path):
        target, calls = tmp_path / "data/table.parquet", []

        def make(folder: Path) -> pa.Table:
            calls.append(folder)
            return pa.table({"number": [1, 2]})

        assert [example_data.prepare(script, target, make, []) for _ in range(2)] == [0, 0]
        assert calls == [tmp_path]
        assert pq.read_table(target)["number"].to_pylist() == [1, 2]
        script.write_text("# second version")
        example_data.prepare(script, target, make, [])
        assert len(calls) == 2

    def test_a_table_that_is_there_needs_no_source(self, script, tmp_path, monkeypatch):
        target = tmp_path / "data/table.parquet"
        example_data.prepare(script, target, lambda _: pa.table({"number": [1]}), [])
        monkeypatch.delenv("MMDISTILL_DATA")
        assert example_data.prepare(script, target, lambda _: pytest.fail("made again"), ["gone"]) == 0

    def test_a_broken_table_is_made_again(self, script, tmp_path):
        target = tmp_path / "table.parquet"
        target.write_bytes(b"PAR1 and no more")
        example_data.prepare(script, target, lambda _: pa.table({"number": [1]}), [])
        assert pq.read_table(target).num_rows == 1

    def test_what_cannot_be_made_leaves_nothing_behind(self, script, tmp_path, capsys):
        def make(folder: Path) -> pa.Table:
            raise InputError("The index is cut short", where=str(folder))

        assert example_data.prepare(script, tmp_path / "data/table.parquet", make, []) == 2
        assert "The index is cut short" in capsys.readouterr().err
        assert not (tmp_path / "data").exists()

    def test_a_failing_disk_leaves_the_earlier_table(self, tmp_path, monkeypatch):
        target = tmp_path / "table.parquet"
        example_data.write_table(pa.table({"number": [1]}), target, b"first")

        def full(*arguments, **keywords):
            Path(arguments[1]).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(example_data.pq, "write_table", full)
        with pytest.raises(MMDistillError, match="No space left on device"):
            example_data.write_table(pa.table({"number": [2]}), target, b"second")
        assert pq.read_table(target)["number"].to_pylist() == [1]
        assert list(tmp_path.iterdir()) == [target]

    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
    def test_every_script_says_what_it_needs(self, script, tmp_path):
        for each in SCRIPTS:  # one may use another's
            (tmp_path / each.parent.name).mkdir()
            (tmp_path / each.parent.name / "prepare.py").write_bytes(each.read_bytes())
        copy = tmp_path / script.parent.name / "prepare.py"
        (tmp_path / "example_data.py").write_bytes((EXAMPLES / "example_data.py").read_bytes())
        environment = {name: value for name, value in os.environ.items() if name != "MMDISTILL_DATA"}
        done = subprocess.run([sys.executable, str(copy)], capture_output=True, text=True, env=environment)
        assert done.returncode == 2
        assert "MMDISTILL_DATA is not set" in done.stderr
        assert "Traceback" not in done.stderr


class TestRecipes:
    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
    def test_is_valid_reads_its_own_table_and_is_named_after_its_folder(self, path):
        recipe = Recipe.load(path)
        variant = path.name.removeprefix("recipe").removesuffix("yaml").strip(".")
        assert recipe.name == "-".join(filter(None, [path.parent.name, variant]))
        own = "av_digits" if path.parent.name == "av_digits_losses" else path.parent.name
        assert recipe.data.table.startswith(f"examples/{own}/data/")
        assert len(recipe.seeds) >= 3 or not recipe.students, "a gain is told over several seeds"

    def test_the_article_trains_the_textbook_networks(self):
        for path in EXAMPLES.glob("article/recipe*.yaml"):
            recipe = Recipe.load(path)
            assert recipe.teachers["teacher"].encoders["image"].model_extra["hidden"] == [512, 256]
            assert [one.encoders["image"].model_extra["hidden"] for one in recipe.students.values()] == [[256]]
            assert recipe.train.batch_size == 64

    def test_no_student_of_the_reviews_reads_what_the_other_reads(self):
        students = Recipe.load(EXAMPLES / "reviews/recipe.yaml").students
        assert set(students["text"].encoders) == {"title", "review"}
        assert set(students["facts"].encoders) == {"facts"}


class TestTables:
    def test_av_digits_pairs_image_and_sound_of_the_same_digit(self):
        data = source("fsdd")
        rows = load(EXAMPLES / "av_digits/prepare.py").make_pairs(data).to_pylist()
        counts = Counter((row["split"], row["digit"] is not None) for row in rows)
        assert counts == {("train", True): 300, ("train", False): 4000, ("validation", True): 500, ("test", True): 300}

        digits = {
            part: example_data.read_idx(data / f"mnist/{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")
        }
        splits: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
        for row in rows:
            _, part, name = row["image"]["path"].split("/")
            image_digit = int(digits[part][int(name.removesuffix(".png"))])
            sound_digit, _, take = row["sound"]["path"].removeprefix("fsdd/").removesuffix(".wav").split("_")
            assert image_digit == int(sound_digit)
            assert row["digit"] in (None, image_digit)
            assert (part == "t10k") == (int(take) < 5) == (row["split"] == "test")
            splits[row["split"]].add(row["sound"]["path"])
        assert len({row["image"]["path"] for row in rows}) == len(rows)
        assert not splits["train"] & splits["validation"]
        assert Image.open(io.BytesIO(rows[0]["image"]["bytes"])).size == (28, 28)
        assert soundfile.info(io.BytesIO(rows[0]["sound"]["bytes"])).samplerate == 8000

    def test_av_digits_are_paired_the_same_way_every_time(self):
        make = load(EXAMPLES / "av_digits/prepare.py").make_pairs
        assert make(source("fsdd")).equals(make(source("fsdd")))

    def test_article_keeps_the_official_test_images_and_balances_validation(self):
        data = source("mnist")
        table = load(EXAMPLES / "article/prepare.py").make_table(data)
        split = np.array(table["split"].to_pylist())
        digit = np.array(table["digit"].to_pylist())
        assert Counter(split.tolist()) == {"train": 55_000, "validation": 5_000, "test": 10_000}
        assert np.bincount(digit[split == "validation"]).tolist() == [500] * 10
        images = example_data.read_idx(data / "mnist/t10k-images-idx3-ubyte.gz")
        for row in (0, 9_999):
            png = table["image"][60_000 + row].as_py()
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), images[row])

    def test_timm_mobilenet_takes_every_digit_as_often_and_keeps_the_parts_apart(self):
        rows = load(EXAMPLES / "timm_mobilenet/prepare.py").make_table(source("mnist")).to_pylist()
        counts = Counter((row["split"], row["digit"] is not None) for row in rows)
        assert counts == {
            ("train", True): 500,
            ("train", False): 2000,
            ("validation", True): 1000,
            ("test", True): 2000,
        }
        assert len({row["image"]["path"] for row in rows}) == len(rows)
        assert all(row["image"]["path"].startswith("mnist/t10k") == (row["split"] == "test") for row in rows)
        assert set(Counter(row["digit"] for row in rows if row["split"] == "test").values()) == {200}

    def test_bert_bilstm_keeps_the_official_test_questions_and_every_intent_in_every_part(self):
        rows = load(EXAMPLES / "bert_bilstm/prepare.py").make_table(source("banking77")).to_pylist()
        assert Counter(row["split"] for row in rows)["test"] == 3080
        assert len(rows) == 13_083
        for split in ("train", "validation", "test"):
            assert len({row["intent"] for row in rows if row["split"] == split} - {None}) == 77

    def test_reviews_have_no_column_that_states_the_answer_and_no_text_twice_across_splits(self):
        rows = load(EXAMPLES / "reviews/prepare.py").make_table(source("womens_clothing_reviews")).to_pylist()
        assert not {"rating", "positive_feedback_count"} & set(rows[0])
        assert Counter(row["recommended"] for row in rows).keys() == {"yes", "no"}
        assert sum(row["title"] is None for row in rows) > 3_500
        assert sum(row["review_text"] is None for row in rows) == 845
        texts = {split: {row["review_text"] for row in rows if row["split"] == split} - {None}
                 for split in ("train", "validation", "test")}  # fmt: skip
        assert not texts["train"] & texts["validation"]
        assert not (texts["train"] | texts["validation"]) & texts["test"]
        assert len(rows) > 23_400
