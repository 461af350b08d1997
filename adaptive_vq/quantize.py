"""Residual codebooks of one category: stages, search, joint refit and update (torch only).

A *chain* is a list of codebooks, each a float32 tensor ``(K_j, width_j)``. A row of latents ``z``
is approximated by the sum of one codeword per codebook; a codebook narrower than the latents acts
on the leading coordinates only. The chain is trained stage by stage on what the earlier stages
leave (Juang and Gray, 1982, "Multiple stage vector quantization for speech coding"), searched with
a beam, and its codewords are then refitted together by least squares, as additive quantization does
(Babenko and Lempitsky, 2014, "Additive quantization for extreme vector compression").
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from adaptive_vq._memory import return_freed
from adaptive_vq._normal_equations import factorize, gram, solved, sums_of_codewords
from adaptive_vq._observed import conjugate_gradients, normal_product
from adaptive_vq._parallel import each
from adaptive_vq._spread import Chain, Spreading, factors, like, measured, widest
from adaptive_vq.beam import ChainSearch, in_tiles, tile_of
from adaptive_vq.candidates import Candidates
from adaptive_vq.kmeans import kmeans, nearest

Known = dict[Hashable, tuple[Tensor, Tensor]]
"""Codebooks, and the state of the generator after each, by all they depend on but rows and seed."""

MAX_CODEBOOK_BITS = 8
COMBINATIONS_PER_CANDIDATE = 32
"""So many combinations of codewords for every candidate whose residual a stage is trained on."""
MOST_RESIDUALS = 60_000
"""Candidates' residuals that a stage is trained on, unless there are more rows."""
_NEGLIGIBLE = 1e-9
_DECODED_TILE = 2048
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


@torch.no_grad()
def codes_of(rows: Tensor, chain: Chain, beam: int = 1, tile: int | None = None) -> Tensor:
    """Codes of rows by beam search.

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
    long Tensor of shape (n, len(chain))
    """
    if not chain or len(rows) == 0:
        return rows.new_zeros((len(rows), len(chain)), dtype=torch.long)
    found = ChainSearch(chain, rows.shape[1], beam, None if tile is None else len(rows))
    if tile is None:
        return in_tiles(found.codes, rows, tile=tile_of(beam))
    return torch.cat([found.codes(part) for part in rows.split(tile)])


def codes_in_fit(rows: Tensor, chain: Chain, beam: int) -> Tensor:
    """`codes_of` where the rows are always the same ones: few are not filled up to a tile."""
    return codes_of(rows, chain, beam, len(rows) if len(rows) < tile_of(beam) else None)


def decode(codes: Tensor, chain: Chain, width: int) -> Tensor:
    """Sum of the chosen codewords, times the spreads of those before them, shape (n, width)."""
    out = torch.zeros(len(codes), width, dtype=torch.float32, device=codes.device)

    def add_up(start: int) -> None:
        part = slice(start, start + _DECODED_TILE)
        factor = factors(codes[part], chain)
        for position, codebook in enumerate(chain):
            words = codebook[codes[part, position]]
            if factor is not None:
                words *= factor[:, position, None]
            out[part, : codebook.shape[1]] += words

    # In parts, since what is looked up for all rows would be as large as the result.
    starts = range(0, len(codes), _DECODED_TILE)
    if any(codebook.requires_grad for codebook in chain):  # that is on or off by thread
        list(map(add_up, starts))
    else:
        each(add_up, starts, split=True)
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
    quick_start: bool = False,
    spread: bool = False,
    known: Known | None = None,
) -> tuple[Chain, Tensor]:
    """Train one codebook per entry of `sizes` on what a beam through the earlier ones leaves.

    Training each stage on the residuals of all candidates teaches it what the search will really
    meet (Liu et al., 2015, "Improved residual vector quantization"). Where chains are fitted to the
    same rows time and again, codebooks that they start with alike are remembered in `known`.

    Returns
    -------
    chain : list of Tensors (K_j, w_j)
        Shorter than `sizes` where nothing is left to code.
    codes : long Tensor of shape (n, len(chain))
        Codes of the rows, which the search for candidates ends with.
    """
    weight = torch.ones(len(rows)) if weight is None else weight
    scale = float((rows * rows).sum())
    found, chain, spreads = Candidates(rows), list[Tensor](), list[Tensor]()
    combinations, known = 1, {} if known is None else known
    for size, width in zip(sizes, widths, strict=True):
        if chain:
            found.extend(chain[-1], beam)
        left = found.residuals(1, rows.shape[1])[:, 0]
        if spread and chain:
            limit = widest(len(sizes))
            spreads.append(_measure_spreads(found, left, weight, len(chain[-1]), limit))
        negligible = float(left.square_().sum()) <= _NEGLIGIBLE * scale
        del left  # as large as the rows
        if negligible:
            break
        # Of few combinations even the worst is a candidate, which no search would end with.
        good = max(1, min(found.count, combinations // COMBINATIONS_PER_CANDIDATE))
        most = max(MOST_RESIDUALS, len(rows))
        reach = min(width, rows.shape[1])

        so_far, alike = (tuple(part[: len(chain) + 1]) for part in (sizes, widths))
        factors_of = widest(len(sizes)) if spread and chain else None
        key = (so_far, alike, beam, n_iter, grown, quick_start, factors_of)
        if key not in known:
            flat, every = _candidates(found, good, reach, weight, most, generator, spread)
            codebook = kmeans(
                flat, size, generator, every, n_iter, grown=grown, quick_start=quick_start
            )
            known[key] = codebook, generator.get_state()
        codebook, state = known[key]
        generator.set_state(state)
        chain.append(codebook)
        combinations *= len(codebook)
    else:
        if chain:
            found.extend(chain[-1], 1)
            spreads.append(torch.ones(len(chain[-1])))  # nothing comes after
    return Spreading(chain, spreads) if spread and len(chain) > 1 else chain, found.best()


def _measure_spreads(
    found: Candidates, left: Tensor, weight: Tensor, size: int, limit: float
) -> Tensor:
    """Spreads of the last codebook by what the best candidates leave; the candidates get them."""
    codes = found.best()[:, -1]
    spread = measured(left, found.last_factors(), codes, weight, size, limit)
    found.spread_out(spread)
    return spread


def _candidates(
    found: Candidates,
    good: int,
    width: int,
    weight: Tensor,
    most: int,
    generator: torch.Generator,
    spread: bool,
) -> tuple[Tensor, Tensor]:
    """At most so many residuals of the `good` best candidates, and the weights of their rows.

    With `spread` in units of what the next codeword is multiplied by, which its error counts in.
    """
    n_all = len(weight) * good
    if n_all <= most:
        flat = found.residuals(good, width).view(n_all, width)
        every = weight.repeat_interleave(good)
        factor = found.factors(good).view(n_all) if spread else None
    else:
        drawn = torch.randperm(n_all, generator=generator)[:most]
        row = drawn // good
        flat, every = found.chosen(row, drawn - row * good, width), weight[row]
        factor = found.factors(good)[row, drawn - row * good] if spread else None
    if factor is None:
        return flat, every
    return flat.div_(factor[:, None]), every * factor.square()


def refit(
    target: Tensor,
    codes: Tensor,
    chain: Chain,
    ridge: float,
    weight: Tensor | None = None,
    missing: Tensor | None = None,
) -> Chain:
    """All codewords at once by ridge-regularized least squares, shrunk towards where they stand.

    Minimizes ``sum_i w_i ||target_i - sum_j C_j[code_ij]||^2 + ridge * sum ||C - C_start||^2``: a
    codeword with few rows hardly moves, one with many goes to the optimum given all the others.
    `ridge` is in rows. Spreads stay. Coordinates that a narrow codebook does not reach stay zero.
    Cells that are `missing` (n, width) count for nothing; `target` has there what the chain says.
    """
    right = right_sides(target, codes, chain, weight)
    return solve_path(right, codes, chain, [ridge], weight, missing)[0]


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
    factor = factors(codes, chain)
    return [
        sums_of_codewords(
            codes[:, active],
            [len(chain[j]) for j in active],
            left[:, low:high],
            None if factor is None else factor[:, active],
        )
        for low, high, active in _reaches(chain)
    ]


def solve_path(
    right: Sequence[Tensor],
    codes: Tensor,
    chain: Chain,
    ridges: Sequence[float],
    weight: Tensor | None = None,
    missing: Tensor | None = None,
) -> list[Chain]:
    """Chains for several ridges from the sums that `right_sides` gives.

    Where cells are missing every column has a system of its own. That of complete rows is near
    enough to all of them to solve them in a few steps.
    """
    weight = torch.ones(len(codes)) if weight is None else weight
    moved = [like(chain, (c.clone() for c in chain)) for _ in ridges]
    shares = factors(codes, chain)
    shares = None if shares is None else shares.double()
    for sums, (low, high, active) in zip(right, _reaches(chain), strict=True):
        chosen, sizes = codes[:, active], [len(chain[j]) for j in active]
        share = None if shares is None else shares[:, active]
        if sum(sizes) >= _MANY_CODEWORDS:
            return_freed()
        for ridge, tables in zip(ridges, moved, strict=True):
            # Counted again for every ridge and factored in place, in the order LAPACK wants: of
            # thousands of codewords a copy takes more than 100 MB, and counting next to no time.
            system = gram(chosen, sizes, weight, share).T
            system.diagonal().add_(ridge)
            factor = factorize(system)
            if missing is None:
                change = solved(factor, sums)
            else:
                cells = torch.where(missing[:, low:high], 0.0, weight.double()[:, None])
                product = normal_product(chosen, sizes, cells, share, ridge)
                change = conjugate_gradients(product, sums, partial(solved, factor))
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


def refine(target: Tensor, codes: Tensor, tables: Chain, n_sweeps: int) -> Tensor:
    """Coordinate descent on the joint error, one codebook at a time.

    The error ``||target - sum_j T_j[code_j]||^2`` never grows (iterated conditional modes; Besag,
    1986).
    """
    if len(target) == 0:
        return codes
    return in_tiles(
        lambda rows, chosen: _refine_tile(rows, chosen.clone(), tables, n_sweeps), target, codes
    )


def _refine_tile(rows: Tensor, codes: Tensor, tables: Chain, n_sweeps: int) -> Tensor:
    left = rows - decode(codes, tables, rows.shape[1])
    for _ in range(n_sweeps):
        for j, table in enumerate(tables):
            left += table[codes[:, j]]
            codes[:, j] = nearest(left, table)[1]
            left -= table[codes[:, j]]
    return codes
