"""Beam search through a chain of residual codebooks (torch; on a processor numpy sorts).

A candidate of a row is a *state*: ``[1, ||r||^2, r]`` with the residual ``r`` that its codewords
leave. A codebook is laid out so that one matrix product of states gives the squared error of every
child, ``||r||^2 + ||c||^2 - 2 <r, c>``, with nothing to add afterwards. Of the children the best
are kept; at the last codebook only the one best is looked for.

Where codewords have spreads (`_spread`), what later ones add is multiplied by a factor f, and a
state is ``[f^2, ||r||^2, f r]``: the same product gives ``||r - f c||^2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq._argmin import argmin
from adaptive_vq._greedy_search import GreedySearch
from adaptive_vq._parallel import each
from adaptive_vq._product_search import ProductSearch, pays
from adaptive_vq._spread import spreads_of

TILE = 256
"""Rows worked on together. Fixed, so that the arithmetic of a row never depends on how the table is
cut."""

LARGEST_TILE = 1024
_CANDIDATES = TILE * 32  # per tile: at a wide beam the scores of more leave the processor's cache

DEVICE_TILE = 16_384
"""The same on an accelerator, which wants more rows at a time."""

HEAD = 2
"""Columns of a state before its residual."""
_SORTED = 256
"""Children per row up to which all are ranked at once: up to so many 64-bit numbers numpy sorts
without branches, and more take several times as long each."""


def tile_of(beam: int) -> int:
    """Rows that a search with this beam works on together: more where each has few candidates."""
    return max(TILE, min(LARGEST_TILE, _CANDIDATES // beam))


def in_tiles(function: Callable[..., Tensor], *tables: Tensor, tile: int = TILE) -> Tensor:
    """Apply a function to tiles of fixed size, the last one padded, and join what it returns.

    As many tiles are worked on at a time as there are threads to share them out to; inside a tile
    there is one, so that a row's result depends neither on the other rows nor on the number of
    threads.

    Parameters
    ----------
    function : callable
        From a tile (tile, width) of each table to a result with one entry per row. Gradients are
        off.
    *tables : Tensors of shape (n, width)
        At least one row.
    tile : int, default=256
        Rows of a tile on a processor.

    Returns
    -------
    Tensor of shape (n, ...)
    """
    on_cpu = tables[0].device.type == "cpu"
    size = tile if on_cpu else DEVICE_TILE
    tiles = [table.split(size) for table in tables]
    tiles = [(*whole, padded(last, size)) for *whole, last in tiles]

    def work(*parts: Tensor) -> Tensor:
        with torch.no_grad():  # the switch is one per thread
            return function(*parts)

    done = each(work, *tiles) if on_cpu else list(map(work, *tiles))
    return torch.cat(done)[: len(tables[0])]


def padded(rows: Tensor, size: int) -> Tensor:
    """Rows filled up with zeros to `size` rows."""
    if len(rows) == size:
        return rows
    return torch.cat([rows, rows.new_zeros(size - len(rows), rows.shape[1])])


def smallest(scores: Tensor, k: int) -> Tensor:
    """Exact places of the k smallest children of every row, best first.

    Where there are many, groups of children are ranked by their minimum first: the k smallest lie
    in the k groups with the smallest minima.

    Parameters
    ----------
    scores : Tensor of shape (n, b, K)
        Score of every codeword as child of every candidate.
    k : int
        At most b * K.

    Returns
    -------
    long Tensor of shape (n, k)
        Places in the children of a row, ``candidate * K + codeword``.
    """
    n, b, size = scores.shape
    flat = scores.view(n, b * size)
    if k == 1:
        return argmin(flat)[:, None]
    parts = _parts(b, size, k)
    members = b // parts
    if b * size <= _SORTED or members == 1 or parts * size <= k:
        return _ranked(flat, _steps(b * size, 1, scores.device), k)
    minima = scores.view(n, parts, members, size).amin(2).view(n, parts * size)
    groups = _ranked(minima, _firsts(parts, members, size, scores.device), k)
    places = _members(groups, members, size)
    return _ranked(torch.gather(flat, 1, places), places, k)


def _parts(b: int, size: int, k: int) -> int:
    """Parts to cut the candidates into, so that groups are about as many as their chosen members.

    A group is one codeword as child of the candidates of one part.
    """
    dividing = [parts for parts in range(1, b + 1) if b % parts == 0]
    return next((parts for parts in dividing if parts * size >= k * (b // parts)), b)


@lru_cache(maxsize=32)
def _firsts(parts: int, members: int, size: int, device: torch.device) -> Tensor:
    """Places of the first members of all groups."""
    places = torch.arange(parts * members * size, device=device)
    return places.view(parts, members, size)[:, 0].flatten()


@lru_cache(maxsize=32)
def _steps(count: int, step: int, device: torch.device) -> Tensor:
    return step * torch.arange(count, device=device)


def _members(groups: Tensor, members: int, size: int) -> Tensor:
    """Places (n, k * members) of all members of groups, by the places (n, k) of their firsts."""
    steps = _steps(members, size, groups.device)
    n, k = groups.shape
    if groups.device.type != "cpu":
        return (groups[:, :, None] + steps).view(n, k * members)
    places = groups.numpy()[:, :, None] + steps.numpy()
    return torch.from_numpy(places.reshape(n, k * members))


def _ranked(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Labels of the k smallest of every row, best first.

    A float32 leaves 29 bits of a float64 empty: the label goes there, and sorting plain numbers,
    which numpy does with vector instructions, sorts the labels along. An accelerator sorts itself.
    The rest is numpy's as well: it gives the interpreter away, which other threads may then take,
    less often than torch.
    """
    if scores.device.type != "cpu":
        places = torch.topk(scores, k, dim=1, largest=False).indices
        return labels.expand_as(scores).gather(1, places)
    keys = scores.numpy().astype(np.float64)
    bits = keys.view(np.int64)
    np.bitwise_or(bits, labels.numpy(), out=bits)
    best = _k_smallest(keys, k).view(np.int64)
    return torch.from_numpy(np.bitwise_and(best, (1 << 29) - 1, out=best))


def _k_smallest(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The k smallest of every row in order; parts of rows are sorted first, in place."""
    while values.shape[1] > _SORTED and 2 * k <= _SORTED:
        starts = range(0, values.shape[1], _SORTED)
        for start in starts:
            values[:, start : start + _SORTED].sort(axis=1)
        firsts = [values[:, start : min(start + k, start + _SORTED)] for start in starts]
        values = np.concatenate(firsts, axis=1)
    values.sort(axis=1)
    return values[:, :k].copy()


class Stage:
    """One codebook: as matrix from states to the scores of all children, and as states to take off.

    Parameters
    ----------
    codebook : Tensor of shape (K, w)
    width : int
        Width of the residuals, at least w.
    spread : Tensor of shape (K,), default=None
        What later codewords are multiplied by.
    """

    def __init__(self, codebook: Tensor, width: int, spread: Tensor | None = None) -> None:
        self.size, w = codebook.shape
        self.spread = spread
        head = torch.stack([(codebook * codebook).sum(1), codebook.new_ones(self.size)])
        self.matrix = torch.cat([head, -2.0 * codebook.T])
        self.words = codebook.new_zeros(self.size, HEAD + width)
        self.words[:, HEAD : HEAD + w] = codebook

    def children(self, state: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Candidate and codeword of the k best children of states (n, b, ...)."""
        place = smallest(self.scores(state), k)
        parent = place // self.size
        return parent, place - parent * self.size

    def scores(self, state: Tensor) -> Tensor:
        """Squared errors (n, b, K) of the children of states (n, b, ...)."""
        n, b, width = state.shape
        reached = state.view(n * b, width)[:, : len(self.matrix)]
        return torch.mm(reached, self.matrix).view(n, b, self.size)

    def states(self, state: Tensor, parent: Tensor, word: Tensor) -> Tensor:
        """States (n, k, ...) of children."""
        n, b, width = state.shape
        rows = torch.arange(n, device=state.device)[:, None] * b + parent
        kept = state.view(n * b, width).index_select(0, rows.view(-1))
        words = self.words.index_select(0, word.reshape(-1))
        if self.spread is not None:
            return self._spread_out(kept, words, word).view(n, -1, width)
        kept.sub_(words)
        residual = kept[:, HEAD:]
        kept[:, 1] = (residual * residual).sum(1)
        return kept.view(n, -1, width)

    def extended(self, state: Tensor, beam: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """States of the `beam` best children, and their candidates and codewords."""
        k = min(beam, state.shape[1] * self.size)
        parent, word = self.children(state, k)
        return self.states(state, parent, word), (parent, word)

    def _spread_out(self, kept: Tensor, words: Tensor, word: Tensor) -> Tensor:
        """States of children of parents' states `kept`, with factors."""
        assert self.spread is not None
        factor = kept[:, :1].clone()
        residual = kept[:, HEAD:].addcmul_(words[:, HEAD:], factor, value=-1.0)
        kept[:, 1] = (residual * residual).sum(1) / factor[:, 0]
        spread = self.spread[word.reshape(-1), None]
        residual *= spread
        kept[:, :1] = factor * spread * spread
        return kept


def states_of(residual: Tensor) -> Tensor:
    """States (n, b, 2 + width) of residuals (n, b, width)."""
    error = (residual * residual).sum(2, keepdim=True)
    return torch.cat([torch.ones_like(error), error, residual], 2)


class ChainSearch:
    """Beam search through a chain, prepared once for any number of rows.

    Parameters
    ----------
    chain : list of Tensors (K_j, w_j)
    width : int
        Width of the rows.
    beam : int
        Candidates kept after each codebook; 1 is greedy search.
    n_rows : int, default=None
        Rows that are searched, where these are always the same ones. Left out, the codes of a row
        depend on that row alone.
    """

    def __init__(
        self, chain: Sequence[Tensor], width: int, beam: int, n_rows: int | None = None
    ) -> None:
        self.beam, self.stages = beam, list[Stage]()
        self._other: GreedySearch | ProductSearch | None = None
        if beam == 1 and chain:
            self._other = GreedySearch(chain)
        elif pays(chain, width, beam, n_rows):
            self._other = ProductSearch(chain, beam, smallest)
        else:
            spreads: Sequence[Tensor | None] = spreads_of(chain) or [None] * len(chain)
            books = zip(chain, spreads, strict=True)
            self.stages = [Stage(codebook, width, spread) for codebook, spread in books]

    def codes(self, rows: Tensor) -> Tensor:
        """Codes (n, number of codebooks) of rows (n, width)."""
        if self._other is not None:
            return self._other.codes(rows)
        if not self.stages:
            return rows.new_zeros((len(rows), 0), dtype=torch.long)
        return codes_through(self.stages, states_of(rows[:, None, :]), [], self.beam)


def codes_through(
    stages: Sequence[Stage], state: Tensor, trail: list[tuple[Tensor, Tensor]], beam: int
) -> Tensor:
    """Codes of rows from their candidates, as states (n, b, ...), and how these were come to."""
    for stage in stages[:-1]:
        state, step = stage.extended(state, beam)
        trail.append(step)
    trail.append(stages[-1].children(state, 1))
    return _followed_back(trail)


def _followed_back(trail: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Codes (n, stages) of the first candidate of the last stage, from parents and codewords."""
    place, codes = torch.zeros_like(trail[-1][0][:, :1]), []
    for parent, word in reversed(trail):
        codes.append(word.gather(1, place))
        place = parent.gather(1, place)
    return torch.cat(codes[::-1], 1)
