"""A finished model and a table that lacks columns it reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mmdistill
from mmdistill.data.table import read_table
from mmdistill.errors import InputError
from mmdistill.models.custom.wrap import wrap
from mmdistill.recipe import Recipe
from mmdistill.run.apply import evaluate_run, predict_table
from mmdistill.run.dataset import load_dataset
from mmdistill.run.folder import RunFolder, find_run
from mmdistill.run.other_tables import applied, prepared_for
from tests.end_to_end.conftest import Command


def without(table: Path, *columns: str, empty: bool = False) -> Path:
    """The table without some columns, or with nothing in them."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if empty or name not in columns]
    path = table.with_name(f"{'empty' if empty else 'without'}-{'-'.join(columns)}.csv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | (dict.fromkeys(columns, "") if empty else {}) for row in rows)
    return path


@pytest.fixture
def finished(data: dict[str, Any], tmp_path: Path) -> RunFolder:
    """A run of one seed whose student reads both columns and has seen rows without either."""
    data["student"] = data["teacher"] | {"modality_dropout": 0.3, "missing": "learned_token", "baseline": False}
    data["train"]["epochs"] = 1
    data["seeds"] = 1
    return find_run(mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "runs").folder)


def predictions(folder: RunFolder, table: Path) -> tuple[list[dict[str, str]], list[str]]:
    output = table.with_name(f"predictions of {table.name}")
    notes = predict_table(folder, str(table), output)["notes"]
    with output.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream)), notes


def test_a_column_that_the_table_lacks_is_absent_in_every_row(
    finished: RunFolder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    table = tmp_path / "animals.csv"
    rows, notes = predictions(finished, without(table, "note"))
    assert len(rows) == 240
    assert notes == [f"{without(table, 'note')} has no column for 'note': 'student' takes it as absent in every row."]
    assert rows == predictions(finished, without(table, "note", empty=True))[0]
    assert rows != predictions(finished, table)[0]
    assert predictions(finished, table)[1] == []

    evaluated = evaluate_run(finished, str(without(table, "note")))
    assert [note.split(": ")[1].split(" takes")[0] for note in evaluated["notes"]] == ["'student'", "'teacher'"]
    expected = evaluate_run(finished, str(without(table, "note", empty=True)))
    assert evaluated["models"] == expected["models"]
    assert evaluated["models"] != evaluate_run(finished, str(table))["models"]

    command: Command = request.getfixturevalue("mmdistill")
    told = command("predict", finished.path, without(table, "note"), "--output", tmp_path / "out.csv", "--json")
    assert told.returncode == 0, told.stderr
    assert "Note: " in told.stderr and "'note'" in told.stderr
    assert json.loads(told.stdout.splitlines()[-1])["notes"]


def test_a_table_without_any_of_the_columns_or_with_a_part_of_one_is_refused(
    finished: RunFolder, tmp_path: Path
) -> None:
    bare = without(tmp_path / "animals.csv", "note", "width", "weight", "colour")
    with pytest.raises(InputError, match=r"none of the columns.*note, width, weight, colour"):
        predictions(finished, bare)
    with pytest.raises(InputError, match="none of the columns"):
        evaluate_run(finished, str(bare))
    # Likely a mistake in a header.
    with pytest.raises(InputError, match=r"no column 'weight', which .* for 'size'\. Rename .* or add one"):
        predictions(finished, without(tmp_path / "animals.csv", "weight"))
    misspelt = tmp_path / "misspelt.csv"
    misspelt.write_text((tmp_path / "animals.csv").read_text(encoding="utf-8").replace("weight", "wieght", 1))
    with pytest.raises(InputError, match=r"no column 'weight'.*Did you mean 'wieght'\? Rename"):
        predictions(finished, misspelt)


def test_a_model_that_reads_nothing_of_the_table_is_left_out_and_the_others_are_scored(
    data: dict[str, Any], tmp_path: Path
) -> None:
    data["student"] = {"encoders": {"size": "mlp"}, "baseline": False}
    data["train"]["epochs"] = data["seeds"] = 1
    folder = find_run(mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "runs").folder)
    bare = without(tmp_path / "animals.csv", "width", "weight", "colour")
    evaluated = evaluate_run(folder, str(bare))
    assert list(evaluated["models"]) == ["teacher"] and evaluated["rows"] > 0
    left_out = f"'student' is left out. {bare}: The table has none of the columns that the model reads."
    assert sum(note.startswith(left_out) for note in evaluated["notes"]) == 1
    with pytest.raises(InputError, match=r"none of the columns.*width"):
        evaluate_run(folder, str(without(tmp_path / "animals.csv", "note", "width", "weight", "colour")))


class Together(nn.Module):
    """Reads two columns; is told which rows have a note, and not which have a size."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, numbers: Tensor, note: Tensor, note_there: Tensor) -> Tensor:
        length = torch.where(note_there, note.shape[1], 0).unsqueeze(1)
        logits: Tensor = self.head(torch.cat([numbers, length.to(numbers.dtype)], dim=1))
        return logits


def test_a_custom_model_does_without_the_columns_that_it_is_told_the_presence_of(
    data: dict[str, Any], tmp_path: Path
) -> None:
    dataset = load_dataset(Recipe.from_mapping(data))
    features = {name: store.info for name, store in dataset.prepared.features.items()}
    inputs = {"numbers": "size.numeric", "note": "note.values", "note_there": "note.present"}
    model = wrap(Together(), inputs=inputs, features=features).eval()
    table = tmp_path / "animals.csv"

    def logits(path: Path) -> Tensor:
        opened = read_table(path)
        rows = np.arange(len(opened))
        return applied(model, prepared_for(model, opened), rows, ["logits"])["logits"]

    assert torch.equal(logits(without(table, "note")), logits(without(table, "note", empty=True)))
    assert not torch.equal(logits(without(table, "note")), logits(table))
    with pytest.raises(InputError, match=r"no column for 'size', which .* cannot do without.*width, weight"):
        logits(without(table, "width", "weight", "colour"))
