"""Budgets, measured plans and reasons, as AdaptiveRatioSelector makes them."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_vq.annotations import annotation
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.plan import Goal
from adaptive_vq.planning import plan_from_ratios, plan_water_filling
from adaptive_vq.ratios import STRATEGIES, AdaptiveRatioSelector
from adaptive_vq.scores import category_scores
from adaptive_vq.spectra import (
    category_statistics,
    exact_bits,
    n_distinct,
    row_items,
    total_nmse,
    variance_shares,
)

FORMULAS = sorted(STRATEGIES)
MEASURED = ["rate_distortion", "minimax", "learned"]
CATEGORIES = {"shapes": [0, 1, 2, 3], "noise": [4, 5, 6], "flag": [7], "still": [8]}


def selector(strategy="balanced", **parameters):
    characterizer = FeatureCharacterizer(categories=CATEGORIES)
    return AdaptiveRatioSelector(strategy, characterizer=characterizer, **parameters)


def totals(fitted):
    return {name: sum(levels) for name, levels in fitted.bits_.items()}


def predicted_total(fitted, table):
    shares = fitted_shares(fitted, table)
    return total_nmse(shares, fitted.decisions_["predicted_nmse"].to_dict())


def fitted_shares(fitted, table):
    capped = table.clip(table.quantile(0.005), table.quantile(0.995), axis=1)
    Z = ((capped - capped.mean()) / capped.std(ddof=0).replace(0, 1)).to_numpy(np.float32)
    return variance_shares(category_statistics(Z, fitted.categories_))


class FakeMeasuring:
    """Stands for adaptive_vq.curves: every bit halves the error of a category."""

    def __init__(self):
        self.calls = []

    def __call__(self, Z, cuts, budget, objective, n_levels, random_state, *others):
        weight, cut_tolerance, most_alone = others
        assert cut_tolerance == 0.02
        assert most_alone in (0, 25)  # made up notes say nothing of it
        self.calls.append(SimpleNamespace(cuts=cuts, budget=budget, objective=objective))
        self.calls[-1].random_state = random_state
        assert Z.dtype == np.float32
        assert weight is None
        assert not np.isnan(Z).any()
        categories = cuts[-1]
        first, *rest = categories
        bits = {first: [budget] + [0] * (n_levels - 1)}
        bits |= {name: [0] * n_levels for name in rest}
        return SimpleNamespace(
            categories=categories,
            bits=bits,
            ratios={name: [0.5] * n_levels for name in categories},
            curves={name: 0.5 ** np.arange(budget + 1.0) for name in categories},
            predicted={name: 0.5 ** sum(levels) for name, levels in bits.items()},
            cuts={len(categories): 0.5},
            codebook_bits={},
        )


@pytest.fixture
def measuring(monkeypatch):
    fake = FakeMeasuring()
    module = ModuleType("adaptive_vq.curves")
    module.measure, module.CUT_TOLERANCE = fake, 0.02
    monkeypatch.setitem(sys.modules, "adaptive_vq.curves", module)
    return fake


# --- budget --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [*FORMULAS, "water_filling"])
@pytest.mark.parametrize("bits", [1, 2, 3, 7, 64])
def test_budget_is_spent(table, strategy, bits):
    fitted = selector(strategy, bits=bits).fit(table)
    assert fitted.budget_ == bits
    assert sum(totals(fitted).values()) == bits
    assert fitted.plan_.unspent == 0
    assert totals(fitted)["still"] == 0
    assert totals(fitted)["flag"] <= 1
    assert list(fitted.decisions_.index) == list(CATEGORIES)


@given(st.sampled_from([*FORMULAS, "water_filling"]), st.integers(1, 70), st.integers(0, 99))
def test_more_bits_are_never_predicted_worse(strategy, bits, seed):
    rng = np.random.default_rng(seed)
    Z = (rng.normal(size=(60, 9)) @ rng.normal(size=(9, 9))).astype(np.float32)
    Z[:, 7], Z[:, 8] = Z[:, 7] > 0, 0
    categories = {name: np.array(columns) for name, columns in CATEGORIES.items()}
    scores = category_scores(Z, categories)
    plans = []
    for budget in (bits, bits + 1):
        goal = Goal(3, bits=budget)
        if strategy == "water_filling":
            plans.append(plan_water_filling(strategy, Z, categories, scores, goal))
        else:
            ratios = {name: STRATEGIES[strategy](scores[name]) for name in categories}
            plans.append(plan_from_ratios(strategy, ratios, Z, categories, scores, goal))
    less, more = (plan.decisions_frame()["predicted_nmse"] for plan in plans)
    shares = variance_shares(category_statistics(Z, categories))
    assert total_nmse(shares, more) <= total_nmse(shares, less) + 1e-9
    assert strategy == "water_filling" or (more <= less + 1e-12).all()


def test_bits_are_left_where_no_category_can_take_one():
    rng = np.random.default_rng(0)
    X = (rng.random((200, 3)) < 0.5).astype(float)
    categories = {"pair": [0, 1], "one": [2]}
    characterizer = FeatureCharacterizer(categories=categories)
    for strategy in ("uniform", "water_filling"):
        fitted = AdaptiveRatioSelector(strategy, bits=10, characterizer=characterizer).fit(X)
        assert fitted.bits_ == {"pair": [2, 0, 0], "one": [1, 0, 0]}
        assert fitted.plan_.unspent == 7
        assert (fitted.decisions_["predicted_nmse"] == 0).all()
        assert fitted.decisions_["reason"].str.contains("distinct").all()


def test_default_budget_is_one_bit_per_column(table, measuring):
    wide = pd.concat([table] * 4, axis=1).set_axis(range(36), axis=1)
    fitted = AdaptiveRatioSelector().fit(wide)
    assert [call.budget for call in measuring.calls] == [36]
    assert fitted.budget_ == 36
    assert not fitted.plan_.explicit_budget


@pytest.mark.parametrize("strategy", ["uniform", "balanced", "water_filling"])
@pytest.mark.parametrize("target", [0.5, 0.1, 1e-4])
def test_max_nmse_takes_the_smallest_budget(table, strategy, target):
    fitted = selector(strategy, max_nmse=target).fit(table)
    assert fitted.plan_.explicit_budget
    assert predicted_total(fitted, table) <= target
    less = selector(strategy, bits=fitted.budget_ - 1).fit(table)
    assert predicted_total(less, table) > target


def test_max_nmse_counts_the_bit_that_every_category_gets_first():
    X = np.random.default_rng(0).normal(size=(200, 21)) * np.r_[np.ones(20), 1000.0]
    given = FeatureCharacterizer({"wide": list(range(20)), "alone": [20]}, scaler=None, clip=None)
    settings = {"characterizer": given, "scaler": None, "clip": None}
    fitted = AdaptiveRatioSelector("uniform", max_nmse=0.5, **settings).fit(X)
    assert sum(fitted.bits_["alone"]) == 1
    assert fitted.budget_ == 2  # by its columns alone it would come by a bit much later


def test_max_nmse_out_of_reach(table):
    for strategy in ("uniform", "water_filling"):
        with pytest.raises(ValueError, match=r"max_nmse=1e-300 is out of reach: 288 bits"):
            selector(strategy, max_nmse=1e-300).fit(table)


# --- measuring -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", MEASURED)
def test_measured_plan_is_taken_over(table, measuring, strategy):
    fitted = selector(strategy, bits=10, n_levels=2).fit(table)
    (call,) = measuring.calls
    assert call.budget == 10
    assert call.objective == ("minimax" if strategy == "minimax" else "total")
    assert [list(cut) for cut in call.cuts] == [list(CATEGORIES)]
    assert fitted.bits_["shapes"] == [10, 0]
    assert fitted.ratios_["noise"] == [0.5, 0.5]
    assert fitted.decisions_.loc["shapes", "predicted_nmse"] == 0.5**10
    assert fitted.curves_["noise"][1] == 0.5
    assert fitted.plan_.strategy == strategy


def test_measuring_chooses_among_the_cuts(table, measuring):
    characterizer = FeatureCharacterizer().fit(table)
    fitted = AdaptiveRatioSelector("rate_distortion").fit(characterizer.transform(table))
    (call,) = measuring.calls
    assert len(call.cuts) == len(characterizer.cuts_) > 1
    finest = characterizer.cuts_[-1]
    assert list(fitted.categories_) == list(finest)
    note = annotation(fitted.transform(table))
    assert list(note["categories"]) == list(note["scores"]) == list(finest)
    assert fitted.decisions_["variance"].notna().all()


def test_formula_strategies_keep_the_characterizers_cut(table):
    characterizer = FeatureCharacterizer().fit(table)
    fitted = AdaptiveRatioSelector("balanced").fit(characterizer.transform(table))
    assert list(fitted.categories_) == list(characterizer.categories_)


def test_measuring_is_seeded(table, measuring):
    for seed in (None, None, 3, 3, 4):
        selector("minimax", random_state=seed).fit(table)
    seeds = [call.random_state for call in measuring.calls]
    assert seeds[0] == seeds[1]
    assert seeds[2] == seeds[3] != seeds[4]


@pytest.mark.parametrize("strategy", MEASURED)
def test_max_nmse_on_measured_curves(table, measuring, strategy):
    fitted = AdaptiveRatioSelector(
        strategy, max_nmse=0.01, characterizer=FeatureCharacterizer({"all": list(range(9))})
    ).fit(table)
    assert fitted.budget_ == 7  # 2 ** -7 <= .01
    assert [call.budget for call in measuring.calls] == [16, 7, 6]


def test_max_nmse_is_settled_by_measuring_at_the_budget_itself(table, measuring):
    plain = measuring.__class__.__call__

    def pessimistic(self, Z, cuts, budget, *rest):
        measured = plain(self, Z, cuts, budget, *rest)
        if budget < 9:
            measured.predicted = dict.fromkeys(measured.predicted, 0.5)
        return measured

    module = sys.modules["adaptive_vq.curves"]
    module.measure = lambda *args: pessimistic(measuring, *args)
    fitted = AdaptiveRatioSelector(
        "rate_distortion",
        max_nmse=0.01,
        characterizer=FeatureCharacterizer({"all": list(range(9))}),
    ).fit(table)
    assert fitted.budget_ == 9
    assert [call.budget for call in measuring.calls] == [16, 7, 11, 8, 9]


def test_max_nmse_out_of_reach_of_measured_curves(table, measuring):
    with pytest.raises(ValueError, match=r"max_nmse=0.001 is out of reach: 288 bits .* error to 0"):
        selector("rate_distortion", max_nmse=0.001).fit(table)


@pytest.mark.parametrize("strategy", MEASURED)
def test_few_rows_are_not_measured(table, measuring, strategy):
    fitted = selector(strategy, bits=20).fit(table[:49])
    assert measuring.calls == []
    assert not hasattr(fitted, "curves_")
    filled = selector("water_filling", bits=20).fit(table[:49])
    assert fitted.bits_ == filled.bits_
    assert fitted.plan_.strategy == strategy
    reasons = fitted.decisions_["reason"]
    assert reasons.str.contains(f"water_filling stands in for {strategy}").all()
    assert reasons.str.contains("49 training rows are too few to measure").all()
    selector(strategy, bits=20).fit(table[:50])
    assert len(measuring.calls) == 1


def test_equal_rows_are_not_measured(measuring):
    fitted = AdaptiveRatioSelector("rate_distortion").fit(np.ones((60, 5)))
    assert measuring.calls == []
    assert sum(totals(fitted).values()) == 0
    assert fitted.decisions_["reason"].str.contains("all training rows are equal").all()


def test_refit_forgets_measured_curves(table, measuring):
    fitted = selector("rate_distortion").fit(table)
    assert hasattr(fitted, "curves_")
    fitted.set_params(strategy="uniform").fit(table)
    assert not hasattr(fitted, "curves_")
    assert annotation(fitted.transform(table))["plan"]["curves"] is None


def test_real_measuring():
    """The true module, on a table where one category is noise and the other one factor."""
    pytest.importorskip("adaptive_vq.curves")
    rng = np.random.default_rng(0)
    X = np.hstack([np.repeat(rng.normal(size=(300, 1)), 4, axis=1), rng.normal(size=(300, 4))])
    X += 0.01 * rng.normal(size=X.shape)
    characterizer = FeatureCharacterizer({"factor": [0, 1, 2, 3], "noise": [4, 5, 6, 7]})
    for strategy in MEASURED:
        fitted = AdaptiveRatioSelector(strategy, bits=12, characterizer=characterizer).fit(X)
        assert 0 < sum(totals(fitted).values()) <= 12
        assert totals(fitted)["noise"] > totals(fitted)["factor"] > 0
        assert fitted.decisions_["predicted_nmse"].between(0, 1.1).all()


# --- reasons -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [*FORMULAS, *MEASURED, "water_filling"])
def test_every_decision_has_one_sentence_with_its_numbers(table, measuring, strategy):
    fitted = selector(strategy, bits=30).fit(table)
    for name, row in fitted.decisions_.iterrows():
        assert row["reason"].endswith(".")
        assert ". " not in row["reason"]
        if row["bits"]:
            assert f"{row['bits']} of 30 bits" in row["reason"]
        else:
            assert "no bit" in row["reason"]
        if strategy in STRATEGIES and name != "still":
            assert ":".join(f"{r:.3g}" for r in fitted.ratios_[name]) in row["reason"]
    assert "does not vary" in fitted.decisions_["reason"]["still"]


@pytest.mark.parametrize("strategy", ["uniform", "rate_distortion"])
def test_a_budget_of_one_bit_is_told_as_one(table, strategy):
    reasons = selector(strategy, bits=1).fit(table).decisions_["reason"]
    assert reasons.str.contains(r" of 1 bit,").any()
    assert not reasons.str.contains(r"\b1 bits").any()


@pytest.mark.parametrize(
    ("n_values", "times", "bits"),
    [(1, 2, 0), (2, 20, 1), (2, 19, None), (100, 20, 7), (256, 20, 8), (257, 20, None)],
)
def test_values_that_come_often_enough_take_the_bits_that_tell_them_apart(n_values, times, bits):
    rows = np.tile(np.arange(n_values, dtype=np.float32), times)[:, None]
    assert exact_bits(rows, len(rows)) == bits


@pytest.mark.parametrize("n_cells", [1, 2, 3])
def test_rows_have_an_order_that_does_not_depend_on_how_many_cells_they_have(n_cells):
    rows = np.random.default_rng(0).integers(-3, 4, size=(500, n_cells)).astype(np.float32) / 3
    _, first = np.unique(row_items(rows), return_index=True)
    of_bytes = [row.tobytes() for row in rows + np.float32(0.0)]
    assert [of_bytes[i] for i in first] == sorted(set(of_bytes))


def test_a_negative_zero_is_no_value_of_its_own():
    assert n_distinct(np.array([[0.0, 1.0], [-0.0, 1.0]], dtype=np.float32)) == 1
