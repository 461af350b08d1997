"""Parameters of the characterizer that do nothing beside the categories that it was given."""

from __future__ import annotations

from inspect import signature
from numbers import Integral
from typing import Any

from adaptive_vq._alerts import warn
from adaptive_vq._wording import shown

__all__ = ["warn_of_idle_limits"]

_CLUSTERED = ("auto", "silhouette", "prefix_auto")
_SHOWN = 80
"""Most characters of categories in a message."""


def warn_of_idle_limits(estimator: Any) -> None:
    """Warn if a parameter is set that nothing reads, since the categories do not leave it a choice.

    Parameters
    ----------
    estimator : FeatureCharacterizer
        With categories that have been found to be usable.
    """
    defaults = signature(type(estimator)).parameters
    idle = [
        name
        for name in _idle(estimator)
        if name in defaults and getattr(estimator, name) != defaults[name].default
    ]
    if idle:
        told = " and ".join(f"{name}={getattr(estimator, name)!r}" for name in idle)
        how = "Leave it out" if len(idle) == 1 else "Leave them out"
        have = "has" if len(idle) == 1 else "have"
        warn(
            f"{told} of {type(estimator).__name__} {have} no effect: the categories are given by "
            f"categories={shown(estimator.categories, _SHOWN)}. {how}, or set categories='auto'."
        )


def _idle(estimator: Any) -> list[str]:
    categories = estimator.categories
    if isinstance(categories, str) and categories in _CLUSTERED:
        return []
    if isinstance(categories, Integral):
        return ["max_categories"]
    limits = ["min_category_size", "max_categories"]
    compares = hasattr(categories, "fit_predict") or estimator.remainder == "nearest"
    return limits if compares else [*limits, "correlation"]
