"""Parquet, Arrow and Hugging Face datasets: types, streaming, bounded memory, damaged files."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmdistill.data.table import Table, read_table
from mmdistill.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write_parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path, row_group_size=3)
    return path


def write_arrow_file(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


def write_arrow_stream(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


WRITERS = {"t.parquet": write_parquet, "t.arrow": write_arrow_file, "s.arrow": write_arrow_stream}


@pytest.fixture(params=WRITERS, ids=["parquet", "arrow-file", "arrow-stream"])
def stored(request: pytest.FixtureRequest, tmp_path: Path):
    """A function that writes an Arrow table in one of the formats and opens it."""
    return lambda table, **options: read_table(WRITERS[request.param](tmp_path / request.param, table), **options)


def one_column(stored, values: list, kind: pa.DataType) -> list:
    return [cells["x"] for _, cells in stored(pa.table({"x": pa.array(values, kind)})).cells(["x"])]


@pytest.mark.parametrize(
    ("values", "kind", "cells"),
    [
        (["a", "", None, "NA"], pa.string(), ["a", None, None, "NA"]),
        (["a", None], pa.large_string(), ["a", None]),
        ([b"\x00", None], pa.large_binary(), [b"\x00", None]),
        ([1, None], pa.int32(), [1, None]),
        ([True, None], pa.bool_(), [True, None]),
        ([0.5, float("nan"), None], pa.float32(), [0.5, None, None]),
        ([np.float16(0.5), None], pa.float16(), [0.5, None]),
        (["a", "b", "a", None], pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a", None]),
        ([decimal.Decimal("1.50"), None], pa.decimal128(5, 2), [1.5, None]),
        ([datetime.date(2020, 2, 1), None], pa.date32(), ["2020-02-01", None]),
        ([datetime.timedelta(seconds=3), None], pa.duration("ms"), [3.0, None]),
        ([None, None], pa.null(), [None, None]),
        ([["a", "b"], [], None], pa.list_(pa.string()), [["a", "b"], [], None]),
    ],
)
def test_cells_keep_their_type(stored, values: list, kind: pa.DataType, cells: list) -> None:
    assert one_column(stored, values, kind) == cells
    assert [type(cell) for cell in one_column(stored, values, kind)] == [type(cell) for cell in cells]


def test_huggingface_media_columns_are_mappings_and_empty_ones_absent(stored) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": b"png", "path": None}, {"bytes": None, "path": None}, None, {"bytes": None, "path": "a.png"}]
    assert one_column(stored, values, kind) == [values[0], None, None, values[3]]


@pytest.mark.parametrize("list_of", [pa.list_, pa.large_list])
def test_lists_of_numbers_are_arrays(stored, list_of) -> None:
    first, empty, missing, with_null = one_column(stored, [[1, 2], [], None, [3.0, None]], list_of(pa.float32()))
    assert first.dtype == np.float32
    assert first.tolist() == [1, 2]
    assert empty.shape == (0,)
    assert missing is None
    assert np.isnan(with_null[1])


def test_fixed_size_lists_are_arrays_wherever_the_row_stands(stored) -> None:
    values = [[i, i + 1] for i in range(7)]
    values[2] = None
    cells = one_column(stored, values, pa.list_(pa.int64(), 2))
    assert [None if cell is None else cell.tolist() for cell in cells] == values


def test_lists_of_lists_are_matrices_where_they_are_rectangular(stored) -> None:
    matrix, ragged, missing = one_column(
        stored, [[[1, 2], [3, 4], [5, 6]], [[1], [2, 3]], None], pa.list_(pa.list_(pa.float64()))
    )
    assert matrix.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert [part.tolist() for part in ragged] == [[1], [2, 3]]
    assert missing is None


@pytest.mark.parametrize("rows", [None, [0], [2, 3, 4], [9, 0], [5], []])
@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_selected_rows_come_in_order(stored, rows: list | None, batch: int) -> None:
    table = stored(pa.table({"x": list(range(10)), "v": [[i] * i for i in range(10)]}))
    found = list(table.cells(["x", "v"], rows=rows, batch=batch))
    assert [row for row, _ in found] == (list(range(10)) if rows is None else sorted(rows))
    assert all(cells["x"] == row and cells["v"].tolist() == [row] * row for row, cells in found)


def test_limit_and_digest(stored) -> None:
    whole = pa.table({"x": list(range(10))})
    short = stored(whole, limit=4)
    assert (len(short), short.column("x")) == (4, [0, 1, 2, 3])
    assert short.digest != stored(whole).digest


def test_nan_is_seen_in_a_column(stored) -> None:
    values = stored(pa.table({"y": pa.array([1.0, float("nan"), None])})).column("y")
    assert np.isnan(values[1])
    assert values[2] is None


def test_rows_are_named_from_zero(stored) -> None:
    assert stored(pa.table({"x": [1, 2]})).where(1).endswith("row 1")


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_and_mislabelled_files_are_refused(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, pa.table({"x": list(range(100_000))}))
    for content in (b"", b"a,b\n1,2\n", path.read_bytes()[: path.stat().st_size // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as") as caught:
            list(read_table(path).cells(["x"]))
        assert caught.value.exit_status == 2


def test_equal_column_names_are_refused(stored) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(InputError, match="Two columns are named 'a'"):
        stored(table)


def test_a_table_without_rows_is_refused(stored) -> None:
    with pytest.raises(InputError, match="no rows"):
        stored(pa.table({"x": pa.array([], pa.int64())}))


MEMORY_PROGRAM = """
import sys
from mmdistill.data.table import read_table

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

table = read_table(sys.argv[1])
peak = 0
for row, cells in table.cells(["image"]):
    assert len(cells["image"]["bytes"]) == 1024
    if row % 1000 == 0:
        peak = max(peak, anonymous())
print(peak)
"""


def write_images(path: Path, rows: int) -> Path:
    """Image bytes of 1 KiB a row in a single row group, as a plain `to_parquet` writes them."""
    noise = np.random.default_rng(0).integers(0, 256, (5000, 1024), dtype=np.uint8)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    part = pa.table({"image": pa.array([{"bytes": row.tobytes(), "path": None} for row in noise], kind)})
    pq.write_table(pa.concat_tables([part] * (rows // 5000)), path, row_group_size=rows, use_dictionary=False)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    peaks = {}
    for rows in (20_000, 200_000):
        path = write_images(tmp_path / f"{rows}.parquet", rows)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY_PROGRAM, str(path)], capture_output=True, text=True, check=True
        )
        peaks[rows] = int(done.stdout) / 1024
    assert peaks[200_000] < peaks[20_000] + 30, peaks


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Hugging Face datasets without a network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf" / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    monkeypatch.chdir(tmp_path)
    return datasets


def small_dataset(datasets, texts: list[str]):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])})
    return datasets.Dataset.from_dict(
        {"text": texts, "label": [i % 3 - 1 for i in range(len(texts))]}, features=features
    )


def test_a_dataset_folder_with_two_splits(offline, tmp_path: Path) -> None:
    folder = tmp_path / "owner" / "name" / "data"
    folder.mkdir(parents=True)
    small_dataset(offline, list("abcde")).to_parquet(folder / "train-00000-of-00001.parquet")
    small_dataset(offline, list("xy")).to_parquet(folder / "test-00000-of-00001.parquet")
    table = read_table("hf://owner/name")
    assert table.columns == ["text", "label", "split"]
    assert table.column("text") == list("abcdexy")
    assert table.column("split") == ["train"] * 5 + ["test"] * 2
    assert table.column("label") == [None, "cat", "dog", None, "cat", None, "cat"]
    assert [(row, cells["text"]) for row, cells in table.cells(["text", "split"], rows=[6, 1], batch=1)] == [
        (1, "b"),
        (6, "y"),
    ]
    assert table.where(5) == "hf://owner/name, test row 0"
    test = read_table("hf://owner/name:test", limit=1)
    assert test.columns == ["text", "label"]
    assert test.column("text") == ["x"]
    assert test.digest != table.digest == read_table("hf://owner/name").digest


def test_a_dataset_saved_to_disk_with_images_stays_encoded(offline, tmp_path: Path) -> None:
    from PIL import Image

    images = [Image.new("RGB", (2, 2), (i, 0, 0)) for i in range(3)]
    dataset = offline.Dataset.from_dict(
        {"image": images, "n": [0.5, None, 1.0]},
        features=offline.Features({"image": offline.Image(), "n": offline.Value("float32")}),
    )
    dataset.save_to_disk(str(tmp_path / "saved"))
    table = read_table(f"hf://{tmp_path / 'saved'}")
    cells = [cells for _, cells in table.cells(["n", "image"])]
    assert [cell["n"] for cell in cells] == [0.5, None, 1.0]
    assert cells[0]["image"]["bytes"].startswith(b"\x89PNG")


@pytest.mark.parametrize("address", ["hf://name", "hf://owner/name/config/more", "hf://owner/", "hf://no/such"])
def test_bad_dataset_addresses_are_refused(offline, address: str) -> None:
    with pytest.raises(InputError) as caught:
        read_table(address)
    assert address in str(caught.value)


def test_an_unknown_split_is_refused(offline, tmp_path: Path) -> None:
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    small_dataset(offline, list("abc")).to_parquet(folder / "train.parquet")
    with pytest.raises(InputError, match="hf://owner/name:tset"):
        read_table("hf://owner/name:tset")


def test_an_embedded_sample_is_found_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmdistill import catalog

    write_parquet(tmp_path / "tiny.parquet", pa.table({"x": [1, 2]}))
    monkeypatch.setitem(globals(), "tiny_sample_file", lambda: tmp_path / "tiny.parquet")
    monkeypatch.setitem(
        catalog._entries, ("sample", "tiny"), catalog.Entry("sample", "tiny", f"{__name__}:tiny_sample_file")
    )
    monkeypatch.setattr(catalog, "_rooms_loaded", True)
    assert read_table("tiny").column("x") == [1, 2]
    with pytest.raises(InputError, match="Did you mean 'tiny'"):
        read_table("tinny")
    (tmp_path / "work" / "tiny" / "cat").mkdir(parents=True)
    (tmp_path / "work" / "tiny" / "cat" / "a.png").touch()
    monkeypatch.chdir(tmp_path / "work")
    assert read_table("./tiny").columns == ["path", "label"]
    assert isinstance(read_table("tiny"), Table)
