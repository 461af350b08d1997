"""Residual codebooks: start, search, joint refit, revival."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from adaptive_vq import _memory, quantize
from adaptive_vq.beam import Candidates


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
    rows, weight = normal(30, 3), torch.arange(30.0)
    found = Candidates(rows, 4)
    found.extend(normal(8, 3, seed=1))
    every = {tuple(r.tolist()): i for i, row in enumerate(found.residuals(4, 3)) for r in row}
    for most in (50, 200):
        drawn, mass = quantize._candidates(found, 4, 3, weight, most, generator())
        assert len(drawn) == len(set(map(tuple, drawn.tolist()))) == min(most, 120)
        assert mass.tolist() == [every[tuple(r.tolist())] for r in drawn]
    narrow, _ = quantize._candidates(found, 1, 2, weight, 200, generator())
    assert torch.equal(narrow, found.residuals(1, 2)[:, 0])


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


# --- chains: what a stage is trained on ----------------------------------------------------------


def test_most_bits_of_a_number_of_codewords():
    expected = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 255: 7, 256: 8, 9999: 8}
    assert {n: quantize.most_bits(n) for n in expected} == expected


def test_grown_codewords_see_directions_that_carry_little_last():
    n, width = 600, 30
    rows = torch.randn(n, width, generator=generator()) * torch.linspace(2.0, 0.5, width)
    unseen = torch.randn(n, width, generator=generator(1)) * torch.linspace(2.0, 0.5, width)
    ones = torch.ones(n)
    errors = {}
    for grown in (False, True):
        codebook = quantize.kmeans(rows, 100, generator(), ones, 1, grown=grown)
        assert len(codebook.unique(dim=0)) == len(codebook) == 100
        errors[grown] = float(quantize.nearest(unseen, codebook)[0].sum())
    assert errors[True] < errors[False]
    assert quantize._growing_widths(width) == [2, 4, 8, 15, 30]
    assert quantize._growing_widths(1) == [1]
    assert quantize._growing_widths(3) == [2, 3]


def test_grown_codewords_turn_with_the_rows():
    rows = torch.randn(500, 6, generator=generator()) * torch.tensor([3.0, 2.5, 2, 1.5, 1, 0.5])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator(1)))[0]
    ones = torch.ones(500)
    straight = quantize.kmeans(rows, 10, generator(), ones, grown=True)
    turned = quantize.kmeans(rows @ turn + 5.0, 10, generator(), ones, grown=True)
    torch.testing.assert_close(turned, straight @ turn + 5.0, atol=1e-3, rtol=1e-3)


def test_grown_codewords_tell_apart_rows_that_differ_in_further_directions_only():
    leading = torch.tensor([[10.0, 0, 0, 0, 0], [0, 10.0, 0, 0, 0], [0, 0, 0, 0, 0]])
    rows = leading.repeat(4, 1)
    rows[:, 4] = torch.arange(4).repeat_interleave(3)
    codebook = quantize.kmeans(rows, 12, generator(), torch.ones(12), grown=True)
    assert len(codebook) == 12
    torch.testing.assert_close(quantize.nearest(rows, codebook)[0], torch.zeros(12))


def test_more_combinations_mean_more_candidates_to_train_on(rows, monkeypatch):
    seen = []

    def spy(flat, size, generator, weight, n_iter, **kwargs):
        seen.append((len(flat) // 300, len(weight) // 300, n_iter))
        return kmeans(flat, size, generator, weight, n_iter, **kwargs)

    kmeans = quantize.kmeans
    monkeypatch.setattr(quantize, "kmeans", spy)
    quantize.fit_chain(rows[:, :3], [8] * 5, [3] * 5, generator())
    assert seen == [(1, 1, 10), (1, 1, 10), (2, 2, 10), (5, 5, 10), (5, 5, 10)]
    seen.clear()
    quantize.fit_chain(rows, [8] * 5, [4] * 5, generator(), beam=2, n_iter=3)
    assert seen == [(1, 1, 3), (1, 1, 3), (2, 2, 3), (2, 2, 3), (2, 2, 3)]


def test_a_chain_is_fixed_by_its_generator_alone(rows, monkeypatch):
    monkeypatch.setattr(quantize, "MOST_RESIDUALS", 100)  # so that candidates are drawn
    chains = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        chains.append(quantize.fit_chain(rows, [8] * 4, [4] * 4, generator()))
    assert all(torch.equal(a, b) for a, b in zip(*chains, strict=True))


def test_rows_without_weight_do_not_move_a_chain(rows):
    far = torch.cat([rows, 1e3 + rows])
    weight = torch.cat([torch.ones(300), torch.zeros(300)])
    for codebook in quantize.fit_chain(far, [8, 8], [4, 4], generator(), weight=weight):
        assert float(codebook.abs().max()) < 10


def test_a_chain_of_tiny_rows_is_as_long_as_one_of_large_rows(rows):
    for scale in (1e-6, 1.0, 1e6):
        chain = quantize.fit_chain(scale * rows, [8, 8], [4, 4], generator())
        codes, _ = quantize.search(scale * rows, chain)
        assert [len(c) for c in chain] == [8, 8]
        assert squared(scale * rows, codes, chain) < 0.5 * float((scale * rows).square().sum())


def test_every_codebook_needs_a_width(rows):
    with pytest.raises(ValueError, match="shorter"):
        quantize.fit_chain(rows, [8, 8], [4], generator())


def test_refit_of_codewords_that_no_row_uses(rows, chain):
    codes = torch.zeros(300, 3, dtype=torch.long)
    moved = quantize.refit(rows, codes, chain, 1e-3)
    assert all(torch.equal(a[1:], b[1:]) for a, b in zip(chain, moved, strict=True))
    torch.testing.assert_close(quantize.decode(codes, moved, 4)[0], rows.mean(0), atol=1e-4, rtol=0)


def test_refine_of_no_rows(rows, chain):
    tables = [torch.nn.functional.pad(c, (0, 4 - c.shape[1])) for c in chain]
    codes = torch.zeros(0, 3, dtype=torch.long)
    assert quantize.refine(rows[:0], codes, tables, 2).shape == (0, 3)


# --- codebooks of every size ---------------------------------------------------------------------


def test_a_path_of_codebooks_is_nearly_as_good_as_separate_ones(rows):
    path = quantize.kmeans_path(rows, 5, generator())
    assert [len(c) for c in path] == [2, 4, 8, 16, 32]
    errors = [float(quantize.nearest(rows, c)[0].sum()) for c in path]
    assert errors == sorted(errors, reverse=True)
    for codebook, error in zip(path, errors, strict=True):
        alone = quantize.kmeans(rows, len(codebook), generator())
        assert error < 1.15 * float(quantize.nearest(rows, alone)[0].sum())


def test_codebooks_of_all_sizes_share_a_start(rows):
    codebooks = quantize.kmeans_sizes(rows, 5, generator())
    assert [len(c) for c in codebooks] == [2, 4, 8, 16, 32]
    assert torch.equal(codebooks[-1], quantize.kmeans(rows, 32, generator()))
    for codebook in codebooks:
        distance, index = quantize.nearest(rows, codebook)
        assert len(index.unique()) == len(codebook)
        alone = quantize.kmeans(rows, len(codebook), generator(1))
        assert float(distance.sum()) < 1.15 * float(quantize.nearest(rows, alone)[0].sum())


def test_codewords_that_only_rows_outside_the_sample_use_stay(monkeypatch):
    rows = torch.cat([normal(5000, 2), 50 + 0.1 * normal(40, 2)])
    monkeypatch.setattr(quantize, "_LEAST_SAMPLE", 40)
    monkeypatch.setattr(quantize, "_ROWS_PER_CODEWORD", 1)
    revived = torch.tensor([[0.0, 0.0], [50.0, 50.0], [200.0, 200.0]])
    monkeypatch.setattr(quantize, "revive", lambda *_: revived.clone())
    codebook = quantize.kmeans(rows, 3, generator())
    assert torch.equal(codebook, revived[:2])


def test_a_path_starts_at_the_weighted_mean_and_spends_its_iterations_on_the_last(monkeypatch):
    rows, weight = 5 + normal(100, 3), torch.rand(100, generator=generator()) * 7
    lloyd, seen = quantize._lloyd, []

    def spy(rows, codebook, weight, n_iter):
        seen.append((codebook.clone(), n_iter))
        return lloyd(rows, codebook, weight, n_iter)

    monkeypatch.setattr(quantize, "_lloyd", spy)
    quantize.kmeans_path(rows, 3, generator(), weight=weight)
    assert [n_iter for _, n_iter in seen] == [2, 2, 4]
    mean = (rows * (weight / weight.sum())[:, None]).sum(0)
    torch.testing.assert_close(seen[0][0][0], mean)


def test_a_path_is_as_long_for_tiny_rows(rows):
    for scale in (1e-4, 1e4):
        path = quantize.kmeans_path(scale * rows, 3, generator())
        assert [len(c) for c in path] == [2, 4, 8]


def test_a_path_ends_where_every_row_is_a_codeword():
    rows = normal(3, 2).repeat(30, 1)
    path = quantize.kmeans_path(rows, 4, generator())
    assert len(path) == 4
    assert max(map(len, path)) <= 4
    assert float(quantize.nearest(rows, path[-1])[0].max()) < 1e-5


def test_a_path_follows_weights_and_its_generator():
    rows = torch.cat([normal(100, 3), 50 + normal(100, 3)])
    weight = torch.cat([torch.full((100,), 2.0), torch.zeros(100)])
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        paths.append(quantize.kmeans_path(rows, 3, generator(), weight=weight))
    assert all(torch.equal(a, b) for a, b in zip(*paths, strict=True))
    # Only the rows with weight count: it is the path of those rows alone, up to the draws.
    assert float(quantize.nearest(rows[:100], paths[0][-1])[0].mean()) < 1.5
    assert max(float(c.abs().max()) for c in paths[0]) < 10


# --- the steps of k-means ------------------------------------------------------------------------


def test_nearest_of_many_rows_is_exact():
    rows, codebook = 3 + normal(2500, 3), normal(9, 3, seed=1)
    distance, index = quantize.nearest(rows, codebook)
    exact = torch.cdist(rows.double(), codebook.double()) ** 2
    assert torch.equal(index, exact.argmin(1))
    torch.testing.assert_close(distance.double(), exact.amin(1), rtol=1e-4, atol=1e-4)
    same, _ = quantize.nearest(1e3 + rows, 1e3 + rows[:7])
    assert float(same.min()) == 0.0  # never below


def test_means_are_weighted_and_leave_empty_codewords_where_they_are(rows):
    index, weight = torch.arange(300) % 3, torch.rand(300, generator=generator()) + 0.1
    previous = normal(4, 4, seed=2)
    means, counts = quantize._means(rows, index, weight, previous)
    for k in range(3):
        part, w = rows[index == k], weight[index == k]
        torch.testing.assert_close(means[k], (part * w[:, None]).sum(0) / w.sum())
        assert float(counts[k]) == pytest.approx(float(w.sum()), rel=1e-5)
    assert torch.equal(means[3], previous[3])
    assert float(counts[3]) == 0.0


def test_iterations_lower_the_weighted_error(rows):
    weight = torch.rand(300, generator=generator()) + 0.1
    start = rows[:8]
    found = [quantize._lloyd(rows, start.clone(), weight, n) for n in (1, 2, 4, 30)]
    errors = [error for _, error in found]
    assert errors[0] == pytest.approx(float((quantize.nearest(rows, start)[0] * weight).sum()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]
    # The error is that of the codebook before the last step.
    after = float((quantize.nearest(rows, found[0][0])[0] * weight).sum())
    assert errors[1] == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize(("level", "found"), [(0.0, 5), (100.0, 5), (1e4, None)])
def test_equal_rows_count_as_one_at_any_level(level, found):
    rows = level + normal(5, 3)
    seeds = quantize._seed_codewords(rows.repeat(10, 1), 12, torch.ones(50), generator())
    assert len(seeds) == len(seeds.unique(dim=0)) == (found or len(seeds))


def test_every_value_of_columns_with_few_of_them_gets_its_codeword():
    # Some are rare: a start that misses them is never made up for.
    values = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0), torch.arange(4.0))
    rows = torch.cat([values[:8].repeat(500, 1), values])
    for seed in range(5):
        codebook = quantize.kmeans(rows, 64, generator(seed))
        assert float(quantize.nearest(rows, codebook)[0].sum()) < 1e-6 * float(rows.square().sum())


def test_seeds_are_distinct_rows_with_weight_and_spread():
    rows = torch.cat([normal(200, 2), 30 + normal(200, 2), 1e3 + normal(50, 2)])
    weight = torch.cat([torch.ones(400), torch.zeros(50)])
    for seed in range(5):
        seeds = quantize._seed_codewords(rows, 12, weight, generator(seed))
        assert seeds.shape == (12, 2)
        assert len(seeds.unique(dim=0)) == 12
        assert float(seeds.max()) < 100
        assert 0 < int((seeds[:, 0] > 15).sum()) < 12  # of both clusters
        assert set(map(tuple, seeds.tolist())) <= set(map(tuple, rows.tolist()))
    assert (
        len(quantize._seed_codewords(rows[:3].repeat(9, 1), 12, torch.ones(27), generator())) == 3
    )


@pytest.mark.parametrize("size", [1, 2, 47, 50, 100])
def test_as_many_seeds_as_asked_for_unless_there_are_fewer_rows(size):
    rows = normal(400, 3)
    assert len(quantize._seed_codewords(rows, size, torch.ones(400), generator())) == size
    few = quantize._seed_codewords(rows[:3], size, torch.ones(3), generator())
    assert len(few) == min(size, 3)


@pytest.mark.parametrize("size", [4, 150])  # with restarts, without
def test_codebooks_of_many_rows_are_fixed_by_the_generator_alone(size):
    rows, found = normal(7000, 2), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(quantize.kmeans(rows, size, generator()))
    assert torch.equal(*found)


def test_a_sample_keeps_rows_and_weights_together():
    rows = torch.arange(100.0)[:, None]
    some, weight = quantize._subsample(rows, rows[:, 0] + 1, 30, generator())
    assert len(some.unique()) == 30
    assert torch.equal(weight, some[:, 0] + 1)
    assert quantize._subsample(rows, rows[:, 0], 100, generator())[0] is rows


def test_revived_codewords_go_to_the_worst_rows_only_where_rows_have_an_error(rows):
    codebook, distance = normal(3, 4, seed=2), torch.zeros(300)
    distance[5] = 0.5
    moved = quantize.revive(codebook.clone(), torch.zeros(3), rows, distance)
    assert torch.equal(moved[0], rows[5])
    assert torch.equal(moved[1:], codebook[1:])
    few = quantize.revive(normal(9, 4), torch.zeros(9), rows[:2], torch.ones(2))
    assert {tuple(row.tolist()) for row in few[:2]} == {tuple(row.tolist()) for row in rows[:2]}


def test_weights_far_below_one_count_like_any_other(rows):
    small = torch.full((300,), 1e-4)
    means, _ = quantize._means(rows, torch.arange(300) % 3, small, torch.zeros(3, 4))
    torch.testing.assert_close(means[0], rows[::3].mean(0))
    for seed in range(3):  # the draws are the same
        whole = quantize.kmeans(rows, 12, generator(seed))
        scaled = quantize.kmeans(rows, 12, generator(seed), small)
        torch.testing.assert_close(whole, scaled, atol=1e-3, rtol=0)


def test_seeds_never_start_at_a_row_without_weight(rows):
    few, weight = rows[:200], torch.zeros(200)  # few enough that none is left out
    weight[7] = 0.1
    for seed in range(5):
        assert torch.equal(quantize._seed_codewords(few, 1, weight, generator(seed)), few[7:8])


def test_one_unused_codeword_is_revived_and_one_of_a_single_row_is_not(rows):
    codebook, distance = normal(3, 4, seed=2), torch.arange(300.0)
    moved = quantize.revive(codebook.clone(), torch.tensor([1.0, 0.0, 9.0]), rows, distance)
    assert torch.equal(moved[1], rows[299])
    assert torch.equal(moved[[0, 2]], codebook[[0, 2]])


def test_an_unused_codeword_is_not_revived_at_a_row_without_weight():
    rows = torch.tensor([[0.0], [1.0], [2.0], [900.0]])
    weight = torch.tensor([0.5, 0.5, 0.5, 0.0])
    start = torch.tensor([[0.0], [1.0], [5000.0]])
    codebook, _ = quantize._lloyd(rows, start, weight, 3)
    assert sorted(codebook.flatten().tolist()) == [0.0, 1.0, 2.0]


def test_freed_memory_is_returned_before_a_large_system(rows, chain, monkeypatch):
    codes, _ = quantize.search(rows, chain, 4)
    calls = []
    monkeypatch.setattr(quantize, "return_freed", lambda: calls.append(1))
    expected = quantize.refit(rows, codes, chain, 1.0)
    assert not calls
    monkeypatch.setattr(quantize, "_MANY_CODEWORDS", 12)
    for codebook, other in zip(quantize.refit(rows, codes, chain, 1.0), expected, strict=True):
        assert torch.equal(codebook, other)
    assert calls


def test_memory_can_be_returned_wherever_the_library_runs(monkeypatch):
    _memory.return_freed()
    asked = []
    monkeypatch.setattr(_memory, "_trim", asked.append)
    _memory.return_freed()
    monkeypatch.setattr(_memory, "_trim", None)
    _memory.return_freed()
    assert asked == [0]
