"""Which subsets of columns a model is asked for and was never trained with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmdistill import catalog
from mmdistill.catalog import Entry, Options
from mmdistill.data.modality_dropouts.never_seen import never_seen, patterns
from mmdistill.recipe.schema import Component

COLUMNS = ("image", "lab", "note")
TRAINED = {"image": [True, True, False], "lab": [True, True, False], "note": [False, True, True]}
"""image+lab, image+lab+note, note."""
ALL = [("image", "lab", "note"), ("image", "lab"), ("image", "note"), ("lab", "note"), ("image",), ("lab",), ("note",)]


def test_without_dropout_what_no_training_row_has_is_never_seen() -> None:
    assert never_seen(ALL, TRAINED, COLUMNS) == ["image+note", "lab+note", "image", "lab"]


def test_dropout_makes_the_parts_of_what_training_rows_have() -> None:
    assert never_seen(ALL, TRAINED, COLUMNS, Component(name="independent")) == []
    without_note = {column: flags[:1] for column, flags in TRAINED.items()}
    uniform = Component(name="uniform")
    assert never_seen(ALL, without_note, COLUMNS, uniform) == ["image+lab+note", "image+note", "lab+note", "note"]


def test_listed_dropout_makes_what_it_lists_and_nothing_else() -> None:
    """The complete rows themselves are not shown where they are not listed."""
    listed = Component(name="listed", combinations={"lab+image": 0.5, "lab": 0.5})
    assert never_seen(ALL, TRAINED, COLUMNS, listed) == ["image+lab+note", "image+note", "lab+note", "image"]


def test_a_row_that_has_nothing_is_not_looked_at() -> None:
    assert never_seen([()], TRAINED, COLUMNS) == []


def test_patterns_are_counted_and_the_most_frequent_is_first() -> None:
    present = {"image": [True, False, False, False], "lab": [True, True, True, False]}
    assert patterns(present, ("lab", "image")) == {("lab",): 2, (): 1, ("lab", "image"): 1}
    assert patterns({"image": [], "lab": []}, ("image", "lab")) == {}


def test_a_dropout_of_ones_own_is_taken_to_make_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(Options):
        """Options that say nothing of subsets."""

    catalog.get("modality dropout", "uniform")
    own = Entry("modality dropout", "of_ones_own", "nowhere:Nothing", Plain)
    monkeypatch.setitem(catalog._entries, (own.kind, own.name), own)
    assert never_seen(ALL, TRAINED, COLUMNS, Component(name="of_ones_own")) == []


def test_no_torch_is_imported() -> None:
    modules = "mmdistill.data.modality_dropouts.never_seen, mmdistill.data.audit"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
