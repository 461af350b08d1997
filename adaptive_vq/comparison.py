"""Comparison of codecs: the same rows, the same units, the same rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_scalar

from adaptive_vq._arrays import Floats
from adaptive_vq._diagnostic_tables import Judged, judge
from adaptive_vq._files import written
from adaptive_vq._wording import counted
from adaptive_vq.metrics import Evaluation, imbalance

__all__ = ["Comparison", "compare"]

_COUNTS_AT_ONCE = 4_000_000
_DRAWS_AT_ONCE = 100
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Figures of several codecs on the same rows; made by :func:`adaptive_vq.compare`.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``codec``, best first. ``bits``; ``quality``, ``nmse``, ``worst_nmse`` (of the worst
        category) and ``max_median`` (imbalance over categories), each of these four figures with
        ``_low`` and ``_high``, the 95 % bootstrap interval over rows; ``nmse_over_best`` (NMSE
        minus that of the best codec on the same draws) with its interval; ``worst_category``,
        ``max_min`` and ``gini`` (imbalance again), ``utilization``, ``perplexity_share``,
        ``entropy`` (bits).
    n_rows : int
        Rows that all codecs were judged on.
    n_bootstrap : int
        Draws of rows.
    units : str
        Whose codec units the errors are in.

    Notes
    -----
    Intervals tell how far figures would move with other rows of the same kind, not with another
    seed or other training rows (Efron, "Bootstrap methods: another look at the jackknife", Annals
    of Statistics 7, 1979). Every codec sees the same draws, so the interval of a difference is
    narrower than those of the two figures.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE, compare
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> fits = {n: HierarchicalVQVAE(bits=8, max_epochs=0, n_levels=n).fit(X) for n in (1, 2)}
    >>> found = compare(fits, X, max_bits_difference=8, n_bootstrap=20)
    >>> found.units, found.n_rows, found.best in ("1", "2")
    ('1', 60, True)
    """

    table: pd.DataFrame
    n_rows: int
    n_bootstrap: int
    units: str

    @property
    def best(self) -> str:
        """Codec with the least NMSE, the first of equal ones."""
        return self.first[0]

    @property
    def first(self) -> list[str]:
        """Codecs with the least NMSE: several where theirs are equal."""
        nmse = self.table["nmse"]
        return [str(name) for name in nmse.index[nmse == nmse.iloc[0]]]

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table.

        Returns
        -------
        pandas.DataFrame
        """
        return self.table.copy()

    def to_text(self) -> str:
        """Return the comparison for a terminal.

        Returns
        -------
        str
        """
        from adaptive_vq._report_text import comparison_text

        return comparison_text(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the comparison as a self-contained HTML page, and write it if a path is given.

        Parameters
        ----------
        path : str or Path, default=None
            File to write.

        Returns
        -------
        str
            The page.
        """
        from adaptive_vq._report_html import comparison_page

        return written(comparison_page(self), path)

    def _repr_html_(self) -> str:
        from adaptive_vq._report_html import comparison_fragment

        return comparison_fragment(self)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return (
            f"<Comparison of {counted(len(self.table), 'codec')} on "
            f"{counted(self.n_rows, 'row')}: least NMSE {self.table['nmse'].iloc[0]:.4f} of "
            f"{', '.join(map(repr, self.first))}>"
        )


def compare(
    estimators: Mapping[str, Any],
    X: ArrayLike,
    *,
    max_bits_difference: float = 1.0,
    n_bootstrap: int = 1000,
    random_state: int = 0,
) -> Comparison:
    """Judge several fitted codecs on the same rows.

    Errors are in the codec units of the first one, and shares of the deviation from its training
    mean, so that codecs with other units are compared fairly; put the one whose units matter first.

    Parameters
    ----------
    estimators : mapping of str to HierarchicalVQVAE or Pipeline ending in one
        At least two, fitted, under the names they get in the table.
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        At least two rows, best rows that none of them was fitted on.
    max_bits_difference : float, default=1.0
        Bits per row by which the rates of two codecs may differ, unless they were given the same
        budget; ``float("inf")`` compares any.
    n_bootstrap : int, default=1000
        Draws of rows for the intervals; 0 for none (NaN).
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError
        If one is no codec, naming it.
    ValueError
        If there are fewer than two, the rates differ, a codec works on other columns or cells than
        the first one, or X has fewer than two rows or no observed cell.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE, compare
    >>> X = np.random.default_rng(0).normal(size=(200, 6))
    >>> codecs = {
    ...     name: HierarchicalVQVAE(
    ...         auto_compression_strategy=name, bits=16, max_epochs=0, scaler=None, clip=None
    ...     ).fit(X)
    ...     for name in ("uniform", "balanced")
    ... }
    >>> compare(codecs, X, n_bootstrap=50).n_rows
    200
    """
    named = _named(estimators)
    check_scalar(n_bootstrap, "n_bootstrap", Integral)
    check_scalar(max_bits_difference, "max_bits_difference", Real)
    check_scalar(random_state, "random_state", Integral, min_val=0)
    if n_bootstrap < 0:
        raise ValueError(f"n_bootstrap={n_bootstrap} must not be negative.")
    if not max_bits_difference >= 0:
        raise ValueError(
            f"max_bits_difference={max_bits_difference} must not be negative; float('inf') "
            "compares any rates."
        )
    judged = {name: _judged(name, estimator, X) for name, estimator in named.items()}
    _refuse_other_rate(judged, max_bits_difference)
    first = next(iter(judged))
    runs = {name: _in_units_of(judged[first], one, first, name) for name, one in judged.items()}
    table = _table(runs, n_bootstrap, random_state)
    return Comparison(table, len(judged[first].table), n_bootstrap, first)


def _named(estimators: Any) -> dict[str, Any]:
    if not isinstance(estimators, Mapping) or len(estimators) < 2:
        raise ValueError(
            "compare needs at least two fitted codecs, as a mapping of names to codecs."
        )
    named = {str(name): estimator for name, estimator in estimators.items()}
    if len(named) < len(estimators):
        raise ValueError(f"Names of codecs are text, and two of {list(estimators)} are the same.")
    return named


def _judged(name: str, estimator: Any, X: Any) -> Judged:
    """Run one of the codecs over the rows; which one it is stands in every error."""
    owner = f"compare ({name!r})"
    try:
        return judge(estimator, X, owner)
    except (TypeError, ValueError) as error:
        if str(error).startswith(owner):
            raise
        kinds = (NotFittedError, TypeError, ValueError)
        kind = next(kind for kind in kinds if isinstance(error, kind))
        raise kind(f"{owner}: {error}") from error


def _refuse_other_rate(judged: Mapping[str, Judged], most: float) -> None:
    bits = {name: one.run.bits for name, one in judged.items()}
    budgets = {getattr(one.codec, "budget_", None) for one in judged.values()}
    low, high = min(bits, key=lambda n: bits[n]), max(bits, key=lambda n: bits[n])
    same_budget = len(budgets) == 1 and None not in budgets
    if bits[high] - bits[low] > most and not same_budget:
        raise ValueError(
            f"{low!r} takes {bits[low]:.2f} bits per row and {high!r} {bits[high]:.2f}: errors at "
            "different rates say nothing about which codec is better. Fit them with the same bits, "
            f"or set max_bits_difference={math.ceil(bits[high] - bits[low])}."
        )


def _in_units_of(first: Judged, other: Judged, first_name: str, name: str) -> Evaluation:
    """Evaluation of a codec in the units of the first one."""
    if first.names != other.names or not np.array_equal(first.given, other.given, equal_nan=True):
        raise ValueError(
            f"{name!r} and {first_name!r} see different tables: they were fitted with other names "
            "of columns, or a step before the codec, or its cleaner, changes columns or cells. Do "
            "that before both, and compare the codecs."
        )
    run, units = other.run, first.codec.units_
    if other is first:
        return run
    output = run.output
    if not np.array_equal(run.target, first.run.target, equal_nan=True):
        output = units.to_codec(other.restored, cap=False).astype(np.float64)
    # Of equal units too the training means may differ, which errors are shares against.
    return Evaluation(
        first.run.target, output, first.run.reference, run.codes, run.categories, run.codebooks
    )


def _draws(n_rows: int, n_bootstrap: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, some draws at a time: (n, n_rows).

    All at once would be many times a large table.
    """
    rng = np.random.default_rng(seed)
    even = np.full(n_rows, 1.0 / n_rows)
    at_once = max(1, min(_DRAWS_AT_ONCE, _COUNTS_AT_ONCE // n_rows))
    for start in range(0, n_bootstrap, at_once):
        size = min(at_once, n_bootstrap - start)
        yield np.asarray(rng.multinomial(n_rows, even, size=size), dtype=np.float64)


def _sums(run: Evaluation) -> tuple[Floats, Floats]:
    """Squared error and energy of every row, total first, then per category: (n, 1 + g) each."""
    error = np.nan_to_num((run.target - run.output) ** 2)
    energy = np.nan_to_num((run.target - run.reference) ** 2)
    return _grouped(error, run), _grouped(energy, run)


def _grouped(cells: Floats, run: Evaluation) -> Floats:
    parts = [cells[:, columns].sum(axis=1) for columns in run.categories.values()]
    return np.stack([cells.sum(axis=1), *parts], axis=1)


def _drawn_nmse(runs: Mapping[str, Evaluation], n_bootstrap: int, seed: int) -> dict[str, Floats]:
    """NMSE of every draw, total first, then per category: (n_bootstrap, 1 + g) of each codec."""
    sums = {name: _sums(run) for name, run in runs.items()}
    parts = {name: [np.zeros((0, error.shape[1]))] for name, (error, _) in sums.items()}
    n_rows = len(next(iter(runs.values())).target)
    for some in _draws(n_rows, n_bootstrap, seed):
        for name, (error, energy) in sums.items():
            with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
                parts[name].append((some @ error) / (some @ energy))
    drawn = {name: np.concatenate(of_codec) for name, of_codec in parts.items()}
    for name, run in runs.items():
        for j, nmse in enumerate([run.nmse, *run.per_category.values()]):
            if nmse in (0.0, math.inf):  # in every draw, also if none of its rows varies
                drawn[name][:, j] = nmse
    return drawn


def _table(runs: Mapping[str, Evaluation], n_bootstrap: int, seed: int) -> pd.DataFrame:
    order = sorted(runs, key=lambda name: runs[name].nmse)
    drawn = _drawn_nmse(runs, n_bootstrap, seed)
    best = order[0]
    rows = []
    for name in order:
        with np.errstate(invalid="ignore"):  # of infinite ones there is no difference
            over = drawn[name][:, 0] - drawn[best][:, 0]
        row = {"codec": name, **_figures(runs[name], drawn[name])}
        row["nmse_over_best"] = runs[name].nmse - runs[best].nmse
        rows.append(row | _interval("nmse_over_best", over))
    return pd.DataFrame(rows).set_index("codec")


def _figures(run: Evaluation, drawn: Floats) -> dict[str, Any]:
    per_draw = [imbalance(d) for d in drawn[:, 1:] if not np.isnan(d).all()]
    spread = run.imbalance
    return {
        "bits": run.bits,
        "quality": run.quality,
        **_interval("quality", 1.0 - drawn[:, 0]),
        "nmse": run.nmse,
        **_interval("nmse", drawn[:, 0]),
        "worst_nmse": run.per_category[run.worst_category],
        **_interval("worst_nmse", np.nanmax(drawn[:, 1:], axis=1, initial=0.0)),
        "max_median": spread["max_median"],
        **_interval("max_median", np.array([d["max_median"] for d in per_draw])),
        "worst_category": run.worst_category,
        "max_min": spread["max_min"],
        "gini": spread["gini"],
        "utilization": run.used_share,
        "perplexity_share": run.perplexity_share,
        "entropy": float(sum(run.entropy.values())),
    }


def _interval(key: str, values: Floats) -> dict[str, float]:
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _INTERVAL) if len(known) else (math.nan, math.nan)
    return {f"{key}_low": float(low), f"{key}_high": float(high)}
