"""A uniform sample of rows that does not depend on the chunks in which they arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["RowSample", "rank_limit", "row_ranks"]

MAX_ROWS = 65_536
MIN_ROWS = 4_096
#: Wide tables keep fewer rows: 2**25 cells of float64 are 256 MiB.
MAX_CELLS = 2**25


_NUMBERS_AT_ONCE = 2**20


@dataclass
class RowSample:
    """The rows whose numbers have the smallest hashes (bottom-k sampling).

    Whether a row is kept depends on its number and the seed alone, so any chunking of the same
    rows gives the same sample; up to `capacity` rows all are kept.

    Attributes
    ----------
    seed : int
        Selects among the possible samples.
    capacity : int
        Most rows kept.
    rows : ndarray of shape (n_kept, n_features)
        In the order of arrival. May share memory with what was added.
    ranks : ndarray of uint64 of shape (n_kept,)
        The rows' hashes, all different.
    n_seen : int
        Rows added so far.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.sampling import RowSample
    >>> sample = RowSample.empty(n_features=1, seed=0, capacity=3)
    >>> sample = sample.add(np.zeros((4, 1))).add(np.ones((4, 1)))
    >>> sample.n_seen, len(sample.rows)
    (8, 3)
    """

    seed: int
    capacity: int
    rows: npt.NDArray[np.float64]
    ranks: npt.NDArray[np.uint64]
    n_seen: int = 0

    @classmethod
    def empty(cls, n_features: int, seed: int, capacity: int | None = None) -> RowSample:
        """Return a sample of no rows; the default capacity follows from the number of columns."""
        if capacity is None:
            capacity = int(np.clip(MAX_CELLS // max(1, n_features), MIN_ROWS, MAX_ROWS))
        return cls(seed, capacity, np.empty((0, n_features)), np.empty(0, dtype=np.uint64))

    def add(self, X: npt.NDArray[np.float64]) -> RowSample:
        """Return the sample after the rows of `X`, shape (n_samples, n_features), arrived."""
        ranks = row_ranks(self.n_seen, len(X), self.seed)
        n_seen = self.n_seen + len(X)
        if len(self.rows) == self.capacity:
            candidate = ranks < self.ranks.max()
            X, ranks = X[candidate], ranks[candidate]
        if len(self.rows):
            X, ranks = np.concatenate([self.rows, X]), np.concatenate([self.ranks, ranks])
        keep = _smallest(ranks, self.capacity)
        if len(keep) < len(ranks):
            X, ranks = X[keep], ranks[keep]
        return RowSample(self.seed, self.capacity, X, ranks, n_seen)

    def subset(self, n_rows: int) -> npt.NDArray[np.float64]:
        """Return at most `n_rows` rows of the sample, in the order of arrival."""
        keep = _smallest(self.ranks, n_rows)
        return self.rows if len(keep) == len(self.rows) else self.rows[keep]


def row_ranks(start: int, count: int, seed: int) -> npt.NDArray[np.uint64]:
    """Return the hashes of `count` rows from number `start` on."""
    return _hash(np.arange(start, start + count), seed)


def rank_limit(n_rows: int, empty: RowSample) -> np.uint64:
    """Return the largest hash that a sample keeps once it has seen so many rows.

    Parameters
    ----------
    n_rows : int
    empty : RowSample
        Sample of no rows, which says what to keep.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.sampling import RowSample, rank_limit, row_ranks
    >>> empty = RowSample.empty(n_features=1, seed=0, capacity=3)
    >>> int((row_ranks(0, 8, 0) <= rank_limit(8, empty)).sum())
    3
    """
    kept = RowSample.empty(0, empty.seed, empty.capacity)
    for start in range(0, n_rows, _NUMBERS_AT_ONCE):
        kept = kept.add(np.empty((min(_NUMBERS_AT_ONCE, n_rows - start), 0)))
    return np.uint64(kept.ranks.max(initial=0))


def _smallest(ranks: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.intp]:
    if len(ranks) <= count:
        return np.arange(len(ranks))
    return np.sort(np.argpartition(ranks, count - 1)[:count])


def _hash(numbers: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64-bit integers."""
    z = numbers.astype(np.uint64) + np.uint64(seed) * np.uint64(2**32 + 1)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
