"""Beam search: ranking children, tiles, threads."""

import threading

import pytest
import torch

from adaptive_vq import beam, quantize
from adaptive_vq.candidates import Candidates

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


@pytest.mark.parametrize(
    ("b", "size"), [(1, 1), (1, 64), (1, 1500), (4, 250), (12, 3), (16, 256), (60, 32), (7, 199)]
)
@pytest.mark.parametrize("k", [1, 2, 4, 16, 60, 150])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_smallest_equals_topk(b, size, k, device):
    k = min(k, b * size)
    scores = (normal(30, b, size, seed=b) - 1.0).to(device)
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


@pytest.mark.parametrize("n", [1, 1023, 1024, 2500])
def test_codes_depend_on_neither_cut_nor_threads(n, threads):
    rows = normal(2500, 6)
    chain = [normal(32, 3, seed=1), normal(64, 6, seed=2), 0.5 * normal(17, 6, seed=3)]
    threads(1)
    every = quantize.codes_of(rows, chain, 8)
    for n_threads in (1, 3):
        threads(n_threads)
        assert torch.equal(quantize.codes_of(rows[:n], chain, 8), every[:n])
        assert torch.get_num_threads() == n_threads


def test_tiles_hand_on_what_goes_wrong(threads):
    def fail(tile):
        raise ZeroDivisionError

    for n_threads in (1, 2):
        threads(n_threads)
        with pytest.raises(ZeroDivisionError):
            beam.in_tiles(fail, normal(600, 2))
        assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("tile", [beam.TILE, 1024])
def test_tiles_have_one_size_whatever_the_table(tile):
    for n in (1, tile - 1, tile, tile + 1, 2 * tile + 200):
        shapes = []
        out = beam.in_tiles(
            lambda part, shapes=shapes: shapes.append(part.shape) or part, normal(n, 2), tile=tile
        )
        assert set(shapes) == {(tile, 2)}
        assert torch.equal(out, normal(n, 2))


def test_tiles_are_larger_where_the_beam_is_narrow():
    assert [beam.tile_of(b) for b in (1, 8, 16, 32, 500)] == [1024, 1024, 512, 256, 256]


@pytest.mark.parametrize(("beam_width", "width", "kept"), [(6, 4, 6), (4, 2, 4), (16, 4, 16)])
def test_candidates_are_the_best_children_of_those_before(beam_width, width, kept):
    rows, first, second = normal(1500, 4), normal(8, 4, seed=1), normal(8, width, seed=2)
    found = Candidates(rows)
    assert torch.equal(found.residuals(1, 4)[:, 0], rows)
    before = rows[:, None]
    for codebook in (first, second):
        found.extend(codebook, beam_width)
        words = torch.nn.functional.pad(codebook, (0, 4 - codebook.shape[1]))
        children = (before[:, :, None] - words).reshape(1500, -1, 4)
        most = min(beam_width, children.shape[1])
        best = torch.topk(children.double().square().sum(2), most, largest=False).indices
        before = children.gather(1, best[:, :, None].expand(-1, -1, 4))
        assert found.count == most
        assert torch.equal(found.residuals(most, 4), before)
    assert found.count == kept
    row, place = torch.tensor([1499, 0, 7]), torch.tensor([0, kept - 1, 1])
    assert torch.equal(found.chosen(row, place, 3), before[row, place, :3])


def test_candidates_know_codewords_beyond_a_byte():
    rows, chain = normal(1500, 4), [normal(300, 4, seed=1), normal(8, 4, seed=2)]
    found = Candidates(rows)
    for codebook in chain:
        left = found.residuals(1, 4)[:, 0]
        found.extend(codebook, 4)
    codes = quantize.codes_of(rows, chain, 4)
    expected = rows - quantize.decode(codes, chain, 4)
    assert torch.equal(found.best(), codes)
    assert int(codes[:, 0].max()) > 255
    torch.testing.assert_close(found.residuals(1, 4)[:, 0], expected)
    assert not torch.equal(left, rows)


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
