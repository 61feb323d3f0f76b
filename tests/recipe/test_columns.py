"""Components that name columns are checked against those of their model before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from mmdistill.errors import InputError
from mmdistill.recipe import Recipe

COLUMNS = {"image": "image", "note": "text", "lab": {"type": "tabular", "numeric": ["age"]}}
BOTH: dict[str, Any] = {"encoders": {"image": "cnn", "note": "bag"}}
ALL: dict[str, Any] = {"encoders": {"image": "cnn", "note": "bag", "lab": "ft_transformer"}}


def recipe(model: dict[str, Any], **changes: Any) -> Recipe:
    base = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": COLUMNS},
        "task": "classification",
        "teacher": model,
        "student": {"encoders": {"note": "bag"}},
        "distill": {"losses": ["kd"]},
    }
    return Recipe.from_mapping({**base, **changes}, source="r.yaml")


def listed(**combinations: float) -> dict[str, Any]:
    return {"name": "listed", "combinations": combinations}


BAD = {
    "an unknown column": (
        {**BOTH, "modality_dropout": listed(nose=1)},
        r"teacher\.modality_dropout\.combinations: 'nose' names the column 'nose', which the model does not read\. "
        r"Did you mean 'note'\?",
    ),
    "a column of another model": (
        {**BOTH, "modality_dropout": listed(**{"note+lab": 1})},
        r"'note\+lab' names the column 'lab', which the model does not read\. Known: image, note",
    ),
    "a combination in two orders": (
        {**BOTH, "modality_dropout": listed(**{"note+image": 1, "image+note": 2})},
        r"'image\+note' is listed twice",
    ),
    "a column twice": (
        {**BOTH, "modality_dropout": listed(**{"note+note": 1})},
        r"teacher\.modality_dropout\.combinations: 'note\+note' names the column 'note' twice\. Name it once",
    ),
    "film by no column": (
        {**BOTH, "fusion": {"name": "film", "by": "nota"}},
        r"teacher\.fusion\.by: The model has no column named 'nota'.*Did you mean 'note'\?",
    ),
    "film by a column of another model": (
        {**BOTH, "fusion": {"name": "film", "by": "lab"}},
        r"teacher\.fusion\.by: The model has no column named 'lab'.*Known: image, note",
    ),
    "memory of a pooled column": (
        {"encoders": {"note": "bag", "lab": "mlp"}, "fusion": "memory"},
        r"teacher\.fusion: The fusion 'memory' needs a sequence of every column, and the encoder of 'lab' gives one "
        r"vector a row\. Choose an encoder of 'lab' that keeps tokens",
    ),
    "a weight of no loss": (
        {**BOTH, "modality_balance": {"name": "gradient_blending", "weights": {"imag": 1.0}}},
        r"teacher\.modality_balance\.0\.weights: The model has no loss 'imag' to weigh\. Did you mean 'image'\?",
    ),
    "a control without the condition": (
        {**ALL, "fusion": {"name": "film", "by": "lab"}, "control": True},
        r"teacher\.fusion\.by: The control teacher beside 'student' reads its columns alone: .*'lab'.*Remove `control`",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_bad_name_is_refused_with_its_key_and_the_nearest(case: str) -> None:
    model, message = BAD[case]
    with pytest.raises(InputError, match=message):
        recipe(model, student=BOTH) if "control" in model else recipe(model)


@pytest.mark.parametrize(
    "model",
    [
        {**BOTH, "modality_dropout": listed(**{"note + image": 2, "note": 1})},
        {**BOTH, "fusion": {"name": "film", "by": "note"}},
        {**BOTH, "fusion": "film"},
        {"encoders": {"note": "bag", "lab": "ft_transformer"}, "fusion": "memory"},
        {**BOTH, "modality_balance": {"name": "gradient_blending", "weights": {"image": 1, "note": 1, "fused": 2}}},
        {**BOTH, "fusion": "film", "control": True},
    ],
)
def test_good_names_pass(model: dict[str, Any]) -> None:
    assert recipe(model).teachers["teacher"].encoders.keys() == model["encoders"].keys()


def test_a_model_of_one_column_ignores_its_dropout() -> None:
    one = {"encoders": {"note": "bag"}, "modality_dropout": listed(sound=1)}
    assert recipe(one).teachers["teacher"].modality_dropout is not None
