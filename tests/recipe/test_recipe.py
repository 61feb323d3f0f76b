"""A recipe is complete, checked before anything is loaded, and its errors name the nearest valid key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmdistill.errors import InputError
from mmdistill.recipe import Recipe
from mmdistill.recipe.document import dump_yaml


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        Recipe.from_mapping(data, source="r.yaml")
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_short_forms_become_long_forms(data: dict[str, Any]) -> None:
    recipe = Recipe.from_mapping({**data, "seeds": 3})
    assert list(recipe.tasks) == ["digit"]
    assert recipe.tasks["digit"].type == "classification"
    assert list(recipe.students) == ["student"]
    assert recipe.seeds == [0, 1, 2]
    assert recipe.teachers["teacher"].encoders["image"].name == "resnet"


def test_a_resolved_recipe_states_every_default_and_reads_back_equal(data: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe.from_mapping(data)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert Recipe.load(path) == recipe
    assert Recipe.load(path).digest() == recipe.digest()
    assert "betas" in recipe.to_yaml() or "weight_decay" in recipe.to_yaml()


def test_the_digest_knows_every_key_but_the_name(data: dict[str, Any]) -> None:
    digest = Recipe.from_mapping(data).digest()
    assert Recipe.from_mapping({**data, "name": "other"}).digest() == digest
    assert Recipe.from_mapping({**data, "seeds": [7]}).digest() != digest


def test_errors_name_file_line_key_and_the_nearest_one(data: dict[str, Any], tmp_path: Path) -> None:
    data["train"] = {"epoch": 3}
    path = tmp_path / "r.yaml"
    path.write_text(dump_yaml(data))
    line = path.read_text().splitlines().index("  epoch: 3") + 1
    with pytest.raises(
        InputError, match=rf"r\.yaml, line {line}, train\.epoch: Unknown key 'epoch'\. Did you mean 'epochs'\?"
    ):
        Recipe.load(path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("teachr", {}, "Did you mean 'teachers'"),
        ("student.encoders.sond", "tiny_cnn", "Did you mean 'sound'"),
        ("student.encoders.sound", "tiny_cn", "Did you mean 'tiny_cnn'"),
        ("student.encoders.sound", {"name": "tiny_cnn", "widht": 8}, "Did you mean 'width'"),
        ("teacher.fusion", "concta", "Did you mean 'concat'"),
        ("task", "clasification", "Did you mean 'classification'"),
        ("distill.losses", [{"name": "kld"}], "There is no loss named 'kld'"),
        ("distill.losses", [{"name": "kd", "temperature": -1}], "distill.losses.0.temperature"),
        ("distill.losses", [{"name": "kd", "temprature": 2}], "Did you mean 'temperature'"),
        ("data.columns.image.type", "imag", "Did you mean 'image'"),
        ("data.columns.image.sise", 3, "Did you mean 'size'"),
        ("data.columns.sound.augment", {"gian": 3}, "data.columns.sound.augment.gian"),
        ("train.optimizer", "adm", "Did you mean 'adam'"),
        ("train.epochs", "many", "train.epochs"),
        ("train.batch_size", 0, "train.batch_size"),
        ("student.train", {"epochz": 3}, "Did you mean 'epochs'"),
        ("student.features", {"sound": {"sample_rat": 1}}, "Did you mean 'sample_rate'"),
        ("seeds", [], "seeds"),
        ("seeds", [1, 1], "A seed stands twice"),
        ("seeds", [-1], "greater than or equal to 0"),
        ("seeds", [2**70], "less than 4294967296"),
        ("train.learning_rate", float("inf"), "finite"),
        ("train.optimizer", {"name": "adamw", "weight_decay": float("inf")}, "finite"),
        ("distill.losses", [], "learns nothing from the teacher"),
        ("distill.losses", [{"name": "kd", "weight": 0}], "learns nothing from the teacher"),
        ("data.columns.logits", {"type": "text", "source": "note"}, "cannot be called 'logits'"),
        ("name", "a/b", "cannot name a folder"),
    ],
)
def test_unknown_and_bad_values(data: dict[str, Any], path: str, value: Any, message: str) -> None:
    holder = data
    *parents, last = path.split(".")
    for part in parents:
        holder = holder.setdefault(part, {})
    holder[last] = value
    assert message in refusal(data)


def test_a_missing_key_is_named(data: dict[str, Any]) -> None:
    del data["data"]["table"]
    assert "data.table: The key 'table' is missing" in refusal(data)


def test_one_column_takes_any_fusion_which_then_has_nothing_to_do(data: dict[str, Any]) -> None:
    student = {"encoders": {"sound": "tiny_cnn"}, "fusion": "gated", "modality_dropout": 0.2}
    held = Recipe.from_mapping({**data, "student": student}).students["student"]
    assert held.fusion is not None and held.fusion.name == "gated"
    assert held.modality_dropout is not None and held.modality_dropout.name == "independent"


def test_contradictions_are_refused(data: dict[str, Any]) -> None:
    assert "two ways to say the same" in refusal({**data, "students": {"a": data["student"]}})
    both = {**data["teacher"], "run": "runs/earlier"}
    assert "not encoders and run" in refusal({**data, "teacher": both})
    whole = {"encoders": {"image": "cnn", "sound": "cnn"}}
    assert "reads all that the teacher reads" in refusal(
        {**data, "student": whole, "teacher": {**data["teacher"], "control": True}}
    )
    borrowed = {"run": "runs/earlier", "control": True}
    assert "not trained here alone" in refusal({**data, "teacher": borrowed})
    without = {key: value for key, value in data.items() if key != "student"}
    beside = {"a": data["student"], "a-baseline": data["student"]}
    assert "a model beside another student" in refusal({**without, "students": beside})
    leaking = {**data["data"], "columns": {**data["data"]["columns"], "digit": {"type": "text"}}}
    assert "is the target" in refusal({**data, "data": leaking})
    unsplit = {**data["data"], "split": {"validation": 0}}
    assert "no" in refusal({**data, "data": unsplit}) and "validation" in refusal({**data, "data": unsplit})
    untargeted = {key: value for key, value in data["data"].items() if key != "target"}
    assert "No target column" in refusal({**data, "data": untargeted})


def test_stored_signals_and_augmentation_contradict_each_other(data: dict[str, Any]) -> None:
    data["distill"]["signals"] = {"store": True}
    Recipe.from_mapping(data)
    data["data"]["columns"]["sound"]["augment"] = {"gain": 6}
    assert "the column 'sound', which the teacher reads, is augmented" in refusal(data)
    del data["data"]["columns"]["sound"]["augment"]
    assert "train.mixup" in refusal({**data, "train": {"mixup": 0.2}})


def test_a_model_may_differ_in_how_it_is_trained(data: dict[str, Any]) -> None:
    data["train"] = {"epochs": 9, "optimizer": {"name": "adamw", "weight_decay": 0.1}}
    data["teacher"]["train"] = {"optimizer": "sgd", "epochs": 2}
    recipe = Recipe.from_mapping(data)
    assert recipe.train_for(recipe.teachers["teacher"]).optimizer.name == "sgd"
    assert recipe.train_for(recipe.teachers["teacher"]).epochs == 2
    assert recipe.train_for(recipe.students["student"]).optimizer.options("optimizer").weight_decay == 0.1


def test_checking_a_recipe_loads_no_torch(data: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(dump_yaml(data))
    loaded = "[m for m in ('torch', 'pandas', 'pyarrow') if m in sys.modules]"
    code = f"import sys; from mmdistill import Recipe; Recipe.load({str(path)!r}); print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
