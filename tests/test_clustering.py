"""Clustering of many columns: what it holds at once, and what is too much."""

import tracemalloc

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, _memory, clustering, scores
from adaptive_vq.association import correlation_matrix

K = 600


def association(k=K, constant=0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6)) @ rng.normal(size=(6, k)) * (rng.random(k) < 0.7)
    X += rng.normal(size=(60, k))
    X[:, :constant] = 1.0
    return correlation_matrix(X)


def keys(k=K):
    return [str(j) for j in range(k)]


@pytest.mark.parametrize("constant", [0, 5])
def test_three_squares_of_the_columns_are_held_at_most(constant):
    r = association(constant=constant)
    before = r.copy()
    clustering.cluster_columns(r[:50, :50], keys(50))  # what is loaded once
    tracemalloc.start()
    clustering.cluster_columns(r, keys())
    peak = tracemalloc.get_traced_memory()[1] / r.nbytes  # beside the one given
    tracemalloc.stop()
    assert peak < (2.3 if not constant else 3.3)
    np.testing.assert_array_equal(r, before)


def in_parts(n_parts, width):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, n_parts)).repeat(width, axis=1)
    return X + 0.3 * rng.normal(size=X.shape)


def test_columns_too_many_to_be_compared_are_refused_and_given_categories_are_not(monkeypatch):
    X = in_parts(10, 10)
    FeatureCharacterizer().fit(X)
    monkeypatch.setattr(_memory, "physical", lambda: 3 * 8 * 100**2 - 1.0)
    with pytest.raises(MemoryError, match=r"100 columns .* GiB .* Give categories"):
        FeatureCharacterizer().fit(X)
    labels = [f"part_{j // 10}" for j in range(100)]
    assert len(FeatureCharacterizer(labels).fit(X).categories_) == 10


def test_given_categories_of_many_columns_need_no_square_of_them(monkeypatch):
    X, k = in_parts(30, 50), 1500
    labels = [f"part_{j // 50}" for j in range(k)]
    pipeline = make_pipeline(FeatureCharacterizer(labels), AdaptiveRatioSelector("uniform"))
    monkeypatch.setattr(scores, "MANY_COLUMNS", 1000)
    tracemalloc.start()
    pipeline.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * k**2 / 2
