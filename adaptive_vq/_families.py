"""The feature families behind `adaptive_vq.datasets.make_feature_families`.

A family is a Gaussian factor model; each of its columns is a fixed function of one of the model's
variables, scaled and shifted. So what a family holds is known exactly, while its columns look like
those of real tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from adaptive_vq._arrays import Bools, Floats

Shape = Callable[[Floats], NDArray[Any]]

N_SHARED = 3


def _identity(z: Floats) -> Floats:
    return z


def _in_bin(z: Floats, index: int, n_bins: int) -> Bools:
    """Whether `z` lies in the `index`-th of `n_bins` equally likely intervals."""
    return np.floor(n_bins * ndtr(z)) == index


def _almost_one(z: Floats, jitter: float) -> Floats:
    return 1.0 + jitter * z


# How a standard normal variable becomes a column of each kind.
_CONTINUOUS: dict[str, Shape] = {
    "normal": _identity,
    "lognormal": np.exp,
    "heavy": lambda z: np.sinh(1.5 * z),  # kurtosis about 4000
    "share": ndtr,
    "wave": lambda z: np.sin(2 * z),  # not monotone: no linear map recovers z
}
_DISCRETE: dict[str, Shape] = {
    "count": lambda z: np.floor(np.exp(0.8 * z)),
    "level": lambda z: np.clip(np.round(1.5 * z), -3, 3) + 3,
    "sparse": lambda z: np.maximum(z - 1.2, 0),  # 88 % zeros
    "flag": lambda z: z > 0.8,  # set in 21 % of the rows
    "rare": lambda z: z > 2.65,  # set in 0.4 %: caps at outer percentiles would erase it
    "constant": partial(_almost_one, jitter=0.0),
    "nearly_constant": partial(_almost_one, jitter=1e-12),
}


@dataclass(frozen=True)
class Column:
    """A column as a function of one latent variable of its family."""

    name: str
    source: int  # twins and the columns of a one-hot group share a source
    shape: Shape
    scale: float = 1.0
    offset: float = 0.0

    def observe(self, latent: Floats) -> Floats:
        """Values (n,) from the family's latent variables (n, m)."""
        return self.scale * (self.shape(latent[:, self.source]).astype(np.float64) + self.offset)


@dataclass(frozen=True)
class Family:
    """`n_factors` Gaussian factors behind groups of columns (feature, kind, how many)."""

    name: str
    n_factors: int
    noise: float  # share of each latent variable's variance that is its own
    exponents: tuple[float, float]  # scales are 10 ** these, spread over the continuous columns
    groups: tuple[tuple[str, str, int], ...]
    smooth: bool = False  # neighboring columns are alike, as in a time series

    def columns(self, rng: np.random.Generator) -> list[Column]:
        """Lay out the columns, their scales and their random offsets."""
        n_scaled = sum(count for _, kind, count in self.groups if kind in _CONTINUOUS)
        exponents = np.linspace(*self.exponents, n_scaled)
        units = zip(10.0**exponents, rng.normal(scale=2.0, size=n_scaled), strict=True)
        columns: list[Column] = []
        source = 0
        for feature, kind, count in self.groups:
            names = self._names(feature, count)
            if kind == "twin":
                columns += [_twin(name, columns[0]) for name in names]
                continue
            group = list(_group(names, kind, source, units))
            source = 1 + max(column.source for column in group)
            columns += group
        return columns

    def _names(self, feature: str, count: int) -> list[str]:
        suffixes = [f"_{i:02d}" for i in range(count)] if count > 1 else [""]
        return [f"{self.name}__{feature}{suffix}" for suffix in suffixes]


def _group(
    names: list[str], kind: str, source: int, units: Iterator[tuple[float, float]]
) -> Iterator[Column]:
    for i, name in enumerate(names):
        if kind == "onehot":
            yield Column(name, source, partial(_in_bin, index=i, n_bins=len(names)))
        elif kind in _DISCRETE:
            yield Column(name, source + i, _DISCRETE[kind])
        else:
            yield Column(name, source + i, _CONTINUOUS[kind], *next(units))


def _twin(name: str, column: Column) -> Column:
    """The same column in other units, a thousandth of the first ones."""
    return Column(name, column.source, column.shape, 1000 * column.scale, column.offset)


# A twin repeats the first column of its family.
FAMILIES = (
    Family(
        "initial", n_factors=2, noise=0.02, exponents=(-1, 1),
        groups=(
            ("parameter", "normal", 6), ("phase", "wave", 3), ("density", "share", 3),
            ("kind", "onehot", 4), ("version", "constant", 1),
        ),
    ),
    Family(
        "temporal", n_factors=3, noise=0.03, exponents=(2, 2), smooth=True,
        groups=(("step", "normal", 24), ("first_step_again", "twin", 1)),
    ),
    Family(
        "summary", n_factors=4, noise=0.1, exponents=(-6, 6),
        groups=(
            ("mean", "normal", 5), ("spread", "lognormal", 6), ("tail", "heavy", 6),
            ("share", "share", 3), ("floor", "nearly_constant", 1),
        ),
    ),
    Family(
        "spectral", n_factors=6, noise=0.15, exponents=(-4, 1),
        groups=(
            ("phase", "normal", 2), ("power", "lognormal", 13), ("peak_band", "level", 1),
            ("phase_again", "twin", 1),
        ),
    ),
    Family(
        "spatial", n_factors=8, noise=0.25, exponents=(-2, 2),
        groups=(("moment", "normal", 10), ("overlap", "share", 4)),
    ),
    Family(
        "events", n_factors=4, noise=0.3, exponents=(0, 0),
        groups=(
            ("count", "count", 6), ("burst", "sparse", 5), ("flag", "flag", 3),
            ("alarm", "rare", 1),
        ),
    ),
    Family(
        "residual", n_factors=1, noise=0.85, exponents=(-3, 3),
        groups=(("lag", "normal", 10), ("shock", "heavy", 2)),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Model:
    """Factor model of one family: `n_shared` common factors, k own ones, m variables."""

    mixing: Floats  # (n_shared, k), unit columns
    loadings: Floats  # (k, m), every variable of unit variance
    noise: float
    shared: float

    @classmethod
    def draw(
        cls, family: Family, n_latent: int, shared: float, rng: np.random.Generator
    ) -> "Model":
        """Draw the loadings of a family; smooth ones are cosines of rising frequency."""
        order = np.arange(family.n_factors)[:, None]
        mixing = rng.standard_normal((N_SHARED, family.n_factors))
        mixing /= np.linalg.norm(mixing, axis=0)
        loadings = rng.standard_normal((family.n_factors, n_latent))
        if family.smooth:
            loadings = np.cos(np.pi * (order + 0.5) * (np.arange(n_latent) + 0.5) / n_latent)
        loadings /= np.sqrt(order + 1)
        model = cls(mixing, loadings, family.noise, shared)
        variances = np.diag(loadings.T @ model.factor_covariance @ loadings)
        return cls(mixing, loadings / np.sqrt(variances), family.noise, shared)

    @property
    def factor_covariance(self) -> Floats:
        """Covariance (k, k) of the family's factors, of unit variances."""
        own = np.eye(self.mixing.shape[1])
        return self.shared * self.mixing.T @ self.mixing + (1 - self.shared) * own

    @property
    def spectrum(self) -> Floats:
        """Eigenvalues (m,) of the correlation matrix of the variables."""
        signal = self.loadings.T @ self.factor_covariance @ self.loadings
        correlation = (1 - self.noise) * signal + self.noise * np.eye(len(signal))
        return np.asarray(np.linalg.eigvalsh(correlation), dtype=np.float64)

    def sample(self, common: Floats, rng: np.random.Generator) -> Floats:
        """Variables (n, m) given the common factors (n, n_shared) of the rows."""
        own = rng.standard_normal((len(common), len(self.loadings)))
        factors = np.sqrt(self.shared) * common @ self.mixing + np.sqrt(1 - self.shared) * own
        noise = rng.standard_normal((len(common), self.loadings.shape[1]))
        return np.sqrt(1 - self.noise) * factors @ self.loadings + np.sqrt(self.noise) * noise


def punch(part: pd.DataFrame, missing: float, rng: np.random.Generator) -> pd.DataFrame:
    """Set an expected share `missing` of the cells to NaN, half of them as rows of the family."""
    half = 1 - np.sqrt(1 - missing)  # 1 - (1 - half)**2 = missing
    scattered = rng.random(part.shape) < half
    whole = rng.random((len(part), 1)) < half
    return part.mask(scattered | whole)
