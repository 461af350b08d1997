"""Does what a file holds fit together? Judged before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from adaptive_vq._cleaning_rules import Extent
from adaptive_vq._twins import Twin
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.plan import Plan
from adaptive_vq.units import CodecUnits

__all__ = ["check_fitted"]

_FINITE = ("center_", "scale_", "reference_", "variance_")


def check_fitted(estimator: Any) -> None:
    """Raise if the fitted attributes of an estimator contradict each other.

    Parameters
    ----------
    estimator : estimator of this library or Pipeline
        One that was never fitted passes.

    Raises
    ------
    ValueError
        Naming the attribute. Errors of other types come from values of a wrong type.
    """
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            if step not in (None, "passthrough"):
                check_fitted(step)
        return
    if not any(key.endswith("_") for key in vars(estimator)):
        return
    d = _whole(estimator, "n_features_in_")
    _require(d >= 1, "n_features_in_")
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        _require(names.dtype == object and names.shape == (d,), "feature_names_in_")
    _CHECKS[type(estimator).__name__](estimator, d)


def _require(holds: Any, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} has a wrong type, shape or value")


def _whole(holder: Any, name: str) -> int:
    value = getattr(holder, name)
    _require(type(value) is int, name)
    return int(value)


def _array(value: Any, kind: Any, shape: tuple[int, ...], what: str) -> None:
    good = isinstance(value, np.ndarray) and value.dtype == kind and value.shape == shape
    _require(good, what)


def _finite(value: Any, shape: tuple[int, ...], what: str) -> None:
    """Raise unless `value` holds finite numbers: with others rows decode to NaN in silence."""
    _array(value, np.float64, shape, what)
    _require(np.isfinite(value).all(), what)


def _counts(value: Any, n: int, what: str) -> None:
    """Raise unless `value` holds numbers of rows, or sums of weights that are no whole numbers."""
    _require(isinstance(value, np.ndarray) and value.dtype in (np.int64, np.float64), what)
    _require(value.shape == (n,) and np.isfinite(value).all(), what)


def _caps(holder: Any, d: int, what: str = "") -> None:
    """Raise unless columns have caps in order; one without has infinite ones."""
    for name in ("lower_", "upper_"):
        _array(getattr(holder, name), np.float64, (d,), f"{what}{name}")
    _require((holder.lower_ <= holder.upper_).all(), f"{what}lower_")


def _positions(value: Any, d: int, what: str) -> None:
    """Raise unless `value` holds different column positions below `d`."""
    good = isinstance(value, np.ndarray) and value.dtype == np.int64 and value.ndim == 1
    _require(good and len(np.unique(value)) == len(value), what)
    _require(not len(value) or (value.min() >= 0 and value.max() < d), what)


def _partition(value: Any, d: int, what: str) -> None:
    """Raise unless every column is in exactly one of the categories."""
    _require(isinstance(value, dict) and value, what)
    for name, columns in value.items():
        _require(isinstance(name, str), what)
        _positions(columns, d, what)
    found = np.concatenate(list(value.values()))
    _require(len(found) == d and len(np.unique(found)) == d, what)


def _levels(value: Any, names: Any, kinds: tuple[type, ...], what: str) -> int:
    """Raise unless each category has a list of numbers, all of one length; return it."""
    _require(isinstance(value, dict) and set(value) == set(names), what)
    _require(all(isinstance(levels, list) for levels in value.values()), what)
    _require(all(type(x) in kinds and x >= 0 for x in chain(*value.values())), what)
    lengths = {len(levels) for levels in value.values()}
    _require(len(lengths) == 1, what)
    return lengths.pop()


def _table(value: Any, index: Any, what: str) -> None:
    _require(isinstance(value, pd.DataFrame), what)
    _require(all(isinstance(name, str) for name in value.columns), what)
    if index is not None:
        _require(set(value.index) == set(index), what)


def _cleaner(estimator: Any, d: int) -> None:
    _positions(estimator.kept_, d, "kept_")
    _caps(estimator, d)
    for name in ("fill_", "_median"):  # of columns never observed, which are dropped, NaN
        _array(getattr(estimator, name), np.float64, (d,), name)
        _require(np.isfinite(getattr(estimator, name)[estimator.kept_]).all(), name)
    _require(isinstance(estimator._extent, Extent), "_extent")
    _require(isinstance(estimator.twins_, dict), "twins_")
    kept = set(estimator.kept_.tolist())
    for column, twin in estimator.twins_.items():
        good = type(column) is int and 0 <= column < d and isinstance(twin, Twin)
        _require(good and twin.partner in kept, "twins_")
        figures = (twin.correlation, twin.center, twin.slope, twin.partner_center)
        _require(all(type(figure) is float for figure in figures), "twins_")
    _table(estimator.report_, None, "report_")


def _characterizer(estimator: Any, d: int) -> None:
    _partition(estimator.categories_, d, "categories_")
    _require(isinstance(estimator.cuts_, list), "cuts_")
    for cut in estimator.cuts_:
        _partition(cut, d, "cuts_")
    _require(set(estimator._scores) == set(estimator.categories_), "_scores")
    _table(estimator.characteristics_, estimator.categories_, "characteristics_")


def _plan(holder: Any, d: int) -> int:
    """Check what selector and codec share; return the number of levels."""
    _partition(holder.categories_, d, "categories_")
    n_levels = _levels(holder.bits_, holder.categories_, (int,), "bits_")
    n_ratios = _levels(holder.ratios_, holder.categories_, (int, float), "ratios_")
    _require(n_ratios == n_levels, "ratios_")
    _table(holder.decisions_, holder.categories_, "decisions_")
    return n_levels


def _selector(estimator: Any, d: int) -> None:
    n_levels = _plan(estimator, d)
    _require(isinstance(estimator.plan_, Plan), "plan_")
    _require(estimator.plan_.n_levels == n_levels, "plan_")
    note = estimator._note
    _require(isinstance(note, dict), "_note")
    stored = Plan.from_note(note["plan"])
    _partition(stored.categories, d, "_note")
    _levels(stored.bits, stored.categories, (int,), "_note")


def _codec(estimator: Any, d: int) -> None:
    if hasattr(estimator, "cleaner_"):  # the parameter may have been set since the fit
        check_fitted(estimator.cleaner_)
        _require(estimator.cleaner_.n_features_in_ == d, "cleaner_")
        d = len(estimator.cleaner_.kept_)
    n_levels = _plan(estimator, d)
    _units(estimator.units_, d)
    _imputer(estimator._imputer, estimator.categories_)
    _network(estimator, d, n_levels)


def _units(units: Any, d: int) -> None:
    _require(isinstance(units, CodecUnits) and len(units.names_) == d, "units_")
    # No file holds a transformer as scaler.
    _require(units.scaler in (None, "standard", "robust", "quantile"), "units_.scaler")
    _caps(units, d, "units_.")
    for name in _FINITE:
        _finite(getattr(units, name), (d,), f"units_.{name}")
    _require((units.scale_ > 0).all(), "units_.scale_")
    _require((units.variance_ >= 0).all(), "units_.variance_")
    for name in ("empty_", "uncapped_"):
        _array(getattr(units, name), np.bool_, (d,), f"units_.{name}")
    if units.scaler == "quantile":
        shape = (len(units.quantiles_), d)
        _finite(units.quantiles_, shape, "units_.quantiles_")
        _finite(units.own_mean(), (d,), "units_.mean_")


def _imputer(imputer: Any, categories: Mapping[str, Any]) -> None:
    _require(isinstance(imputer, ConditionalMeanImputer), "_imputer")
    _require(set(imputer.categories_) == set(categories), "_imputer")
    for name, columns in categories.items():
        k = len(columns)
        _require(np.array_equal(imputer.categories_[name], columns), "_imputer")
        for part, shape in (("mean_", (k,)), ("scale_", (k,)), ("correlation_", (k, k))):
            _finite(getattr(imputer, part)[name], shape, f"_imputer.{part}")
        _require((imputer.scale_[name] > 0).all(), "_imputer.scale_")


def _network(estimator: Any, d: int, n_levels: int) -> None:
    """Compare layout, codebooks and weights without making room for what the layout asks for."""
    # Own encoders are code, which no file holds. Older files do not say that there are none.
    _require(not getattr(estimator, "_encoders", None), "_encoders")
    layout = estimator._layout
    _require(layout["n_features"] == d and layout["n_levels"] == n_levels, "_layout")
    n_books = 0
    for part in layout["categories"]:
        _require(part["columns"] == estimator.categories_[part["name"]].tolist(), "_layout")
        _require(len(part["levels"]) == len(part["book_widths"]), "_layout")
        levels = [level for level in part["levels"] if type(level) is int]
        _require(levels == part["levels"] == sorted(levels), "_layout")
        _require(all(0 <= level < n_levels for level in levels), "_layout")
        _require(all(0 < width <= part["width"] for width in part["book_widths"]), "_layout")
        _require(type(part.get("spread", False)) is bool, "_layout")
        n_books += len(levels)
    reach = layout.get("spread_levels", [])
    _require(len(reach) in (0, n_levels), "_layout")
    _require(all(type(n) is int and 0 <= n <= n_levels for n in reach), "_layout")
    _require(len(estimator.codebooks_) == n_books, "codebooks_")
    for name, book in estimator.codebooks_.items():
        good = isinstance(name, str) and isinstance(book, np.ndarray)
        _require(good and book.dtype == np.float32 and book.ndim == 2 and len(book), "codebooks_")
        _require(np.isfinite(book).all(), "codebooks_")
    _training(estimator, d)
    _weights(estimator, d)


def _training(estimator: Any, d: int) -> None:
    """Check the figures of the training rows, where there are any."""
    record = getattr(estimator, "training_", None)
    if record is None:
        return
    _require(type(record["n_rows"]) is int, "training_")
    _counts(record["observed"], d, "training_")
    for name in ("error", "energy"):
        _array(record[name], float, (d,), "training_")
    _require(set(record["codes"]) == set(estimator.codebooks_), "training_")
    for name, hits in record["codes"].items():
        _counts(hits, len(estimator.codebooks_[name]), "training_")


def _weights(estimator: Any, d: int) -> None:
    # Loaded late: the other estimators do without torch.
    import torch

    from adaptive_vq._layout import Layout
    from adaptive_vq.modules import CodecModule

    sizes = [len(book) for book in estimator.codebooks_.values()]
    # On this device tensors have a shape and no memory, whatever size the file claims.
    with torch.device("meta"):
        # Float32 also where torch makes something else of numbers.
        expected = CodecModule(Layout.from_json(estimator._layout), sizes).float().state_dict()
    _require(set(expected) == set(estimator._state), "_state")
    for name, tensor in expected.items():
        kind = np.dtype(str(tensor.dtype).removeprefix("torch."))
        value = estimator._state[name]
        _array(value, kind, tuple(tensor.shape), f"_state[{name!r}]")
        _require(np.isfinite(value).all(), f"_state[{name!r}]")
        if name.endswith(".columns"):
            _positions(value, d, f"_state[{name!r}]")


_CHECKS: dict[str, Callable[[Any, int], None]] = {
    "FeatureCleaner": _cleaner,
    "FeatureCharacterizer": _characterizer,
    "AdaptiveRatioSelector": _selector,
    "HierarchicalVQVAE": _codec,
}
