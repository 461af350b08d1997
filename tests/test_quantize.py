"""Residual codebooks: start, search, joint refit, revival."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from adaptive_vq import quantize


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=generator(seed))


def squared(rows, codes, chain):
    return float(((rows - quantize.decode(codes, chain, rows.shape[1])) ** 2).sum())


@pytest.fixture
def rows():
    return normal(300, 4)


@pytest.fixture
def chain(rows):
    return quantize.fit_chain(rows, [8, 8, 4], [2, 4, 4], generator())


def test_split_bits():
    assert quantize.split_bits(8) == [8]
    assert quantize.split_bits(9) == [8, 1]
    assert quantize.split_bits(-1) == []
    assert quantize.split_bits(7, max_bits=3) == [3, 3, 1]


def test_nearest_is_exact(rows):
    codebook = normal(20, 4, seed=1)
    distance, index = quantize.nearest(rows, codebook)
    exact = torch.cdist(rows.double(), codebook.double()) ** 2
    assert torch.equal(index, exact.argmin(1))
    torch.testing.assert_close(distance.double(), exact.amin(1), rtol=1e-4, atol=1e-4)


def test_kmeans_is_as_good_as_that_of_scikit_learn(rows):
    codebook = quantize.kmeans(rows, 8, generator())
    ours = float(quantize.nearest(rows, codebook)[0].sum())
    theirs = KMeans(8, n_init=3, random_state=0).fit(rows.numpy()).inertia_
    assert len(codebook) == 8
    assert ours <= 1.05 * theirs


def test_kmeans_finds_separate_clusters():
    centers = 100 * normal(6, 3)
    rows = (centers[:, None] + normal(120, 3).view(6, 20, 3)).reshape(-1, 3)
    codebook = quantize.kmeans(rows, 6, generator())
    assert float(quantize.nearest(rows, codebook)[0].mean()) < 10


@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_kmeans_never_repeats_a_codeword(distinct):
    rows = normal(distinct, 3).repeat(20, 1)
    codebook = quantize.kmeans(rows, 16, generator())
    assert len(codebook) == distinct
    assert float(quantize.nearest(rows, codebook)[0].max()) < 1e-5


def test_kmeans_uses_weights(rows):
    weight = torch.zeros(300)
    weight[:4] = 1.0
    codebook = quantize.kmeans(rows, 4, generator(), weight)
    assert float(quantize.nearest(rows[:4], codebook)[0].max()) < 1e-4


def test_kmeans_is_reproducible(rows):
    one, two = (quantize.kmeans(rows, 8, generator(3)) for _ in range(2))
    assert torch.equal(one, two)


def test_wide_beam_is_exhaustive(rows, chain):
    codes, _ = quantize.search(rows, chain, beam=256)
    every = torch.cartesian_prod(*[torch.arange(len(c)) for c in chain])
    sums = quantize.decode(every, chain, 4)
    best = (torch.cdist(rows.double(), sums.double()) ** 2).amin(1)
    assert squared(rows, codes, chain) == pytest.approx(float(best.sum()), rel=1e-4)


def test_wider_beams_are_better(rows, chain):
    found = [squared(rows, quantize.search(rows, chain, b)[0], chain) for b in (1, 2, 8, 64)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_search_of_nothing(rows):
    assert quantize.search(rows, [])[0].shape == (300, 0)
    assert quantize.search(rows[:0], [normal(4, 4)])[0].shape == (0, 1)


def test_codes_do_not_depend_on_the_cut(rows, chain):
    many = rows.repeat(5, 1)
    codes, _ = quantize.search(many, chain, 4)
    for start in (0, 17, 700):
        part = many[start : start + 333]
        assert torch.equal(quantize.search(part, chain, 4)[0], codes[start : start + 333])


def test_stages_are_trained_on_good_candidates_only():
    rows = normal(400, 4)
    sizes = [2, 2, 32]
    chain = quantize.fit_chain(rows, sizes, [4, 4, 4], generator(), beam=5)
    codes, _ = quantize.search(rows, chain, 16)
    used = [len(codes[:, j].unique()) for j in range(3)]
    assert used[2] >= 28  # half of them used to serve combinations that no search ends with


def test_chain_stops_where_nothing_is_left():
    rows = normal(3, 2).repeat(30, 1)
    chain = quantize.fit_chain(rows, [8, 8, 8], [2, 2, 2], generator())
    assert [len(c) for c in chain] == [3]


@pytest.mark.parametrize("beam", [1, 4])
def test_a_chain_is_trained_without_touching_the_rows(rows, beam):
    before = rows.clone()
    quantize.fit_chain(rows, [8, 8, 8, 8], [2, 4, 4, 4], generator(), beam=beam)
    assert torch.equal(rows, before)


def test_draws_of_candidates_are_residuals_with_the_weights_of_their_rows():
    residual, weight = normal(30, 12).view(30, 4, 3), torch.arange(30.0)
    every = {tuple(r.tolist()): i for i, row in enumerate(residual) for r in row}
    for most in (50, 200):
        drawn, mass = quantize._candidates(residual, weight, most, generator())
        assert len(drawn) == len(set(map(tuple, drawn.tolist()))) == min(most, 120)
        assert mass.tolist() == [every[tuple(r.tolist())] for r in drawn]


def test_extended_residuals_may_take_the_place_of_the_earlier_ones(rows):
    codebook = normal(8, 4, seed=3)
    residual = quantize._extended(rows[:, None], normal(8, 4, seed=4), 4, False)
    expected = quantize._extended(residual, codebook, 4, False)
    found = quantize._extended(residual, codebook, 4, True)
    assert found is residual
    assert torch.equal(found, expected)


def test_narrow_codebooks_leave_later_coordinates_alone(rows, chain):
    assert [c.shape[1] for c in chain] == [2, 4, 4]
    decoded = quantize.decode(quantize.search(rows, chain)[0], chain[:1], 4)
    assert (decoded[:, 2:] == 0).all()


def test_refit_solves_the_least_squares_problem(rows, chain):
    codes, _ = quantize.search(rows, chain, 4)
    weight = torch.rand(300, generator=generator(1))
    ridge = 0.5
    moved = quantize.refit(rows, codes, chain, ridge, weight)
    sizes = [len(c) for c in chain]
    design = np.zeros((300, sum(sizes)))
    for j, start in enumerate(np.cumsum([0, *sizes[:-1]])):
        design[np.arange(300), start + codes[:, j].numpy()] = 1.0
    stacked = np.concatenate([c.numpy() for c in chain[1:]])
    for column in range(4):
        reach = slice(0, None) if column < 2 else slice(sizes[0], None)
        A = design[:, reach]
        start = (
            stacked[:, column] if column >= 2 else np.r_[chain[0][:, column], stacked[:, column]]
        )
        W = weight.numpy()[:, None]
        left = rows.numpy()[:, column] - A @ start
        change = np.linalg.solve(A.T @ (W * A) + ridge * np.eye(A.shape[1]), A.T @ (W[:, 0] * left))
        got = np.concatenate([c.numpy()[:, column] for c in moved if c.shape[1] > column])
        np.testing.assert_allclose(got, start + change, atol=1e-4)


def test_refit_lowers_the_error_and_a_large_ridge_moves_nothing(rows, chain):
    codes, _ = quantize.search(rows, chain, 4)
    moved = quantize.refit(rows, codes, chain, 1e-3)
    assert squared(rows, codes, moved) < squared(rows, codes, chain)
    still = quantize.refit(rows, codes, chain, 1e12)
    for before, after in zip(chain, still, strict=True):
        torch.testing.assert_close(before, after)


def test_revive_moves_dead_codewords_to_the_worst_rows(rows):
    codebook = normal(4, 4, seed=2)
    before = codebook.clone()
    counts = torch.tensor([5.0, 0.0, 3.0, 0.0])
    distance = torch.arange(300.0)
    quantize.revive(codebook, counts, rows, distance)
    assert torch.equal(codebook[[1, 3]], rows[[299, 298]])
    assert torch.equal(codebook[[0, 2]], before[[0, 2]])
    untouched = quantize.revive(before.clone(), counts, rows, torch.zeros(300))
    assert torch.equal(untouched, before)


def test_bootstrap_keeps_rows_mean_and_covariance():
    rows = normal(4000, 3) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]])
    more, weight = quantize.smoothed_bootstrap(rows, 0.5, 3, generator())
    assert weight.tolist() == [1.0] * len(more)
    assert more.shape == (16_000, 3)
    assert torch.equal(more[:4000], rows)
    torch.testing.assert_close(more[4000:].mean(0), rows.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(more[4000:].T.cov(), rows.T.cov(), atol=0.15, rtol=0.05)


def test_refine_never_raises_any_error(rows, chain):
    tables = [torch.nn.functional.pad(c, (0, 4 - c.shape[1])) for c in chain]
    codes = quantize.search(rows, chain)[0]
    before = ((rows - quantize.decode(codes, tables, 4)) ** 2).sum(1)
    after = quantize.refine(rows, codes, tables, 3)
    error = ((rows - quantize.decode(after, tables, 4)) ** 2).sum(1)
    assert float((error - before).max()) <= 1e-5
    assert float(error.sum()) < float(before.sum())
    assert torch.equal(codes, quantize.search(rows, chain)[0])  # its input stays


def test_gaussian_source_comes_near_the_distortion_rate_bound():
    codebook = quantize.kmeans(normal(6000, 1, seed=5), 16, generator())
    nmse = float(quantize.nearest(normal(40_000, 1, seed=6), codebook)[0].mean())
    # Max (1960): the best 16-level scalar quantizer of a Gaussian has 0.009497.
    assert nmse == pytest.approx(0.009497, rel=0.1)
    assert nmse > 2.0 ** (-2 * math.log2(16))


def test_kmeans_puts_no_codeword_on_rows_without_weight():
    rows = torch.cat([normal(60, 2), 1e3 + normal(60, 2, seed=1)])
    weight = torch.cat([torch.ones(60), torch.zeros(60)])
    codebook = quantize.kmeans(rows, 40, generator(), weight)
    assert float(codebook.abs().max()) < 10
    assert len(codebook) > 20
