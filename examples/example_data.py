"""What the `prepare.py` of every example shares: finding the source data, and writing a table that is whole or absent.

A prepared table remembers the scripts that made it, so that preparing again does nothing until one of them changes.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmdistill.errors import InputError, MMDistillError

VARIABLE = "MMDISTILL_DATA"
MADE_BY = b"made_by"


def prepare(script: Path, target: Path, make: Callable[[Path], pa.Table], needs: Sequence[str]) -> int:
    """Write `target` unless this very script has written it before.

    Args:
        script: the example's prepare.py.
        target: the Parquet file to write; its folder is made.
        make: builds the table from the folder of the source data.
        needs: files that `make` reads, relative to that folder.

    Returns:
        An exit status: 0, or that of the error that was printed.
    """
    made_by = hashlib.sha256(script.read_bytes() + Path(__file__).read_bytes()).hexdigest().encode()
    if is_current(target, made_by):
        print(f"{target} is there already")
        return 0
    try:
        write_table(make(find_source(needs)), target, made_by)
    except MMDistillError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"Wrote {target} ({target.stat().st_size / 1e6:.1f} MB)")
    return 0


def find_source(needs: Sequence[str]) -> Path:
    """The folder that the environment variable MMDISTILL_DATA names.

    Raises:
        InputError: when the variable is not set, or a file that is needed is not there.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        raise InputError(
            f"This example is made from data that do not come with mmdistill, and {VARIABLE} is not set",
            fix=f"Set it to the folder that holds {', '.join(needs)}",
        )
    missing = [name for name in needs if not (Path(value) / name).is_file()]
    if missing:
        raise InputError(
            f"There is no {', no '.join(missing)}", where=f"{VARIABLE} ({value})", fix="Check the folder it names"
        )
    return Path(value)


def is_current(target: Path, made_by: bytes) -> bool:
    """Whether the file is there, can be read, and was made by these scripts."""
    try:
        metadata = pq.read_schema(target).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return metadata.get(MADE_BY) == made_by


def write_table(table: pa.Table, target: Path, made_by: bytes) -> None:
    """Write a Parquet file aside and rename it, so that no half-written one is ever found."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), MADE_BY: made_by})
        pq.write_table(table, aside, compression="zstd", row_group_size=2_000)
        aside.replace(target)
    except OSError as error:
        raise MMDistillError(f"The table cannot be written: {error.strerror or error}", where=str(target)) from error
    finally:
        aside.unlink(missing_ok=True)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The bytes of a gzipped IDX file (the format of MNIST) as an array of the shape that its header states.

    Raises:
        InputError: when it is no such file or ends too early.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise InputError(f"This is not a gzipped file: {error}", where=str(path)) from error
    dimensions = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4) if len(content) >= 4 + 4 * dimensions else []
    values = np.frombuffer(content, np.uint8, offset=min(len(content), 4 + 4 * dimensions))
    if not dimensions or len(values) != int(np.prod(shape)):
        raise InputError("This is not an IDX file of bytes, or it is cut short", where=str(path))
    return values.reshape([int(size) for size in shape])
