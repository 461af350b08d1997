"""Decoding by lookup: everything linear in the codewords is a sum of table entries (torch only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from adaptive_vq.modules import CodecModule


class Lookup:
    """Sum of what the codes of a row name in as many tables, plus what all rows have in common.

    Parameters
    ----------
    tables : list of Tensors (K_j, width)
        One per codebook.
    start : Tensor of shape (width,)
        What the sum starts from.
    """

    def __init__(self, tables: Sequence[Tensor], start: Tensor) -> None:
        self.start = start
        self.stacked = torch.cat([start.new_zeros(0, len(start)), *tables])
        sizes = torch.tensor([0, *(len(table) for table in tables)], device=start.device)
        self.firsts = sizes.cumsum(0)[:-1]

    def __call__(self, codes: Tensor, factor: Tensor | None = None) -> Tensor:
        """Rows (n, width) of codes (n, number of tables), entries times a factor where given."""
        if codes.shape[1] == 0:
            return self.start.expand(len(codes), -1).clone()
        found = nn.functional.embedding_bag(
            codes + self.firsts, self.stacked, mode="sum", per_sample_weights=factor
        )
        return found + self.start


class Factors:
    """What each codeword of the first levels is multiplied by, prepared once for any codes.

    Parameters
    ----------
    module : CodecModule
    n_levels : int
    """

    def __init__(self, module: CodecModule, n_levels: int) -> None:
        layout = module.layout
        self.books = layout.books_of_prefix(n_levels)
        owners, start = layout.owners(), 0
        self.spans = []  # first and last place of categories with spreads
        for g, category in enumerate(layout.categories):
            end = start + sum(owners[j] == g for j in self.books)
            if category.spread and end > start:
                self.spans.append((start, end))
            start = end
        books = [module.codebooks[j] for j in self.books]
        spreads = [
            book.spread if layout.book_spreads[j] else book.count.new_ones(len(book.count))
            for j, book in zip(self.books, books, strict=True)
        ]
        self.look_up = Lookup([s[:, None] for s in spreads], module.offsets.new_zeros(1))

    def places(self, books: Sequence[int]) -> list[int]:
        """Columns of the result that belong to codebooks."""
        return [self.books.index(j) for j in books]

    def __call__(self, codes: Tensor) -> Tensor:
        """Factors (n, number of codebooks of the levels), from codes of these at least."""
        chosen = codes[:, self.books]
        found = torch.ones(chosen.shape, device=codes.device)
        if self.spans:
            spread = self.look_up.stacked[chosen + self.look_up.firsts, 0]
            for start, end in self.spans:
                found[:, start + 1 : end] = spread[:, start : end - 1].cumprod(1)
        return found


def latents(module: CodecModule) -> Callable[[Tensor], Tensor]:
    """Quantized latents of all categories side by side, from all codes."""
    look_up, factors_of = _codewords(module), _factors_of(module)
    return lambda codes: look_up(codes, factors_of(codes))


def _factors_of(module: CodecModule) -> Callable[[Tensor], Tensor | None]:
    """Factors of all codebooks; None where codewords have no spreads."""
    if not module.layout.has_spreads:
        return lambda codes: None
    return Factors(module, module.layout.n_levels)


def _codewords(module: CodecModule) -> Lookup:
    """Codewords of all categories side by side."""
    width, start = module.layout.latent_width, 0
    tables, shifts = [], [module.offsets.new_zeros(0)]
    spans = zip(module.encoders, module.layout.categories, module.layout.spans(), strict=True)
    for encoder, category, (first, last) in spans:
        for j in range(first, last):
            weight = module.codebooks[j].weight
            after = width - start - weight.shape[1]
            tables.append(nn.functional.pad(weight, (start, after)))
        shifts.append(encoder.shift)
        start += category.width
    return Lookup(tables, torch.cat(shifts))


def correction(module: CodecModule) -> Callable[[Tensor], Tensor] | None:
    """What the learned correction adds to the full decode, from all codes; None if it is not used.

    Its first layer is linear in the codewords, so what each adds to the hidden units is looked up
    like what it adds to the columns.
    """
    if not bool(module.corrects):
        return None
    first, *others = module.correction
    assert isinstance(first, nn.Linear)
    # No latents at all count as one column of zeros.
    weight = first.weight[:, : module.layout.latent_width]
    of_latents, factors_of = _codewords(module), _factors_of(module)
    hidden = Lookup([], first.bias + of_latents.start @ weight.T)
    hidden.stacked, hidden.firsts = of_latents.stacked @ weight.T, of_latents.firsts
    rest = nn.Sequential(*others)
    return lambda codes: rest(hidden(codes, factors_of(codes)))


def decoder(module: CodecModule, n_levels: int) -> Callable[[Tensor], Tensor]:
    """Decoder of the first levels, without the learned correction, from codes of these at least.

    Tables say what codewords add by themselves; where they are multiplied by spreads they are
    looked up once more, times what that adds to 1.
    """
    books, tables = module.tables(n_levels)
    spread = module.spread_books(n_levels)
    own = [module.own_table(j) for j in spread]
    look_up = Lookup([*tables, *own], module.offsets[n_levels - 1])
    if not spread:
        return lambda codes: look_up(codes[:, books])
    places, factors_of = [*books, *spread], Factors(module, n_levels)
    multiplied = factors_of.places(spread)

    def rows_of(codes: Tensor) -> Tensor:
        excess = factors_of(codes)[:, multiplied] - 1.0
        weights = torch.cat([excess.new_ones(len(codes), len(books)), excess], 1)
        return look_up(codes[:, places], weights)

    return rows_of


def excess(
    module: CodecModule, books: Sequence[int], n_levels: int
) -> Callable[[Tensor], Tensor] | None:
    """What spreads add to the tables of codebooks of the first levels; None if there are none."""
    if not books:
        return None
    look_up = Lookup([module.own_table(j) for j in books], torch.zeros_like(module.offset))
    factors_of = Factors(module, n_levels)
    places = factors_of.places(books)
    return lambda codes: look_up(codes[:, books], factors_of(codes)[:, places] - 1.0)
