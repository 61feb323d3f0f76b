"""What is particular to the losses between maps and between stages, and where published code differs from ours."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.batch_norm import WeightedBatchNorm
from mmdistill.losses.ofd import batch_norm_margin
from mmdistill.losses.singular_vectors import singular_vectors

SHAPES = ((4, 6, 6), (5, 3, 3))
STAGE_LOSSES = ["at", "nst", "ab", "ofd", "reviewkd", "fsp", "kdsvd"]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stages(seed: int = 0, rows: int = 3) -> tuple[Tensor, ...]:
    return tuple(numbers(rows, *shape, seed=seed + i) for i, shape in enumerate(SHAPES))


def made(name: str, *shape_of_each: tuple[int, ...], kind: str = "stages", **options: Any) -> Any:
    """A loss by its class name, built for the same shapes on both sides where it learns."""
    shape: Any = shape_of_each if kind == "stages" else shape_of_each[0]
    shapes = {f"student_{kind}": shape, f"teacher_{kind}": shape}
    return getattr(losses, name)(**options).build(shapes).double()


CLASSES = {"at": "AT", "nst": "NST", "ab": "AB", "ofd": "OFD", "reviewkd": "ReviewKD", "fsp": "FSP", "kdsvd": "KDSVD"}


# How stages are given


@pytest.mark.parametrize("name", ["at", "nst", "ab", "ofd", "reviewkd"])
def test_a_lone_tensor_is_one_stage(name: str) -> None:
    student, teacher = numbers(3, *SHAPES[0]), numbers(3, *SHAPES[0], seed=1)
    loss = made(CLASSES[name], SHAPES[0])
    shapes = {"student_stages": SHAPES[0], "teacher_stages": SHAPES[0]}
    alone = getattr(losses, CLASSES[name])().build(shapes).double()
    assert torch.equal(alone(student, teacher), copy.deepcopy(loss)((student,), (teacher,)))
    assert torch.equal(loss([student], [teacher]), copy.deepcopy(loss)((student,), (teacher,)))


@pytest.mark.parametrize("sides", [(12,), (6, 4), (4, 4, 4)], ids=["sound", "image", "video"])
@pytest.mark.parametrize("name", STAGE_LOSSES)
def test_one_to_three_axes_of_positions(name: str, sides: tuple[int, ...]) -> None:
    shapes = ((3, *sides), (4, *(side // 2 for side in sides)))
    student, teacher = ([numbers(2, *shape, seed=seed) for shape in shapes] for seed in (0, 9))
    student = [maps.requires_grad_() for maps in student]
    made(CLASSES[name], *shapes)(student, teacher).backward()
    assert all(maps.grad is not None and maps.grad.abs().max() > 0 for maps in student)


@pytest.mark.parametrize("sides", [(12,), (4, 4, 4)], ids=["sound", "video"])
@pytest.mark.parametrize("name", ["FT", "CWD", "MGD"])
def test_losses_of_one_map_take_one_to_three_axes(name: str, sides: tuple[int, ...]) -> None:
    student, teacher = numbers(2, 4, *sides).requires_grad_(), numbers(2, 4, *sides, seed=1)
    rows = (torch.arange(2),) if name == "MGD" else ()
    made(name, (4, *sides), kind="maps")(student, teacher, *rows).backward()
    assert student.grad is not None


@pytest.mark.parametrize("name", STAGE_LOSSES)
def test_unequal_numbers_of_stages_are_refused(name: str) -> None:
    loss = made(CLASSES[name], *SHAPES)
    with pytest.raises(InputError, match="2 student stages and 1 teacher stages"):
        loss(stages(), stages()[:1])


@pytest.mark.parametrize("name", ["ab", "ofd", "reviewkd"])
def test_other_numbers_of_stages_than_built_for_are_refused(name: str) -> None:
    loss = made(CLASSES[name], *SHAPES)
    with pytest.raises(InputError, match="1 stages, but the loss was built for 2"):
        loss(stages()[:1], stages()[:1])


@pytest.mark.parametrize("name", ["fsp", "kdsvd"])
def test_losses_between_stages_need_two(name: str) -> None:
    with pytest.raises(InputError, match="1 stage, and the loss needs at least 2"):
        getattr(functional, name)(stages()[0], stages()[0])


@pytest.mark.parametrize("name", ["at", "nst", "fsp", "kdsvd"])
def test_stages_that_do_not_belong_together_are_refused(name: str) -> None:
    loss = getattr(functional, name)
    with pytest.raises(InputError, match=r"numbers of rows differ: student_stages\[0\]"):
        loss(stages(rows=3), stages(rows=2))
    with pytest.raises(InputError, match="positions"):
        loss(stages(), [maps.flatten(2) for maps in stages()])
    with pytest.raises(InputError, match="positions"):
        loss([maps[:, :, 0, 0] for maps in stages()], [maps[:, :, 0, 0] for maps in stages()])


@pytest.mark.parametrize("name", ["fsp", "kdsvd", "reviewkd"])
def test_unequal_widths_are_refused_where_they_cannot_be_compared(name: str) -> None:
    with pytest.raises(InputError, match=r"channels differ: student_stages\[1\]"):
        getattr(functional, name)(stages(), (stages()[0], stages()[1][:, :3]))


def test_unequal_sizes_are_refused_where_the_loss_does_not_pool() -> None:
    student, teacher = numbers(2, 3, 4, 4), numbers(2, 3, 2, 2)
    for loss in (functional.ab, functional.cwd, functional.reviewkd):
        with pytest.raises(InputError, match="sizes differ"):
            loss(student, teacher)
    with pytest.raises(InputError, match="sizes differ"):
        functional.mgd(student, teacher, torch.ones(()), lambda maps: maps)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"student_stages": ((3, 4, 4),)}, "teacher_stages is not given"),
        ({"student_stages": ((3, 4, 4),), "teacher_stages": ((3, 4, 4), (4, 2, 2))}, "1 student stages and 2"),
        ({"student_stages": ((3, 4, 4),), "teacher_stages": ((3, 4),)}, "different numbers of axes"),
        ({"student_stages": ((3,),), "teacher_stages": ((3,),)}, "no map"),
        ({"student_stages": ((None, 4, 4),), "teacher_stages": ((3, 4, 4),)}, "no map"),
    ],
)
def test_building_refuses_shapes_that_do_not_fit(shapes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        losses.OFD().build(shapes)


def test_a_loss_of_one_map_refuses_several() -> None:
    shape = ((3, 4, 4), (4, 2, 2))
    with pytest.raises(InputError, match="one map of each side"):
        losses.FT().build({"student_maps": shape, "teacher_maps": shape})


def test_sizes_may_be_unknown_when_a_loss_is_built() -> None:
    shape = (3, None, None)
    loss = losses.ReviewKD().build({"student_stages": (shape,), "teacher_stages": (shape,)})
    assert loss(torch.randn(2, 3, 4, 4), torch.randn(2, 3, 5, 5)).isfinite()


# Attention transfer


def test_at_by_hand() -> None:
    student = torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]], dtype=torch.float64)  # attention (9, 4) / 2
    teacher = torch.tensor([[[[0.0, -1.0]]]], dtype=torch.float64)  # attention (0, 1)
    length = math.hypot(9, 4)
    expected = ((9 / length) ** 2 + (4 / length - 1) ** 2) / 2
    assert functional.at(student, teacher).item() == pytest.approx(expected)
    assert functional.at(student, teacher, distance="norm").item() == pytest.approx(math.sqrt(2 * expected))


def test_at_adds_stages_up() -> None:
    student, teacher = stages(), stages(7)
    alone = [functional.at(one, other) for one, other in zip(student, teacher, strict=True)]
    torch.testing.assert_close(functional.at(student, teacher), alone[0] + alone[1])


def test_at_with_power_1_does_not_let_signs_cancel_as_published_code_does() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[-1.0, 2.0]]]], dtype=torch.float64)
    same_sizes = torch.tensor([[[[1.0, 2.0]], [[1.0, -2.0]]]], dtype=torch.float64)
    assert functional.at(maps, same_sizes, power=1.0).item() == pytest.approx(0, abs=1e-15)
    published = [nn.functional.normalize(one.mean(dim=1).flatten(1)) for one in (maps, same_sizes)]
    assert (published[0] - published[1]).square().mean() > 0.1


def test_at_pools_the_larger_map_axis_by_axis() -> None:
    student, teacher = numbers(2, 3, 4, 2), numbers(2, 5, 2, 6, seed=1)
    pooled = nn.functional.adaptive_avg_pool2d
    expected = functional.at(pooled(student, (2, 2)), pooled(teacher, (2, 2)))
    torch.testing.assert_close(functional.at(student, teacher), expected)


# Neuron selectivity transfer


@pytest.mark.parametrize("kernel", ["polynomial", "linear", "gaussian"])
def test_nst_by_the_definition_of_the_discrepancy(kernel: Any) -> None:
    student, teacher = numbers(1, 3, 2, 2), numbers(1, 4, 2, 2, seed=1)
    ours, theirs = ([channel.flatten() / channel.norm() for channel in maps[0].unbind()] for maps in (student, teacher))
    distances = [(x - y).square().sum() for x in ours for y in theirs]
    width = torch.stack(distances).mean()
    kernels = {
        "polynomial": lambda x, y: (x @ y + 0.5) ** 3,
        "linear": lambda x, y: x @ y,
        "gaussian": lambda x, y: torch.exp(-(x - y).square().sum() / (2 * width)),
    }

    def mean(first: list[Tensor], second: list[Tensor]) -> Tensor:
        return torch.stack([kernels[kernel](x, y) for x in first for y in second]).mean()

    expected = mean(ours, ours) + mean(theirs, theirs) - 2 * mean(ours, theirs)
    found = functional.nst(student, teacher, kernel=kernel, degree=3, constant=0.5)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", ["polynomial", "linear", "gaussian"])
def test_nst_is_zero_for_the_same_channels_in_another_order(kernel: Any) -> None:
    maps = numbers(2, 4, 3, 3)
    assert functional.nst(maps.flip(1) * 2, maps, kernel=kernel).item() == pytest.approx(0, abs=1e-12)


# Activation boundaries


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (0.5, 1.5, 0.0),  # active, beyond the margin
        (0.5, 0.25, 0.75**2),  # active, but not by the margin
        (9.0, -2.0, 3.0**2),  # how strongly the teacher responds does not matter
        (-0.5, -1.5, 0.0),
        (-9.0, 0.0, 1.0),
        (0.0, -1.0, 0.0),  # zero is inactive
        (0.0, 1.0, 4.0),
    ],
)
def test_ab_by_hand(teacher: float, student: float, expected: float) -> None:
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    assert functional.ab(student * one, teacher * one).item() == pytest.approx(expected)


def test_ab_halves_earlier_stages_and_sums_elements_unless_told_otherwise() -> None:
    student, teacher = stages(), stages(7)
    sums = [functional.ab(one, other) for one, other in zip(student, teacher, strict=True)]
    means = [functional.ab(one, other, reduction="mean") for one, other in zip(student, teacher, strict=True)]
    torch.testing.assert_close(functional.ab(student, teacher), sums[0] / 2 + sums[1])
    torch.testing.assert_close(functional.ab(student, teacher, stage_decay=1.0), sums[0] + sums[1])
    torch.testing.assert_close(means[0] * math.prod(SHAPES[0]), sums[0])


# Factor transfer


def gradients(module: nn.Module) -> dict[str, bool]:
    """Which parameters got a gradient."""
    return {name: value.grad is not None and bool(value.grad.any()) for name, value in module.named_parameters()}


def ft_step(**options: float) -> tuple[Any, Tensor]:
    loss = made("FT", (4, 5, 5), kind="maps", **options)
    student = numbers(3, 4, 5, 5).requires_grad_()
    loss(student, numbers(3, 4, 5, 5, seed=1)).backward()
    return loss, student


def test_the_first_stage_of_ft_teaches_the_paraphraser_alone() -> None:
    loss, student = ft_step(factor=0.0)
    assert student.grad is None
    assert all(gradients(loss.paraphraser).values())
    assert not any(gradients(loss.translator).values())


def test_the_second_stage_of_ft_leaves_the_paraphraser_alone() -> None:
    loss, student = ft_step(reconstruction=0.0)
    assert student.grad is not None
    assert student.grad.any()
    assert all(gradients(loss.translator).values())
    assert all(value.grad is None for value in loss.paraphraser.parameters())


def test_beside_the_student_the_paraphraser_learns_from_its_reconstruction_alone() -> None:
    both, first = ft_step()[0], ft_step(factor=0.0)[0]
    for ours, theirs in zip(both.paraphraser.parameters(), first.paraphraser.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_paraphraser_learns_to_reconstruct() -> None:
    loss, teacher = made("FT", (4, 5, 5), kind="maps", factor=0.0), numbers(8, 4, 5, 5).relu()
    optimizer = torch.optim.Adam(loss.paraphraser.parameters(), lr=0.01)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(teacher, teacher)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.7 * values[0]


def test_ft_refuses_to_learn_nothing() -> None:
    with pytest.raises(InputError, match="must be above 0 where factor is 0"):
        losses.FT(factor=0.0, reconstruction=0.0)


def test_ft_forms_by_hand() -> None:
    student = torch.tensor([[[3.0], [4.0]]], dtype=torch.float64)  # two channels of one position
    teacher = torch.tensor([[[4.0], [3.0]]], dtype=torch.float64)
    assert functional.ft(student, teacher).item() == pytest.approx(0.2)
    assert functional.ft(student, teacher, power=2).item() == pytest.approx(0.04)
    assert functional.ft(student, teacher, factor_form="attention").item() == pytest.approx(0)


def test_factors_have_the_share_of_the_teachers_channels_that_is_set() -> None:
    shapes = {"student_maps": (3, 4, 4), "teacher_maps": (8, 4, 4)}
    widths = [
        losses.FT(rate=rate).build(shapes).translator.convolutions[-1].out_channels for rate in (0.5, 0.75, 0.01, 2)
    ]
    assert widths == [4, 6, 1, 16]


# Overhaul of feature distillation


def test_ofd_ignores_what_both_sides_silence() -> None:
    margin = [torch.tensor([-1.0], dtype=torch.float64)]

    def value(student: float, teacher: float) -> float:
        one = torch.ones(1, 1, 1, dtype=torch.float64)
        return functional.ofd(student * one, teacher * one, margin).item()

    assert value(-3.0, -0.5) == 0  # below a negative target
    assert value(-3.0, -9.0) == 0  # below the margin, which is the target
    assert value(0.0, -9.0) == pytest.approx(1.0)  # above the margin
    assert value(-3.0, 2.0) == pytest.approx(25.0)  # the target is positive
    assert value(4.0, 2.0) == pytest.approx(4.0)


def test_margins_are_the_expected_negative_responses() -> None:
    weight, bias = torch.tensor([1.0, -2.0, 0.5, 1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, -1.0, 9.0, -1.0, 1.0])
    found = batch_norm_margin(weight, bias)
    normal = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        responses = normal * weight[i] + bias[i]
        assert found[i].item() == pytest.approx(responses[responses < 0].mean().item(), abs=0.01)
    assert found[3].item() == pytest.approx(-3.0)  # all but never negative
    assert found[4].item() == pytest.approx(-1.0)  # no deviation: always the bias
    assert found[5].item() == pytest.approx(0, abs=1e-6)


def test_margins_are_learnt_from_the_teachers_maps() -> None:
    loss, batches = made("OFD", SHAPES[0]), [numbers(3, *SHAPES[0], seed=seed) for seed in (1, 2)]
    batches[1][:, 0] = 1.0
    weight = torch.tensor([1.0, 0.0, 2.0])
    loss(numbers(3, *SHAPES[0]), batches[0], weight)
    loss(numbers(3, *SHAPES[0]), batches[1])
    seen = torch.cat((batches[0][[0, 2]], batches[1])).movedim(1, 0)
    expected = torch.stack([channel[channel < 0].mean() for channel in seen])
    torch.testing.assert_close(loss.margins[0].value, expected)
    loss.eval()(numbers(3, *SHAPES[0]), batches[0])
    torch.testing.assert_close(loss.margins[0].value, expected)


def test_given_margins_stay_and_survive_saving() -> None:
    shapes = {"student_stages": SHAPES, "teacher_stages": SHAPES}
    given = [torch.full((shape[0],), -0.5 - i) for i, shape in enumerate(SHAPES)]
    loss = losses.OFD().build(shapes, margins=given).double()
    restored = made("OFD", *SHAPES)
    restored.load_state_dict(loss.state_dict())
    for one in (loss, restored):
        one(stages(), stages(7))
        assert [margin.value.tolist() for margin in one.margins] == [margin.tolist() for margin in given]
    with pytest.raises(InputError, match="margins have shapes"):
        losses.OFD().build(shapes, margins=given[:1])
    with pytest.raises(InputError, match="margins have shapes"):
        functional.ofd(stages(), stages(), [torch.zeros(3), torch.zeros(3)])


# Knowledge review


def test_hierarchical_context_by_hand() -> None:
    student, teacher = numbers(2, 3, 6, 6), numbers(2, 3, 6, 6, seed=1)
    error, pool = nn.functional.mse_loss, nn.functional.adaptive_avg_pool2d
    pooled = [error(pool(student, side), pool(teacher, side)) for side in (4, 2, 1)]
    expected = (error(student, teacher) + pooled[0] / 2 + pooled[1] / 4 + pooled[2] / 8) / (1 + 0.5 + 0.25 + 0.125)
    torch.testing.assert_close(functional.reviewkd(student, teacher), expected)


def test_levels_that_are_no_smaller_than_the_map_are_left_out() -> None:
    student, teacher = numbers(2, 3, 2, 2), numbers(2, 3, 2, 2, seed=1)
    error = nn.functional.mse_loss
    expected = (error(student, teacher) + error(student.mean((2, 3)), teacher.mean((2, 3))) / 2) / 1.5
    torch.testing.assert_close(functional.reviewkd(student, teacher), expected)
    one = functional.reviewkd(student[..., :1, :1], teacher[..., :1, :1])
    torch.testing.assert_close(one, error(student[..., :1, :1], teacher[..., :1, :1]))


def test_pooled_features_count_as_a_map_of_one_position() -> None:
    shapes = {"student_stages": (*SHAPES, (6,)), "teacher_stages": (*SHAPES, (7,))}
    loss = losses.ReviewKD().build(shapes).double()
    student, teacher = (*stages(), numbers(3, 6)), (*stages(7), numbers(3, 7, seed=3))
    as_maps = ((*side[:2], side[2][:, :, None, None]) for side in (student, teacher))
    assert torch.equal(copy.deepcopy(loss)(student, teacher), copy.deepcopy(loss)(*as_maps))


def test_a_shallow_stage_is_compared_with_what_deeper_ones_saw() -> None:
    loss, student, teacher = made("ReviewKD", *SHAPES), stages(), stages(7)
    shallow = loss.fusions[0]
    deep = student[1].requires_grad_()
    _, handed = loss.fusions[1](deep, None, teacher[1].shape[2:], None)
    compared, _ = shallow(student[0], handed, teacher[0].shape[2:], None)
    assert compared.shape == teacher[0].shape
    (gradient,) = torch.autograd.grad(compared.square().sum(), deep)
    assert gradient.abs().max() > 0


# Flow of the solution procedure


def test_flow_matrices_by_hand() -> None:
    student, teacher = stages(), stages(7)

    def flow(maps: tuple[Tensor, ...]) -> Tensor:
        pooled = nn.functional.max_pool2d(maps[0], 2)
        return torch.einsum("bchw,bdhw->bcd", pooled, maps[1]) / 9

    difference = flow(student) - flow(teacher)
    torch.testing.assert_close(functional.fsp(student, teacher), difference.square().sum() / 3)
    torch.testing.assert_close(functional.fsp(student, teacher, distance="mean"), difference.square().mean())
    columns = difference.square().sum(dim=1).sqrt().sum() / 3
    torch.testing.assert_close(functional.fsp(student, teacher, distance="norm"), columns)
    assert functional.fsp(student, teacher, pooling="average") != functional.fsp(student, teacher)


def test_fsp_compares_networks_whose_maps_have_other_sizes() -> None:
    student, teacher = (numbers(2, 3, 4, 4), numbers(2, 4, 2, 2)), (numbers(2, 3, 8, 8), numbers(2, 4, 8, 8))
    assert functional.fsp(student, teacher).item() > 0


# Singular vectors


def test_the_gradient_of_singular_vectors_is_pytorchs_where_singular_values_are_apart() -> None:
    for shape in ((2, 7, 4), (2, 4, 7)):
        matrices, direction = numbers(*shape).requires_grad_(), numbers(2, shape[2], 4, seed=1)
        _, found = singular_vectors(matrices)
        expected = torch.linalg.svd(matrices, full_matrices=False)[2].mT
        # Absolute inner products with a fixed direction do not depend on the signs.
        ours, theirs = (
            torch.autograd.grad((vectors * direction).sum(dim=1).square().sum(), matrices)[0]
            for vectors in (found, expected)
        )
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["equal values", "rank one", "zero", "tiny"])
def test_the_gradient_of_singular_vectors_stays_finite(kind: str, dtype: torch.dtype) -> None:
    matrices = {
        "equal values": torch.eye(5, 4)[None] * 3,
        "rank one": torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 5))[None],
        "zero": torch.zeros(1, 5, 4),
        "tiny": numbers(1, 5, 4).float() * 1e-12,
    }[kind]
    matrices = matrices.to(dtype).requires_grad_()
    _, vectors = singular_vectors(matrices)
    (vectors * numbers(1, 4, 4).to(dtype)).sum().backward()
    assert matrices.grad is not None
    assert matrices.grad.isfinite().all()
    if kind == "equal values":
        published = torch.linalg.svd(matrices, full_matrices=False)[2].mT
        (gradient,) = torch.autograd.grad((published * numbers(1, 4, 4).to(dtype)).sum(), matrices)
        assert not gradient.isfinite().all()


@pytest.mark.parametrize("layout", ["channels", "width"])
def test_kdsvd_does_not_depend_on_the_signs_that_a_library_chooses(layout: Any) -> None:
    student, teacher = stages(), stages(7)
    expected = functional.kdsvd(student, teacher, layout=layout)
    for flipped in ((-student[0], student[1]), student):
        for target in ((-teacher[0], teacher[1]), (teacher[0], -teacher[1])):
            torch.testing.assert_close(functional.kdsvd(flipped, target, layout=layout), expected)


def test_kdsvd_finds_a_direction_of_the_teacher_among_the_students_next_ones() -> None:
    basis = torch.linalg.qr(numbers(9, 4))[0].mT
    shares = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    teacher = (torch.diag(shares) @ basis).view(1, 4, 3, 3)
    student = (torch.diag(shares.flip(0)) @ basis).view(1, 4, 3, 3)
    assert functional.kdsvd((student, student), (teacher, teacher)).item() == pytest.approx(0, abs=1e-12)


def test_kdsvd_with_the_width_layout_refuses_other_widths() -> None:
    student, teacher = numbers(2, 3, 4, 4), numbers(2, 3, 5, 5)
    with pytest.raises(InputError, match="widths differ"):
        functional.kdsvd((student, student), (teacher, teacher), layout="width")


# Channel-wise distillation


def test_cwd_by_hand() -> None:
    student = torch.tensor([[[0.0, math.log(3.0)]]], dtype=torch.float64)  # probabilities 1/4, 3/4
    teacher = torch.zeros(1, 1, 2, dtype=torch.float64)
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert functional.cwd(student, teacher, temperature=1.0).item() == pytest.approx(expected)
    scaled = functional.cwd(2 * student, 2 * teacher, temperature=2.0)
    assert scaled.item() == pytest.approx(4 * expected)


def test_cwd_pulls_every_channel_to_the_teachers_distribution() -> None:
    student, teacher = numbers(2, 3, 4, 4).requires_grad_(), numbers(2, 3, 4, 4, seed=1)
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        functional.cwd(student, teacher, temperature=1.0).backward()
        optimizer.step()
    shares = [maps.flatten(2).softmax(dim=2) for maps in (student, teacher)]
    torch.testing.assert_close(shares[0], shares[1], atol=1e-3, rtol=0)


# Masked generation


def test_mgd_by_hand() -> None:
    student, teacher = numbers(2, 3, 4, 4), numbers(2, 3, 4, 4, seed=1)
    kept = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(2)) > 0.5
    found = functional.mgd(student, teacher, kept, lambda maps: 2 * maps)
    torch.testing.assert_close(found, (2 * student * kept - teacher).square().sum() / 2)
    mean = functional.mgd(student, teacher, kept, lambda maps: 2 * maps, reduction="mean")
    torch.testing.assert_close(mean * 48, found)


def seen(loss: Any, row: Tensor, shape: tuple[int, ...] = (3, 8, 8)) -> Tensor:
    """Which elements of the student's map the loss reads, by their gradient."""
    student = torch.ones(len(row), *shape, dtype=torch.float64, requires_grad=True)
    loss.generation = nn.Identity()
    loss(student, torch.zeros_like(student), row).backward()
    assert student.grad is not None
    return student.grad != 0


@pytest.mark.parametrize(("masks", "axes"), [("positions", (1,)), ("channels", (2, 3))])
def test_masks_hide_the_share_that_is_set(masks: str, axes: tuple[int, ...]) -> None:
    loss = made("MGD", (40, 8, 8), kind="maps", masks=masks, ratio=0.3)
    kept = seen(loss, torch.arange(100), (40, 8, 8))
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.02)
    for axis in axes:
        assert (kept == kept.narrow(axis, 0, 1)).all()


def test_masks_belong_to_row_step_and_seed() -> None:
    loss = made("MGD", (3, 8, 8), kind="maps")
    again, other = copy.deepcopy(loss), losses.MGD()
    other.build({"student_maps": (3, 8, 8), "teacher_maps": (3, 8, 8)}, seed=1).double()
    first, second = seen(loss, torch.arange(4)), seen(loss, torch.arange(4))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(seen(again, torch.tensor([3, 1])), first[[3, 1]])
    assert torch.equal(seen(again, torch.arange(4)), second)
    assert not torch.equal(seen(other, torch.arange(4)), first)


def test_evaluation_does_not_advance_the_masks_and_saving_keeps_their_place() -> None:
    loss = made("MGD", (3, 8, 8), kind="maps")
    seen(loss, torch.arange(4))
    resumed = made("MGD", (3, 8, 8), kind="maps")
    resumed.generation = nn.Identity()
    resumed.load_state_dict(loss.state_dict())
    seen(loss.eval(), torch.arange(4))
    expected = seen(loss.train(), torch.arange(4))
    assert torch.equal(seen(resumed, torch.arange(4)), expected)


# Batch normalisation with weights


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 0.0, 2.0, 0.5])], ids=["all rows", "weights"])
def test_normalisation_is_pytorchs_over_the_rows_that_count(weight: Tensor | None, training: bool) -> None:
    ours, theirs = WeightedBatchNorm(3).double().train(training), nn.BatchNorm2d(3).double().train(training)
    for module in (ours, theirs):
        with torch.no_grad():
            module.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
            module.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    maps = numbers(4, 3, 5, 5) * 3 + 1
    rows = torch.ones(4, dtype=torch.bool) if weight is None else weight > 0
    torch.testing.assert_close(ours(maps, weight)[rows], theirs(maps[rows]))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_a_single_value_is_normalised_to_the_bias() -> None:
    module = WeightedBatchNorm(3).double()
    torch.testing.assert_close(module(numbers(1, 3, 1, 1)).flatten(), module.bias)


def test_a_batch_of_weight_zero_leaves_the_running_statistics() -> None:
    module = WeightedBatchNorm(3).double()
    assert module(numbers(2, 3, 4, 4), torch.zeros(2)).isfinite().all()
    assert torch.equal(module.running_mean, torch.zeros(3, dtype=torch.float64))
    assert torch.equal(module.running_var, torch.ones(3, dtype=torch.float64))


def test_at_keeps_signs_for_odd_powers_as_the_ports_do_only_when_told() -> None:
    maps = torch.tensor([[[1.0, -2.0]], [[3.0, -1.0]]], dtype=torch.float64)
    teacher = maps.abs()
    assert functional.at(maps, teacher, power=3.0).item() == 0
    # 1 and −8 of length √65 against 1 and 8, and 27 and −1 of length √730 against 27 and 1.
    expected = ((16**2 / 65) / 2 + (2**2 / 730) / 2) / 2
    assert functional.at(maps, teacher, power=3.0, absolute=False).item() == pytest.approx(expected)
    assert functional.at(maps, teacher, power=2.0, absolute=False).item() == 0
    with pytest.raises(InputError, match="have no power"):
        functional.at(maps, teacher, power=2.5, absolute=False)


def test_fts_attention_is_a_mean_over_channels_of_any_power() -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(3, 2, 4, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    for power in (1, 2, 3):
        ours, theirs = (nn.functional.normalize((maps**power).mean(dim=1).flatten(1)) for maps in (student, teacher))
        found = functional.ft(student, teacher, factor_form="attention", channel_power=power)
        torch.testing.assert_close(found, (ours - theirs).abs().mean())
