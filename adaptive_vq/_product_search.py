"""Beam search by inner products of codewords that are looked up (torch, on a processor).

A candidate's error is the sum of what its parent's is and what the new codeword does to it,
``||r - c||^2 = ||r||^2 + ||c||^2 - 2 <z, c> + 2 sum_j <c_j, c>``, where the residual ``r`` is the
row ``z`` less the codewords ``c_j`` of the parent. The products of codewords do not depend on rows:
they are multiplied once (Babenko and Lempitsky, 2014, "Additive quantization for extreme vector
compression"). Of wide rows this takes a part of the time of products with residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from adaptive_vq._spread import spreads_of

__all__ = ["ProductSearch", "pays"]

_WIDE = 160
"""Width times candidates, of which 16 count at most, below which products with residuals are as
fast."""
_MANY = 16
_MOST_PRODUCTS = 4_000_000
"""Products of codewords that are held; those of more would leave the processor's cache."""
_EXACT = 1e-3
"""Energy of the last codebook over that of the first: where less is left to tell apart, rounding of
sums as large as the row would count."""
_AT_ONCE = 4096
"""Candidates of rows that are worked on together."""
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
    sizes = [len(book) for book in chain]
    few = n_rows is not None and n_rows * beam < _WORTH_IT
    narrow = width * min(beam, _MANY) < _WIDE
    if few or narrow or beam < 2 or len(chain) < 2 or chain[0].device.type != "cpu":
        return False
    before = [0, *accumulate(sizes)]
    if sum(size * n for size, n in zip(sizes, before, strict=False)) > _MOST_PRODUCTS:
        return False
    first, last = (float(book.square().sum()) / len(book) for book in (chain[0], chain[-1]))
    return last >= _EXACT * first


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
        self._sizes = [len(book) for book in chain]
        self._starts = [0, *accumulate(self._sizes)]
        self._turned = [-2.0 * book.T for book in chain]
        self._norms = [(book * book).sum(1) for book in chain]
        self._products = [self._of_earlier(chain, j) for j in range(len(chain))]

    def _of_earlier(self, chain: Sequence[Tensor], j: int) -> Tensor:
        """Twice the products of the codewords of earlier codebooks with those of codebook `j`.

        With spreads the squared norms come last, which are weighted like these.
        """
        products = chain[j].new_empty(self._starts[j] + 1, len(chain[j]))
        for i, book in enumerate(chain[:j]):
            common = min(book.shape[1], chain[j].shape[1])
            place = products[self._starts[i] : self._starts[i + 1]]
            torch.mm(book[:, :common], -self._turned[j][:common], out=place)
        products[-1] = self._norms[j]
        return products

    def codes(self, rows: Tensor) -> Tensor:
        """Codes (n, number of codebooks) of rows (n, width)."""
        own = [
            torch.addmm(norms, rows[:, : len(turned)], turned)
            if self._spreads is None
            else torch.mm(rows[:, : len(turned)], turned)
            for norms, turned in zip(self._norms, self._turned, strict=True)
        ]
        energy = rows.square().sum(1, keepdim=True)
        # The scores of a few rows stay in the processor's cache.
        size = max(1, _AT_ONCE // self._beam)
        parts = zip(energy.split(size), *(of_book.split(size) for of_book in own), strict=True)
        return torch.cat([self._codes(error, of_rows) for error, *of_rows in parts])

    def _codes(self, error: Tensor, own: Sequence[Tensor]) -> Tensor:
        """Codes of rows from their squared norms (n, 1) and their products with codewords."""
        n, last = len(error), len(own) - 1
        places = torch.zeros((n, 1, 0), dtype=torch.int32)
        factor, shares = torch.ones_like(error), error.new_empty(n, 1, 0)
        for j, size in enumerate(self._sizes):
            scores = self._scores(j, own[j], error, places, factor, shares)
            found = self._smallest(scores, 1 if j == last else min(self._beam, scores[0].numel()))
            parent = found // size
            word = found - parent * size
            of_parent = parent[:, :, None].expand(-1, -1, j)
            word_at = (word + self._starts[j]).int()[:, :, None]
            places = torch.cat([places.gather(1, of_parent), word_at], 2)
            error = scores.view(n, -1).gather(1, found)
            if self._spreads is not None:
                factor = factor.gather(1, parent)
                shares = torch.cat([shares.gather(1, of_parent), factor[:, :, None]], 2)
                factor = factor * self._spreads[j][word]
        return places[:, 0].long() - torch.tensor(self._starts[:-1])

    def _scores(
        self, j: int, own: Tensor, error: Tensor, places: Tensor, factor: Tensor, shares: Tensor
    ) -> Tensor:
        """Squared errors (n, b, K) of all children of the candidates (n, b)."""
        n, b, m = places.shape
        if m == 0:
            alone = own if self._spreads is None else own + self._norms[j]
            return (alone + error)[:, None]
        products = self._products[j]
        if self._spreads is None:
            scores = embedding_bag(places.view(n * b, m), products, mode="sum").view(n, b, -1)
            scores += own[:, None]
        else:
            # Norms count with the square of the factor, products with those of both codewords.
            bags = torch.cat([places, places.new_full((n, b, 1), len(products) - 1)], 2)
            weights = torch.cat([shares, factor[:, :, None]], 2) * factor[:, :, None]
            scores = embedding_bag(
                bags.view(n * b, m + 1),
                products,
                mode="sum",
                per_sample_weights=weights.view(n * b, m + 1),
            ).view(n, b, -1)
            scores.addcmul_(own[:, None], factor[:, :, None])
        return scores.add_(error[:, :, None])
