"""The protocol of every figure: which rows, which matrix, what counts as an error.

1. Rows are shuffled with a seed; three quarters of a table, at most 10,000 rows, train, up to 5,000
   of the others are held out. Nothing sees the held-out rows before they are scored.
2. Missing cells become the training median, columns are capped at the training percentiles 0.5 and
   99.5, constant columns and the later one of two with ``|r| > 0.99`` are dropped, the rest is
   standardized. Every method gets this float32 matrix as it is.
3. NMSE is the sum of squared errors over the sum of squared deviations from the training mean,
   which is 0 in this matrix.
4. Rate is the sum of log2(codebook size) over every codebook that decoding uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from adaptive_vq.metrics import category_nmse, imbalance, reconstruction_nmse

Matrix = NDArray[np.float32]
Categories = dict[str, NDArray[np.int64]]

DATA_VARIABLE = "ADAPTIVE_VQ_DATA"
SETS = (
    "online_news",
    "credit_default",
    "spambase",
    "mfeat",
    "glove50_small",
    "fashion_mnist_12k",
)
#: Small tables that scikit-learn brings along.
BUNDLED = ("breast_cancer", "diabetes", "digits", "wine")
CAPS = (0.5, 99.5)
_CONSTANT = 1e-10
_DUPLICATE = 0.99


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it is on disk.

    Attributes
    ----------
    name : str
        Name of the set.
    X : ndarray of shape (n, d)
        Cells, NaN where missing.
    y : ndarray of shape (n,) or None
        Class labels.
    """

    name: str
    X: NDArray[np.float64]
    y: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """The matrix that every method gets, and the rows it is scored on.

    Attributes
    ----------
    name : str
        Name of the set.
    train, held : ndarray of float32, of shapes (n_train, d) and (n_held, d)
        Training rows and rows kept aside, in the protocol's units.
    columns : ndarray of shape (d,)
        Positions in the table of the columns that were kept.
    y_train, y_held : ndarray or None
        Class labels of the rows.
    """

    name: str
    train: Matrix
    held: Matrix
    columns: NDArray[np.int64]
    y_train: NDArray[Any] | None = None
    y_held: NDArray[Any] | None = None


def data_folder() -> Path:
    """Folder of the real tables.

    Raises
    ------
    SystemExit
        If the environment variable is not set or names no folder.
    """
    folder = os.environ.get(DATA_VARIABLE, "")
    if not folder or not Path(folder).is_dir():
        raise SystemExit(
            f"{DATA_VARIABLE} must name a folder with one NAME.npz per table (arrays X and, where "
            f"there are labels, y); it is {folder!r}."
        )
    return Path(folder)


def load_table(name: str) -> Table:
    """Read a table by name.

    Parameters
    ----------
    name : str
        One of `BUNDLED`, or ``<folder>/<name>.npz`` holds it.

    Returns
    -------
    Table
        Cells in float64, and labels where there are any.

    Raises
    ------
    SystemExit
        If there is no such file; the message lists those there are.
    """
    if name in BUNDLED:
        X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
        return Table(name, X.astype(np.float64), None if name == "diabetes" else y)
    path = data_folder() / f"{name}.npz"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.npz"))
        raise SystemExit(f"There is no table {name!r} in {path.parent}; there are {known}.")
    with np.load(path, allow_pickle=False) as file:
        return Table(name, file["X"].astype(np.float64), file.get("y"))


def split_rows(
    n_rows: int, seed: int, *, max_train: int = 10_000, max_held: int = 5_000
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose training rows and rows kept aside.

    Parameters
    ----------
    n_rows : int
        Rows of the table.
    seed : int
        Seed of the shuffle.
    max_train, max_held : int
        Most rows of each kind; three quarters of a smaller table train.

    Returns
    -------
    train, held : ndarray of int
        Row positions, disjoint.
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    n_train = min(max_train, int(0.75 * n_rows))
    return order[:n_train], order[n_train : n_train + max_held]


def prepare(table: Table, seed: int, *, max_train: int = 10_000, max_held: int = 5_000) -> Split:
    """Turn a table into the matrix that every method gets.

    Parameters
    ----------
    table : Table
        A table as it is.
    seed : int
        Seed of the shuffle.
    max_train, max_held : int
        See `split_rows`.

    Returns
    -------
    Split
        Standardized float32 rows; all statistics are those of the training rows.
    """
    rows, aside = split_rows(len(table.X), seed, max_train=max_train, max_held=max_held)
    train, held = _capped(table.X[rows], table.X[aside])
    columns = _useful(train)
    train, held = train[:, columns], held[:, columns]
    mean, std = train.mean(axis=0), train.std(axis=0)
    labels = (None, None) if table.y is None else (table.y[rows], table.y[aside])
    return Split(
        table.name,
        ((train - mean) / std).astype(np.float32),
        ((held - mean) / std).astype(np.float32),
        columns,
        *labels,
    )


def _capped(
    train: NDArray[np.float64], held: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    observed = ~np.isnan(train)
    median = np.zeros(train.shape[1])
    seen = observed.any(axis=0)
    median[seen] = np.nanmedian(train[:, seen], axis=0)
    train, held = (np.where(np.isnan(part), median, part) for part in (train, held))
    lower, upper = np.percentile(train, CAPS, axis=0)
    return np.clip(train, lower, upper), np.clip(held, lower, upper)


def _useful(train: NDArray[np.float64]) -> NDArray[np.int64]:
    """Columns that vary, without the later one of two that say the same."""
    varying = np.flatnonzero(train.std(axis=0) > _CONSTANT)
    same = np.abs(np.atleast_2d(np.corrcoef(train[:, varying].T))) > _DUPLICATE
    kept: list[int] = []
    for j in range(len(varying)):
        if not same[j, kept].any():
            kept.append(j)
    return varying[kept]


def ward_categories(Z: Matrix, n_categories: int) -> Categories:
    """Cluster columns by Ward's method on ``1 - |r|``.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Training rows.
    n_categories : int
        Number of categories; fewer if there are fewer columns.

    Returns
    -------
    dict of str to ndarray of int64
        Column positions per category, ``"group_1"`` the largest; ties by the first column.
    """
    n_columns = Z.shape[1]
    if n_columns == 1:
        return {"group_1": np.zeros(1, dtype=np.int64)}
    distance = np.clip(1 - np.abs(np.corrcoef(Z.astype(np.float64).T)), 0, 1)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="ward")
    labels = fcluster(tree, min(n_categories, n_columns), criterion="maxclust")
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    groups.sort(key=lambda columns: (-len(columns), columns[0]))
    return {f"group_{i}": columns for i, columns in enumerate(groups, start=1)}


def distortion(
    Z: Matrix, Z_hat: NDArray[np.floating], categories: Mapping[str, NDArray[np.int64]]
) -> dict[str, Any]:
    """Error of a reconstruction: in total, per category, and how evenly it is spread.

    Parameters
    ----------
    Z, Z_hat : ndarray of shape (n, d)
        Rows in the protocol's units and their reconstruction.
    categories : mapping of str to ndarray of int
        Column positions per category.

    Returns
    -------
    dict
        ``nmse``, ``quality``, ``worst`` (NMSE of the worst category), ``max_min``, ``max_median``
        and ``per_category``.
    """
    origin = np.zeros(Z.shape[1])
    total = reconstruction_nmse(Z, Z_hat, reference=origin)
    errors = category_nmse(Z, Z_hat, categories, reference=origin)
    spread = imbalance(errors)
    return {
        "nmse": total,
        "quality": 1 - total,
        "worst": max(errors.values()),
        "max_min": spread["max_min"],
        "max_median": spread["max_median"],
        "per_category": errors,
    }
