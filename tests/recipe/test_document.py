"""YAML as the user wrote it, with the line of every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdistill.errors import InputError
from mmdistill.recipe.document import Document, apply_overrides, dump_yaml, parse_document, read_document


def test_values_are_plain_and_every_key_has_its_line() -> None:
    document = parse_document("name: x\ntrain:\n  learning_rate: 1e-3\nseeds: [0, 1]\n", source="r.yaml")
    assert document.data == {"name": "x", "train": {"learning_rate": 0.001}, "seeds": [0, 1]}
    assert {type(value) for value in document.data["seeds"]} == {int}
    assert document.where(("train", "learning_rate")) == "r.yaml, line 3, train.learning_rate"
    assert document.where(("train", "unknown")) == "r.yaml, line 2, train.unknown"


def test_words_such_as_yes_and_no_stay_words() -> None:
    assert parse_document("answer: no").data == {"answer": "no"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2: the key is written twice"),
        ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: the key is written twice"),
        ("a: [1\nb: 2", "line 2, column 2: This is not valid YAML"),
        ("- a\n", "mapping of keys"),
        ("", "mapping of keys"),
        ("\x00", "not valid YAML"),
    ],
)
def test_bad_yaml_names_the_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_document(text)


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="folder"):
        read_document(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_document(tmp_path / "latin.yaml")


def test_overrides_are_yaml_values_and_grow_short_forms() -> None:
    document = Document(
        {"student": {"encoders": {"sound": "tiny_cnn"}}, "losses": [{"weight": 1}], "task": "classification"}
    )
    words = ["train.epochs=3", "student.encoders.sound.width=8", "losses.0.weight=0.5", "seeds=[1, 2]", "task.top_k=3"]
    apply_overrides(document, words)
    assert document.data == {
        "student": {"encoders": {"sound": {"name": "tiny_cnn", "width": 8}}},
        "losses": [{"weight": 0.5}],
        "train": {"epochs": 3},
        "seeds": [1, 2],
        "task": {"type": "classification", "top_k": 3},
    }


def test_short_names_reach_the_only_student_and_task_of_a_long_form() -> None:
    document = Document({"students": {"text": {"encoders": {}}}, "tasks": {"digit": {"type": "classification"}}})
    apply_overrides(document, ["student.baseline=false", "task.top_k=2"])
    assert document.data["students"]["text"]["baseline"] is False
    assert document.data["tasks"]["digit"]["top_k"] == 2
    assert set(document.data) == {"students", "tasks"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.epochs", "not an override"),
        ("=3", "not an override"),
        ("losses.4.weight=1", "not an item of a list of 1"),
        ("name.first=1", None),
        ("seeds=[1", "not valid YAML"),
        ("epochs.deep=1", "has no keys"),
    ],
)
def test_bad_overrides_say_what_is_wrong(word: str, message: str | None) -> None:
    document = Document({"losses": [{"weight": 1}], "name": "x", "epochs": 3})
    if message is None:
        apply_overrides(document, [word])
        assert document.data["name"] == {"name": "x", "first": 1}
        return
    with pytest.raises(InputError, match=message):
        apply_overrides(document, [word])


def test_dumped_yaml_reads_back_in_the_same_order() -> None:
    data = {"b": 1, "a": {"z": [1, {"y": None}], "x": "no"}, "empty": {}, "rate": 1e-5}
    again = parse_document(dump_yaml(data)).data
    assert again == data
    assert list(again) == list(data)
