"""What is particular to the losses on features and activation maps, and where published implementations differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.unit_vectors import unit_vectors


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = numbers(6, 8), numbers(6, 8, seed=1)
STUDENT_MAPS, TEACHER_MAPS = numbers(6, 4, 5, 7), numbers(6, 4, 5, 7, seed=1)
ON_FEATURES = ["fitnets", "cosine_features", "normalised_mse", "frequency_features"]


# FitNets


def test_fitnets_is_the_mean_over_all_values_and_the_papers_form_half_the_sum_of_a_row() -> None:
    for student, teacher in ((STUDENT, TEACHER), (STUDENT_MAPS, TEACHER_MAPS)):
        torch.testing.assert_close(functional.fitnets(student, teacher), F.mse_loss(student, teacher))
        paper = functional.fitnets(student, teacher, reduction="half_sum")
        torch.testing.assert_close(paper, 0.5 * (student - teacher).square().sum() / 6)


def test_fitnets_on_hidden_states_leaves_padding_out() -> None:
    student, teacher = numbers(2, 3, 4), numbers(2, 3, 4, seed=1)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    expected = F.mse_loss(student[mask], teacher[mask])
    torch.testing.assert_close(functional.fitnets(student, teacher, mask=mask), expected)


# Cosine


def test_cosine_features_is_the_cosine_embedding_loss_of_distilbert() -> None:
    expected = F.cosine_embedding_loss(STUDENT, TEACHER, torch.ones(6))
    torch.testing.assert_close(functional.cosine_features(STUDENT, TEACHER), expected)
    assert functional.cosine_features(-TEACHER, TEACHER).item() == pytest.approx(2)


def test_cosine_features_compares_maps_position_by_position() -> None:
    expected = (1 - F.cosine_similarity(STUDENT_MAPS, TEACHER_MAPS, dim=1)).mean()
    torch.testing.assert_close(functional.cosine_features(STUDENT_MAPS, TEACHER_MAPS), expected)


def test_the_normalised_squared_error_is_the_cosine_loss_in_other_units() -> None:
    cosine = functional.cosine_features(STUDENT, TEACHER)
    torch.testing.assert_close(functional.normalised_mse(STUDENT, TEACHER, reduction="sum"), 2 * cosine)
    torch.testing.assert_close(functional.normalised_mse(STUDENT, TEACHER), 2 / 8 * cosine)


def test_a_vector_of_zeros_gets_a_gradient_of_ordinary_size() -> None:
    """With the smallest norm of F.normalize, 1e-12, it would be 1e12 times as large."""
    ours, theirs = (torch.zeros(1, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    unit_vectors(ours)[0, 0].backward()
    F.normalize(theirs)[0, 0].backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert ours.grad.norm() == 1
    assert theirs.grad.norm() == pytest.approx(1e12)


# Variational information distillation


def test_vid_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([[3.0, 2.0]], dtype=torch.float64)
    variance = torch.tensor([2.0, 0.5], dtype=torch.float64)
    scale = (variance - 1e-5).expm1().log()
    expected = 0.5 * (4 / 2 + 0 / 0.5 + variance.log().sum()) / 2
    torch.testing.assert_close(functional.vid(student, teacher, scale), expected)


def test_vid_is_a_gaussian_log_density() -> None:
    scale = numbers(8, seed=2)
    variance = F.softplus(scale) + 1e-5
    density = torch.distributions.Normal(STUDENT, variance.sqrt()).log_prob(TEACHER)
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
    torch.testing.assert_close(functional.vid(STUDENT, TEACHER, scale), -density.mean() - constant)


def test_vid_learns_its_variances() -> None:
    """mdistiller keeps them in a plain list, which no optimiser sees: there the loss is a weighted squared error."""
    loss = losses.VID().build({"student_features": (3,), "teacher_features": (8,)}).double()
    assert {name.split(".")[0] for name, _ in loss.named_parameters()} == {"mean_network", "scale"}
    student, teacher = numbers(64, 3), numbers(64, 8, seed=1) * torch.logspace(-1, 0.3, 8, dtype=torch.float64)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    first = loss(student, teacher).item()
    for _ in range(600):
        optimizer.zero_grad()
        value = loss(student, teacher)
        value.backward()
        optimizer.step()
    residuals = (loss.mean_network(student) - teacher).square().mean(dim=0)
    torch.testing.assert_close(F.softplus(loss.scale), residuals, rtol=0.25, atol=0)
    assert value.item() < first - 0.3


def test_vid_starts_from_the_variance_that_is_set() -> None:
    loss = losses.VID(initial_variance=0.25).build({"student_features": (3,), "teacher_features": (5,)})
    torch.testing.assert_close(F.softplus(loss.scale) + 1e-5, torch.full((5,), 0.25))


def test_vids_mean_network_is_a_row_of_1x1_convolutions_on_maps() -> None:
    loss = losses.VID().build({"student_features": (4, 5, 7), "teacher_features": (3, 5, 7)}).double()
    first, second, third = (loss.mean_network[layer].weight[:, :, None, None] for layer in (0, 2, 4))
    mean = F.conv2d(F.relu(F.conv2d(F.relu(F.conv2d(STUDENT_MAPS, first)), second)), third)
    expected = functional.vid(mean, TEACHER_MAPS[:, :3], loss.scale)
    torch.testing.assert_close(loss(STUDENT_MAPS, TEACHER_MAPS[:, :3]), expected)


def test_vid_stays_finite_for_a_large_scale() -> None:
    """Published code writes the softplus as log(1 + exp(x)), which overflows."""
    assert torch.log(1 + torch.tensor(100.0).exp()).isinf()
    assert functional.vid(STUDENT, TEACHER, torch.full((8,), 100.0)).isfinite()


def test_vid_names_shapes_that_it_cannot_use() -> None:
    with pytest.raises(InputError, match=r"channels of student_features.*None"):
        losses.VID().build({"teacher_features": (8,)})
    with pytest.raises(InputError, match=r"teacher_features.*\(None, None\)"):
        losses.VID().build({"student_features": (8,), "teacher_features": (None, None)})
    with pytest.raises(InputError, match=r"scale has shape \(3,\).*8 channels"):
        functional.vid(STUDENT, TEACHER, torch.zeros(3))
    with pytest.raises(InputError, match="initial_variance"):
        losses.VID(initial_variance=0)


# SimKD


@pytest.mark.parametrize("larger", ["student", "teacher"])
def test_simkd_pools_the_larger_maps_to_the_smaller(larger: str) -> None:
    large, small = numbers(6, 4, 6, 6), numbers(6, 4, 3, 3, seed=1)
    student, teacher = (large, small) if larger == "student" else (small, large)
    torch.testing.assert_close(functional.simkd(student, teacher), F.mse_loss(F.avg_pool2d(large, 2), small))


def test_simkd_takes_maps_of_equal_channels_only() -> None:
    with pytest.raises(InputError, match=r"channels differ.*\(6, 4, 5, 7\).*\(6, 3, 5, 7\)"):
        functional.simkd(STUDENT_MAPS, TEACHER_MAPS[:, :3])
    with pytest.raises(InputError, match="student_features has shape"):
        functional.simkd(STUDENT, TEACHER[:, :3])


def test_simkd_of_pooled_features_is_their_mean_squared_error() -> None:
    torch.testing.assert_close(functional.simkd(STUDENT, TEACHER), F.mse_loss(STUDENT, TEACHER))


# CAT-KD


def test_catkd_makes_class_activation_maps_from_the_heads() -> None:
    student_head, teacher_head = numbers(3, 4, seed=2), numbers(3, 6, seed=3)
    teacher_maps = numbers(6, 6, 8, 8, seed=4)
    ours = functional.catkd(STUDENT_MAPS, teacher_maps, student_head, teacher_head)
    student = torch.einsum("kc,bchw->bkhw", student_head, STUDENT_MAPS)
    teacher = torch.einsum("kc,bchw->bkhw", teacher_head, teacher_maps)
    pooled = [F.normalize(F.adaptive_avg_pool2d(maps, 2).flatten(2), dim=-1) for maps in (student, teacher)]
    torch.testing.assert_close(ours, F.mse_loss(*pooled))
    torch.testing.assert_close(functional.catkd(student, teacher), ours)


def test_pooled_class_activation_maps_are_the_logits() -> None:
    """Their mean over all positions is what the head makes of the pooled features, but for its bias."""
    head = numbers(3, 4, seed=2)
    ours = functional.catkd(STUDENT_MAPS, TEACHER_MAPS, head, head, resolution=1, normalise=False)
    student, teacher = (maps.mean((2, 3)) @ head.T for maps in (STUDENT_MAPS, TEACHER_MAPS))
    torch.testing.assert_close(ours, F.mse_loss(student, teacher))


def test_the_students_head_learns_from_catkd_and_the_teachers_does_not() -> None:
    heads = [numbers(3, 4, seed=seed).requires_grad_() for seed in (2, 3)]
    functional.catkd(STUDENT_MAPS, TEACHER_MAPS, *heads).backward()
    assert heads[0].grad is not None
    assert heads[0].grad.abs().max() > 0
    assert heads[1].grad is None


def test_catkd_can_binarise_the_teachers_map() -> None:
    student, teacher = numbers(1, 1, 2, 2), torch.tensor([[[[4.0, -1.0], [2.0, -1.0]]]], dtype=torch.float64)
    expected = F.mse_loss(F.normalize(student.flatten(1)), torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(functional.catkd(student, teacher, binarise=True), expected)


@pytest.mark.parametrize("size", [(7,), (4, 4, 4)])
def test_catkd_takes_sounds_and_volumes(size: tuple[int, ...]) -> None:
    student, teacher = numbers(2, 3, *size), numbers(2, 3, *size, seed=1)
    assert functional.catkd(student, teacher) > 0
    assert functional.catkd(teacher, teacher) == 0


def test_catkd_names_heads_and_maps_that_do_not_belong_together() -> None:
    with pytest.raises(InputError, match=r"class counts differ: the student has 4.*teacher 3"):
        functional.catkd(STUDENT_MAPS, TEACHER_MAPS[:, :3])
    with pytest.raises(InputError, match=r"teacher_head_weight has shape \(3, 5\).*teacher_maps \(6, 4, 5, 7\)"):
        functional.catkd(STUDENT_MAPS, TEACHER_MAPS, numbers(3, 4), numbers(3, 5))


# Frequency-decoupled features


def standardised(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True)


def compressed(values: Tensor) -> Tensor:
    return values.sign() * (1 + values.abs()).log()


def test_frequency_features_by_the_formula() -> None:
    """As the published code has it for 512 channels: of 257 frequencies 1 to 128 are low, 129 to 256 high."""
    student, teacher = numbers(3, 512), numbers(3, 512, seed=1)
    low = [torch.fft.irfft(F.pad(torch.fft.rfft(one)[:, 1:129], (1, 128))) for one in (student, teacher)]
    high = [torch.fft.irfft(F.pad(torch.fft.rfft(one)[:, 129:], (129, 0))) for one in (student, teacher)]
    expected = (
        F.mse_loss(*map(standardised, low)) * 2 + F.mse_loss(*(compressed(standardised(one)) for one in high)) * 3
    )
    ours = functional.frequency_features(student, teacher, low_weight=2.0, high_weight=3.0)
    torch.testing.assert_close(ours, expected)


def waves(*frequencies: int) -> Tensor:
    place = torch.arange(16, dtype=torch.float64) / 16
    return torch.stack([(2 * torch.pi * frequency * place).cos() for frequency in frequencies]).sum(0)[None]


def test_each_band_sees_its_own_frequencies() -> None:
    """Of 16 channels the highest frequency is 8; up to 4 they are low."""
    bands = {"low": {"high_weight": 0.0}, "high": {"low_weight": 0.0}}
    teacher = waves(2, 7)
    for other, changed in ((waves(4, 7), "low"), (waves(2, 5), "high")):
        for band, options in bands.items():
            assert (functional.frequency_features(other, teacher, **options) > 1e-6) == (band == changed)


def test_maps_are_split_over_their_positions_each_channel_alone() -> None:
    teacher = numbers(2, 3, 8, 10)
    scale, shift = numbers(2, 3, 1, 1, seed=2).abs() + 0.1, numbers(2, 3, 1, 1, seed=3)
    assert functional.frequency_features(teacher * scale + shift, teacher).item() == pytest.approx(0, abs=1e-12)
    stripes = torch.cos(torch.pi * torch.arange(10, dtype=torch.float64)).expand(2, 3, 8, 10)
    only_low = functional.frequency_features(teacher + 5 * stripes, teacher, high_weight=0.0)
    assert only_low.item() == pytest.approx(0, abs=1e-12)
    assert functional.frequency_features(teacher + 5 * stripes, teacher, low_weight=0.0) > 1e-6


def test_frequency_features_says_when_there_is_nothing_to_split() -> None:
    with pytest.raises(InputError, match="size 3 have no low or no high frequencies"):
        functional.frequency_features(STUDENT[:, :3], TEACHER[:, :3])
    with pytest.raises(InputError, match="size 1x1 have no low or no high"):
        functional.frequency_features(STUDENT_MAPS[..., :1, :1], TEACHER_MAPS[..., :1, :1])
    with pytest.raises(InputError, match="cutoff"):
        losses.FrequencyFeatures(cutoff=1.0)


# Wrong use


@pytest.mark.parametrize("name", ON_FEATURES)
def test_shapes_that_differ_are_named(name: str) -> None:
    with pytest.raises(InputError, match=r"shapes differ.*\(6, 8\).*\(6, 7\).*adapter"):
        getattr(functional, name)(STUDENT, TEACHER[:, :7])
    with pytest.raises(InputError, match=r"student_features has shape \(8,\)"):
        getattr(functional, name)(STUDENT[0], TEACHER[0])
    with pytest.raises(InputError, match=r"mask has shape \(6, 3\)"):
        getattr(functional, name)(numbers(6, 2, 8), numbers(6, 2, 8), mask=torch.ones(6, 3))


def test_vid_starts_from_large_variances_too() -> None:
    module = losses.VID(initial_variance=1e4, smallest_variance=1e-4)
    module.build({"student_features": (2,), "teacher_features": (3,)})
    torch.testing.assert_close(F.softplus(module.scale) + 1e-4, torch.full((3,), 1e4))


def test_no_variance_of_vid_falls_below_the_smallest() -> None:
    features, scale = torch.zeros(2, 3, dtype=torch.float64), torch.full((3,), -100.0, dtype=torch.float64)
    found = functional.vid(features, features + 1, scale, smallest_variance=0.5)
    assert found.item() == pytest.approx(0.5 * (1 / 0.5 + torch.tensor(0.5).log().item()))


def test_vid_before_build_says_so() -> None:
    with pytest.raises(InputError, match="not built yet"):
        losses.VID()(torch.zeros(2, 3), torch.zeros(2, 3))
