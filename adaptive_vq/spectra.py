"""What planning needs to know of each category: its spectrum, its variance, its distinct rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_vq.gaussian import gaussian_curve

__all__ = [
    "CategoryStatistics",
    "bits_to_tell",
    "category_statistics",
    "exact_bits",
    "may_be_exact",
    "n_distinct",
    "row_items",
    "spectrum",
    "total_nmse",
    "variance_shares",
]

# A category is called discrete where every distinct row is seen this often on average: new rows
# then repeat the old ones, and a codebook of the distinct rows codes them without error.
_ROWS_PER_VALUE = 20
# Rows that show whether a category can be discrete, before all rows are looked at.
_PROBE_ROWS = 1_000
# A codebook has no more bits; what several leave together depends on their codewords.
_MAX_EXACT_BITS = 8


@dataclass(frozen=True)
class CategoryStatistics:
    """Second-order statistics of one category.

    Parameters
    ----------
    n_columns : int
        Its columns.
    spectrum : ndarray of shape (n_columns,), float64
        Eigenvalues of its covariance in codec units, none negative.
    exact_at : int or None
        Bits that code its rows without error, where it takes few distinct values (0 where it does
        not vary at all); None otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.spectra import CategoryStatistics
    >>> CategoryStatistics(2, np.array([4.0, 1.0]), None).curve(2)
    array([1. , 0.4, 0.2])
    """

    n_columns: int
    spectrum: NDArray[np.float64]
    exact_at: int | None

    @property
    def variance(self) -> float:
        """Total variance of the columns."""
        return float(self.spectrum.sum())

    def curve(self, max_bits: int) -> NDArray[np.float64]:
        """Return the NMSE of the category per number of bits, were it Gaussian.

        Parameters
        ----------
        max_bits : int
            The curve covers 0 to `max_bits` bits.

        Returns
        -------
        ndarray of shape (n_bits + 1,)
            Starts at 1 (at 0 without variance) and ends early, at 0, where the category is coded
            without error.
        """
        curve = gaussian_curve(self.spectrum, max_bits, exact_at=self.exact_at)
        return curve / self.variance if self.variance > 0 else np.zeros_like(curve)


def category_statistics(
    Z: NDArray[np.float32],
    categories: Mapping[str, NDArray[np.int64]],
    weight: NDArray[np.float64] | None = None,
) -> dict[str, CategoryStatistics]:
    """Measure every category.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Training rows in codec units, nothing missing.
    categories : mapping of str to ndarray of int64
        Column indices of each category.
    weight : ndarray of shape (n_samples,), default=None
        Positive weights of the rows; 2 is the same as the row twice.

    Returns
    -------
    dict of str to CategoryStatistics
        In the order of `categories`.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.spectra import category_statistics
    >>> Z = np.tile(np.array([[0.0], [1.0]], dtype=np.float32), (50, 1))
    >>> category_statistics(Z, {"flag": np.array([0])})["flag"].exact_at
    1
    """
    return {name: _measured(Z[:, columns], weight) for name, columns in categories.items()}


def variance_shares(statistics: Mapping[str, CategoryStatistics]) -> dict[str, float]:
    """Return each category's share of the variance: what turns its NMSE into the total's part.

    Parameters
    ----------
    statistics : mapping of str to CategoryStatistics
        As :func:`category_statistics` returns them.

    Returns
    -------
    dict of str to float
        Shares that sum to 1, or all 0 where nothing varies.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.spectra import CategoryStatistics, variance_shares
    >>> one, three = np.array([1.0]), np.array([2.0, 1.0])
    >>> a, b = CategoryStatistics(1, one, None), CategoryStatistics(2, three, None)
    >>> variance_shares({"a": a, "b": b})
    {'a': 0.25, 'b': 0.75}
    """
    total = sum(s.variance for s in statistics.values())
    return {name: s.variance / total if total > 0 else 0.0 for name, s in statistics.items()}


def total_nmse(shares: Mapping[str, float], per_category: Mapping[str, float]) -> float:
    """Return the NMSE of the whole table from those of its categories.

    Parameters
    ----------
    shares : mapping of str to float
        Variance shares.
    per_category : mapping of str to float
        NMSE of each category.

    Returns
    -------
    float
        Their weighted sum.

    Examples
    --------
    >>> from adaptive_vq.spectra import total_nmse
    >>> total_nmse({"a": 0.25, "b": 0.75}, {"a": 0.4, "b": 0.2})
    0.25
    """
    return float(sum(share * per_category[name] for name, share in shares.items()))


def spectrum(
    Z: NDArray[np.float32], weight: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Eigenvalues of the covariance of columns, largest first.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    ndarray of shape (n_columns,)
        None negative.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.spectra import spectrum
    >>> spectrum(np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=np.float32))
    array([2. , 0.5])
    """
    centered = Z.astype(np.float64)
    centered -= np.average(centered, axis=0, weights=weight)
    n_rows = len(Z)
    if weight is not None:
        n_rows = weight.sum()
        centered *= np.sqrt(weight)[:, None]
    # The smaller of the two matrices with the same non-zero eigenvalues.
    gram = centered.T @ centered if Z.shape[0] >= Z.shape[1] else centered @ centered.T
    eigenvalues = np.zeros(Z.shape[1])
    values = np.maximum(np.linalg.eigvalsh(gram) / n_rows, 0.0)
    eigenvalues[: values.size] = values[::-1][: Z.shape[1]]
    return eigenvalues


def exact_bits(Z: NDArray[np.float32], n_rows: float) -> int | None:
    """Return the bits of a codebook of all distinct rows, where new rows will repeat them.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
    n_rows : float
        Sum of the weights of the rows.

    Returns
    -------
    int or None
        None where the rows take too many different values.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.spectra import exact_bits
    >>> exact_bits(np.tile(np.float32([[0.0], [1.0], [5.0]]), (40, 1)), 120)
    2
    """
    return bits_to_tell(n_distinct(Z), n_rows) if may_be_exact(Z) else None


def may_be_exact(Z: NDArray[np.float32]) -> bool:
    """Whether the first rows leave it open that there are `exact_bits`."""
    return len(Z) <= _PROBE_ROWS or n_distinct(Z[:_PROBE_ROWS]) <= 2**_MAX_EXACT_BITS


def bits_to_tell(distinct: int, n_rows: float) -> int | None:
    """`exact_bits` by the number of different rows."""
    bits = (distinct - 1).bit_length()
    repeated = distinct == 1 or distinct * _ROWS_PER_VALUE <= n_rows
    return bits if repeated and bits <= _MAX_EXACT_BITS else None


def _measured(Z: NDArray[np.float32], weight: NDArray[np.float64] | None) -> CategoryStatistics:
    n_rows = len(Z) if weight is None else weight.sum()
    return CategoryStatistics(Z.shape[1], spectrum(Z, weight), exact_bits(Z, n_rows))


def n_distinct(Z: NDArray[np.float32]) -> int:
    """Number of different rows."""
    return int(np.unique(row_items(Z)).size)


def row_items(Z: NDArray[np.float32]) -> NDArray[Any]:
    """Rows as items (n,) that are equal where all of their cells are, in the order of their bytes.

    Up to two cells are one number, of which many are sorted in a fraction of the time.
    """
    rows = np.ascontiguousarray(Z + np.float32(0.0))  # makes a negative zero positive
    size = rows.dtype.itemsize * rows.shape[1]
    if size in (4, 8):
        return rows.view(f">u{size}").astype(f"u{size}").ravel()
    return rows.view(np.dtype((np.void, size))).ravel()
