"""Synthetic tables with known truth: feature families, and Gaussian sources with a known limit.

`make_feature_families` imitates a table of engineered features, with the nuisances that real
tables have; its categories are known. `make_gaussian_table` draws from a Gaussian whose
distortion-rate function is known in closed form, so that a codec's distance to it can be measured.
"""

from functools import partial
from numbers import Integral, Real
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import block_diag, toeplitz
from sklearn.utils import Bunch, check_random_state, check_scalar

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._families import FAMILIES, N_SHARED, Model, punch
from adaptive_vq.metrics import gaussian_distortion_rate
from adaptive_vq.scores import gaussian_bits

__all__ = ["make_feature_families", "make_gaussian_table"]

Spectrum = Literal["iid", "ar1", "power", "blocks"]

_SPECTRA = ("iid", "ar1", "power", "blocks")
_N_BLOCKS = 6


def make_feature_families(
    n_samples: int = 10_000,
    *,
    shared: float = 0.5,
    missing: float = 0.02,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    r"""Make a table of engineered features in seven known categories of different difficulty.

    The columns are named ``family__feature``: ``initial`` (conditions of a run: few factors,
    waves, a one-hot kind), ``temporal`` (a smooth series), ``summary`` (heavy tails, scales from
    1e-6 to 1e6), ``spectral`` (skewed), ``spatial`` (many factors), ``events`` (counts, mostly-zero
    columns, flags, one of them set in 0.4 % of the rows) and ``residual`` (close to noise). Among
    them are a constant and a nearly constant column, two columns that repeat another in other
    units, and missing cells.

    Parameters
    ----------
    n_samples : int, default=10_000
        Number of rows, at least 1.
    shared : float in [0, 1], default=0.5
        Share of the variance of every family's factors that comes from three factors common to
        all families. With 0 the categories are independent.
    missing : float in [0, 1), default=0.02
        Expected share of missing cells (NaN). About half are scattered, half are rows in which a
        whole family is missing. The other cells do not depend on this parameter, so that
        ``missing=0`` gives the complete table.
    random_state : int, RandomState or None, default=0
        Seed of the structure (loadings) and of the rows. For a given seed the structure does not
        depend on `n_samples`.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        data : DataFrame of shape (n_samples, 121), float64
            The table; families stand together, in the order of `categories`.
        categories : dict of str to list of str
            The true categories: family name to column names.
        feature_names : list of str
            The column names.
        difficulty : DataFrame
            One row per category: `n_columns`; `n_factors`; `noise` (share of variance that is a
            column's own); `effective_dimension` (participation ratio of the eigenvalues); and
            `gaussian_bits` (bits per row for an NMSE of 0.1). The last two belong to the Gaussian
            variables behind the columns, each counted once.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of its range; the message names it.

    See Also
    --------
    make_gaussian_table : A table whose distortion-rate function is known.

    Notes
    -----
    A Gaussian copula: family :math:`g` has factors :math:`f_g = \sqrt{s} W_g^T c + \sqrt{1 - s}
    u_g` of common factors :math:`c` and own ones :math:`u_g`, and variables :math:`z_g = \sqrt{1 -
    \nu_g} B_g^T f_g + \sqrt{\nu_g} e_g` of unit variance. A column is a fixed function of one of
    them (identity, exponential, hyperbolic sine, distribution function, threshold, ...), scaled
    and shifted.

    Examples
    --------
    >>> from adaptive_vq.datasets import make_feature_families
    >>> table = make_feature_families(500)
    >>> table.data.shape
    (500, 121)
    >>> {name: len(columns) for name, columns in table.categories.items()}
    {'initial': 17, 'temporal': 25, 'summary': 21, 'spectral': 17, 'spatial': 14, 'events': 15,
     'residual': 12}
    >>> table.difficulty["gaussian_bits"].idxmin()
    'initial'
    >>> bool(make_feature_families(500, missing=0).data.isna().any(axis=None))
    False
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(shared, "shared", Real, min_val=0, max_val=1)
    check_scalar(missing, "missing", Real, min_val=0, max_val=1, include_boundaries="left")
    structure, rows, holes = _generators(random_state, 3)
    common = rows.standard_normal((n_samples, N_SHARED))
    parts, difficulty = {}, {}
    for family in FAMILIES:
        columns = family.columns(structure)
        n_latent = 1 + max(column.source for column in columns)
        model = Model.draw(family, n_latent, shared, structure)
        latent = model.sample(common, rows)
        part = pd.DataFrame({column.name: column.observe(latent) for column in columns})
        parts[family.name] = punch(part, missing, holes)
        difficulty[family.name] = {
            "n_columns": len(columns),
            "n_factors": family.n_factors,
            "noise": family.noise,
            "effective_dimension": n_latent**2 / np.square(model.spectrum).sum(),
            "gaussian_bits": gaussian_bits(model.spectrum),
        }
    data = pd.concat(parts.values(), axis=1)
    return Bunch(
        data=data,
        categories={name: list(part.columns) for name, part in parts.items()},
        feature_names=list(data.columns),
        difficulty=pd.DataFrame.from_dict(difficulty, orient="index").rename_axis("category"),
    )


def _generators(
    random_state: int | np.random.RandomState | None, count: int
) -> list[np.random.Generator]:
    """Independent streams, so that one kind of draw never shifts another."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(count)]


def make_gaussian_table(
    n_samples: int = 20_000,
    n_features: int = 32,
    *,
    spectrum: Spectrum = "iid",
    rho: float | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    r"""Draw rows of a centered Gaussian whose distortion-rate function is known.

    Parameters
    ----------
    n_samples : int, default=20_000
        Number of rows, at least 1.
    n_features : int, default=32
        Number of columns, at least 1; at least 12 with ``spectrum="blocks"``.
    spectrum : {"iid", "ar1", "power", "blocks"}, default="iid"
        Shape of the covariance matrix, of mean variance 1 per column.

        - "iid": the identity;
        - "ar1": :math:`\Sigma_{ij} = \rho^{|i - j|}`;
        - "power": eigenvalues proportional to :math:`1 / i` in a random orthonormal basis;
        - "blocks": six independent categories of unit-variance columns, in shuffled order. Each
          is AR(1), and their difficulties :math:`|\Sigma_g|^{1 / m_g}` (distortion per column at
          an equal, high rate per column) fall from 1 to 1/100 in equal steps of their logarithm.
          Scaling the columns does not level them.
    rho : float in (-1, 1), default=None
        Correlation of neighbors with ``spectrum="ar1"``, where None means 0.9. Refused with
        another spectrum.
    random_state : int, RandomState or None, default=0
        Seed. For a given seed the covariance does not depend on `n_samples`.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        data : DataFrame of shape (n_samples, n_features), float64
            The rows; columns ``x0``, ``x1``, ...
        covariance : ndarray of shape (n_features, n_features)
            The true covariance of the columns of `data`.
        eigenvalues : ndarray of shape (n_features,)
            Its eigenvalues, largest first.
        distortion_rate : callable
            ``distortion_rate(bits)`` is the least NMSE that any code of `bits` bits per row can
            reach on this source (Shannon's limit, by reverse water-filling), for a number
            or an array of numbers. A code of fixed rate on single rows stays above it.
        categories : dict of str to list of str
            The true categories, hardest first ("block_1", ..., "block_6"); for the other
            spectra one category "all".
        feature_names : list of str
            The column names.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type, out of its range or, for `rho`, without effect.

    See Also
    --------
    make_feature_families : A table like real ones.
    adaptive_vq.metrics.gaussian_distortion_rate : The limit for any covariance.

    References
    ----------
    T. M. Cover and J. A. Thomas, Elements of Information Theory, 2nd ed., theorem 10.3.3.

    Examples
    --------
    >>> from adaptive_vq.datasets import make_gaussian_table
    >>> source = make_gaussian_table(1000, 32, spectrum="ar1")
    >>> source.data.shape
    (1000, 32)
    >>> round(source.distortion_rate(32), 4)
    0.05
    >>> make_gaussian_table(10, 32).distortion_rate(32)  # one bit per column
    0.25
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_features, "n_features", Integral, min_val=1)
    _check_spectrum(spectrum, n_features, rho)
    structure, rows = _generators(random_state, 2)
    names = [f"x{i}" for i in range(n_features)]
    order, sizes = np.arange(n_features), [n_features]
    match spectrum:
        case "iid":
            covariance = np.eye(n_features)
        case "ar1":
            covariance = _ar1(n_features, 0.9 if rho is None else rho)
        case "power":
            covariance = _power(n_features, structure)
        case "blocks":
            sizes = [len(part) for part in np.array_split(order, _N_BLOCKS)]
            order = structure.permutation(n_features)
            covariance = _blocks(sizes)[np.ix_(order, order)]
    eigenvalues, basis = np.linalg.eigh(covariance)
    eigenvalues = np.maximum(eigenvalues, 0.0)  # rounding takes those next to 0 below it
    data = (rows.standard_normal((n_samples, n_features)) * np.sqrt(eigenvalues)) @ basis.T
    return Bunch(
        data=pd.DataFrame(data, columns=names),
        covariance=covariance,
        eigenvalues=eigenvalues[::-1].copy(),
        distortion_rate=partial(_nmse_at, eigenvalues=eigenvalues[::-1].copy()),
        categories=_block_names(order, sizes, names),
        feature_names=names,
    )


def _check_spectrum(spectrum: str, n_features: int, rho: float | None) -> None:
    if spectrum not in _SPECTRA:
        raise ValueError(f"spectrum must be one of {list(_SPECTRA)}, got {spectrum!r}.")
    if spectrum == "blocks" and n_features < 2 * _N_BLOCKS:
        raise ValueError(
            f'n_features={n_features} is too few for spectrum="blocks": its {_N_BLOCKS} categories '
            f"need two columns each; pass n_features >= {2 * _N_BLOCKS}."
        )
    if rho is None:
        return
    if spectrum != "ar1":
        raise ValueError(
            f'rho={rho} has no effect with spectrum={spectrum!r}; leave it out or choose "ar1".'
        )
    check_scalar(rho, "rho", Real, min_val=-1, max_val=1, include_boundaries="neither")


def _ar1(size: int, rho: float) -> Floats:
    return np.asarray(toeplitz(float(rho) ** np.arange(size)))


def _power(size: int, rng: np.random.Generator) -> Floats:
    eigenvalues = 1 / np.arange(1.0, size + 1)
    eigenvalues *= size / eigenvalues.sum()
    basis, _ = np.linalg.qr(rng.standard_normal((size, size)))
    covariance = (basis * eigenvalues) @ basis.T
    return np.asarray((covariance + covariance.T) / 2)


def _blocks(sizes: list[int]) -> Floats:
    # An AR(1) block has |S| = (1 - rho**2)**(m - 1); solve |S|**(1/m) = difficulty for rho.
    difficulties = np.logspace(0, -2, len(sizes))
    rhos = [np.sqrt(1 - q ** (m / (m - 1))) for q, m in zip(difficulties, sizes, strict=True)]
    return np.asarray(block_diag(*(_ar1(m, r) for m, r in zip(sizes, rhos, strict=True))))


def _block_names(order: Ints, sizes: list[int], names: list[str]) -> dict[str, list[str]]:
    """Columns of each block: column `i` of the table is member ``order[i]`` of the blocks."""
    if len(sizes) == 1:
        return {"all": names}
    block = np.repeat(np.arange(len(sizes)), sizes)[order]
    return {
        f"block_{g + 1}": [names[i] for i in np.flatnonzero(block == g)] for g in range(len(sizes))
    }


def _nmse_at(bits: ArrayLike, eigenvalues: Floats) -> float | Floats:
    """Distortion-rate function of a Gaussian as a share of its variance."""
    return gaussian_distortion_rate(eigenvalues, bits) / float(eigenvalues.sum())
