"""Least squares for tables with missing cells, which have weight 0 in them (torch only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["conjugate_gradients", "normal_product"]

_MOST_STEPS = 50
_SMALL = 1e-5
"""Squared residual at which a column is solved, over that of no change at all."""
_ROWS_AT_ONCE = 4096

Linear = Callable[[Tensor], Tensor]


def normal_product(
    codes: Tensor, sizes: Sequence[int], cells: Tensor, share: Tensor | None, ridge: float
) -> Linear:
    """Product with ``A^T W A + ridge``, where ``A`` adds up the codewords that rows have.

    Parameters
    ----------
    codes : long Tensor of shape (n, m)
    sizes : sequence of int, length m
        Codewords per codebook.
    cells : Tensor of shape (n, k)
        Weights W of the cells, those of each column for the same column of what is multiplied.
    share : float64 Tensor of shape (n, m) or None
        How much a codeword counts in a row; None: 1.
    ridge : float

    Returns
    -------
    callable
        From a float64 Tensor (sum of sizes, k) to another one.
    """
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    places = codes + starts

    def product(words: Tensor) -> Tensor:
        result = ridge * words
        for start in range(0, len(places), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            sums = torch.zeros(len(places[rows]), words.shape[1], dtype=words.dtype)
            for j in range(places.shape[1]):
                chosen = words[places[rows, j]]
                sums += chosen if share is None else chosen * share[rows, j, None]
            sums *= cells[rows]
            for j in range(places.shape[1]):
                part = sums if share is None else sums * share[rows, j, None]
                result.index_add_(0, places[rows, j], part)
        return result

    return product


def conjugate_gradients(product: Linear, right: Tensor, nearly_inverse: Linear) -> Tensor:
    """Solve ``product(x) = right`` for every column at once, preconditioned (Hestenes and Stiefel).

    M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
    Journal of Research of the National Bureau of Standards 49 (1952).

    Parameters
    ----------
    product, nearly_inverse : callable
        Symmetric and positive definite; the second one undoes the first one more or less.
    right : float64 Tensor of shape (n, k)

    Returns
    -------
    float64 Tensor of shape (n, k)

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._observed import conjugate_gradients
    >>> system = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    >>> right = torch.tensor([[3.0], [5.0]], dtype=torch.float64)
    >>> conjugate_gradients(lambda x: system @ x, right, lambda r: r / 2.0).round(decimals=3)
    tensor([[0.8000],
            [1.4000]], dtype=torch.float64)
    """
    found, left = torch.zeros_like(right), right.clone()
    nearer = nearly_inverse(left)
    step, gain = nearer.clone(), (left * nearer).sum(0)
    enough = _SMALL * gain
    for _ in range(_MOST_STEPS):
        if bool((gain <= enough).all()):
            break
        ahead = product(step)
        length = _over(gain, (step * ahead).sum(0))
        found += length * step
        left -= length * ahead
        nearer = nearly_inverse(left)
        before, gain = gain, (left * nearer).sum(0)
        step = nearer + _over(gain, before) * step
    return found


def _over(above: Tensor, below: Tensor) -> Tensor:
    """Quotient, 0 in columns that are solved exactly."""
    return torch.where(below > 0, above / below.clamp_min(1e-300), torch.zeros_like(above))
