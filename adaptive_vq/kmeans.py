"""k-means: starts from rows or grown in ever more directions, Lloyd's algorithm (torch, numpy)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adaptive_vq._argmin import argmin
from adaptive_vq._axes import principal_directions
from adaptive_vq._parallel import each, n_workers
from adaptive_vq._wide import wide

__all__ = ["kmeans", "kmeans_path", "kmeans_sizes", "nearest", "revive", "sums", "sums_by_product"]

_NEGLIGIBLE = 1e-9
_CANCELLED = 1e-6
_CONVERGED = 1e-3
_ROWS_PER_CODEWORD = 40
_LEAST_SAMPLE = 4096
_SEEDING_ROWS_PER_CODEWORD = 16
_SCORES = 2**18  # per tile: more leave the processor's cache
_NEAREST_TILE = 4096
_SHARED_WORK = 2**23
"""Rows times codewords times their width from which several threads share a search."""
_SHARED_PRODUCT = 2**26
"""The same of a product of rows drawn with all rows: to wake a thread takes as long as a smaller
one."""
_SHARED_TILES = 4
"""At least; no matter how many threads, since what is cut otherwise adds up otherwise."""
_SUMMED_TILE = 4096
_DRAWN, _MOST_PICKS, _CODEWORDS_PER_PICK = 3, 4, 8
_GROWING_STEPS = 5
_GROWING_ITERATIONS = 2


def nearest(rows: Tensor, codebook: Tensor, norms: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Squared distance to, and index of, the nearest codeword of each row.

    `norms` are the rows' squared norms where they are known.
    """
    best, index = rows.new_empty(len(rows)), rows.new_empty(len(rows), dtype=torch.long)
    # One product with rows and 1 side by side is the distance less the norm, with nothing to add.
    matrix = torch.cat([-2.0 * codebook.T, (codebook * codebook).sum(1)[None]])
    on_cpu, tile = rows.device.type == "cpu", max(1, len(rows))
    if on_cpu:
        tile = max(1, min(_NEAREST_TILE, _SCORES // max(1, len(codebook))))
    shared = on_cpu and rows.numel() * len(codebook) >= _SHARED_WORK
    if shared:
        tile = min(tile, -(-len(rows) // _SHARED_TILES))
    size = min(tile, len(rows))

    def work(rows: Tensor, best: Tensor, index: Tensor) -> None:
        beside, scores = rows.new_ones(size, len(matrix)), rows.new_empty(size, len(codebook))
        parts = (_tiles(t, tile) for t in (rows, best, index))
        for part, least, place in zip(*parts, strict=True):
            beside[: len(part), :-1] = part
            found = torch.mm(beside[: len(part)], matrix, out=scores[: len(part)])
            place.copy_(argmin(found))
            torch.gather(found, 1, place[:, None], out=least[:, None])

    n_tiles = -(-len(rows) // tile)
    share = -(-n_tiles // (n_workers() if shared else 1)) * tile
    each(work, *(_tiles(t, max(1, share)) for t in (rows, best, index)), split=True)
    best += _squared_norms(rows) if norms is None else norms
    return best.clamp_min_(0.0), index


def _tiles(table: Tensor, size: int) -> Sequence[Tensor]:
    """Tiles of so many rows; of few rows torch takes longer to cut them than to work on them."""
    return [table] if len(table) <= size else table.split(size)


def _squared_norms(rows: Tensor) -> Tensor:
    """Squared norms of rows, in parts, since squares are as large as the rows."""
    return torch.cat([part.square().sum(1) for part in _tiles(rows, _SUMMED_TILE)])


def _seed_codewords(rows: Tensor, size: int, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Greedy k-means++; stops when every row is a codeword.

    Of several rows drawn in proportion to the squared distance to the codewords so far (Arthur and
    Vassilvitskii, 2007, "k-means++: the advantages of careful seeding") the one that lowers the
    error most is taken. Where columns take few values or have long tails, Lloyd's algorithm never
    makes up for a poor start. Once there are a number of codewords, rows drawn serve for several of
    them, each the best of those left given the ones before it: distances are what takes time.
    """
    norms = _squared_norms(rows)
    # Cancellation leaves noise of the size of the norms. They are shortened by what it may be, so
    # that rows closer than that count as equal: their distance comes out below zero.
    short, one = (1.0 - _CANCELLED) * norms, torch.ones_like(norms)
    # One product with rows, 1 and norms side by side is the distance, with nothing to add to it.
    beside = torch.cat([rows, one[:, None], short[:, None]], 1)
    every = torch.cat([-2.0 * rows.T, short[None], one[None]])
    negligible = _NEGLIGIBLE * float((weight * norms).sum())
    first = torch.multinomial(weight.clamp_min(1e-30), 1, generator=generator)
    picks, closest = [int(first)], torch.mm(beside[first], every)[0].clamp_min_(0.0)
    n_drawn = _DRAWN * (2 + int(math.log(size)))
    mass = torch.empty(len(rows), dtype=torch.float64)
    nearer, error = rows.new_empty(n_drawn, len(rows)), rows.new_empty(n_drawn)
    draws = torch.empty(n_drawn, dtype=torch.float64)
    n_parts = _SHARED_TILES if n_drawn * every.numel() >= _SHARED_PRODUCT else 1
    parts = [table.chunk(n_parts, 1) for table in (every, nearer)]
    # The same memory for numpy, which is done with so few numbers before torch has started.
    errors, distances, masses, least = (t.numpy() for t in (error, nearer, mass, closest))
    while len(picks) < size:
        torch.cumsum(closest * weight, 0, dtype=torch.float64, out=mass)
        left = float(masses[-1])
        if left <= negligible:
            break
        torch.rand(n_drawn, generator=generator, dtype=torch.float64, out=draws)
        found = masses.searchsorted(draws.numpy() * left, side="right")
        drawn = np.minimum(found, len(rows) - 1)
        each(_product, [beside[torch.from_numpy(drawn)]] * n_parts, *parts, split=True)
        in_turn = min(_MOST_PICKS, 1 + len(picks) // _CODEWORDS_PER_PICK)
        for turn in range(min(in_turn, size - len(picks))):
            torch.minimum(nearer, closest, out=nearer)
            torch.mv(nearer, weight, out=error)
            if turn:  # a row may have been drawn twice
                errors[least[drawn] <= 0.0] = math.inf
            best = int(errors.argmin())
            if errors[best] == math.inf:
                break
            np.maximum(distances[best], 0.0, out=least)
            picks.append(int(drawn[best]))
    return rows[picks].clone()


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    torch.mm(left, right, out=out)


def _grown_codewords(rows: Tensor, size: int, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Codewords placed in the leading principal directions of the rows, then in ever more of them.

    Codewords that start as rows take over what is peculiar to those rows in all directions; these
    see the directions that carry little last, as means of many rows (Liu et al., 2015, "Improved
    residual vector quantization"; faiss calls it progressive dimensions). Rows with long tails or
    few values need `_seed_codewords`.
    """
    mean = (weight @ rows) / weight.sum()
    centered = rows - mean
    axes = _axes(centered, weight)
    turned = centered @ axes
    first, *further = _growing_widths(turned.shape[1])
    codewords = _seed_codewords(turned[:, :first].contiguous(), size, weight, generator)
    if len(codewords) < size:  # rows differ in further directions only
        return _seed_codewords(rows, size, weight, generator)
    seen = turned[:, :first].contiguous()
    codewords, _ = _lloyd(seen, codewords, weight, _GROWING_ITERATIONS)
    for reach in further:
        _, index = nearest(seen, codewords)
        seen = turned[:, :reach].contiguous()
        wider = torch.cat([codewords, codewords.new_zeros(size, reach - codewords.shape[1])], 1)
        codewords, _ = _means(seen, index, weight, wider)
        codewords, _ = _lloyd(seen, codewords, weight, _GROWING_ITERATIONS)
    return codewords @ axes.T + mean


def _axes(centered: Tensor, weight: Tensor) -> Tensor:
    """Principal directions of rows, as many as there are rows where these are few."""
    if wide(centered):
        double = centered.double() * weight.double().sqrt()[:, None]
        return principal_directions(double, len(double)).float()
    _, vectors = torch.linalg.eigh(((centered * weight[:, None]).T @ centered).double())
    return vectors.flip(1).float()


def _growing_widths(width: int) -> list[int]:
    """Numbers of directions, each a like multiple of the one before; the last is all of them."""
    powers = (width ** (step / _GROWING_STEPS) for step in range(1, _GROWING_STEPS + 1))
    return sorted({min(width, max(2, round(power))) for power in powers})


def kmeans(
    rows: Tensor,
    size: int,
    generator: torch.Generator,
    weight: Tensor | None = None,
    n_iter: int = 10,
    *,
    grown: bool = False,
    quick_start: bool = False,
) -> Tensor:
    """Lloyd's algorithm from a k-means++ start; never returns an unused or repeated codeword.

    Fewer than `size` codewords come back where the rows have fewer distinct values. `grown` starts
    from codewords that have been placed in ever more directions instead. A `quick_start` looks at
    some of many rows only; it misses outliers.
    """
    return _kmeans(rows, [size], generator, weight, n_iter, grown, quick_start)[0]


def kmeans_sizes(
    rows: Tensor,
    bits: int,
    generator: torch.Generator,
    weight: Tensor | None = None,
    n_iter: int = 10,
) -> list[Tensor]:
    """`kmeans` for codebooks of 1, 2, ... `bits` bits, which share one k-means++ start."""
    return _kmeans(rows, [2**b for b in range(1, bits + 1)], generator, weight, n_iter)


def _kmeans(
    rows: Tensor,
    sizes: Sequence[int],
    generator: torch.Generator,
    weight: Tensor | None,
    n_iter: int,
    grown: bool = False,
    quick_start: bool = False,
) -> list[Tensor]:
    weight, most = torch.ones(len(rows)) if weight is None else weight, max(sizes)
    sample, sample_weight = _subsample(
        rows, weight, max(_LEAST_SAMPLE, _ROWS_PER_CODEWORD * most), generator
    )
    # Of codewords chosen one after the other the first ones are the start of a smaller codebook.
    if grown:
        start = _grown_codewords(sample, most, sample_weight, generator)
    else:
        seen = _SEEDING_ROWS_PER_CODEWORD * most if quick_start else len(sample)
        some, some_weight = _subsample(sample, sample_weight, seen, generator)
        start = _seed_codewords(some, most, some_weight, generator)
    codebooks = []
    for size in sizes:
        codebook, _ = _lloyd(sample, start[:size], sample_weight, n_iter)
        distance, index = nearest(rows, codebook)
        codebook, counts = _means(rows, index, weight, codebook)
        codebook = revive(codebook, counts, rows, distance * (weight > 0))
        used = _used(codebook, sample, sample_weight)
        if len(sample) < len(rows) and not bool(used.all()):  # it may be by other rows
            used = _used(codebook, rows, weight)
        codebooks.append(codebook[used])
    return codebooks


def _used(codebook: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """Whether a row of some weight is nearest to each codeword."""
    return torch.bincount(nearest(rows, codebook)[1], weight, len(codebook)) > 0


def kmeans_path(
    rows: Tensor,
    bits: int,
    generator: torch.Generator,
    weight: Tensor | None = None,
    n_iter: int = 4,
) -> list[Tensor]:
    """Codebooks of 1, 2, ... `bits` bits, each grown from the one before.

    Half of a codebook are rows drawn in proportion to their squared distance to the smaller
    codebook; the last one gets all `n_iter` iterations of Lloyd's algorithm, the others half.
    All sizes together cost about as much as the last one alone, for an error a few percent higher
    than that of separate runs of k-means.

    Returns
    -------
    list of Tensors
        ``2 ** b`` codewords at position ``b - 1``, fewer where the rows have fewer distinct values.
    """
    weight = torch.ones(len(rows)) if weight is None else weight
    codebook = (rows * (weight / weight.mean())[:, None]).mean(0, keepdim=True)
    path, norms = [], _squared_norms(rows)
    for b in range(1, bits + 1):
        distance, _ = nearest(rows, codebook, norms)
        mass = distance * weight  # of next to no weight it is 0 at a distance
        n_open = int((mass > 0).sum())
        if n_open:
            n_drawn = min(2**b - len(codebook), n_open)
            drawn = torch.multinomial(mass, n_drawn, generator=generator)
            codebook = torch.cat([codebook, rows[drawn]])
            iterations = n_iter if b == bits else n_iter // 2
            codebook, _ = _lloyd(rows, codebook, weight, iterations, norms)
        path.append(codebook)
    return path


def _subsample(
    rows: Tensor, weight: Tensor, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    if len(rows) <= most:
        return rows, weight
    chosen = torch.randperm(len(rows), generator=generator)[:most]
    return rows[chosen], weight[chosen]


def _lloyd(
    rows: Tensor, codebook: Tensor, weight: Tensor, n_iter: int, norms: Tensor | None = None
) -> tuple[Tensor, float]:
    """Lloyd's algorithm; the codebook and its weighted error."""
    error = math.inf
    norms = _squared_norms(rows) if norms is None else norms
    for _ in range(n_iter if len(codebook) > 1 else 1):
        distance, index = nearest(rows, codebook, norms)
        before, error = error, float((distance * weight).sum())
        if error >= before * (1.0 - _CONVERGED):
            break
        codebook, counts = _means(rows, index, weight, codebook)
        codebook = revive(codebook, counts, rows, distance * (weight > 0))
    return codebook, error


def sums(rows: Tensor, index: Tensor, weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Weight (size,), and weighted sum (size, width), of the rows of every index."""
    total = rows.new_zeros(size, rows.shape[1])
    # In parts, since weighted rows are as large as the rows.
    parts = (_tiles(t, _SUMMED_TILE) for t in (rows, index, weight))
    for some, at, mass in zip(*parts, strict=True):
        total.index_add_(0, at, some * mass[:, None])
    return torch.bincount(index, weight, size), total


def sums_by_product(
    rows: Tensor, codes: Tensor, weight: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """`sums` on an accelerator, in the same order every time and without waiting.

    There index_add_ adds up in any order, and bincount waits for all that is under way.
    """
    chosen = torch.arange(size, device=codes.device)[:, None] == codes
    shares = chosen * weight
    return shares.sum(1), shares @ rows


def _means(rows: Tensor, index: Tensor, weight: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    counts, total = sums(rows, index, weight, len(previous))
    means = total / counts.clamp_min(1e-30)[:, None]
    return torch.where(counts[:, None] > 0, means, previous), counts


def revive(codebook: Tensor, counts: Tensor, rows: Tensor, distance: Tensor) -> Tensor:
    """Move unused codewords onto the rows that are served worst, if any row has an error."""
    dead = torch.nonzero(counts <= 0).flatten()[: len(rows)]
    if len(dead) == 0:
        return codebook
    worst = torch.topk(distance, len(dead))
    alive = worst.values > 0
    codebook[dead[alive]] = rows[worst.indices[alive]]
    return codebook
