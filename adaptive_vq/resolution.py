"""Who decides: from the codec's parameters and the note on the table to one plan."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from adaptive_vq._alerts import warn
from adaptive_vq._unit_choice import follow_units, is_auto
from adaptive_vq._weight_notes import warn_of_other_weights
from adaptive_vq._wording import counted
from adaptive_vq.annotations import annotation
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.plan import Goal, Plan
from adaptive_vq.planning import plan_from_ratios
from adaptive_vq.ratios import AdaptiveRatioSelector
from adaptive_vq.sharing import parse_ratios
from adaptive_vq.strategies import MEASURING, STRATEGIES, check_strategy, strategy_label
from adaptive_vq.tables import first_row
from adaptive_vq.units import CodecUnits, resolve_units
from adaptive_vq.weights import learning_rows, settle_column_weights

OWNER = "HierarchicalVQVAE"
STRATEGY = "auto_compression_strategy"


def resolve_plan(
    estimator: Any,
    X: Any,
    table: NDArray[np.float64],
    note: dict[str, Any] | None,
    recall: Callable[[str, Callable[[], Any]], Any] = lambda _, compute: compute(),
    sample_weight: NDArray[np.float64] | None = None,
    column_weights: NDArray[np.float64] | None = None,
) -> tuple[Plan, Any, Any, dict[str, Any]]:
    """Settle units and plan: value given > selector given > note on the table > default selector.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
    X : array-like
        The table as given, with its note.
    table : ndarray of shape (n_samples, n_features)
        The same cells.
    note : dict or None
    recall : callable (stage, compute) -> value
        Gives what a stage of an interrupted fit had come to, else computes it; always computes
        it by default.
    sample_weight : ndarray of shape (n_samples,) or None
    column_weights : ndarray of shape (n_features,) or None
        Weights that were given to the codec itself.

    Returns
    -------
    plan : Plan
    scaler, clip
        Units, settled.
    note : dict
        The note that the plan came from.
    """
    if isinstance(estimator.auto_compression_strategy, str):  # also where a plan has been made
        _check_own_strategy(estimator)
    if note is not None:  # a conflict with an earlier step, before nested estimators follow
        resolve_units(estimator.scaler, estimator.clip, note.get("units"), OWNER)
    ratios = estimator.compression_ratios
    by_selector = is_auto(ratios) or isinstance(ratios, AdaptiveRatioSelector)
    _warn_of_idle_plan(ratios, note)
    if by_selector:
        _warn_of_idle_strategy(estimator, note)
    nested = _still_to_fit(estimator, note, column_weights)
    if nested is not None:
        note = recall("note", lambda: _note_of(nested, X, sample_weight))
    assert note is not None
    warn_of_other_weights(note, sample_weight is not None, OWNER)
    note = {**note, "column_weights": settle_column_weights(column_weights, note, OWNER, X)}
    scaler, clip, _ = resolve_units(estimator.scaler, estimator.clip, note.get("units"), OWNER)
    if by_selector:
        plan = Plan.from_note(note["plan"])
        _refuse_other(estimator, plan)
    else:
        units = CodecUnits(scaler, clip)
        plan = _plan_given(estimator, ratios, learning_rows(table, sample_weight), note, units)
        _warn_of_idle_strategy(estimator, note)
    return plan, scaler, clip, note


def _check_own_strategy(estimator: Any) -> None:
    """Refuse a bad strategy by the name that it has here, not the selector's."""
    check_strategy(estimator.auto_compression_strategy, estimator.n_levels or 3, STRATEGY)


def _still_to_fit(
    estimator: Any, note: Mapping[str, Any] | None, column_weights: NDArray[np.float64] | None
) -> Any:
    """Selector or characterizer that is to be fitted here; None where the note says enough."""
    ratios = estimator.compression_ratios
    if is_auto(ratios):
        if note and note.get("plan"):
            return None
        _check_own_strategy(estimator)
        ratios = AdaptiveRatioSelector(
            estimator.auto_compression_strategy,
            bits=estimator.bits,
            n_levels=estimator.n_levels or 3,
            column_weights=column_weights,
            random_state=estimator.random_state,
        )
    if isinstance(ratios, AdaptiveRatioSelector):
        selector = _following(ratios, estimator)
        if selector.column_weights is None:
            selector.column_weights = column_weights
        return selector
    if note and note.get("categories"):
        return None
    return _following(FeatureCharacterizer(random_state=estimator.random_state), estimator)


def _following(nested: Any, estimator: Any) -> Any:
    """Clone of a nested estimator that takes over the codec's units where its own are automatic."""
    nested = clone(nested)
    nested._told_as = OWNER
    follow_units(nested, estimator)
    if (
        isinstance(nested, AdaptiveRatioSelector)
        and nested.bits is None
        and nested.max_nmse is None
    ):
        nested.bits = estimator.bits
    return nested


def _note_of(nested: Any, X: Any, sample_weight: Any) -> dict[str, Any]:
    found = annotation(nested.fit(X, sample_weight=sample_weight).transform(first_row(X)))
    assert found is not None
    return found


def _warn_of_idle_plan(ratios: Any, note: Mapping[str, Any] | None) -> None:
    """Tell that an earlier selector's plan gives way to what the codec was given."""
    plan = (note or {}).get("plan")
    if not plan or is_auto(ratios):
        return
    warn(
        f"{OWNER}(compression_ratios={ratios!r}) replaces the plan that AdaptiveRatioSelector has "
        f"made by strategy {plan['strategy']!r}: its ratios and bits per category have no effect. "
        "Leave compression_ratios at 'auto' to follow it, or take the selector out."
    )


def _warn_of_idle_strategy(estimator: Any, note: Mapping[str, Any] | None) -> None:
    """Tell that a selector, or ratios that are given, leave nothing to a strategy set here."""
    ratios, label = estimator.compression_ratios, strategy_label(getattr(estimator, STRATEGY))
    planned = (note or {}).get("plan")
    if isinstance(ratios, AdaptiveRatioSelector):
        maker = strategy_label(ratios.strategy)
        why = f"the selector in compression_ratios makes the plan, by strategy {maker!r}"
        how = "Set strategy there, or leave compression_ratios at 'auto'."
    elif not is_auto(ratios):
        maker = ""
        why = f"compression_ratios={ratios!r} holds the ratios already"
        how = f"Set compression_ratios='auto' to follow it, or leave {STRATEGY} out."
    elif planned:
        maker = planned["strategy"]
        why = f"AdaptiveRatioSelector has made the plan, by strategy {maker!r}"
        how = "Set strategy there, or take the selector out."
    else:
        return
    if label not in ("rate_distortion", maker):  # the default is no wish
        warn(f"{OWNER}({STRATEGY}={label!r}) has no effect: {why}. {how}")


def _refuse_other(estimator: Any, plan: Plan) -> None:
    _refuse("bits", estimator.bits, plan.budget)
    _refuse("n_levels", estimator.n_levels, plan.n_levels)


def _refuse(name: str, here: int | None, there: int) -> None:
    if here is not None and here != there:
        raise ValueError(
            f"{OWNER}({name}={here}) contradicts AdaptiveRatioSelector, which planned "
            f"{name}={there}. Set {name} on AdaptiveRatioSelector only."
        )


def _plan_given(
    estimator: Any,
    ratios: Any,
    rows: tuple[NDArray[np.float64], NDArray[np.float64] | None],
    note: Mapping[str, Any],
    units: CodecUnits,
) -> Plan:
    """Plan for ratios given as a list, "a:b:c" or a dict per category."""
    categories = {name: np.asarray(c, dtype=np.int64) for name, c in note["categories"].items()}
    per_category = _per_category(ratios, list(categories))
    lengths = {len(levels) for levels in per_category.values()}
    if len(lengths) > 1:
        raise ValueError(
            f"compression_ratios has different numbers of levels per category: {sorted(lengths)}."
        )
    n_levels = lengths.pop()
    if estimator.n_levels is not None and estimator.n_levels != n_levels:
        raise ValueError(
            f"n_levels={estimator.n_levels} contradicts compression_ratios={ratios!r}, which has "
            f"{counted(n_levels, 'level')}."
        )
    table, weight = rows
    names, importance = estimator._inner_names(), note["column_weights"]
    Z = units.fit(table, weight, names=names, column_weights=importance).to_codec(table)
    Z = ConditionalMeanImputer().fit(Z, categories, weight).transform(Z)
    goal, scores = Goal(n_levels, _budget_given(estimator, note)), note.get("scores", {})
    return plan_from_ratios("given", per_category, Z, categories, scores, goal, weight)


def _budget_given(estimator: Any, note: Mapping[str, Any]) -> int | None:
    """Return the budget that was asked for here or in an earlier step."""
    planned = note.get("plan") or {}
    if not planned.get("explicit_budget"):
        return None if estimator.bits is None else int(estimator.bits)
    _refuse("bits", estimator.bits, planned["budget"])
    return int(planned["budget"])


def _per_category(ratios: Any, names: list[str]) -> dict[str, list[float]]:
    if hasattr(ratios, "get_params"):  # of an estimator, or its class
        raise ValueError(
            f"compression_ratios={ratios!r} makes no plan: give an AdaptiveRatioSelector(...), "
            "which takes a FeatureCharacterizer as characterizer, or ratios."
        )
    if isinstance(ratios, str) and difflib.get_close_matches(ratios, [*MEASURING, *STRATEGIES], 1):
        raise ValueError(
            f"compression_ratios={ratios!r} looks like a strategy: give it as {STRATEGY}=..., or "
            "in an AdaptiveRatioSelector(...)."
        )
    if not isinstance(ratios, Mapping):
        same = parse_ratios(ratios)
        return {name: list(same) for name in names}
    unknown = [name for name in ratios if name not in names]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"compression_ratios names the unknown category {unknown[0]!r}; there are {names}."
            f"{hint}"
        )
    absent = [name for name in names if name not in ratios]
    if absent:
        raise ValueError(
            f"compression_ratios has no entry for category {absent[0]!r}: give one for each of "
            f"{names}."
        )
    return {name: parse_ratios(ratios[name]) for name in names}
