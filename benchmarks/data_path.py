"""Batches a second through mmdistill's loader beside plain indexing of a tensor in memory, in one process.

    python benchmarks/data_path.py [--rows 10000 1000000] [--pairs 20] [--batches 100] [--threads 1]

The sides take turns batch by batch, in an order that changes. *Indexing* is what a hand-written loop does: a random
permutation, then `images[rows]` and `target[rows]` on tensors in memory; it runs twice, so that it is also measured
against itself, and once with the faster `index_select`. The loader gathers 28×28 images from a memory-mapped file and
gives whole batches (features, presence, target, row, view); its further lines add augmentation, mixup and the
prefetch thread. A pair is the median time of some batches of two sides; printed are the median of the ratios over the
pairs and a 95 % bootstrap interval of it, and the difference of the medians.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmdistill.data.augmentations.catalog import ImageAugmentation
from mmdistill.data.feature_files import Opened
from mmdistill.data.features import FeatureInfo
from mmdistill.data.loader import Loader
from mmdistill.data.modalities.base import ArraySpec
from mmdistill.data.store import FeatureStore, PreparedRows

Index = Callable[[Tensor, int, Tensor], Tensor]
BATCH, SHAPE = 128, (1, 28, 28)
USUAL = ImageAugmentation(shift=0.1, crop=0.8, flip=True, noise=0.05)


def mapped_images(path: Path, rows: int) -> Tensor:
    """Random images in a file, mapped into memory: uint8 (rows, 1, 28, 28)."""
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for first in range(0, rows, 10_000):
            file.write(generator.bytes(min(10_000, rows - first) * int(np.prod(SHAPE))))
    size = rows * int(np.prod(SHAPE))
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).view(rows, *SHAPE)


def prepared_rows(images: Tensor) -> PreparedRows:
    """Prepared rows of one image column over a map."""
    rows = len(images)
    info = FeatureInfo("image", "image", "image", {}, {}, {"values": ArraySpec(SHAPE, "uint8")})
    present = torch.ones(rows, dtype=torch.bool)
    store = FeatureStore(info, Opened(info, {"values": images}, None, present, [], images.nbytes))
    return PreparedRows(rows, {"image": store}, {"image": present}, [], "", [])


def bracketed(values: Tensor, axis: int, rows: Tensor) -> Tensor:  # noqa: ARG001 - the signature of index_select
    """`values[rows]`, as it is usually written."""
    return values[rows]


def indexing(images: Tensor, target: Tensor, index: Index = bracketed) -> Iterator[tuple[Tensor, Tensor]]:
    """Pass after pass as a hand-written loop indexes it."""
    while True:
        order = torch.randperm(len(images))
        for begin in range(0, len(images) - BATCH + 1, BATCH):
            rows = order[begin : begin + BATCH]
            yield index(images, 0, rows), index(target, 0, rows)


def endless(loader: Loader) -> Iterator[object]:
    """The loader's epochs one after another."""
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def sides(images: Tensor, in_memory: Tensor) -> dict[str, Callable[[], Iterator[object]]]:
    """What is measured, by name; the first is what the others are compared with."""
    rows = len(images)
    target = torch.arange(rows) % 10
    targets = {"digit": (target, torch.ones(rows, dtype=torch.bool))}
    prepared = prepared_rows(images)

    def loading(**options: object) -> Callable[[], Iterator[object]]:
        return lambda: endless(Loader(prepared, targets, range(rows), BATCH, **options))  # type: ignore[arg-type]

    return {
        "indexing": lambda: indexing(in_memory, target),
        "indexing again": lambda: indexing(in_memory, target),
        "index_select": lambda: indexing(in_memory, target, torch.Tensor.index_select),
        "loader": loading(),
        "loader, in order": loading(shuffle=False),
        "loader, prefetch 2": loading(prefetch=2),
        "loader, augmented": loading(augment={"image": USUAL}),
        "loader, mixup": loading(mixup=0.4),
    }


def measure(chosen: dict[str, Callable[[], Iterator[object]]], batches: int) -> np.ndarray:
    """Seconds of each batch, float64 (batches, sides). The start of a pass is part of its first batch."""
    running = [start() for start in chosen.values()]
    for iterator in running:
        for _ in range(20):
            next(iterator)
    seconds = np.empty((batches, len(running)))
    # At random, since a side that always followed the same one would find the same things in the cache.
    turns = np.random.default_rng(0).permuted(np.tile(np.arange(len(running)), (batches, 1)), axis=1)
    for batch in range(batches):
        for place in range(len(running)):
            side = int(turns[batch, place])
            began = time.perf_counter()
            next(running[side])
            seconds[batch, side] = time.perf_counter() - began
    for iterator in running:
        iterator.close()  # type: ignore[attr-defined]
    return seconds


def ratio(one: np.ndarray, other: np.ndarray, pairs: int) -> tuple[float, float, float]:
    """Median over the pairs of the ratio of two sides' block medians, with a 95 % bootstrap interval."""
    ratios = np.median(one.reshape(pairs, -1), axis=1) / np.median(other.reshape(pairs, -1), axis=1)
    drawn = np.random.default_rng(0).choice(ratios, (5000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


def report(rows: int, pairs: int, batches: int, folder: Path) -> None:
    """Measure and print one table."""
    images = mapped_images(folder / f"{rows}.bin", rows)
    chosen = sides(images, images.clone())
    seconds = measure(chosen, pairs * batches)
    print(f"\n{rows:,} rows, {images.nbytes / 1e6:,.0f} MB")
    print(f"{'':>20} {'batches/s':>10} {'µs a batch':>11} {'mean µs':>9} {'more µs':>9}   time / indexing")
    middle = np.median(seconds, axis=0)
    for side, name in enumerate(chosen):
        times, low, high = ratio(seconds[:, side], seconds[:, 0], pairs)
        print(
            f"{name:>20} {1 / middle[side]:>10,.0f} {middle[side] * 1e6:>11.1f} {seconds[:, side].mean() * 1e6:>9.1f} "
            f"{(middle[side] - middle[0]) * 1e6:>9.1f}   {times:.2f} [{low:.2f}, {high:.2f}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--batches", type=int, default=100, help="batches of each side in a pair")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{platform.machine()}, CPU, {options.threads} threads, torch {torch.__version__}, batch {BATCH}")
    with tempfile.TemporaryDirectory(prefix="mmdistill-") as folder:
        for rows in options.rows:
            report(rows, options.pairs, options.batches, Path(folder))


if __name__ == "__main__":
    main()
