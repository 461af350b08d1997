"""The search over cuts, on errors that are known."""

from itertools import combinations

import numpy as np
import pytest

from adaptive_vq._cut_search import _Changes, each_alone, kept_whole, move_columns, search_cuts

ALL = [(0, 1, 2, 3, 4, 5, 6, 7)]
HALVES = [(0, 1, 2, 3), (4, 5, 6, 7)]
QUARTERS = [(0, 1), (2, 3), (4, 5), (6, 7)]
NESTED = [ALL, HALVES, QUARTERS]


class World:
    """Counts pairs of columns that a cut has together and the truth has not, or the reverse."""

    def __init__(self, truth, misjudged=0.0):
        self.truth, self.misjudged = _pairs(truth), misjudged
        self.corrected = []

    def error(self, groups):
        return 10 + len(_pairs(groups) ^ self.truth)

    def __call__(self, cuts):
        return [Trial(self, cut) for cut in cuts]


class Trial:
    def __init__(self, world, cut):
        self.world, self.cut = world, cut
        self.groups = sorted(tuple(sorted(map(int, c))) for c in cut.values() if c[0] < 8)
        self.corrected = False
        self.estimate()

    def estimate(self):
        self.error = self.world.error(self.groups) * (1 - self.world.misjudged)

    def correct(self):
        self.error, self.corrected = self.world.error(self.groups), True
        self.world.corrected.append(self.groups)


def _pairs(groups):
    return {pair for group in groups for pair in combinations(group, 2)}


def named(*cuts, **fixed):
    fixed = {name: np.array(columns) for name, columns in fixed.items()}
    return [{f"cluster_{i}": np.array(g) for i, g in enumerate(cut, 1)} | fixed for cut in cuts]


def best(world, cuts, tolerance=0.0):
    trials = search_cuts(world, cuts, tolerance)
    assert all(trial.corrected for trial in trials)
    return min(trials, key=lambda trial: trial.error)


@pytest.mark.parametrize(
    "truth",
    [
        ALL,
        HALVES,
        QUARTERS,
        [(0, 1, 2, 3, 6, 7), (4, 5)],
        [(0, 1, 4, 5), (2, 3, 6, 7)],
        [(0, 1, 6, 7), (2, 3), (4, 5)],
    ],
)
def test_cut_outside_the_tree_is_found(truth):
    assert best(World(truth), named(*NESTED)).groups == truth


CROSSED = [(0, 2), (1, 3), (4, 6), (5, 7)]


@pytest.mark.parametrize("cuts", [NESTED, [ALL]])
def test_few_columns_move_one_by_one(cuts):
    cuts = named(*cuts)
    assert best(World(CROSSED), cuts).groups != CROSSED
    trials = search_cuts(World(CROSSED), cuts, 0.0, alone=each_alone(cuts))
    assert min(trials, key=lambda trial: trial.error).groups == CROSSED


def test_columns_move_only_where_that_lowers_the_error():
    cuts = named(*NESTED)
    # Finer cuts would cost less than the tolerance.
    plain = search_cuts(World(HALVES), cuts, 0.9)
    trials = search_cuts(World(HALVES), cuts, 0.9, alone=each_alone(cuts))
    assert [trial.groups for trial in trials] == [trial.groups for trial in plain]


@pytest.mark.parametrize(
    ("columns", "found"),
    [(range(8), CROSSED), ([2, 6], [(0, 1, 2), (3,), (4, 5), (6, 7)])],
)
def test_named_columns_move_from_the_best_cut_measured(columns, found):
    fixed = {"constant": [8]}
    world = World(found)
    cuts = named(*NESTED, **fixed)
    measured = [(cut, trial) for cut, trial in zip(cuts, world(cuts), strict=True)][1:]
    for _, trial in measured:
        trial.correct()
    new = move_columns(world, cuts, measured, columns, 9)
    assert min(new, key=lambda trial: trial.error).groups == found
    assert not {id(trial) for trial in new} & {id(trial) for _, trial in measured}
    assert all(trial.corrected and trial.cut["constant"].tolist() == [8] for trial in new)
    still = {pair for pair in _pairs(QUARTERS) if not set(pair).intersection(columns)}
    assert all(still <= _pairs(trial.groups) for trial in new)


@pytest.mark.parametrize(("most", "n_found"), [(6, 5), (5, 4), (1, 4)])
def test_columns_move_into_no_more_categories_than_there_may_be(most, n_found):
    world = World([(0, 1), (2,), (3,), (4, 5), (6, 7)])
    cuts = named(*NESTED, fixed=[8])
    measured = list(zip(cuts, world(cuts), strict=True))
    for _, trial in measured:
        trial.correct()
    new = move_columns(world, cuts, measured, range(8), most)
    least = min([*new, *(trial for _, trial in measured)], key=lambda trial: trial.error)
    assert len(least.groups) == n_found
    assert all(len(trial.groups) <= n_found for trial in new)


def test_changes_that_were_much_worse_are_not_tried_again(monkeypatch):
    class Steep(World):
        seen = 0

        def error(self, groups):
            return 1.3 ** super().error(groups)

        def __call__(self, cuts):
            self.seen += len(cuts)
            return super().__call__(cuts)

    cuts = named(*NESTED)
    worlds = [Steep(CROSSED), Steep(CROSSED)]
    for world, much in zip(worlds, (1.5, np.inf), strict=True):
        monkeypatch.setattr("adaptive_vq._cut_search._MUCH_WORSE", much)
        trials = search_cuts(world, cuts, 0.0, alone=each_alone(cuts))
        assert min(trials, key=lambda trial: trial.error).groups == CROSSED
    assert worlds[0].seen < 0.8 * worlds[1].seen


@pytest.mark.parametrize(
    ("after", "tried"),
    [
        ([(0, 1, 2), (3, 4, 5), (6, 7)], False),  # still the category that 0 had better not join
        ([(0, 1, 2), (3, 5, 6, 7), (4,)], True),  # half of it is gone, and most of this is new
    ],
)
def test_categories_that_changed_but_little_are_still_the_same(after, tried):
    before, after = frozenset([(0, 1, 2), (3, 4), (5,), (6, 7)]), frozenset(after)
    changes = _Changes(before)
    for cut, change in changes.worth_trying(before, [(0,)]).items():
        changes.note(change, 1.0 if (0,) in cut else 2.0)
    assert len(changes.worth_trying(before, [(0,)])) == 1
    changes.follow(before, after)
    (joined,) = ((0, *group) for group in after if 3 in group)
    assert any(joined in cut for cut in changes.worth_trying(after, [(0,)])) == tried
    assert any((0,) in cut for cut in changes.worth_trying(after, [(0,)]))


def test_constant_columns_are_not_alone():
    (cut,) = named([(0, 1, 2, 3)])
    groups = each_alone([cut], still=[0, 2]).values()
    assert [sorted(group) for group in groups] == [[0, 1, 2], [3]]
    (constant,) = each_alone([cut], still=range(4)).values()
    assert constant.tolist() == [0, 1, 2, 3]


def test_only_what_looks_promising_is_measured():
    world = World([(0, 1, 4, 5), (2, 3, 6, 7)])
    best(world, named(*NESTED))
    assert len(world.corrected) <= 6
    assert len({tuple(groups) for groups in world.corrected}) == len(world.corrected)


def test_round_ends_when_estimates_keep_failing():
    world = World(QUARTERS, misjudged=0.9)
    assert best(world, named(*NESTED)).groups == QUARTERS
    assert len(world.corrected) <= 8


def test_categories_that_all_cuts_share_stay_as_they_are():
    cuts = named(*NESTED, constant=[8], flags=[9, 10])
    world = World([(0, 1, 4, 5), (2, 3, 6, 7)])
    trials = search_cuts(world, cuts, 0.0)
    assert len(trials) > 1
    for trial in trials:
        assert trial.cut["constant"].tolist() == [8]
        assert trial.cut["flags"].tolist() == [9, 10]
        columns = np.concatenate(list(trial.cut.values()))
        assert sorted(columns.tolist()) == list(range(11))


def test_categories_are_named_by_size():
    cut = best(World([(0, 1), (2, 3, 4, 5), (6, 7)]), named(*NESTED)).cut
    assert {name: columns.tolist() for name, columns in cut.items()} == {
        "cluster_1": [2, 3, 4, 5],
        "cluster_2": [0, 1],
        "cluster_3": [6, 7],
    }


@pytest.mark.parametrize(("tolerance", "most"), [(0.0, 14), (3.0, 17)])
def test_candidates_beyond_hope_are_not_even_estimated(tolerance, most):
    # The coarsest costs 11: two beyond 22 are seen, more where a user accepts such a price.
    cuts = [[tuple(range(n, 17)), *((i,) for i in range(n))] for n in range(17)]
    seen = []

    class Costly:
        def __init__(self, cut):
            self.error, self.corrected = 10.0 + len(cut), False
            seen.append(len(cut))

        def estimate(self):
            pass

        def correct(self):
            self.corrected = True

    nested = [{f"cluster_{i}": np.array(g) for i, g in enumerate(cut)} for cut in cuts]
    search_cuts(lambda tried: [Costly(cut) for cut in tried], nested, tolerance)
    assert max(seen) == most


def test_single_cut_is_only_measured():
    world = World(ALL)
    (trial,) = search_cuts(world, named(QUARTERS), 0.5)
    assert trial.groups == QUARTERS
    assert world.corrected == [QUARTERS]


@pytest.mark.parametrize(("tolerance", "most"), [(0.0, 2), (0.2, 2), (0.9, 4)])
def test_finer_cuts_are_measured_up_to_the_tolerance(tolerance, most):
    # The halves are best at 10; three categories cost 14, four 18.
    trials = search_cuts(World(HALVES), named(*NESTED), tolerance)
    near = [t for t in trials if t.error <= (1 + tolerance) * 10]
    assert max(len(t.groups) for t in near) == most


def test_finer_cuts_of_hopeless_estimate_are_not_measured():
    # One category costs 10, two are estimated at 26.
    world = World(ALL)
    assert best(world, named(ALL, HALVES), tolerance=1.4).groups == ALL
    assert world.corrected == [ALL]
    world = World(ALL)
    best(world, named(ALL, HALVES), tolerance=1.45)
    assert world.corrected == [ALL, HALVES]


def test_columns_that_are_kept_whole_leave_every_candidate():
    scattered = np.array([0, 2, 4, 6])
    found = [
        sorted(c.tolist() for c in cut.values()) for cut in kept_whole(named(*NESTED), [scattered])
    ]
    # One category of all becomes two; quarters would become five categories.
    assert found == [[[0, 2, 4, 6], [1, 3, 5, 7]], [[0, 2, 4, 6], [1, 3], [5, 7]]]


def test_what_is_kept_whole_already_or_fixed_gives_no_candidate():
    assert kept_whole(named(*NESTED), [np.array([0, 1, 2, 3]), np.array([4, 5, 6, 7])]) == []
    assert kept_whole(named(*NESTED, given=[8, 9]), [np.array([7, 8])]) == []
    assert kept_whole(named(*NESTED), []) == []


def test_fixed_categories_stay_beside_columns_that_are_kept_whole():
    (first, *_) = kept_whole(named(*NESTED, given=[8, 9]), [np.array([0, 2, 4, 6])])
    assert {name: columns.tolist() for name, columns in first.items()} == {
        "cluster_1": [0, 2, 4, 6],
        "cluster_2": [1, 3, 5, 7],
        "given": [8, 9],
    }


def search_misjudging_all(world, estimate, sparse=True):
    class Misjudged(Trial):
        def estimate(self):
            super().estimate()
            self.error = estimate if self.groups == ALL else self.error

    def try_cuts(cuts):
        return [Misjudged(world, cut) for cut in cuts]

    trials = search_cuts(try_cuts, named(*NESTED), 0.0, sparse=sparse)
    return min(trials, key=lambda trial: trial.error).groups


@pytest.mark.parametrize(
    ("estimate", "sparse", "measured"),
    [(20.0, True, True), (22.0, True, False), (20.0, False, False)],
)
def test_coarsest_cut_of_sparse_rows_is_measured_unless_it_is_hopeless(estimate, sparse, measured):
    # All columns together are best at 10; estimates are far off, and even the next cut costs 14.
    world = World(HALVES)
    world.error = lambda groups: {1: 10.0, 2: 14.0}.get(len(groups), 20.0)
    found = search_misjudging_all(world, estimate, sparse)
    assert (ALL in world.corrected) == measured
    assert found == (ALL if measured else HALVES)


@pytest.mark.parametrize(
    "hidden",
    [
        [(0, 1), (2, 3, 4, 5, 6, 7)],  # one change from all columns together
        [(0, 1, 4, 5), (2, 3), (6, 7)],  # one change from the quarters, which are better at first
    ],
)
def test_the_search_goes_on_from_the_coarsest_cut_and_from_the_best(hidden):
    world = World(HALVES)
    errors = {tuple(QUARTERS): 14.0, tuple(ALL): 10.0, tuple(hidden): 5.0}
    world.error = lambda groups: errors.get(tuple(groups), 20.0)
    assert search_misjudging_all(world, 20.0) == hidden
