"""Generated tables of kinds that collections of real ones lack: one-hot codes, curves, counts.

``python -m benchmarks.generated FOLDER`` writes them, one file per table, 2,400 rows each; the
commands of ``python -m benchmarks`` read them where the variable ``ADAPTIVE_VQ_DATA`` names the
folder.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

from benchmarks import rtables
from benchmarks.protocol import Matrix

N_ROWS = 2_400

Floats = NDArray[np.floating[Any]]
Make = Callable[[np.random.Generator, int], Floats]


def one_hot(rng: np.random.Generator, n: int, n_codes: int, n_values: int) -> Floats:
    """Codes whose values are independent and equally likely."""
    return np.hstack([np.eye(n_values)[rng.integers(n_values, size=n)] for _ in range(n_codes)])


def one_hot_skewed(rng: np.random.Generator, n: int) -> Floats:
    """Codes of which one follows from another one, beside numbers, and values of Zipf's law."""
    zipf = 1.0 / np.arange(1, 31)
    group = rng.integers(6, size=n)
    noisy = (group + rng.choice(4, n, p=[0.7, 0.1, 0.1, 0.1])) % 6
    numbers = rng.normal(size=(n, 6)) + group[:, None]
    rare = rng.choice(30, n, p=zipf / zipf.sum())
    return np.hstack([np.eye(6)[group], np.eye(6)[noisy], np.eye(30)[rare], numbers])


def bumps(rng: np.random.Generator, n: int) -> Floats:
    """One pulse per row, of any place and width."""
    place, width = rng.uniform(0, 64, (n, 1)), rng.uniform(1, 4, (n, 1))
    return np.exp(-0.5 * ((np.arange(64) - place) / width) ** 2)


def bars(rng: np.random.Generator, n: int) -> Floats:
    """Pictures of 8 x 8 with some rows and columns drawn (Foeldiak, 1990)."""
    drawn = rng.random((n, 16)) < 0.2
    return (drawn[:, :8, None] | drawn[:, None, 8:]).reshape(n, 64).astype(np.float64)


def lorenz(rng: np.random.Generator, n: int) -> Floats:
    """Windows of 40 values of the Lorenz system, 4 steps of 0.01 apart."""
    state, path = np.array([0.0, 0.0, 20.0]) + rng.normal(size=3), list[Floats]()

    def slope(s: Floats) -> Floats:
        x, y, z = s
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    for _ in range(20 * n + 160):
        first = slope(state)
        second = slope(state + 0.005 * first)
        third = slope(state + 0.005 * second)
        state = state + 0.01 / 6 * (first + 2 * (second + third) + slope(state + 0.01 * third))
        path.append(state[:1])
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate(path), 160)
    return np.ascontiguousarray(windows[::20, ::4][:n])


def steps(rng: np.random.Generator, n: int) -> Floats:
    """Series of three levels with jumps anywhere, and a little noise."""
    jumps, levels = np.sort(rng.integers(1, 100, (n, 2)), axis=1), rng.normal(size=(n, 3))
    at = (np.arange(100)[None, :, None] >= jumps[:, None, :]).sum(axis=2)
    return np.take_along_axis(levels, at, axis=1) + 0.02 * rng.normal(size=(n, 100))


def polynomials(rng: np.random.Generator, n: int) -> Floats:
    """All monomials of three numbers up to the sixth degree."""
    return PolynomialFeatures(6, include_bias=False).fit_transform(rng.uniform(-1, 1, (n, 3)))


def splines(rng: np.random.Generator, n: int) -> Floats:
    """Three numbers on a basis of cubic splines."""
    return SplineTransformer(18, degree=3).fit_transform(rng.uniform(-1, 1, (n, 3)))


def angles(rng: np.random.Generator, n: int) -> Floats:
    """Sines and cosines of ten angles."""
    angle = rng.uniform(0, 2 * np.pi, (n, 10))
    return np.hstack([np.cos(angle), np.sin(angle)])


def parity(rng: np.random.Generator, n: int) -> Floats:
    """Twelve bits, and the parities of 40 triples of them."""
    bits = rng.integers(2, size=(n, 12))
    triples = rng.permutation(list(combinations(range(12), 3)))[:40]
    return np.hstack([bits, bits[:, triples].sum(axis=2) % 2]).astype(np.float64)


def rare_clusters(rng: np.random.Generator, n: int) -> Floats:
    """Clusters of which some have many rows and most a few."""
    share = 1.0 / np.arange(1, 401) ** 1.1
    centers = rng.normal(size=(400, 40))[rng.choice(400, n, p=share / share.sum())]
    return centers + 0.15 * rng.normal(size=(n, 40))


def counts(rng: np.random.Generator, n: int) -> Floats:
    """Counts with three factors in the logarithm of what is expected."""
    return rng.poisson(np.exp(0.5 * rng.normal(size=(n, 3)) @ rng.normal(size=(3, 50)))) * 1.0


def mostly_zero_counts(rng: np.random.Generator, n: int) -> Floats:
    """Counts of long tails, zero more often than not, in some rows nearly always."""
    seen = rng.random((n, 40)) < 0.25 + 0.15 * np.sign(rng.normal(size=(n, 1)))
    return rng.negative_binomial(1.0, 0.2, (n, 40)) * seen * 1.0


def shares(rng: np.random.Generator, n: int) -> Floats:
    """Thirty shares of one, from five factors."""
    grown = np.exp(2 * rng.normal(size=(n, 5)) @ rng.normal(size=(5, 30)))
    return grown / grown.sum(axis=1, keepdims=True)


def low_rank_and_spikes(rng: np.random.Generator, n: int) -> Floats:
    """Four factors, and large values in one of fifty cells."""
    spikes = (rng.random((n, 80)) < 0.02) * rng.normal(size=(n, 80)) * 8
    return rng.normal(size=(n, 4)) @ rng.normal(size=(4, 80)) + spikes


def scaled_rows(rng: np.random.Generator, n: int) -> Floats:
    """Eight factors, times a factor per row with the tails of Student's t (2 degrees)."""
    rows = rng.normal(size=(n, 8)) @ rng.normal(size=(8, 40))
    return rows * np.sqrt(2 / rng.chisquare(2, (n, 1))) + 0.1 * rng.normal(size=(n, 40))


def sensors(rng: np.random.Generator, n: int) -> Floats:
    """Four random walks seen by twenty sensors that round to halves."""
    walks = 0.2 * np.cumsum(rng.normal(size=(n, 4)), axis=0) @ rng.normal(size=(4, 20))
    return np.round(2 * (walks + 0.3 * rng.normal(size=(n, 20)))) / 2


def distances(rng: np.random.Generator, n: int) -> Floats:
    """Distances between all pairs of twelve points in a plane."""
    points, (i, j) = rng.normal(size=(n, 12, 2)), np.triu_indices(12, 1)
    return np.asarray(np.linalg.norm(points[:, i] - points[:, j], axis=2))


TABLES: dict[str, Make] = {
    "one_hot_4x60": lambda rng, n: one_hot(rng, n, 4, 60),
    "one_hot_2x100": lambda rng, n: one_hot(rng, n, 2, 100),
    "one_hot_skewed": one_hot_skewed,
    "bumps": bumps,
    "bars": bars,
    "lorenz": lorenz,
    "steps": steps,
    "polynomials": polynomials,
    "splines": splines,
    "angles": angles,
    "parity": parity,
    "rare_clusters": rare_clusters,
    "counts": counts,
    "mostly_zero_counts": mostly_zero_counts,
    "shares": shares,
    "low_rank_and_spikes": low_rank_and_spikes,
    "scaled_rows": scaled_rows,
    "sensors": sensors,
    "distances": distances,
    "permutations": lambda rng, n: np.argsort(rng.random((n, 16)), axis=1) * 1.0,
    "sorted_values": lambda rng, n: np.sort(rng.normal(size=(n, 32)), axis=1),
}


def read(name: str) -> Matrix:
    """Draw a table; the same at every call."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return np.asarray(TABLES[name](rng, N_ROWS), dtype=np.float32)


if __name__ == "__main__":
    rtables.main("generated", TABLES, read, __doc__)
