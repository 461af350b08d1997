"""Formula strategies: from four scores of a category to one compression ratio per level.

Every strategy is a pure function of the scores; the tables are those of the system this library
revives (spinlock), to both published decimals. A ratio multiplies a category's number of columns
into a latent width; :mod:`adaptive_vq.sharing` turns the widths into bits.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from adaptive_vq._wording import counted

__all__ = [
    "CUTTING",
    "MEASURING",
    "SCORES",
    "STRATEGIES",
    "balanced",
    "check_strategy",
    "dimensionality",
    "information",
    "resample_levels",
    "strategy_label",
    "strategy_ratios",
    "uniform",
    "variance",
]

Scores: TypeAlias = Mapping[str, float]
LevelRule: TypeAlias = "str | Callable[[Scores, int], float]"
Strategy: TypeAlias = "LevelRule | Sequence[LevelRule]"

SCORES = ("variance", "dimensionality", "information", "correlation")
# Strategies that decide on bits first; the ratios follow from them.
MEASURING = ("rate_distortion", "minimax", "water_filling", "learned")
CUTTING = ("rate_distortion", "minimax", "learned")


def uniform(scores: Scores) -> list[float]:
    """Give every category the same ratios.

    Parameters
    ----------
    scores : mapping
        Not looked at.

    Returns
    -------
    list of 3 floats
        Ratios for levels 0, 1, 2.

    Examples
    --------
    >>> from adaptive_vq.strategies import uniform
    >>> uniform({})
    [0.5, 1.0, 1.5]
    """
    return [0.5, 1.0, 1.5]


def variance(scores: Scores) -> list[float]:
    """Give varied categories a narrow coarse level and a wide fine one.

    Parameters
    ----------
    scores : mapping
        With the key ``variance``.

    Returns
    -------
    list of 3 floats
        Ratios for levels 0, 1, 2.

    Examples
    --------
    >>> from adaptive_vq.strategies import variance
    >>> variance({"variance": 0.9})
    [0.25, 0.75, 2.0]
    """
    score = _score(scores, "variance")
    if score > 0.7:
        return [0.25, 0.75, 2.0]
    if score > 0.4:
        return [0.4, 1.0, 1.8]
    return [0.5, 1.0, 1.5]


def dimensionality(scores: Scores) -> list[float]:
    """Give categories of many columns lower ratios.

    Parameters
    ----------
    scores : mapping
        With the key ``dimensionality``.

    Returns
    -------
    list of 3 floats
        Ratios for levels 0, 1, 2.

    Examples
    --------
    >>> from adaptive_vq.strategies import dimensionality
    >>> dimensionality({"dimensionality": 0.4})
    [0.5, 1.2, 2.0]
    """
    score = _score(scores, "dimensionality")
    if score > 0.8:
        return [0.3, 0.8, 1.5]
    if score > 0.5:
        return [0.4, 1.0, 1.8]
    return [0.5, 1.2, 2.0]


def information(scores: Scores) -> list[float]:
    """Give redundant categories lower ratios: few components explain them, or columns correlate.

    Parameters
    ----------
    scores : mapping
        With the keys ``information`` and ``correlation``.

    Returns
    -------
    list of 3 floats
        Ratios for levels 0, 1, 2.

    Examples
    --------
    >>> from adaptive_vq.strategies import information
    >>> information({"information": 0.9, "correlation": 0.7})
    [0.3, 0.7, 1.2]
    """
    redundancy = (_score(scores, "information") + _score(scores, "correlation")) / 2
    if redundancy > 0.7:
        return [0.3, 0.7, 1.2]
    if redundancy > 0.4:
        return [0.5, 1.0, 1.5]
    return [0.6, 1.5, 2.5]


def balanced(scores: Scores) -> list[float]:
    """Mix the three rules above, weighted by variance, dimensionality and missing redundancy.

    Parameters
    ----------
    scores : mapping
        With the keys ``variance``, ``dimensionality``, ``information`` and ``correlation``.

    Returns
    -------
    list of 3 floats
        Ratios for levels 0, 1, 2, rounded to two decimals.

    Examples
    --------
    >>> from adaptive_vq.strategies import balanced
    >>> balanced(dict(variance=1.0, dimensionality=0.697, information=0.983, correlation=0.793))
    [0.31, 0.85, 1.91]
    """
    parts = [_score(scores, key) for key in ("variance", "dimensionality", "information")]
    parts[2] = 1 - parts[2]
    total = sum(parts)
    weights = [part / total for part in parts] if total > 0 else [1 / 3] * 3
    rows = zip(variance(scores), dimensionality(scores), information(scores), strict=True)
    mixed = [sum(w * r for w, r in zip(weights, row, strict=True)) for row in rows]
    return [round(ratio, 2) for ratio in mixed]


def _score(scores: Scores, key: str) -> float:
    """Return a score; what is none would pass every comparison in silence."""
    value = scores.get(key)
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"the score {key!r} is {value!r}: give a finite number.")
    return float(value)


STRATEGIES: Mapping[str, Callable[[Scores], list[float]]] = MappingProxyType(
    {
        "uniform": uniform,
        "variance": variance,
        "dimensionality": dimensionality,
        "information": information,
        "balanced": balanced,
    }
)


def resample_levels(three: Sequence[float], n_levels: int) -> list[float]:
    """Interpolate three ratios at equally spaced levels.

    Parameters
    ----------
    three : sequence of 3 floats
        Ratios for levels 0, 1, 2.
    n_levels : int
        Levels wanted, at least 1.

    Returns
    -------
    list of n_levels floats
        The first and last stay; a single level gets the mean.

    Examples
    --------
    >>> from adaptive_vq.strategies import resample_levels
    >>> resample_levels([0.5, 1.0, 2.0], 5)
    [0.5, 0.75, 1.0, 1.5, 2.0]
    >>> resample_levels([0.5, 1.0, 1.5], 1)
    [1.0]
    """
    if n_levels == 1:
        return [float(np.mean(three))]
    points = np.linspace(0, 2, n_levels)
    return [float(ratio) for ratio in np.interp(points, [0, 1, 2], three)]


def check_strategy(strategy: Any, n_levels: int, parameter: str = "strategy") -> None:
    """Refuse a strategy that does not exist or does not fit the number of levels.

    Parameters
    ----------
    strategy : object
        What the user gave.
    n_levels : int
        Levels to fill.
    parameter : str, default="strategy"
        The parameter to name in an error.

    Raises
    ------
    TypeError
        If the strategy is neither a name, a callable nor a list of these.
    ValueError
        If a name is unknown, a list has another length than `n_levels`, or a list holds a
        strategy that cannot decide on a single level.

    Examples
    --------
    >>> from adaptive_vq.strategies import check_strategy
    >>> check_strategy("balanced", 3)
    """
    if isinstance(strategy, list | tuple):
        _check_level_list(strategy, n_levels, parameter)
    elif isinstance(strategy, str):
        _check_name(strategy, [*STRATEGIES, *MEASURING], parameter)
    elif not callable(strategy):
        raise TypeError(
            f"{parameter} must be a name, a callable (scores, level) -> ratio, or a list with one "
            f"of these per level; got {strategy!r}."
        )


def _check_level_list(rules: Sequence[Any], n_levels: int, parameter: str) -> None:
    if not rules:
        raise ValueError(f"{parameter} is an empty list: give one strategy per level ({n_levels}).")
    if len(rules) != n_levels:
        raise ValueError(
            f"{parameter} lists {counted(len(rules), 'strategy', 'strategies')} for "
            f"n_levels={n_levels}: give one per level, or set n_levels={len(rules)}."
        )
    for level, rule in enumerate(rules):
        if isinstance(rule, str) and rule in MEASURING:
            raise ValueError(
                f"{parameter}[{level}]={rule!r} divides the bits of all levels at once and cannot "
                f"stand for one level: use it alone, or one of {sorted(STRATEGIES)} here."
            )
        if isinstance(rule, str):
            _check_name(rule, list(STRATEGIES), f"{parameter}[{level}]")
        elif not callable(rule):
            raise TypeError(f"{parameter}[{level}] must be a name or a callable; got {rule!r}.")


def _check_name(name: str, known: list[str], parameter: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean {near[0]!r}?" if near else "."
    listed = ", ".join(map(repr, difflib.get_close_matches(name, known, n=len(known), cutoff=0.0)))
    raise ValueError(
        f"{parameter}={name!r} is not a strategy{hint} Known are, the closest first, {listed}."
    )


def strategy_label(strategy: Strategy) -> str:
    """Return a name for a strategy of any form.

    Parameters
    ----------
    strategy : str, callable or list of these
        A strategy that passed :func:`check_strategy`.

    Returns
    -------
    str
        The name itself, a callable's name, or the names of a list joined by commas.

    Examples
    --------
    >>> from adaptive_vq.strategies import strategy_label
    >>> strategy_label(["variance", "balanced"])
    'variance, balanced'
    """
    if isinstance(strategy, str):
        return strategy
    if callable(strategy):
        return str(getattr(strategy, "__name__", type(strategy).__name__))
    if not isinstance(strategy, Sequence):
        return repr(strategy)  # of no form; a label is no place to refuse it
    return ", ".join(strategy_label(rule) for rule in strategy)


def strategy_ratios(
    strategy: Strategy, scores: Scores, n_levels: int, category: str = ""
) -> list[float]:
    """Return the ratios of one category under a formula strategy of any form.

    Parameters
    ----------
    strategy : str, callable or list of these
        A name of :data:`STRATEGIES`, a callable ``(scores, level) -> ratio``, or one of these per
        level.
    scores : mapping
        The four scores of the category.
    n_levels : int
        Levels wanted.
    category : str, default=""
        Its name, for errors.

    Returns
    -------
    list of n_levels floats
        Positive and finite.

    Raises
    ------
    ValueError
        If a callable returns something else than a positive, finite number, or a score that is
        needed is missing or not finite.

    Examples
    --------
    >>> from adaptive_vq.strategies import strategy_ratios
    >>> strategy_ratios(lambda scores, level: 0.5 + level, {}, 2)
    [0.5, 1.5]
    """
    if isinstance(strategy, str):
        return _named(strategy, scores, n_levels, category)
    rules = [strategy] * n_levels if callable(strategy) else strategy
    return [
        _named(rule, scores, n_levels, category)[level]
        if isinstance(rule, str)
        else _called(rule, scores, level, category)
        for level, rule in enumerate(rules)
    ]


def _named(rule: str, scores: Scores, n_levels: int, category: str) -> list[float]:
    try:
        return resample_levels(STRATEGIES[rule](scores), n_levels)
    except ValueError as error:
        raise ValueError(f"strategy={rule!r}, category {category!r}: {error}") from error


def _called(
    rule: Callable[[Scores, int], float], scores: Scores, level: int, category: str
) -> float:
    ratio = rule(scores, level)
    # Python counts True as 1; of a rule it is the answer to another question.
    known = isinstance(ratio, Real) and not isinstance(ratio, bool)
    if not known or not math.isfinite(ratio) or ratio <= 0:
        raise ValueError(
            f"strategy: {strategy_label(rule)} returned {ratio!r} for category {category!r} at "
            f"level {level}; a ratio must be a positive, finite number."
        )
    return float(ratio)
