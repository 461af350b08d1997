"""Which columns of a table belong together: a tree over their correlations, nested cuts of it.

The clustering itself is scipy's (Ward on ``1 - |r|``) and the choice of a cut scikit-learn's
silhouette; what is added here is that no cluster is smaller than asked, that every cut refines
the one before it, and that the order of the columns plays no part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import ClusterNode, linkage, to_tree
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from adaptive_vq._arrays import Floats, Ints

__all__ = ["Clustering", "assign_to_nearest", "cluster_columns", "column_keys"]

#: Numbers of clusters that are handed on as candidates.
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 20, 25)
_COLUMNS_AT_ONCE = 512


@dataclass(frozen=True)
class Clustering:
    """Nested partitions of the columns.

    Attributes
    ----------
    partitions : list of list of ndarray of int64
        ``partitions[i]`` holds ``i + 1`` sorted arrays of column positions, largest first. Each
        partition refines the one before it.
    chosen : int
        Position in `partitions` of the cut with the best silhouette.
    """

    partitions: list[list[Ints]]
    chosen: int

    def candidates(self) -> list[list[Ints]]:
        """Return the partitions worth handing on, coarse to fine.

        Returns
        -------
        list of list of ndarray of int64
            Those with 1, 2, 3, 4, 6, 8, 12, 16, 20 and 25 clusters, the finest and the chosen one.
        """
        keep = {k - 1 for k in LADDER} | {self.chosen, len(self.partitions) - 1}
        return [partition for i, partition in enumerate(self.partitions) if i in keep]


def cluster_columns(
    association: Floats,
    keys: Sequence[str],
    *,
    min_size: int = 2,
    max_clusters: int = 25,
) -> Clustering:
    """Cluster columns by Ward on ``1 - |association|`` into nested partitions.

    A branch of the tree with fewer than `min_size` columns is never a cluster: its columns stay
    with their parent and go, whenever that is split, to the half they are nearer to. Columns
    without association to any other (constant ones) join the largest cluster of the chosen cut.

    Parameters
    ----------
    association : ndarray of shape (n_features, n_features)
        See `adaptive_vq.association.correlation_matrix`.
    keys : sequence of str
        One per column. Columns are ordered by them first, so that permuting the columns permutes
        the result and changes nothing else.
    min_size : int, default=2
        Least number of columns in a cluster.
    max_clusters : int, default=25
        Largest number of clusters in a partition.

    Returns
    -------
    Clustering
        The partitions with 1, 2, ... clusters and the one with the best silhouette. From four
        columns on at least two clusters are chosen where `min_size` permits them.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.clustering import cluster_columns
    >>> r = np.kron(np.eye(2), np.full((2, 2), 0.9))
    >>> found = cluster_columns(r, ["a", "b", "c", "d"])
    >>> [columns.tolist() for columns in found.partitions[found.chosen]]
    [[0, 1], [2, 3]]
    """
    order = np.argsort(np.asarray(keys, dtype=object), kind="stable")
    ordered = association[np.ix_(order, order)]
    related = np.flatnonzero((ordered != 0).sum(axis=1) > 1)
    distance = _as_distance(ordered)
    partitions = _nested_partitions(distance, related, min_size, max_clusters)
    chosen = _best_silhouette(distance, related, partitions)
    partitions = _attach(np.setdiff1d(np.arange(len(order)), related), partitions, chosen)
    return Clustering([[np.sort(order[c]) for c in part] for part in partitions], chosen)


def assign_to_nearest(association: Floats, orphans: Ints, groups: Sequence[Ints]) -> Ints:
    """Find for each orphan column the group it is most associated with.

    Parameters
    ----------
    association : ndarray of shape (n_features, n_features)
        See `adaptive_vq.association.correlation_matrix`.
    orphans : ndarray of int64 of shape (n_orphans,)
        Column positions.
    groups : sequence of ndarray of int64
        Column positions of each group, none empty.

    Returns
    -------
    ndarray of int64 of shape (n_orphans,)
        Position in `groups` of the one with the highest mean absolute association; ties go to the
        larger group, then to the earlier one.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.clustering import assign_to_nearest
    >>> r = np.array([[1, 0, 0.2], [0, 1, 0.8], [0.2, 0.8, 1]])
    >>> assign_to_nearest(r, np.array([2]), [np.array([0]), np.array([1])])
    array([1])
    """
    return _nearest([np.abs(association[np.ix_(orphans, group)]) for group in groups], groups)


def _nearest(strengths: Sequence[Floats], groups: Sequence[Ints]) -> Ints:
    """Group of the highest mean strength per orphan, of arrays (n_orphans, size) per group."""
    by_size = sorted(range(len(groups)), key=lambda g: -len(groups[g]))
    nearness = np.column_stack([strengths[g].mean(axis=1).round(10) for g in by_size])
    return np.asarray(by_size, dtype=np.int64)[nearness.argmax(axis=1)]


def column_keys(Z: npt.NDArray[np.floating], names: Sequence[object], named: bool) -> list[str]:
    """Return what identifies a column wherever it stands: its name, or a digest of its cells.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        The columns.
    names : sequence of length n_features
        Column names.
    named : bool
        Whether `names` belong to the columns rather than to their positions.

    Returns
    -------
    list of str
        One key per column.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.clustering import column_keys
    >>> column_keys(np.zeros((2, 2)), ["b", "a"], named=True)
    ['b', 'a']
    """
    if named:
        return [str(name) for name in names]
    columns = np.ascontiguousarray(Z.T)
    return [hashlib.blake2b(column.tobytes(), digest_size=16).hexdigest() for column in columns]


def _as_distance(association: Floats) -> Floats:
    """Distances in the place of associations: of many columns every copy is large."""
    distance = np.abs(association, out=association)
    np.subtract(1, distance, out=distance)
    np.clip(distance, 0, 1, out=distance)
    # Rounding removes what the order of summation leaves, so that ties stay ties.
    np.round(distance, 10, out=distance)
    for start in range(0, len(distance), _COLUMNS_AT_ONCE):
        some = slice(start, start + _COLUMNS_AT_ONCE)
        larger = np.maximum(distance[some, start:], distance[start:, some].T)
        distance[some, start:], distance[start:, some] = larger, larger.T
    np.fill_diagonal(distance, 0.0)
    return distance


def _among(distance: Floats, columns: Ints) -> Floats:
    """Distances among some columns, in order; no copy where these are all."""
    return distance if len(columns) == len(distance) else distance[np.ix_(columns, columns)]


def _nested_partitions(
    distance: Floats, related: Ints, min_size: int, max_clusters: int
) -> list[list[Ints]]:
    """Split the tree from its root, highest merge first."""
    if len(related) < max(2, 2 * min_size) or max_clusters < 2:
        return [[related]]
    condensed = squareform(_among(distance, related), checks=False)
    root = to_tree(linkage(condensed, method="ward"))
    del condensed  # half a square of all columns
    blocks = [_Block.settle(root, [], related, min_size)]
    partitions = [_members(blocks)]
    while len(blocks) < max_clusters:
        splittable = [block for block in blocks if not block.final]
        if not splittable:
            break
        block = max(splittable, key=lambda b: (b.node.dist, -b.members.min()))
        blocks.remove(block)
        blocks += block.split(distance, related, min_size)
        partitions.append(_members(blocks))
    return partitions


def _attach(unrelated: Ints, partitions: list[list[Ints]], chosen: int) -> list[list[Ints]]:
    """Put columns where the chosen cut's largest cluster is, in every partition."""
    if not len(unrelated):
        return partitions
    largest = set(partitions[chosen][0].tolist())
    # All follow one column, so that the partitions stay nested.
    leader = next((c[0] for c in partitions[-1] if len(c) and largest.issuperset(c)), None)
    return [
        _largest_first(
            [
                np.sort(np.concatenate([c, unrelated])) if leader is None or leader in c else c
                for c in partition
            ]
        )
        for partition in partitions
    ]


@dataclass(eq=False)
class _Block:
    """A branch of the tree and the columns that stay with it without being a cluster."""

    node: ClusterNode
    orphans: list[int]
    core: Ints
    final: bool

    @classmethod
    def settle(cls, node: ClusterNode, orphans: list[int], related: Ints, min_size: int) -> _Block:
        """Go down to the first split of which both sides are large enough."""
        orphans = list(orphans)
        while not node.is_leaf():
            small, large = sorted(_children(node), key=lambda child: child.get_count())
            if small.get_count() >= min_size or large.get_count() < min_size:
                break
            orphans += [int(related[leaf]) for leaf in small.pre_order()]
            node = large
        final = node.is_leaf() or min(n.get_count() for n in _children(node)) < min_size
        return cls(node, orphans, related[np.sort(node.pre_order())], final)

    @property
    def members(self) -> Ints:
        return np.sort(np.concatenate([self.core, np.asarray(self.orphans, dtype=np.int64)]))

    def split(self, distance: Floats, related: Ints, min_size: int) -> list[_Block]:
        children = _children(self.node)
        cores = [related[np.sort(child.pre_order())] for child in children]
        orphans = np.asarray(self.orphans, dtype=np.int64)
        side = _nearest([1 - distance[np.ix_(orphans, core)] for core in cores], cores)
        return [
            _Block.settle(child, orphans[side == i].tolist(), related, min_size)
            for i, child in enumerate(children)
        ]


def _children(node: ClusterNode) -> tuple[ClusterNode, ClusterNode]:
    return cast(ClusterNode, node.get_left()), cast(ClusterNode, node.get_right())


def _members(blocks: list[_Block]) -> list[Ints]:
    return _largest_first([block.members for block in blocks])


def _largest_first(clusters: list[Ints]) -> list[Ints]:
    """Order clusters by size, ties by their first column."""
    return sorted(clusters, key=lambda c: (-len(c), c[0]))


def _best_silhouette(distance: Floats, related: Ints, partitions: list[list[Ints]]) -> int:
    within = _among(distance, related)
    best, chosen = -np.inf, min(1, len(partitions) - 1)
    for i, partition in enumerate(partitions):
        labels = np.empty(len(distance), dtype=np.int64)
        for label, columns in enumerate(partition):
            labels[columns] = label
        if not 2 <= len(np.unique(labels[related])) < len(related):
            continue
        score = round(float(silhouette_score(within, labels[related], metric="precomputed")), 10)
        if score > best:
            best, chosen = score, i
    return chosen
