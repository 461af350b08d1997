"""What correlations of far more columns than rows come to, by the rows: without a matrix of them.

Correlations of complete columns are products of standardized rows. So as many numbers as there are
rows hold all eigenvalues that are not zero, and sums over pairs of columns need some of the pairs
at a time only.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from adaptive_vq._arrays import Floats
from adaptive_vq._wide import wide
from adaptive_vq.association import correlation_matrix, standardized

__all__ = ["Correlations", "aligned_correlation", "mean_off_diagonal"]

_COLUMNS_AT_ONCE = 512
_LEAST_COLUMNS = 256
"""Of fewer columns a matrix is small: figures stay what they are by it, to the last bit."""


class Correlations:
    """Correlations of columns as `correlation_matrix` has them, made when they are asked for.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN marks a missing cell.
    weight : ndarray of shape (n_samples,) or None
        Positive weights of the rows.

    Attributes
    ----------
    by_rows : bool
        Whether the rows serve instead of a matrix of all columns.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._few_rows import Correlations
    >>> found = Correlations(np.array([[1.0, -1.0], [2.0, -2.0]]).repeat(200, axis=1), None)
    >>> found.by_rows, round(found.mean_strength(), 6), round(found.mean_aligned(), 6)
    (True, 1.0, 1.0)
    >>> found.spectrum(np.ones(400)).round(6)[:3].tolist()
    [400.0, 0.0, 0.0]
    """

    def __init__(self, X: Floats, weight: Floats | None) -> None:
        observed = ~np.isnan(X)
        self.by_rows = X.shape[1] >= _LEAST_COLUMNS and wide(X) and bool(observed.all())
        if self.by_rows:
            mass = np.ones(len(X)) if weight is None else weight
            self._rows = standardized(X, observed, weight)
            self._rows *= np.sqrt(mass / max(1.0, float(mass.sum())))[:, None]
        else:
            self._matrix = correlation_matrix(X, sample_weight=weight)

    def spectrum(self, scale: Floats) -> Floats:
        """Eigenvalues of the correlations times the scales of both columns.

        Parameters
        ----------
        scale : ndarray of shape (n_features,)

        Returns
        -------
        ndarray of shape (n_features,)
            Largest first, none negative.
        """
        if not self.by_rows:
            # Pairwise correlations of columns with missing cells need not form a covariance.
            values = np.linalg.eigvalsh(self._matrix * np.outer(scale, scale))[::-1]
            return np.asarray(np.maximum(values, 0), dtype=np.float64)
        scaled = self._rows * scale
        values = np.linalg.eigvalsh(scaled @ scaled.T)[::-1]
        return np.concatenate([np.maximum(values, 0), np.zeros(len(scale) - len(values))])

    def mean_strength(self) -> float:
        """Mean absolute correlation of different columns; 0 for one.

        Returns
        -------
        float
        """
        if not self.by_rows:
            return mean_off_diagonal(np.abs(self._matrix))
        k = self._rows.shape[1]
        total = sum(
            float(np.abs(part.T @ self._rows).sum())
            for part in np.split(self._rows, range(_COLUMNS_AT_ONCE, k, _COLUMNS_AT_ONCE), axis=1)
        )
        return (total - float(np.square(self._rows).sum())) / (k * (k - 1))

    def mean_aligned(self) -> float:
        """Mean correlation of different columns after each was given the sign of its weight.

        Its weight in the first principal direction, that is; 1 for one column.

        Returns
        -------
        float
        """
        if not self.by_rows:
            return aligned_correlation(self._matrix)
        k = self._rows.shape[1]
        weights = np.linalg.eigh(self._rows @ self._rows.T)[1][:, -1] @ self._rows
        aligned = self._rows @ np.where(weights < 0, -1.0, 1.0)
        return float(aligned @ aligned - np.square(self._rows).sum()) / (k * (k - 1))


def mean_off_diagonal(r: Floats) -> float:
    """Mean of a square matrix beside its diagonal, 0 if there is nothing.

    Parameters
    ----------
    r : ndarray of shape (k, k)

    Returns
    -------
    float
    """
    k = len(r)
    return float((r.sum() - np.trace(r)) / (k * (k - 1))) if k > 1 else 0.0


def aligned_correlation(r: Floats) -> float:
    """`Correlations.mean_aligned` by a matrix of correlations.

    Parameters
    ----------
    r : ndarray of shape (k, k)

    Returns
    -------
    float
    """
    k = len(r)
    if k < 2:
        return 1.0
    if k < _LEAST_COLUMNS:
        weights = np.linalg.eigh(r)[1][:, -1]
    else:  # all of the other eigenvectors would take most of the time
        weights = eigh(r, subset_by_index=[k - 1, k - 1])[1][:, 0]
    signs = np.where(weights < 0, -1.0, 1.0)
    return mean_off_diagonal(r * np.outer(signs, signs))
