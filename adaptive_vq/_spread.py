"""Chains in which a codeword also says how far apart the codewords after it are spread (torch).

What a codeword of a residual chain leaves is small in dense regions and large in sparse ones, and
the codebooks after it cannot suit both. Here every codeword has a *spread*, by which all that later
codebooks add is multiplied: a row is ``c_0 + s_0 (c_1 + s_1 (c_2 + ...))``. It is the gain of a
gain-shape quantizer (Sabin and Gray, 1984, "Product code vector quantizers for waveform and voice
coding"), told by the codes before it instead of by a code of its own, so that it costs no bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = [
    "Chain",
    "Spreading",
    "factors",
    "least_factors",
    "like",
    "measured",
    "products",
    "selected",
    "spreads_of",
    "widest",
]

Chain = list[Tensor]

PRIOR_ROWS = 4.0
"""Rows of usual spread that are added to those of every codeword."""
WIDEST = 8.0
"""No spread is larger, and none smaller than its inverse."""
_WIDEST_OF_CHAINS = 2.0**45
"""The same for what the last codeword of a chain is multiplied by: float32 holds its square."""


class Spreading(list[Tensor]):
    """Codebooks (K_j, width_j) and the spreads (K_j,) of their codewords."""

    def __init__(self, books: Iterable[Tensor], spreads: Iterable[Tensor] = ()) -> None:
        super().__init__(books)
        self.spreads = list(spreads)


def spreads_of(chain: Sequence[Tensor]) -> list[Tensor] | None:
    """Spreads per codebook; None where codewords have none, which is as if all were 1."""
    return chain.spreads if isinstance(chain, Spreading) else None


def like(chain: Sequence[Tensor], books: Iterable[Tensor]) -> Chain:
    """Chain of other codewords with the spreads of those of `chain`."""
    spreads = spreads_of(chain)
    return list(books) if spreads is None else Spreading(books, spreads)


def selected(chain: Sequence[Tensor], kept: Sequence[Tensor]) -> Chain:
    """Chain of those codewords of every codebook that an index names."""
    books = [book[index] for book, index in zip(chain, kept, strict=True)]
    spreads = spreads_of(chain)
    if spreads is None:
        return books
    return Spreading(books, [s[index] for s, index in zip(spreads, kept, strict=True)])


def factors(codes: Tensor, chain: Sequence[Tensor]) -> Tensor | None:
    """What each codeword of rows is multiplied by, shape (n, len(chain)): earlier spreads.

    None where codewords have no spreads.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._spread import Spreading, factors
    >>> book, spread = torch.zeros(2, 3), torch.tensor([0.5, 2.0])
    >>> factors(torch.tensor([[0, 0, 1], [1, 0, 0]]), Spreading([book] * 3, [spread] * 3)).tolist()
    [[1.0, 0.5, 0.25], [1.0, 2.0, 1.0]]
    """
    spreads = spreads_of(chain)
    return None if spreads is None else products(codes, spreads, len(chain))


def products(codes: Tensor, spreads: Sequence[Tensor], n_books: int) -> Tensor:
    """Products of the spreads that codes (..., m) name before each of `n_books` codebooks.

    Spreads that are not known yet, at the end, count as 1. Shape (..., n_books).
    """
    found = torch.ones((*codes.shape[:-1], n_books), device=codes.device)
    for j, spread in enumerate(spreads[: n_books - 1]):
        found[..., j + 1] = found[..., j] * spread[codes[..., j].long()]
    return found


def least_factors(chain: Sequence[Tensor]) -> list[Tensor]:
    """Least that a codeword of each codebook may be multiplied by; none without spreads."""
    spreads = spreads_of(chain)
    if not spreads:
        return []
    one = torch.ones((), device=spreads[0].device)
    lowest = torch.stack([one, *(spread.min().clamp_max(1.0) for spread in spreads[:-1])])
    return list(lowest.cumprod(0))


def widest(n_books: int) -> float:
    """Largest spread in a chain of so many codebooks.

    Examples
    --------
    >>> from adaptive_vq._spread import widest
    >>> widest(8), widest(45)
    (8.0, 2.0)
    """
    return float(min(WIDEST, _WIDEST_OF_CHAINS ** (1.0 / n_books)))


def measured(
    left: Tensor, factor: Tensor, codes: Tensor, weight: Tensor, size: int, limit: float = WIDEST
) -> Tensor:
    """Spreads (size,) of codewords: root mean square of what rows leave, over that of all rows.

    Parameters
    ----------
    left : Tensor of shape (n, width)
        What the rows leave after this codebook.
    factor : Tensor of shape (n,)
        What its codewords were multiplied by.
    codes : long Tensor of shape (n,)
    weight : Tensor of shape (n,)
    size : int
    limit : float
        Largest spread, and inverse of the smallest.
    """
    energy = (left.square().sum(1) / factor.square()).double()
    mass = torch.bincount(codes, weight.double(), size)
    total = torch.bincount(codes, weight.double() * energy, size)
    usual = float(total.sum() / mass.sum())
    if usual == 0.0:
        return torch.ones(size)
    mean = (total + PRIOR_ROWS * usual) / (mass + PRIOR_ROWS)
    return (mean / usual).sqrt().clamp(1.0 / limit, limit).float()
