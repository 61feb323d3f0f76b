"""The embedded sample: what its documentation promises, read from the file that ships."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image
from sklearn.datasets import load_digits

from mmdistill import catalog
from mmdistill.data.samples.catalog import demo_recipe, digits
from mmdistill.data.table import read_table
from mmdistill.recipe import Recipe

SCRIPT = Path(__file__).parents[2] / "tools/make_digits.py"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pq.read_table(digits())


@pytest.fixture(scope="module")
def rows(table: pa.Table) -> list[dict]:
    return table.to_pylist()


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return load_digits().target


def part(rows: list[dict], split: str, labelled: bool = True) -> list[dict]:
    return [row for row in rows if row["split"] == split and (row["digit"] is not None) == labelled]


def test_is_found_by_its_bare_name():
    table = read_table("digits")
    assert len(table) == 1797
    assert table.columns == ["image", "sound", "note", "digit", "voice", "split"]
    assert catalog.get("sample", "digits").load()() == digits()


def test_is_small_enough_to_ship():
    assert digits().stat().st_size <= 8_000_000


def test_holds_every_handwritten_digit_of_scikit_learn_once_and_unchanged(rows):
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(np.round(pixels * (16 / 255)), load_digits().images)


def test_labels_are_those_of_the_images(rows, truth):
    assert all(row["digit"] in (None, digit) for row, digit in zip(rows, truth.tolist(), strict=True))


def test_only_training_rows_are_unlabelled(rows):
    assert len(part(rows, "train")) == 300
    assert len(part(rows, "train", labelled=False)) == 1047
    assert len(part(rows, "validation")) == 130
    assert len(part(rows, "test")) == 320


def test_each_digit_is_equally_frequent_in_every_part(rows, truth):
    labelled = np.array([row["digit"] is not None for row in rows])
    split = np.array([row["split"] for row in rows])
    for name, wanted in (("train", True), ("train", False), ("validation", True), ("test", True)):
        counts = np.bincount(truth[(split == name) & (labelled == wanted)], minlength=10)
        assert counts.min() >= 0.8 * counts.mean()
        assert counts.max() <= 1.2 * counts.mean()


def test_no_speaker_is_heard_in_two_splits(rows):
    speakers = {
        split: {row["voice"].partition("+")[2] for row in rows if row["split"] == split}
        for split in ("train", "validation", "test")
    }
    assert all(len(names) >= 8 for names in speakers.values())
    assert not speakers["train"] & speakers["validation"]
    assert not speakers["train"] & speakers["test"]
    assert not speakers["validation"] & speakers["test"]


def test_sounds_are_short_mono_recordings_that_are_neither_silent_nor_clipped(rows):
    for row in rows:
        with soundfile.SoundFile(io.BytesIO(row["sound"]["bytes"])) as file:
            assert (file.samplerate, file.channels, file.format) == (8000, 1, "FLAC")
            samples = file.read()
        assert 0.1 < len(samples) / 8000 < 1.2
        assert 0.2 < np.abs(samples).max() < 0.95


def test_a_note_helps_and_does_not_suffice(rows, truth):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    notes = np.array([row["note"] for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    reader = make_pipeline(TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4)), LogisticRegression(max_iter=500))
    reader.fit(notes[train], truth[train])
    assert 0.3 < reader.score(notes[~train], truth[~train]) < 0.6
    assert 0.15 < np.mean(notes == "") < 0.3


def test_hugging_face_datasets_would_know_the_columns(table):
    annotation = table.schema.metadata[b"huggingface"].decode()
    assert '"image": {"_type": "Image"}' in annotation
    assert '"sound": {"_type": "Audio", "sampling_rate": 8000}' in annotation


def test_the_demo_teaches_a_listener_from_a_teacher_that_also_sees_and_reads():
    recipe = Recipe.load(demo_recipe())
    assert set(recipe.teachers["teacher"].encoders) == {"image", "sound", "note"}
    assert [set(student.encoders) for student in recipe.students.values()] == [{"sound"}]
    assert recipe.seeds == [0, 1, 2, 3, 4]
    assert recipe.data.table == "digits"


def load_script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_digits", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def has_the_same_espeak() -> bool:
    program = shutil.which("espeak-ng")
    return bool(program) and " 1.51 " in subprocess.run([program, "--version"], capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(not has_the_same_espeak(), reason="needs espeak-ng 1.51, the version that spoke the sample")
@pytest.mark.slow
def test_the_script_makes_the_same_table_again(table):
    made = load_script().make_table()
    for name in ("note", "digit", "voice", "split"):
        assert made[name].equals(table[name]), name
    for ours, theirs in zip(made["sound"].to_pylist(), table["sound"].to_pylist(), strict=True):
        ours, theirs = (soundfile.read(io.BytesIO(each["bytes"]))[0] for each in (ours, theirs))
        # Another build of NumPy's FFT or of soxr may round the last of the eight bits differently.
        np.testing.assert_allclose(ours, theirs, atol=1.01 / 128)


def test_the_script_says_what_is_missing_without_espeak(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt-get install espeak-ng"):
        load_script().speaker()
