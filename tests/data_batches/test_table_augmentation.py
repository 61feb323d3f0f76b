"""Tables and vectors: noise in the right units, swaps with other rows, missing marks, masks."""

import pytest
import torch
from scipy import stats

from mmdistill.data.augmentations import tabular, vector
from mmdistill.data.augmentations.catalog import TabularAugmentation, VectorAugmentation
from mmdistill.data.augmentations.rows import partner_rows
from tests.data_batches.stand_in import tabular_info, vector_info

MANY = 2_000
ROWS, ONE = torch.arange(MANY), torch.ones(MANY, dtype=torch.int64)


def table() -> dict[str, torch.Tensor]:
    """Every value tells its row."""
    return {
        "numeric": ROWS[:, None].expand(MANY, 3).float().clone(),
        "missing": torch.zeros(MANY, 3, dtype=torch.bool),
        "categorical": (ROWS[:, None] + 1).expand(MANY, 2).clone(),
    }


def vary_table(arrays, present=None, **amounts: float) -> dict[str, torch.Tensor]:
    drawn = tabular.parameters(TabularAugmentation(**amounts), 0, ROWS, ONE)
    return tabular.apply(arrays, drawn, tabular_info(), present)


def vary_vector(arrays, info, present=None, **amounts: float) -> torch.Tensor:
    drawn = vector.parameters(VectorAugmentation(**amounts), 0, ROWS, ONE)
    return vector.apply(arrays, drawn, info, present)["values"]


def test_a_partner_is_another_row_and_each_as_likely() -> None:
    draws = torch.rand(6, 4_000, generator=torch.Generator().manual_seed(0))
    partners = torch.stack([partner_rows(draws[:, place]) for place in range(4_000)], 1)
    assert (partners != torch.arange(6)[:, None]).all()
    counts = torch.bincount(partners[2], minlength=6)
    assert counts[2] == 0
    assert stats.chisquare(counts[[0, 1, 3, 4, 5]].numpy()).pvalue > 1e-3
    assert partner_rows(torch.tensor([0.7])).tolist() == [0]


def test_noise_on_numbers_is_in_standard_deviations_and_leaves_missing_ones() -> None:
    arrays = table()
    arrays["missing"][:, 1] = True
    varied = vary_table(arrays, noise=0.2)
    added = varied["numeric"] - arrays["numeric"]
    assert added[:, [0, 2]].std() == pytest.approx(0.2, rel=0.05)
    assert not added[:, 1].any()
    assert torch.equal(varied["categorical"], arrays["categorical"])


def test_values_are_swapped_for_those_of_one_other_row_as_often_as_asked() -> None:
    varied = vary_table(table(), swap_rows=0.3)
    swapped = varied["numeric"] != ROWS[:, None]
    assert stats.binomtest(int(swapped.sum()), 3 * MANY, 0.3).pvalue > 1e-3
    categories = varied["categorical"] != ROWS[:, None] + 1
    assert stats.binomtest(int(categories.sum()), 2 * MANY, 0.3).pvalue > 1e-3
    sources = torch.where(swapped, varied["numeric"], torch.nan)
    assert (sources.nan_to_num(-1).amax(1) == sources.nan_to_num(1e9).amin(1))[swapped.any(1)].all()


def test_a_swapped_value_brings_its_missing_mark() -> None:
    arrays = table()
    arrays["missing"][::2] = True
    varied = vary_table(arrays, swap_rows=0.5)
    assert torch.equal(varied["missing"], varied["numeric"].long() % 2 == 0)


def test_values_of_absent_rows_are_never_swapped_in() -> None:
    present = ROWS % 2 == 0
    varied = vary_table(table(), present, swap_rows=0.9)
    assert (varied["numeric"][present].long() % 2 == 0).all()
    assert (varied["numeric"][present] != ROWS[present][:, None]).any()


def test_missing_values_are_marked_and_hold_what_stands_for_them() -> None:
    varied = vary_table(table(), missing=0.25)
    missing = varied["missing"]
    assert stats.binomtest(int(missing.sum()), 3 * MANY, 0.25).pvalue > 1e-3
    fills = torch.tensor([0.5, -0.5, 0.25]).expand(MANY, 3)
    assert torch.equal(varied["numeric"][missing], fills[missing])
    unknown = varied["categorical"] == 0
    assert stats.binomtest(int(unknown.sum()), 2 * MANY, 0.25).pvalue > 1e-3


@pytest.mark.parametrize(("numbers", "categories"), [(0, 2), (3, 0)])
def test_a_table_may_have_numbers_or_categories_only(numbers: int, categories: int) -> None:
    arrays = {name: values[:, : categories if name == "categorical" else numbers] for name, values in table().items()}
    drawn = tabular.parameters(TabularAugmentation(noise=0.1, swap_rows=0.5, missing=0.2), 0, ROWS, ONE)
    varied = tabular.apply(arrays, drawn, tabular_info([0.0] * numbers, categories))
    assert varied["numeric"].shape == (MANY, numbers)
    assert varied["categorical"].shape == (MANY, categories)
    assert any(not torch.equal(varied[name], arrays[name]) for name in ("numeric", "categorical"))


def test_noise_on_a_vector_follows_the_deviation_of_each_number() -> None:
    values = torch.zeros(MANY, 3)
    noisy = vary_vector({"values": values}, vector_info([0.0] * 3, [1.0, 10.0, 100.0]), noise=0.1)
    torch.testing.assert_close(noisy.std(0), torch.tensor([0.1, 1.0, 10.0]), rtol=0.06, atol=0)


def test_a_dropped_number_becomes_its_mean() -> None:
    values = torch.full((MANY, 2), 9.0)
    dropped = vary_vector({"values": values}, vector_info([1.0, 2.0], [1.0, 1.0]), drop=0.2)
    gone = dropped != 9.0
    assert stats.binomtest(int(gone.sum()), 2 * MANY, 0.2).pvalue > 1e-3
    assert dropped[gone[:, 0], 0].unique().tolist() == [1.0]
    assert dropped[gone[:, 1], 1].unique().tolist() == [2.0]


def test_in_a_sequence_a_dimension_is_dropped_or_swapped_as_a_whole_and_padding_never_enters() -> None:
    lengths = ROWS % 4 + 1
    mask = torch.arange(4) < lengths[:, None]
    values = (ROWS[:, None, None] + 1).expand(MANY, 4, 3).float() * mask[:, :, None]
    info = vector_info([-1.0] * 3, [1.0] * 3, sequence=True)
    dropped = vary_vector({"values": values, "mask": mask}, info, drop=0.3) == -1.0
    assert torch.equal(dropped, dropped[:, :1] & mask[:, :, None])
    assert stats.binomtest(int(dropped[:, 0].sum()), 3 * MANY, 0.3).pvalue > 1e-3
    swapped = vary_vector({"values": values, "mask": mask}, info, swap_rows=0.5)
    assert (swapped[mask] > 0).all()
    assert not swapped[~mask].any()
    assert 0.4 < (swapped[:, 0] != values[:, 0]).float().mean() < 0.6


def test_a_stretch_of_a_sequence_becomes_the_mean_in_proportion_to_its_length() -> None:
    lengths = torch.where(ROWS % 2 == 0, 10, 40)
    mask = torch.arange(40) < lengths[:, None]
    values = mask[:, :, None].float().expand(MANY, 40, 2)
    info = vector_info([5.0, 6.0], [1.0, 1.0], sequence=True)
    masked = vary_vector({"values": values, "mask": mask}, info, time_mask=0.5)
    hidden = masked[..., 0] == 5.0
    assert torch.equal(hidden, masked[..., 1] == 6.0)
    share = hidden.sum(1) / lengths
    assert share.max() <= 0.5 + 1 / 10
    assert share[lengths == 10].mean() == pytest.approx(0.25, abs=0.02)
    assert share[lengths == 40].mean() == pytest.approx(0.25, abs=0.02)
    changes = (hidden[:, 1:] != hidden[:, :-1]).sum(1)
    assert changes.max() <= 2  # one stretch
