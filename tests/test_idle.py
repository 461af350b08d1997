"""Codewords that no row uses, brought to where a row does."""

import pytest
import torch

from adaptive_vq import _idle, quantize


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def rows():
    return normal(400, 4)


@pytest.fixture
def chain(rows):
    """Three codebooks, the first of which acts on two coordinates only; some words are far off."""
    chain, _ = quantize.fit_chain(
        rows, [8, 16, 8], [2, 4, 4], torch.Generator().manual_seed(0), beam=4
    )
    for book, words, way in ((0, [3], -9.0), (1, [2, 9], 9.0), (2, [5], 20.0)):
        chain[book][words] += way
    return chain


def found(rows, chain):
    return quantize.search(rows, chain, _idle.BEAM)[0]


def users(codes, chain):
    return [torch.bincount(codes[:, j], minlength=len(book)) for j, book in enumerate(chain)]


def errors(rows, chain, codes):
    return (rows - quantize.decode(codes, chain, rows.shape[1])).square().sum(1)


def idle_of(codes, chain):
    return [
        (j, int(k)) for j, c in enumerate(users(codes, chain)) for k in (c == 0).nonzero()[:, 0]
    ]


def test_idle_codewords_become_the_choice_of_a_row(rows, chain):
    codes, ones = found(rows, chain), torch.ones(400)
    idle = idle_of(codes, chain)
    assert len(idle) >= 4
    before = [book.clone() for book in chain]
    closer, new = _idle.nudged(rows, chain, ones, codes)
    assert all(torch.equal(a, b) for a, b in zip(before, chain, strict=True))
    assert idle_of(new, closer) == []
    moved = [
        (j, int(k))
        for j, (a, b) in enumerate(zip(chain, closer, strict=True))
        for k in (a != b).any(1).nonzero()[:, 0]
    ]
    assert set(moved) <= set(idle)
    assert len(moved) >= 3
    changed = (new != codes).any(1)
    assert int(changed.sum()) == len(moved)
    # Those rows are better off, so that a search finds what they now have or better.
    gained = errors(rows, closer, new) / errors(rows, chain, codes)
    torch.testing.assert_close(gained[~changed], torch.ones(int((~changed).sum())))
    assert float(gained[changed].max()) <= _idle.CLOSER**2 + 1e-4
    again = found(rows, closer)
    assert float((errors(rows, closer, again) - errors(rows, closer, new))[changed].max()) <= 1e-4
    assert len(idle_of(again, closer)) < len(idle)


def test_codewords_move_less_than_to_where_rows_are_served_worst(rows, chain):
    codes, ones = found(rows, chain), torch.ones(400)
    closer, _ = _idle.nudged(rows, chain, ones, codes)
    far, moved = _idle.replaced(rows, chain, ones, codes)
    assert moved == idle_of(codes, chain)
    ways = [[float((new[j][k] - chain[j][k]).norm()) for j, k in moved] for new in (closer, far)]
    assert sum(ways[0]) < 0.8 * sum(ways[1])


def test_replaced_codewords_code_the_rows_served_worst_exactly(rows, chain):
    codes, ones = found(rows, chain), torch.ones(400)
    far, moved = _idle.replaced(rows, chain, ones, codes)
    worst = errors(rows, chain, codes).argsort(descending=True)[: len(moved)]
    for (j, word), row in zip(moved, worst.tolist(), strict=True):
        target = codes[row].clone()
        target[j] = word
        width = chain[j].shape[1]
        left = rows[row] - quantize.decode(target[None], far, 4)[0]
        torch.testing.assert_close(left[:width], torch.zeros(width), atol=1e-5, rtol=0)


def test_nothing_moves_where_every_codeword_is_used(rows, chain):
    small = [book[:4] for book in chain]
    codes = torch.arange(400)[:, None].expand(-1, 3) % 4
    same, still = _idle.nudged(rows, small, torch.ones(400), codes)
    assert same is small
    assert still is codes
    assert _idle.replaced(rows, small, torch.ones(400), codes) == (small, [])


def test_rows_give_up_no_codeword_that_only_they_use(rows, chain):
    codes, ones = found(rows, chain), torch.ones(400)
    used = [count > 0 for count in users(codes, chain)]
    _, new = _idle.nudged(rows, chain, ones, codes)
    for before, after in zip(used, users(new, chain), strict=True):
        assert (after[before] > 0).all()
    one_each = [rows[:8].clone(), torch.cat([rows[:8] * 0.1, rows[:1] + 9.0])]
    own = torch.arange(8)[:, None].expand(-1, 2).contiguous()
    still, codes = _idle.nudged(rows[:8], one_each, torch.ones(8), own)
    assert torch.equal(codes, own)  # every row is the only user of all that it uses
    assert all(torch.equal(a, b) for a, b in zip(still, one_each, strict=True))


def test_equal_rows_go_together_and_rows_without_weight_or_error_stay(rows, chain):
    twice = rows[:200].repeat(2, 1)
    weight = torch.ones(400)
    weight[:100] = weight[200:300] = 0.0
    codes = found(twice, chain)
    _, new = _idle.nudged(twice, chain, weight, codes)
    assert torch.equal(new[:200], new[200:])
    assert torch.equal(new[:100], codes[:100])
    assert not torch.equal(new, codes)
    exact = quantize.decode(codes, chain, 4)
    assert torch.equal(_idle.nudged(exact, chain, torch.ones(400), codes)[1], codes)


def test_of_many_rows_some_are_looked_at(rows, chain, monkeypatch):
    monkeypatch.setattr(_idle, "MOST_ROWS", 150)
    codes = found(rows, chain)
    _, new = _idle.nudged(rows, chain, torch.ones(400), codes)
    changed = (new != codes).any(1).nonzero()[:, 0]
    assert len(changed) >= 3
    assert (changed % 3 == 0).all()


def test_narrow_codebooks_move_in_their_coordinates_only(rows, chain):
    codes = found(rows, chain)
    closer, _ = _idle.nudged(rows, chain, torch.ones(400), codes)
    assert [book.shape for book in closer] == [book.shape for book in chain]
    assert not torch.equal(closer[0], chain[0])
