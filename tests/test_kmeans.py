"""k-means: starts, Lloyd's steps, codebooks of every size, revival."""

import math

import pytest
import torch
from sklearn.cluster import KMeans

from adaptive_vq import kmeans
from adaptive_vq._parallel import one_thread_each


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=generator(seed))


@pytest.fixture
def rows():
    return normal(300, 4)


def test_nearest_is_exact(rows):
    codebook = normal(20, 4, seed=1)
    distance, index = kmeans.nearest(rows, codebook)
    exact = torch.cdist(rows.double(), codebook.double()) ** 2
    assert torch.equal(index, exact.argmin(1))
    torch.testing.assert_close(distance.double(), exact.amin(1), rtol=1e-4, atol=1e-4)


def test_kmeans_is_as_good_as_that_of_scikit_learn(rows):
    codebook = kmeans.kmeans(rows, 8, generator())
    ours = float(kmeans.nearest(rows, codebook)[0].sum())
    theirs = KMeans(8, n_init=3, random_state=0).fit(rows.numpy()).inertia_
    assert len(codebook) == 8
    assert ours <= 1.05 * theirs


def test_kmeans_finds_separate_clusters():
    centers = 100 * normal(6, 3)
    rows = (centers[:, None] + normal(120, 3).view(6, 20, 3)).reshape(-1, 3)
    codebook = kmeans.kmeans(rows, 6, generator())
    assert float(kmeans.nearest(rows, codebook)[0].mean()) < 10


def test_known_norms_change_no_distance(rows):
    codebook = normal(20, 4, seed=1)
    for known, asked in zip(
        kmeans.nearest(rows, codebook, kmeans._squared_norms(rows)),
        kmeans.nearest(rows, codebook),
        strict=True,
    ):
        assert torch.equal(known, asked)


def test_a_quick_start_looks_at_some_of_many_rows(monkeypatch):
    seen, plain = [], kmeans._seed_codewords

    def seed(rows, size, weight, generator):
        seen.append(len(rows))
        return plain(rows, size, weight, generator)

    monkeypatch.setattr(kmeans, "_seed_codewords", seed)
    many, unseen = normal(4000, 3), normal(4000, 3, seed=1)

    def error(seed, quick):
        codebook = kmeans.kmeans(many, 64, generator(seed), quick_start=quick)
        return float(kmeans.nearest(unseen, codebook)[0].sum())

    slow, fast = (sum(error(seed, quick) for seed in range(8)) for quick in (False, True))
    assert set(seen[:8]) == {4000}
    assert set(seen[8:]) == {64 * 16}
    assert fast < 1.02 * slow


@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_kmeans_never_repeats_a_codeword(distinct):
    rows = normal(distinct, 3).repeat(20, 1)
    codebook = kmeans.kmeans(rows, 16, generator())
    assert len(codebook) == distinct
    assert float(kmeans.nearest(rows, codebook)[0].max()) < 1e-5


def test_kmeans_uses_weights(rows):
    weight = torch.zeros(300)
    weight[:4] = 1.0
    codebook = kmeans.kmeans(rows, 4, generator(), weight)
    assert float(kmeans.nearest(rows[:4], codebook)[0].max()) < 1e-4


def test_kmeans_is_reproducible(rows):
    one, two = (kmeans.kmeans(rows, 8, generator(3)) for _ in range(2))
    assert torch.equal(one, two)


def test_revive_moves_dead_codewords_to_the_worst_rows(rows):
    codebook = normal(4, 4, seed=2)
    before = codebook.clone()
    counts = torch.tensor([5.0, 0.0, 3.0, 0.0])
    distance = torch.arange(300.0)
    kmeans.revive(codebook, counts, rows, distance)
    assert torch.equal(codebook[[1, 3]], rows[[299, 298]])
    assert torch.equal(codebook[[0, 2]], before[[0, 2]])
    untouched = kmeans.revive(before.clone(), counts, rows, torch.zeros(300))
    assert torch.equal(untouched, before)


def test_gaussian_source_comes_near_the_distortion_rate_bound():
    codebook = kmeans.kmeans(normal(6000, 1, seed=5), 16, generator())
    nmse = float(kmeans.nearest(normal(40_000, 1, seed=6), codebook)[0].mean())
    # Max (1960): the best 16-level scalar quantizer of a Gaussian has 0.009497.
    assert nmse == pytest.approx(0.009497, rel=0.1)
    assert nmse > 2.0 ** (-2 * math.log2(16))


def test_kmeans_puts_no_codeword_on_rows_without_weight():
    rows = torch.cat([normal(60, 2), 1e3 + normal(60, 2, seed=1)])
    weight = torch.cat([torch.ones(60), torch.zeros(60)])
    codebook = kmeans.kmeans(rows, 40, generator(), weight)
    assert float(codebook.abs().max()) < 10
    assert len(codebook) > 20


def test_grown_codewords_see_directions_that_carry_little_last():
    n, width = 600, 30
    rows = torch.randn(n, width, generator=generator()) * torch.linspace(2.0, 0.5, width)
    unseen = torch.randn(n, width, generator=generator(1)) * torch.linspace(2.0, 0.5, width)
    ones = torch.ones(n)
    errors = {}
    for grown in (False, True):
        codebook = kmeans.kmeans(rows, 100, generator(), ones, 1, grown=grown)
        assert len(codebook.unique(dim=0)) == len(codebook) == 100
        errors[grown] = float(kmeans.nearest(unseen, codebook)[0].sum())
    assert errors[True] < errors[False]
    assert kmeans._growing_widths(width) == [2, 4, 8, 15, 30]
    assert kmeans._growing_widths(1) == [1]
    assert kmeans._growing_widths(3) == [2, 3]


def test_grown_codewords_turn_with_the_rows():
    rows = torch.randn(500, 6, generator=generator()) * torch.tensor([3.0, 2.5, 2, 1.5, 1, 0.5])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator(1)))[0]
    ones = torch.ones(500)
    straight = kmeans.kmeans(rows, 10, generator(), ones, grown=True)
    turned = kmeans.kmeans(rows @ turn + 5.0, 10, generator(), ones, grown=True)
    torch.testing.assert_close(turned, straight @ turn + 5.0, atol=1e-3, rtol=1e-3)


def test_grown_codewords_tell_apart_rows_that_differ_in_further_directions_only():
    leading = torch.tensor([[10.0, 0, 0, 0, 0], [0, 10.0, 0, 0, 0], [0, 0, 0, 0, 0]])
    rows = leading.repeat(4, 1)
    rows[:, 4] = torch.arange(4).repeat_interleave(3)
    codebook = kmeans.kmeans(rows, 12, generator(), torch.ones(12), grown=True)
    assert len(codebook) == 12
    torch.testing.assert_close(kmeans.nearest(rows, codebook)[0], torch.zeros(12))


def test_grown_codewords_of_few_rows_need_no_square_of_the_columns(monkeypatch):
    scales = torch.linspace(3.0, 0.5, 200)
    rows = torch.randn(40, 200, generator=generator()) * scales
    rows[20:30] = rows[:10]
    weight = torch.linspace(0.5, 2.0, 40)
    centered = rows - weight @ rows / weight.sum()
    found = kmeans._axes(centered, weight)[:, :10]
    _, vectors = torch.linalg.eigh((centered.T * weight).double() @ centered.double())
    expected = vectors.flip(1)[:, :10].float()
    expected *= torch.sign((found * expected).sum(0))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    monkeypatch.setattr(torch.linalg, "eigh", None)
    codebook = kmeans.kmeans(rows, 8, generator(), weight, grown=True)
    assert len(codebook) == 8
    started = kmeans.kmeans(rows, 8, generator(), weight)
    errors = [float(kmeans.nearest(rows, book)[0] @ weight) for book in (codebook, started)]
    assert errors[0] < 1.1 * errors[1]


# --- codebooks of every size ---------------------------------------------------------------------


def test_a_path_of_codebooks_is_nearly_as_good_as_separate_ones(rows):
    path = kmeans.kmeans_path(rows, 5, generator())
    assert [len(c) for c in path] == [2, 4, 8, 16, 32]
    errors = [float(kmeans.nearest(rows, c)[0].sum()) for c in path]
    assert errors == sorted(errors, reverse=True)
    for codebook, error in zip(path, errors, strict=True):
        alone = kmeans.kmeans(rows, len(codebook), generator())
        assert error < 1.15 * float(kmeans.nearest(rows, alone)[0].sum())


def test_codebooks_of_all_sizes_share_a_start(rows):
    codebooks = kmeans.kmeans_sizes(rows, 5, generator())
    assert [len(c) for c in codebooks] == [2, 4, 8, 16, 32]
    assert torch.equal(codebooks[-1], kmeans.kmeans(rows, 32, generator()))
    for codebook in codebooks:
        distance, index = kmeans.nearest(rows, codebook)
        assert len(index.unique()) == len(codebook)
        alone = kmeans.kmeans(rows, len(codebook), generator(1))
        assert float(distance.sum()) < 1.15 * float(kmeans.nearest(rows, alone)[0].sum())


def test_codewords_that_only_rows_outside_the_sample_use_stay(monkeypatch):
    rows = torch.cat([normal(5000, 2), 50 + 0.1 * normal(40, 2)])
    monkeypatch.setattr(kmeans, "_LEAST_SAMPLE", 40)
    monkeypatch.setattr(kmeans, "_ROWS_PER_CODEWORD", 1)
    revived = torch.tensor([[0.0, 0.0], [50.0, 50.0], [200.0, 200.0]])
    monkeypatch.setattr(kmeans, "revive", lambda *_: revived.clone())
    codebook = kmeans.kmeans(rows, 3, generator())
    assert torch.equal(codebook, revived[:2])


def test_a_path_starts_at_the_weighted_mean_and_spends_its_iterations_on_the_last(monkeypatch):
    rows, weight = 5 + normal(100, 3), torch.rand(100, generator=generator()) * 7
    lloyd, seen = kmeans._lloyd, []

    def spy(rows, codebook, weight, n_iter, norms):
        seen.append((codebook.clone(), n_iter))
        return lloyd(rows, codebook, weight, n_iter, norms)

    monkeypatch.setattr(kmeans, "_lloyd", spy)
    kmeans.kmeans_path(rows, 3, generator(), weight=weight)
    assert [n_iter for _, n_iter in seen] == [2, 2, 4]
    mean = (rows * (weight / weight.sum())[:, None]).sum(0)
    torch.testing.assert_close(seen[0][0][0], mean)


def test_a_path_is_as_long_for_tiny_rows(rows):
    for scale in (1e-4, 1e4):
        path = kmeans.kmeans_path(scale * rows, 3, generator())
        assert [len(c) for c in path] == [2, 4, 8]


def test_a_path_ends_where_every_row_is_a_codeword():
    rows = normal(3, 2).repeat(30, 1)
    path = kmeans.kmeans_path(rows, 4, generator())
    assert len(path) == 4
    assert max(map(len, path)) <= 4
    assert float(kmeans.nearest(rows, path[-1])[0].max()) < 1e-5


def test_a_path_follows_weights_and_its_generator():
    rows = torch.cat([normal(100, 3), 50 + normal(100, 3)])
    weight = torch.cat([torch.full((100,), 2.0), torch.zeros(100)])
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        paths.append(kmeans.kmeans_path(rows, 3, generator(), weight=weight))
    assert all(torch.equal(a, b) for a, b in zip(*paths, strict=True))
    # Only the rows with weight count: it is the path of those rows alone, up to the draws.
    assert float(kmeans.nearest(rows[:100], paths[0][-1])[0].mean()) < 1.5
    assert max(float(c.abs().max()) for c in paths[0]) < 10


def test_a_path_draws_no_row_of_next_to_no_weight():
    rows, weight = 1e-3 * torch.arange(4.0)[:, None], torch.tensor([1.0, 1.0, 1e-42, 1e-42])
    path = kmeans.kmeans_path(rows, 3, generator(), weight=weight)
    assert [len(c) for c in path] == [2, 2, 2]


# --- the steps of k-means ------------------------------------------------------------------------


def test_nearest_of_many_rows_is_exact():
    rows, codebook = 3 + normal(2500, 3), normal(9, 3, seed=1)
    distance, index = kmeans.nearest(rows, codebook)
    exact = torch.cdist(rows.double(), codebook.double()) ** 2
    assert torch.equal(index, exact.argmin(1))
    torch.testing.assert_close(distance.double(), exact.amin(1), rtol=1e-4, atol=1e-4)
    same, _ = kmeans.nearest(1e3 + rows, 1e3 + rows[:7])
    assert float(same.min()) == 0.0  # never below


def test_means_are_weighted_and_leave_empty_codewords_where_they_are(rows):
    index, weight = torch.arange(300) % 3, torch.rand(300, generator=generator()) + 0.1
    previous = normal(4, 4, seed=2)
    means, counts = kmeans._means(rows, index, weight, previous)
    for k in range(3):
        part, w = rows[index == k], weight[index == k]
        torch.testing.assert_close(means[k], (part * w[:, None]).sum(0) / w.sum())
        assert float(counts[k]) == pytest.approx(float(w.sum()), rel=1e-5)
    assert torch.equal(means[3], previous[3])
    assert float(counts[3]) == 0.0


def test_iterations_lower_the_weighted_error(rows):
    weight = torch.rand(300, generator=generator()) + 0.1
    start = rows[:8]
    found = [kmeans._lloyd(rows, start.clone(), weight, n) for n in (1, 2, 4, 30)]
    errors = [error for _, error in found]
    assert errors[0] == pytest.approx(float((kmeans.nearest(rows, start)[0] * weight).sum()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]
    # The error is that of the codebook before the last step.
    after = float((kmeans.nearest(rows, found[0][0])[0] * weight).sum())
    assert errors[1] == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize(("level", "found"), [(0.0, 5), (100.0, 5), (1e4, None)])
def test_equal_rows_count_as_one_at_any_level(level, found):
    rows = level + normal(5, 3)
    seeds = kmeans._seed_codewords(rows.repeat(10, 1), 12, torch.ones(50), generator())
    assert len(seeds) == len(seeds.unique(dim=0)) == (found or len(seeds))


def test_every_value_of_columns_with_few_of_them_gets_its_codeword():
    # Some are rare: a start that misses them is never made up for.
    values = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0), torch.arange(4.0))
    rows = torch.cat([values[:8].repeat(500, 1), values])
    for seed in range(5):
        codebook = kmeans.kmeans(rows, 64, generator(seed))
        assert float(kmeans.nearest(rows, codebook)[0].sum()) < 1e-6 * float(rows.square().sum())


def test_seeds_of_wide_rows_are_the_same_on_any_number_of_threads(monkeypatch):
    rows, weight = normal(2_000, 30), torch.ones(2_000)
    whole = kmeans._seed_codewords(rows, 32, weight, generator())
    monkeypatch.setattr(kmeans, "_SHARED_PRODUCT", 1)
    pieces, product = [], kmeans._product
    monkeypatch.setattr(
        kmeans, "_product", lambda *tables: (pieces.append(len(tables[1].T)), product(*tables))
    )
    before, seeds = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            with one_thread_each():
                seeds.append(kmeans._seed_codewords(rows, 32, weight, generator()))
    finally:
        torch.set_num_threads(before)
    assert set(pieces) == {500}
    assert all(torch.equal(found, whole) for found in seeds)


def test_seeds_are_distinct_rows_with_weight_and_spread():
    rows = torch.cat([normal(200, 2), 30 + normal(200, 2), 1e3 + normal(50, 2)])
    weight = torch.cat([torch.ones(400), torch.zeros(50)])
    for seed in range(5):
        seeds = kmeans._seed_codewords(rows, 12, weight, generator(seed))
        assert seeds.shape == (12, 2)
        assert len(seeds.unique(dim=0)) == 12
        assert float(seeds.max()) < 100
        assert 0 < int((seeds[:, 0] > 15).sum()) < 12  # of both clusters
        assert set(map(tuple, seeds.tolist())) <= set(map(tuple, rows.tolist()))
    assert len(kmeans._seed_codewords(rows[:3].repeat(9, 1), 12, torch.ones(27), generator())) == 3


@pytest.mark.parametrize("size", [1, 2, 47, 50, 100])
def test_as_many_seeds_as_asked_for_unless_there_are_fewer_rows(size):
    rows = normal(400, 3)
    assert len(kmeans._seed_codewords(rows, size, torch.ones(400), generator())) == size
    few = kmeans._seed_codewords(rows[:3], size, torch.ones(3), generator())
    assert len(few) == min(size, 3)


def test_a_row_drawn_several_times_becomes_one_seed():
    # All draws are of the last row that is left, and serve for several codewords.
    for n_distinct in (12, 18, 30):
        rows = 10.0 * torch.eye(n_distinct).repeat(4, 1)
        seeds = kmeans._seed_codewords(rows, 40, torch.ones(len(rows)), generator())
        assert len(seeds) == len(seeds.unique(dim=0)) == n_distinct


@pytest.mark.parametrize("size", [4, 150])  # with restarts, without
def test_codebooks_of_many_rows_are_fixed_by_the_generator_alone(size):
    rows, found = normal(7000, 2), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(kmeans.kmeans(rows, size, generator()))
    assert torch.equal(*found)


def test_a_sample_keeps_rows_and_weights_together():
    rows = torch.arange(100.0)[:, None]
    some, weight = kmeans._subsample(rows, rows[:, 0] + 1, 30, generator())
    assert len(some.unique()) == 30
    assert torch.equal(weight, some[:, 0] + 1)
    assert kmeans._subsample(rows, rows[:, 0], 100, generator())[0] is rows


def test_revived_codewords_go_to_the_worst_rows_only_where_rows_have_an_error(rows):
    codebook, distance = normal(3, 4, seed=2), torch.zeros(300)
    distance[5] = 0.5
    moved = kmeans.revive(codebook.clone(), torch.zeros(3), rows, distance)
    assert torch.equal(moved[0], rows[5])
    assert torch.equal(moved[1:], codebook[1:])
    few = kmeans.revive(normal(9, 4), torch.zeros(9), rows[:2], torch.ones(2))
    assert {tuple(row.tolist()) for row in few[:2]} == {tuple(row.tolist()) for row in rows[:2]}


def test_weights_far_below_one_count_like_any_other(rows):
    small = torch.full((300,), 1e-4)
    means, _ = kmeans._means(rows, torch.arange(300) % 3, small, torch.zeros(3, 4))
    torch.testing.assert_close(means[0], rows[::3].mean(0))
    for seed in range(3):  # the draws are the same
        whole = kmeans.kmeans(rows, 12, generator(seed))
        scaled = kmeans.kmeans(rows, 12, generator(seed), small)
        torch.testing.assert_close(whole, scaled, atol=1e-3, rtol=0)


def test_seeds_never_start_at_a_row_without_weight(rows):
    few, weight = rows[:200], torch.zeros(200)  # few enough that none is left out
    weight[7] = 0.1
    for seed in range(5):
        assert torch.equal(kmeans._seed_codewords(few, 1, weight, generator(seed)), few[7:8])


def test_one_unused_codeword_is_revived_and_one_of_a_single_row_is_not(rows):
    codebook, distance = normal(3, 4, seed=2), torch.arange(300.0)
    moved = kmeans.revive(codebook.clone(), torch.tensor([1.0, 0.0, 9.0]), rows, distance)
    assert torch.equal(moved[1], rows[299])
    assert torch.equal(moved[[0, 2]], codebook[[0, 2]])


def test_an_unused_codeword_is_not_revived_at_a_row_without_weight():
    rows = torch.tensor([[0.0], [1.0], [2.0], [900.0]])
    weight = torch.tensor([0.5, 0.5, 0.5, 0.0])
    start = torch.tensor([[0.0], [1.0], [5000.0]])
    codebook, _ = kmeans._lloyd(rows, start, weight, 3)
    assert sorted(codebook.flatten().tolist()) == [0.0, 1.0, 2.0]
