"""How compressible a category of columns is: four scores in the units given, others without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptive_vq._arrays import Bools, Floats, Ints
from adaptive_vq._few_rows import Correlations, aligned_correlation
from adaptive_vq.association import MANY_COLUMNS, Crossing, correlation_matrix, sums

__all__ = [
    "category_profile",
    "category_scores",
    "category_separation",
    "gaussian_bits",
    "separation_of",
]

#: The share of error for which `gaussian_bits` is reported.
TARGET_NMSE = 0.1
_COLUMNS_AT_ONCE = 16  # copies of a large table would each be as large


def category_scores(
    X: npt.ArrayLike,
    categories: Mapping[str, npt.ArrayLike],
    sample_weight: Floats | None = None,
) -> dict[str, dict[str, float]]:
    r"""Four scores per category, on the columns in the units given.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        NaN marks a missing cell. Variances are over the observed cells of a column, correlations
        over the rows in which both columns are observed.
    categories : mapping of str to array-like of int
        Column positions per category.
    sample_weight : ndarray of shape (n_samples,), default=None
        Positive weights of the rows; 2 is the same as the row twice.

    Returns
    -------
    dict of str to dict
        Per category of k columns:

        - ``"variance"``: median over its columns of the column variance, clipped to [0, 1];
        - ``"dimensionality"``: :math:`\log_{10}(k + 1) / \log_{10} 101`;
        - ``"information"``: share of the variance in the first min(5, k) principal components;
          0.5 where it is undefined (one column, or no variance);
        - ``"correlation"``: mean absolute Pearson correlation between different columns, constant
          ones counting as 0; 0 for one column.

    Notes
    -----
    The formulas are those of the prior system, spinlock (github.com/dgabriele/spinlock). On
    unscaled columns ``variance`` saturates at 1 and one large column makes ``information`` 1.

    Examples
    --------
    >>> from adaptive_vq.characterize import category_scores
    >>> scores = category_scores([[0.0, 0, 7], [1, -1, 8], [0, 0, 9]], {"a": [0, 1], "b": [2]})
    >>> {name: round(value, 3) for name, value in scores["a"].items()}
    {'variance': 0.222, 'dimensionality': 0.238, 'information': 1.0, 'correlation': 1.0}
    """
    X = np.asarray(X, dtype=np.float64)
    mean, std = _location(X, sample_weight)
    scores = {}
    for name, positions in categories.items():
        columns = _content_order(X, np.asarray(positions, dtype=np.int64), mean, std)
        correlations = Correlations(X[:, columns], sample_weight)
        with np.errstate(over="ignore", under="ignore"):
            variance = float(np.clip(np.median(std[columns] ** 2), 0, 1))
        scores[name] = {
            "variance": variance,
            "dimensionality": float(np.log10(len(columns) + 1) / np.log10(101)),
            "information": _information(_spectrum(correlations, std[columns])),
            "correlation": correlations.mean_strength(),
        }
    return scores


def category_profile(
    X: npt.ArrayLike,
    Z: npt.ArrayLike,
    categories: Mapping[str, npt.ArrayLike],
    sample_weight: Floats | None = None,
) -> dict[str, dict[str, Any]]:
    """Figures per category that do not depend on units.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The columns in the units given, NaN where missing.
    Z : array-like of shape (n_samples, n_features)
        The same rows in codec units (capped and scaled).
    categories : mapping of str to array-like of int
        Column positions per category.
    sample_weight : ndarray of shape (n_samples,), default=None
        Positive weights of the rows; 2 is the same as the row twice.

    Returns
    -------
    dict of str to dict
        Per category of k columns, from the eigenvalues of its covariance in codec units:

        - ``"effective_dimension"``: participation ratio, between 1 and k (0: no variance);
        - ``"spectral_entropy"``: Shannon entropy of the eigenvalues' shares divided by log k,
          between 0 (one direction) and 1 (all alike);
        - ``"gaussian_bits"``: bits per row that a Gaussian with these eigenvalues needs for an
          NMSE of 0.1, see `gaussian_bits`;

        and from the cells:

        - ``"tail_weight"``: median excess kurtosis of its columns (0: Gaussian, or constant);
        - ``"discreteness"``: mean over its columns of the share of observed cells, but for one,
          that repeat an earlier one (0: all different, 1: constant);
        - ``"missing_share"``: share of cells that are missing;

        beside ``"n_columns"``, which is k.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.scores import category_profile
    >>> Z = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> profile = category_profile(Z, Z, {"a": [0, 1]})["a"]
    >>> profile["effective_dimension"], profile["spectral_entropy"], profile["tail_weight"]
    (2.0, 1.0, -2.0)
    """
    X = np.asarray(X, dtype=np.float64)
    Z = np.asarray(Z, dtype=np.float64)
    mean, std = _location(Z, sample_weight)
    tails = _excess_kurtosis(X, sample_weight)
    repeats = _repeated_share(X, sample_weight)
    missing = np.average(np.isnan(X), axis=0, weights=sample_weight)
    profile: dict[str, dict[str, Any]] = {}
    for name, positions in categories.items():
        columns = _content_order(Z, np.asarray(positions, dtype=np.int64), mean, std)
        spectrum = _spectrum(Correlations(Z[:, columns], sample_weight), std[columns])
        profile[name] = {
            "n_columns": len(columns),
            "effective_dimension": _participation_ratio(spectrum),
            "spectral_entropy": _spectral_entropy(spectrum),
            "tail_weight": float(np.median(tails[columns])),
            "discreteness": float(np.sort(repeats[columns]).mean()),
            "missing_share": float(np.sort(missing[columns]).mean()),
            "gaussian_bits": gaussian_bits(spectrum, TARGET_NMSE),
        }
    return profile


def category_separation(
    association: Floats, categories: Mapping[str, npt.ArrayLike]
) -> dict[str, dict[str, Any]]:
    """How much more a category's columns have in common than they share with other categories.

    Parameters
    ----------
    association : ndarray of shape (n_features, n_features)
        Correlations of the columns, see `adaptive_vq.association.correlation_matrix`.
    categories : mapping of str to array-like of int
        Column positions per category.

    Returns
    -------
    dict of str to dict
        Per category:

        - ``"within"``: mean correlation of its different columns after each was given the sign of
          its weight in the first principal direction (1 for one column);
        - ``"between"``: largest mean absolute correlation with the columns of another category (0
          if there is none);
        - ``"separation"``: the first minus the second; negative where categories overlap;
        - ``"neighbor"``: the other category in question, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.scores import category_separation
    >>> r = np.array([[1, -0.9, 0.1], [-0.9, 1, 0.2], [0.1, 0.2, 1]])
    >>> found = category_separation(r, {"a": [0, 1], "b": [2]})["a"]
    >>> round(found["within"], 2), round(found["between"], 2), found["neighbor"]
    (0.9, 0.15, 'b')
    """
    strength = np.abs(association)
    return _separation(
        categories,
        lambda mine: aligned_correlation(association[np.ix_(mine, mine)]),
        lambda mine, theirs: float(strength[np.ix_(mine, theirs)].mean()),
    )


def separation_of(
    Z: Floats, categories: Mapping[str, npt.ArrayLike], sample_weight: Floats | None
) -> dict[str, dict[str, Any]]:
    """`category_separation` of the columns of a table, without a matrix of all of many columns.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        NaN marks a missing cell.
    categories : mapping of str to array-like of int
        Column positions per category.
    sample_weight : ndarray of shape (n_samples,) or None
        Positive weights of the rows.

    Returns
    -------
    dict of str to dict
        See `category_separation`.
    """
    if Z.shape[1] < MANY_COLUMNS:
        correlation = correlation_matrix(Z, sample_weight=sample_weight)
        return category_separation(correlation, categories)
    return _separation(
        categories,
        lambda mine: Correlations(Z[:, mine], sample_weight).mean_aligned(),
        Crossing(Z, sample_weight).mean_strength,
    )


def _separation(
    categories: Mapping[str, npt.ArrayLike],
    within_of: Callable[[Ints], float],
    between_of: Callable[[Ints, Ints], float],
) -> dict[str, dict[str, Any]]:
    positions = {name: np.sort(np.asarray(c, dtype=np.int64)) for name, c in categories.items()}
    result: dict[str, dict[str, Any]] = {}
    for name, columns in positions.items():
        others = {
            other: round(between_of(columns, theirs), 12)
            for other, theirs in positions.items()
            if other != name
        }
        neighbor = max(sorted(others), key=others.__getitem__, default=None)
        between = others[neighbor] if neighbor is not None else 0.0
        within = round(within_of(columns), 12)
        result[name] = {
            "within": within,
            "between": between,
            "separation": within - between,
            "neighbor": neighbor,
        }
    return result


@np.errstate(under="ignore")
def gaussian_bits(eigenvalues: npt.ArrayLike, nmse: float = TARGET_NMSE) -> float:
    r"""Bits per row that a Gaussian source needs for a given error.

    Parameters
    ----------
    eigenvalues : array-like of shape (n_components,)
        Of its covariance.
    nmse : float, default=0.1
        Mean squared error as a share of the total variance, above 0.

    Returns
    -------
    float
        :math:`\sum_i \max(0, \tfrac12 \log_2(\lambda_i / \theta))` with the water level
        :math:`\theta` at which :math:`\sum_i \min(\theta, \lambda_i)` is the error.

    References
    ----------
    T. Cover, J. Thomas. Elements of Information Theory, 2nd edition, theorem 10.3.3 (reverse
    water-filling).

    Examples
    --------
    >>> from adaptive_vq.scores import gaussian_bits
    >>> gaussian_bits([1.0, 1.0], nmse=0.25)
    2.0
    """
    spectrum = np.sort(np.asarray(eigenvalues, dtype=np.float64))
    spectrum = spectrum[spectrum > 0]
    if not len(spectrum) or nmse >= 1:
        return 0.0
    # Components below the water count in full; try every number of them, smallest first.
    below = np.concatenate([[0.0], np.cumsum(spectrum)[:-1]])
    levels = (nmse * spectrum.sum() - below) / np.arange(len(spectrum), 0, -1)
    level = levels[np.flatnonzero(levels <= spectrum)[0]]
    return float(np.maximum(0, 0.5 * np.log2(spectrum / level)).sum())


def _location(X: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the observed cells, safe for huge values; 0 if none."""
    if weight is None and X.shape[1] >= 2 * _COLUMNS_AT_ONCE:
        # No block of a single column: numpy would add that up in another order.
        edges = np.linspace(0, X.shape[1], X.shape[1] // _COLUMNS_AT_ONCE + 1).astype(int)
        blocks = [_location_of(X[:, a:b], None) for a, b in pairwise(edges)]
        mean, std = map(np.concatenate, zip(*blocks, strict=True))
        return mean, std
    return _location_of(X, weight)


@np.errstate(under="ignore")
def _location_of(X: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    observed = ~np.isnan(X)
    counts = _counts(observed, weight)
    filled = np.where(observed, X, 0.0)
    largest = np.maximum(filled.max(axis=0, initial=0.0), -filled.min(axis=0, initial=0.0))
    scale = np.where(largest > 0, largest, 1.0)
    filled /= scale
    mean = sums(filled, weight) / counts
    # In place, here as above: every copy of a large table is as large.
    filled -= mean
    filled[~observed] = 0.0
    spread = sums(np.square(filled, out=filled), weight) / counts
    return mean * scale, np.sqrt(spread) * scale


def _counts(observed: Bools, weight: Floats | None) -> Floats:
    counts = sums(observed, weight)
    return np.where(counts > 0, counts, 1.0)


def _content_order(X: Floats, columns: Ints, mean: Floats, std: Floats) -> Ints:
    """Order columns by what they hold, so that sums do not depend on where they stand."""
    first = np.nan_to_num(X[0, columns]) if len(X) else np.zeros(len(columns))
    return columns[np.lexsort((first, mean[columns], std[columns]))]


@np.errstate(under="ignore")
def _spectrum(correlations: Correlations, std: Floats) -> Floats:
    """Eigenvalues of the covariance, largest first, in units of the largest column variance."""
    return correlations.spectrum(std / (std.max(initial=0.0) or 1.0))


@np.errstate(under="ignore")
def _information(spectrum: Floats) -> float:
    if len(spectrum) < 2 or spectrum.sum() == 0:
        return 0.5
    return float(min(1.0, spectrum[:5].sum() / spectrum.sum()))


@np.errstate(under="ignore")
def _participation_ratio(spectrum: Floats) -> float:
    squares = (spectrum**2).sum()
    return float(spectrum.sum() ** 2 / squares) if squares > 0 else 0.0


@np.errstate(under="ignore")
def _spectral_entropy(spectrum: Floats) -> float:
    if len(spectrum) < 2 or spectrum.sum() == 0:
        return 0.0
    share = spectrum[spectrum > 0] / spectrum.sum()
    return float(max(0.0, -(share * np.log(share)).sum() / np.log(len(spectrum))))


@np.errstate(under="ignore")
def _excess_kurtosis(X: Floats, weight: Floats | None) -> Floats:
    mean, std = _location(X, weight)
    varies = std > 1e-10 * np.maximum(np.abs(mean), np.finfo(np.float64).tiny)
    Z = (X - mean) / np.where(varies, std, 1.0)
    observed = ~np.isnan(Z)
    fourth = sums(np.where(observed, Z, 0.0) ** 4, weight) / _counts(observed, weight)
    return np.where(varies, fourth - 3, 0.0)


def _repeated_share(X: Floats, weight: Floats | None) -> Floats:
    ordered = np.sort(X, axis=0)  # NaN last
    with np.errstate(over="ignore", under="ignore"):
        distinct = (np.diff(ordered, axis=0) > 0).sum(axis=0)
    observed = sums(~np.isnan(X), weight)
    return np.maximum(1 - distinct / np.maximum(observed - 1, 1), 0.0)
