"""Normal equations of chains of codebooks, counted and factored by several threads (torch only).

Whatever the number of threads, the pieces that they share are the same, and so are the bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from adaptive_vq._parallel import each

__all__ = ["factorize", "gram", "solved", "sums_of_codewords"]

BLOCK = 256
"""Rows of a block: few beside thousands, so that nearly all of the work is products of matrices,
and many enough for these to be fast."""
_SOLVED_COLUMNS = 128  # at a time
_SUMMED_ROWS = 4096  # at a time: what they count for would be as large as all rows


def gram(
    codes: Tensor, sizes: Sequence[int], weight: Tensor, factor: Tensor | None = None
) -> Tensor:
    """Weighted co-occurrence counts of all codewords.

    Parameters
    ----------
    codes : long Tensor of shape (n, m)
    sizes : sequence of int, length m
        Codewords per codebook.
    weight : Tensor of shape (n,)
    factor : float64 Tensor of shape (n, m), default=None
        How much a codeword counts in a row; None: 1.

    Returns
    -------
    float64 Tensor of shape (sum of sizes, sum of sizes)

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._normal_equations import gram
    >>> gram(torch.tensor([[0, 1], [0, 0], [0, 1]]), [1, 2], torch.ones(3)).tolist()
    [[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [2.0, 0.0, 2.0]]
    """
    offsets = [0, *torch.tensor(list(sizes)).cumsum(0).tolist()]
    counts = torch.zeros(offsets[-1], offsets[-1], dtype=torch.float64)
    weight = weight.double()

    def count(pair: tuple[int, int]) -> None:
        a, b = pair
        mass = weight if factor is None else weight * factor[:, a] * factor[:, b]
        both = codes[:, a] * sizes[b] + codes[:, b]
        block = torch.bincount(both, weights=mass, minlength=sizes[a] * sizes[b])
        block = block.view(sizes[a], sizes[b])
        rows, columns = slice(*offsets[a : a + 2]), slice(*offsets[b : b + 2])
        counts[rows, columns] = block
        counts[columns, rows] = block.T

    each(count, combinations_with_replacement(range(len(sizes)), 2), split=True)
    return counts


def sums_of_codewords(
    codes: Tensor, sizes: Sequence[int], rows: Tensor, factor: Tensor | None = None
) -> Tensor:
    """Sums of the rows of every codeword.

    Parameters
    ----------
    codes, sizes, factor
        As of `gram`.
    rows : float64 Tensor of shape (n, k)

    Returns
    -------
    float64 Tensor of shape (sum of sizes, k)
    """

    def sums(j: int) -> Tensor:
        total = torch.zeros(sizes[j], rows.shape[1], dtype=torch.float64)
        for part in range(0, len(rows), _SUMMED_ROWS):
            some = slice(part, part + _SUMMED_ROWS)
            share = rows[some] if factor is None else rows[some] * factor[some, j, None]
            total.index_add_(0, codes[some, j], share)
        return total

    return torch.cat(each(sums, range(len(sizes)), split=True))


def factorize(matrix: Tensor) -> Tensor:
    """Cholesky factor in the place of a symmetric and positive definite matrix.

    Block by block (Golub and Van Loan, 2013, "Matrix computations", 4.2.9). Only what is on or
    below the diagonal is read, and becomes the factor; what is above it means nothing afterwards.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)

    Returns
    -------
    Tensor of shape (n, n)
        The same one.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._normal_equations import factorize
    >>> factorize(torch.tensor([[4.0, 2.0], [2.0, 5.0]])).tril().tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    n = len(matrix)
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        column = matrix[:, start:end]
        corner = torch.linalg.cholesky(column[start:end])
        column[start:end] = corner

        def finish(first: int, column: Tensor = column, corner: Tensor = corner) -> None:
            part = column[first : first + BLOCK]
            part.copy_(torch.linalg.solve_triangular(corner.mT, part, upper=True, left=False))

        def take_off(first: int, column: Tensor = column, end: int = end) -> None:
            last = min(first + BLOCK, n)
            left = column[first:last]
            matrix[first:last, end:last].addmm_(left, column[end:last].T, alpha=-1.0)

        below = range(end, n, BLOCK)
        each(finish, below, split=True)
        each(take_off, reversed(below), split=True)  # the longest first
    return matrix


def solved(factor: Tensor, right: Tensor) -> Tensor:
    """Solution of the equations of a matrix by its factor.

    What `torch.cholesky_solve` gives, which would copy the factor first.
    """

    def solve(right: Tensor) -> Tensor:
        half = torch.linalg.solve_triangular(factor, right, upper=False)
        return torch.linalg.solve_triangular(factor.mT, half, upper=True)

    return torch.cat(each(solve, right.split(_SOLVED_COLUMNS, 1), split=True), 1)
