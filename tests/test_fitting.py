"""From plan to network: codebook sizes, freed bits, clean-up, rows kept aside."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptive_vq import AdaptiveRatioSelector, HierarchicalVQVAE, classical, fitting
from adaptive_vq._codebook_sizes import specs_of
from adaptive_vq.classical import CategorySpec
from adaptive_vq.fitting import FitOptions, fit_codec
from adaptive_vq.modules import CodecModule
from adaptive_vq.plan import Plan
from adaptive_vq.training import Rows, TrainingOptions


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def rows_of(table):
    return Rows(table, torch.ones_like(table))


def options(budget=12.0, max_epochs=0, **changed):
    training = TrainingOptions(max_epochs, 64, 1e-3, 0.25, 0.99, 2, 4, 0)
    usual = {
        "budget": budget,
        "may_grow": True,
        "beam": 4,
        "joint": False,
        "hidden": 4,
        "embedding": 4,
        "dropout": 0.0,
        "validation_fraction": 0.1,
        "early_stopping": True,
        "training": training,
    }
    return FitOptions(**{**usual, **changed})


def spec(name, columns, sizes):
    return CategorySpec(name, torch.tensor(columns), sizes, [len(columns)] * len(sizes))


def fit(table, specs, n_levels=2, **changed):
    return fit_codec(rows_of(table), specs, n_levels, options(**changed), lambda *_: False)


def sizes_of(fitted):
    return [len(book.weight) for book in fitted.module.codebooks]


# --- sizes ---------------------------------------------------------------------------------------


@pytest.fixture
def plan():
    return Plan(
        "uniform",
        budget=20,
        n_levels=2,
        categories={"a": np.array([0, 1]), "b": np.array([2, 3, 4])},
        ratios={"a": [0.5, 1.0], "b": [1.0, 9.0]},
        bits={"a": [0, 3], "b": [2, 12]},
    )


def test_sizes_follow_the_bits(plan):
    a, b = specs_of(plan, "auto")
    assert a.sizes == [[], [8]]
    assert b.sizes == [[4], [256, 16]]
    assert b.columns.tolist() == [2, 3, 4]
    assert a.widths == [2, 2]  # never more than columns
    assert b.widths == [3, 3]


def test_sizes_as_given(plan):
    assert [s.sizes for s in specs_of(plan, 4)] == [[[4], [4]], [[4], [4]]]
    assert [s.sizes for s in specs_of(plan, (1, 5))] == [[[], [5]], [[], [5]]]
    per_category = {"a": 2, "b": np.array([2, 3]).tolist()}
    assert [s.sizes for s in specs_of(plan, per_category)] == [[[2], [2]], [[2], [3]]]
    with pytest.raises(ValueError, match=r"take 24\.0 bits per row, the budget is 20"):
        specs_of(plan, 64)


# --- freed bits ----------------------------------------------------------------------------------


def test_freed_bits_go_to_the_category_in_need():
    table = torch.cat([normal(200, 1).sign(), normal(200, 3)], 1)
    specs = [spec("flag", [0], [[16], []]), spec("rest", [1, 2, 3], [[4], []])]
    fitted = fit(table, specs, budget=6.0)
    assert sizes_of(fitted) == [2, 32]
    still = fit(table, specs, budget=6.0, may_grow=False)
    assert sizes_of(still) == [2, 4]


def test_growth_beyond_a_full_codebook_opens_another():
    table = torch.cat([normal(600, 1).sign(), normal(600, 4)], 1)
    specs = [spec("flag", [0], [[256], [16]]), spec("rest", [1, 2, 3, 4], [[2], [64]])]
    fitted = fit(table, specs, budget=19.0)
    levels = fitted.module.layout.categories[1].levels
    assert levels[:3] == [0, 1, 1]
    assert set(levels[3:]) <= {1}
    assert math.log2(math.prod(sizes_of(fitted))) <= 19.0


def test_bits_nobody_can_use_stay_unspent():
    table = normal(300, 3).sign()
    fitted = fit(table, [spec("flags", [0, 1, 2], [[8], [8]])], budget=12.0)
    assert math.prod(sizes_of(fitted)) == 8
    decoded = fitted.module.decode(fitted.codes, 2)
    torch.testing.assert_close(decoded, table, atol=0.05, rtol=0)


# --- clean-up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_epochs", [0, 1])
def test_final_codes_use_every_codeword(max_epochs):
    table = normal(150, 4)
    specs = [spec("a", [0, 1], [[8], [16]]), spec("b", [2, 3], [[2], [32]])]
    fitted = fit(table, specs, budget=14.0, training=options(max_epochs=max_epochs).training)
    assert torch.equal(fitted.codes, fitted.module.encode(table, 4))
    assert [len(column.unique()) for column in fitted.codes.T] == sizes_of(fitted)


# --- rows kept aside -----------------------------------------------------------------------------


def test_codewords_that_the_wide_search_leaves_idle_are_put_to_use(monkeypatch):
    table = normal(3000, 3) / normal(3000, 1, seed=1).abs().clamp_min(0.05)  # heavy tails
    specs = [spec("a", [0, 1, 2], [[64, 64], []])]
    spent = {}
    for used in (True, False):
        if not used:
            monkeypatch.setattr(fitting, "put_to_use", lambda *_, **__: False)
        spent[used] = sum(sizes_of(fit(table, specs, may_grow=False)))
    assert spent[True] > spent[False]
    assert spent[True] >= 127


def test_only_categories_with_moved_codewords_are_searched_again(monkeypatch):
    tails = normal(3000, 3) / normal(3000, 1, seed=1).abs().clamp_min(0.05)
    table = torch.cat([normal(3000, 2, seed=2), tails, normal(3000, 2, seed=3)], 1)
    specs = [spec(n, c, [[8], []]) for n, c in (("a", [0, 1]), ("z", [5, 6]))]
    specs.insert(1, spec("m", [2, 3, 4], [[64, 64], []]))
    asked, search = [], CodecModule.search

    def noted(self, table, beam, categories):
        asked.append((len(table), list(categories)))
        return search(self, table, beam, categories)

    monkeypatch.setattr(CodecModule, "search", noted)
    fitted = fit(table, specs, may_grow=False)
    assert (3000, [1]) in asked
    assert torch.equal(fitted.codes, fitted.module.encode(table, 4))


def test_rows_kept_aside():
    rows = rows_of(normal(100, 3))
    fit_rows, valid = fitting.split_rows(rows, options())
    assert (len(fit_rows), len(valid)) == (90, 10)
    both = torch.cat([fit_rows.table, valid.table])
    assert torch.equal(both.sort(0).values, rows.table.sort(0).values)
    assert fitting.split_rows(rows, options(early_stopping=False)) == (rows, None)
    assert fitting.split_rows(rows_of(normal(15, 3)), options())[1] is None


def test_rows_kept_aside_are_folded_back_in(monkeypatch):
    table = normal(100, 2)
    specs = [spec("a", [0, 1], [[64]])]
    folded = fit(table, specs, n_levels=1, budget=6.0)
    monkeypatch.setattr(fitting, "FOLD_IN_ROWS", 10)
    apart = fit(table, specs, n_levels=1, budget=6.0)
    offset = folded.module.offset
    torch.testing.assert_close(offset, table.mean(0), atol=1e-5, rtol=0)
    assert not torch.allclose(apart.module.offset, offset, atol=1e-4)


def test_values_that_only_rows_kept_aside_have_get_a_codeword():
    values = torch.cat([torch.arange(8.0).repeat_interleave(24), torch.tensor([20.0, 30.0, 40.0])])
    table = values[:, None] * torch.tensor([[1.0, -1.0]])
    for seed in (5, 9, 14):  # one of the three rare values is kept aside
        training = TrainingOptions(0, 64, 1e-3, 0.25, 0.99, 2, 4, seed)
        fitted = fit(table, [spec("a", [0, 1], [[16], []])], training=training, may_grow=False)
        decoded = fitted.module.decode(fitted.codes, 2)
        assert torch.allclose(decoded, table, atol=1e-3)


def test_full_chains_follow_the_rows_kept_aside_others_are_fitted_anew(monkeypatch):
    refitted, refit = [], fitting.classical.refit_category

    def noted(table, part, *others):
        refitted.append((part.spec.name, len(table)))
        return refit(table, part, *others)

    monkeypatch.setattr(fitting.classical, "refit_category", noted)
    few = torch.arange(3.0).repeat(100)[:, None]
    table = torch.cat([normal(300, 2), few, normal(300, 1, 1)], 1)
    specs = [
        spec("chain", [0, 1], [[8], [8]]),
        spec("values", [2], [[4], [4]]),
        spec("one", [3], [[8], []]),
    ]
    fit(table, specs, may_grow=False)
    assert refitted == [("chain", 300)]
    fit(table, specs, may_grow=False, validation_fraction=0.2)
    assert refitted == [("chain", 300)] * 2
    fit(table, specs, may_grow=False, validation_fraction=0.3)
    assert refitted == [("chain", 300)] * 2


def test_chains_that_freed_bits_have_grown_follow_those_that_shrank_do_not():
    asked = spec("a", [0, 1], [[4], [4]])
    part = classical.CategoryCodec(asked, torch.zeros(2), torch.eye(2), [], [])
    for sizes, follows in [((4, 4), True), ((4, 4, 2), True), ((8, 4), True), ((4, 3, 2), False)]:
        chain = [torch.zeros(size, 2) for size in sizes]
        assert fitting._is_full_chain(replace(part, chain=chain), asked) == follows
    assert not fitting._is_full_chain(replace(part, chain=[torch.zeros(4, 2)]), asked)


def test_training_that_hardly_helps_is_not_kept():
    history = [{"start_nmse": 0.1, "valid_nmse": 0.09995, "best": True}]
    assert not fitting._worthwhile(history)
    history.append({"start_nmse": 0.1, "valid_nmse": 0.09, "best": True})
    assert fitting._worthwhile(history)
    assert not fitting._worthwhile([])


def test_warm_start_goes_on_from_a_network():
    table = normal(120, 4)
    specs = [spec("a", [0, 1], [[8]]), spec("b", [2, 3], [[8]])]
    first = fit(table, specs, n_levels=1, budget=6.0)
    before = {key: value.clone() for key, value in first.module.state_dict().items()}
    again = fit_codec(rows_of(table), specs, 1, options(budget=6.0), lambda *_: False, first.module)
    for key, value in again.module.state_dict().items():
        assert torch.equal(value, before[key])
    moved = fit_codec(
        rows_of(table),
        specs,
        1,
        options(budget=6.0, max_epochs=1, early_stopping=False),
        lambda *_: False,
        first.module,
    )
    assert moved.n_epochs == 1
    assert not torch.equal(moved.module.encoders[0].gate, before["encoders.0.gate"])
    assert torch.equal(first.module.encoders[0].gate, before["encoders.0.gate"])


def test_rows_without_cells_do_not_break_the_start():
    table = normal(60, 3)
    weight = torch.ones_like(table)
    weight[1:] = 0.0
    fitted = fit_codec(
        Rows(table, weight), [spec("a", [0, 1, 2], [[4]])], 1, options(), lambda *_: False
    )
    assert sizes_of(fitted) == []
    torch.testing.assert_close(fitted.module.decode(fitted.codes, 1)[0], table[0])


def test_the_last_level_with_bits_codes_what_later_ones_would_have():
    plan = Plan(
        "given",
        budget=4,
        n_levels=3,
        categories={"a": np.arange(9), "b": np.arange(9, 18)},
        ratios={"a": [0.4, 0.8, 1.5], "b": [0.4, 0.8, 1.5]},
        bits={"a": [2, 0, 0], "b": [1, 0, 1]},
    )
    assert [spec.widths for spec in specs_of(plan, "auto")] == [[9, 9, 9], [4, 8, 9]]


def test_distinct_rows_are_told_apart_where_bits_allow():
    """Ratios below 1 used to leave out the directions that tell the last of seven flags."""
    flags = np.eye(7)[np.random.default_rng(0).integers(0, 7, size=200)]
    given = AdaptiveRatioSelector("balanced", bits=16)
    fitted = HierarchicalVQVAE(given, max_epochs=0).fit(flags)
    assert [len(book) for book in fitted.codebooks_.values()] == [7]
    assert fitted.score(flags) == pytest.approx(1.0)


def test_rows_kept_aside_choose_how_far_codewords_follow_their_rows(monkeypatch):
    rows, valid = fitting.split_rows(rows_of(normal(900, 4)), options())
    specs, errors = [spec("a", [0, 1, 2, 3], [[32, 32], [32]])], {}
    for gentle in (True, False):
        monkeypatch.setattr(fitting, "clearly_better", lambda *_, answer=gentle: answer)
        decided, codec = fitting._start(rows, valid, specs, 2, options())
        assert [s.gentle for s in decided.specs] == [gentle]
        errors[gentle] = classical.category_error(codec.parts[0], rows.table, 8)
    assert errors[False] < errors[True]


def test_codewords_follow_noisy_rows_gently():
    noise = np.random.default_rng(0).laplace(size=(3_000, 12))
    grid = torch.cartesian_prod(*[torch.arange(3.0)] * 4).repeat(25, 1)
    tables = torch.from_numpy(noise.astype(np.float32)), grid + 0.01 * normal(2_025, 4)
    for table, expected in zip(tables, (True, False), strict=True):
        specs = [spec("a", list(range(table.shape[1])), [[128, 128, 128]])]
        rows, valid = fitting.split_rows(rows_of(table), options())
        decided, _ = fitting._start(rows, valid, specs, 1, options())
        assert decided.specs[0].gentle == expected
