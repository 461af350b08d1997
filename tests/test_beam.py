"""Beam search: ranking children, tiles, threads."""

import threading

import pytest
import torch

from adaptive_vq import beam, quantize


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("b", "size"), [(1, 1), (1, 64), (1, 1500), (4, 250), (12, 3), (16, 256), (60, 32), (7, 199)]
)
@pytest.mark.parametrize("k", [1, 2, 4, 16, 60])
def test_smallest_equals_topk(b, size, k):
    k = min(k, b * size)
    scores = normal(30, b, size, seed=b) - 1.0
    place = beam.smallest(scores, k)
    expected = torch.topk(scores.view(30, -1), k, largest=False).values
    assert torch.equal(torch.gather(scores.view(30, -1), 1, place), expected)


@pytest.mark.parametrize("k", [1, 16])
def test_smallest_of_numbers_that_are_none(k):
    scores = torch.full((3, 16, 256), torch.nan)
    place = beam.smallest(scores, k)
    assert ((place >= 0) & (place < 16 * 256)).all()


def test_smallest_of_equal_children_names_each_once():
    place = beam.smallest(torch.zeros(5, 16, 256), 16)
    assert all(len(row.unique()) == 16 for row in place)


def test_extend_keeps_the_best_children():
    residual, codebook = normal(20, 3, 5), normal(8, 4, seed=1)
    codes = torch.arange(3).expand(20, 3)[:, :, None]
    kept, history = beam.extend(residual, codes, codebook, 6)
    children = residual[:, :, None, :].repeat(1, 1, 8, 1)
    children[..., :4] -= codebook
    errors = (children.double() ** 2).sum(3).view(20, 24)
    best = torch.topk(errors, 6, largest=False)
    torch.testing.assert_close((kept.double() ** 2).sum(2), best.values)
    assert torch.equal(history[:, :, 0] * 8 + history[:, :, 1], best.indices)


@pytest.mark.parametrize("n", [1, 255, 256, 700])
def test_codes_depend_on_neither_cut_nor_threads(n, threads):
    rows = normal(700, 6)
    chain = [normal(32, 3, seed=1), normal(64, 6, seed=2), 0.5 * normal(17, 6, seed=3)]
    threads(1)
    every, _ = quantize.search(rows, chain, 8)
    for n_threads in (1, 3):
        threads(n_threads)
        assert torch.equal(quantize.search(rows[:n], chain, 8)[0], every[:n])
        assert torch.get_num_threads() == n_threads


def test_tiles_hand_on_what_goes_wrong(threads):
    def fail(tile):
        raise ZeroDivisionError

    for n_threads in (1, 2):
        threads(n_threads)
        with pytest.raises(ZeroDivisionError):
            beam.in_tiles(fail, normal(600, 2))
        assert torch.get_num_threads() == n_threads


def test_search_returns_what_is_left():
    rows, chain = normal(300, 4), [normal(8, 2), normal(8, 4)]
    codes, left = quantize.search(rows, chain, 4)
    torch.testing.assert_close(left, rows - quantize.decode(codes, chain, 4))
    assert codes.shape == (300, 2)


def test_tiles_have_one_size_whatever_the_table():
    for n in (1, 255, 256, 257, 700):
        shapes = []
        out = beam.in_tiles(
            lambda tile, shapes=shapes: shapes.append(tile.shape) or tile, normal(n, 2)
        )
        assert set(shapes) == {(beam.TILE, 2)}
        assert torch.equal(out, normal(n, 2))


def test_tiles_are_shared_by_as_many_threads_of_one_thread_each(threads):
    rows = normal(4 * beam.TILE, 2)
    threads(1)
    seen = []
    beam.in_tiles(lambda tile: seen.append(threading.get_ident()) or tile, rows)
    assert set(seen) == {threading.get_ident()}

    threads(2)
    both = threading.Barrier(2, timeout=60)  # breaks unless two tiles are worked on at a time
    seen = []

    def work(tile):
        both.wait()
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return tile

    assert torch.equal(beam.in_tiles(work, rows), rows)
    assert len({thread for thread, _ in seen}) == 2
    assert {inside for _, inside in seen} == {1}


def test_no_codebooks_give_no_codes():
    codes = beam.ChainSearch([], 4, 8).codes(normal(5, 4))
    assert codes.shape == (5, 0)
    assert codes.dtype == torch.long
