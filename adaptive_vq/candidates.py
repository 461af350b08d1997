"""The best candidates of rows through a chain of codebooks while it grows (torch)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from adaptive_vq._parallel import each
from adaptive_vq._product_search import AT_ONCE, ProductStage, pays_next
from adaptive_vq._spread import products
from adaptive_vq.beam import HEAD, Stage, smallest, states_of, tile_of

__all__ = ["Candidates"]

_BYTE = 256
_LEFT_TILE = 4096
"""Candidates whose residuals are made together: of fewer a thread waits for others too often."""
_Scores = Callable[[Tensor, Tensor, Tensor], Tensor]


class Candidates:
    """The best candidates of every row through a chain while it grows.

    They are held as codes: the residuals of all of them would be many times the rows. Residuals are
    made anew where they are needed, codeword after codeword as the search came to them.

    Parameters
    ----------
    rows : Tensor of shape (n, width)

    Attributes
    ----------
    count : int
        Candidates of a row.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows, self.count = rows, 1
        self._books: list[Tensor] = []
        self._errors = rows.square().sum(1, keepdim=True)
        self._codes = torch.zeros((len(rows), 1, 0), dtype=torch.uint8, device=rows.device)
        self._taken_off = rows.new_empty(0, rows.shape[1])  # all codewords, their signs changed
        self._starts: list[int] = []  # where those of each codebook begin
        self._spreads: list[Tensor] = []  # per codebook, if codewords have any

    @torch.no_grad()
    def residuals(self, count: int, width: int) -> Tensor:
        """What the best candidates of every row leave of its first coordinates.

        Shape (n, count, width).
        """
        left = self.rows.new_empty(len(self.rows), count, width)

        def work(rows: Tensor, codes: Tensor, place: Tensor) -> None:
            place.copy_(self._left(rows, codes)[:, :, :width])

        tables = (self.rows, self._codes[:, :count], left)
        each(work, *(table.split(_LEFT_TILE) for table in tables), split=True)
        return left

    @torch.no_grad()
    def chosen(self, row: Tensor, candidate: Tensor, width: int) -> Tensor:
        """What candidates that rows and places name leave, shape (m, width)."""
        left = self.rows.new_empty(len(row), width)

        def work(at: Tensor, which: Tensor, place: Tensor) -> None:
            place.copy_(self._left(self.rows[at], self._codes[at, which][:, None])[:, 0, :width])

        tables = (row, candidate, left)
        each(work, *(table.split(_LEFT_TILE) for table in tables), split=True)
        return left

    def last_factors(self) -> Tensor:
        """What the last codeword of the best candidate of every row is multiplied by (n,)."""
        return self._factors(self._codes[:, 0])[:, -2]

    def factors(self, count: int) -> Tensor:
        """What the next codeword of the best candidates is multiplied by (n, count)."""
        return self._factors(self._codes[:, :count])[..., -1]

    def spread_out(self, spread: Tensor) -> None:
        """Set the spreads of the last codebook; all have some, or none has."""
        self._spreads.append(spread)

    def extend(self, book: Tensor, beam: int) -> None:
        """Extend the candidates of every row by one codebook; keep the `beam` best, best first."""
        n, before, n_books = self._codes.shape
        self.count = min(beam, before * len(book))
        small = torch.uint8 if len(book) <= _BYTE else torch.int32
        dtype = torch.promote_types(self._codes.dtype, small)
        extended = self._codes.new_empty((n, self.count, n_books + 1), dtype=dtype)
        errors = self._errors.new_empty((n, self.count))
        if pays_next(self._books, book, before, n):
            scores_of, tile = self._by_products(book), max(1, AT_ONCE // before)
        else:
            scores_of, tile = self._by_residuals(book), tile_of(max(before, self.count))

        @torch.no_grad()  # the switch is one per thread
        def work(rows: Tensor, codes: Tensor, error: Tensor, place: Tensor, left: Tensor) -> None:
            scores = scores_of(rows, codes, error)
            found = smallest(scores, self.count)
            parent = found // len(book)
            place[:, :, :-1] = codes.gather(1, parent[:, :, None].expand(-1, -1, n_books))
            place[:, :, -1] = found - parent * len(book)
            left.copy_(scores.view(len(rows), -1).gather(1, found))

        tables = (self.rows, self._codes, self._errors, extended, errors)
        each(work, *(table.split(tile) for table in tables))
        self._codes, self._errors = extended, errors
        self._starts.append(len(self._taken_off))
        words = book.new_zeros(len(book), self.rows.shape[1])
        words[:, : book.shape[1]] -= book
        self._taken_off = torch.cat([self._taken_off, words])
        self._books.append(book)

    def _by_residuals(self, book: Tensor) -> _Scores:
        """Squared errors (n, b, K) of children, by what candidates leave."""
        stage = Stage(book, self.rows.shape[1])

        def scores(rows: Tensor, codes: Tensor, error: Tensor) -> Tensor:
            state = states_of(self._left(rows, codes))
            if self._spreads:
                factor = self._factors(codes)[..., -1:]
                state[..., :1] = factor * factor
                state[..., HEAD:] *= factor
            return stage.scores(state)

        return scores

    def _by_products(self, book: Tensor) -> _Scores:
        """The same by products of codewords."""
        stage = ProductStage(book, self._books, spread=bool(self._spreads))
        starts = torch.tensor(self._starts, dtype=torch.int32)

        def scores(rows: Tensor, codes: Tensor, error: Tensor) -> Tensor:
            own, places = stage.of_rows(rows), codes.int() + starts
            if not self._spreads:
                return stage.scores(own, error, places)
            factors = self._factors(codes)
            return stage.scores(own, error, places, factors[..., -1], factors[..., :-1])

        return scores

    def best(self) -> Tensor:
        """Codes (n, number of codebooks) of the best candidate of every row."""
        return self._codes[:, 0].long()

    def _left(self, rows: Tensor, codes: Tensor) -> Tensor:
        """What codes (n, b, books) leave of rows (n, width), shape (n, b, width)."""
        n, b, n_books = codes.shape
        # Rows and codewords are one table, of which every candidate is a sum, from left to right.
        places = codes.new_empty((n, b, 1 + n_books), dtype=torch.int32)
        places[:, :, 0] = torch.arange(n, device=rows.device)[:, None]
        places[:, :, 1:] = codes
        places[:, :, 1:] += places.new_tensor(self._starts) + n
        table, shares = torch.cat([rows, self._taken_off]), None
        if self._spreads:
            factors = self._factors(codes)[..., :-1]
            shares = torch.cat([torch.ones_like(factors[..., :1]), factors], 2)
            shares = shares.view(n * b, 1 + n_books)
        bags = places.view(n * b, 1 + n_books)
        left = embedding_bag(bags, table, mode="sum", per_sample_weights=shares)
        return left.view(n, b, -1)

    def _factors(self, codes: Tensor) -> Tensor:
        """What codewords (..., books) and the one after them are multiplied by: one entry more."""
        return products(codes, self._spreads, codes.shape[-1] + 1)
