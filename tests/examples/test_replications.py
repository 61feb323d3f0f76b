"""The replications: what their data are, and that they run; the figures themselves stand in their README."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "replications"


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def focusing() -> ModuleType:
    return script("modality_focusing")


@pytest.fixture(scope="module")
def expansion() -> ModuleType:
    return script("knowledge_expansion")


def equal_columns(first: torch.Tensor, second: torch.Tensor) -> int:
    """How many inputs of one side are inputs of the other, in the same rows."""
    return sum(bool((one == other).all()) for one in first.T for other in second.T)


@pytest.mark.parametrize("overlap", [0, 4, 10])
def test_teacher_and_student_share_as_many_deciding_inputs_as_they_overlap(focusing: ModuleType, overlap: int) -> None:
    rows, test = focusing.overlapping_pairs([3], overlap)
    assert rows.teacher.shape == (1, 200, 25)
    assert rows.student.shape == (1, 200, 50)
    assert test.target.shape == (1, 1000)
    assert equal_columns(rows.teacher[0], rows.student[0]) == overlap
    assert set(rows.target.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("shared", [5, 30])
def test_the_teacher_sees_everything_that_decides(focusing: ModuleType, shared: int) -> None:
    rows, _ = focusing.sharing_pairs([3], shared)
    assert torch.equal(rows.teacher[..., :shared], rows.student[..., :shared])
    assert equal_columns(rows.teacher[0], rows.student[0]) == shared
    decided = rows.teacher[..., : shared + 10].sum(dim=-1) > 0
    assert torch.equal(decided.long(), rows.target)


def test_data_are_those_of_their_seed(focusing: ModuleType) -> None:
    first, second = (focusing.overlapping_pairs([0, 1], 4)[0].teacher for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_models_of_several_seeds_learn_as_each_alone(focusing: ModuleType) -> None:
    rows, test = focusing.overlapping_pairs([0, 1], 4)

    def trained(seeds: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        models = focusing.LinearClassifiers(25, generators)
        logits = focusing.train(models, rows.teacher[seeds], rows.target[seeds], steps=20)(test.teacher[seeds])
        assert isinstance(logits, torch.Tensor)
        return logits

    torch.testing.assert_close(trained([0, 1])[1], trained([1])[0], rtol=1e-4, atol=1e-5)


def test_a_teacher_that_sees_what_the_student_sees_helps_and_one_that_does_not_hurts(focusing: ModuleType) -> None:
    gains = {}
    for overlap in (0, 10):
        _, alone, taught = focusing.effect_of_overlap(range(6), overlap, steps=300)
        gains[overlap] = taught - alone
    assert gains[0] < 0 < gains[10]


def test_the_shared_inputs_are_found(focusing: ModuleType) -> None:
    rows, _ = focusing.sharing_pairs([0, 1], 5)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    for found in focusing.find_shared(rows, 5, generators, steps=300, repeats=5):
        assert len(set(found) & set(range(5))) >= 4


def test_both_tables_are_complete(focusing: ModuleType) -> None:
    first, second = focusing.overlap_table([0], steps=2), focusing.generality_table([0], steps=2)
    assert [len(first), len(second)] == [2 + 6, 2 + 4]
    for lines in (first, second):
        assert len({line.count("|") for line in lines}) == 1


def test_the_moons_are_split_as_said(expansion: ModuleType) -> None:
    labelled, unlabelled, test = expansion.two_moons()
    assert [len(part.target) for part in (labelled, unlabelled, test)] == [30, 270, 200]
    together = torch.cat([part.inputs for part in (labelled, unlabelled, test)])
    assert together.mean(dim=0).abs().max() < 1e-6
    torch.testing.assert_close(together.std(dim=0, unbiased=False), torch.ones(2))


def test_expansion_runs_and_repeats(expansion: ModuleType) -> None:
    teacher, scores = expansion.expand([0, 1], teacher_steps=5, student_steps=5)
    assert (teacher, scores) == expansion.expand([0, 1], teacher_steps=5, student_steps=5)
    assert {len(values) for values in scores.values()} == {2}
    assert len({line.count("|") for line in expansion.table(scores)}) == 1


def test_training_towards_hard_labels_is_cross_entropy(expansion: ModuleType) -> None:
    labelled, *_ = expansion.two_moons()
    ours, theirs = expansion.network(2, 0), expansion.network(2, 0)
    expansion.train(ours, labelled.inputs, labelled.target, steps=3)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=expansion.LEARNING_RATE)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(labelled.inputs), labelled.target).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["modality_focusing", "knowledge_expansion"])
def test_the_readme_shows_the_reference_figures_of_the_script(name: str) -> None:
    readme, source = (FOLDER / "README.md").read_text(), (FOLDER / f"{name}.py").read_text()
    assert f"python examples/replications/{name}.py" in readme
    figures = re.findall(r"^REFERENCE\w* = \{.*?^\}|^REFERENCE\w* = \{.*\}$", source, re.MULTILINE | re.DOTALL)
    numbers = {number for text in figures for number in re.findall(r"-?\d+\.\d+", text)}
    assert len(numbers) >= 3
    assert not {number for number in numbers if number not in readme}
