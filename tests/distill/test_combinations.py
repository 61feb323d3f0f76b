"""Several teachers as one: whose word counts how much."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.distill.arguments import Argument, Moment
from mmdistill.distill.combinations.combination import Classroom, Combination, Teaching, tap_of
from mmdistill.distill.combinations.routed import balance
from mmdistill.distill.signals import PRESENT
from mmdistill.distill.term import Term
from mmdistill.errors import InputError

CLASSES, ROWS = 4, 6


def logits(seed: int) -> Tensor:
    return 2 * torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(seed))


SIGNALS = {
    "ear:logits": logits(0),
    "eye:logits": logits(1),
    "ear:sound": torch.ones(ROWS, 3),
    "eye:image": torch.zeros(ROWS, 5),
}
OUTPUTS = {"fused": torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()}
TARGET = torch.tensor([0, 1, 2, 3, 0, 1])
BATCH = TensorDict(
    {"target": {"y": TARGET}, "labelled": {"y": torch.tensor([True, True, True, True, False, False])}},
    batch_size=[ROWS],
)


def classroom(scores: tuple[float | None, float | None] = (0.8, 0.6), **changes: Any) -> Classroom:
    ear = Teaching("ear", {"logits": (CLASSES,), "sound": (3,)}, ("sound",), scores[0])
    eye = Teaching("eye", {"logits": (CLASSES,), "image": (5,)}, ("image",), scores[1])
    values = {"logits": {"y": "logits"}, "student_taps": {"fused": (8,)}, "student_columns": ("image", "sound")}
    return Classroom((ear, eye), **{**values, **changes})


def combine(name: str, room: Classroom | None = None, **options: Any) -> Combination:
    entry = catalog.get("combination", name)
    combination: Combination = entry.load()(room or classroom(), entry.options.model_validate(options))
    return combination


def probabilities(name: str, signals: dict[str, Tensor] = SIGNALS, **options: Any) -> Tensor:
    return combine(name, **options)(BATCH, OUTPUTS, signals)[0]["logits"].exp()


EAR, EYE = SIGNALS["ear:logits"].softmax(-1), SIGNALS["eye:logits"].softmax(-1)


def test_the_mean_is_of_probabilities_after_the_softmax() -> None:
    torch.testing.assert_close(probabilities("mean"), (EAR + EYE) / 2)


def test_larger_logits_do_not_count_for_more() -> None:
    louder = {**SIGNALS, "ear:logits": SIGNALS["ear:logits"] + 100}
    torch.testing.assert_close(probabilities("mean", louder), probabilities("mean"), atol=1e-5, rtol=1e-4)


def test_fixed_weights_are_shares() -> None:
    torch.testing.assert_close(probabilities("fixed", weights={"ear": 3, "eye": 1}), 0.75 * EAR + 0.25 * EYE)
    torch.testing.assert_close(probabilities("fixed", weights={"ear": 0, "eye": 2}), EYE)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"ear": 1}, "'eye' has no weight"),
        ({"ear": 1, "nose": 1}, "no teacher 'nose'"),
        ({"ear": 0, "eye": 0}, "above 0"),
    ],
)
def test_fixed_weights_that_are_wrong(weights: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        combine("fixed", weights=weights)


def test_validation_weights_follow_the_scores() -> None:
    share = torch.softmax(torch.tensor([0.8, 0.6]) / 0.1, 0)
    torch.testing.assert_close(probabilities("validation"), share[0] * EAR + share[1] * EYE)
    with pytest.raises(InputError, match="no validation score"):
        combine("validation", classroom((0.8, None)))


def test_confidence_prefers_the_teacher_that_gives_the_target_and_the_surer_one_without_target() -> None:
    combined = probabilities("confidence")
    for row in range(4):
        right, wrong = sorted((EAR[row, TARGET[row]], EYE[row, TARGET[row]]), reverse=True)
        assert (right + wrong) / 2 <= combined[row, TARGET[row]] <= right
    entropy = {"ear": -(EAR * EAR.log()).sum(-1), "eye": -(EYE * EYE.log()).sum(-1)}
    for row in range(4, ROWS):
        share = torch.softmax(-torch.stack([entropy["ear"][row], entropy["eye"][row]]), 0)
        torch.testing.assert_close(combined[row], share[0] * EAR[row] + share[1] * EYE[row])


def test_each_column_elects_the_best_teacher_that_reads_it() -> None:
    said = combine("elected")(BATCH, OUTPUTS, SIGNALS)[0]
    torch.testing.assert_close(said["logits"].exp(), (EAR + EYE) / 2)
    assert said["sound"] is SIGNALS["ear:sound"]
    assert said["image"] is SIGNALS["eye:image"]
    only = combine("elected", classroom(student_columns=("sound",)))(BATCH, OUTPUTS, SIGNALS)[0]
    torch.testing.assert_close(only["logits"].exp(), EAR)
    with pytest.raises(InputError, match="No teacher reads the column 'text'"):
        combine("elected", classroom(student_columns=("text",)))


def test_a_teacher_that_saw_nothing_of_a_row_has_no_say_in_it() -> None:
    seen = torch.tensor([True, False, True, True, True, False])
    signals = {**SIGNALS, tap_of("ear", PRESENT): seen, tap_of("eye", PRESENT): torch.tensor([True] * 5 + [False])}
    combined = probabilities("mean", signals)
    torch.testing.assert_close(combined[1], EYE[1])
    torch.testing.assert_close(combined[0], (EAR[0] + EYE[0]) / 2)
    assert torch.isfinite(combined).all()


def test_the_router_learns_from_targets_and_sends_nothing_into_the_student() -> None:
    router = combine("routed")
    said, losses = router(BATCH, OUTPUTS, SIGNALS)
    assert not said["logits"].requires_grad
    losses["router"].backward()
    assert OUTPUTS["fused"].grad is None
    assert all(parameter.grad is not None for parameter in router.parameters())


def test_the_router_finds_the_teacher_that_is_right() -> None:
    sure = 8 * torch.nn.functional.one_hot(TARGET, CLASSES).float()
    signals = {"ear:logits": sure, "eye:logits": sure.roll(1, -1)}
    router = combine("routed", balance=0.0)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        router(BATCH, OUTPUTS, signals)[1]["router"].backward()
        optimizer.step()
    combined = router(BATCH, OUTPUTS, signals)[0]["logits"].exp()
    assert (combined[:4].argmax(-1) == TARGET[:4]).all()


def test_the_balance_is_one_when_teachers_are_used_alike() -> None:
    alike = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    assert balance(alike).item() == pytest.approx(1)
    assert balance(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).item() == pytest.approx(2)


def test_teachers_of_other_classes_are_refused() -> None:
    other = Teaching("eye", {"logits": (CLASSES + 1,)}, ("image",))
    with pytest.raises(InputError, match="have 4 and 5 outputs"):
        combine("mean", with_other(other))


def with_other(other: Teaching) -> Classroom:
    room = classroom()
    return Classroom((room.teachers[0], other), room.logits, room.student_taps, room.student_columns)


def test_a_sequence_is_combined_position_by_position() -> None:
    signals = {"ear:logits": torch.randn(ROWS, 3, CLASSES), "eye:logits": torch.randn(ROWS, 3, CLASSES)}
    target = torch.randint(0, CLASSES, (ROWS, 3))
    batch = TensorDict({"target": {"y": target}, "labelled": {"y": BATCH["labelled", "y"]}}, batch_size=[ROWS])
    for name in ("mean", "confidence", "routed"):
        said, losses = combine(name)(batch, OUTPUTS, signals)
        assert said["logits"].shape == (ROWS, 3, CLASSES)
        torch.testing.assert_close(said["logits"].exp().sum(-1), torch.ones(ROWS, 3))
        assert all(torch.isfinite(value) for value in losses.values())


class _Weights(nn.Module):
    """Gives the mean weight of the rows."""

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None) -> Tensor:
        del teacher_logits
        return torch.ones(len(student_logits)).mean() if weight is None else weight.mean()


@pytest.mark.parametrize(("teacher", "counted"), [("ear", 0.25), ("eye", 0.75)])
def test_a_term_of_one_of_several_teachers_counts_the_rows_that_this_one_has_seen(teacher: str, counted: float) -> None:
    arguments = [
        Argument("student_logits", "student", ("logits",)),
        Argument("teacher_logits", "teacher", (tap_of(teacher, "logits"),)),
        Argument("weight", "weight"),
    ]
    term = Term("kd", _Weights(), arguments, lambda step: 1.0)
    signals = {
        tap_of("ear", "logits"): torch.zeros(4, 2),
        tap_of("eye", "logits"): torch.zeros(4, 2),
        tap_of("ear", PRESENT): torch.tensor([True, False, False, False]),
        tap_of("eye", PRESENT): torch.tensor([False, True, True, True]),
        PRESENT: torch.ones(4, dtype=torch.bool),
    }
    moment = Moment(TensorDict({"row": torch.arange(4)}, [4]), {"logits": torch.zeros(4, 2)}, signals, 0.0)
    assert term(moment).item() == counted
