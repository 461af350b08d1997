"""Where a selector's categories and their scores come from."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import clone

from adaptive_vq._alerts import warn
from adaptive_vq._unit_choice import follow_units, is_auto
from adaptive_vq._wording import shown
from adaptive_vq.annotations import annotation
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.tables import first_row

__all__ = ["profile_of"]

_SHOWN = 80
"""Most characters of a characterizer in a message."""


def profile_of(selector: Any, X: Any, sample_weight: ArrayLike | None) -> dict[str, Any]:
    """Return the note of an earlier step, or of a characterizer fitted here.

    Parameters
    ----------
    selector : AdaptiveRatioSelector
    X : array-like or DataFrame of shape (n_samples, n_features)
        With the note of an earlier step, if there was one.
    sample_weight : array-like of shape (n_samples,) or None

    Returns
    -------
    dict
        With categories, scores and units.

    Raises
    ------
    TypeError
        If what was given as characterizer is none.
    """
    earlier = annotation(X)
    if earlier is not None and "categories" not in earlier:
        earlier = None
    if selector.characterizer is None and earlier is not None:
        return earlier
    nested = FeatureCharacterizer(random_state=selector.random_state)
    if selector.characterizer is not None:
        nested = clone(selector.characterizer)
        if earlier is not None:
            _warn_of_idle_categories(selector)
    follows = follow_units(nested, selector)
    nested.fit(X, sample_weight=sample_weight)
    found = annotation(nested.transform(first_row(X)))
    if found is None or "categories" not in found:
        raise TypeError(
            f"characterizer={selector.characterizer!r} leaves no note of categories: use a "
            "FeatureCharacterizer."
        )
    decided = [key for key in follows if not is_auto(getattr(selector, key))]
    given = found["units"]["given"] | dict.fromkeys(decided, type(selector).__name__)
    return {**found, "units": {**found["units"], "given": given}}


def _warn_of_idle_categories(selector: Any) -> None:
    """Tell that categories of an earlier step give way to those of the characterizer given here."""
    warn(
        f"{type(selector).__name__}(characterizer={shown(selector.characterizer, _SHOWN)}) "
        "replaces the categories that an earlier step has found. Leave characterizer at None to "
        "follow them, or take that step out."
    )
