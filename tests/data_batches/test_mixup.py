"""Mixup: shares from a Beta distribution, partners of the same kind, honest sequences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmdistill.data.mixup import Mixup, blend, require_mixable
from mmdistill.errors import InputError
from tests.data_batches.stand_in import image_info, log_mel_info, tabular_info, text_info, vector_info, waveform_info

MANY = torch.arange(20_000)
VIEW = torch.ones_like(MANY)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 8.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    shares = Mixup(alpha, 0).shares(MANY, VIEW)
    assert shares.dtype == torch.float32
    assert shares.min() >= 0
    assert shares.max() <= 1
    # Not at the very ends: under a small alpha much lies closer to 1 than float32 can tell.
    places = torch.linspace(0.001, 0.999, 99)
    below = (shares[:, None] <= places).double().mean(0).numpy()
    # 1.95 / √n is the Kolmogorov-Smirnov bound at a level of 0.001.
    assert abs(below - stats.beta(alpha, alpha).cdf(places.numpy())).max() < 1.95 / len(MANY) ** 0.5


def test_a_share_belongs_to_row_and_view() -> None:
    mixup = Mixup(0.4, 7)
    shares = mixup.shares(MANY, VIEW)
    assert torch.equal(mixup.shares(MANY[50:60], VIEW[50:60]), shares[50:60])
    assert not torch.equal(mixup.shares(MANY, VIEW + 1), shares)
    assert not torch.equal(Mixup(0.4, 8).shares(MANY, VIEW), shares)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40), st.integers(0, 50))
def test_a_partner_is_another_row_of_the_same_kind(flags: list[tuple[bool, bool, bool]], view: int) -> None:
    kinds = dict(zip(("column image", "column sound", "task digit"), torch.tensor(flags).unbind(1), strict=True))
    rows = torch.arange(len(flags)) * 3
    partner, share = Mixup(0.4, 0).draw(rows, torch.full_like(rows, view), kinds)
    assert sorted(partner.tolist()) == list(range(len(flags)))  # everyone is a partner once
    for position, other in enumerate(partner.tolist()):
        assert flags[position] == flags[other]
        alone = flags.count(flags[position]) == 1
        assert (other == position) == alone
        assert not alone or share[position] == 1


def test_partners_are_random_and_change_with_the_view() -> None:
    rows = torch.arange(64)
    kinds = {"column image": torch.ones(64, dtype=torch.bool)}
    mixup = Mixup(1.0, 0)
    first, second = (mixup.partners(rows, torch.full_like(rows, view), kinds) for view in (1, 2))
    assert (first == second).float().mean() < 0.2
    assert not torch.equal(first, (rows + 1) % 64)


def test_fixed_arrays_are_blended_as_the_formula_says() -> None:
    values = torch.tensor([[0], [100], [200]], dtype=torch.uint8)
    mixed = blend({"values": values}, torch.tensor([1, 2, 0]), torch.tensor([0.75, 0.5, 1.0]))
    assert mixed["values"].tolist() == [[25.0], [150.0], [200.0]]
    assert values.tolist() == [[0], [100], [200]]


@pytest.mark.parametrize("trailing", [(), (2,)])
def test_where_one_sequence_ends_the_other_stands_alone(trailing: tuple[int, ...]) -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    values = (
        torch.tensor([[4.0, 8.0, 12.0], [2.0, 0.0, 0.0]]).view(2, 3, *(1 for _ in trailing)).expand(2, 3, *trailing)
    )
    mixed = blend({"values": values, "mask": mask}, torch.tensor([1, 0]), torch.tensor([0.5, 0.25]))
    expected = torch.tensor([[3.0, 8.0, 12.0], [3.5, 8.0, 12.0]]).view(2, 3, *(1 for _ in trailing))
    assert torch.equal(mixed["values"], expected.expand(2, 3, *trailing))
    assert mixed["mask"].all()


def test_a_row_that_is_its_own_partner_does_not_change() -> None:
    values, mask = torch.randn(3, 4), torch.tensor([[True, True, False, False]] * 3)
    mixed = blend({"values": values, "mask": mask}, torch.arange(3), torch.ones(3))
    assert torch.equal(mixed["values"], values)
    assert torch.equal(mixed["mask"], mask)


def test_continuous_columns_can_be_mixed() -> None:
    require_mixable([image_info(), log_mel_info(), waveform_info(), vector_info([0.0], [1.0])])


@pytest.mark.parametrize(("info", "named"), [(text_info(), "'text'"), (tabular_info(), "'facts'")])
def test_words_and_categories_are_refused_by_name(info, named: str) -> None:
    with pytest.raises(InputError, match=f"{named}.*not continuous") as raised:
        require_mixable([image_info(), info])
    assert "train.mixup" in str(raised.value)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        Mixup(alpha, 0)
