"""Search for the cut, which columns are coded together, by measured error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Generic, Protocol, TypeVar

import numpy as np

from adaptive_vq._arrays import Ints

Categories = Mapping[str, Ints]
Group = tuple[int, ...]
Groups = frozenset[Group]
Change = tuple[Group, ...]

MOST_BLOCKS = 8
"""Columns move from category to category in the blocks of candidate cuts with up to so many."""
_PATIENCE = 2
"""A round ends after so many cuts measured in a row that were no better."""
_WORTH_IT = 0.02
"""Less of the error than this share is no improvement: it may be the rows kept aside."""
DOUBTED = 1.08
"""A finer cut whose estimate is so many times what it may be is not even measured."""
_MISJUDGED = 1.5
"""Of sparse rows the coarsest cut is measured unless its estimate is so many times the least error.
Chains as long as its own have not been measured before, and greedy ones, which estimates go by,
memorize. More would be measured for nothing, which takes as long as all else of heavy tails."""
_MUCH_WORSE = 1.5
"""A change estimated at so many times the error is not tried again after others."""
_HOPELESS = 2.0
"""After two candidates in a row estimated at so many times the least error finer ones are not even
estimated."""


class Trial(Protocol):
    """One cut, its error estimated or, after `correct`, measured as it will be fitted."""

    error: float
    corrected: bool

    def estimate(self) -> None:
        """Predict the error from what is known of its categories so far."""

    def correct(self) -> None:
        """Measure the error."""


T = TypeVar("T", bound=Trial)


def search_cuts(
    try_cuts: Callable[[Sequence[Categories]], list[T]],
    cuts: Sequence[Categories],
    tolerance: float,
    *,
    sparse: bool = False,
    alone: Categories | None = None,
) -> list[T]:
    """Return the cuts that were measured on the way to one that no small change improves.

    Candidates are nested cuts of a tree of correlations, which knows nothing of bits: which columns
    share a codebook well is seen only when they are coded. So the best of them is improved: two
    categories are merged, or a block of columns, a category of some candidate, moves to another
    category or becomes one, for as long as that lowers the error. Estimates are cheap, and say
    what to measure next.

    Parameters
    ----------
    try_cuts : callable
        Makes a trial, estimated, of each cut.
    cuts : sequence of dict
        Candidates, coarse to fine: nested ones, and such as keep some columns together. Categories
        that all of them share stay as they are.
    tolerance : float
        In the end finer cuts are measured for as long as they exceed the least error by no more
        than this share; one estimated to exceed it by far ends that unmeasured.
    sparse : bool, default=False
        Whether rows are so few that estimates may be far from what the coarsest cut leaves: it is
        measured then as well.
    alone : dict, default=None
        Cut into single columns, where these are few: the best cut is then improved by moves of
        these as well. Not sooner: estimates flatter short chains, and would end the search there.

    Returns
    -------
    list of Trial
        All that were corrected.
    """
    fixed = _shared(cuts)
    parts = [_groups_of(cut, fixed) for cut in cuts]
    blocks = {block for part in parts if len(part) <= MOST_BLOCKS for block in part}
    n_coarse = sum(len(part) <= MOST_BLOCKS for part in parts)
    trials = _estimated(try_cuts, cuts, n_coarse, tolerance)
    pool = dict(zip(parts, trials, strict=False))
    return _Search(try_cuts, fixed, pool, sorted(blocks)).run(tolerance, sparse, alone)


def move_columns(
    try_cuts: Callable[[Sequence[Categories]], list[T]],
    cuts: Sequence[Categories],
    measured: Sequence[tuple[Categories, T]],
    columns: Iterable[int],
    most: int,
) -> list[T]:
    """Return the cuts that were measured on the way to one that no move of a column improves.

    Parameters
    ----------
    try_cuts, cuts
        As in `search_cuts`.
    measured : sequence of (dict, Trial)
        Some of the cuts, measured. From the best one moves start.
    columns : iterable of int
        Those that may move.
    most : int
        Categories that there may be, or as many as the finest of `measured` has.

    Returns
    -------
    list of Trial
        Cuts that are not among those given.
    """
    fixed = _shared(cuts)
    pool = {_groups_of(cut, fixed): trial for cut, trial in measured}
    most = max(most - len(fixed), *map(len, pool))
    search = _Search(try_cuts, fixed, dict(pool), [(int(column),) for column in columns], most)
    search.improve(min(pool, key=lambda groups: pool[groups].error))
    return [t for groups, t in search.pool.items() if t.corrected and groups not in pool]


def _estimated(
    try_cuts: Callable[[Sequence[Categories]], list[T]],
    cuts: Sequence[Categories],
    n_coarse: int,
    tolerance: float,
) -> list[T]:
    """Estimate the coarse candidates, and finer ones for as long as there is any hope."""
    trials = try_cuts(cuts[: max(1, n_coarse)])
    hopeless = max(_HOPELESS, DOUBTED * (1 + tolerance))
    for cut in cuts[len(trials) :]:
        least = min(trial.error for trial in trials)
        if min(trial.error for trial in trials[-2:]) > hopeless * least:
            break
        trials += try_cuts([cut])
    return trials


def each_alone(cuts: Sequence[Categories], still: Iterable[int] = ()) -> Categories:
    """Cut in which all columns that candidates differ in are categories of their own.

    Columns that are constant (`still`) stay with the first one that is not.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._cut_search import each_alone
    >>> ab, c = np.array([0, 1]), np.array([2])
    >>> {k: v.tolist() for k, v in each_alone([{"x": ab, "c": c}, {"ab": ab, "y": c}]).items()}
    {'x': [0, 1], 'c': [2]}
    >>> each_alone([{"abc": np.arange(3)}, {"ab": ab, "c": c}])
    {'cluster_1': array([0]), 'cluster_2': array([1]), 'cluster_3': array([2])}
    >>> each_alone([{"abc": np.arange(3)}], still=[0])
    {'cluster_1': array([1, 0]), 'cluster_2': array([2])}
    """
    fixed = _shared(cuts)
    left = {int(c) for columns in cuts[0].values() for c in columns}
    left -= {int(c) for columns in fixed.values() for c in columns}
    constant = sorted(left.intersection(map(int, still)))
    groups = [[c] for c in sorted(left.difference(constant))]
    if constant:
        groups = groups or [[]]
        groups[0] += constant
    return {f"cluster_{i}": np.array(g) for i, g in enumerate(groups, start=1)} | fixed


def kept_whole(cuts: Sequence[Categories], groups: Iterable[Ints]) -> list[Categories]:
    """Candidates in which each of some groups of columns is a category, as far as these are new.

    Categories that all candidates share stay as they are, and what they hold is in no group. None
    of the results has more categories than the finest candidate.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._cut_search import kept_whole
    >>> cuts = [{"all": np.arange(4)}, {"x": np.array([0, 1]), "y": np.array([2, 3])}]
    >>> for cut in kept_whole(cuts, [np.array([0, 2])]):
    ...     print({name: columns.tolist() for name, columns in cut.items()})
    {'cluster_1': [0, 2], 'cluster_2': [1, 3]}
    """
    fixed, most = _shared(cuts), max(map(len, cuts))
    taken = {int(c) for columns in fixed.values() for c in columns}
    whole = {group for group in map(_group, groups) if not taken.intersection(group)}
    inside = {column for group in whole for column in group}
    known = [_groups_of(cut, fixed) for cut in cuts]
    new = []
    for cut in known:
        rest = {tuple(c for c in group if c not in inside) for group in cut}
        new.append(frozenset(whole | (rest - {()})))
    unknown = [cut for cut in dict.fromkeys(new) if cut not in known]
    return [_named(cut, fixed) for cut in unknown if len(cut) + len(fixed) <= most]


def _groups_of(cut: Categories, fixed: Categories) -> Groups:
    """Categories of a cut, without those that are fixed."""
    return frozenset(map(_group, cut.values())) - set(map(_group, fixed.values()))


def _named(groups: Groups, fixed: Categories) -> Categories:
    """Cut into groups, largest first, and what is fixed."""
    ordered = sorted(groups, key=lambda group: (-len(group), group))
    named = {f"cluster_{i}": np.array(group) for i, group in enumerate(ordered, start=1)}
    return {**named, **fixed}


def _shared(cuts: Sequence[Categories]) -> dict[str, Ints]:
    """Categories that are in every cut, as the first one names them; not one of all columns."""
    if all(len(cut) == 1 for cut in cuts):
        return {}
    shared = set.intersection(*({_group(columns) for columns in cut.values()} for cut in cuts))
    return {name: columns for name, columns in cuts[0].items() if _group(columns) in shared}


class _Search(Generic[T]):
    def __init__(
        self,
        try_cuts: Callable[[Sequence[Categories]], list[T]],
        fixed: Categories,
        pool: dict[Groups, T],
        blocks: list[Group],
        most: float = math.inf,
    ) -> None:
        self.try_cuts, self.fixed, self.pool, self.blocks = try_cuts, fixed, pool, blocks
        self.most = most

    def run(self, tolerance: float, sparse: bool, alone: Categories | None) -> list[T]:
        best = self.improve(self._descend())
        # Last: what long chains gain would mislead the estimates of the others.
        if sparse and self._coarsest_is_better(best):
            best = self.improve(min(self.pool, key=len))
        if alone is not None:
            best = self._improved_by_columns(best, _groups_of(alone, self.fixed))
        self._finer(best, tolerance)
        return [trial for trial in self.pool.values() if trial.corrected]

    def _improved_by_columns(self, best: Groups, alone: Groups) -> Groups:
        """Let single columns move as well; cuts that only are finer for it are forgotten."""
        before = dict(self.pool)
        self.blocks = sorted({*self.blocks, *alone})
        self._add([alone])
        better = self.improve(self._descend(best))
        if better == best:
            self.pool = before
        return better

    def improve(self, best: Groups) -> Groups:
        """Change a cut for as long as that lowers the error."""
        changes = _Changes(best)
        while len(self.pool) > 1:
            near = changes.worth_trying(best, self.blocks)
            near = {cut: change for cut, change in near.items() if len(cut) <= self.most}
            self._add(near)
            least = max(self._error(best), 1e-300)
            for cut, change in near.items():
                changes.note(change, self._error(cut) / least)
            better = self._descend(best)
            if better == best:
                break
            changes.follow(best, better)
            best = better
        return best

    def _add(self, cuts: Iterable[Groups]) -> None:
        """Estimate cuts that are new."""
        new = [groups for groups in cuts if groups not in self.pool]
        trials = self.try_cuts([_named(groups, self.fixed) for groups in new])
        self.pool.update(zip(new, trials, strict=True))

    def _descend(self, best: Groups | None = None) -> Groups:
        """Measure the most promising cuts, until none is left that may be better."""
        stale = 0
        while stale < _PATIENCE:
            waiting = [key for key, trial in self.pool.items() if not trial.corrected]
            if not waiting:
                break
            next_ = min(waiting, key=self._error)
            if best is not None and self._error(next_) > (1 - _WORTH_IT) * self._error(best):
                break
            self._correct(next_)
            if best is None or self._error(next_) < (1 - _WORTH_IT) * self._error(best):
                best, stale = next_, 0
            else:
                stale += 1
        assert best is not None
        return best

    def _coarsest_is_better(self, best: Groups) -> bool:
        """Whether the coarsest cut, measured unless there is no hope, is better than the best."""
        coarsest, least = min(self.pool, key=len), self._error(best)
        if not self.pool[coarsest].corrected and self._error(coarsest) <= _MISJUDGED * least:
            self._correct(coarsest)
        return self._error(coarsest) < (1 - _WORTH_IT) * least

    def _finer(self, best: Groups, tolerance: float) -> None:
        """Measure finer cuts, the most promising of each number of categories."""
        for count in sorted({len(key) for key in self.pool if len(key) > len(best)}):
            keys = [key for key in self.pool if len(key) == count]
            measured = [key for key in keys if self.pool[key].corrected]
            key = min(measured or keys, key=self._error)
            bar = (1 + tolerance) * min(t.error for t in self.pool.values() if t.corrected)
            if not measured and self._error(key) <= DOUBTED * bar:
                self._correct(key)
                bar = min(bar, (1 + tolerance) * self._error(key))
            if self._error(key) > bar:
                break

    def _correct(self, key: Groups) -> None:
        """Measure a cut, and estimate the others by what that has taught."""
        self.pool[key].correct()
        for trial in self.pool.values():
            if not trial.corrected:
                trial.estimate()

    def _error(self, key: Groups) -> float:
        return self.pool[key].error


def _group(columns: Ints) -> Group:
    return tuple(sorted(int(column) for column in columns))


class _Changes:
    """Changes to a cut that is improved step by step, and by how much each was last worse.

    What was much worse is not tried again where the categories that it concerns have changed but
    little: hardly any would be better now, and to estimate them would take most of the time.
    """

    def __init__(self, cut: Groups) -> None:
        self._origin = {group: group for group in cut}
        self._ratios: dict[Change, float] = {}

    def worth_trying(self, cut: Groups, blocks: Sequence[Group]) -> dict[Groups, Change]:
        """Cuts one change away, each with that change to where its categories come from."""
        near: dict[Groups, Change] = {}
        for other, block, groups in _neighbours(cut, blocks):
            change = (block, *(self._origin[group] for group in groups))
            if self._ratios.get(change, 0.0) <= _MUCH_WORSE:
                near.setdefault(other, change)
        return near

    def note(self, change: Change, ratio: float) -> None:
        """Remember a change's error over that of the cut before it."""
        self._ratios[change] = ratio

    def follow(self, before: Groups, after: Groups) -> None:
        """Tell where the categories of a changed cut come from."""
        for group in after - before:
            nearest = max(sorted(before), key=lambda other: _n_shared(other, group))
            alike = 2 * _n_shared(nearest, group) > len(group)
            self._origin[group] = self._origin[nearest] if alike else group


def _neighbours(
    cut: Groups, blocks: Sequence[Group]
) -> Iterator[tuple[Groups, Group, tuple[Group, ...]]]:
    """Cuts one change away in a fixed order, with the block that moves and the groups changed."""
    groups = sorted(cut)
    for pair in combinations(groups, 2):
        yield frozenset([*cut.difference(pair), _union(*pair)]), (), pair
    for block in blocks:
        for group in groups:
            left = tuple(sorted(set(group).difference(block)))
            if not left or len(left) + len(block) != len(group):
                continue
            others = cut - {group}
            yield others | {left, block}, block, (group,)
            for other in sorted(others):
                yield (others - {other}) | {left, _union(other, block)}, block, (group, other)


def _n_shared(one: Group, other: Group) -> int:
    return len(set(one).intersection(other))


def _union(*groups: Group) -> Group:
    return tuple(sorted(column for group in groups for column in group))
