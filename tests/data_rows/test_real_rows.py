"""Real tables: sounds and pictures in zip files, missing laboratory values, features of a npz file, reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmdistill.data.features import features_for
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import read_table
from mmdistill.errors import InputError
from mmdistill.recipe.schema import ColumnSpec
from tests.data_rows.making import data_folder


def prepared(path: Path, cache: Path, on_error: Any = "raise", **specs: dict[str, Any]) -> PreparedRows:
    table = read_table(str(path))
    features = features_for({name: ColumnSpec.model_validate(spec) for name, spec in specs.items()})
    return prepare(table, features, np.arange(0, len(table), 2), cache, on_error)


def test_spoken_digits(tmp_path: Path) -> None:
    spec = {
        "type": "audio",
        "source": "file",
        "root": "recordings.zip/recordings",
        "sample_rate": 8_000,
        "mel_bins": 40,
    }
    rows = prepared(data_folder("fsdd") / "index.csv", tmp_path, sound=spec)
    batch = rows.features["sound"].gather(torch.arange(0, 3_000, 30))
    table = read_table(str(data_folder("fsdd") / "index.csv"))
    samples = np.array([int(str(cell)) for cell in table.column("frames")])[::30]
    frames = np.maximum(1, 1 + (samples - 200) // 80)
    assert batch["mask"].sum(dim=1).tolist() == frames.tolist()
    assert torch.isfinite(batch["values"]).all()


def test_emoji_and_their_captions(tmp_path: Path) -> None:
    image = {"type": "image", "source": "file", "root": "images.zip/images", "size": 32}
    rows = prepared(data_folder("emoji") / "captions.csv", tmp_path, image=image, text={"type": "text"})
    assert rows.rows == 1_644
    assert rows.features["image"].info.state["channels"] == 3
    corners = rows.features["image"].gather(torch.arange(1_644))["values"][:, :, 0, 0]
    assert (corners == 255).all(dim=1).float().mean() > 0.9  # transparent there: white
    assert all(present.all() for present in rows.present.values())


def test_pictures_beside_sentences(tmp_path: Path) -> None:
    image = {"type": "image", "source": "file", "root": "images.zip", "size": [25, 100]}
    path = data_folder("nlvr_subset") / "pairs.csv"
    with pytest.raises(InputError, match=r"No training row could be read; the first: .*Did you mean 'images/"):
        prepared(path, tmp_path, image=image, sentence={"type": "text"})
    image["root"] = "images.zip/images"
    rows = prepared(path, tmp_path, image=image, sentence={"type": "text"})
    assert rows.features["image"].gather(torch.tensor([0]))["values"].shape == (1, 3, 25, 100)


def test_x_rays_are_grey_and_infinite_laboratory_values_are_named(tmp_path: Path) -> None:
    path = data_folder("covid_xray") / "metadata.csv"
    image = {"type": "image", "source": "file", "root": "images.zip/images", "size": 32}
    values = {"type": "tabular", "numeric": ["crp_val", "po2_val"], "categorical": ["sex"]}
    with pytest.raises(InputError, match=r"metadata.csv, line 17, column 'values': .*'crp_val' is not finite \(-inf\)"):
        prepared(path, tmp_path, image=image, values=values)
    rows = prepared(path, tmp_path, "skip", image=image, values=values)
    assert rows.features["image"].info.state["channels"] == 1
    assert {bad.column for bad in rows.skipped} == {"values"}
    assert len(rows.usable) + len({bad.row for bad in rows.skipped}) == 243
    missing = rows.features["values"].gather(rows.usable)["missing"].float().mean(dim=0)
    assert ((missing > 0.1) & (missing < 0.9)).all()


def test_utterance_features_by_row_number(tmp_path: Path) -> None:
    folder = data_folder("cmu_mosi")
    spec = {"type": "vector", "source": "row", "root": "features.npz", "key": "audio"}
    rows = prepared(folder / "utterances.csv", tmp_path, audio=spec)
    with np.load(folder / "features.npz", allow_pickle=False) as archive:
        expected = archive["audio"]
    np.testing.assert_array_equal(rows.features["audio"].gather(torch.arange(2_199))["values"].numpy(), expected)


def test_reviews_with_missing_texts(tmp_path: Path) -> None:
    rows = prepared(
        data_folder("womens_clothing_reviews") / "reviews.csv.gz",
        tmp_path,
        text={"type": "text", "source": "review_text", "max_length": 64},
        facts={"type": "tabular", "numeric": ["age"], "categorical": ["department", "class_name"]},
    )
    assert int((~rows.present["text"]).sum()) == 845
    assert rows.present["facts"].all()
    categories = rows.features["facts"].gather(torch.arange(rows.rows))["categorical"]
    assert int((categories[:, 0] == 0).sum()) == 14
