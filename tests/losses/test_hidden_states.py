"""What is particular to the losses on hidden states, attention and token relations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    return numbers(*shape), numbers(*shape, seed=1)


def layers(*shape: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return tuple(numbers(*shape, seed=seed) for seed in (0, 1)), tuple(numbers(*shape, seed=seed) for seed in (2, 3))


MASK = torch.tensor([[True, True, True, False, False], [True, True, True, True, True]])
INPUTS: dict[str, tuple[Any, Any]] = {
    "pkd": layers(2, 5, 8),
    "attention_mse": pair(2, 3, 5, 5),
    "attention_cross_entropy": pair(2, 3, 5, 5),
    "token_gram": layers(2, 5, 8),
    "minilm": pair(2, 5, 8),
}
OPTIONS: dict[str, dict[str, Any]] = {"pkd": {"state": "mean"}}
each_loss = pytest.mark.parametrize("name", INPUTS)


def loss_of(name: str, student: Any, teacher: Any, **more: Any) -> Tensor:
    return getattr(functional, name)(student, teacher, **more, **OPTIONS.get(name, {}))


def changed(value: Any, change: Any) -> Any:
    return tuple(change(one) for one in value) if isinstance(value, tuple) else change(value)


# Padding


def cut(value: Tensor, length: int) -> Tensor:
    """The first tokens of one row."""
    return value[:, :, :length, :length] if value.dim() == 4 else value[:, :length]


@each_loss
def test_padding_is_as_if_it_were_not_there(name: str) -> None:
    student, teacher = (changed(side, lambda one: one[:1]) for side in INPUTS[name])
    masked = loss_of(name, student, teacher, mask=MASK[:1])
    short = loss_of(name, *(changed(side, lambda one: cut(one, 3)) for side in (student, teacher)))
    torch.testing.assert_close(masked, short)


@each_loss
def test_what_stands_in_padding_reaches_neither_value_nor_gradient(name: str) -> None:
    def with_padding(value: Tensor, fill: float) -> Tensor:
        padding = ~(MASK[:, None, :, None] & MASK[:, None, None, :] if value.dim() == 4 else MASK[:, :, None])
        return value.masked_fill(padding, fill).requires_grad_()

    student, teacher = INPUTS[name]
    results = []
    for fill in (0.0, 1e4):
        filled = changed(student, lambda one, fill=fill: with_padding(one, fill))
        loss = loss_of(name, filled, changed(teacher, lambda one, fill=fill: with_padding(one, -fill)), mask=MASK)
        results.append((loss, *torch.autograd.grad(loss, filled if isinstance(filled, tuple) else (filled,))))
    torch.testing.assert_close(*results)


@each_loss
def test_a_row_of_padding_alone_counts_nothing(name: str) -> None:
    student, teacher = INPUTS[name]
    leaves = changed(student, lambda one: one.clone().requires_grad_())
    loss = loss_of(name, leaves, teacher, mask=torch.zeros_like(MASK))
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, leaves if isinstance(leaves, tuple) else (leaves,)):
        assert gradient.abs().max() == 0


@pytest.mark.parametrize("name", ["attention_mse", "attention_cross_entropy"])
def test_scores_of_padding_may_be_minus_infinity(name: str) -> None:
    pairs = MASK[:, None, :, None] & MASK[:, None, None, :]
    student, teacher = (side.masked_fill(~pairs, -torch.inf).requires_grad_() for side in INPUTS[name])
    loss = loss_of(name, student, teacher, mask=MASK)
    torch.testing.assert_close(loss, loss_of(name, *INPUTS[name], mask=MASK))
    loss.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@each_loss
def test_a_mask_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"mask has shape \(2, 4\).*2 rows of 5 tokens"):
        loss_of(name, *INPUTS[name], mask=MASK[:, :4])


# Patient knowledge distillation


def test_pkd_sums_the_squared_distances_of_the_first_states_over_layers() -> None:
    student, teacher = INPUTS["pkd"]
    expected = sum(
        (F.normalize(ours[:, 0]) - F.normalize(theirs[:, 0])).square().sum(1).mean()
        for ours, theirs in zip(student, teacher, strict=True)
    )
    torch.testing.assert_close(functional.pkd(student, teacher), expected)
    states = [tuple(layer[:, 0] for layer in side) for side in (student, teacher)]
    torch.testing.assert_close(functional.pkd(*states), expected)


def test_pkd_may_compare_the_mean_of_the_real_tokens() -> None:
    (student, *_), (teacher, *_) = INPUTS["pkd"]
    means = [(side * MASK[..., None]).sum(1) / MASK.sum(1, keepdim=True) for side in (student, teacher)]
    ours = functional.pkd((student,), (teacher,), mask=MASK, state="mean")
    torch.testing.assert_close(ours, functional.pkd((means[0],), (means[1],)))


# Attention


def test_attention_mse_is_the_mean_over_heads_and_pairs_of_real_tokens() -> None:
    student, teacher = INPUTS["attention_mse"]
    torch.testing.assert_close(functional.attention_mse(student, teacher), F.mse_loss(student, teacher))
    real = [(student - teacher)[0, :, :3, :3].square().flatten(1), (student - teacher)[1].square().flatten(1)]
    torch.testing.assert_close(
        functional.attention_mse(student, teacher, mask=MASK), torch.cat(real, dim=1).mean(1).mean()
    )


def test_ordinary_negative_scores_count_where_textbrewer_drops_them() -> None:
    """Without a mask it sets scores below −0.001 of both sides to zero, taking them for padding."""
    student, teacher = INPUTS["attention_mse"]
    theirs = F.mse_loss(*(side.where(side > -1e-3, 0) for side in (student, teacher)))
    ours = functional.attention_mse(student, teacher)
    assert ours > theirs
    torch.testing.assert_close(
        functional.attention_mse(student.abs(), teacher.abs()), F.mse_loss(student.abs(), teacher.abs())
    )


def test_following_attention_mse_brings_the_scores_to_the_teachers() -> None:
    student, teacher = (side.clone() for side in INPUTS["attention_mse"])
    student.requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        functional.attention_mse(student, teacher).backward()
        optimizer.step()
    torch.testing.assert_close(student, teacher, rtol=0, atol=0.01)


def textbrewer_cross_entropy(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Padded queries are left out of the mean, and the softmax is over all keys."""
    queries = mask[:, None, :].expand(-1, student.shape[1], -1)
    values = -(teacher.softmax(-1) * student.log_softmax(-1)).sum(-1)
    return (values * queries).sum() / queries.sum()


def test_textbrewers_cross_entropy_is_ours_where_scores_of_padded_keys_are_very_low() -> None:
    student, teacher = INPUTS["attention_cross_entropy"]
    ours = functional.attention_cross_entropy(student, teacher, mask=MASK)
    low = [side - 1e4 * ~MASK[:, None, None, :] for side in (student, teacher)]
    torch.testing.assert_close(ours, textbrewer_cross_entropy(*low, MASK))
    assert not torch.isclose(ours, textbrewer_cross_entropy(student, teacher, MASK))


def test_attention_cross_entropy_is_the_divergence_plus_the_teachers_entropy() -> None:
    student, teacher = (side.log_softmax(-1) for side in INPUTS["attention_cross_entropy"])
    divergence = F.kl_div(student, teacher, reduction="sum", log_target=True) / (2 * 3 * 5)
    entropy = -(teacher.exp() * teacher).sum(-1).mean()
    ours = functional.attention_cross_entropy(*INPUTS["attention_cross_entropy"])
    torch.testing.assert_close(ours, divergence + entropy)


@pytest.mark.parametrize(
    ("name", "form", "joined"),
    [("attention_mse", "summed_maps", torch.sum), ("attention_cross_entropy", "averaged_maps", torch.mean)],
)
def test_numbers_of_heads_may_differ_when_heads_are_joined(name: str, form: str, joined: Any) -> None:
    student, teacher = numbers(2, 2, 5, 5), numbers(2, 3, 5, 5, seed=1)
    ours = getattr(functional, name)(student, teacher, heads=form)
    alone = (joined(side, dim=1, keepdim=True) for side in (student, teacher))
    torch.testing.assert_close(ours, getattr(functional, name)(*alone))
    with pytest.raises(InputError, match="2 attention heads, the teacher 3"):
        getattr(functional, name)(student, teacher)


# Gram matrices of tokens


def test_token_gram_of_one_layer_is_with_itself_whatever_the_widths() -> None:
    student, teacher = numbers(2, 5, 8), numbers(2, 5, 12, seed=1)
    grams = [side @ side.mT / side.shape[-1] for side in (student, teacher)]
    torch.testing.assert_close(functional.token_gram((student,), (teacher,)), F.mse_loss(*grams))


def test_token_gram_averages_over_pairs_of_consecutive_layers() -> None:
    student = tuple(numbers(2, 5, 8, seed=seed) for seed in range(3))
    teacher = tuple(numbers(2, 5, 8, seed=seed) for seed in range(3, 6))
    pairs = [functional.token_gram(student[i : i + 2], teacher[i : i + 2]) for i in (0, 1)]
    torch.testing.assert_close(functional.token_gram(student, teacher), (pairs[0] + pairs[1]) / 2)


# Token relations


def test_minilm_by_hand() -> None:
    student, teacher = numbers(1, 3, 4), numbers(1, 3, 6, seed=1)
    divergences = []
    for head in range(2):
        ours, theirs = student[0, :, 2 * head : 2 * head + 2], teacher[0, :, 3 * head : 3 * head + 3]
        relations = [(part @ part.T / part.shape[1] ** 0.5).softmax(-1) for part in (ours, theirs)]
        divergences.append((relations[1] * (relations[1] / relations[0]).log()).sum(-1))
    expected = torch.stack(divergences).mean()
    torch.testing.assert_close(functional.minilm(student, teacher, relation_heads=2), expected)


def test_one_relation_head_does_not_see_a_rotation_of_the_channels() -> None:
    teacher = numbers(2, 5, 8)
    rotation = torch.linalg.qr(numbers(8, 8, seed=1))[0]
    assert functional.minilm(teacher @ rotation, teacher, relation_heads=1).item() == pytest.approx(0, abs=1e-12)
    assert functional.minilm(teacher @ rotation, teacher, relation_heads=4) > 1e-3


# Wrong use


def test_layers_that_do_not_belong_together_are_named() -> None:
    student, teacher = INPUTS["pkd"]
    for name in ("pkd", "token_gram"):
        with pytest.raises(InputError, match="student gives 2 layers, the teacher 1"):
            getattr(functional, name)(student, teacher[:1])
        with pytest.raises(InputError, match="student gives 0 layers"):
            getattr(functional, name)((), ())
        with pytest.raises(InputError, match=r"student_layers\[1\] has shape \(2, 5, 8\).*\(2, 4, 8\)"):
            getattr(functional, name)(student, (teacher[0], teacher[1][:, :4]))
    with pytest.raises(InputError, match=r"equal width.*student_layers\[0\].*\(2, 5, 8\).*\(2, 5, 6\)"):
        functional.pkd(student, tuple(layer[..., :6] for layer in teacher))
    with pytest.raises(InputError, match="equal length"):
        functional.token_gram((student[0], student[1][:, :3]), (teacher[0], teacher[1][:, :3]))


def test_tokens_that_do_not_belong_together_are_named() -> None:
    student, teacher = INPUTS["minilm"]
    with pytest.raises(InputError, match=r"\(2, 5, 8\).*\(2, 4, 8\)"):
        functional.minilm(student, teacher[:, :4])
    with pytest.raises(InputError, match="teacher_tokens, 6, is no multiple of 4 relation heads"):
        functional.minilm(student, teacher[..., :6])
    with pytest.raises(InputError, match="relation_heads"):
        losses.MiniLM(relation_heads=0)


def test_attention_of_other_shapes_is_named() -> None:
    student, teacher = INPUTS["attention_mse"]
    for name in ("attention_mse", "attention_cross_entropy"):
        with pytest.raises(InputError, match=r"\(2, 3, 5\), not \(rows, heads, tokens, tokens\)"):
            getattr(functional, name)(student[..., 0], teacher)
        with pytest.raises(InputError, match=r"shapes differ.*\(2, 3, 5, 5\).*\(2, 3, 4, 4\)"):
            getattr(functional, name)(student, teacher[..., :4, :4])
