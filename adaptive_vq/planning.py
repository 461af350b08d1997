"""Plans: from ratios to bits (formula strategies) and from bits to ratios (the others)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_vq import _budgets, _reasons
from adaptive_vq.allocation import allocate_total
from adaptive_vq.gaussian import active_directions
from adaptive_vq.plan import Goal, Plan
from adaptive_vq.sharing import latent_shares, share_bits, split_levels
from adaptive_vq.spectra import (
    CategoryStatistics,
    category_statistics,
    variance_shares,
)

__all__ = ["plan_from_bits", "plan_from_ratios", "plan_water_filling"]


def plan_from_ratios(
    label: str,
    ratios: Mapping[str, list[float]],
    Z: NDArray[np.float32],
    categories: dict[str, NDArray[np.int64]],
    scores: Mapping[str, Mapping[str, float]],
    goal: Goal,
    weight: NDArray[np.float64] | None = None,
) -> Plan:
    """Plan from ratios: bits in proportion to latent widths.

    Parameters
    ----------
    label : str
        Name of the strategy, for the reasons.
    ratios : mapping of str to list of float
        One positive ratio per level for each category.
    Z : ndarray of shape (n_samples, n_features)
        Training rows in codec units, nothing missing.
    categories : dict of str to ndarray of int64
        Column indices of each category.
    scores : mapping of str to mapping
        Scores of each category; they are listed with the decisions.
    goal : Goal
        Levels and budget.
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    Plan
        With the Gaussian prediction of each category's NMSE.

    Raises
    ------
    ValueError
        If ``goal.max_nmse`` is out of reach.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.planning import Goal, plan_from_ratios
    >>> Z = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    >>> categories = {"a": np.array([0, 1]), "b": np.array([2])}
    >>> ratios = {"a": [1.0, 2.0], "b": [1.0, 2.0]}
    >>> plan_from_ratios("mine", ratios, Z, categories, {}, Goal(2, bits=9)).bits
    {'a': [2, 4], 'b': [1, 2]}
    """
    statistics = category_statistics(Z, categories, weight)
    n_columns = {name: s.n_columns for name, s in statistics.items()}
    caps = {n: s.exact_at for n, s in statistics.items() if s.exact_at is not None}
    if goal.max_nmse is None:
        budget = goal.budget(Z.shape[1])
    else:
        budget = _budgets.smallest_shared(ratios, statistics, caps, goal)
    bits = share_bits(ratios, n_columns, budget, caps)
    bits = {name: _first_if_exact(levels, statistics[name]) for name, levels in bits.items()}
    predicted = _gaussian_nmse(statistics, bits)
    shares = latent_shares(ratios, n_columns)
    reasons = {
        name: _reasons.shared(
            label,
            ratios[name],
            scores.get(name, {}),
            statistics[name],
            shares[name],
            sum(bits[name]),
            budget,
            predicted[name],
        )
        for name in categories
    }
    return Plan(
        label,
        budget,
        goal.n_levels,
        categories,
        {name: list(levels) for name, levels in ratios.items()},
        bits,
        _decisions(categories, scores, predicted, reasons),
        explicit_budget=goal.explicit,
    )


def plan_water_filling(
    label: str,
    Z: NDArray[np.float32],
    categories: dict[str, NDArray[np.int64]],
    scores: Mapping[str, Mapping[str, float]],
    goal: Goal,
    because: str = "",
    weight: NDArray[np.float64] | None = None,
) -> Plan:
    """Plan in closed form: the best whole bits if every category were Gaussian.

    Parameters
    ----------
    label : str
        Name of the strategy.
    Z, categories, scores, goal
        As in :func:`plan_from_ratios`.
    because : str, default=""
        Why water-filling stands in for another strategy, for the reasons.
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    Plan
        Bits divided evenly over the levels; the ratios are the share of a category's principal
        directions that the bits up to a level reach.

    Raises
    ------
    ValueError
        If ``goal.max_nmse`` is out of reach.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.planning import Goal, plan_water_filling
    >>> Z = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    >>> categories = {"a": np.array([0, 1]), "b": np.array([2])}
    >>> plan_water_filling("water_filling", Z, categories, {}, Goal(2, bits=9)).bits
    {'a': [3, 3], 'b': [2, 1]}
    """
    statistics = category_statistics(Z, categories, weight)
    weights = list(variance_shares(statistics).values())
    if goal.max_nmse is None:
        budget = goal.budget(Z.shape[1])
    else:
        budget = _budgets.smallest_filled(statistics, weights, goal)
    curves = {name: s.curve(budget) for name, s in statistics.items()}
    parts = allocate_total(list(curves.values()), budget, weights=weights, keys=list(categories))
    bits = {
        name: _first_if_exact(split_levels(int(part), [1.0] * goal.n_levels), statistics[name])
        for name, part in zip(categories, parts, strict=True)
    }
    ratios = {name: _direction_ratios(s, bits[name]) for name, s in statistics.items()}
    predicted = _gaussian_nmse(statistics, bits)
    reasons = _bought(statistics, bits, budget, curves, "Gaussian", because)
    return Plan(
        label,
        budget,
        goal.n_levels,
        categories,
        ratios,
        bits,
        _decisions(categories, scores, predicted, reasons),
        explicit_budget=goal.explicit,
    )


def plan_from_bits(
    label: str,
    measured: Any,
    budget: int,
    Z: NDArray[np.float32],
    scores: Mapping[str, Mapping[str, float]],
    goal: Goal,
    weight: NDArray[np.float64] | None = None,
) -> Plan:
    """Plan from measured curves: write down what measuring has decided.

    Parameters
    ----------
    label : str
        Name of the strategy.
    measured : Measured
        Result of ``adaptive_vq.curves.measure``.
    budget : int
        Bits per row it was given.
    Z, scores, goal
        As in :func:`plan_from_ratios`.
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    Plan
        With the measured curves.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from adaptive_vq.planning import Goal, plan_from_bits
    >>> Z = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    >>> measured = SimpleNamespace(
    ...     categories={"a": np.array([0, 1])},
    ...     bits={"a": [2]},
    ...     ratios={"a": [1.0]},
    ...     curves={"a": np.array([1.0, 0.6, 0.3])},
    ...     predicted={"a": 0.3},
    ...     codebook_bits={},
    ... )
    >>> plan = plan_from_bits("rate_distortion", measured, 2, Z, {}, Goal(1, bits=2))
    >>> plan.decisions_frame().loc["a", "predicted_nmse"].item()
    0.3
    """
    statistics = category_statistics(Z, measured.categories, weight)
    reasons = _bought(statistics, measured.bits, budget, measured.curves, "measured")
    return Plan(
        label,
        budget,
        goal.n_levels,
        dict(measured.categories),
        {name: [float(r) for r in levels] for name, levels in measured.ratios.items()},
        {name: [int(b) for b in levels] for name, levels in measured.bits.items()},
        _decisions(measured.categories, scores, measured.predicted, reasons),
        dict(measured.curves),
        goal.explicit,
        dict(measured.codebook_bits),
    )


def _bought(
    statistics: Mapping[str, CategoryStatistics],
    bits: Mapping[str, Sequence[int]],
    budget: int,
    curves: Mapping[str, NDArray[np.float64]],
    source: str,
    because: str = "",
) -> dict[str, str]:
    """Reasons for bits that were spent where they buy most, by curves of some source."""
    shares = variance_shares(statistics)
    return {
        name: _reasons.bought(
            sum(bits[name]), budget, curves[name], shares[name], own, source, because
        )
        for name, own in statistics.items()
    }


def _first_if_exact(levels: list[int], statistics: CategoryStatistics) -> list[int]:
    """Put all bits in level 0 where they hold every distinct row: split up, they would not."""
    total = sum(levels)
    if statistics.exact_at is None or total < statistics.exact_at:
        return levels
    return [total] + [0] * (len(levels) - 1)


def _gaussian_nmse(
    statistics: Mapping[str, CategoryStatistics], bits: Mapping[str, list[int]]
) -> dict[str, float]:
    return {name: float(s.curve(sum(bits[name]))[-1]) for name, s in statistics.items()}


def _direction_ratios(statistics: CategoryStatistics, levels: list[int]) -> list[float]:
    """Return the share of principal directions worth coding up to each level, at least one."""
    counts = active_directions(statistics.spectrum, np.cumsum(levels))
    return [max(1, int(count)) / statistics.n_columns for count in counts]


def _decisions(
    categories: Mapping[str, NDArray[np.int64]],
    scores: Mapping[str, Mapping[str, float]],
    predicted: Mapping[str, float],
    reasons: Mapping[str, str],
) -> list[dict[str, Any]]:
    return [
        {
            "category": name,
            "n_columns": len(columns),
            **{key: float(value) for key, value in scores.get(name, {}).items()},
            "predicted_nmse": float(predicted[name]),
            "reason": reasons[name],
        }
        for name, columns in categories.items()
    ]
