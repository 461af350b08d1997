"""Exact division of a bit budget over categories.

Plain numpy, no estimator in sight. A *curve* is a one-dimensional array whose entry ``b`` is the
distortion of one category coded with ``b`` bits; its length says how many bits the category can
take, and ``inf`` forbids a number of bits. Wherever two divisions are equally good the *keys*
(names) decide, never the position, so that reordering the categories reorders the answer and does
nothing else. Proportional shares and Gaussian curves have modules of their own and can be imported
from here too.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._number_checks import as_numbers, distinct_names, number_row, whole_number
from adaptive_vq._wording import shown
from adaptive_vq.apportion import canonical_order, largest_remainder, largest_remainder_path
from adaptive_vq.gaussian import active_directions, gaussian_curve

__all__ = [
    "active_directions",
    "allocate_minimax",
    "allocate_total",
    "gaussian_curve",
    "largest_remainder",
    "largest_remainder_path",
    "lower_envelope",
    "smallest_budget",
    "water_filling_bits",
]

_SUMS_AT_ONCE = 2**16
"""Of all budgets with all bits of a category, which are many where both are thousands."""


def allocate_total(
    curves: Sequence[ArrayLike],
    budget: int,
    *,
    weights: ArrayLike | None = None,
    keys: Sequence[Any] | None = None,
) -> Ints:
    """Divide bits so that the weighted sum of distortions is least.

    Exact for any curves, convex or not: a dynamic program over categories.

    Parameters
    ----------
    curves : sequence of n array-likes
        ``curves[g][b]`` is the distortion of category g at b bits; ``inf`` forbids b.
    budget : int
        Bits to spend at most, at least 0.
    weights : array-like of shape (n,), optional
        Non-negative factor of each category's distortion; 1 by default.
    keys : sequence of length n, optional
        Distinct sortable names that decide ties; the position by default.

    Returns
    -------
    ndarray of shape (n,), int64
        Bits per category; the sum is at most `budget`. A bit stays unspent only where every
        category is at the end of its curve or would get worse by one more.

    Raises
    ------
    ValueError
        For a malformed curve, or if no division within the budget is allowed.

    References
    ----------
    Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE
    Transactions on Acoustics, Speech, and Signal Processing 36 (1988), pose the problem.

    Examples
    --------
    >>> from adaptive_vq.allocation import allocate_total
    >>> allocate_total([[4.0, 1.0, 0.9], [3.0, 2.0, 0.0]], 3)
    array([1, 2])
    """
    costs = _checked_curves(curves, budget, keys)
    factors = _checked_weights(weights, len(costs))
    order = canonical_order(len(costs), keys)
    bits = np.empty(len(costs), dtype=np.int64)
    bits[order] = _solve([_weighted(costs[i], factors[i]) for i in order], budget)
    return bits


def allocate_minimax(
    curves: Sequence[ArrayLike],
    budget: int,
    *,
    weights: ArrayLike | None = None,
    keys: Sequence[Any] | None = None,
) -> Ints:
    """Divide bits so that the largest distortion is least, then their weighted sum.

    Parameters
    ----------
    curves, budget, keys
        As in :func:`allocate_total`. The largest distortion is that of the curves as given, so
        give errors that may be compared (the NMSE of each category).
    weights : array-like of shape (n,), optional
        Factor of each category in the sum that decides among divisions with the same largest
        distortion; 1 by default.

    Returns
    -------
    ndarray of shape (n,), int64
        Bits per category, as in :func:`allocate_total`.

    Raises
    ------
    ValueError
        As :func:`allocate_total`.

    Examples
    --------
    >>> from adaptive_vq.allocation import allocate_minimax
    >>> allocate_minimax([[4.0, 1.0, 0.9], [3.0, 2.0, 0.0]], 2)
    array([1, 1])
    """
    costs = _checked_curves(curves, budget, keys)
    factors = _checked_weights(weights, len(costs))
    order = canonical_order(len(costs), keys)
    ceiling = _least_ceiling(costs, budget)
    allowed = [np.where(cost <= ceiling, cost, np.inf) for cost in costs]
    bits = np.empty(len(costs), dtype=np.int64)
    bits[order] = _solve([_weighted(allowed[i], factors[i]) for i in order], budget)
    return bits


def smallest_budget(
    curves: Sequence[ArrayLike],
    target_total: float,
    *,
    weights: ArrayLike | None = None,
    limit: int | None = None,
) -> int:
    """Return the smallest budget whose best division reaches a total distortion.

    Parameters
    ----------
    curves : sequence of n array-likes
        As in :func:`allocate_total`.
    target_total : float
        The weighted sum of distortions to reach.
    weights : array-like of shape (n,), optional
        As in :func:`allocate_total`.
    limit : int, optional
        The largest budget to consider; by default what the curves can take together.

    Returns
    -------
    int
        Bits.

    Raises
    ------
    ValueError
        If the target is out of reach within `limit`.

    Examples
    --------
    >>> from adaptive_vq.allocation import smallest_budget
    >>> smallest_budget([[4.0, 1.0, 0.5], [3.0, 2.0, 0.0]], 2.0)
    3
    """
    costs = _checked_curves(curves, 0 if limit is None else limit, None)
    if not isinstance(target_total, Real):
        raise TypeError(f"target_total must be a number, got {shown(target_total, 60)}.")
    factors = _checked_weights(weights, len(costs))
    most = sum(cost.size - 1 for cost in costs)
    most = most if limit is None else min(limit, most)
    totals, _ = _best_totals([_weighted(c, f) for c, f in zip(costs, factors, strict=True)], most)
    reached = np.flatnonzero(totals <= target_total * (1 + 1e-12))
    if reached.size == 0:
        raise ValueError(
            f"A total distortion of {target_total:.3g} is out of reach: {most} bits bring it to "
            f"{totals[-1]:.3g}."
        )
    return int(reached[0])


def _checked_curves(
    curves: Sequence[ArrayLike], budget: int, keys: Sequence[Any] | None
) -> list[Floats]:
    if not isinstance(budget, Integral):
        raise TypeError(f"budget must be a whole number of bits, got {budget!r}.")
    if budget < 0:
        raise ValueError(f"budget must be at least 0 bits, got {budget}.")
    if not isinstance(curves, Sized) or len(curves) == 0:
        raise ValueError("curves is empty: give one curve per category.")
    names = list(range(len(curves))) if keys is None else distinct_names(keys, len(curves))
    costs = []
    for name, curve in zip(names, curves, strict=True):
        cost = as_numbers(curve)
        if cost is None or cost.ndim != 1 or cost.size == 0 or np.isnan(cost).any():
            raise ValueError(
                f"The curve of {name!r} must be one-dimensional, not empty and without NaN; got "
                f"{shown(curve, 60)}."
            )
        costs.append(cost)
    return costs


def _checked_weights(weights: ArrayLike | None, n: int) -> Floats:
    factors = np.ones(n) if weights is None else as_numbers(weights)
    if (
        factors is None
        or factors.shape != (n,)
        or not np.isfinite(factors).all()
        or (factors < 0).any()
    ):
        raise ValueError(f"weights must be {n} finite numbers, none negative, got {weights!r}.")
    return factors


def _weighted(cost: Floats, factor: float) -> Floats:
    """Scale a curve; what is forbidden stays forbidden at weight 0."""
    return np.where(np.isinf(cost), cost, factor * np.where(np.isinf(cost), 0.0, cost))


def _solve(costs: list[Floats], budget: int) -> Ints:
    totals, choices = _best_totals(costs, budget)
    if np.isinf(totals[-1]):
        raise ValueError(f"No allowed division fits in {budget} bits: raise the budget.")
    bits = np.zeros(len(costs), dtype=np.int64)
    left = budget
    for g in range(len(costs) - 1, -1, -1):
        bits[g] = choices[g][left]
        left -= int(bits[g])
    return _spend_rest(costs, bits, left)


def _best_totals(costs: list[Floats], budget: int) -> tuple[Floats, list[Ints]]:
    """Return the least total for every budget up to the one given, and the bits leading there."""
    totals = np.zeros(budget + 1)
    choices = []
    for cost in costs:
        cost = cost[: budget + 1]
        # What the others total by [budget, bits], from the totals of falling budgets.
        others = np.concatenate([totals[::-1], np.full(cost.size - 1, np.inf)])
        others = sliding_window_view(others, cost.size)[::-1]
        totals, choice = np.empty(budget + 1), np.empty(budget + 1, dtype=np.int64)
        n_rows = max(1, _SUMS_AT_ONCE // cost.size)
        for start in range(0, budget + 1, n_rows):
            some = slice(start, start + n_rows)
            sums = others[some] + cost
            choice[some] = sums.argmin(1)
            totals[some] = np.take_along_axis(sums, choice[some, None], 1)[:, 0]
        choices.append(choice)
    return totals, choices


def _spend_rest(costs: list[Floats], bits: Ints, left: int) -> Ints:
    """Hand out bits that change no total, evenly: the category with the fewest bits first."""
    while left > 0:
        free = [g for g, b in enumerate(bits) if b + 1 < costs[g].size]
        free = [g for g in free if costs[g][bits[g] + 1] <= costs[g][bits[g]]]
        if not free:
            break
        bits[min(free, key=lambda g: (bits[g], g))] += 1
        left -= 1
    return bits


def _least_ceiling(costs: list[Floats], budget: int) -> float:
    """Return the least value that all categories can stay at or below within the budget."""
    envelopes = [lower_envelope(cost) for cost in costs]
    values = np.unique(np.concatenate(envelopes))
    floor = max(envelope[-1] for envelope in envelopes)
    values = values[values >= floor]
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        needed = sum(int((envelope > values[middle]).sum()) for envelope in envelopes)
        low, high = (low, middle) if needed <= budget else (middle + 1, high)
    return float(values[low])


def lower_envelope(curve: ArrayLike) -> Floats:
    """Return the largest non-increasing curve that is nowhere above the given one.

    A coder allowed b bits may leave some unused, so a measured curve that rises says nothing but
    that its last bits were spent in vain.

    Parameters
    ----------
    curve : array-like of shape (n_bits + 1,)
        Distortion per number of bits, ``inf`` where forbidden.

    Returns
    -------
    ndarray of shape (n_bits + 1,)
        The envelope.

    Raises
    ------
    ValueError
        If the curve is no list of numbers, or holds NaN.

    Examples
    --------
    >>> from adaptive_vq.allocation import lower_envelope
    >>> lower_envelope([5.0, 4.0, 4.5, 1.0])
    array([5., 4., 4., 1.])
    """
    return np.minimum.accumulate(number_row(curve, "curve", infinite=True))


def water_filling_bits(
    spectra: Sequence[ArrayLike],
    budget: int,
    *,
    weights: ArrayLike | None = None,
    exact_at: Sequence[int | None] | None = None,
    keys: Sequence[Any] | None = None,
) -> Ints:
    """Divide bits as if every category were Gaussian: reverse water-filling in whole bits.

    Parameters
    ----------
    spectra : sequence of n array-likes
        Eigenvalues of each category's covariance, all in the same units.
    budget : int
        Bits to spend at most, at least 0.
    weights : array-like of shape (n,), optional
        Factor of each category's distortion; 1 by default.
    exact_at : sequence of length n, optional
        Bits, per category, that describe it without error because it takes few distinct values; it
        gets no more. None where there is no such limit.
    keys : sequence of length n, optional
        Distinct sortable names that decide ties; the position by default.

    Returns
    -------
    ndarray of shape (n,), int64
        Bits per category, the best whole numbers under the budget.

    Raises
    ------
    ValueError
        As :func:`allocate_total`.

    Examples
    --------
    >>> from adaptive_vq.allocation import water_filling_bits
    >>> water_filling_bits([[16.0, 4.0], [1.0]], 4)
    array([4, 0])
    """
    whole_number(budget, "budget", "bits")
    given: Any = spectra
    if isinstance(given, str) or not isinstance(given, Sized) or len(given) == 0:
        raise ValueError("spectra is empty: give one list of eigenvalues per category.")
    limits: Sequence[int | None] = [None] * len(spectra) if exact_at is None else exact_at
    listed: Any = limits
    if not isinstance(listed, Sized) or len(listed) != len(spectra):
        raise ValueError(
            f"exact_at must hold {len(spectra)} numbers of bits, or None, one per category; got "
            f"{shown(exact_at, 60)}."
        )
    curves = [
        gaussian_curve(spectrum, budget, exact_at=limit)
        for spectrum, limit in zip(spectra, limits, strict=True)
    ]
    return allocate_total(curves, budget, weights=weights, keys=keys)
