"""Residual codebooks of one category: start, search, joint refit and update (torch only).

A *chain* is a list of codebooks, each a float32 tensor ``(K_j, width_j)``. A row of latents ``z``
is approximated by the sum of one codeword per codebook; a codebook narrower than the latents acts
on the leading coordinates only. The chain is trained stage by stage on what the earlier stages
leave (Juang and Gray, 1982, "Multiple stage vector quantization for speech coding"), searched with
a beam, and its codewords are then refitted together by least squares, as additive quantization does
(Babenko and Lempitsky, 2014, "Additive
quantization for extreme vector compression").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from adaptive_vq._memory import return_freed
from adaptive_vq.beam import TILE, Candidates, ChainSearch, in_tiles, padded, tile_of

Chain = list[Tensor]

MAX_CODEBOOK_BITS = 8
COMBINATIONS_PER_CANDIDATE = 32
"""So many combinations of codewords for every candidate whose residual a stage is trained on."""
MOST_RESIDUALS = 60_000
"""Candidates' residuals that a stage is trained on, unless there are more rows."""
_NEGLIGIBLE = 1e-9
_CONVERGED = 1e-3
_ROWS_PER_CODEWORD = 40
_LEAST_SAMPLE = 4096
_NEAREST_TILE = 1024
_DECODED_TILE = 4096
_GROWING_STEPS = 5
_GROWING_ITERATIONS = 2
_MANY_CODEWORDS = 2048  # a system of so many is among the largest that a fit holds


def split_bits(bits: int, max_bits: int = MAX_CODEBOOK_BITS) -> list[int]:
    """Split the bits of a level over codebooks: full ones first, the rest last.

    One large codebook and one small beat two of like size wherever the columns take few distinct
    values.

    Examples
    --------
    >>> from adaptive_vq.quantize import split_bits
    >>> split_bits(20)
    [8, 8, 4]
    >>> split_bits(0)
    []
    """
    full, rest = divmod(max(bits, 0), max_bits)
    return [max_bits] * full + [rest] * (rest > 0)


def most_bits(most_codewords: int) -> int:
    """Whole bits of the largest codebook with at most so many codewords, 0 if there is none.

    Examples
    --------
    >>> from adaptive_vq.quantize import most_bits
    >>> most_bits(12), most_bits(1000), most_bits(1)
    (3, 8, 0)
    """
    return max(0, min(MAX_CODEBOOK_BITS, most_codewords.bit_length() - 1))


def nearest(rows: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to, and index of, the nearest codeword of each row."""
    best, index = rows.new_empty(len(rows)), rows.new_empty(len(rows), dtype=torch.long)
    norms, transposed = (codebook * codebook).sum(1), codebook.T
    for start in range(0, len(rows), _NEAREST_TILE):
        part = slice(start, start + _NEAREST_TILE)
        scores = torch.addmm(norms, rows[part], transposed, alpha=-2.0)
        # numpy's argmin is vectorized along rows, torch's is not: a factor of six.
        index[part] = torch.from_numpy(scores.numpy().argmin(1))
        torch.gather(scores, 1, index[part, None], out=best[part, None])
        best[part] += (rows[part] * rows[part]).sum(1)
    return best.clamp_min_(0.0), index


def _seed_codewords(rows: Tensor, size: int, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Greedy k-means++; stops when every row is a codeword.

    Of several rows drawn in proportion to the squared distance to the codewords so far (Arthur and
    Vassilvitskii, 2007, "k-means++: the advantages of careful seeding") the one that lowers the
    error most is taken. Where columns take few values or have long tails, Lloyd's algorithm never
    makes up for a poor start.
    """
    norms, columns = (rows * rows).sum(1), rows.T.contiguous()
    total = float((weight * norms).sum())
    n_drawn, picks = 2 + int(math.log(size)), list[int]()
    drawn = torch.multinomial(weight.clamp_min(1e-30), 1, generator=generator)
    closest = torch.full_like(norms, math.inf)
    while True:
        level = norms + norms[drawn, None]
        distance = torch.addmm(level, rows[drawn], columns, alpha=-2.0)
        nearer = torch.minimum(distance, closest)
        best = int((nearer @ weight).argmin())
        # Cancellation leaves noise of the size of the norms; below it two rows count as equal.
        closest = nearer[best].masked_fill_(distance[best] <= 1e-6 * level[best], 0.0)
        picks.append(int(drawn[best]))
        mass = (closest * weight).cumsum(0, dtype=torch.float64)
        left = float(mass[-1])
        if len(picks) == size or left <= _NEGLIGIBLE * total:
            return rows[picks].clone()
        draws = torch.rand(n_drawn, generator=generator, dtype=torch.float64) * left
        drawn = torch.searchsorted(mass, draws, right=True).clamp_max_(len(rows) - 1)


def _grown_codewords(rows: Tensor, size: int, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Codewords placed in the leading principal directions of the rows, then in ever more of them.

    Codewords that start as rows take over what is peculiar to those rows in all directions; these
    see the directions that carry little last, as means of many rows (Liu et al., 2015, "Improved
    residual vector quantization"; faiss calls it progressive dimensions). Rows with long tails or
    few values need `_seed_codewords`.
    """
    mean = (weight @ rows) / weight.sum()
    centered = rows - mean
    _, vectors = torch.linalg.eigh(((centered * weight[:, None]).T @ centered).double())
    axes = vectors.flip(1).float()
    turned, width = centered @ axes, rows.shape[1]
    first, *further = _growing_widths(width)
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
) -> Tensor:
    """Lloyd's algorithm from a k-means++ start; never returns an unused or repeated codeword.

    Fewer than `size` codewords come back where the rows have fewer distinct values. `grown` starts
    from codewords that have been placed in ever more directions instead.
    """
    return _kmeans(rows, [size], generator, weight, n_iter, grown)[0]


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
) -> list[Tensor]:
    weight, most = torch.ones(len(rows)) if weight is None else weight, max(sizes)
    sample, sample_weight = _subsample(
        rows, weight, max(_LEAST_SAMPLE, _ROWS_PER_CODEWORD * most), generator
    )
    # Of codewords chosen one after the other the first ones are the start of a smaller codebook.
    find_start = _grown_codewords if grown else _seed_codewords
    start = find_start(sample, most, sample_weight, generator)
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
    path = []
    for b in range(1, bits + 1):
        distance, _ = nearest(rows, codebook)
        n_open = int((distance > 0).sum())
        if n_open:
            n_drawn = min(2**b - len(codebook), n_open)
            drawn = torch.multinomial(distance * weight, n_drawn, generator=generator)
            codebook = torch.cat([codebook, rows[drawn]])
            codebook, _ = _lloyd(rows, codebook, weight, n_iter if b == bits else n_iter // 2)
        path.append(codebook)
    return path


def _subsample(
    rows: Tensor, weight: Tensor, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    if len(rows) <= most:
        return rows, weight
    chosen = torch.randperm(len(rows), generator=generator)[:most]
    return rows[chosen], weight[chosen]


def _lloyd(rows: Tensor, codebook: Tensor, weight: Tensor, n_iter: int) -> tuple[Tensor, float]:
    """Lloyd's algorithm; the codebook and its weighted error."""
    error = math.inf
    for _ in range(n_iter if len(codebook) > 1 else 1):
        distance, index = nearest(rows, codebook)
        before, error = error, float((distance * weight).sum())
        if error >= before * (1.0 - _CONVERGED):
            break
        codebook, counts = _means(rows, index, weight, codebook)
        codebook = revive(codebook, counts, rows, distance * (weight > 0))
    return codebook, error


def _means(rows: Tensor, index: Tensor, weight: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    counts = torch.bincount(index, weights=weight, minlength=len(previous))
    sums = torch.zeros_like(previous)
    # In parts, since weighted rows are as large as the rows.
    parts = (t.split(_DECODED_TILE) for t in (rows, index, weight))
    for some, at, mass in zip(*parts, strict=True):
        sums.index_add_(0, at, some * mass[:, None])
    means = sums / counts.clamp_min(1e-30)[:, None]
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


@torch.no_grad()
def search(
    rows: Tensor, chain: Chain, beam: int = 1, tile: int | None = None
) -> tuple[Tensor, Tensor]:
    """Codes of rows by beam search, and what they leave.

    Parameters
    ----------
    rows : Tensor of shape (n, width)
    chain : list of Tensors (K_j, w_j)
    beam : int
        Candidates kept after each codebook; 1 is greedy search.
    tile : int, optional
        Rows searched together. Left to the search, the codes of a row depend on that row alone.

    Returns
    -------
    codes : long Tensor of shape (n, len(chain))
    residual : Tensor of shape (n, width)
    """
    if not chain or len(rows) == 0:
        return rows.new_zeros((len(rows), len(chain)), dtype=torch.long), rows.clone()
    found = ChainSearch(chain, rows.shape[1], beam)
    if tile is None:
        codes = in_tiles(found.codes, rows, tile_of(beam))
    else:
        codes = torch.cat([found.codes(part) for part in rows.split(tile)])
    return codes, rows - decode(codes, chain, rows.shape[1])


def decode(codes: Tensor, chain: Chain, width: int) -> Tensor:
    """Sum of the chosen codewords, shape (n, width)."""
    out = torch.zeros(len(codes), width, device=codes.device)
    # In parts, since what is looked up for all rows would be as large as the result.
    for start in range(0, len(codes), _DECODED_TILE):
        part = slice(start, start + _DECODED_TILE)
        for position, codebook in enumerate(chain):
            out[part, : codebook.shape[1]] += codebook[codes[part, position]]
    return out


def fit_chain(
    rows: Tensor,
    sizes: Sequence[int],
    widths: Sequence[int],
    generator: torch.Generator,
    *,
    weight: Tensor | None = None,
    beam: int = 5,
    n_iter: int = 10,
    grown: bool = False,
) -> Chain:
    """Train one codebook per entry of `sizes` on what a beam through the earlier ones leaves.

    Training each stage on the residuals of all candidates teaches it what the search will really
    meet (Liu et al., 2015, "Improved residual vector quantization").
    """
    weight = torch.ones(len(rows)) if weight is None else weight
    scale = float((rows * rows).sum())
    found, chain = Candidates(rows, beam), list[Tensor]()
    combinations = 1
    for size, width in zip(sizes, widths, strict=True):
        if chain:
            found.extend(chain[-1])
        if float(found.residuals(1, rows.shape[1]).square_().sum()) <= _NEGLIGIBLE * scale:
            break
        # Of few combinations even the worst is a candidate, which no search would end with.
        good = max(1, min(found.count, combinations // COMBINATIONS_PER_CANDIDATE))
        most = max(MOST_RESIDUALS, len(rows))
        reach = min(width, rows.shape[1])
        flat, every = _candidates(found, good, reach, weight, most, generator)
        codebook = kmeans(flat, size, generator, every, n_iter, grown=grown)
        chain.append(codebook)
        combinations *= len(codebook)
    return chain


def _candidates(
    found: Candidates,
    good: int,
    width: int,
    weight: Tensor,
    most: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """At most so many residuals of the `good` best candidates, and the weights of their rows."""
    n_all = len(weight) * good
    if n_all <= most:
        flat = found.residuals(good, width).view(n_all, width)
        return flat, weight.repeat_interleave(good)
    drawn = torch.randperm(n_all, generator=generator)[:most]
    row = drawn // good
    return found.chosen(row, drawn - row * good, width), weight[row]


def _gram(codes: Tensor, sizes: Sequence[int], weight: Tensor) -> Tensor:
    """Weighted co-occurrence counts of all codewords, float64 (sum K, sum K)."""
    offsets = [0, *torch.tensor(list(sizes)).cumsum(0).tolist()]
    gram = torch.zeros(offsets[-1], offsets[-1], dtype=torch.float64)
    weight = weight.double()
    for a, size_a in enumerate(sizes):
        for b in range(a, len(sizes)):
            pair = codes[:, a] * sizes[b] + codes[:, b]
            block = torch.bincount(pair, weights=weight, minlength=size_a * sizes[b])
            block = block.view(size_a, sizes[b])
            gram[offsets[a] : offsets[a + 1], offsets[b] : offsets[b + 1]] = block
            gram[offsets[b] : offsets[b + 1], offsets[a] : offsets[a + 1]] = block.T
    return gram


def _right_side(codes: Tensor, sizes: Sequence[int], target: Tensor) -> Tensor:
    parts = [
        torch.zeros(size, target.shape[1], dtype=torch.float64).index_add_(0, codes[:, j], target)
        for j, size in enumerate(sizes)
    ]
    return torch.cat(parts)


def refit(
    target: Tensor, codes: Tensor, chain: Chain, ridge: float, weight: Tensor | None = None
) -> Chain:
    """All codewords at once by ridge-regularized least squares, shrunk towards where they stand.

    Minimizes ``sum_i w_i ||target_i - sum_j C_j[code_ij]||^2 + ridge * sum ||C - C_start||^2``: a
    codeword with few rows hardly moves, one with many goes to the optimum given all the others.
    `ridge` is in rows. Coordinates that a narrow codebook does not reach stay zero.
    """
    right = right_sides(target, codes, chain, weight)
    return solve_path(right, codes, chain, [ridge], weight)[0]


def right_sides(
    target: Tensor, codes: Tensor, chain: Chain, weight: Tensor | None = None
) -> list[Tensor]:
    """Sums of what a chain leaves of each codeword's rows: all that `solve_path` needs of rows.

    Returns
    -------
    list of float64 Tensors (sum K, columns)
        For each range of coordinates that the same codebooks reach, those codebooks' codewords.
    """
    left = decode(codes, chain, target.shape[1]).neg_().add_(target).double()
    if weight is not None:
        left *= weight.double()[:, None]
    return [
        _right_side(codes[:, active], [len(chain[j]) for j in active], left[:, low:high])
        for low, high, active in _reaches(chain)
    ]


def solve_path(
    right: Sequence[Tensor],
    codes: Tensor,
    chain: Chain,
    ridges: Sequence[float],
    weight: Tensor | None = None,
) -> list[Chain]:
    """Chains for several ridges from the sums that `right_sides` gives."""
    weight = torch.ones(len(codes)) if weight is None else weight
    moved = [[c.clone() for c in chain] for _ in ridges]
    for sums, (low, high, active) in zip(right, _reaches(chain), strict=True):
        chosen, sizes = codes[:, active], [len(chain[j]) for j in active]
        if sum(sizes) >= _MANY_CODEWORDS:
            return_freed()
        for ridge, tables in zip(ridges, moved, strict=True):
            # Counted again for every ridge and factored in place, in the order LAPACK wants: of
            # thousands of codewords a copy takes more than 100 MB, and counting next to no time.
            system = _gram(chosen, sizes, weight).T
            system.diagonal().add_(ridge)
            factor = torch.linalg.cholesky(system, out=system)
            # What cholesky_solve does, which would copy the factor first.
            half = torch.linalg.solve_triangular(factor, sums, upper=False)
            change = torch.linalg.solve_triangular(factor.mT, half, upper=True)
            del system, factor  # before the next one is counted
            for j, delta in zip(active, change.float().split(sizes), strict=True):
                tables[j][:, low:high] += delta
    return moved


def _reaches(chain: Chain) -> list[tuple[int, int, list[int]]]:
    """Ranges of coordinates, and the codebooks that reach all of each."""
    edges = sorted({0, *(c.shape[1] for c in chain)})
    return [
        (low, high, [j for j, c in enumerate(chain) if c.shape[1] >= high])
        for low, high in pairwise(edges)
    ]


def refine(target: Tensor, codes: Tensor, tables: Chain, n_sweeps: int, tile: int = TILE) -> Tensor:
    """Coordinate descent on the joint error, one codebook at a time.

    The error ``||target - sum_j T_j[code_j]||^2`` never grows (iterated conditional modes; Besag,
    1986).
    """
    done = []
    for start in range(0, len(target), tile):
        rows = padded(target[start : start + tile], tile)
        chosen = padded(codes[start : start + tile], tile).clone()
        done.append(_refine_tile(rows, chosen, tables, n_sweeps)[: len(target) - start])
    return torch.cat(done) if done else codes


def _refine_tile(rows: Tensor, codes: Tensor, tables: Chain, n_sweeps: int) -> Tensor:
    left = rows - decode(codes, tables, rows.shape[1])
    for _ in range(n_sweeps):
        for j, table in enumerate(tables):
            left += table[codes[:, j]]
            codes[:, j] = nearest(left, table)[1]
            left -= table[codes[:, j]]
    return codes
