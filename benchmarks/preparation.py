"""Peak anonymous memory and speed of preparing rows, by number of rows and kind of table.

Each figure comes from a fresh process that watches `RssAnon` in /proc/self/status (Linux), so that files mapped into
memory, which the system can drop, do not count. Run it with::

    python benchmarks/preparation.py [--rows 20000 200000] [--tables parquet zip]

A table of pictures of 32x32 pixels is made in a temporary folder first and removed at the end.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np

PICTURE = 32
TABLES = ("parquet", "zip")


def picture(row: int) -> bytes:
    """A PNG of 32x32 coloured pixels that differs from row to row."""
    from PIL import Image

    rng = np.random.default_rng(row)
    ramp = np.linspace(0, 255, PICTURE)[:, None, None] * rng.random((1, PICTURE, 3))
    stream = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def make_table(folder: Path, kind: str, rows: int) -> Path:
    """Write a table of `rows` pictures: embedded in Parquet, or a CSV file beside a zip file."""
    if kind == "parquet":
        return _make_parquet(folder / f"{rows}.parquet", rows)
    table = folder / f"{rows}.csv"
    with (
        zipfile.ZipFile(folder / f"{rows}.zip", "w") as archive,
        table.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["image"])
        for row in range(rows):
            name = f"{rows}.zip/{row // 1000:04d}/{row:07d}.png"
            archive.writestr(name.split("/", 1)[1], picture(row))
            writer.writerow([name])
    return table


def _make_parquet(path: Path, rows: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("image", pa.binary())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 2_000):
            cells = [picture(row) for row in range(start, min(start + 2_000, rows))]
            writer.write_table(pa.table({"image": cells}, schema=schema))
    return path


def anonymous_megabytes() -> float:
    """Anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("/proc/self/status has no RssAnon: this benchmark needs Linux")


class Watch:
    """The highest anonymous memory while it is entered, looked at every five milliseconds."""

    def __enter__(self) -> Watch:
        self.peak = anonymous_megabytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.peak = max(self.peak, anonymous_megabytes())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def measure(table: Path, rows: int) -> dict[str, float]:
    """Prepare a table in this process and say what it took."""
    from mmdistill.data.features import features_for
    from mmdistill.data.store import prepare
    from mmdistill.data.table import read_table
    from mmdistill.recipe.schema import ColumnSpec

    features = features_for({"image": ColumnSpec.model_validate({"type": "image", "size": PICTURE})})
    with tempfile.TemporaryDirectory(dir=table.parent) as cache, Watch() as watch:
        start, before = time.perf_counter(), watch.peak
        prepared = prepare(read_table(str(table)), features, np.arange(0, rows, 2), cache=cache)
        seconds = time.perf_counter() - start
        megabytes = prepared.nbytes / 1e6
        del prepared
    return {"before": before, "peak": watch.peak, "seconds": seconds, "megabytes": megabytes}


def in_fresh_process(table: Path, rows: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(table), "--rows", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure every kind of table at every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments.rows[0])))
        return
    print(
        "| table | rows | prepared MB | seconds | rows/s | RssAnon before, MB | peak, MB | peak over the smallest, MB |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in arguments.tables:
        smallest: float | None = None
        for rows in sorted(arguments.rows):
            with tempfile.TemporaryDirectory() as folder:
                found = in_fresh_process(make_table(Path(folder), kind, rows), rows)
            smallest = found["peak"] if smallest is None else smallest
            print(
                f"| {kind} | {rows:,} | {found['megabytes']:,.0f} | {found['seconds']:,.1f} "
                f"| {rows / found['seconds']:,.0f} | {found['before']:,.0f} | {found['peak']:,.0f} "
                f"| {found['peak'] - smallest:+,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
