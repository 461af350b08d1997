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


def latents(module: CodecModule) -> Lookup:
    """Codewords of all categories side by side: quantized latents, from all codes and factors."""
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
    of_latents = latents(module)
    hidden = Lookup([], first.bias + of_latents.start @ weight.T)
    hidden.stacked, hidden.firsts = of_latents.stacked @ weight.T, of_latents.firsts
    rest = nn.Sequential(*others)
    return lambda codes: rest(hidden(codes, module.factors(codes)))


def excess(module: CodecModule, n_levels: int) -> Callable[[Tensor], Tensor] | None:
    """What the spreads of codewords add to the tables of the first levels; None if there are none.

    Tables hold codewords as if they were multiplied by 1.
    """
    books = module.spread_books(n_levels)
    if not books:
        return None
    own = [module.own_table(j) for j in books]
    look_up = Lookup(own, torch.zeros_like(module.offset))

    def of(codes: Tensor) -> Tensor:
        factor = module.factors(codes)
        assert factor is not None
        return look_up(codes[:, books], factor[:, books] - 1.0)

    return of
