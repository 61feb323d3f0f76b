"""A feature is a column with settings; equal settings are one feature, and its description is plain data."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mmdistill import catalog
from mmdistill.data.features import FeatureInfo, extractor, features_for
from mmdistill.data.modalities.base import describe
from mmdistill.data.modalities.reader import CellReader
from mmdistill.errors import InputError
from mmdistill.recipe.schema import ColumnSpec
from tests.data_rows.making import fitted, grey_png, sine

COLUMNS = {
    "image": ColumnSpec.model_validate({"type": "image", "size": 28, "source": "file"}),
    "note": ColumnSpec.model_validate("text"),
    "facts": ColumnSpec.model_validate({"type": "tabular", "numeric": ["age"], "categorical": ["sex"]}),
}


def test_a_feature_has_the_name_of_its_column_unless_the_model_has_settings_of_its_own() -> None:
    own, other = features_for(COLUMNS), features_for(COLUMNS, {"image": {"size": 64}})
    assert [feature.name for feature in own] == ["image", "note", "facts"]
    assert other[0].name.startswith("image@")
    assert len(other[0].name) == len("image@") + 8
    assert other[0].settings.size == 64
    assert other[1:] == own[1:]


def test_the_name_follows_the_settings() -> None:
    name = {size: features_for(COLUMNS, {"image": {"size": size}})[0].name for size in (28, 64, 96)}
    assert name[28] == "image"  # the same as the column's own
    assert len(set(name.values())) == 3
    assert name[64] == features_for(COLUMNS, {"image": {"size": 64, "fit": "crop"}})[0].name  # a default, said


def test_sources() -> None:
    assert [feature.sources for feature in features_for(COLUMNS)] == [("file",), ("note",), ("age", "sex")]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"imgae": {"size": 3}}, "'imgae', which is not read. Did you mean 'image'"),
        ({"image": {"sise": 3}}, r"features.image.sise: There is no such setting. Did you mean 'size'"),
        ({"image": {"size": 0}}, "features.image.size"),
    ],
)
def test_overrides_are_checked(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        features_for(COLUMNS, overrides)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [("image", grey_png(9)), ("text", "some words, some words"), ("audio", sine()), ("vector", [1.0, 2.0])],
)
def test_a_description_survives_json_and_extracts_the_same(kind: str, cell: Any) -> None:
    info = fitted(kind, [cell])
    again = FeatureInfo.from_json(json.loads(json.dumps(info.to_json())))
    assert again == info
    assert again.options == info.options
    first, second = (extractor(each, CellReader(None))({"x": cell}) for each in (info, again))
    assert first is not None
    assert second is not None
    for name, spec in info.arrays.items():
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == spec.dtype
        assert first[name].shape[spec.sequence :] == spec.shape


def test_an_extractor_takes_absent_rows_and_missing_columns() -> None:
    extract = extractor(fitted("image", [grey_png(9)]), CellReader(None))
    assert extract({"x": None}) is None
    assert extract({}) is None
    assert extract({"x": grey_png(9), "other": 3}) is not None


def test_nothing_here_imports_torch() -> None:
    program = (
        "import sys\n"
        "import mmdistill.data.features, mmdistill.data.cache\n"
        "from mmdistill.data.modalities import image, text, audio, tabular, vector, catalog\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_modality_and_setting_is_described() -> None:
    entries = catalog.entries("modality")
    assert {entry.name for entry in entries} >= {"image", "text", "audio", "tabular", "vector"}
    for entry in entries:
        assert entry.summary
        assert all(field.description for field in entry.options.model_fields.values()), entry.name


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (None, "empty"),
        (True, "a truth value (True)"),
        (2.5, "a number (2.5)"),
        ("x" * 100, f"a text ('{'x' * 37}...')"),
        (b"ab", "bytes (2 of them)"),
        ({}, "a mapping with the keys (none)"),
        ([1], "a list of 1 elements"),
        (np.zeros((2, 3), np.int8), "an array of shape (2, 3) and type int8"),
        ({1, 2}, "a value of type set"),
    ],
)
def test_cells_are_described_in_words(cell: Any, words: str) -> None:
    assert describe(cell) == words
