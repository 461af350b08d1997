"""The rules of cleaning as functions of training rows: what is useless, where the caps are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from adaptive_vq._arrays import Bools, Floats, Ints
from adaptive_vq._statistics import (
    MAD_TO_STD,
    SMALLEST,
    column_moments,
    column_quantiles,
    flattened,
    median_and_mad,
)

CAP_WIDTH = {"percentile": 0.5, "iqr": 1.5, "mad": 3.0}

_LARGEST = 1e150  # the square of more does not fit into float64
_REPORT = ["column", "action", "reason", "value"]


@dataclass(frozen=True)
class Limits:
    """Beyond which a column is dropped; None: not judged."""

    max_same: float | None
    max_missing: float | None
    max_variance: float | None
    max_cv: float


@dataclass(frozen=True)
class Extent:
    """What is exact over all rows and merges exactly: range and number of observed cells."""

    n_rows: int
    n_observed: Ints
    lowest: Floats
    highest: Floats

    @classmethod
    def empty(cls, n_features: int) -> Extent:
        nothing = np.full(n_features, np.nan)
        return cls(0, np.zeros(n_features, dtype=np.int64), nothing, nothing)

    def add(self, X: Floats) -> Extent:
        return Extent(
            self.n_rows + len(X),
            self.n_observed + (~np.isnan(X)).sum(axis=0),
            np.fmin(self.lowest, np.fmin.reduce(X, axis=0)),
            np.fmax(self.highest, np.fmax.reduce(X, axis=0)),
        )

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.n_rows + other.n_rows,
            self.n_observed + other.n_observed,
            np.fmin(self.lowest, other.lowest),
            np.fmax(self.highest, other.highest),
        )

    def largest(self) -> Floats:
        return np.maximum(np.abs(self.lowest), np.abs(self.highest))

    def refuse_wild(self, names: list[str]) -> None:
        wild = np.flatnonzero(self.largest() > _LARGEST)
        if wild.size:
            raise ValueError(f"Column {names[wild[0]]!r} has cells beyond 1e150. Rescale it.")

    @np.errstate(under="ignore")
    def constant(self, tolerance: float) -> Bools:
        within = self.highest - self.lowest <= np.maximum(tolerance * self.largest(), SMALLEST)
        return within | (self.n_observed == 0)

    def missing_share(self) -> Floats:
        return (self.n_rows - self.n_observed) / self.n_rows


def choose_caps(
    rows: Floats, constant: Bools, kind: str | None, width: float | None
) -> tuple[Floats, Floats, Bools]:
    """Return lower and upper caps, and the columns left without because caps would flatten them."""
    lower, upper = np.full((2, rows.shape[1]), [[-np.inf], [np.inf]])
    if kind is None:
        return lower, upper, np.zeros(rows.shape[1], dtype=bool)
    low, high = _cap_edges(rows, kind, CAP_WIDTH[kind] if width is None else float(width))
    flat = flattened(rows, None, low, high) & ~constant
    usable = ~flat & ~constant
    lower[usable], upper[usable] = low[usable], high[usable]
    return lower, upper, flat


def useless_columns(
    capped: Floats, median: Floats, constant: Bools, extent: Extent, limits: Limits
) -> dict[int, tuple[str, float]]:
    """Return the columns that are dropped for themselves, with reason and figure."""
    missing = extent.missing_share()
    mean, spread, _ = column_moments(capped, None)
    useless = {}
    for j, column in enumerate(capped.T):
        if extent.n_observed[j] == 0:
            useless[j] = ("no observed cell", 1.0)
        elif constant[j]:
            useless[j] = ("constant", float(median[j]))
        elif limits.max_missing is not None and missing[j] > limits.max_missing:
            useless[j] = ("missing cells", float(missing[j]))
        elif limits.max_same is not None and (same := _largest_share(column)) > limits.max_same:
            useless[j] = ("mostly one value", same)
        elif _is_extreme(float(mean[j]), float(spread[j]), limits):
            useless[j] = ("extreme variance", float(spread[j] ** 2))
    return useless


def beyond_share(rows: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return the share of observed cells outside the caps, per column."""
    beyond = ((lower > rows) | (upper < rows)).sum(axis=0)
    return beyond / np.maximum((~np.isnan(rows)).sum(axis=0), 1)


def report(
    names: list[str],
    dropped: dict[int, tuple[str, float]],
    flat: Bools,
    beyond: Floats,
    missing: Floats,
    caps: str | None,
    fill: str | None,
) -> pd.DataFrame:
    """Return one row per column and action."""
    lines: list[tuple[str, str, str, float]] = []
    for j, name in enumerate(names):
        if j in dropped:
            lines.append((name, "dropped", *dropped[j]))
            continue
        if flat[j]:
            lines.append((name, "not capped", "caps would leave a constant", 0.0))
        if beyond[j]:
            lines.append((name, "capped", f"beyond {caps} caps", float(beyond[j])))
        if fill is not None and missing[j]:
            lines.append((name, "filled", f"missing cells get the {fill}", float(missing[j])))
    table = pd.DataFrame(lines, columns=pd.Index(_REPORT))
    return table.astype({"value": np.float64})


def _is_extreme(mean: float, spread: float, limits: Limits) -> bool:
    if limits.max_variance is None or spread**2 <= limits.max_variance:
        return False
    return spread > limits.max_cv * abs(mean)


def _cap_edges(rows: Floats, kind: str, width: float) -> tuple[Floats, Floats]:
    if kind == "percentile":
        low, high = column_quantiles(rows, None, np.array([width / 100, 1 - width / 100]))
        return low, high
    if kind == "iqr":
        low, high = column_quantiles(rows, None, np.array([0.25, 0.75]))
        return low - width * (high - low), high + width * (high - low)
    median, mad = median_and_mad(rows, None)
    reach = width * MAD_TO_STD * mad
    return median - reach, median + reach


def _largest_share(column: Floats) -> float:
    """Return the share of the most frequent value among observed cells."""
    observed = column[~np.isnan(column)]
    if not observed.size:
        return 0.0
    return float(np.unique(observed, return_counts=True)[1].max() / observed.size)
