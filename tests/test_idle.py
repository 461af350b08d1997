"""Codewords that no row uses, brought to where a row does."""

import pytest
import torch

from adaptive_vq import _idle, quantize
from adaptive_vq._resumed import ResumedSearch
from adaptive_vq._spread import Spreading, selected

ONES = torch.ones(400)


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
    """Codes by exhaustive search: as many candidates as there are combinations."""
    return quantize.codes_of(rows, chain, 1024)


def errors(rows, chain, codes):
    return (rows - quantize.decode(codes, chain, rows.shape[1])).square().sum(1)


def idle_of(codes, chain):
    counts = [torch.bincount(codes[:, j], minlength=len(book)) for j, book in enumerate(chain)]
    return [(j, int(k)) for j, count in enumerate(counts) for k in (count == 0).nonzero()[:, 0]]


def moved_words(before, after):
    pairs = enumerate(zip(before, after, strict=True))
    return [(j, int(k)) for j, (a, b) in pairs for k in (a != b).any(1).nonzero()[:, 0]]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_idle_codewords_become_the_choice_of_a_row(rows, chain):
    codes, before = found(rows, chain), [book.clone() for book in chain]
    idle = idle_of(codes, chain)
    assert len(idle) >= 4
    closer = _idle.nudged(rows, chain, ONES, codes)
    assert same(before, chain)
    moved = moved_words(chain, closer)
    assert set(moved) <= set(idle)
    assert len(moved) >= 3
    again = found(rows, closer)
    assert len(idle_of(again, closer)) <= 1
    # A row that uses one is better off by as much as it takes, and no row is worse off.
    ratio = errors(rows, closer, again) / errors(rows, chain, codes)
    assert float(ratio.max()) < 1.0 + 1e-4
    for j, word in set(moved).difference(idle_of(again, closer)):
        best = float(ratio[again[:, j] == word].min())
        assert best < _idle.CLOSER**2 + 1e-3
    # Moved codewords may have drawn a row away from another one.
    far = _idle.replaced(rows, closer, ONES, again)
    assert idle_of(found(rows, far), far) == []


def test_codewords_move_less_than_to_where_rows_are_served_worst(rows, chain):
    codes = found(rows, chain)
    closer, far = (move(rows, chain, ONES, codes) for move in (_idle.nudged, _idle.replaced))
    idle = idle_of(codes, chain)
    assert moved_words(chain, far) == idle
    ways = [sum(float((new[j][k] - chain[j][k]).norm()) for j, k in idle) for new in (closer, far)]
    assert ways[0] < 0.8 * ways[1]


def test_replaced_codewords_code_the_rows_served_worst_exactly(rows, chain):
    codes = found(rows, chain)
    far, idle = _idle.replaced(rows, chain, ONES, codes), idle_of(codes, chain)
    worst = errors(rows, chain, codes).argsort(descending=True)[: len(idle)]
    for (j, word), row in zip(idle, worst.tolist(), strict=True):
        target = codes[row].clone()
        target[j] = word
        width = chain[j].shape[1]
        left = rows[row] - quantize.decode(target[None], far, 4)[0]
        torch.testing.assert_close(left[:width], torch.zeros(width), atol=1e-5, rtol=0)


def test_nothing_moves_where_every_codeword_is_used(rows, chain):
    small = [book[:4] for book in chain]
    codes = torch.arange(400)[:, None].expand(-1, 3) % 4
    assert _idle.nudged(rows, small, ONES, codes) is small
    assert _idle.replaced(rows, small, ONES, codes) is small


def test_rows_give_up_no_codeword_that_only_they_use(rows):
    one_each = [rows[:8].clone(), torch.cat([rows[:8] * 0.1, rows[:1] + 9.0])]
    own = torch.arange(8)[:, None].expand(-1, 2)
    assert same(_idle.nudged(rows[:8], one_each, ONES[:8], own), one_each)
    shared = own.clone()
    shared[1] = shared[0]
    assert not same(_idle.nudged(rows[:8], one_each, ONES[:8], shared), one_each)


def test_the_last_row_of_a_codeword_stays_where_others_have_left_it():
    words, own = line(0.0, -100.0, 100.0), torch.zeros(2, 1, dtype=torch.long)
    # Both are nearer to an idle one. Had both left, no row would need the first codeword.
    rows = line(-60.0, 60.0)
    for n in (1, 2):
        new = _idle.nudged(rows.repeat(n, 1), [words], ONES[: 2 * n], own.repeat(n, 1))
        assert moved_words([words], new) == [(0, 0)]


def test_equal_rows_count_as_one_and_rows_without_weight_or_error_do_not(rows, chain):
    codes = found(rows, chain)
    once = _idle.nudged(rows, chain, ONES, codes)
    twice = _idle.nudged(rows.repeat(2, 1), chain, ONES.repeat(2), codes.repeat(2, 1))
    assert same(once, twice)
    assert same(_idle.nudged(rows, chain, 0.0 * ONES, codes), chain)
    exact = quantize.decode(codes, chain, 4)
    assert same(_idle.nudged(exact, chain, ONES, codes), chain)
    assert same(_idle.replaced(exact, chain, ONES, codes), chain)


def line(*places):
    """Rows or codewords of a single coordinate."""
    return torch.tensor(places)[:, None]


def test_the_row_to_use_an_idle_codeword_is_the_one_for_which_it_moves_least():
    words, rows = line(0.0, 10.0, 7.9, 5.0), line(0.0, 10.0, 7.9, 1.9, 8.0)
    own = torch.tensor([0, 1, 2, 0, 2])[:, None]
    # The last row is nearer, but leaves 0.1 by now, and the one before 1.9.
    (new,) = _idle.nudged(rows, [words], ONES[:5], own)
    assert moved_words([words], [new]) == [(0, 3)]
    torch.testing.assert_close(new[3], torch.tensor([5.0 - (3.1 - _idle.CLOSER * 1.9)]))


def test_an_idle_codeword_stays_that_is_near_enough_or_of_no_use_in_its_coordinates():
    near = line(0.0, 10.0, 5.0)
    codes = torch.tensor([0, 0, 1])[:, None]  # of a narrow search, which has missed the last one
    assert same(_idle.nudged(line(0.0, 4.9, 10.0), [near], ONES[:3], codes), [near])
    beyond = torch.tensor([[0.0, 0], [0, 3], [10, 0]])
    assert same(_idle.nudged(beyond, [near], ONES[:3], codes), [near])


def test_of_equal_rows_served_worst_all_count():
    words = line(0.0, 10.0, 50.0)
    rows, codes = line(*[1.0] * 5, 0.0, 12.0, 10.0), torch.tensor([0] * 6 + [1] * 2)[:, None]
    (new,) = _idle.replaced(rows, [words], ONES[:8], codes)
    assert float(new[2]) == 1.0  # five times 1 is more than 2 squared
    heavy = torch.tensor([0.2] * 5 + [1.0] * 3)
    (new,) = _idle.replaced(rows, [words], heavy, codes)
    assert float(new[2]) == 12.0


def test_of_many_rows_some_are_looked_at(rows, chain, monkeypatch):
    codes, third = found(rows, chain), torch.zeros(400)
    third[::3] = 1.0
    expected = _idle.nudged(rows, chain, third, codes)
    assert not same(expected, _idle.nudged(rows, chain, ONES, codes))
    monkeypatch.setattr(_idle, "MOST_ROWS", 150)
    assert same(_idle.nudged(rows, chain, ONES, codes), expected)


def test_narrow_codebooks_move_in_their_coordinates_only(rows, chain):
    closer = _idle.nudged(rows, chain, ONES, found(rows, chain))
    assert [book.shape for book in closer] == [book.shape for book in chain]
    assert not torch.equal(closer[0], chain[0])


@pytest.fixture
def outlier():
    """Rows coded exactly but for the last, which has a codeword to itself; another one is idle.

    Returns the rows, the chain and the codes.
    """
    chain = [
        torch.tensor([[0.0, 0], [10, 0], [10, 5.25]]),
        torch.tensor([[0.0, 0], [1, 0], [0, 5]]),
    ]
    codes = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(3, 1)
    rows = torch.cat([quantize.decode(codes, chain, 2), torch.tensor([[10.0, 5.3]])])
    return rows, chain, torch.cat([codes, torch.tensor([[2, 0]])])


def test_an_idle_codeword_takes_over_from_that_of_a_single_row(outlier):
    rows, chain, codes = outlier
    assert torch.equal(found(rows, chain), codes)
    assert idle_of(codes, chain) == [(1, 2)]
    new = _idle.nudged(rows, chain, ONES[: len(rows)], codes)
    again = found(rows, new)
    assert idle_of(again, new) == []
    # What many rows may need stays, and what only that row needed goes to where it is missed most.
    assert moved_words(chain, new) == [(0, 2)]
    torch.testing.assert_close(new[0][2], torch.tensor([10.0, 0.3]))
    assert again[-1].tolist() == [2, 2]
    twice = _idle.nudged(rows.repeat(2, 1), chain, ONES[: 2 * len(rows)], codes.repeat(2, 1))
    assert same(twice, new)


def test_codewords_of_a_single_row_stay_where_none_is_idle_or_no_other_is_shared(outlier):
    rows, chain, codes = outlier
    weight = ONES[: len(rows)]
    used = [chain[0], chain[1][:2]]
    assert _idle.nudged(rows, used, weight, codes) is used
    exact = quantize.decode(codes, chain, 2)
    assert same(_idle.nudged(exact, chain, weight, codes), chain)
    # Without weight the row does not count, and its codeword is not one that a row has to itself.
    assert same(_idle.nudged(rows, chain, weight * (torch.arange(len(rows)) < 12), codes), chain)
    alone, kept = torch.tensor([[0, 0], [1, 1]]), [chain[0][[0, 2]], chain[1]]
    few = quantize.decode(alone, kept, 2) + 0.1
    assert same(_idle.nudged(few, kept, ONES[:2], alone), kept)


def test_a_codeword_of_a_single_row_stays_where_a_used_one_would_replace_it(outlier):
    rows, (first, second), codes = outlier
    chain = [torch.cat([first, torch.tensor([[0.0, 2.1]])]), second]
    rows, codes = torch.cat([rows, torch.tensor([[0.0, 2.0]])]), torch.cat([codes, codes[:1]])
    codes[-1, 0] = 3
    assert torch.equal(found(rows, chain), codes)
    new = _idle.nudged(rows, chain, ONES[: len(rows)], codes)
    assert moved_words(chain, new) == [(0, 2)]


@pytest.mark.parametrize("spread", [False, True])
def test_a_resumed_search_finds_what_one_from_the_start_finds(spread):
    rows = normal(1500, 4, seed=1)
    chain, _ = quantize.fit_chain(
        rows, [8, 16, 8], [2, 4, 4], torch.Generator().manual_seed(0), beam=4, spread=spread
    )
    assert isinstance(chain, Spreading) == spread
    resumed, at = ResumedSearch(rows, chain, 4), torch.arange(1, 1500, 7)
    for j in (1, 2, 2, 0, 1):  # onwards, again, and back
        chain[j][0] += 0.1
        words = torch.arange(1, len(chain[j]), 2)
        kept = [words if k == j else torch.arange(len(book)) for k, book in enumerate(chain)]
        expected = quantize.codes_of(rows[at], selected(chain, kept), 4)
        assert torch.equal(resumed.codes(at, j, words), expected)
    assert resumed.codes(at[:0], 1, words).shape == (0, 3)
