"""The smallest budget predicted to reach a target: one search per kind of strategy."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_vq.allocation import (
    allocate_minimax,
    allocate_total,
    lower_envelope,
    smallest_budget,
)
from adaptive_vq.apportion import largest_remainder_path
from adaptive_vq.plan import Goal
from adaptive_vq.sharing import latent_shares
from adaptive_vq.spectra import (
    CategoryStatistics,
    category_statistics,
    total_nmse,
    variance_shares,
)


def smallest_shared(
    ratios: Mapping[str, list[float]],
    statistics: Mapping[str, CategoryStatistics],
    caps: Mapping[str, int],
    goal: Goal,
) -> int:
    """Return the smallest budget whose shared bits are predicted to reach the target."""
    assert goal.max_nmse is not None
    names = list(statistics)
    n_columns = {name: s.n_columns for name, s in statistics.items()}
    parts = latent_shares(ratios, n_columns)
    weights = variance_shares(statistics)
    for limit in goal.limits(sum(n_columns.values())):
        path = largest_remainder_path(
            [parts[name] for name in names],
            limit,
            minimum=1,
            caps=[caps.get(name, limit) for name in names],
            keys=names,
        )
        totals = np.zeros(limit + 1)
        for g, name in enumerate(names):
            totals += weights[name] * statistics[name].curve(limit)[path[:, g]]
        reached = np.flatnonzero(totals <= goal.max_nmse)
        if reached.size:
            return max(1, int(reached[0]))
    raise goal.out_of_reach(float(totals[-1]), limit)


def smallest_filled(
    statistics: Mapping[str, CategoryStatistics], weights: list[float], goal: Goal
) -> int:
    """Return the smallest budget whose water-filled bits are predicted to reach the target."""
    assert goal.max_nmse is not None
    for limit in goal.limits(sum(s.n_columns for s in statistics.values())):
        curves = [s.curve(limit) for s in statistics.values()]
        bits = allocate_total(curves, limit, weights=weights)
        best = float(sum(w * c[b] for w, c, b in zip(weights, curves, bits, strict=True)))
        if best <= goal.max_nmse:
            return max(1, smallest_budget(curves, goal.max_nmse, weights=weights, limit=limit))
    raise goal.out_of_reach(best, limit)


def smallest_measured(
    at: Callable[[int], Any],
    Z: NDArray[np.float32],
    weight: NDArray[np.float64] | None,
    goal: Goal,
    minimax: bool,
) -> tuple[int, Any]:
    """Find the smallest budget that, measured at itself, is predicted to reach the target.

    Curves measured at a larger budget lead the way, but do not settle it: at a smaller budget
    another cut may be the best.
    """
    assert goal.max_nmse is not None

    def shares_of(found: Any) -> dict[str, float]:
        return variance_shares(category_statistics(Z, found.categories, weight))

    def predicted(found: Any) -> float:
        return total_nmse(shares_of(found), found.predicted)

    short, enough, measured = _first_enough(at, predicted, goal, Z.shape[1])
    passed = True
    while enough - short > 1:
        guess = (short + enough) // 2
        if passed:
            guess = _read_off(measured, shares_of(measured), goal.max_nmse, enough, minimax)
            guess = min(max(guess, short + 1), enough - 1)
        tried = at(guess)
        passed = predicted(tried) <= goal.max_nmse
        if passed:
            enough, measured = guess, tried
        else:
            short = guess
    return enough, measured


def _first_enough(
    at: Callable[[int], Any], predicted: Callable[[Any], float], goal: Goal, n_columns: int
) -> tuple[int, int, Any]:
    """Double the budget until it reaches the target; return the last one that did not, too."""
    assert goal.max_nmse is not None
    short = 0
    for limit in goal.limits(n_columns):
        measured = at(limit)
        best = predicted(measured)
        if best <= goal.max_nmse:
            return short, limit, measured
        short = limit
    raise goal.out_of_reach(best, limit)


def _read_off(
    measured: Any, shares: Mapping[str, float], target: float, limit: int, minimax: bool
) -> int:
    """Return the smallest budget that reaches the target on curves measured at a larger one."""
    curves = [lower_envelope(measured.curves[name]) for name in shares]
    weights = list(shares.values())
    divide = allocate_minimax if minimax else allocate_total

    def reaches(budget: int) -> bool:
        bits = divide(curves, budget, weights=weights, keys=list(shares))
        total = sum(w * c[b] for w, c, b in zip(weights, curves, bits, strict=True))
        return bool(total <= target)

    return max(1, bisect.bisect_left(range(limit), True, key=reaches))
