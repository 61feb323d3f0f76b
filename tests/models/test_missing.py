"""What every strategy for missing columns promises, on every registered fusion, pooled and with tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.errors import InputError
from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.fusion.entry import FusionEntry
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.missing.build import build_missing
from mmdistill.models.missing.completed import Completed
from mmdistill.models.missing.entry import MissingEntry
from mmdistill.models.missing.mask import Mask
from mmdistill.models.missing.mean_of_shared import ALIGNMENT, spread
from mmdistill.models.missing.reconstruction import LOSS
from mmdistill.recipe.schema import Component
from tests.models.fusions import SETTINGS

SMALL: dict[str, dict[str, Any]] = {
    "mean_of_shared": {"dim": 10},
    "reconstruction": {"dim": 8, "heads": 2, "memory": 2, "hide": 0.4},
}
STRATEGIES = [entry.name for entry in catalog.entries("missing strategy")]
STANDING_IN = [name for name in STRATEGIES if name != "mask"]
FROM_OTHERS = ("mean_of_shared", "reconstruction")
"""Strategies that cannot say anything of a row that has nothing."""
WITHOUT_PARAMETERS = ("mask", "zero", "training_mean")
FUSIONS = list(dict(reversed(SETTINGS)).items())
COLUMNS = ("image", "sound", "type", "lab.values", "note 5%")
WIDTHS = (6, 8, 4, 5, 7)
ROWS = 12

every = pytest.mark.parametrize("name", STRATEGIES)
standing_in = pytest.mark.parametrize("name", STANDING_IN)
forms = pytest.mark.parametrize("form", ["pooled", "tokens", "mixed", "single token"])
beside_every_fusion = pytest.mark.parametrize(
    ("name", "fusion"),
    list(product(STRATEGIES, FUSIONS)),
    ids=[f"{name}-{fusion}" for name, (fusion, _) in product(STRATEGIES, FUSIONS)],
)


@dataclass
class Inputs:
    """What a strategy is called with."""

    embeddings: dict[str, Tensor]
    tokens: dict[str, Tensor]
    masks: dict[str, Tensor]
    present: dict[str, Tensor]

    def rows(self, first: int, last: int) -> Inputs:
        parts = (self.embeddings, self.tokens, self.masks, self.present)
        return Inputs(*({column: values[first:last] for column, values in part.items()} for part in parts))

    def into(self, strategy: nn.Module) -> Completed:
        completed: Completed = strategy(self.embeddings, self.tokens, self.masks, self.present)
        return completed


def dims_of(columns: int) -> dict[str, int]:
    return dict(zip(COLUMNS[:columns], WIDTHS, strict=False))


def build(name: str, columns: int, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        component = Component(name=name, **(SMALL.get(name, {}) | options))
        return build_missing(component, dims_of(columns)).to(dtype)


def joined_with(fusion: tuple[str, dict[str, Any]], columns: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_fusion(Component(name=fusion[0], **fusion[1]), dims_of(columns)).to(dtype)


def form_for(fusion: tuple[str, dict[str, Any]], columns: int) -> str:
    aligned = cast(FusionEntry, catalog.get("fusion", fusion[0])).tokens == "aligned"
    return "aligned" if aligned else ("pooled", "tokens", "mixed")[columns % 3]


def inputs(columns: int, form: str, rows: int = ROWS, seed: int = 0, dtype: torch.dtype = torch.float64) -> Inputs:
    """Random inputs as encoders give them: row 0 has everything, row 1 nothing, the others a random part."""
    generator = torch.Generator().manual_seed(seed)
    result = Inputs({}, {}, {}, {})
    shared = torch.arange(4) < torch.randint(1, 5, (rows, 1), generator=generator)
    for index, (column, width) in enumerate(dims_of(columns).items()):
        result.embeddings[column] = torch.randn(rows, width, generator=generator, dtype=dtype)
        present = torch.rand(rows, generator=generator) < 0.6
        present[0], present[1] = True, False
        result.present[column] = present
        if form != "pooled" and (form != "mixed" or index % 2):
            length = {"aligned": 4, "single token": 1}.get(form, 3 + index)
            result.tokens[column] = torch.randn(rows, length, width, generator=generator, dtype=dtype)
            own = torch.arange(length) < torch.randint(1, length + 1, (rows, 1), generator=generator)
            result.masks[column] = (shared if form == "aligned" else own) & present.unsqueeze(1)
    return result


def spoil(given: Inputs, value: float) -> Inputs:
    """The same inputs with `value` wherever a mask is false."""
    embeddings, tokens = {}, {}
    for column, present in given.present.items():
        junk = torch.tensor(value).to(given.embeddings[column].dtype)
        embeddings[column] = torch.where(present.unsqueeze(1), given.embeddings[column], junk)
        if column in given.tokens:
            tokens[column] = torch.where(given.masks[column].unsqueeze(2), given.tokens[column], junk)
    return Inputs(embeddings, tokens, given.masks, given.present)


def run(strategy: nn.Module, fusion: nn.Module, given: Inputs) -> tuple[Fused, Completed]:
    """As a model does it; the same random numbers each time."""
    torch.manual_seed(3)
    completed = given.into(strategy)
    fused = fusion(completed.embeddings, completed.tokens, completed.masks, completed.present)
    return fused, completed


def loss_of(fused: Fused, completed: Completed) -> Tensor:
    return fused.embedding.square().sum() + sum(fused.auxiliary.values()) + sum(completed.auxiliary.values())


@beside_every_fusion
@pytest.mark.parametrize("columns", [2, 3, 4, 5])
def test_junk_under_the_mask_changes_neither_output_nor_gradient(name: str, fusion: Any, columns: int) -> None:
    clean = inputs(columns, form_for(fusion, columns))
    found = []
    for value in (None, float("nan"), float("inf"), -1e300):
        strategy, joined = build(name, columns), joined_with(fusion, columns)
        given = replace(clean if value is None else spoil(clean, value))
        leaves = {column: values.clone().requires_grad_() for column, values in given.embeddings.items()}
        given.embeddings = leaves
        fused, completed = run(strategy, joined, given)
        loss_of(fused, completed).backward()
        parameters = [*strategy.named_parameters(), *joined.named_parameters()]
        gradients = {key: parameter.grad for key, parameter in parameters}
        gradients |= {f"input {column}": leaf.grad for column, leaf in leaves.items()}
        state = {key: tensor.clone() for key, tensor in strategy.state_dict().items()}
        found.append((fused.embedding, gradients, completed.auxiliary, state))
        for column, leaf in leaves.items():
            assert leaf.grad is None or (leaf.grad[~given.present[column]] == 0).all(), column
    for embedding, gradients, auxiliary, state in found[1:]:
        assert torch.equal(embedding, found[0][0])
        for mine, theirs in ((gradients, found[0][1]), (auxiliary, found[0][2]), (state, found[0][3])):
            for key, value in theirs.items():
                assert value is None or torch.equal(mine[key], value), key


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_masked_input_property(name: str, data: st.DataObject) -> None:
    """Any fusion, presence pattern, junk, precision, number of columns: zero violations."""
    columns, fusion = data.draw(st.integers(2, 5)), data.draw(st.sampled_from(FUSIONS))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    form = form_for(fusion, data.draw(st.integers(0, 2)))
    clean = inputs(columns, form, rows=4, seed=data.draw(st.integers(0, 99)), dtype=dtype)
    for column in clean.present:
        clean.present[column] = torch.tensor(data.draw(st.lists(st.booleans(), min_size=4, max_size=4)))
        if column in clean.masks:
            clean.masks[column] = clean.masks[column] & clean.present[column].unsqueeze(1)
    training = data.draw(st.booleans())
    strategy, joined = build(name, columns, dtype).train(training), joined_with(fusion, columns, dtype).eval()
    state = {key: tensor.clone() for key, tensor in strategy.state_dict().items()}
    junk = data.draw(st.floats(width=32, allow_nan=True, allow_infinity=True))
    expected, completed = run(strategy, joined, clean)
    assert expected.embedding.isfinite().all()
    assert all(value.dtype == dtype for value in completed.embeddings.values())
    strategy.load_state_dict(state)
    assert torch.equal(run(strategy, joined, spoil(clean, junk))[0].embedding, expected.embedding)


@beside_every_fusion
@pytest.mark.parametrize("columns", [2, 5])
def test_everything_missing_is_finite_and_the_same_each_time(name: str, fusion: Any, columns: int) -> None:
    strategy, joined = build(name, columns).eval(), joined_with(fusion, columns).eval()
    given = inputs(columns, form_for(fusion, columns))
    for column in given.present:
        given.present[column] = torch.zeros(ROWS, dtype=torch.bool)
        if column in given.masks:
            given.masks[column] = torch.zeros_like(given.masks[column])
    first = run(strategy, joined, spoil(given, float("nan")))[0].embedding
    torch.manual_seed(99)
    again = joined(*given.into(strategy)[:4]).embedding
    assert first.isfinite().all()
    assert torch.equal(first, again)
    assert torch.equal(first, first[:1].expand_as(first))


@beside_every_fusion
@pytest.mark.parametrize("columns", [2, 5])
def test_every_parameter_of_the_strategy_gets_gradient(name: str, fusion: Any, columns: int) -> None:
    strategy, joined = build(name, columns), joined_with(fusion, columns)
    if name in WITHOUT_PARAMETERS:
        assert not list(strategy.parameters())
        return
    fused, completed = run(strategy, joined, inputs(columns, form_for(fusion, columns), rows=40))
    weights = torch.randn(fused.embedding.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ((fused.embedding * weights).sum() + sum(completed.auxiliary.values())).backward()
    for key, parameter in strategy.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@every
@forms
def test_the_batch_a_row_is_in_does_not_matter_in_evaluation(name: str, form: str) -> None:
    strategy, together = build(name, 4).eval(), inputs(4, form)
    whole = together.into(strategy)
    for row in (0, 1, 5):
        alone = together.rows(row, row + 1).into(strategy)
        for mine, theirs in zip(alone[:4], whole[:4], strict=True):
            for column, value in mine.items():
                torch.testing.assert_close(value, theirs[column][row : row + 1], rtol=1e-12, atol=1e-12)


@every
@forms
def test_what_a_row_has_is_not_touched(name: str, form: str) -> None:
    strategy, given = build(name, 4).eval(), inputs(4, form)
    completed = given.into(strategy)
    for column, rows in given.present.items():
        assert torch.equal(completed.embeddings[column][rows], given.embeddings[column][rows])
        assert completed.present[column][rows].all()
        if column in given.tokens:
            assert torch.equal(completed.tokens[column][rows], given.tokens[column][rows])
            assert torch.equal(completed.masks[column][rows], given.masks[column][rows])


@standing_in
@pytest.mark.parametrize("form", ["tokens", "single token"])
def test_a_stand_in_counts_as_there_and_is_the_only_token(name: str, form: str) -> None:
    given = inputs(3, form)
    completed = given.into(build(name, 3).eval())
    anything = torch.stack(list(given.present.values())).any(0)
    for column, rows in given.present.items():
        absent = ~rows & anything
        assert completed.present[column][absent].all()
        assert completed.masks[column][absent, 0].all()
        assert not completed.masks[column][absent, 1:].any()
        assert torch.equal(completed.tokens[column][absent, 0], completed.embeddings[column][absent])
        assert completed.present[column][1] == completed.masks[column][1, 0] == (name not in FROM_OTHERS)


@standing_in
def test_tokens_without_a_mask_are_all_there(name: str) -> None:
    given = inputs(3, "tokens")
    given.masks = {}
    completed = given.into(build(name, 3).eval())
    for column, rows in given.present.items():
        assert completed.masks[column][rows].all()
        assert not completed.masks[column][~rows, 1:].any()


@every
def test_losses_of_its_own_are_those_it_declares_and_only_in_training(name: str) -> None:
    entry, strategy, given = (
        cast(MissingEntry, catalog.get("missing strategy", name)),
        build(name, 3),
        inputs(3, "mixed"),
    )
    assert set(given.into(strategy.train()).auxiliary) == set(entry.auxiliary)
    assert not given.into(strategy.eval()).auxiliary


@every
def test_its_state_is_saved_and_restored(name: str) -> None:
    strategy, other, given = build(name, 3), build(name, 3), inputs(3, "mixed")
    given.into(strategy.train())
    with torch.no_grad():
        for parameter in strategy.parameters():
            parameter.add_(1)
    other.load_state_dict(strategy.state_dict())
    for mine, theirs in zip(given.into(strategy.eval())[:2], given.into(other.eval())[:2], strict=True):
        assert all(torch.equal(value, theirs[column]) for column, value in mine.items())


@every
def test_evaluation_changes_no_state(name: str) -> None:
    strategy = build(name, 3).eval()
    before = {key: tensor.clone() for key, tensor in strategy.state_dict().items()}
    inputs(3, "mixed").into(strategy)
    assert all(torch.equal(tensor, before[key]) for key, tensor in strategy.state_dict().items())


class _Whole(nn.Module):
    """A strategy and a fusion behind each other, on flat arguments as export wants them."""

    def __init__(self, strategy: nn.Module, fusion: nn.Module, columns: int) -> None:
        super().__init__()
        self.strategy, self.fusion, self.columns = strategy, fusion, COLUMNS[:columns]

    def forward(
        self, embeddings: list[Tensor], tokens: list[Tensor], masks: list[Tensor], flags: list[Tensor]
    ) -> Tensor:
        parts = [dict(zip(self.columns, part, strict=False)) for part in (embeddings, tokens, masks, flags)]
        completed = self.strategy(*parts)
        embedding: Tensor = self.fusion(*completed[:4]).embedding
        return embedding


@every
def test_a_model_with_it_exports(name: str) -> None:
    given = inputs(3, "tokens")
    whole = _Whole(build(name, 3), joined_with(("cross_attention", {"dim": 8, "heads": 2}), 3), 3).eval()
    arguments = tuple(list(part.values()) for part in (given.embeddings, given.tokens, given.masks, given.present))
    rows = torch.export.Dim("rows", min=2)
    shapes = tuple([{0: rows} for _ in part] for part in arguments)
    exported = torch.export.export(whole, arguments, dynamic_shapes=shapes)
    other = inputs(3, "tokens", rows=5, seed=7)
    others = tuple(list(part.values()) for part in (other.embeddings, other.tokens, other.masks, other.present))
    torch.testing.assert_close(exported.module()(*others), whole(*others))


@every
def test_works_under_bfloat16_autocast(name: str) -> None:
    strategy, given = build(name, 3, torch.float32), inputs(3, "mixed", dtype=torch.float32)
    single = given.into(strategy.eval())
    with torch.autocast("cpu", torch.bfloat16):
        half = given.into(strategy)
    for column, value in half.embeddings.items():
        torch.testing.assert_close(value.float(), single.embeddings[column], rtol=0.1, atol=0.1)


@every
def test_one_column_needs_no_strategy(name: str) -> None:
    assert isinstance(build(name, 1), Mask)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean_of_shared", {"dim": 0}),
        ("mean_of_shared", {"alignment": -1}),
        ("reconstruction", {"dim": 10, "heads": 4}),
        ("reconstruction", {"hide": 0}),
        ("reconstruction", {"hide": 1}),
        ("reconstruction", {"weight": 0}),
        ("training_mean", {"momentum": 0}),
        ("zero", {"value": 1}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        build(name, 2, **options)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(InputError, match="training_mean"):
        build("training_means", 2)


@every
def test_every_strategy_says_when_to_use_it(name: str) -> None:
    entry = cast(MissingEntry, catalog.get("missing strategy", name))
    assert entry.when and entry.summary
    assert bool(entry.equation) == (name != "mask")


def test_the_learned_token_is_the_same_in_every_row_and_differs_by_column() -> None:
    strategy, given = build("learned_token", 3), inputs(3, "pooled")
    completed = given.into(strategy)
    vectors = dict(zip(given.present, strategy.vectors.split(list(WIDTHS[:3])), strict=True))
    for column, rows in given.present.items():
        assert torch.equal(completed.embeddings[column][~rows], vectors[column].expand(int((~rows).sum()), -1))


def test_zeros_count_as_there_even_where_a_row_has_nothing() -> None:
    given = inputs(3, "tokens")
    completed = spoil(given, float("nan")).into(build("zero", 3))
    for column, rows in given.present.items():
        assert (completed.embeddings[column][~rows] == 0).all()
        assert completed.present[column].all()


def test_the_mean_of_shared_vectors_is_mapped_back() -> None:
    strategy, given = build("mean_of_shared", 3), inputs(3, "pooled")
    completed = given.into(strategy)
    for row in range(ROWS):
        there = [column for column in given.present if given.present[column][row]]
        shared = [strategy.shared[column](given.embeddings[column][row]) for column in there]
        for column in set(given.present) - set(there):
            if there:
                expected = strategy.back[column](torch.stack(shared).mean(0))
                torch.testing.assert_close(completed.embeddings[column][row], expected)


def test_alignment_is_the_mean_distance_from_the_mean() -> None:
    shared = torch.tensor([[[0.0, 0.0], [2.0, 4.0], [9.0, 9.0]], [[5.0, 5.0], [1.0, 1.0], [1.0, 1.0]]])
    first_two = torch.tensor([[True, True, False], [True, False, False]])
    # The second row has one column alone. In the first both are (1, 2) from their mean.
    assert spread(shared, first_two).item() == pytest.approx(1.5)
    assert spread(shared, torch.zeros_like(first_two)).item() == 0
    given = inputs(2, "pooled")
    assert build("mean_of_shared", 2, alignment=0.0).train()(*vars(given).values()).auxiliary == {}
    twice = build("mean_of_shared", 2, alignment=0.2).train()(*vars(given).values()).auxiliary[ALIGNMENT]
    once = build("mean_of_shared", 2, alignment=0.1).train()(*vars(given).values()).auxiliary[ALIGNMENT]
    torch.testing.assert_close(twice, 2 * once)


def test_the_training_mean_is_exact_over_all_rows_so_far() -> None:
    strategy = build("training_mean", 3).train()
    batches = [inputs(3, "pooled", rows=rows, seed=seed) for seed, rows in enumerate((7, 12, 3))]
    for batch in batches:
        spoil(batch, float("nan")).into(strategy)
    means = dict(zip(COLUMNS, strategy.means.split(list(WIDTHS[:3])), strict=False))
    for index, column in enumerate(COLUMNS[:3]):
        seen = torch.cat([batch.embeddings[column][batch.present[column]] for batch in batches])
        torch.testing.assert_close(means[column], seen.mean(0))
        assert strategy.counts[index] == len(seen)
        completed = batches[0].into(strategy.eval()).embeddings[column]
        absent = ~batches[0].present[column]
        assert torch.equal(completed[absent], means[column].expand(int(absent.sum()), -1))


def test_the_exponential_training_mean_begins_with_the_first_rows_it_sees() -> None:
    strategy = build("training_mean", 2, momentum=0.25).train()
    first, second = inputs(2, "pooled", seed=1), inputs(2, "pooled", seed=2)
    nobody = replace(first, present={column: torch.zeros_like(rows) for column, rows in first.present.items()})
    own = [batch.embeddings["image"][batch.present["image"]].mean(0) for batch in (first, second)]
    for batch in (nobody, first, nobody, second):
        batch.into(strategy)
    torch.testing.assert_close(strategy.means[: WIDTHS[0]], 0.75 * own[0] + 0.25 * own[1])


def test_the_training_mean_has_no_gradient_and_takes_none() -> None:
    strategy, given = build("training_mean", 2).train(), inputs(2, "pooled")
    given.embeddings = {column: values.requires_grad_() for column, values in given.embeddings.items()}
    completed = given.into(strategy)
    sum(value.sum() for value in completed.embeddings.values()).backward()
    for column, rows in given.present.items():
        assert torch.equal(given.embeddings[column].grad, rows.unsqueeze(1).expand(-1, dims_of(2)[column]).double())
    assert not strategy.means.requires_grad


def test_reconstruction_hides_present_columns_in_training_but_never_all() -> None:
    strategy, given = build("reconstruction", 3, hide=0.6).train(), inputs(3, "pooled", rows=400)
    completed = given.into(strategy)
    kept = {
        column: (completed.embeddings[column] == given.embeddings[column]).all(1) & rows
        for column, rows in given.present.items()
    }
    had, shown = torch.stack(list(given.present.values()), 1), torch.stack(list(kept.values()), 1)
    assert torch.equal(shown.any(1), had.any(1))
    complete = had.all(1)
    hidden = (~shown[complete]).double().mean().item()
    # Each is hidden with 0.6; where all three would go, one is spared: 0.6 - 0.6³ / 3.
    assert hidden == pytest.approx(0.6 - 0.6**3 / 3, abs=0.08)
    assert (
        completed.embeddings["image"][given.present["image"]] - given.embeddings["image"][given.present["image"]]
    ).any()


def test_the_reconstruction_loss_is_the_squared_error_of_what_was_hidden() -> None:
    strategy, given = build("reconstruction", 3, weight=2.0).train(), inputs(3, "pooled")
    completed = spoil(given, float("nan")).into(strategy)
    errors = [
        (completed.embeddings[column][row] - given.embeddings[column][row]).square().mean()
        for column, rows in given.present.items()
        for row in range(ROWS)
        if rows[row] and not torch.equal(completed.embeddings[column][row], given.embeddings[column][row])
    ]
    assert errors
    torch.testing.assert_close(completed.auxiliary[LOSS], 2 * torch.stack(errors).mean())


def test_what_is_guessed_does_not_depend_on_what_is_hidden_and_the_target_gets_no_gradient() -> None:
    strategy = build("reconstruction", 2, hide=0.5)
    given = inputs(2, "pooled")
    shown = {"image": torch.ones(ROWS, dtype=torch.bool), "sound": torch.zeros(ROWS, dtype=torch.bool)}
    other = given.embeddings | {"sound": given.embeddings["sound"] + 5}
    guess = strategy.reconstruct(given.embeddings, shown)["sound"]
    assert torch.equal(guess, strategy.reconstruct(other, shown)["sound"])
    sound = given.embeddings["sound"].clone().requires_grad_()
    hidden = torch.stack([~shown["image"], ~shown["sound"]], 1)
    loss = strategy._loss(
        {"image": given.embeddings["image"], "sound": guess}, given.embeddings | {"sound": sound}, hidden
    )
    loss.backward()
    assert loss > 0
    assert sound.grad is None


def test_reconstruction_learns_a_column_that_another_tells() -> None:
    torch.manual_seed(0)
    strategy = build("reconstruction", 2, torch.float32, dim=16, hide=0.5).train()
    optimizer = torch.optim.Adam(strategy.parameters(), lr=0.01)
    there = {column: torch.ones(64, dtype=torch.bool) for column in COLUMNS[:2]}
    losses = []
    for _ in range(150):
        image = torch.randn(64, 6)
        embeddings = {"image": image, "sound": torch.cat([image, -image[:, :2]], 1)}
        loss = strategy(embeddings, {}, {}, there).auxiliary[LOSS]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
