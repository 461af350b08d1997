"""Measured distortion-rate curves and what is decided on them."""

import gc
import json
import math
import weakref

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, _bench, classical, curves
from adaptive_vq._bench import Bench
from adaptive_vq._codebook_sizes import specs_of
from adaptive_vq.classical import TOWARDS_NEIGHBOURS
from adaptive_vq.curves import level_bits, measure
from adaptive_vq.greedy import AveragedCurve
from adaptive_vq.plan import Plan
from adaptive_vq.planning import Goal, plan_from_bits
from adaptive_vq.quantize import MAX_CODEBOOK_BITS


def make_table(n=300, seed=0):
    """Columns 0-2 of one factor, 3-5 of noise, 6 takes two values, 7 is constant."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, 1))
    parts = [factor + 0.1 * rng.normal(size=(n, 3)), rng.normal(size=(n, 3))]
    parts += [2.0 * (rng.random((n, 1)) < 0.5) - 1.0, np.zeros((n, 1))]
    return np.hstack(parts).astype(np.float32)


CUT = {
    "factor": np.array([0, 1, 2]),
    "noise": np.array([3, 4, 5]),
    "flag": np.array([6]),
    "still": np.array([7]),
}


def _bench_of(monkeypatch, errors, n=300):
    """Bench whose fits leave what `errors` says of each, and what was fitted."""
    fitted = []

    def fit(table, spec, weight, options, bootstrap, earlier):
        assert torch.equal(earlier.axes[1], classical.axes_of(table, spec, weight)[1])
        fitted.append((max(spec.sizes[0]), spec.spread, bootstrap) + spec.grown * (True,))
        return fitted[-1]

    rows = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    bench = Bench(rows, 0)
    monkeypatch.setattr(_bench, "fit_category", fit)
    monkeypatch.setattr(
        _bench, "row_errors", lambda part, valid, *_: torch.full((len(valid),), errors(*part))
    )
    return bench, fitted


@pytest.fixture(scope="module")
def Z():
    return make_table()


@pytest.fixture(scope="module")
def measured(Z):
    return measure(Z, [CUT], 16, "total", 3, 0)


@pytest.mark.parametrize("n_levels", [1, 2, 3, 5])
@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 24, 100])
def test_level_bits_are_whole_codebooks_coarse_to_fine(bits, n_levels):
    levels = level_bits(bits, n_levels)
    assert len(levels) == n_levels
    assert sum(levels) == bits
    assert all(b >= 0 for b in levels)
    assert (levels[0] > 0) == (bits > 0)
    last = max((i for i, b in enumerate(levels) if b), default=0)
    assert all(b % MAX_CODEBOOK_BITS == 0 for b in levels[:last])


def test_budget_and_shapes(measured):
    assert list(measured.categories) == list(CUT)
    assert sum(map(sum, measured.bits.values())) <= 16
    for name in CUT:
        assert len(measured.bits[name]) == len(measured.ratios[name]) == 3
        assert all(0 < ratio <= 1 for ratio in measured.ratios[name])


def test_curves_start_at_one_and_never_rise(measured):
    for name in ("factor", "noise", "flag"):
        curve = measured.curves[name]
        assert curve[0] == pytest.approx(1.0)
        assert (np.diff(curve) <= 1e-12).all()
        assert measured.predicted[name] == curve[sum(measured.bits[name])]


def test_bits_go_where_they_buy_most(measured):
    total = {name: sum(levels) for name, levels in measured.bits.items()}
    assert total["still"] == 0
    assert total["flag"] == 1
    assert measured.predicted["flag"] == pytest.approx(0.0, abs=1e-5)
    assert total["noise"] > total["factor"] > 1


def test_prediction_holds_on_other_rows(Z, measured):
    from adaptive_vq import HierarchicalVQVAE

    groups = {name: columns.tolist() for name, columns in CUT.items()}
    plan = AdaptiveRatioSelector(
        "rate_distortion",
        bits=16,
        scaler=None,
        clip=None,
        characterizer=FeatureCharacterizer(groups, scaler=None, clip=None),
    )
    codec = HierarchicalVQVAE(plan, scaler=None, clip=None, max_epochs=0, random_state=0).fit(Z)
    new = make_table(seed=1)
    rest = new - codec.reconstruct(new)
    for name in ("factor", "noise"):
        nmse = (rest[:, CUT[name]] ** 2).sum() / (new[:, CUT[name]] ** 2).sum()
        assert nmse == pytest.approx(measured.predicted[name], rel=0.35, abs=0.02)


def test_minimax_evens_out_the_categories(Z):
    total, minimax = (measure(Z, [CUT], 8, objective, 3, 0) for objective in ("total", "minimax"))
    names = ("factor", "noise", "flag")
    worst = [max(m.predicted[name] for name in names) for m in (total, minimax)]
    assert worst[1] <= worst[0]


def test_more_bits_are_never_predicted_worse(Z):
    def error(budget):
        found = measure(Z, [CUT], budget, "total", 3, 0)
        energy = {name: float((Z[:, c] ** 2).sum()) for name, c in CUT.items()}
        return sum(energy[name] * found.predicted[name] for name in CUT)

    errors = [error(budget) for budget in (2, 6, 12, 18)]
    assert errors == sorted(errors, reverse=True)


def test_cut_is_chosen_by_its_error(Z):
    torn = {"x": np.array([0, 3, 6]), "y": np.array([1, 4, 7]), "z": np.array([2, 5])}
    found = measure(Z, [torn, CUT], 16, "total", 3, 0)
    assert list(found.categories) == list(CUT)
    # One chain of 16 bits leaves .015 of 6,000 fresh rows, codebooks of each category .025.
    whole = {"all": np.arange(8)}
    assert list(measure(Z, [whole, CUT], 16, "total", 3, 0).categories) == ["all"]


def test_curves_are_measured_one_codebook_beyond_their_bits(Z, monkeypatch):
    asked, measure_to = set(), AveragedCurve.measure_to

    def noted(self, bits):
        asked.add(bits)
        measure_to(self, bits)

    monkeypatch.setattr(AveragedCurve, "measure_to", noted)
    found = measure(Z, [CUT], 16, "total", 3, 0)
    assert {sum(levels) + MAX_CODEBOOK_BITS for levels in found.bits.values()} <= asked


def test_order_of_categories_and_columns_changes_only_the_order(Z, measured):
    shuffled = {name: CUT[name][::-1] for name in reversed(CUT)}
    found = measure(Z, [shuffled], 16, "total", 3, 0)
    assert list(found.bits) == list(shuffled)
    assert found.bits == measured.bits
    assert found.predicted == measured.predicted


def test_same_seed_same_curves(Z, measured):
    again = measure(Z, [CUT], 16, "total", 3, 0)
    other = measure(Z, [CUT], 16, "total", 3, 1)
    np.testing.assert_array_equal(again.curves["noise"], measured.curves["noise"])
    assert (other.curves["noise"] != measured.curves["noise"]).any()


def test_gain_is_interpolated_between_chains_measured():
    bench = Bench(make_table(), 0)
    books = np.array([0.0, 1.0, 2.0, 5.0, 10.0, 100.0])
    guessed = bench.gains.usual(books)
    assert guessed[:2].tolist() == [0.0, 0.0]
    assert (np.diff(guessed[1:5]) < 0).all()
    bench.gains.note(np.exp(-0.4), 2.0)
    bench.gains.note(np.exp(-0.6), 2.0)
    bench.gains.note(np.exp(-0.9), 5.0)
    # Over the root of the codebooks after the first: 3 is between 1 and 2; then 2.5 times at most.
    assert bench.gains.usual(books) == pytest.approx([0, 0, -0.5, -0.9, -1.35, -2.25])
    assert bench.gains.usual(np.array([3.25])) == pytest.approx([-0.7])


def test_a_chain_that_codes_nearly_all_rows_makes_others_no_such_promise():
    gains = Bench(make_table(), 0).gains
    gains.note(1e-9, 2.0)
    gains.note(np.exp(-0.4), 2.0)
    assert np.exp(gains.usual(np.array([2.0]))[0]) > 0.05


def test_all_directions_of_few_columns_are_coded_and_of_many_those_that_rows_can_tell():
    few, many = (Bench(np.zeros((n, 2), dtype=np.float32), 0) for n in (200, 20_000))
    assert [few.width(d) for d in (1, 57, 128, 129, 700)] == [1, 57, 128, 32, 32]
    assert [many.width(d) for d in (57, 128, 129, 700)] == [57, 128, 128, 128]


def test_few_rows_of_mostly_zeros_keep_all_their_directions():
    # Each direction carries a like share: without some of them no codebook is of use.
    kinds = np.random.default_rng(0).integers(40, size=400)
    Z = 5.0 * np.eye(40, dtype=np.float32)[kinds]
    found = measure(Z, [{"all": np.arange(40)}], 16, "total", 2, 0)
    assert found.predicted["all"] < 0.01


@pytest.mark.parametrize(("name", "helps"), [("digits", True), ("grid", False)])
def test_chains_of_few_rows_are_measured_as_they_start_where_these_help(name, helps):
    grid = np.random.default_rng(0).integers(6, size=(300, 3))
    X = load_digits().data[:300] if name == "digits" else grid.astype(float)
    X = X[:, X.std(0) > 0]
    bench = Bench(((X - X.mean(0)) / X.std(0)).astype(np.float32), 0)
    assert bench.draws == 0.0
    bench.settle_for_few_rows(16)
    (node,) = bench.nodes([np.arange(X.shape[1])])
    assert bench.draws == (TOWARDS_NEIGHBOURS if helps else 0.0)
    measured = node.refitted(16, bench.max_bits)
    bench.draws = 0.0 if helps else TOWARDS_NEIGHBOURS
    assert measured < node.refitted(16, bench.max_bits)


def test_cuts_outside_the_candidates_are_tried_where_rows_can_judge_them():
    # Two factors of 200 values each, two columns of each; no candidate has both pairs.
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(200, 2))[rng.integers(200, size=(6000, 2)), [0, 1]]
    Z = (factor[:, [0, 0, 1, 1]] + 0.001 * rng.normal(size=(6000, 4))).astype(np.float32)
    groups = [[[0, 1, 2, 3]], [[0, 1], [2], [3]], [[0], [1], [2], [3]]]
    candidates = [{f"c{i}": np.array(g) for i, g in enumerate(cut)} for cut in groups]
    found = measure(Z, candidates, 16, "total", 2, 0)
    assert sorted(c.tolist() for c in found.categories.values()) == [[0, 1], [2, 3]]
    assert found.cuts[2] < 0.1 * found.cuts[1]
    few = measure(Z[:300], candidates, 16, "total", 2, 0)
    assert sorted(c.tolist() for c in few.categories.values()) in groups


def test_rows_measured_on_are_freed_with_the_bench(Z):
    bench = Bench(Z, 0)
    bench.nodes(CUT.values())
    rows = weakref.ref(bench.folds[0])
    gc.disable()
    try:
        del bench
        assert rows() is None
    finally:
        gc.enable()


def test_codebooks_have_no_more_codewords_than_there_are_rows():
    sizes = [Bench(np.zeros((n, 2), dtype=np.float32), 0) for n in (2, 100, 320, 20_000)]
    assert [(bench.n_rows, bench.max_bits) for bench in sizes] == [
        (1, 1),
        (80, 6),
        (256, 8),
        (10_000, 8),
    ]


@pytest.mark.parametrize(("share", "draws"), [(0.96, 0.0), (0.94, TOWARDS_NEIGHBOURS)])
def test_plans_are_made_as_they_start_only_where_these_help_clearly(monkeypatch, share, draws):
    bench, _ = _bench_of(monkeypatch, lambda size, spread, draws: share if draws else 1.0)
    bench.settle_for_few_rows(16)
    assert bench.draws == draws


def test_trials_that_fall_behind_are_not_fitted_on_every_fold(monkeypatch):
    def errors(size, spread, draws):
        by_size = {32: 1.0, 64: 1.2, 128: 1.3}
        return by_size[size] * (1.1 if spread else 1.0) * (0.98 if draws else 1.0)

    bench, fitted = _bench_of(monkeypatch, errors, n=250)
    bench.settle_for_few_rows(20)
    assert (bench.max_bits, bench.draws) == (5, 0.0)
    sizes, draws = [(128, False, 0.0), (64, False, 0.0), (32, False, 0.0)], TOWARDS_NEIGHBOURS
    asked = [*sizes, (32, True, 0.0), (32, False, draws)]
    assert [fitted.count(one) for one in asked] == [1, 4, 4, 1, 1]
    assert len(fitted) == 11
    (node,) = bench.nodes([np.arange(3)])
    assert node.refitted(20, 7) == pytest.approx(1.3)
    assert fitted.count((128, False, 0.0)) == 4  # the folds that it had not been given


def test_folds_with_little_error_do_not_end_a_trial(monkeypatch):
    folds = []

    def errors(size, spread, draws):
        first = len(folds) % 4 == 0
        folds.append(spread)
        return (0.2 if spread else 0.1) if first else (0.5 if spread else 1.0)

    bench, fitted = _bench_of(monkeypatch, errors)
    (node,) = bench.nodes([np.arange(3)])
    assert node.refitted(20, 5) == pytest.approx((0.2 + 3 * 0.5) / 4)
    assert [fitted.count((32, spread, 0.0)) for spread in (False, True)] == [4, 4]


@pytest.mark.parametrize(("with_draws", "largest"), [(0.7, 256), (1.0, 128)])
def test_draws_count_when_plans_choose_smaller_codebooks(with_draws, largest, monkeypatch):
    def errors(size, spread, draws):
        plain = {256: 1.0, 128: 0.9}.get(size, 2.0)
        return with_draws if draws and size == 256 else plain

    bench, _ = _bench_of(monkeypatch, errors, n=600)
    bench.settle_for_few_rows(20)
    assert 2**bench.max_bits == 128  # chains of more than two full codebooks
    bench, fitted = _bench_of(monkeypatch, errors, n=600)
    bench.settle_for_few_rows(16)
    assert 2**bench.max_bits == largest
    assert bench.draws == (TOWARDS_NEIGHBOURS if largest == 256 else 0.0)
    assert (256, False, TOWARDS_NEIGHBOURS) in fitted


@pytest.mark.parametrize("memorizes", [True, False])
def test_full_codebooks_that_memorize_are_compared_with_smaller_ones(memorizes, monkeypatch):
    def errors(size, spread, draws):
        return {256: 1e-4, 128: 8e-5, 64: 7e-5, 32: 7.5e-5}[size] * (1.1 if spread else 1.0)

    bench, fitted = _bench_of(monkeypatch, errors, n=2_000)
    monkeypatch.setattr(_bench, "memorized", lambda *_: memorizes)
    (node,) = bench.nodes([np.arange(3)])
    assert (node.max_bits, node.has_smaller) == (8, False)
    least = 1e-4 * (0.7 if memorizes else 1.0)
    assert node.gain(20) == pytest.approx(least / node.greedy.up_to(20)[-1])
    assert (node.max_bits, node.has_smaller) == ((6, True) if memorizes else (8, False))
    assert (64 in {size for size, *_ in fitted}) == memorizes
    n_fits = len(fitted)
    node.gain(20)
    assert len(fitted) == n_fits  # chosen once
    assert bench.max_bits == 8  # other categories choose for themselves


def test_idle_codewords_go_before_sizes_are_compared(monkeypatch):
    prunes = []

    def fit(table, spec, weight, options, bootstrap, earlier):
        prunes.append(options.prunes)

    bench = Bench(np.random.default_rng(0).normal(size=(2_000, 3)).astype(np.float32), 0)
    monkeypatch.setattr(_bench, "fit_category", fit)
    monkeypatch.setattr(_bench, "row_errors", lambda part, valid, *_: torch.ones(len(valid)))
    for columns, memorizes in ([0, 1], False), ([1, 2], True):
        prunes.clear()
        monkeypatch.setattr(_bench, "memorized", lambda *_, answer=memorizes: answer)
        (node,) = bench.nodes([np.array(columns)])
        node.gain(20)
        assert set(prunes) == {memorizes}


def test_rows_with_heavy_tails_get_smaller_codebooks():
    rng = np.random.default_rng(0)
    heavy = rng.normal(size=(2_000, 10)) / rng.random((2_000, 1))
    Z = (heavy / heavy.std(0)).astype(np.float32)
    found = measure(Z, [{"all": np.arange(10)}], 32, "total", 2, 0)
    assert found.codebook_bits["all"] < 8
    plan = plan_from_bits("rate_distortion", found, 32, Z, {}, Goal(2, bits=32))
    (spec,) = specs_of(Plan.from_note(json.loads(json.dumps(plan.to_note()))), "auto")
    assert max(size for level in spec.sizes for size in level) == 2 ** found.codebook_bits["all"]
    assert sum((size - 1).bit_length() for level in spec.sizes for size in level) == 32


@pytest.mark.parametrize(
    ("drawn", "grown", "n", "may_grow", "draws", "grows"),
    [
        (0.97, 1.0, 2_000, True, TOWARDS_NEIGHBOURS, False),
        (0.99, 1.0, 2_000, True, 0.0, False),
        (0.99, 0.98, 2_000, True, TOWARDS_NEIGHBOURS, True),  # both together
        (0.97, 0.8, 2_000, False, 0.0, False),
        (0.94, 0.8, 2_000, False, TOWARDS_NEIGHBOURS, False),
        (0.97, 0.97, 6_500, True, 0.0, False),  # estimates of so many rows are close to what comes
        (0.5, 0.5, 900, True, 0.0, False),  # of few rows draws have been settled before
    ],
)
def test_close_calls_are_settled_by_how_chains_will_start(
    monkeypatch, drawn, grown, n, may_grow, draws, grows
):
    def errors(size, spread, draws, grows=False):
        return (drawn if draws else 1.0) * (grown if grows else 1.0)

    bench, fitted = _bench_of(monkeypatch, errors, n=n)
    (node,) = bench.nodes([np.arange(3)])
    node.note_gain(20, 0.5)
    gains = bool(draws or grows)
    assert bench.settle_close_calls(20, may_grow) == gains
    assert (bench.draws, bench.grows) == (draws, grows)
    assert node.may_gain(20) == gains  # what was measured in another way counts no more
    assert not bench.settle_close_calls(8, may_grow)  # of a single codebook
    # Either way to start may be the better one of a category.
    fitted.clear()
    node.refitted(17, 8)
    assert any(len(chain) == 4 for chain in fitted) == grows
    least = (drawn if draws else 1.0) * min(1.0, grown if grows else 1.0)
    assert node.refitted(17, 8) == pytest.approx(least)


def test_draws_decide_between_a_cut_and_coarser_ones_that_are_hardly_worse():
    class Trial:
        def __init__(self, n_categories, error, drawn):
            self.names, self.error, self.drawn = ["c"] * n_categories, error, drawn

        def correct(self):
            self.error = self.drawn

    one, two, three = Trial(1, 1.1, 0.8), Trial(2, 1.0, 0.9), Trial(3, 1.05, 0.7)
    assert curves._coarser_are_behind([one, two, three], 0.0) == pytest.approx(1.1)
    assert curves._coarser_are_behind([Trial(1, 1.2, 0.8), two], 0.0) == pytest.approx(1.2)
    assert curves._coarser_are_behind([Trial(1, 1.0, 0.8), Trial(2, 1.01, 0.8)], 0.0) == math.inf
    found = curves._as_they_start([Trial(1, 1.2, 0.1), one, two, three], 0.0)
    assert found == [one, two]
    assert [trial.error for trial in found] == [0.8, 0.9]


@pytest.mark.parametrize("help_", [True, False])
def test_cuts_that_are_close_are_measured_again_as_they_start_if_these_help(monkeypatch, help_):
    Z = np.random.default_rng(0).laplace(size=(1_700, 20)).astype(np.float32)
    halves = {"a": np.arange(10), "b": np.arange(10, 20)}
    fitted, fit = [], _bench.fit_category

    def noted(table, spec, weight, options, bootstrap, earlier):
        fitted.append(bootstrap)
        return fit(table, spec, weight, options, bootstrap, earlier)

    monkeypatch.setattr(_bench.Node, "gains_by_growing", lambda *_: (help_, False))
    monkeypatch.setattr(_bench.Node, "gains_by_draws", lambda *_: help_)
    monkeypatch.setattr(_bench, "fit_category", noted)
    found = measure(Z, [{"all": np.arange(20)}, halves], 16, "total", 2, 0)
    assert sorted(found.cuts) == [1, 2]
    assert fitted[0] == 0.0
    assert (TOWARDS_NEIGHBOURS in fitted) == help_


@pytest.mark.parametrize(("behind", "asked"), [(1.05, [True]), (1.1, [False]), (1.2, [])])
def test_the_closer_a_call_the_more_may_settle_it(monkeypatch, Z, behind, asked):
    calls = []
    monkeypatch.setattr(curves, "_coarser_are_behind", lambda *_: behind)
    monkeypatch.setattr(Bench, "settle_close_calls", lambda *arguments: calls.append(arguments[-1]))
    measure(Z, [{"all": np.arange(Z.shape[1])}], 4, "total", 1, 0)
    assert calls == asked


def few_values(n=1_500, seed=0, n_columns=6):
    """Columns of few values that have nothing to do with each other; rare ones seldom meet."""
    values = np.random.default_rng(seed).geometric(0.6, size=(n, n_columns))
    return np.minimum(values, 5).astype(np.float32)


@pytest.mark.parametrize("n", [700, 1_500])  # cuts walked through, cuts searched for
def test_columns_of_few_values_are_coded_alone_where_all_then_are_exact(n):
    X, columns = few_values(n), np.arange(6)
    cuts = [
        {"all": columns},
        {"a": columns[:3], "b": columns[3:]},
        {"a": columns[:2], "b": columns[2:4], "c": columns[4:]},
    ]

    def found(X, cuts, bits, most=6):
        return measure(X, cuts, bits, "total", 3, 0, most_alone=most)

    alone = found(X, cuts, 18)
    assert sorted(c.tolist() for c in alone.categories.values()) == [[c] for c in range(6)]
    assert all(error < 1e-5 for error in alone.predicted.values())
    # A bit less than they need, fewer categories, columns of many values, a category of all cuts.
    few = found(X, cuts, 17)
    assert len(few.categories) < 6  # single columns may have moved
    assert min(few.cuts.values()) == few.cuts[len(few.categories)] > 1e-5
    assert len(found(X, cuts, 18, most=0).categories) <= 3
    assert len(found(X, cuts, 18, most=5).categories) <= 5
    noise = X + np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
    assert len(found(noise, cuts, 18).categories) <= 3
    shared = [{"ab": columns[:2], "rest": columns[2:]}]
    shared += [{"ab": columns[:2], "c": columns[2:4], "d": columns[4:]}]
    assert found(X, shared, 18).categories["ab"].tolist() == [0, 1]


def test_few_unrelated_columns_are_coded_one_by_one():
    X = np.random.default_rng(0).uniform(size=(2_000, 4)).astype(np.float32)
    cuts = [{"all": np.arange(4)}]
    one, four = (measure(X, cuts, 16, "total", 1, 0, most_alone=most) for most in (3, 4))
    assert len(one.categories) == 1
    assert len(four.categories) == 4
    assert sum(four.predicted.values()) / 4 < 0.9 * one.predicted["all"]
    given = FeatureCharacterizer(categories={"all": [0, 1, 2, 3]})
    selector = AdaptiveRatioSelector(bits=16, characterizer=given)
    assert list(selector.fit(X).categories_) == ["all"]


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "move"),
    [(2_000, 8, True), (2_900, 9, False), (3_000, 9, True), (3_000, 12, True), (3_000, 13, False)],
)
def test_more_columns_move_one_by_one_where_more_rows_judge(n_rows, n_columns, move, monkeypatch):
    class Searched(Exception):  # noqa: N818
        pass

    def search(try_cuts, cuts, tolerance, *, sparse, alone):
        raise Searched(alone)

    monkeypatch.setattr("adaptive_vq.curves.search_cuts", search)
    X = np.random.default_rng(0).normal(size=(n_rows, n_columns)).astype(np.float32)
    with pytest.raises(Searched) as found:
        measure(X, [{"all": np.arange(n_columns)}], 16, "total", 1, 0, most_alone=30)
    (alone,) = found.value.args
    assert (alone is not None and len(alone) == n_columns) == move


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "move"),
    [
        (740, 4, False),
        (760, 4, True),
        (760, 27, False),
        (2_900, 8, False),  # there all move
        (2_900, 10, True),
        (2_900, 27, True),
        (2_900, 52, False),
        (3_000, 12, False),  # here too
        (3_000, 13, False),
        (3_000, 14, True),
        (3_000, 51, True),
        (3_000, 52, False),
    ],
)
def test_else_columns_of_few_values_move(n_rows, n_columns, move, monkeypatch):
    asked = []

    def move_columns(try_cuts, cuts, measured, columns, most):
        asked.append(list(columns))
        assert most == 30
        assert all(trial.corrected for _, trial in measured)
        return []

    monkeypatch.setattr("adaptive_vq.curves.move_columns", move_columns)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    X[:, 1], X[:, 2] = rng.integers(0, 3, n_rows), 1.0  # of two values or more, and of one
    measure(X, [{"all": np.arange(n_columns)}], 4, "total", 1, 0, most_alone=30)
    assert asked == ([[1]] if move else [])


def test_values_that_are_new_to_a_column_cost_as_much_in_any_set_of_columns():
    rng = np.random.default_rng(0)
    few, many = rng.integers(0, 3, 4_000), rng.normal(size=4_000)
    few[:3] = 50, 80, 120  # each came once; 30 and 40 off the nearest one
    X = np.column_stack([few, many]).astype(np.float32)
    bench = Bench(X, 0)
    alone, pair, other = bench.nodes([np.array([0]), np.arange(2), np.array([1])])
    cost = (30**2 + 30**2 + 40**2) / 4_000
    assert alone.few_values
    assert not pair.few_values
    assert alone.curve(8)[-1] == pytest.approx(cost)
    assert pair.curve(60)[-1] >= 0.999 * cost
    assert other.curve(60)[-1] < 0.001


@pytest.mark.parametrize(
    ("limits", "alone"),
    [({}, True), ({"max_categories": 5}, False), ({"min_category_size": 3}, False)],
)
def test_what_a_characterizer_says_of_categories_holds_for_columns_alone(limits, alone):
    selector = AdaptiveRatioSelector(bits=18, characterizer=FeatureCharacterizer(**limits))
    found = selector.fit(few_values()).categories_.values()
    assert (max(map(len, found)) == 1) == alone


def test_cuts_that_code_all_rows_are_equal_and_the_finest_is_taken():
    pair = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)  # not round numbers
    rows = np.random.default_rng(0).integers(0, 3, size=(2_000, 2))
    pair = np.repeat(np.stack([pair[rows[:, 0], 0], pair[rows[:, 1], 1]], 1), 2, axis=1)
    cuts = [{"all": np.arange(4)}, {"a": np.arange(2), "b": np.arange(2, 4)}]
    found = measure(pair, cuts, 16, "total", 1, 0, most_alone=4)
    assert {name: c.tolist() for name, c in found.categories.items()} == {"a": [0, 1], "b": [2, 3]}


@pytest.mark.parametrize(
    ("error", "codes_all", "others", "tried"),
    [
        (0.5, False, [(1.0, False, False)], True),
        (0.99, False, [(1.0, False, False)], False),
        (0.1, True, [(0.1, True, False)], True),  # they may not know what comes
        (0.1, True, [(0.1, True, False), (0.1, True, True)], False),
        (0.1, False, [(0.1, True, False)], False),
    ],
)
def test_columns_are_tried_alone_if_that_is_better_or_surer(error, codes_all, others, tried):
    class Scripted:
        corrected = False

        def __init__(self, error, codes_all, will_code_all):
            self.error, self.codes_all, self.will_code_all = error, codes_all, will_code_all

        def correct(self):
            self.corrected = True

    alone = Scripted(error, codes_all, codes_all)
    found = curves._try_alone(alone, [Scripted(*other) for other in others])
    assert found == [alone] * tried
    assert alone.corrected == tried


def test_rows_that_hardly_repeat_are_not_known_though_all_kept_aside_are_coded():
    few, many = np.random.default_rng(0).integers(0, 9, size=(2, 4_000, 2)).astype(np.float32)
    many = np.repeat(many[:, :1] + 9 * np.arange(4_000)[:, None] % 499, 2, axis=1)
    bench = Bench(np.concatenate([few, many], axis=1).astype(np.float32), seed=0)
    known, unknown = (curves._Trial(bench, {"a": c}, 24) for c in ([0, 1], [2, 3]))
    for trial in (known, unknown):
        trial.estimate()
    assert known.codes_all
    assert known.will_code_all
    assert unknown.codes_all
    assert not unknown.will_code_all


@pytest.mark.parametrize(
    ("estimates", "measured"),
    [
        ([100, 110, 125, 90], [1, 2]),  # the third counts as the second that is worse
        ([100, 110, 110, 90], [1, 2, 3]),  # not estimated to be much worse
        ([100, 90, 125, 90], [1, 2, 3]),  # the estimate of the second has not come true
        ([100, 130, 125, 90], [1, 2, 3]),
    ],
)
def test_of_few_rows_estimates_that_come_true_are_believed(estimates, measured, monkeypatch):
    asked = []

    class Scripted:
        def __init__(self, bench, cut, budget):
            self.names = list(cut)

        def estimate(self):
            self.error = estimates[len(self.names) - 1]

        def correct(self):
            asked.append(len(self.names))
            self.error = [100, 111, 120, 80][len(self.names) - 1]

    monkeypatch.setattr(curves, "_Trial", Scripted)
    cuts = [{f"c{i}": np.array([i]) for i in range(n)} for n in (1, 2, 3, 4)]
    bench = Bench(make_table(), seed=0)
    assert bench.rows_are_few
    trials = curves._try_cuts(bench, cuts, 32, 0.02, with_codes=[], alone={}, most=0)
    assert asked == measured
    assert [len(trial.names) for trial in trials] == measured


def test_directions_are_coded_down_to_what_is_left_of_rows_near_a_curve():
    # Bumps anywhere on a line: coded with a hundredth of what a Gaussian code would leave.
    rng = np.random.default_rng(0)
    at, width = rng.uniform(0, 48, (1200, 1)), rng.uniform(1, 4, (1200, 1))
    Z = np.exp(-0.5 * ((np.arange(48) - at) / width) ** 2)
    Z = ((Z - Z.mean(axis=0)) / Z.std(axis=0)).astype(np.float32)
    every = {"all": np.arange(48)}
    found = measure(Z, [every], 32, "total", 3, random_state=0)
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(Z.T)))[::-1]
    n_coded = round(found.ratios["all"][-1] * 48)
    lost = spectrum[n_coded:].sum() / spectrum.sum()
    assert lost < 0.03 * found.predicted["all"]


def test_all_directions_of_many_columns_are_coded_where_they_make_up_the_error():
    rng = np.random.default_rng(0)
    one_hot = np.eye(150)[rng.integers(150, size=1400)]
    Z = ((one_hot - one_hot.mean(axis=0)) / one_hot.std(axis=0)).astype(np.float32)
    found = measure(Z, [{"all": np.arange(150)}], 8, "total", 1, random_state=0)
    assert found.ratios["all"][0] > 0.95
    assert found.predicted["all"] < 1e-6


def test_directions_that_only_memorize_are_left_out():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(700, 150)).astype(np.float32)
    bench = Bench(Z, seed=0)
    bench.settle_directions(16)
    assert not bench.all_directions
    assert bench.width(150) == 32


def test_long_chains_may_gain_what_short_ones_have_not():
    bench = Bench(make_table(), seed=0)
    before = bench.gains.usual(np.array([4.0]))
    bench.gains.note(1.0, 2.0)
    assert bench.gains.usual(np.array([2.0])) == pytest.approx(0.0)
    assert bench.gains.usual(np.array([4.0])) == pytest.approx(before)


def test_gains_serve_for_chains_of_as_many_codebooks_as_these_have_bits():
    bench = Bench(make_table(), seed=0)
    (node,) = bench.nodes([np.arange(4)])
    node.note_gain(18, 0.5)
    assert [node.may_gain(bits) for bits in (17, 18, 19)] == [False, False, False]
    bench.max_bits = 6  # three codebooks of 18 bits, four of 19
    assert [node.may_gain(bits) for bits in (17, 18, 19)] == [False, False, True]


def test_chain_over_all_columns_is_measured_where_rows_are_sparse():
    # On a sphere no column is worth less than others; greedy codebooks of two halves look better.
    rows = np.random.default_rng(0).normal(size=(1_700, 8))
    Z = (rows / np.linalg.norm(rows, axis=1, keepdims=True) * 8**0.5).astype(np.float32)
    halves = {"a": np.arange(4), "b": np.arange(4, 8)}
    found = measure(Z, [{"all": np.arange(8)}, halves], 32, "total", 2, 0)
    assert list(found.categories) == ["all"]
    assert found.cuts[1] < 0.95 * found.cuts.get(2, 1.0)
