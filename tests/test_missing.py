import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_vq import missing as imputation
from adaptive_vq.missing import ConditionalMeanImputer


def make_rows(n=2000, k=6, share=0.2, seed=0):
    """Rows of a Gaussian with shared factors, and the same rows with holes."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 2)) @ rng.normal(size=(2, k))
    full = factors + 0.3 * rng.normal(size=(n, k))
    return full, np.where(rng.random((n, k)) < share, np.nan, full)


def test_conditional_mean_beats_the_mean():
    full, Z = make_rows()
    holes = np.isnan(Z)
    filled = ConditionalMeanImputer().fit(Z, {"all": np.arange(6)}).transform(Z)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[~holes], Z[~holes].astype(np.float32))
    error = np.mean((filled - full)[holes] ** 2)
    plain = np.mean((np.broadcast_to(np.nanmean(Z, axis=0), Z.shape) - full)[holes] ** 2)
    assert error < 0.25 * plain


def test_formula_on_known_covariance():
    full, _ = make_rows(n=500)
    imputer = ConditionalMeanImputer(ridge=1e-9).fit(full, {"all": np.arange(6)})
    C, mean = np.cov(full.T, bias=True), full.mean(axis=0)
    for missing in ([0], [1, 4], [0, 1, 2, 3, 5]):
        row = full[3].copy()
        row[missing] = np.nan
        seen = np.setdiff1d(np.arange(6), missing)
        weights = np.linalg.solve(C[np.ix_(seen, seen)], C[np.ix_(seen, missing)]).T
        expected = mean[missing] + weights @ (full[3] - mean)[seen]
        np.testing.assert_allclose(imputer.transform(row[None])[0, missing], expected, rtol=1e-4)


def improved(Z, weight, ridge, mean, covariance):
    """One step of expectation and maximization, row by row."""
    covariance = covariance + ridge * np.diag(np.diag(covariance))
    filled, unknown = Z.copy(), np.zeros_like(covariance)
    for row, mass in zip(filled, weight, strict=True):
        hole, seen = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
        across = covariance[np.ix_(hole, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        row[hole] = mean[hole] + across @ (row - mean)[seen]
        inside = covariance[np.ix_(hole, hole)] - across @ covariance[np.ix_(seen, hole)]
        unknown[np.ix_(hole, hole)] += mass * inside
    spread = np.cov(filled.T, bias=True, aweights=weight)
    return np.average(filled, axis=0, weights=weight), spread + unknown / weight.sum()


@pytest.mark.parametrize("most_rows", [1000, 70])
def test_means_and_covariances_are_improved_by_what_holes_leave_open(most_rows, monkeypatch):
    _, Z = make_rows(n=200, k=4)
    Z += 3.0
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 200)
    monkeypatch.setattr(imputation, "_PATTERNS", 1)  # a single step
    monkeypatch.setattr(imputation, "_REFINED_ROWS", most_rows)
    imputer = ConditionalMeanImputer(ridge=0.1).fit(Z, {"all": np.arange(4)}, weight)
    some = np.linspace(0, 199, min(most_rows, 200)).astype(int)
    start = imputation._pairwise(Z, weight)
    mean, covariance = improved(Z[some], weight[some], 0.1, *start)
    np.testing.assert_allclose(imputer.mean_["all"], mean)
    scale = imputer.scale_["all"]
    np.testing.assert_allclose(scale, np.sqrt(np.diag(covariance)))
    found = imputer.correlation_["all"] - 0.1 * np.eye(4)
    np.testing.assert_allclose(found * np.outer(scale, scale), covariance, atol=1e-9)


def test_rows_without_holes_are_weighted():
    full, _ = make_rows(n=100, k=3)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 100)
    imputer = ConditionalMeanImputer().fit(full, {"all": np.arange(3)}, weight)
    expected = np.cov(full.T, bias=True, aweights=weight)
    np.testing.assert_allclose(imputer.mean_["all"], np.average(full, axis=0, weights=weight))
    np.testing.assert_allclose(imputer.scale_["all"], np.sqrt(np.diag(expected)))


def test_a_second_fit_forgets_the_first():
    _, Z = make_rows()
    other = make_rows(seed=1)[1]
    again = ConditionalMeanImputer().fit(other, {"all": np.arange(6)})
    again.transform(Z)
    again.fit(Z, {"all": np.arange(6)})
    once = ConditionalMeanImputer().fit(Z, {"all": np.arange(6)})
    np.testing.assert_array_equal(again.transform(Z), once.transform(Z))


def test_only_the_own_category_counts():
    _, Z = make_rows()
    categories = {"a": np.array([0, 2, 4]), "b": np.array([5, 3, 1])}
    imputer = ConditionalMeanImputer().fit(Z, categories)
    changed = Z.copy()
    changed[:, [1, 3, 5]] += 10.0
    first, second = imputer.transform(Z), imputer.transform(changed)
    np.testing.assert_array_equal(first[:, [0, 2, 4]], second[:, [0, 2, 4]])


def test_wholly_missing_category_gets_its_mean():
    _, Z = make_rows()
    Z += 3.0
    imputer = ConditionalMeanImputer().fit(Z, {"a": np.arange(3), "b": np.arange(3, 6)})
    row = np.full((1, 6), np.nan)
    row[0, 3:] = 1.0
    np.testing.assert_allclose(imputer.transform(row)[0, :3], imputer.mean_["a"], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(1, 12), share=st.floats(0.05, 0.95))
def test_a_row_is_filled_alone_to_the_last_bit(seed, k, share):
    _, Z = make_rows(60, k, share, seed)
    imputer = ConditionalMeanImputer().fit(Z, {"a": np.arange(k)})
    filled = imputer.transform(Z)
    assert np.isfinite(filled).all()
    for i in range(0, 60, 7):
        np.testing.assert_array_equal(imputer.transform(Z[i : i + 1])[0], filled[i])
    order = np.random.default_rng(seed).permutation(60)
    np.testing.assert_array_equal(imputer.transform(Z[order]), filled[order])


def test_one_pattern_in_many_rows_is_bit_stable():
    full, _ = make_rows(5000, 40)
    imputer = ConditionalMeanImputer().fit(full, {"a": np.arange(40)})
    Z = full.copy()
    Z[:, ::3] = np.nan
    filled = imputer.transform(Z)
    for rows in (slice(0, 1), slice(17, 20), slice(0, 4097)):
        np.testing.assert_array_equal(imputer.transform(Z[rows]), filled[rows])


@pytest.mark.filterwarnings("error")
def test_hopeless_columns_are_no_trouble():
    full, Z = make_rows(100)
    Z[:, 0] = np.nan  # never seen
    Z[:, 1] = 0.0  # constant
    Z[:, 2] = Z[:, 3] = full[:, 3]  # twins
    Z[0] = np.nan
    Z[1:50, 2] = np.nan
    imputer = ConditionalMeanImputer().fit(Z, {"a": np.arange(6)})
    filled = imputer.transform(Z)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[:, 0], 0.0)
    np.testing.assert_allclose(filled[:, 1], 0.0, atol=1e-6)
    np.testing.assert_allclose(filled[1:50, 2], full[1:50, 3], atol=0.05)


def test_never_both_observed_columns_keep_a_valid_covariance():
    _, Z = make_rows(400, 4, 0.0)
    Z[::2, 0] = np.nan
    Z[1::2, 1] = np.nan
    imputer = ConditionalMeanImputer().fit(Z, {"a": np.arange(4)})
    assert np.linalg.eigvalsh(imputer.correlation_["a"]).min() > 0
    assert np.isfinite(imputer.transform(Z)).all()


def test_pairs_that_contradict_each_other_make_a_covariance_all_the_same():
    x = np.array([-1.0, 1.0, -2.0, 2.0])
    pairs = [[x, x, np.nan * x], [np.nan * x, x, x], [x, np.nan * x, -x]]
    Z = np.concatenate([np.stack(pair, axis=1) for pair in pairs])
    _, covariance = imputation._pairwise(Z, np.ones(len(Z)))
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_complete_rows_pass_through():
    full, _ = make_rows(10)
    Z = full.astype(np.float32)
    assert ConditionalMeanImputer().fit(Z, {"a": np.arange(6)}).transform(Z) is Z


def test_input_is_not_changed():
    _, Z = make_rows(50)
    Z = Z.astype(np.float32)
    before = Z.copy()
    ConditionalMeanImputer().fit(Z, {"a": np.arange(6)}).transform(Z)
    np.testing.assert_array_equal(Z, before)


def test_state_round_trip_is_exact():
    _, Z = make_rows(300)
    imputer = ConditionalMeanImputer().fit(Z, {"a": np.arange(3), "b": np.arange(3, 6)})
    again = ConditionalMeanImputer.from_state(imputer.state())
    np.testing.assert_array_equal(again.transform(Z), imputer.transform(Z))


def test_correlations_are_inverted_where_cells_are_missing_only(monkeypatch):
    full, _ = make_rows(50)
    inverted, own = [], np.linalg.inv
    monkeypatch.setattr(np.linalg, "inv", lambda m: inverted.append(len(m)) or own(m))
    imputer = ConditionalMeanImputer().fit(full, {"a": np.arange(4), "b": np.arange(4, 6)})
    again = ConditionalMeanImputer.from_state(imputer.state())
    imputer.transform(full)
    assert inverted == []
    row = full[:1].copy()
    row[0, 1] = np.nan
    before = pickle.dumps(imputer)
    filled = imputer.transform(row)
    imputer.transform(row)
    assert inverted == [4]
    assert pickle.dumps(imputer) == before
    for other in (again, pickle.loads(before)):
        np.testing.assert_array_equal(other.transform(row), filled)


def test_complete_rows_need_two_squares_of_their_columns():
    k = 1500
    rows, categories = make_rows(20, k, 0.0)[0], {"a": np.arange(k)}
    ConditionalMeanImputer().fit(rows[:, :5], {"a": np.arange(5)})  # what is loaded once
    tracemalloc.start()
    imputer = ConditionalMeanImputer().fit(rows, categories)
    peak = tracemalloc.get_traced_memory()[1] / (8 * k**2)
    tracemalloc.stop()
    assert peak < 2.6  # and 512 rows of one
    expected = np.corrcoef(rows.T) + 1e-3 * np.eye(k)
    np.testing.assert_allclose(imputer.correlation_["a"], expected, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan")])
def test_ridge_must_be_positive(ridge):
    with pytest.raises(ValueError, match="ridge"):
        ConditionalMeanImputer(ridge).fit(np.ones((3, 1)), {"a": np.array([0])})
