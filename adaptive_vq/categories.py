"""Categories of columns: from a specification to arrays of column positions.

Every column ends in exactly one category; none is lost silently. A category's codes become columns
named ``<category>__L0``, so the name of a category is a string without a double underscore.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_list_like
from sklearn.base import clone
from sklearn.cluster import FeatureAgglomeration
from sklearn.utils import check_random_state

from adaptive_vq import _memory
from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._wording import counted, listed
from adaptive_vq.association import correlation_matrix
from adaptive_vq.clustering import Clustering, assign_to_nearest, cluster_columns, column_keys
from adaptive_vq.column_specs import (
    SEPARATOR,
    did_you_mean,
    families,
    labeled,
    mapped,
    read_mapping,
    without_callables,
)

__all__ = ["CategorySet", "resolve_categories"]

Categories = dict[str, Ints]

WORDS = ("auto", "silhouette", "prefix", "prefix_auto")
REMAINDER = "remainder"
#: Correlations are computed on at most this many rows.
MAX_ROWS = 10_000


@dataclass(frozen=True)
class CategorySet:
    """What a specification of categories came to.

    Attributes
    ----------
    categories : dict of str to ndarray of int64
        Sorted column positions per category; every column is in exactly one.
    given : bool
        Whether the user fixed the categories, so that no later step may choose another cut.
    cuts : list of dict of str to ndarray of int64
        Nested candidates from one category to the finest, the chosen one among them; empty if
        `given`.
    """

    categories: Categories
    given: bool
    cuts: list[Categories] = field(default_factory=list)


def resolve_categories(
    spec: Any,
    frame: pd.DataFrame,
    Z: npt.NDArray[np.floating] | None,
    names: Sequence[str],
    *,
    remainder: str = "own category",
    min_category_size: int = 2,
    max_categories: int = 25,
    random_state: int | np.random.RandomState | None = None,
    correlation: str = "pearson",
    isolate: Sequence[str] = (),
    sample_weight: Floats | None = None,
    at_most: bool = False,
) -> CategorySet:
    """Turn a specification of categories into column positions.

    Parameters
    ----------
    spec : str, int, path, dict, list or clusterer
        - ``"auto"``: cluster the columns; ``"silhouette"``: the same, as a fixed choice; an int:
          the same, with that many clusters;
        - ``"prefix"``: the part of ``family__feature`` names before the double underscore;
          ``"prefix_auto"``: clusters within each family;
        - a dict from name to any column specification of
          :class:`~sklearn.compose.ColumnTransformer`, or the path of a JSON file with one;
        - a list with one label per column (None: unlisted);
        - a scikit-learn clusterer. With ``metric="precomputed"`` it gets ``1 - |r|``, with
          ``affinity="precomputed"`` it gets ``|r|``, a
          :class:`~sklearn.cluster.FeatureAgglomeration` gets the table and any other the rows of
          ``|r|`` as points. Columns labeled -1 go to the nearest cluster.
    frame : pandas.DataFrame of shape (n_samples, n_features)
        The table in the units given; callables in a dict see it.
    Z : ndarray of shape (n_samples, n_features) or None
        The columns in codec units, NaN where missing; needed wherever columns are compared.
    names : sequence of str
        Column names.
    remainder : {"own category", "nearest", "error"}, default="own category"
        What becomes of columns that no category lists: a category named ``"remainder"``, the
        category they are most correlated with, or an error naming them.
    min_category_size : int, default=2
        Least number of columns in a category found by clustering; smaller groups join the nearest.
    max_categories : int, default=25
        Largest number of categories found by clustering.
    random_state : int, RandomState or None, default=None
        Seeds a clusterer without a seed of its own.
    correlation : {"pearson", "spearman", "mutual_information"}, default="pearson"
        See `adaptive_vq.association.correlation_matrix`.
    isolate : sequence of str, default=()
        Families (prefixes of ``family__feature`` names) that stay categories of their own where
        the other columns are clustered.
    sample_weight : ndarray of shape (n_samples,), default=None
        Positive weights of the rows of `Z`.
    at_most : bool, default=False
        Whether there may be fewer clusters than asked for, where the rows tell no more apart.

    Returns
    -------
    CategorySet
        The categories, whether they are fixed, and the nested candidates if they are not.

    Raises
    ------
    ValueError
        If a category is empty, overlaps another, names an unknown column or has an unusable name,
        if columns are left over with ``remainder="error"``, or if the specification is none of the
        above.
    MemoryError
        If columns are to be clustered that are too many for the machine's memory.

    Examples
    --------
    >>> import pandas as pd
    >>> from adaptive_vq.categories import resolve_categories
    >>> frame = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["a", "b", "c"])
    >>> found = resolve_categories({"first": ["a", "b"]}, frame, None, ["a", "b", "c"])
    >>> {name: columns.tolist() for name, columns in found.categories.items()}
    {'first': [0, 1], 'remainder': [2]}
    """
    if Z is not None and len(Z) > MAX_ROWS:
        rows = np.sort(check_random_state(random_state).choice(len(Z), MAX_ROWS, replace=False))
        Z, sample_weight = Z[rows], None if sample_weight is None else sample_weight[rows]
    columns = _Columns(
        frame, Z, list(names), correlation, min_category_size, max_categories, sample_weight
    )
    if isinstance(isolate, str):
        isolate = [isolate]
    if spec in ("auto", "silhouette") if isinstance(spec, str) else _is_count(spec):
        return _clustered(spec, columns, isolate, at_most)
    if len(isolate):
        raise ValueError(
            f"isolate={list(isolate)} needs clustered columns: categories='auto', 'silhouette' or "
            f"a number of clusters; got categories={spec!r}."
        )
    categories = _given(spec, columns, random_state)
    return CategorySet(_complete(categories, columns, remainder), given=True)


_SQUARES = 3
"""Matrices of all columns that clustering holds at once."""


@dataclass
class _Columns:
    """The columns of one table and how to compare them."""

    frame: pd.DataFrame
    Z: npt.NDArray[np.floating] | None
    names: list[str]
    correlation: str
    min_size: int
    max_clusters: int
    weight: Floats | None = None

    @cached_property
    def cells(self) -> npt.NDArray[np.floating]:
        if self.Z is None:
            raise ValueError("Columns can only be compared by their cells; got Z=None.")
        return self.Z

    @cached_property
    def association(self) -> Floats:
        needed = _SQUARES * 8.0 * len(self.names) ** 2
        if needed > _memory.physical():  # a system that promises more ends the process instead
            raise MemoryError(
                f"Comparing {len(self.names)} columns with each other takes "
                f"{needed / 2**30:.0f} GiB of memory, more than this machine has. Give categories "
                "(a dict from name to columns, a list with one label per column, or 'prefix'), "
                "which are compared in parts, or drop columns."
            )
        return correlation_matrix(self.cells, self.correlation, self.weight)

    @cached_property
    def keys(self) -> list[str]:
        named = all(isinstance(name, str) for name in self.frame.columns)
        return column_keys(self.cells, self.names, named)

    def cluster(self, positions: Ints, max_clusters: int | None = None) -> Clustering:
        # Of many columns a copy is large.
        everything = np.array_equal(positions, np.arange(len(self.names)))
        return cluster_columns(
            self.association if everything else self.association[np.ix_(positions, positions)],
            [self.keys[p] for p in positions],
            min_size=self.min_size,
            max_clusters=self.max_clusters if max_clusters is None else max_clusters,
        )


def _is_count(spec: Any) -> bool:
    return isinstance(spec, Integral) and not isinstance(spec, bool)


def _clustered(spec: Any, columns: _Columns, isolate: Sequence[str], at_most: bool) -> CategorySet:
    """Cluster all columns but the isolated families."""
    known = families(columns.names)
    if not all(isinstance(family, str) for family in isolate):
        raise ValueError(f"isolate={list(isolate)} must hold names of families of columns (text).")
    unknown = [family for family in isolate if family not in known]
    if unknown:
        raise ValueError(
            f"isolate names {unknown[0]!r}, but no column is called "
            f"'{unknown[0]}{SEPARATOR}...'.{did_you_mean(unknown[0], known)}"
        )
    apart = {family: known[family] for family in sorted(set(isolate))}
    rest = _left_over(apart, columns)
    if not len(rest):
        return CategorySet(apart, given=True)
    if _is_count(spec):
        return CategorySet(_exactly(int(spec), rest, apart, columns, at_most), given=True)
    found = columns.cluster(rest, max(1, columns.max_clusters - len(apart)))
    chosen = _numbered(found.partitions[found.chosen], rest, apart)
    if spec == "silhouette":
        return CategorySet(chosen, given=True)
    cuts = [_numbered(partition, rest, apart) for partition in found.candidates()]
    return CategorySet(chosen, given=False, cuts=cuts)


def _exactly(
    count: int, rest: Ints, apart: Categories, columns: _Columns, at_most: bool
) -> Categories:
    wanted = count - len(apart)
    found = columns.cluster(rest, max(1, wanted))
    if at_most and wanted <= max(1, len(rest) // columns.min_size):
        wanted = min(wanted, len(found.partitions))
    if not 1 <= wanted <= len(found.partitions):
        # Too few are refused without a search for how many there may be, which takes a while.
        most = f" and at most {len(apart) + len(found.partitions)}" if wanted >= 1 else ""
        raise ValueError(
            f"categories={count} can not be formed from {len(columns.names)} columns with "
            f"min_category_size={columns.min_size} and {len(apart)} isolated families; at least "
            f"{len(apart) + 1}{most} can. Choose such a number or lower "
            f"min_category_size.{_unrelated(columns, rest)}"
        )
    return _numbered(found.partitions[wanted - 1], rest, apart)


def _unrelated(columns: _Columns, positions: Ints) -> str:
    """Name columns that make no cluster at whatever size, constant ones above all."""
    apart = (columns.association[np.ix_(positions, positions)] != 0).sum(axis=1) <= 1
    names = [repr(columns.names[p]) for p in positions[apart][:3]]
    more = "..." if apart.sum() > len(names) else ""
    told = f" Columns that vary with no other form none: {', '.join(names)}{more}."
    return told if names else ""


def _numbered(partition: list[Ints], positions: Ints, apart: Categories) -> Categories:
    clusters = {f"cluster_{i}": positions[c] for i, c in enumerate(partition, start=1)}
    clashes = set(clusters) & set(apart)
    if clashes:
        raise ValueError(f"The isolated family {min(clashes)!r} has a cluster's name; rename it.")
    return clusters | apart


def _given(spec: Any, columns: _Columns, random_state: Any) -> Categories:
    """Resolve what the user fixed; columns may be left over."""
    if isinstance(spec, os.PathLike) or (isinstance(spec, str) and spec.endswith(".json")):
        spec = read_mapping(Path(spec))
    if isinstance(spec, Mapping):
        return mapped(without_callables(spec, columns.frame), columns.names)
    if hasattr(spec, "fit_predict") or isinstance(spec, FeatureAgglomeration):
        return _from_clusterer(spec, columns, random_state)
    if is_list_like(spec, allow_sets=False):
        header = columns.frame.columns
        if isinstance(spec, pd.Series) and spec.index.is_unique and set(spec.index) == set(header):
            spec = spec.reindex(header).tolist()  # by the names that the table has
        return labeled(spec, columns.names)
    if spec == "prefix":
        return _prefixed(columns)
    if spec == "prefix_auto":
        return _clustered_families(columns)
    suggestion = did_you_mean(spec, WORDS) if isinstance(spec, str) else ""
    raise ValueError(
        f"categories must be one of {list(WORDS)}, a number of clusters, a dict from name to "
        "columns, the path of a JSON file with one, a list with one label per column or a "
        f"clusterer; got {spec!r}.{suggestion}"
    )


def _from_clusterer(clusterer: Any, columns: _Columns, random_state: Any) -> Categories:
    clusterer = clone(clusterer)
    parameters = clusterer.get_params(deep=False)
    if "random_state" in parameters and parameters["random_state"] is None:
        clusterer.set_params(random_state=random_state)
    # In an order of their own, so that the order in X decides nothing.
    order = np.argsort(np.asarray(columns.keys, dtype=object), kind="stable")
    association = columns.association[np.ix_(order, order)]
    if isinstance(clusterer, FeatureAgglomeration):
        cells = np.nan_to_num(columns.cells[:, order])
        if columns.weight is not None:  # distances between columns are sums over rows
            cells = cells * np.sqrt(columns.weight)[:, None]
        labels = clusterer.fit(cells).labels_
    elif parameters.get("metric") == "precomputed":
        labels = clusterer.fit_predict(np.clip(1 - np.abs(association), 0, 1))
    else:
        labels = clusterer.fit_predict(np.abs(association))
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels) if label != -1]
    noise = np.flatnonzero(np.asarray(labels) == -1)
    if not groups:
        groups, noise = [noise], noise[:0]
    target = assign_to_nearest(association, noise, groups)
    full = [np.concatenate([group, noise[target == i]]) for i, group in enumerate(groups)]
    full.sort(key=lambda group: (-len(group), group.min()))
    everything = np.arange(len(columns.names))
    return _numbered([np.sort(order[group]) for group in full], everything, {})


def _prefixed(columns: _Columns, word: str = "prefix") -> Categories:
    found = families(columns.names)
    if not found:
        raise ValueError(
            f"categories={word!r} needs column names like 'family{SEPARATOR}feature'; X has "
            f"{listed(columns.names, 3)}. Give X such names, or categories another value."
        )
    return found


def _clustered_families(columns: _Columns) -> Categories:
    """Cluster within each family; a family of one cluster keeps its name."""
    grouped = _prefixed(columns, "prefix_auto")
    rest = _left_over(grouped, columns)
    if len(rest):
        grouped[REMAINDER] = np.sort(np.concatenate([grouped.get(REMAINDER, rest[:0]), rest]))
    categories: Categories = {}
    for family, positions in grouped.items():
        found = columns.cluster(positions)
        parts = found.partitions[found.chosen]
        for i, part in enumerate(parts, start=1):
            categories[f"{family}_{i}" if len(parts) > 1 else family] = positions[part]
    if sum(map(len, categories.values())) != len(columns.names):
        raise ValueError(
            "Two families give clusters of the same name (such as family 'a' split in two and a "
            "family 'a_1'); rename one of them."
        )
    return categories


def _complete(categories: Categories, columns: _Columns, remainder: str) -> Categories:
    """Place the columns that no category lists."""
    left = _left_over(categories, columns)
    if not len(left):
        return categories
    some = ", ".join(repr(columns.names[i]) for i in left[:5]) + (" ..." if left[5:].size else "")
    lost = counted(len(left), "column is", "columns are")
    if remainder == "error":
        raise ValueError(
            f"{lost} in no category: {some}. List them, or set "
            "remainder='own category' or 'nearest'."
        )
    if remainder == "nearest" and categories:
        target = assign_to_nearest(columns.association, left, list(categories.values()))
        return {
            name: np.sort(np.concatenate([positions, left[target == i]]))
            for i, (name, positions) in enumerate(categories.items())
        }
    if REMAINDER in categories:
        raise ValueError(
            f"{lost} in no category ({some}) and would form the category "
            f"{REMAINDER!r}, a name that categories already uses; rename that one."
        )
    return {**categories, REMAINDER: left}


def _left_over(categories: Categories, columns: _Columns) -> Ints:
    placed = [position for positions in categories.values() for position in positions.tolist()]
    return np.setdiff1d(np.arange(len(columns.names)), np.asarray(placed, dtype=np.int64))
