"""Small tables: codebooks that their rows can fill, choices that few rows can make."""

import numpy as np
import pytest
import torch

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    _small_tables,
    classical,
)
from adaptive_vq._folds import folds
from adaptive_vq._race import Race, behind
from adaptive_vq._small_tables import (
    _turns,
    choose_start,
    largest_codebook,
    memorized,
    too_few,
    with_codebooks_of,
)
from adaptive_vq.classical import CategorySpec, StartOptions
from adaptive_vq.learning import Judge

ROWS = torch.randn(240, 6, generator=torch.Generator().manual_seed(0))
ONES = torch.ones(240)


def spec(*sizes: tuple[int, ...]) -> CategorySpec:
    return CategorySpec("all", torch.arange(6), [list(s) for s in sizes], [6] * len(sizes))


def chosen(rows, sizes, **given):
    ones = torch.ones(len(rows))
    given = {"may_split": True} | given
    return choose_start(rows, sizes, ones, StartOptions(0), **given)


@pytest.mark.parametrize(("n", "n_valid", "expected"), [(1000, 100, 4), (5000, 700, 1), (10, 4, 2)])
def test_folds_are_as_many_as_it_takes(n, n_valid, expected):
    parts = list(folds(np.arange(n), n_valid))
    assert len(parts) == expected
    aside = np.concatenate([valid for _, valid in parts])
    assert len(np.unique(aside)) == len(aside)
    for fit, valid in parts:
        assert sorted([*fit, *valid]) == list(range(n))


def test_bits_of_a_level_stay_when_codebooks_get_smaller():
    smaller = with_codebooks_of(spec((256,), (256, 256, 16)), 6)
    assert smaller.sizes == [[64, 4], [64, 64, 64, 4]]


def test_few_rows_get_smaller_codebooks():
    assert too_few(len(ROWS), 8)
    smaller, _ = chosen(ROWS, spec((256,), (256,)))
    assert max(max(level) for level in smaller.sizes) < 256


def test_sizes_given_by_the_user_stay():
    given = spec((256,), (256,))
    assert chosen(ROWS[:120], given, may_split=False)[0].sizes == given.sizes
    everything = FeatureCharacterizer({"all": list(range(6))})
    selector = AdaptiveRatioSelector("uniform", bits=16, n_levels=2, characterizer=everything)
    vq = HierarchicalVQVAE(selector, codebook_sizes=256, max_epochs=0).fit(ROWS[:80].numpy())
    assert list(vq.codebooks_) == ["all__L0", "all__L1"]


@pytest.mark.parametrize(("n", "expected"), [(2000, [[256], [16]]), (200, [[8, 8], [8, 8]])])
def test_bits_that_move_make_codebooks_as_large_as_rows_allow(n, expected):
    rows = torch.zeros(n, 6)
    judge = Judge(rows, rows[:, 0], rows, [spec((8,), (8, 2))], 0, None, 8)
    assert judge.spec("all", 12).sizes == expected


def test_rows_of_few_distinct_values_keep_the_codebook_that_tells_them_apart():
    values = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    rows = values.repeat_interleave(6, 0)
    kept, width = chosen(rows, spec((256,), ()))
    assert kept.sizes == [[256], []]
    assert width == 0.0


def test_no_codeword_without_a_row_survives_the_start():
    rows = ROWS[:160]
    part = classical.fit_category(rows, spec((128,), (128,)), ONES[:160], StartOptions(0), 0.5)
    codes = classical.encode([part], rows, classical._WIDE_BEAM)
    used = [len(codes[:, j].unique()) for j in range(codes.shape[1])]
    assert used == [len(book) for book in part.chain]
    assert max(used) < 128  # a start that kept all would have 128, most of the second idle


@pytest.mark.parametrize("seed", [0, 1])
def test_bits_that_codewords_without_rows_cost_are_spent(seed):
    X = np.random.default_rng(seed).normal(size=(300, 5))
    vq = HierarchicalVQVAE(bits=24, max_epochs=0, random_state=seed).fit(X)
    assert 23 <= vq.n_bits_ <= 24 + 1e-9
    for book, hits in vq.training_["codes"].items():
        assert (hits > 0).all(), book


def test_a_small_table_is_coded_better_than_by_full_codebooks():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(700, 3)) @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(700, 8))
    fit, held = X[:150], X[150:]
    everything = FeatureCharacterizer({"all": list(range(8))})
    selector = AdaptiveRatioSelector("water_filling", bits=24, characterizer=everything)
    free = HierarchicalVQVAE(selector, max_epochs=0).fit(fit)
    full = HierarchicalVQVAE(selector, codebook_sizes=256, max_epochs=0).fit(fit)
    assert free.n_bits_ <= 24 + 1e-9
    assert 1 - free.score(held) < 0.8 * (1 - full.score(held))


@pytest.mark.parametrize(("noise", "turns"), [(0.0, 1), (2.0, 2)])
def test_what_falls_behind_does_not_get_the_other_turns(monkeypatch, noise, turns):
    fits = []

    def errors(part, rows, beam, weight):
        fits.append(part)
        level = {0.0: 2.0, 0.5: 2.2, 2.0: 1.0}[part]
        spread = noise if part == 0.5 else 0.0
        return level + spread * torch.linspace(-1.0, 1.0, len(rows))

    def fitted(rows, spec, mass, options, width, earlier):
        assert torch.equal(earlier.axes[0], classical.axes_of(rows, spec, mass)[0])
        return width

    monkeypatch.setattr(classical, "fit_category", fitted)
    monkeypatch.setattr(classical, "row_errors", errors)
    turn = _turns(ROWS, spec((256,), (256,)), torch.ones(len(ROWS)), StartOptions(0), 20)
    found = [turn(8, width, False) for width in (0.0, 0.5, 2.0)]
    assert found == pytest.approx([160.0, 176.0, 80.0], rel=1e-5)
    assert [fits.count(width) for width in (0.0, 0.5, 2.0)] == [4, turns, 4]
    assert turn(8, 0.5, False) == found[1]  # as it was known
    assert len(fits) == 8 + turns


@pytest.mark.parametrize("best", [4, 5, 6, 7, 8])
def test_codebooks_get_smaller_for_as_long_as_that_lowers_the_error(best):
    tried = set()

    def error(bits):
        tried.add(bits)
        return 1.0 + abs(bits - best)

    assert largest_codebook(error, 50, 8) == best
    assert tried == set(range(max(best - 1, 4), 9))
    assert largest_codebook(lambda bits: 1.0 + 0.001 * bits, 50, 8) == 8  # that gains too little
    assert largest_codebook(error, 640, 7) == 7  # rows enough


@pytest.mark.parametrize(("best", "smaller", "kept"), [(6, 1.0, 8), (6, 0.9, 6), (8, 0.9, 8)])
def test_codebooks_get_no_smaller_where_draws_would_fill_them(best, smaller, kept):
    asked = set()

    def smoothed(bits):
        asked.add(bits)
        return smaller ** (8 - bits)

    found = largest_codebook(lambda bits: 1.0 + abs(bits - best), 50, 8, smoothed)
    assert found == kept
    assert (asked == set()) == (best == 8)  # draws take time: only before anything is given up


@pytest.mark.parametrize(("best", "expected"), [(6, 6), (8, 8), (2, 4)])
def test_codebooks_of_many_rows_get_smaller_where_that_is_asked_for(best, expected):
    def error(bits):
        return 1.0 + abs(bits - best)

    assert largest_codebook(error, 10_000, 8, of_many_rows=True) == expected
    assert largest_codebook(error, 10_000, 8) == 8


def test_rows_with_heavy_tails_are_memorized_by_large_codebooks():
    generator = torch.Generator().manual_seed(0)
    rows, ones = torch.randn(3_000, 5, generator=generator), torch.ones(3_000)
    heavy = rows / torch.rand(3_000, 1, generator=generator)

    def found(rows, weight=ones, bits=8):
        return memorized(rows, weight, bits, torch.Generator().manual_seed(0))

    assert not found(rows)
    assert found(heavy)
    assert not found(heavy, bits=4)  # codebooks as small as that are not made smaller
    assert not found(heavy[:200], ones[:200])  # fewer rows than codewords
    # Rows of weight 0 say nothing.
    assert not found(torch.cat([rows, heavy]), torch.cat([ones, 0.0 * ones]))


def test_a_trial_that_was_behind_counts_as_worse_as_it_was():
    race, ones = Race(), torch.ones(10)
    assert race.entered([ones, 3.0 * ones]) == 40.0
    worse = [1.2 * ones]
    assert race.lost(worse)  # one part is half of two
    assert race.entered(worse) == pytest.approx(48.0)
    assert race.entered([ones, ones]) == 20.0
    assert not race.lost([0.9 * ones])
    assert not behind([ones], [], 1.0)
    exact = Race()
    assert exact.entered([0.0 * ones, 0.0 * ones]) == 0.0
    assert exact.lost([ones])
    assert exact.entered([ones]) == 10.0
    assert not exact.lost([0.0 * ones])


def test_parts_with_little_of_the_error_end_no_trial():
    little, much = 0.1 * torch.ones(10), torch.ones(10)
    assert behind([2.0 * much], [much] * 4)
    assert not behind([2.0 * little], [little, *[much] * 3])
    assert behind([0.97 * much], [much] * 4, share=0.95)
    assert not behind([0.94 * much], [much] * 4, share=0.95)
    mixed = torch.linspace(-1.0, 2.8, 10)
    assert not behind([mixed], [0.8 * much] * 4)  # worse on average, but far from certainly


def test_the_largest_codebooks_are_the_ones_to_beat(monkeypatch):
    tried = []

    def error(bits, width, grown, spread=False):
        tried.append((bits, width, grown, spread))
        return 1.0

    monkeypatch.setattr(_small_tables, "_turns", lambda *_: error)
    kept, _ = chosen(ROWS, spec((256,), (256,)))
    assert tried[0] == (8, 0.0, False, False)
    assert kept.sizes == [[256], [256]]
    tried.clear()
    chosen(ROWS, spec((256,), (256,)), may_split=False)
    assert {bits for bits, *_ in tried} == {8}
