"""Whole units in proportion to shares, by largest remainder.

Ties are decided by *keys* (names), never by position, so that reordering the shares reorders the
answer and does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._number_checks import as_numbers, distinct_names
from adaptive_vq._wording import shown

__all__ = ["canonical_order", "largest_remainder", "largest_remainder_path"]

# Remainders closer than this are a tie: they differ by rounding only.
_TIE_DECIMALS = 9
# A share of zero is served last, after every other category has reached its cap.
_ZERO_SHARE = 1e-9


def largest_remainder(
    shares: ArrayLike,
    total: int,
    *,
    minimum: int | ArrayLike = 0,
    caps: ArrayLike | None = None,
    keys: Sequence[Any] | None = None,
) -> Ints:
    """Divide whole units in proportion to shares, by largest remainder.

    The rule is applied for every total from 0 upwards and a unit once given is kept. The one-shot
    rule can take a unit away from a category when the total grows (the Alabama paradox), which
    would let a larger budget be worse for it; where that paradox does not occur on the way, the
    two rules agree.

    Parameters
    ----------
    shares : array-like of shape (n,)
        Non-negative weights; only their proportions matter. All zero means all equal; a single
        zero is served after all others have reached their caps.
    total : int
        Units to divide, at least 0.
    minimum : int or array-like of shape (n,), default=0
        Units everyone gets first, as far as `total` and `caps` allow; the largest shares first.
    caps : array-like of shape (n,), optional
        The most units each can take; no limit by default.
    keys : sequence of length n, optional
        Distinct sortable names that decide ties; the position by default.

    Returns
    -------
    ndarray of shape (n,), int64
        Units; their sum is `total`, or the sum of `caps` if that is less.

    Raises
    ------
    ValueError
        For negative or non-finite shares, a negative total, or keys that are not distinct.

    See Also
    --------
    largest_remainder_path : The same for every total at once.

    Examples
    --------
    >>> from adaptive_vq.apportion import largest_remainder
    >>> largest_remainder([5.0, 3.0, 2.0], 7)
    array([4, 2, 1])
    >>> largest_remainder([8.0, 1.0, 1.0], 4, minimum=1)
    array([2, 1, 1])
    """
    return largest_remainder_path(shares, total, minimum=minimum, caps=caps, keys=keys)[-1]


def largest_remainder_path(
    shares: ArrayLike,
    total: int,
    *,
    minimum: int | ArrayLike = 0,
    caps: ArrayLike | None = None,
    keys: Sequence[Any] | None = None,
) -> Ints:
    """Give the division of :func:`largest_remainder` for every total up to the one asked for.

    Parameters
    ----------
    shares, total, minimum, caps, keys
        As in :func:`largest_remainder`.

    Returns
    -------
    ndarray of shape (total + 1, n), int64
        Row ``t`` divides ``t`` units; no column ever decreases.

    Raises
    ------
    ValueError
        As :func:`largest_remainder`.

    Examples
    --------
    >>> from adaptive_vq.apportion import largest_remainder_path
    >>> largest_remainder_path([2.0, 1.0], 3)
    array([[0, 0],
           [1, 0],
           [1, 1],
           [2, 1]])
    """
    weights = _checked_shares(shares)
    if not isinstance(total, Integral):
        raise TypeError(f"total must be a whole number of units, got {total!r}.")
    if total < 0:
        raise ValueError(f"total must be at least 0, got {total}.")
    order = canonical_order(weights.size, keys)
    most = _units(total if caps is None else caps, weights.size, "caps", caps is None)
    limit = np.minimum(most, total)
    floor = np.minimum(_units(minimum, weights.size, "minimum", True), limit)
    exact = _exact_parts(weights[order], total, floor[order], limit[order])
    path = np.empty((total + 1, weights.size), dtype=np.int64)
    path[:, order] = _whole_parts(exact)
    return path


def _checked_shares(shares: ArrayLike) -> Floats:
    given = as_numbers(shares)
    weights = np.empty(0) if given is None or given.ndim > 1 else np.array(given, ndmin=1)
    if weights.size == 0 or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"shares must be finite and not negative, got {shown(shares, 60)}.")
    if not weights.any():
        return np.ones_like(weights)
    weights /= weights.max()
    return np.maximum(weights, _ZERO_SHARE)


def _units(given: Any, n: int, name: str, one_for_all: bool) -> Any:
    """Numbers of units, one per category."""
    values = as_numbers(given)
    fits = values is not None and (values.shape == (n,) or (one_for_all and values.ndim == 0))
    if values is None or not fits or np.isnan(values).any():
        single = "a number, or " if one_for_all else ""
        raise ValueError(f"{name} must be {single}{n} numbers of units, got {shown(given, 60)}.")
    return np.broadcast_to(np.asarray(given), (n,))


def _exact_parts(shares: Floats, total: int, floor: Ints, caps: Ints) -> Floats:
    """Fractional parts for every total: clip(level * share, floor, cap) that sum to the total."""
    totals = np.arange(total + 1, dtype=np.float64)
    base = floor.sum()
    below = _clipped_parts(shares, np.zeros_like(floor), floor, totals[totals < base])
    above = _clipped_parts(shares, floor, caps, totals[totals >= base])
    return np.concatenate([below, above])


def _clipped_parts(shares: Floats, low: Ints, high: Ints, totals: Floats) -> Floats:
    """Parts of each total; parts and their sum are piecewise linear in the common level."""
    levels = np.unique(np.concatenate([[0.0], low / shares, high / shares]))
    parts = np.clip(levels[:, None] * shares, low, high)
    # Where all shares are at a bound for a while, neither the parts nor their sum change.
    sums, first = np.unique(parts.sum(axis=1), return_index=True)
    return np.stack([np.interp(totals, sums, part) for part in parts[first].T], axis=1)


def _whole_parts(exact: Floats) -> Ints:
    """Give each total's new unit to whom lacks most: largest remainder that takes none back."""
    whole = np.zeros(exact.shape, dtype=np.int64)
    totals = np.round(exact.sum(axis=1))
    for row in range(1, len(exact)):
        whole[row] = whole[row - 1]
        if totals[row] > whole[row].sum():  # else all have reached their caps
            lack = np.round(exact[row] - whole[row], _TIE_DECIMALS)
            whole[row, np.argmax(lack)] += 1
    return whole


def canonical_order(n: int, keys: Sequence[Any] | None) -> NDArray[np.intp]:
    """Return the order in which all arithmetic runs: by key, so that position cannot matter.

    Parameters
    ----------
    n : int
        Number of categories.
    keys : sequence of length n or None
        Distinct sortable names; None keeps the order.

    Returns
    -------
    ndarray of shape (n,), intp
        Positions in the order of their keys.

    Raises
    ------
    ValueError
        If the keys are not n distinct names.

    Examples
    --------
    >>> from adaptive_vq.apportion import canonical_order
    >>> canonical_order(3, ["b", "c", "a"])
    array([2, 0, 1])
    """
    if keys is None:
        return np.arange(n)
    names = distinct_names(keys, n)
    return np.array(sorted(range(n), key=lambda i: names[i]), dtype=np.intp)
