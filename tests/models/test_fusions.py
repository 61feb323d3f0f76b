"""What every fusion promises, checked on every fusion, for one to five columns, pooled and with tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from mmdistill.models.fusion.identity import Identity
from mmdistill.recipe.schema import Component
from tests.models.fusions import SETTINGS

FUSIONS = SETTINGS
# Good names for columns that PyTorch's own containers refuse are among them.
COLUMNS = ("image", "sound", "type", "lab.values", "note 5%")
WIDTHS = (6, 8, 4, 5, 7)
FORMS = ("pooled", "tokens", "mixed")


def entry_of(fusion: int) -> FusionEntry:
    return cast(FusionEntry, catalog.get("fusion", FUSIONS[fusion][0]))


def forms_of(fusion: int) -> tuple[str, ...]:
    """A fusion of aligned sequences takes nothing else."""
    return ("tokens",) if entry_of(fusion).tokens == "aligned" else FORMS


CASES = [
    (fusion, columns, form)
    for fusion, columns in product(range(len(FUSIONS)), range(1, 6))
    for form in forms_of(fusion)
]


def name_of(case: tuple[int, int, str]) -> str:
    name, options = FUSIONS[case[0]]
    return f"{name}-{'-'.join(f'{key}={value}' for key, value in options.items())}-{case[1]}-{case[2]}"


every = pytest.mark.parametrize("case", CASES, ids=map(name_of, CASES))


@dataclass
class Inputs:
    """What a fusion is called with."""

    embeddings: dict[str, Tensor]
    tokens: dict[str, Tensor]
    masks: dict[str, Tensor]
    present: dict[str, Tensor]

    def rows(self, chosen: slice) -> Inputs:
        parts = (self.embeddings, self.tokens, self.masks, self.present)
        return Inputs(*({column: values[chosen] for column, values in part.items()} for part in parts))

    def into(self, fusion: nn.Module) -> Tensor:
        return self.through(fusion).embedding

    def through(self, fusion: nn.Module) -> Fused:
        fused: Fused = fusion(self.embeddings, self.tokens, self.masks, self.present)
        return fused


def dims_of(columns: int) -> dict[str, int]:
    return dict(zip(COLUMNS[:columns], WIDTHS, strict=False))


def build(case: tuple[int, int, str], dtype: torch.dtype = torch.float64) -> nn.Module:
    name, options = FUSIONS[case[0]]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_fusion(Component(name=name, **options), dims_of(case[1])).to(dtype)


def inputs(case: tuple[int, int, str], rows: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64) -> Inputs:
    """Random inputs: row 0 has everything, row 1 nothing, the others a random part."""
    fusion, columns, form = case
    aligned = entry_of(fusion).tokens == "aligned"
    generator = torch.Generator().manual_seed(seed)
    result = Inputs({}, {}, {}, {})
    for index, (column, width) in enumerate(dims_of(columns).items()):
        result.embeddings[column] = torch.randn(rows, width, generator=generator, dtype=dtype)
        present = torch.rand(rows, generator=generator) < 0.6
        present[0], present[1] = True, False
        result.present[column] = present
        if form == "tokens" or (form == "mixed" and index % 2):
            length = 4 if aligned else 3 + index
            result.tokens[column] = torch.randn(rows, length, width, generator=generator, dtype=dtype)
            mask = torch.arange(length) < torch.randint(0, length + 1, (rows, 1), generator=generator)
            mask[0] = True
            result.masks[column] = next(iter(result.masks.values()), mask) if aligned else mask
    return result


def spoil(given: Inputs, value: float) -> Inputs:
    """The same inputs with `value` wherever a mask is false."""
    embeddings, tokens = {}, {}
    for column, present in given.present.items():
        embeddings[column] = given.embeddings[column].clone()
        embeddings[column][~present] = torch.tensor(value).to(embeddings[column].dtype)
    for column, values in given.tokens.items():
        tokens[column] = values.clone()
        tokens[column][~(given.masks[column] & given.present[column].unsqueeze(1))] = torch.tensor(value).to(
            values.dtype
        )
    return Inputs(embeddings, tokens, given.masks, given.present)


@every
def test_the_result_has_the_stated_width_and_is_finite_also_where_everything_is_missing(case: Any) -> None:
    fusion = build(case)
    fused = inputs(case).into(fusion)
    assert fused.shape == (12, fusion.dim)
    assert fused.isfinite().all()


@every
def test_every_parameter_is_registered_gets_gradient_and_changes(case: Any) -> None:
    fusion = build(case)
    before = {name: parameter.detach().clone() for name, parameter in fusion.named_parameters()}
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1) if before else None
    result = inputs(case).through(fusion)
    fused = result.embedding
    weights = torch.randn(fused.shape, dtype=fused.dtype, generator=torch.Generator().manual_seed(1))
    if optimizer is None:
        return
    ((fused * weights).sum() + sum(result.auxiliary.values())).backward()
    optimizer.step()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert not torch.equal(parameter, before[name]), name
    reachable = {id(tensor) for tensor in _tensors_of(fusion) if tensor.requires_grad}
    assert reachable == {id(parameter) for parameter in fusion.parameters()}


def _tensors_of(module: nn.Module) -> list[Tensor]:
    """Every tensor that a module or one of its parts holds in any attribute, list or mapping."""
    found: list[Tensor] = []

    def look(value: Any) -> None:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Mapping):
            for part in value.values():
                look(part)
        elif isinstance(value, list | tuple):
            for part in value:
                look(part)

    for part in module.modules():
        look({name: value for name, value in vars(part).items() if name != "_modules"})
    return found


@every
def test_taps_and_losses_of_its_own_are_those_it_declares(case: Any) -> None:
    entry, fusion, given_inputs = entry_of(case[0]), build(case), inputs(case)
    training, evaluation = given_inputs.through(fusion.train()), given_inputs.through(fusion.eval())
    columns = COLUMNS[: case[1]]
    declared = {tap.replace("<column>", column) for tap in entry.taps for column in columns}
    assert training.taps.keys() == evaluation.taps.keys()
    assert set(evaluation.taps) == (declared if case[1] > 1 else set())
    assert set(training.auxiliary) == (set(entry.auxiliary) if case[1] > 1 else set())
    assert not evaluation.auxiliary
    for value in training.auxiliary.values():
        assert value.shape == ()
        assert value.isfinite()
    for tap, value in evaluation.taps.items():
        assert value.shape[0] == 12, tap
        assert value.isfinite().all(), tap
        owner = next((column for column in columns if tap.startswith(f"{column}.")), None)
        if owner is not None:
            assert (value[~given_inputs.present[owner]] == 0).all(), tap


@every
def test_evaluation_is_deterministic(case: Any) -> None:
    fusion, given_inputs = build(case).eval(), inputs(case)
    assert torch.equal(given_inputs.into(fusion), given_inputs.into(fusion))


@every
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300, 7.0])
def test_what_is_masked_cannot_change_the_output_or_a_gradient(case: Any, value: float) -> None:
    fusion, clean = build(case), inputs(case)
    spoilt = spoil(clean, value)
    for embedding in spoilt.embeddings.values():
        embedding.requires_grad_()
    # The same random numbers for both: a mixture of experts may draw them in training.
    torch.manual_seed(0)
    expected = clean.through(fusion)
    torch.manual_seed(0)
    result = spoilt.through(fusion)
    assert torch.equal(result.embedding, expected.embedding)
    for found, wanted in ((result.taps, expected.taps), (result.auxiliary, expected.auxiliary)):
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    (result.embedding.square().sum() + sum(result.auxiliary.values())).backward()
    assert all(parameter.grad.isfinite().all() for parameter in fusion.parameters())
    for column, embedding in spoilt.embeddings.items():
        if embedding.grad is not None:
            assert (embedding.grad[~spoilt.present[column]] == 0).all()


@every
def test_the_batch_a_row_is_in_does_not_matter(case: Any) -> None:
    fusion, together = build(case).eval(), inputs(case)
    fused = together.into(fusion)
    for row in (0, 1, 5):
        alone = together.rows(slice(row, row + 1)).into(fusion)
        torch.testing.assert_close(alone, fused[row : row + 1], rtol=1e-12, atol=1e-12)


@every
def test_a_present_column_matters(case: Any) -> None:
    """The other side of masking: what is there is read. Seen through a linear head, as a model does."""
    fusion, given_inputs = build(case).eval(), inputs(case)
    before = given_inputs.into(fusion)
    for column in given_inputs.embeddings:
        changed = Inputs(**vars(given_inputs))
        changed.embeddings = given_inputs.embeddings | {column: given_inputs.embeddings[column] + 1}
        if column in given_inputs.tokens:  # a fusion may read these alone
            changed.tokens = given_inputs.tokens | {column: given_inputs.tokens[column] + 1}
        after = changed.into(fusion)
        assert not torch.allclose(after[0], before[0]), column


@every
def test_works_in_single_precision_and_under_bfloat16_autocast(case: Any) -> None:
    fusion, given_inputs = build(case, torch.float32).eval(), inputs(case, dtype=torch.float32)
    single = given_inputs.into(fusion)
    with torch.autocast("cpu", torch.bfloat16):
        half = given_inputs.into(fusion)
    assert single.dtype == torch.float32
    torch.testing.assert_close(half.float(), single, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("fusion", range(len(FUSIONS)), ids=lambda index: FUSIONS[index][0])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_masked_input_property(fusion: int, data: st.DataObject) -> None:
    """Any presence pattern, any number of columns, any junk, any precision: zero violations."""
    columns = data.draw(st.integers(2, 5))
    case = (fusion, columns, data.draw(st.sampled_from(forms_of(fusion))))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    module, clean = build(case, dtype).eval(), inputs(case, rows=4, seed=data.draw(st.integers(0, 99)), dtype=dtype)
    for column in clean.present:
        clean.present[column] = torch.tensor(data.draw(st.lists(st.booleans(), min_size=4, max_size=4)))
    junk = data.draw(st.floats(width=32, allow_nan=True, allow_infinity=True))
    expected = clean.into(module)
    assert expected.isfinite().all()
    assert torch.equal(spoil(clean, junk).into(module), expected)


@pytest.mark.parametrize("fusion", range(len(FUSIONS)), ids=lambda index: FUSIONS[index][0])
def test_one_column_needs_no_fusion(fusion: int) -> None:
    case = (fusion, 1, "tokens")
    module, given_inputs = build(case), inputs(case)
    assert isinstance(module, Identity)
    assert list(module.parameters()) == []
    fused, there = given_inputs.into(module), given_inputs.present["image"]
    assert torch.equal(fused[there], given_inputs.embeddings["image"][there])
    assert (fused[~there] == 0).all()


def test_late_fusion_is_the_mean_of_one_linear_head_a_column() -> None:
    case = (FUSIONS.index(("late", {})), 3, "pooled")
    fusion, given_inputs = build(case), inputs(case)
    head = nn.Linear(fusion.dim, 4, dtype=torch.float64)
    logits = head(given_inputs.into(fusion))
    total, count, start = torch.zeros_like(logits), torch.zeros(12, 1), 0
    for column, width in dims_of(3).items():
        weight, bias = head.weight[:, start : start + width], head.weight[:, start + width]
        own = given_inputs.embeddings[column] @ weight.T + bias
        there = given_inputs.present[column].unsqueeze(1)
        total = total + torch.where(there, own, 0)
        count = count + there
        start += width + 1
    torch.testing.assert_close(logits, total / count.clamp(min=1) + head.bias)


def test_gates_share_each_feature_out_among_the_present_columns() -> None:
    """With one column present the softmax gate is 1 and the result is that column's own value."""
    case = (FUSIONS.index(("gated", {"dim": 12})), 3, "pooled")
    fusion, given_inputs = build(case), inputs(case)
    for column in given_inputs.present:
        given_inputs.present[column] = torch.full((12,), column == "sound")
    own = fusion.project["sound"](given_inputs.embeddings["sound"]).tanh()
    torch.testing.assert_close(given_inputs.into(fusion), own)


def test_cross_attention_reads_single_tokens_of_another_column() -> None:
    case = (FUSIONS.index(("cross_attention", {"dim": 16, "heads": 2})), 2, "tokens")
    fusion, given_inputs = build(case).eval(), inputs(case)
    before = given_inputs.into(fusion)
    given_inputs.tokens["sound"][0, 2] += 1
    after = given_inputs.into(fusion)
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


def test_concat_with_learned_stand_ins_tells_absent_from_zero() -> None:
    case = (FUSIONS.index(("concat", {"hidden": [], "absent": "zero"})), 2, "pooled")
    fusion, given_inputs = build(case), inputs(case)
    given_inputs.embeddings["image"] = torch.zeros_like(given_inputs.embeddings["image"])
    given_inputs.present = {column: torch.tensor([True, False] * 6) for column in given_inputs.present}
    fused = given_inputs.into(fusion)
    assert not torch.equal(fused[0, -2:], fused[1, -2:])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("concat", {"hidden": [0]}),
        ("concat", {"absent": "mean"}),
        ("gated", {"dim": 0}),
        ("cross_attention", {"dim": 10, "heads": 4}),
        ("late", {"hidden": 0}),
        ("late", {"width": 3}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name=name, **options).options("fusion")


def test_an_unknown_fusion_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no fusion named 'conact'. Did you mean 'concat'"):
        build_fusion(Component(name="conact"), {"a": 2, "b": 2})


def test_every_fusion_of_the_catalog_is_covered_here() -> None:
    assert {entry.name for entry in catalog.entries("fusion")} == {name for name, _ in FUSIONS}
