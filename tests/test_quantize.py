"""Residual codebooks: stages, search, joint refit."""

import numpy as np
import pytest
import torch

from adaptive_vq import _memory, quantize
from adaptive_vq.candidates import Candidates


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
    return quantize.fit_chain(rows, [8, 8, 4], [2, 4, 4], generator())[0]


def test_split_bits():
    assert quantize.split_bits(8) == [8]
    assert quantize.split_bits(9) == [8, 1]
    assert quantize.split_bits(-1) == []
    assert quantize.split_bits(7, max_bits=3) == [3, 3, 1]


def test_wide_beam_is_exhaustive(rows, chain):
    codes = quantize.codes_of(rows, chain, beam=256)
    every = torch.cartesian_prod(*[torch.arange(len(c)) for c in chain])
    sums = quantize.decode(every, chain, 4)
    best = (torch.cdist(rows.double(), sums.double()) ** 2).amin(1)
    assert squared(rows, codes, chain) == pytest.approx(float(best.sum()), rel=1e-4)


def test_wider_beams_are_better(rows, chain):
    found = [squared(rows, quantize.codes_of(rows, chain, b), chain) for b in (1, 2, 8, 64)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_search_of_nothing(rows):
    assert quantize.codes_of(rows, []).shape == (300, 0)
    assert quantize.codes_of(rows[:0], [normal(4, 4)]).shape == (0, 1)


def test_codes_do_not_depend_on_the_cut(rows, chain):
    many = rows.repeat(5, 1)
    codes = quantize.codes_of(many, chain, 4)
    for start in (0, 17, 700):
        part = many[start : start + 333]
        assert torch.equal(quantize.codes_of(part, chain, 4), codes[start : start + 333])


def test_stages_are_trained_on_good_candidates_only():
    rows = normal(400, 4)
    sizes = [2, 2, 32]
    chain, _ = quantize.fit_chain(rows, sizes, [4, 4, 4], generator(), beam=5)
    codes = quantize.codes_of(rows, chain, 16)
    used = [len(codes[:, j].unique()) for j in range(3)]
    assert used[2] >= 28  # half of them used to serve combinations that no search ends with


@pytest.mark.parametrize(("n", "n_searched"), [(300, 300), (1500, 2048)])
def test_few_rows_of_a_fit_are_not_filled_up_to_a_tile(chain, monkeypatch, n, n_searched):
    rows, seen, codes = normal(n, 4), [], quantize.ChainSearch.codes
    monkeypatch.setattr(
        quantize.ChainSearch,
        "codes",
        lambda self, part: seen.append(len(part)) or codes(self, part),
    )
    found = quantize.codes_in_fit(rows, chain, 4)
    assert sum(seen) == n_searched
    assert torch.equal(found, quantize.codes_of(rows, chain, 4))
    assert len(quantize.codes_in_fit(rows[:0], chain, 4)) == 0


def test_chain_stops_where_nothing_is_left():
    rows = normal(3, 2).repeat(30, 1)
    chain, codes = quantize.fit_chain(rows, [8, 8, 8], [2, 2, 2], generator())
    assert [len(c) for c in chain] == [3]
    torch.testing.assert_close(quantize.decode(codes, chain, 2), rows)


@pytest.mark.parametrize(("beam", "n_books"), [(1, 3), (4, 3), (4, 1), (4, 0)])
def test_a_chain_comes_with_the_codes_of_its_rows(rows, beam, n_books):
    sizes, widths = [8, 8, 4][:n_books], [2, 4, 4][:n_books]
    chain, codes = quantize.fit_chain(rows, sizes, widths, generator(), beam=beam)
    assert codes.dtype == torch.long
    assert torch.equal(codes, quantize.codes_of(rows, chain, beam))


@pytest.mark.parametrize("beam", [1, 4])
def test_a_chain_is_trained_without_touching_the_rows(rows, beam):
    before = rows.clone()
    quantize.fit_chain(rows, [8, 8, 8, 8], [2, 4, 4, 4], generator(), beam=beam)
    assert torch.equal(rows, before)


def test_draws_of_candidates_are_residuals_with_the_weights_of_their_rows():
    rows, weight = normal(30, 3), torch.arange(30.0)
    found = Candidates(rows)
    found.extend(normal(8, 3, seed=1), 4)
    every = {tuple(r.tolist()): i for i, row in enumerate(found.residuals(4, 3)) for r in row}
    for most in (50, 200):
        drawn, mass = quantize._candidates(found, 4, 3, weight, most, generator(), False)
        assert len(drawn) == len(set(map(tuple, drawn.tolist()))) == min(most, 120)
        assert mass.tolist() == [every[tuple(r.tolist())] for r in drawn]
    narrow, _ = quantize._candidates(found, 1, 2, weight, 200, generator(), False)
    assert torch.equal(narrow, found.residuals(1, 2)[:, 0])


def test_narrow_codebooks_leave_later_coordinates_alone(rows, chain):
    assert [c.shape[1] for c in chain] == [2, 4, 4]
    decoded = quantize.decode(quantize.codes_of(rows, chain), chain[:1], 4)
    assert (decoded[:, 2:] == 0).all()


def test_refit_solves_the_least_squares_problem(rows, chain):
    codes = quantize.codes_of(rows, chain, 4)
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
    codes = quantize.codes_of(rows, chain, 4)
    moved = quantize.refit(rows, codes, chain, 1e-3)
    assert squared(rows, codes, moved) < squared(rows, codes, chain)
    still = quantize.refit(rows, codes, chain, 1e12)
    for before, after in zip(chain, still, strict=True):
        torch.testing.assert_close(before, after)


def test_refine_never_raises_any_error(rows, chain):
    tables = [torch.nn.functional.pad(c, (0, 4 - c.shape[1])) for c in chain]
    codes = quantize.codes_of(rows, chain)
    before = ((rows - quantize.decode(codes, tables, 4)) ** 2).sum(1)
    after = quantize.refine(rows, codes, tables, 3)
    error = ((rows - quantize.decode(after, tables, 4)) ** 2).sum(1)
    assert float((error - before).max()) <= 1e-5
    assert float(error.sum()) < float(before.sum())
    assert torch.equal(codes, quantize.codes_of(rows, chain))  # its input stays


# --- chains: what a stage is trained on ----------------------------------------------------------


def test_most_bits_of_a_number_of_codewords():
    expected = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 255: 7, 256: 8, 9999: 8}
    assert {n: quantize.most_bits(n) for n in expected} == expected


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
        chains.append(quantize.fit_chain(rows, [8] * 4, [4] * 4, generator())[0])
    assert all(torch.equal(a, b) for a, b in zip(*chains, strict=True))


def test_rows_without_weight_do_not_move_a_chain(rows):
    far = torch.cat([rows, 1e3 + rows])
    weight = torch.cat([torch.ones(300), torch.zeros(300)])
    for codebook in quantize.fit_chain(far, [8, 8], [4, 4], generator(), weight=weight)[0]:
        assert float(codebook.abs().max()) < 10


def test_a_chain_of_tiny_rows_is_as_long_as_one_of_large_rows(rows):
    for scale in (1e-6, 1.0, 1e6):
        chain, _ = quantize.fit_chain(scale * rows, [8, 8], [4, 4], generator())
        codes = quantize.codes_of(scale * rows, chain)
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


def test_freed_memory_is_returned_before_a_large_system(rows, chain, monkeypatch):
    codes = quantize.codes_of(rows, chain, 4)
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


@pytest.mark.parametrize("spread", [False, True])
def test_codebooks_of_chains_that_start_alike_are_fitted_once(rows, monkeypatch, spread):
    fitted, kmeans = [], quantize.kmeans
    monkeypatch.setattr(quantize, "kmeans", lambda *a, **k: fitted.append(a[1]) or kmeans(*a, **k))
    known = {}

    def chain_of(sizes, known, **options):
        fitted.clear()
        widths = [4] * len(sizes)
        return *quantize.fit_chain(rows, sizes, widths, generator(), known=known, **options), [
            *fitted
        ]

    chain_of([8, 8], known, spread=spread)
    for sizes, options, left in [
        ([8, 8, 4], {"spread": spread}, [4]),
        ([8, 4], {"spread": spread}, [4]),
        ([8, 8], {"spread": not spread}, [8]),  # the first codebook does not depend on it
        ([8, 8], {"spread": spread, "n_iter": 3}, [8, 8]),
        ([8, 8], {"spread": spread, "grown": True}, [8, 8]),
    ]:
        again, codes, fitted_again = chain_of(sizes, known, **options)
        anew, as_anew, _ = chain_of(sizes, None, **options)
        assert fitted_again == left
        assert torch.equal(codes, as_anew)
        assert all(map(torch.equal, again, anew))
