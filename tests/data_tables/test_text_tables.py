"""CSV, TSV and JSON Lines: what is read, and how bad files are refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdistill.data.table import Table, read_table
from mmdistill.errors import InputError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows(table: Table, *columns: str) -> list[dict]:
    return [cells for _, cells in table.cells(columns or table.columns)]


def refusal(path: Path, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        table = read_table(path, **options)
        list(table.cells(table.columns))
    return caught.value


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV"])
def test_csv_cells_are_text_and_empty_ones_absent(tmp_path: Path, name: str) -> None:
    table = read_table(write(tmp_path, name, "text,label,n\r\ngood,1,NA\r\n,0,nan\r\n"))
    assert table.columns == ["text", "label", "n"]
    assert len(table) == 2
    assert rows(table) == [{"text": "good", "label": "1", "n": "NA"}, {"text": None, "label": "0", "n": "nan"}]
    assert table.column("label") == ["1", "0"]
    assert table.root == tmp_path


def test_tsv_and_jsonl_read_the_same_table(tmp_path: Path) -> None:
    tsv = read_table(write(tmp_path, "t.tsv", "a\tb\n1, 2\tx\n"))
    jsonl = read_table(write(tmp_path, "t.jsonl.gz", '{"a": "1, 2", "b": "x"}\n'))
    assert rows(tsv) == rows(jsonl) == [{"a": "1, 2", "b": "x"}]


def test_format_key_overrules_the_ending(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.txt", "a,b\n1,2\n"), format="csv").column("b") == ["2"]


def test_jsonl_keeps_types_and_fills_missing_keys(tmp_path: Path) -> None:
    text = '{"a": 1, "b": [1, 2]}\n\n{"c": {"x": true}, "b": null, "a": ""}\n{"a": NaN}\n'
    table = read_table(write(tmp_path, "t.jsonl", text))
    assert table.columns == ["a", "b", "c"]
    assert rows(table) == [
        {"a": 1, "b": [1, 2], "c": None},
        {"a": None, "b": None, "c": {"x": True}},
        {"a": None, "b": None, "c": None},
    ]
    assert table.where(1) == "t.jsonl, line 3"


def test_nan_is_seen_in_a_column_and_absent_in_cells(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.jsonl", '{"y": NaN}\n{"y": null}\n'))
    first, second = table.column("y")
    assert isinstance(first, float)
    assert np.isnan(first)
    assert second is None
    assert rows(table) == [{"y": None}, {"y": None}]


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.csv", b"\xef\xbb\xbfa,b\n1,2\n")).columns == ["a", "b"]
    assert read_table(write(tmp_path, "t.jsonl", b'\xef\xbb\xbf{"a": 1}\n')).columns == ["a"]


def test_a_cell_of_ten_million_characters_is_read(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "a,b\n" + "x" * 10_000_000 + ",1\n"))
    assert len(rows(table)[0]["a"]) == 10_000_000


def test_lines_are_counted_through_quoted_line_ends_and_blank_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", 'a,b\n1,"x\ny"\n2,z\n\n3,"""q"""\n4,w\n'))
    assert [table.where(row) for row in range(4)] == [f"t.csv, line {line}" for line in (2, 4, 6, 7)]
    assert table.column("b") == ["x\ny", "z", '"q"', "w"]


def test_selected_rows_come_in_order_once(tmp_path: Path) -> None:
    for name, text in (
        ("t.csv", "a\n" + "\n".join("abcdef")),
        ("t.jsonl", "\n".join(f'{{"a": "{x}"}}' for x in "abcdef")),
    ):
        table = read_table(write(tmp_path, name, text))
        assert [(row, cells["a"]) for row, cells in table.cells(["a"], rows=[4, 1, 4])] == [(1, "b"), (4, "e")]
        assert list(table.cells(["a"], rows=[])) == []
        with pytest.raises(InputError, match="no row 6"):
            table.cells(["a"], rows=[6])


def test_limit_reads_the_first_rows_and_changes_the_digest(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "a\n1\n2\n3\n")
    short = read_table(path, limit=2)
    assert short.column("a") == ["1", "2"]
    assert short.digest != read_table(path).digest
    assert read_table(path).digest == read_table(path).digest
    assert len(read_table(path).digest) == 64


def test_digest_follows_the_content(tmp_path: Path) -> None:
    before = read_table(write(tmp_path, "t.csv", "a\n1\n")).digest
    assert read_table(write(tmp_path, "t.csv", "a\n2\n")).digest != before


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", 3, "3 cells, but the header has 2"),
        ("a,b\n1\n", 2, "1 cells"),
        (b"a,b\nx,1\n\xff\xfe,2\n", 3, "0xff"),
        ("a,b\nx\0y,2\n", 2, "NUL"),
        ('a,b\n"never closed,2\n1,2\n', 2, "delimited text"),
        ("a,,b\n1,2,3\n", 1, "Column 2 has no name"),
        ("a,b,a\n1,2,3\n", 1, "Two columns are named 'a'"),
        ("a;b\n1;2\n", 1, "semicolons"),
    ],
)
def test_a_bad_csv_line_is_named(tmp_path: Path, content: str | bytes, line: int, words: str) -> None:
    error = refusal(write(tmp_path, "t.csv", content))
    assert error.where == f"t.csv, line {line}"
    assert words in str(error)
    assert error.exit_status == 2


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('{"a": 1}\n[1]\n', 2, "holds a list"),
        ('{"a": 1}\n{"a": \n', 2, "not valid JSON"),
        ('{"a": 1, "a": 2}\n', 1, "'a' occurs twice"),
        ('{"a": "\\ud800"}\n', 1, "surrogate"),
        (b'{"a": 1}\n{"a": "\xe9"}\n', 2, "0xe9"),
        ("[" * 100_000 + "\n", 1, "not valid JSON"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, content: str | bytes, line: int, words: str) -> None:
    error = refusal(write(tmp_path, "t.jsonl", content))
    assert error.where == f"t.jsonl, line {line}"
    assert words in str(error)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "", "The table is empty"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.jsonl", "\n\n", "no rows"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("t.json", "[]", "ending"),
        ("t", "a\n1\n", "ending"),
        ("t.parquet.gz", "a", "ending"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    assert words in str(refusal(write(tmp_path, name, content)))


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(("a,b\n" + "1,2\n" * 100_000).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "plain.csv.gz").write_bytes(b"a,b\n1,2\n")
    assert "damaged or cut short" in str(refusal(tmp_path / "cut.csv.gz"))
    assert "damaged or cut short" in str(refusal(tmp_path / "plain.csv.gz"))


def test_missing_files_and_folders_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "reviews.csv", "a\n1\n")
    assert "reviews.csv" in refusal(tmp_path / "review.csv").fix
    assert "does not exist either" in refusal(tmp_path / "no" / "t.csv").fix
    assert "csv file is expected, but this is a folder" in str(refusal(tmp_path, format="csv"))
    assert "folder is expected" in str(refusal(tmp_path / "reviews.csv", format="folder"))
    assert "Did you mean 'csv'?" in refusal(tmp_path / "reviews.csv", format="cvs").fix


def test_an_unknown_column_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "review_text,label\na,1\n"))
    with pytest.raises(InputError, match="Did you mean 'review_text'"):
        table.column("review_txt")
    with pytest.raises(InputError, match="Did you mean 'label'"):
        table.cells(["lable"])


def test_a_file_that_shrinks_while_in_use_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "a\n1\n2\n3\n")
    table = read_table(path)
    write(tmp_path, "t.csv", "a\n1\n")
    with pytest.raises(InputError, match="shorter"):
        table.column("a")


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=6))
def test_any_text_that_the_csv_module_writes_is_read_back(tmp_path_factory, cells: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["a", "b"], *cells])
    table = read_table(write(tmp_path_factory.mktemp("csv"), "t.csv", out.getvalue()))
    assert [list(row.values()) for row in rows(table)] == [[cell or None for cell in row] for row in cells]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(CELL, CELL | st.integers() | st.booleans(), min_size=1), min_size=1, max_size=6))
def test_any_object_that_the_json_module_writes_is_read_back(tmp_path_factory, records: list[dict]) -> None:
    text = "\n".join(json.dumps(record) for record in records)
    table = read_table(write(tmp_path_factory.mktemp("json"), "t.jsonl", text))
    for record, cells in zip(records, rows(table), strict=True):
        assert {name: cell for name, cell in cells.items() if cell is not None} == {
            name: cell for name, cell in record.items() if cell != ""
        }


def test_text_tables_need_neither_torch_nor_pandas_nor_pyarrow(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "a\n1\n")
    program = (
        "import sys; [sys.modules.__setitem__(m, None) for m in ('torch', 'pandas', 'pyarrow', 'sklearn', 'datasets')];"
        f"from mmdistill.data.table import read_table; print(read_table({str(path)!r}).column('a'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['1']"


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path) -> None:
    path = write(tmp_path, "t.parquet", "PAR1")
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from mmdistill.data.table import read_table\n"
        f"read_table({str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "mmdistill[train]" in done.stderr


def test_a_table_of_columns_in_memory(tmp_path: Path) -> None:
    table = Table.of({"a": [1, ""], "b": [np.arange(3), None]}, root=tmp_path)
    assert [cells["a"] for _, cells in table.cells(["a"])] == [1, None]
    assert table.digest != Table.of({"a": [1, ""], "b": [np.arange(1, 4), None]}).digest
    with pytest.raises(InputError, match="differ in length"):
        Table.of({"a": [1], "b": [1, 2]})
