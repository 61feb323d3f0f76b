"""From a table to a varied batch, through the real store."""

from pathlib import Path

import numpy as np
import torch

from mmdistill.data.augmentations.catalog import TabularAugmentation, TextAugmentation
from mmdistill.data.features import features_for
from mmdistill.data.loader import Loader
from mmdistill.data.store import prepare
from mmdistill.data.table import read_table
from mmdistill.recipe.schema import ColumnSpec


def test_rows_of_a_table_become_batches_that_vary_within_their_texts(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    lines = ["text,age,kind"]
    lines += [f"{'' if row % 5 == 0 else 'red green blue ' * (row % 3 + 1)},{row},{'ab'[row % 2]}" for row in range(20)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {
        "text": ColumnSpec.model_validate({"type": "text", "min_count": 1}),
        "facts": ColumnSpec.model_validate({"type": "tabular", "numeric": ["age"], "categorical": ["kind"]}),
    }
    prepared = prepare(read_table(path), features_for(columns), np.arange(20), tmp_path / "cache")
    targets = {"kind": (np.arange(20) % 2, np.arange(20) < 15)}
    augment = {"text": TextAugmentation(drop=0.3), "facts": TabularAugmentation(noise=0.1, missing=0.2)}
    clean = next(Loader(prepared, targets, range(20), 20, shuffle=False).batches(0))
    varied = next(Loader(prepared, targets, range(20), 20, shuffle=False, augment=augment).batches(0))

    assert torch.equal(varied["present", "text"], torch.arange(20) % 5 != 0)
    assert varied["present", "facts"].all()
    words, fewer = clean["features", "text"], varied["features", "text"]
    lengths, left = words["mask"].sum(1), fewer["mask"].sum(1)
    assert (left <= lengths).all()
    assert left.sum() < lengths.sum()
    assert torch.equal(left > 0, lengths > 0)
    assert set(fewer["values"].unique().tolist()) == set(words["values"].unique().tolist())
    assert not fewer["values"][~fewer["mask"]].any()
    facts, noisy = clean["features", "facts"], varied["features", "facts"]
    assert 0 < noisy["missing"].sum() < 20
    assert torch.equal(noisy["categorical"][noisy["categorical"] != 0], facts["categorical"][noisy["categorical"] != 0])
    assert varied["labelled", "kind"].sum() == 15


def test_the_store_is_not_changed_by_what_happens_to_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text("".join(f'{{"point": [{row}.0, 1.0]}}\n' for row in range(6)), encoding="utf-8")
    columns = {"point": ColumnSpec.model_validate("vector")}
    prepared = prepare(read_table(path), features_for(columns), np.arange(6), tmp_path / "cache")
    loader = Loader(prepared, {}, range(6), 6, shuffle=False)
    first = next(loader.batches(0))
    first["features", "point", "values"].fill_(7.0)
    first["present", "point"].fill_(False)
    first["row"].fill_(0)
    second = next(loader.batches(0))
    assert second["features", "point", "values"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert second["present", "point"].all()
    assert second["row"].tolist() == [0, 1, 2, 3, 4, 5]
