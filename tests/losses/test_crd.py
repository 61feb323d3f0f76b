"""crd: its memory of rows, what it draws from it, and how it is saved."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.contrast_memory import ContrastMemory
from mmdistill.losses.counter_random import drawn_below
from mmdistill.losses.crd import CRD

GOLDEN = Path(os.environ.get("MMDISTILL_DATA", "nowhere")).parent / "golden"
SHAPES = {"student_features": (4,), "teacher_features": (6,)}
ROWS = torch.tensor([30, 10, 50, 20, 40, 60, 80, 70])
TARGETS = torch.tensor([0, 1, 0, 1, 2, 2, -1, 0])


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(targets: Tensor | None = TARGETS, seed: int = 0, **options: object) -> CRD:
    loss = losses.CRD(dimension=8, negatives=64, **options)
    return loss.build(SHAPES, rows=ROWS, targets=targets, seed=seed)


def memory(targets: Tensor | None = TARGETS, negatives: int = 7, seed: int = 0) -> ContrastMemory:
    return ContrastMemory(ROWS, targets, dimension=8, negatives=negatives, dtype=torch.float16, seed=seed)


def step(loss: CRD, row: Tensor, seed: int = 0, weight: Tensor | None = None) -> Tensor:
    value: Tensor = loss(numbers(len(row), 4, seed=seed), numbers(len(row), 6, seed=seed + 100), row, weight)
    return value


def entry_of(memory: ContrastMemory, row: int) -> Tensor:
    return memory.student_bank[memory.find(torch.tensor([row]))[0][0]].float()


# The function


def test_crd_by_hand() -> None:
    """One row and two negatives of four rows, with given normalisers: h = P / (P + K / N)."""
    student, teacher = F.normalize(numbers(1, 3)), F.normalize(numbers(1, 3, seed=1))
    contrasts = [F.normalize(numbers(1, 3, 3, seed=seed), dim=2) for seed in (2, 3)]
    expected = 0.0
    for anchor, contrast, normalizer in ((student, contrasts[1], 5.0), (teacher, contrasts[0], 9.0)):
        found = (contrast[0] @ anchor[0] / 0.5).exp() / normalizer
        h = found / (found + 2 / 4)
        expected -= (h[0].log() + (1 - h[1:]).log().sum()).item()
    ours = functional.crd(student, teacher, *contrasts, torch.tensor([5.0, 9.0]), rows=4, temperature=0.5)
    assert ours.item() == pytest.approx(expected, rel=1e-5)


def test_the_normalisers_of_a_batch_receive_no_gradient() -> None:
    student = F.normalize(numbers(2, 3)).requires_grad_()
    contrast = F.normalize(numbers(2, 5, 3, seed=2), dim=2)
    free = functional.crd(student, student.detach(), contrast, contrast, rows=10)
    scores = [(contrast @ student.detach()[:, :, None]).squeeze(2) / 0.07] * 2
    fixed = torch.stack([10 * one.exp().mean() for one in scores])
    given = functional.crd(student, student.detach(), contrast, contrast, fixed, rows=10)
    torch.testing.assert_close(free, given)
    torch.testing.assert_close(torch.autograd.grad(free, student), torch.autograd.grad(given, student))


def test_the_module_computes_the_function() -> None:
    loss = built()
    before = copy.deepcopy(loss)
    row = torch.tensor([10, 40, 70])
    found = step(loss, row)
    bank, heads = before.memory, (before.student_head, before.teacher_head)
    assert bank is not None and heads[0] is not None and heads[1] is not None
    student, teacher = F.normalize(heads[0](numbers(3, 4))), F.normalize(heads[1](numbers(3, 6, seed=100)))
    contrast = bank.contrast(bank.draw(bank.find(row)[0]), torch.float32)
    torch.testing.assert_close(found, functional.crd(student, teacher, *contrast, rows=8))


def test_both_heads_are_trained() -> None:
    loss = built()
    step(loss, ROWS[:4]).backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name


def test_shapes_of_the_function_are_checked() -> None:
    one, contrast = numbers(2, 3), numbers(2, 5, 3)
    with pytest.raises(InputError, match="must both be"):
        functional.crd(one, one[:1], contrast, contrast, rows=9)
    with pytest.raises(InputError, match="do not go with"):
        functional.crd(one, one, contrast, contrast[:, :4], rows=9)
    with pytest.raises(InputError, match="do not go with"):
        functional.crd(one, one, contrast[:, :1], contrast[:, :1], rows=9)


# Which rows are drawn


def test_negatives_are_of_other_classes_and_all_of_them_come() -> None:
    bank, classes = memory(), dict(zip(ROWS.tolist(), TARGETS.tolist(), strict=True))
    number_at = {int(bank.find(row[None])[0]): int(row) for row in ROWS}
    drawn: dict[int, set[int]] = {row: set() for row in classes}
    for _ in range(60):
        for row, places in zip(ROWS.tolist(), bank.draw(bank.find(ROWS)[0]), strict=True):
            assert number_at[int(places[0])] == row
            drawn[row] |= {number_at[int(place)] for place in places[1:]}
        bank.counter += 1
    for row, found in drawn.items():
        others = {other for other in classes if other != row and (classes[row] < 0 or classes[other] != classes[row])}
        assert found == others, row


def test_without_targets_negatives_are_any_other_rows() -> None:
    bank = memory(targets=None)
    drawn = torch.cat([bank.draw(bank.find(ROWS)[0])[:, 1:]])
    assert not (drawn == bank.find(ROWS)[0][:, None]).any()
    assert drawn.unique().numel() == 8
    assert built(negatives_from="other_rows").memory.stretch_length.unique().tolist() == [1]  # type: ignore[union-attr]


def test_all_other_rows_are_drawn_alike() -> None:
    rows = torch.arange(100)
    bank = ContrastMemory(rows, rows % 4, dimension=2, negatives=99, dtype=torch.float32, seed=3)
    counts = torch.zeros(100)
    for _ in range(400):
        counts += torch.bincount(bank.draw(torch.tensor([0]))[0, 1:], minlength=100)
        bank.counter += 1
    drawn, mean = counts[25:], 400 * 99 / 75
    assert counts[:25].sum() == 0
    assert ((drawn - mean).square() / mean).sum() < 75 + 4 * (2 * 75) ** 0.5  # χ² of 74 degrees of freedom


def test_draws_depend_on_seed_step_and_row_and_not_on_the_place_in_the_batch() -> None:
    bank, place = memory(), torch.tensor([4, 1, 6])
    first = bank.draw(place)
    assert torch.equal(bank.draw(place.flip(0)), first.flip(0))
    assert torch.equal(memory().draw(place), first)
    assert not torch.equal(memory(seed=1).draw(place), first)
    assert not torch.equal(first[0, 1:], first[1, 1:])
    bank.counter += 1
    assert not torch.equal(bank.draw(place), first)


def test_random_integers_fill_their_range_evenly() -> None:
    drawn = drawn_below(torch.arange(100_000), torch.tensor(7))
    counts = torch.bincount(drawn)
    assert len(counts) == 7
    assert ((counts - 1e5 / 7).square() / (1e5 / 7)).sum() < 25
    neighbours = torch.bincount(drawn[:-1] * 7 + drawn[1:])
    assert ((neighbours - 1e5 / 49).square() / (1e5 / 49)).sum() < 100
    assert drawn_below(torch.arange(1000), torch.tensor(1)).max() == 0
    assert drawn_below(torch.arange(1000), torch.tensor(2**31)).max() > 2**30


# What is remembered


def test_rows_of_the_batch_are_mixed_in_after_the_loss_and_no_others() -> None:
    loss = built(memory_precision="float32", momentum=0.25)
    bank, head = loss.memory, loss.student_head
    assert bank is not None
    assert head is not None
    before = bank.student_bank.clone()
    step(loss, torch.tensor([20, 60]))
    new = F.normalize(head(numbers(2, 4)))
    places = bank.find(torch.tensor([20, 60]))[0]
    torch.testing.assert_close(bank.student_bank[places], F.normalize(0.25 * before[places] + 0.75 * new))
    others = [place for place in range(8) if place not in places.tolist()]
    assert torch.equal(bank.student_bank[others], before[others])


def test_rows_of_weight_zero_and_unknown_rows_neither_count_nor_change_the_memory() -> None:
    loss, alone = built(), built()
    row = torch.tensor([20, 60, 10, 99, 5])
    found = step(loss, row, weight=torch.tensor([1.0, 1, 0, 1, 1]))
    value = alone(numbers(5, 4)[:2], numbers(5, 6, seed=100)[:2], row[:2])
    torch.testing.assert_close(found, value)
    for name, buffer in alone.state_dict().items():
        torch.testing.assert_close(loss.state_dict()[name], buffer, msg=name)


def test_normalisers_are_those_of_the_first_training_batch() -> None:
    loss = built()
    bank = loss.memory
    assert bank is not None
    step(loss.eval(), ROWS[:3])
    assert bank.normalizers.tolist() == [0, 0]
    step(loss.train(), ROWS[:3], weight=torch.zeros(3))
    assert bank.normalizers.tolist() == [0, 0]
    step(loss, ROWS[:3])
    fixed = bank.normalizers.clone()
    assert (fixed > 0).all()
    step(loss, ROWS[3:6])
    assert torch.equal(bank.normalizers, fixed)


def test_evaluation_changes_nothing() -> None:
    loss = built()
    step(loss, ROWS)
    before = copy.deepcopy(loss.state_dict())
    assert step(loss.eval(), ROWS[:3]) > 0
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_a_restored_loss_goes_on_with_the_same_numbers() -> None:
    loss, restored = built(), built(seed=7)
    for index in range(3):
        step(loss, ROWS[index : index + 4], seed=index)
    restored.load_state_dict(loss.state_dict())
    for index in range(3):
        batch = ROWS[index : index + 4]
        assert torch.equal(step(restored, batch, seed=index), step(loss, batch, seed=index))


def test_training_brings_a_row_nearer_to_its_own_entry_than_to_others() -> None:
    torch.manual_seed(0)
    rows, loss = torch.arange(32), losses.CRD(dimension=8, negatives=31, temperature=0.2)
    loss.build({"student_features": (6,), "teacher_features": (6,)}, rows=rows)
    teacher = numbers(32, 6)
    student = torch.nn.Parameter(numbers(32, 6, seed=1))
    optimizer = torch.optim.Adam([student, *loss.parameters()], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss(student, teacher, rows).backward()
        optimizer.step()
    embeddings = [
        F.normalize(head(side)) for head, side in ((loss.student_head, student), (loss.teacher_head, teacher))
    ]
    nearest = (embeddings[0] @ embeddings[1].T).argmax(dim=1)
    assert (nearest == rows).float().mean() > 0.9


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the folder golden/ beside MMDISTILL_DATA is not there")
@pytest.mark.parametrize("name", ["crd__first_step__s1d", "crd__later_step__s1d"])
def test_memory_and_normalisers_after_a_step_are_those_of_the_authors(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        recorded = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    shapes = {f"{side}_features": (recorded[f"{side}_emb"].shape[1],) for side in ("student", "teacher")}
    loss = losses.CRD(dimension=16, negatives=20, memory_precision="float32").build(shapes, rows=torch.arange(40))
    state = {
        f"{side}_head.{part}": recorded[f"param.embed_{side[0]}.linear.{part}"]
        for side in ("student", "teacher")
        for part in ("weight", "bias")
    }
    loss.load_state_dict(state, strict=False)
    for bank, number in ((loss.memory.student_bank, 1), (loss.memory.teacher_bank, 2)):
        bank[:40] = recorded[f"buffer.contrast.memory_v{number}"]
    loss.memory.normalizers.copy_(recorded["buffer.contrast.params"][2:4].clamp(min=0))
    loss.memory.draw = lambda place: recorded["contrast_idx"]
    found = loss(recorded["student_emb"], recorded["teacher_emb"], recorded["index"])
    assert found.item() == pytest.approx(float(recorded["loss"]), rel=1e-5)
    for bank, number in ((loss.memory.student_bank, 1), (loss.memory.teacher_bank, 2)):
        torch.testing.assert_close(bank[:40], recorded[f"memory_v{number}_after"])
    torch.testing.assert_close(loss.memory.normalizers, recorded["Z"])


def test_the_banks_of_a_million_rows_take_little_more_than_half_a_gigabyte() -> None:
    loss = built()
    bank = loss.memory
    assert bank is not None
    assert bank.student_bank.dtype is bank.teacher_bank.dtype is torch.float16
    entries = bank.student_bank.nbytes + bank.teacher_bank.nbytes
    assert entries == 9 * 8 * 2 * 2  # a row more than there are, for what is written nowhere
    million = 1_000_001 * 128 * 2 * 2
    assert million <= 0.52e9


class Sizes(TorchDispatchMode):
    """Collects how large the results of all operations are, but for those that are the buffers themselves."""

    def __init__(self, buffers: list[Tensor]) -> None:
        super().__init__()
        self.buffers = {buffer.data_ptr() for buffer in buffers}
        self.largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, Tensor) and one.data_ptr() not in self.buffers:
                self.largest = max(self.largest, one.numel())
        return result


def test_no_operation_of_a_step_is_as_large_as_the_number_of_rows() -> None:
    largest = []
    for number in (1000, 100_000):
        loss = losses.CRD(dimension=8, negatives=16)
        loss.build(SHAPES, rows=torch.arange(number), targets=torch.arange(number) % 3)
        with Sizes(list(loss.buffers())) as sizes:
            step(loss, torch.tensor([5, 900, 17])).backward()
        largest.append(sizes.largest)
    assert largest[0] == largest[1] < 1000


# Wrong use


def test_what_cannot_be_built_says_why() -> None:
    loss = losses.CRD(dimension=8)
    with pytest.raises(InputError, match="row numbers"):
        loss.build(SHAPES)
    with pytest.raises(InputError, match="more than once"):
        loss.build(SHAPES, rows=torch.tensor([1, 2, 1]))
    with pytest.raises(InputError, match="another row"):
        loss.build(SHAPES, rows=torch.tensor([1]))
    with pytest.raises(InputError, match="other_rows"):
        loss.build(SHAPES, rows=torch.arange(3), targets=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match=r"targets has shape \(2,\)"):
        loss.build(SHAPES, rows=torch.arange(3), targets=torch.arange(2))
    with pytest.raises(InputError, match="teacher_features"):
        loss.build({"student_features": (4,)}, rows=torch.arange(3))
    with pytest.raises(InputError, match="student_features"):
        loss.build({"student_features": (None, 4), "teacher_features": (4,)}, rows=torch.arange(3))


def test_forward_before_build_says_so() -> None:
    with pytest.raises(InputError, match="build"):
        step(losses.CRD(), ROWS)


@pytest.mark.parametrize("option", [{"momentum": 1.0}, {"negatives": 0}, {"temperature": 0}, {"dimension": 0}])
def test_options_out_of_range_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        losses.CRD(**option)


def test_epsilon_is_added_to_the_denominators() -> None:
    generator = torch.Generator().manual_seed(3)
    student, teacher = (F.normalize(torch.randn(4, 3, dtype=torch.float64, generator=generator)) for _ in range(2))
    memory = [F.normalize(torch.randn(4, 6, 3, dtype=torch.float64, generator=generator), dim=2) for _ in range(2)]
    normalizers, share = torch.tensor([30.0, 4.0], dtype=torch.float64), 5 / 20
    expected = torch.zeros((), dtype=torch.float64)
    for anchor, contrast, normalizer in zip((student, teacher), reversed(memory), normalizers, strict=True):
        score = torch.exp((contrast @ anchor[:, :, None])[..., 0] / 0.5) / normalizer
        chance = torch.cat((score[:, :1], torch.full((4, 5), share)), dim=1) / (score + share + 0.01)
        expected = expected - chance.log().sum() / 4
    found = functional.crd(student, teacher, *memory, normalizers, rows=20, temperature=0.5, epsilon=0.01)
    torch.testing.assert_close(found, expected)
