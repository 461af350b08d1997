"""Beam search by inner products of codewords that are looked up (torch and numpy, on a processor).

A candidate's error is the sum of what its parent's is and what the new codeword does to it,
``||r - c||^2 = ||r||^2 + ||c||^2 - 2 <z, c> + 2 sum_j <c_j, c>``, where the residual ``r`` is the
row ``z`` less the codewords ``c_j`` of the parent. The products of codewords do not depend on rows:
they are multiplied once (Babenko and Lempitsky, 2014, "Additive quantization for extreme vector
compression"). Of wide rows this takes a part of the time of products with residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from adaptive_vq._spread import spreads_of

__all__ = ["AT_ONCE", "ProductSearch", "ProductStage", "pays", "pays_next"]

_WIDE = 160
"""Width times candidates, of which 16 count at most, below which products with residuals are as
fast."""
_MANY = 16
_MOST_PRODUCTS = 4_000_000
"""Products of codewords that are held; those of more would leave the processor's cache."""
_EXACT = 1e-3
"""Energy of a codebook over that of the first: where less is left to tell apart, rounding of sums
as large as the row would count."""
AT_ONCE = 8192
"""Candidates of rows that are worked on together: of fewer, threads take the interpreter from one
another so often that they lose what they gain."""
_WORTH_IT = 4096
"""Candidates of all rows from which the products of codewords pay."""

Smallest = Callable[[Tensor, int], Tensor]


def pays(chain: Sequence[Tensor], width: int, beam: int, n_rows: int | None = None) -> bool:
    """Whether `ProductSearch` is faster than products with residuals, and as exact.

    Parameters
    ----------
    chain : sequence of Tensors (K_j, w_j)
    width : int
        Width of the rows.
    beam : int
    n_rows : int, default=None
        Rows that are searched; None: many.
    """
    if len(chain) < 2 or not _wide_enough(chain[0], width, beam, n_rows):
        return False
    sizes = [len(book) for book in chain]
    before = [0, *accumulate(sizes)]
    if sum(size * n for size, n in zip(sizes, before, strict=False)) > _MOST_PRODUCTS:
        return False
    return _much_to_tell_apart(chain[0], chain[-1])


def pays_next(chain: Sequence[Tensor], book: Tensor, count: int, n_rows: int) -> bool:
    """Whether `ProductStage` is the faster way to extend `count` candidates of rows by `book`.

    Parameters
    ----------
    chain : sequence of Tensors (K_j, w_j)
        Codebooks that the candidates have come through.
    book : Tensor of shape (K, w)
    count, n_rows : int
    """
    if not chain or not _wide_enough(book, book.shape[1], count, n_rows):
        return False
    n_products = sum(map(len, chain)) * len(book)
    return n_products <= _MOST_PRODUCTS and _much_to_tell_apart(chain[0], book)


def _wide_enough(book: Tensor, width: int, beam: int, n_rows: int | None) -> bool:
    few = n_rows is not None and n_rows * beam < _WORTH_IT
    wide = beam > 1 and width * min(beam, _MANY) >= _WIDE
    return wide and not few and book.device.type == "cpu"


def _much_to_tell_apart(first: Tensor, last: Tensor) -> bool:
    energies = [float(book.square().sum()) / len(book) for book in (first, last)]
    return energies[1] >= _EXACT * energies[0]


class ProductStage:
    """One codebook of a chain: its products with rows and with the codewords before it.

    Parameters
    ----------
    book : Tensor of shape (K, w)
    chain : sequence of Tensors (K_j, w_j)
        Codebooks before it.
    spread : bool
        Whether codewords of the chain have spreads.
    """

    def __init__(self, book: Tensor, chain: Sequence[Tensor], *, spread: bool) -> None:
        self.size, self._spread = len(book), spread
        self._turned, self._norms = -2.0 * book.T, (book * book).sum(1)
        # Twice the products with earlier codewords; with spreads the squared norms come last, which
        # are weighted like these.
        self._products = book.new_empty(sum(map(len, chain)) + 1, len(book))
        start = 0
        for earlier in chain:
            common, end = min(earlier.shape[1], book.shape[1]), start + len(earlier)
            torch.mm(earlier[:, :common], -self._turned[:common], out=self._products[start:end])
            start = end
        self._products[-1] = self._norms

    def of_rows(self, rows: Tensor) -> Tensor:
        """What rows (n, width) themselves have to do with codewords (n, K), for `scores`."""
        reached = rows[:, : len(self._turned)]
        if self._spread:
            return torch.mm(reached, self._turned)
        return torch.addmm(self._norms, reached, self._turned)

    def scores(
        self,
        of_rows: Tensor,
        error: Tensor,
        places: Tensor,
        factor: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Squared errors of all children of candidates.

        Parameters
        ----------
        of_rows : Tensor of shape (n, K)
        error : Tensor of shape (n, b)
            Squared errors of the candidates.
        places : int Tensor of shape (n, b, m)
            Their codewords, counted through all codebooks before.
        factor, shares : Tensor of shapes (n, b) and (n, b, m), default=None
            With spreads: what the next codeword and those before are multiplied by.

        Returns
        -------
        Tensor of shape (n, b, K)
        """
        n, b, m = places.shape
        if m == 0:
            alone = of_rows + self._norms if self._spread else of_rows
            return (alone + error)[:, None]
        bags = places.view(n * b, m)
        if factor is None or shares is None:
            scores = embedding_bag(bags, self._products, mode="sum").view(n, b, -1)
            scores += of_rows[:, None]
        else:
            # Norms count with the square of the factor, products with those of both codewords.
            every = np.empty((n * b, m + 1), dtype=np.int32)
            every[:, :m], every[:, m] = bags.numpy(), len(self._products) - 1
            weights, own = np.empty((n, b, m + 1), dtype=np.float32), factor.numpy()
            weights[:, :, :m], weights[:, :, m] = shares.numpy(), own
            weights *= own[:, :, None]
            scores = embedding_bag(
                torch.from_numpy(every),
                self._products,
                mode="sum",
                per_sample_weights=torch.from_numpy(weights.reshape(n * b, m + 1)),
            ).view(n, b, -1)
            scores.addcmul_(of_rows[:, None], factor[:, :, None])
        return scores.add_(error[:, :, None])


class ProductSearch:
    """Beam search through a chain, prepared once for any number of rows.

    Parameters
    ----------
    chain : sequence of Tensors (K_j, w_j)
        With spreads or without.
    beam : int
        Candidates kept after each codebook.
    smallest : callable
        From scores (n, b, K) and k to the places of the k smallest of every row, best first.
    """

    def __init__(self, chain: Sequence[Tensor], beam: int, smallest: Smallest) -> None:
        self._spreads, self._beam, self._smallest = spreads_of(chain), beam, smallest
        spread = self._spreads is not None
        self._stages = [ProductStage(b, chain[:j], spread=spread) for j, b in enumerate(chain)]
        self._starts = [0, *accumulate(stage.size for stage in self._stages)]

    def codes(self, rows: Tensor) -> Tensor:
        """Codes (n, number of codebooks) of rows (n, width)."""
        of_rows = [stage.of_rows(rows) for stage in self._stages]
        energy = rows.square().sum(1, keepdim=True)
        size = max(1, AT_ONCE // self._beam)
        parts = zip(energy.split(size), *(part.split(size) for part in of_rows), strict=True)
        return torch.cat([self._codes(error, own) for error, *own in parts])

    def _codes(self, error: Tensor, of_rows: Sequence[Tensor]) -> Tensor:
        """Codes of rows from their squared norms (n, 1) and their products with codewords."""
        n, last = len(error), len(of_rows) - 1
        # Small steps are numpy's, which keeps the interpreter in between: torch gives it away with
        # each, and other threads may take it.
        places = np.zeros((n, 1, 0), dtype=np.int32)
        factor = shares = None
        if self._spreads is not None:
            factor, shares = np.ones((n, 1), dtype=np.float32), np.empty((n, 1, 0), np.float32)
        for j, stage in enumerate(self._stages):
            scores = stage.scores(
                of_rows[j],
                error,
                torch.from_numpy(places),
                None if factor is None else torch.from_numpy(factor),
                None if shares is None else torch.from_numpy(shares),
            )
            found = self._smallest(scores, 1 if j == last else min(self._beam, scores[0].numel()))
            error = scores.view(n, -1).gather(1, found)
            parent, word = np.divmod(found.numpy(), stage.size)
            row = parent + np.arange(n)[:, None] * places.shape[1]
            places = _extended(places, row, word + self._starts[j])
            if self._spreads is not None and factor is not None and shares is not None:
                factor = factor.reshape(-1)[row]
                shares = _extended(shares, row, factor)
                factor = factor * self._spreads[j].numpy()[word]
        return torch.from_numpy(places[:, 0] - np.array(self._starts[:-1], dtype=np.int64))


def _extended(parents: NDArray[Any], row: NDArray[np.int64], last: NDArray[Any]) -> NDArray[Any]:
    """Entries (n, k, m + 1) of children: those (n, b, m) of the parents in some rows, and one more.

    Parents are counted through all rows.
    """
    n, b, m = parents.shape
    extended = np.empty((*row.shape, m + 1), dtype=parents.dtype)
    extended[:, :, :m] = parents.reshape(n * b, m)[row]
    extended[:, :, m] = last
    return extended
