"""One-hot codes are found where correlations do not show them, and change the plan."""

from itertools import pairwise

import numpy as np
import pytest

from adaptive_vq import HierarchicalVQVAE
from adaptive_vq._indicators import one_hot_codes


def one_hot(rng, n_rows, sizes, shares=None):
    blocks = []
    for k in sizes:
        p = None if shares is None else rng.dirichlet(np.full(k, shares))
        blocks.append(np.eye(k)[rng.choice(k, n_rows, p=p)])
    return np.hstack(blocks).astype(np.float32)


def found(Z, weight=None):
    return [group.tolist() for group in one_hot_codes(Z, weight)]


def runs(*lengths):
    edges = np.cumsum([0, *lengths])
    return [list(range(a, b)) for a, b in pairwise(edges)]


@pytest.mark.parametrize("seed", range(3))
def test_codes_of_many_values_are_found_in_any_units(seed):
    rng = np.random.default_rng(seed)
    Z = one_hot(rng, 1500, (40, 60)) * rng.uniform(0.1, 9.0, 100).astype(np.float32) - 3
    Z[:, ::7] *= -1
    Z = np.hstack([Z, rng.normal(size=(1500, 3)), rng.random((1500, 5)) < 0.3])
    assert found(Z.astype(np.float32)) == runs(40, 60)


def test_codes_with_rare_values_left_out_are_found():
    rng = np.random.default_rng(0)
    Z = one_hot(rng, 4000, (50,), shares=1.0)
    often = Z[:, Z.mean(axis=0) > 0.003]
    assert often.shape[1] < 48
    assert 0.95 < often.sum(axis=1).mean() < 1.0
    assert found(np.hstack([often, rng.random((4000, 9)) < 0.1])) == runs(often.shape[1])


def test_what_correlates_or_is_no_code_is_not_found():
    rng = np.random.default_rng(0)
    assert found(one_hot(rng, 1500, (2, 3, 5))) == []
    assert found((rng.random((1500, 60)) < 0.02).astype(np.float32)) == []
    assert found(rng.normal(size=(1500, 30)).astype(np.float32)) == []
    assert found(np.ones((1500, 4), np.float32)) == []


def test_few_rows_say_nothing_of_many_columns():
    rng = np.random.default_rng(0)
    assert found(one_hot(rng, 400, (40, 60))) == []


def test_rows_of_weight_zero_count_for_nothing():
    rng = np.random.default_rng(0)
    Z = one_hot(rng, 1500, (40, 60))
    weight = np.r_[np.ones(1500), np.zeros(500)]
    noise = rng.normal(size=(500, 100)).astype(np.float32)
    assert found(np.vstack([Z, noise]), weight) == found(Z) == runs(40, 60)


def test_codes_that_correlations_do_not_show_are_categories():
    rng = np.random.default_rng(0)
    X = one_hot(rng, 1400, (30, 30, 30)) * 1.0
    X = X[:, rng.permutation(90)]
    train, held = X[:1100], X[1100:]
    vq = HierarchicalVQVAE(bits=15, scaler=None, clip=None, max_epochs=0, random_state=0).fit(train)
    assert sorted(map(len, vq.categories_.values())) == [30, 30, 30]
    np.testing.assert_allclose(vq.inverse_transform(vq.transform(held)), held, atol=1e-5)
