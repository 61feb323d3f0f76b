"""Several teachers, chains, peers, the own past, teachers that go on learning, stages and a kept head, run for real."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mmdistill
from mmdistill import Recipe
from mmdistill.run import staged

from .conftest import RECIPE, write_table

NOTE = {"encoders": {"note": "bag"}}
STAGES = [{"share": 0.34, "losses": [{"name": "fitnets"}], "supervised": 0, "freeze": ["heads"]}, {"share": 0.66}]
STUDENTS: dict[str, Any] = {
    "mean": {**NOTE},
    "routed": {**NOTE, "distill": {"losses": ["kd"], "combine": "routed"}},
    "elected": {
        **NOTE,
        "teacher": ["both", "reader"],
        "distill": {
            "losses": ["kd", {"name": "rkd_distance", "taps": {"student": "note", "teacher": "note"}}],
            "combine": "elected",
        },
    },
    "far": {
        **NOTE,
        "distill": {"losses": ["kd", {"name": "fitnets", "taps": {"student": "fused", "teacher": "both:fused"}}]},
    },
    "chain": {**NOTE, "teacher": "mean"},
    "past": {**NOTE, "distill": {"policy": {"name": "own_past", "decay": 0.9}}},
    "peers": {**NOTE, "distill": {"policy": "mutual"}},
    "along": {**NOTE, "teacher": "both", "distill": {"policy": "co_trained"}},
    "staged": {**NOTE, "teacher": "both", "distill": {"losses": ["kd"], "stages": STAGES}},
    "head": {**NOTE, "teacher": "both", "head": "teacher", "distill": {"losses": ["simkd"], "supervised": 0}},
}


def recipe_for(folder: Path, *students: str, **changes: Any) -> Recipe:
    data = copy.deepcopy({**RECIPE, **changes})
    del data["student"], data["teacher"]
    data["data"]["table"] = str(folder / "animals.csv")
    if not (folder / "animals.csv").exists():
        write_table(folder / "animals.csv")
    data["teachers"] = {
        "both": {"encoders": {"note": "bag", "size": "mlp"}, "fusion": "concat"},
        "reader": NOTE,
        "scales": {"encoders": {"size": "mlp"}},
    }
    data["students"] = {name: STUDENTS[name] for name in students}
    data["seeds"] = 1
    return Recipe.from_mapping(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of every policy."""
    folder = tmp_path_factory.mktemp("policies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDISTILL_CACHE", str(folder / "cache"))
        return mmdistill.run(recipe_for(folder, *STUDENTS), root=folder / "runs").folder


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def weights(folder: Path, model: str) -> dict[str, torch.Tensor]:
    return load_file(folder / model / "seed-0" / "model.safetensors")


def card(folder: Path, model: str) -> dict[str, Any]:
    return json.loads((folder / model / "seed-0" / "model.json").read_text())["card"]


def history(folder: Path, model: str) -> list[dict[str, str]]:
    with (folder / model / "seed-0" / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_every_student_is_measured_beside_its_baseline(finished: Path) -> None:
    content = results(finished)
    roles = {name: model["role"] for name, model in content["models"].items()}
    assert {name for name, role in roles.items() if role == "teacher"} == {"both", "reader", "scales"}
    assert {name for name, role in roles.items() if role == "student"} == set(STUDENTS)
    assert {name for name, role in roles.items() if role == "peer"} == {"peers-peer", "along-co-trained"}
    assert [gain["student"] for gain in content["gains"]] == [name for name in roles if name in STUDENTS]
    assert {gain["baseline"] for gain in content["gains"]} == {"mean-baseline"}


def test_who_taught_is_written_down(finished: Path) -> None:
    models = results(finished)["models"]
    assert models["mean"]["teachers"] == ["both", "reader", "scales"]
    assert models["mean"]["teacher"] is None
    assert models["chain"]["teacher"] == "mean"
    assert models["past"]["teachers"] == []


def test_every_policy_has_the_budget_and_the_first_weights_of_the_baseline(finished: Path) -> None:
    baseline = card(finished, "mean-baseline")["training"]
    for name in STUDENTS:
        training = card(finished, name)["training"]
        assert training["steps"] == baseline["steps"], name
        if name != "head":
            assert training["initial_weights"] == baseline["initial_weights"], name
    assert card(finished, "peers-peer")["training"]["initial_weights"] != baseline["initial_weights"]


def test_a_teacher_learns_along_as_a_copy(finished: Path) -> None:
    trained, along = weights(finished, "both"), weights(finished, "along-co-trained")
    assert trained.keys() == along.keys()
    assert any(not torch.equal(trained[name], along[name]) for name in trained)


def test_terms_of_a_group_bear_the_name_of_their_model(finished: Path) -> None:
    assert {"peers/kd", "peers-peer/kd", "peers/supervised"} <= set(history(finished, "peers")[0])


def test_stages_share_the_epochs_and_leave_one_history(finished: Path) -> None:
    rows = history(finished, "staged")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["fitnets"] and not rows[0]["kd"]
    assert rows[-1]["kd"] and not rows[-1]["fitnets"]
    assert int(rows[-1]["step"]) == card(finished, "staged")["training"]["steps"]
    assert not list((finished / "staged" / "seed-0").glob("stage-*"))


def test_a_kept_head_is_the_teachers_and_has_not_learnt(finished: Path) -> None:
    kept, teacher = weights(finished, "head"), weights(finished, "both")
    names = [name for name in teacher if name.startswith("heads.")]
    assert names
    for name in names:
        assert torch.equal(kept[name], teacher[name])


def test_a_router_is_no_part_of_the_student(finished: Path) -> None:
    assert weights(finished, "routed").keys() == weights(finished, "mean").keys()
    assert "router" in history(finished, "routed")[0]


class Stopped(Exception):
    """Stands for a process that was killed."""


def test_a_finished_stage_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mmdistill.run(recipe_for(tmp_path, "staged"), root=tmp_path / "whole").folder
    learn_stage, trained = staged._learn_stage, []

    def stops_at_the_second(*arguments: Any) -> Any:
        home: Path = arguments[-1]
        trained.append(home.name)
        if trained == ["stage-1", "stage-2"]:
            raise Stopped
        return learn_stage(*arguments)

    monkeypatch.setattr(staged, "_learn_stage", stops_at_the_second)
    with pytest.raises(Stopped):
        mmdistill.run(recipe_for(tmp_path, "staged"), root=tmp_path / "parts")
    parts = mmdistill.run(recipe_for(tmp_path, "staged"), root=tmp_path / "parts").folder
    assert trained == ["stage-1", "stage-2", "stage-2"]
    expected = weights(whole, "staged")
    for name, value in weights(parts, "staged").items():
        assert torch.equal(value, expected[name]), name
    same = [
        [{key: value for key, value in row.items() if "second" not in key} for row in history(folder, "staged")]
        for folder in (whole, parts)
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize("policy", ["past", "peers", "along"])
def test_a_group_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    from mmdistill.run import together
    from mmdistill.training import loop

    whole = mmdistill.run(recipe_for(tmp_path, policy), root=tmp_path / "whole").folder
    fit, end_epoch = together.fit, loop._Loop.end_epoch

    def stops_after_an_epoch(self: Any) -> None:
        end_epoch(self)
        self.save()
        raise Stopped

    def interrupted(*arguments: Any, **more: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop._Loop, "end_epoch", stops_after_an_epoch)
            return fit(*arguments, **more)

    monkeypatch.setattr(together, "fit", interrupted)
    with pytest.raises(Stopped):
        mmdistill.run(recipe_for(tmp_path, policy), root=tmp_path / "parts")
    monkeypatch.setattr(together, "fit", fit)
    parts = mmdistill.run(recipe_for(tmp_path, policy), root=tmp_path / "parts").folder
    expected = weights(whole, policy)
    for name, value in weights(parts, policy).items():
        assert torch.equal(value, expected[name]), name


def test_too_few_epochs_for_the_stages(tmp_path: Path) -> None:
    with pytest.raises(mmdistill.errors.InputError, match="2 stages and 1 epochs"):
        mmdistill.run(recipe_for(tmp_path, "staged", train={"epochs": 1, "batch_size": 16}), root=tmp_path / "runs")


def test_a_part_that_does_not_exist_cannot_be_frozen(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "staged").model_dump(mode="json", exclude_none=True)
    recipe["students"]["staged"]["distill"]["stages"][0]["freeze"] = ["encoder.note"]
    with pytest.raises(mmdistill.errors.InputError, match=r"no part .encoder\.note.\. Did you mean .encoders\.note"):
        mmdistill.run(Recipe.from_mapping(recipe), root=tmp_path / "runs")
