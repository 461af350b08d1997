"""Figures of categories of far more columns than rows, without a square of the columns."""

import numpy as np
import pytest

from adaptive_vq import association, scores
from adaptive_vq._few_rows import Correlations, aligned_correlation
from adaptive_vq.association import correlation_matrix

K = 300


def table(n, seed=0, k=K):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)) @ rng.normal(size=(4, k)) + rng.normal(size=(n, k))
    X[:, 3] = 7.0
    X[:, 5] = -X[:, 4]
    return X * np.geomspace(1e-3, 1e3, k)


def weights(n):
    return np.linspace(0.5, 2.5, n)


def with_repeats(n):
    X = table(n)
    X[n // 2 :] = X[: n - n // 2]
    return X


CASES = {
    "plain": (table(40), None),
    "weighted": (table(40), weights(40)),
    "rows again": (with_repeats(40), None),
    "rows again, weighted": (with_repeats(30), weights(30)),
    "half as many rows": (table(K // 2), weights(K // 2)),
    "two rows": (table(2), None),
}


@pytest.fixture
def sizes(monkeypatch):
    """Sizes of the matrices of which eigenvalues are taken."""
    found = []
    for name in ("eigh", "eigvalsh"):
        own = getattr(np.linalg, name)

        def noted(matrix, own=own):
            found.append(len(matrix))
            return own(matrix)

        monkeypatch.setattr(np.linalg, name, noted)
    return found


@pytest.mark.parametrize(("X", "weight"), CASES.values(), ids=CASES)
def test_rows_tell_what_the_matrix_of_all_columns_would(X, weight):
    r = correlation_matrix(X, sample_weight=weight)
    found, scale = Correlations(X, weight), np.linspace(0.1, 1.0, K)
    scale[3] = 0.0
    assert found.by_rows
    full = np.maximum(np.linalg.eigvalsh(r * np.outer(scale, scale))[::-1], 0)
    np.testing.assert_allclose(found.spectrum(scale), full, atol=1e-12 * full[0])
    off = ~np.eye(K, dtype=bool)
    assert found.mean_strength() == pytest.approx(np.abs(r)[off].mean(), abs=1e-12)
    signs = np.where(np.linalg.eigh(r)[1][:, -1] < 0, -1.0, 1.0)
    aligned = (r * np.outer(signs, signs))[off].mean()
    assert found.mean_aligned() == pytest.approx(aligned, abs=1e-12)


@pytest.mark.parametrize("weight", [None, weights(40)], ids=["plain", "weighted"])
def test_scores_and_profile_take_no_eigenvalues_of_all_columns(sizes, weight, monkeypatch):
    X, categories = table(40), {"all": np.arange(K)}
    by_rows = [
        scores.category_scores(X, categories, weight)["all"],
        scores.category_profile(X, X, categories, weight)["all"],
    ]
    assert set(sizes) == {40}
    monkeypatch.setattr("adaptive_vq._few_rows.wide", lambda rows: False)
    by_columns = [
        scores.category_scores(X, categories, weight)["all"],
        scores.category_profile(X, X, categories, weight)["all"],
    ]
    assert sizes[-1] == K
    for mine, other in zip(by_rows, by_columns, strict=True):
        assert mine == pytest.approx(other, rel=1e-9)


def test_missing_cells_and_more_rows_take_the_matrix_as_ever():
    holed = table(40)
    holed[0, 0] = np.nan
    for X in (holed, table(K // 2 + 1), table(20, k=100)):
        found = Correlations(X, None)
        assert not found.by_rows
        r = correlation_matrix(X)
        full = np.maximum(np.linalg.eigvalsh(r)[::-1], 0)
        np.testing.assert_array_equal(found.spectrum(np.ones(len(r))), full)


def test_signs_take_the_first_direction_only(sizes):
    r = correlation_matrix(table(400))
    signs = np.where(np.linalg.eigh(r)[1][:, -1] < 0, -1.0, 1.0)
    del sizes[:]
    aligned = (r * np.outer(signs, signs))[~np.eye(K, dtype=bool)].mean()
    assert aligned_correlation(r) == pytest.approx(aligned, abs=1e-12)
    assert sizes == []


@pytest.mark.parametrize("weight", [None, weights(50)], ids=["plain", "weighted"])
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_wide_tables_are_compared_in_parts(monkeypatch, holes, weight):
    X = table(50, k=40)
    X[np.random.default_rng(1).random(X.shape) < holes] = np.nan
    categories = {"a": np.arange(10), "b": np.arange(10, 33), "c": np.arange(33, 40)}
    whole = correlation_matrix(X, sample_weight=weight)
    separation = scores.separation_of(X, categories, weight)
    assert separation == scores.category_separation(whole, categories)
    widths, own = [], association._gram
    monkeypatch.setattr(
        association, "_gram", lambda A, B, w: widths.append(A.shape[1]) or own(A, B, w)
    )
    monkeypatch.setattr(association, "MANY_COLUMNS", 8)
    monkeypatch.setattr(association, "_COLUMNS_AT_ONCE", 7)
    parts = correlation_matrix(X, sample_weight=weight)
    np.testing.assert_allclose(parts, whole, atol=1e-12)
    if holes:  # of a complete table there is nothing beside the result
        assert max(widths) == 7
    monkeypatch.setattr(scores, "MANY_COLUMNS", 8)
    monkeypatch.setattr(scores, "correlation_matrix", None)  # of all columns
    del widths[:]
    found = scores.separation_of(X, categories, weight)
    assert max(widths) <= 23  # the widest category
    for name, figures in separation.items():
        assert found[name].pop("neighbor") == figures.pop("neighbor")
        assert found[name] == pytest.approx(figures, abs=1e-11)
