"""Rows are prepared once, kept under a fingerprint of what made them, and gathered without a loop."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

from mmdistill.data import extraction
from mmdistill.data.features import Feature, extractor, features_for, learnt_feature
from mmdistill.data.modalities.reader import CellReader
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import Table
from mmdistill.errors import InputError
from mmdistill.recipe.schema import ColumnSpec
from tests.data_rows.making import grey_png, png, sine

ROWS = 300


def columns(**specs: dict[str, Any]) -> dict[str, ColumnSpec]:
    return {name: ColumnSpec.model_validate(spec) for name, spec in specs.items()}


IMAGE = {"type": "image", "size": 8}
EVERYTHING = columns(
    image=IMAGE,
    sound={"type": "audio", "sample_rate": 8_000, "mel_bins": 16},
    note={"type": "text"},
    facts={"type": "tabular", "numeric": ["age"], "categorical": ["sex"]},
    features={"type": "vector"},
    frames={"type": "vector"},
)


def cells(rows: int = ROWS) -> dict[str, list[Any]]:
    return {
        "image": [grey_png(row % 256) if row % 7 else None for row in range(rows)],
        "sound": [sine(0.03 + 0.001 * (row % 50), 8_000) if row % 5 else None for row in range(rows)],
        "note": [" ".join(["word"] * (row % 6)) or None for row in range(rows)],
        "age": [str(row) if row % 3 else None for row in range(rows)],
        "sex": ["fm"[row % 2] if row % 3 else None for row in range(rows)],
        "features": [[float(row), 1.0] for row in range(rows)],
        "frames": [[[float(row)]] * (1 + row % 4) for row in range(rows)],
    }


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.of(cells())


TRAIN = np.arange(0, ROWS, 2)


@pytest.fixture(scope="module")
def prepared(table: Table, tmp_path_factory: pytest.TempPathFactory) -> PreparedRows:
    return prepare(table, features_for(EVERYTHING), TRAIN, tmp_path_factory.mktemp("cache"))


def gathered(prepared: PreparedRows, name: str, *rows: int) -> dict[str, torch.Tensor]:
    return prepared.features[name].gather(torch.tensor(rows, dtype=torch.int64))


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_what_is_gathered_is_what_a_predictor_extracts(prepared: PreparedRows, table: Table, name: str) -> None:
    rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))[:64]
    batch = prepared.features[name].gather(rows)
    info = prepared.features[name].info
    extract = extractor(info, CellReader(table.root))
    for position, row in enumerate(rows.tolist()):
        arrays = extract(next(iter(table.cells(info.sources, [row])))[1])
        assert (arrays is not None) == bool(prepared.present[name][row])
        for array, spec in info.arrays.items():
            found = batch[array][position].numpy()
            if arrays is None:
                assert not found.any()
            elif spec.sequence:
                length = len(arrays[array])
                np.testing.assert_array_equal(found[:length], arrays[array])
                assert not found[length:].any()
                np.testing.assert_array_equal(batch["mask"][position].numpy(), np.arange(len(found)) < length)
            else:
                np.testing.assert_array_equal(found, arrays[array])
            assert found.dtype == spec.dtype


def test_presence_is_per_column(prepared: PreparedRows) -> None:
    assert prepared.rows == ROWS
    assert set(prepared.present) == set(EVERYTHING)
    for column, every in {"image": 7, "sound": 5, "note": 6, "facts": 3}.items():
        expected = torch.arange(ROWS) % every != 0
        assert torch.equal(prepared.present[column], expected)
    assert prepared.usable.tolist() == list(range(ROWS))
    assert prepared.skipped == []


def test_sequences_are_padded_to_the_longest_of_the_batch(prepared: PreparedRows) -> None:
    assert gathered(prepared, "frames", 0, 1)["values"].shape == (2, 2, 1)
    assert gathered(prepared, "frames", 3, 0, 1)["values"].shape == (3, 4, 1)
    assert gathered(prepared, "frames", 3, 0)["mask"].tolist() == [[True] * 4, [True, False, False, False]]


def test_a_batch_of_absent_sequences_has_one_masked_element(prepared: PreparedRows) -> None:
    batch = gathered(prepared, "note", 0, 6)
    assert batch["values"].tolist() == [[0], [0]]
    assert batch["mask"].tolist() == [[False], [False]]


def test_rows_may_repeat_and_may_be_none_at_all(prepared: PreparedRows) -> None:
    assert gathered(prepared, "features", 5, 5)["values"].tolist() == [[5.0, 1.0], [5.0, 1.0]]
    for name in EVERYTHING:
        for values in gathered(prepared, name).values():
            assert len(values) == 0


def test_a_row_that_is_not_there_is_an_error(prepared: PreparedRows) -> None:
    for name in EVERYTHING:
        with pytest.raises((IndexError, RuntimeError)):
            gathered(prepared, name, ROWS)


def test_writing_into_a_batch_or_a_map_does_not_change_the_store(prepared: PreparedRows, table: Table) -> None:
    before = gathered(prepared, "features", 3)["values"]
    gathered(prepared, "features", 3)["values"].fill_(-1)
    assert torch.equal(gathered(prepared, "features", 3)["values"], before)


class Counting:
    """Counts the rows that are extracted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        whole = extraction._extract_feature

        def counted(table: Table, job: extraction.Job, first: int, rows: Any) -> extraction.Block:
            self.names += [job.feature.name] * len(rows)
            return whole(table, job, first, rows)

        monkeypatch.setattr(extraction, "_extract_feature", counted)

    def rows(self, name: str) -> int:
        return self.names.count(name)


def test_rows_are_prepared_once(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting, features = Counting(monkeypatch), features_for(columns(image=IMAGE, note={"type": "text"}))
    first = prepare(table, features, TRAIN, tmp_path)
    second = prepare(table, features, TRAIN, tmp_path)
    assert counting.rows("image") == counting.rows("note") == ROWS
    assert first.fingerprint == second.fingerprint


def test_only_missing_features_are_prepared(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(table, features_for(columns(image=IMAGE)), TRAIN, tmp_path)
    counting = Counting(monkeypatch)
    both = [*features_for(columns(image=IMAGE)), *features_for(columns(image=IMAGE), {"image": {"size": 4}})]
    prepared = prepare(table, both, TRAIN, tmp_path)
    assert counting.rows("image") == 0
    assert counting.rows(both[1].name) == ROWS
    assert gathered(prepared, both[1].name, 1)["values"].shape == (1, 1, 4, 4)
    assert list(prepared.present) == ["image"]


def test_missing_features_are_prepared_in_one_pass(tmp_path: Path) -> None:
    class Watched(Table):
        passes = 0

        def cells(self, columns: Any, rows: Any = None, batch: int = 1024) -> Any:
            Watched.passes += rows is None
            return super().cells(columns, rows, batch)

    specs = columns(note={"type": "text"}, facts={"type": "tabular", "numeric": ["age"]})
    prepare(Watched.of(cells(40)), features_for(specs), np.arange(40), tmp_path)
    assert Watched.passes == 1


def test_columns_of_the_same_source_and_settings_share_one_store(table: Table, tmp_path: Path) -> None:
    twice = features_for(columns(image=IMAGE, picture={**IMAGE, "source": "image"}))
    prepared = prepare(table, twice, TRAIN, tmp_path)
    assert [store.info.column for store in prepared.features.values()] == ["image", "picture"]
    assert len(list((tmp_path / "features").iterdir())) == 1


def fingerprint(table: Table, features: list[Feature], cache: Path, train: np.ndarray = TRAIN) -> str:
    return prepare(table, features, train, cache).fingerprint


def test_the_fingerprint_follows_table_settings_and_training_rows(tmp_path: Path) -> None:
    features, table = features_for(columns(note={"type": "text"})), Table.of(cells(60))
    train = np.arange(30)
    base = fingerprint(table, features, tmp_path, train)
    changed = cells(60) | {"note": ["other words"] * 60}
    assert base == fingerprint(Table.of(cells(60)), features, tmp_path, train)
    assert base != fingerprint(Table.of(changed), features, tmp_path, train)
    assert base != fingerprint(table, features, tmp_path, np.arange(31))
    assert base != fingerprint(table, features_for(columns(note={"type": "text", "max_length": 9})), tmp_path, train)


def test_the_fingerprint_follows_the_tokenizer_that_the_settings_name(tmp_path: Path) -> None:
    def save(*words: str) -> None:
        Tokenizer(models.WordLevel({"[UNK]": 0} | {word: 1 + n for n, word in enumerate(words)}, "[UNK]")).save(
            str(tmp_path / "tokenizer.json")
        )

    table = Table.of({"note": ["cat"] * 4}, root=tmp_path)
    features = features_for(columns(note={"type": "text", "tokenizer": "tokenizer.json"}))
    save("cat")
    base = prepare(table, features, np.arange(4), tmp_path / "cache")
    save("dog", "cat")
    other = prepare(table, features, np.arange(4), tmp_path / "cache")
    assert base.fingerprint != other.fingerprint
    assert [gathered(rows, "note", 0)["values"].item() for rows in (base, other)] == [1, 2]


def test_a_feature_of_a_finished_model_keeps_what_it_learnt(
    table: Table, prepared: PreparedRows, tmp_path: Path
) -> None:
    names = ["facts", "note", "sound"]
    kept = [learnt_feature(prepared.features[name].info) for name in names]
    again = prepare(table, kept, np.array([1]), tmp_path)
    rows = torch.arange(ROWS)
    for name in names:
        assert again.features[name].info == prepared.features[name].info
        for array, values in prepared.features[name].gather(rows).items():
            assert torch.equal(again.features[name].gather(rows)[array], values)


def test_the_fingerprint_follows_libraries(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = features_for(columns(image=IMAGE))
    base = fingerprint(table, features, tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    assert base != fingerprint(table, features, tmp_path)


def test_the_fingerprint_follows_files_behind_paths(tmp_path: Path) -> None:
    for row in range(4):
        (tmp_path / f"{row}.png").write_bytes(grey_png(row))
    table = Table.of({"image": [f"{row}.png" for row in range(4)]}, root=tmp_path)
    features, cache = features_for(columns(image=IMAGE)), tmp_path / "cache"
    train = np.arange(4)
    base = fingerprint(table, features, cache, train)
    (tmp_path / "3.png").write_bytes(grey_png(200))
    os.utime(tmp_path / "3.png", (1, 1))
    prepared = prepare(table, features, train, cache)
    assert prepared.fingerprint != base
    assert int(gathered(prepared, "image", 3)["values"][0, 0, 0, 0]) == 200


@pytest.mark.parametrize("root", [None, "a.zip"])
def test_the_fingerprint_follows_what_a_zip_file_holds_and_not_when_it_was_made(
    tmp_path: Path, root: str | None
) -> None:
    def write(value: int, when: int) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for row in range(4):
                archive.writestr(zipfile.ZipInfo(f"{row}.png", (2000 + when, 1, 1, 0, 0, 0)), grey_png(value + row))

    names = [f"{row}.png" if root else f"a.zip/{row}.png" for row in range(4)]
    features, cache = features_for(columns(image={**IMAGE, "root": root})), tmp_path / "cache"
    prints = []
    for value, when in [(0, 1), (0, 2), (100, 2)]:
        write(value, when)
        table = Table.of({"image": names}, root=tmp_path)
        prints.append(fingerprint(table, features, cache, np.arange(4)))
    assert prints[0] == prints[1] != prints[2]


def test_rows_that_cannot_be_read_end_the_run_by_default(tmp_path: Path) -> None:
    content = cells(100)
    noise = png(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8))
    content["image"][77], content["image"][50] = b"junk", noise[:-150]
    with pytest.raises(InputError) as caught:
        prepare(Table.of(content), features_for(columns(image=IMAGE)), np.arange(100), tmp_path)
    assert "row 50" in str(caught.value)
    assert "column 'image'" in str(caught.value)
    assert "damaged or truncated picture" in str(caught.value)
    assert "on_error: skip" in str(caught.value)
    assert caught.value.exit_status == 2
    assert list((tmp_path / "features").iterdir()) == []


def test_rows_that_cannot_be_read_are_left_out_on_request(tmp_path: Path) -> None:
    content = cells(100)
    content["image"][3], content["image"][77], content["age"][50] = b"junk", b"junk", "NA"
    specs = columns(image=IMAGE, facts={"type": "tabular", "numeric": ["age"]})
    for _ in range(2):  # the second time from the cache
        prepared = prepare(Table.of(content), features_for(specs), np.arange(100), tmp_path, on_error="skip")
        assert [(bad.row, bad.column) for bad in prepared.skipped] == [(3, "image"), (50, "facts"), (77, "image")]
        assert prepared.skipped[1].reason == "of 'age' is a text ('NA'), not a number"
        assert prepared.usable.tolist() == [row for row in range(100) if row not in (3, 50, 77)]
        assert not prepared.present["image"][3]
        assert not gathered(prepared, "image", 3)["values"].any()
    with pytest.raises(
        InputError, match=r"row 3, column 'image'"
    ):  # what was skipped before is still an error by default
        prepare(Table.of(content), features_for(specs), np.arange(100), tmp_path)


def test_a_table_of_unreadable_rows_is_refused(tmp_path: Path) -> None:
    table = Table.of({"image": [b"junk"] * 4})
    with pytest.raises(InputError, match=r"No training row could be read; the first: .*row 0"):
        prepare(table, features_for(columns(image=IMAGE)), np.arange(4), tmp_path, on_error="skip")
    table = Table.of({"image": [None, None, b"junk"]})
    with pytest.raises(InputError, match="row 2"):
        prepare(table, features_for(columns(image=IMAGE)), np.arange(3), tmp_path)


def test_a_column_that_is_empty_in_training_is_refused(tmp_path: Path) -> None:
    for kind in ("image", "text", "audio", "vector"):
        table = Table.of({"x": [None, None, "something"]})
        with pytest.raises(InputError, match=r"data.columns.x: Every training row is empty in 'x'"):
            prepare(table, features_for(columns(x={"type": kind})), np.arange(2), tmp_path)


def test_a_missing_column_is_named(table: Table, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.columns.picture: .*no column 'imagge'. Did you mean 'image'"):
        prepare(table, features_for(columns(picture={**IMAGE, "source": "imagge"})), TRAIN, tmp_path)


def test_a_setting_that_only_shows_when_it_is_used_is_named(table: Table, tmp_path: Path) -> None:
    spec = {"type": "audio", "sample_rate": 8_000, "mel_bins": 250, "source": "sound"}
    with pytest.raises(InputError, match=r"data.columns.speech.mel_bins: 250 mel bands are too many"):
        prepare(table, features_for(columns(speech=spec)), TRAIN, tmp_path)


def test_a_row_number_can_stand_for_a_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", a=np.arange(10.0).reshape(5, 2))
    spec = {"type": "vector", "source": "row", "root": "f.npz", "key": "a"}
    table = Table.of({"label": [0, 1, 0, 1, 0]}, root=tmp_path)
    prepared = prepare(table, features_for(columns(video=spec)), np.array([1, 3]), tmp_path / "cache")
    assert gathered(prepared, "video", 4, 0)["values"].tolist() == [[8.0, 9.0], [0.0, 1.0]]
    assert prepared.features["video"].info.state["mean"] == [4.0, 5.0]
    own = Table.of({"row": [4, 3, 2, 1, 0]}, root=tmp_path)  # a column of that name comes first
    prepared = prepare(own, features_for(columns(video=spec)), np.array([1, 3]), tmp_path / "cache")
    assert gathered(prepared, "video", 4, 0)["values"].tolist() == [[0.0, 1.0], [8.0, 9.0]]


def test_progress_is_told(table: Table, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    prepare(table, features_for(columns(image=IMAGE)), TRAIN, tmp_path, progress=lambda *done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == (ROWS, ROWS)


def test_blocks_shrink_where_rows_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "_BLOCK_BYTES", 10_000)
    seen: list[int] = []
    whole = extraction._extract_block
    monkeypatch.setattr(extraction, "_extract_block", lambda *a: seen.append(len(a[3])) or whole(*a))
    content = {"image": [np.zeros((32, 32), np.uint8)] * 100}
    prepared = prepare(
        Table.of(content), features_for(columns(image={"type": "image", "size": 32})), np.arange(9), tmp_path
    )
    assert max(seen) <= 11  # 10,000 bytes are ten such pictures
    assert sum(seen) == 100
    assert prepared.features["image"].nbytes == 100 * 1024 + 100


def test_a_tabular_feature_without_categories_has_an_empty_array(tmp_path: Path) -> None:
    prepared = prepare(Table.of(cells(40)), features_for(columns(facts={"type": "tabular", "numeric": ["age"]})),
                       np.arange(40), tmp_path)  # fmt: skip
    assert gathered(prepared, "facts", 1, 2)["categorical"].shape == (2, 0)


def test_training_rows_outside_the_table_are_refused(table: Table, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside 0 to 299"):
        prepare(table, features_for(columns(image=IMAGE)), np.array([0, 300]), tmp_path)
