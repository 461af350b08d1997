"""Missing cells: the conditional mean given the observed cells of the same category."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from adaptive_vq._arrays import Bools, Floats, Ints

__all__ = ["ConditionalMeanImputer"]

_REFINED_ROWS = 10_000
_PATTERNS = 4_000  # visited in all steps together, if one step needs no more
_SETTLED = 1e-3  # change of the covariance, relative to the largest variance, that ends the steps
_ROWS_AT_ONCE = 512  # of a matrix of all columns
_BLOCK = 1 << 20  # cells of the products held at once


class ConditionalMeanImputer:
    """Fill each missing cell with its mean given the row's observed cells of the same category.

    One Gaussian per category: ``E[m | o] = mean_m + C_mo C_oo^-1 (x_o - mean_o)``. Its covariance
    is the pairwise-complete one, made positive semi-definite, then improved by one to ten steps of
    the expectation-maximization algorithm (fewer where many patterns of missing cells are).
    A row with a wholly missing category gets its mean.

    Parameters
    ----------
    ridge : float, default=1e-3
        Added to the diagonal of the correlation matrix, so that twins can be told apart from noise.

    Attributes
    ----------
    categories_ : dict of str to ndarray of int
        The columns of each category.
    mean_, scale_ : dict of str to ndarray of shape (n_columns,)
        Means and standard deviations (1 for a constant column).
    correlation_ : dict of str to ndarray of shape (n_columns, n_columns)
        Correlations with the ridge on the diagonal.

    Notes
    -----
    What a row is filled with depends on that row alone, to the last bit: products are summed in a
    fixed order and never handed to a matrix library that chooses one by the number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.missing import ConditionalMeanImputer
    >>> Z = np.array([[-1.0, -2.0], [1.0, 2.0], [0.5, 1.0], [-0.5, -1.0]])
    >>> imputer = ConditionalMeanImputer().fit(Z, {"both": np.array([0, 1])})
    >>> imputer.transform(np.array([[0.5, np.nan]])).round(2)
    array([[0.5, 1. ]], dtype=float32)
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge = ridge

    def fit(
        self,
        Z: NDArray[np.floating],
        categories: Mapping[str, NDArray[np.integer]],
        sample_weight: Floats | None = None,
    ) -> ConditionalMeanImputer:
        """Learn a mean and a covariance per category.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_features)
            Training rows in codec units; NaN marks missing cells.
        categories : mapping of str to ndarray of int
            Columns of each category.
        sample_weight : ndarray of shape (n_samples,), default=None
            Positive weights of the rows; 2 is the same as the row twice.

        Returns
        -------
        ConditionalMeanImputer
            This object.
        """
        if not self.ridge > 0:
            raise ValueError(f"ridge={self.ridge!r} must be above 0.")
        self.categories_ = {name: np.asarray(c, dtype=np.int64) for name, c in categories.items()}
        self.mean_, self.scale_, self.correlation_ = {}, {}, {}
        for name, columns in self.categories_.items():
            block = np.asarray(Z[:, columns], dtype=np.float64)
            weight = np.ones(len(block)) if sample_weight is None else sample_weight
            mean, covariance = _refined(block, *_pairwise(block, weight), self.ridge, weight)
            self.mean_[name] = mean
            self.scale_[name], self.correlation_[name] = _standardized(covariance, self.ridge)
        _inverses.pop(self, None)
        return self

    def transform(self, Z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Fill the missing cells.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_features)
            Rows in codec units.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            `Z` itself where it is float32 and nothing is missing. Observed cells keep their value.
        """
        Z = np.asarray(Z, dtype=np.float32)
        holes = np.isnan(Z)
        if not holes.any():
            return Z
        filled = Z.copy()
        for name, columns in self.categories_.items():
            rows = np.flatnonzero(holes[:, columns].any(axis=1))
            if rows.size:
                cells = np.ix_(rows, columns)
                means = self._filled(name, Z[cells], holes[cells])
                filled[cells] = np.where(holes[cells], means, filled[cells])
        return filled

    def state(self) -> dict[str, Any]:
        """Return the fitted state as JSON values and arrays.

        Returns
        -------
        dict
            For :meth:`from_state`.
        """
        return {
            "ridge": float(self.ridge),
            "categories": {
                name: {
                    "columns": columns,
                    "mean": self.mean_[name],
                    "scale": self.scale_[name],
                    "correlation": self.correlation_[name],
                }
                for name, columns in self.categories_.items()
            },
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ConditionalMeanImputer:
        """Rebuild a fitted object.

        Parameters
        ----------
        state : dict
            What :meth:`state` returned.

        Returns
        -------
        ConditionalMeanImputer
            Fills exactly like the object that was stored.
        """
        imputer = cls(state["ridge"])
        parts = state["categories"]
        imputer.categories_ = {
            n: np.asarray(p["columns"], dtype=np.int64) for n, p in parts.items()
        }
        for key in ("mean", "scale", "correlation"):
            arrays = {n: np.asarray(p[key], dtype=np.float64) for n, p in parts.items()}
            setattr(imputer, f"{key}_", arrays)
        return imputer

    def _inverse(self, name: str) -> Floats:
        """Inverse of a category's correlations, once cells of it are missing."""
        known = _inverses.setdefault(self, {})
        if name not in known:
            known[name] = _inverse(self.correlation_[name])
        return known[name]

    def _filled(self, name: str, Z: NDArray[np.floating], holes: Bools) -> Floats:
        mean, scale = self.mean_[name], self.scale_[name]
        V = (np.asarray(Z, dtype=np.float64) - mean) / scale
        precision = self._inverse(name)
        for rows, missing in _patterns(holes):
            map_ = _regression(self.correlation_[name], precision, missing)
            V[np.ix_(rows, missing)] = _apply(map_, V[np.ix_(rows, ~missing)])
        return V * scale + mean


# Beside the imputers: what rows have come by is no part of their state.
_inverses: WeakKeyDictionary[ConditionalMeanImputer, dict[str, Floats]] = WeakKeyDictionary()


def _patterns(holes: Bools) -> Iterator[tuple[Ints, Bools]]:
    """Yield the rows of every pattern of missing cells, and the pattern."""
    keys = np.packbits(holes, axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    ends = np.cumsum(np.bincount(group))
    order = np.argsort(group, kind="stable")
    for start, end, row in zip(np.r_[0, ends[:-1]], ends, first, strict=True):
        if holes[row].any():
            yield order[start:end], holes[row]


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _regression(correlation: Floats, precision: Floats, missing: Bools) -> Floats:
    """Return the matrix from observed to missing cells, by the smaller of two equal systems."""
    seen = ~missing
    if missing.sum() <= seen.sum():
        system, right = precision[np.ix_(missing, missing)], -precision[np.ix_(missing, seen)]
        return np.array(np.linalg.solve(system, right), dtype=np.float64, order="C")
    system, right = correlation[np.ix_(seen, seen)], correlation[np.ix_(seen, missing)]
    return np.array(np.linalg.solve(system, right).T, dtype=np.float64, order="C")


def _apply(matrix: Floats, V: Floats) -> Floats:
    """Multiply row by row; each sum runs over one contiguous axis, alike for any number of rows."""
    step = max(1, _BLOCK // max(1, matrix.size))
    blocks = [
        (V[start : start + step, None, :] * matrix[None]).sum(axis=-1)
        for start in range(0, len(V), step)
    ]
    return np.concatenate(blocks)


def _pairwise(Z: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return mean and pairwise-complete covariance, made positive semi-definite."""
    seen = (~np.isnan(Z)).astype(np.float64)
    mass = seen * weight[:, None]
    total = mass.sum(axis=0)
    mean = np.nansum(Z * weight[:, None], axis=0) / np.where(total > 0, total, 1.0)
    residual = np.nan_to_num(Z - mean) * np.sqrt(weight)[:, None]
    covariance = residual.T @ residual
    if seen.all() and (weight == 1.0).all():  # no table of counts, which would be as large
        covariance /= len(Z)
        return mean, covariance
    common = mass.T @ seen
    covariance /= np.where(common > 0, common, 1.0)
    if seen.all():
        return mean, covariance
    scale = np.sqrt(np.diag(covariance))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    correlation = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return mean, correlation * np.outer(scale, scale)


def _standardized(covariance: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Return standard deviations (1 where 0) and the correlations with the ridge."""
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0.0, scale, 1.0)
    correlation = np.empty_like(covariance)
    for start in range(0, len(scale), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        np.divide(covariance[some], np.outer(scale[some], scale), out=correlation[some])
    np.fill_diagonal(correlation, 1.0 + ridge)
    return scale, correlation


def _refined(
    Z: Floats, mean: Floats, covariance: Floats, ridge: float, weight: Floats
) -> tuple[Floats, Floats]:
    """Take expectation-maximization steps on at most 10,000 evenly spaced rows."""
    if not np.isnan(Z).any():
        return mean, covariance
    if len(Z) > _REFINED_ROWS:
        some = np.linspace(0, len(Z) - 1, _REFINED_ROWS).astype(np.int64)
        Z, weight = Z[some], weight[some]
    n_patterns = sum(1 for _ in _patterns(np.isnan(Z)))
    for _ in range(min(10, max(1, _PATTERNS // n_patterns))):
        before = covariance
        mean, covariance = _maximized(Z, mean, covariance, ridge, weight)
        if np.abs(covariance - before).max() <= _SETTLED * np.abs(np.diag(covariance)).max():
            break
    return mean, covariance


def _maximized(
    Z: Floats, mean: Floats, covariance: Floats, ridge: float, weight: Floats
) -> tuple[Floats, Floats]:
    """Return mean and covariance of the filled rows, plus what the missing cells may vary."""
    scale, correlation = _standardized(covariance, ridge)
    precision = _inverse(correlation)
    V = (Z - mean) / scale
    noise = np.zeros_like(covariance)
    for rows, missing in _patterns(np.isnan(Z)):
        matrix = _regression(correlation, precision, missing)
        V[np.ix_(rows, missing)] = _apply(matrix, V[np.ix_(rows, ~missing)])
        inside = np.ix_(missing, missing)
        noise[inside] += weight[rows].sum() * np.linalg.inv(precision[inside])
    shift = (V * weight[:, None]).sum(axis=0) / weight.sum()
    V = (V - shift) * np.sqrt(weight)[:, None]
    refined = (V.T @ V + noise) / weight.sum()
    return mean + shift * scale, refined * np.outer(scale, scale)
