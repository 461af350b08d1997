"""Categories of columns: every specification, every refusal, clustering and its nested cuts."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import (
    DBSCAN,
    AffinityPropagation,
    AgglomerativeClustering,
    FeatureAgglomeration,
    KMeans,
)
from sklearn.compose import make_column_selector
from sklearn.metrics import normalized_mutual_info_score

from adaptive_vq.association import correlation_matrix
from adaptive_vq.categories import resolve_categories
from adaptive_vq.clustering import assign_to_nearest, cluster_columns, column_keys
from adaptive_vq.column_specs import families, labeled

NAMES = ["time__lag", "time__hour", "size", "shape__w", "shape__h", "shape__d"]


def resolve(spec, frame, **options):
    Z = frame.to_numpy(dtype=float)
    names = [c if isinstance(c, str) else f"x{c}" for c in frame.columns]
    return resolve_categories(spec, frame, Z, names, **options)


def as_lists(categories):
    return {name: columns.tolist() for name, columns in categories.items()}


def as_sets(categories, frame):
    return {frozenset(frame.columns[columns]) for columns in categories.values()}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(40, 6)), columns=NAMES)


@pytest.fixture
def blocks():
    """Four factors with 5, 4, 3 and 2 columns, signs mixed, columns shuffled."""
    rng = np.random.default_rng(1)
    sizes = [5, 4, 3, 2]
    factors = np.repeat(rng.normal(size=(400, 4)), sizes, axis=1)
    X = factors * rng.choice([-1, 1], 14) + 0.3 * rng.normal(size=(400, 14))
    names = [f"{'abcd'[b]}{i}" for b, size in enumerate(sizes) for i in range(size)]
    return pd.DataFrame(X, columns=names)[rng.permutation(names)]


# --- given categories ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (["size", "time__lag"], [0, 2]),
        ("size", [2]),
        ([2, 0], [0, 2]),
        (-1, [5]),
        (slice(1, 3), [1, 2]),
        (slice("size", "shape__h"), [2, 3, 4]),
        (np.array([True, False, True, False, False, False]), [0, 2]),
        ([True, False, True, False, False, False], [0, 2]),
        (pd.Index(["size"]), [2]),
        (("size", "time__lag"), [0, 2]),
        ({"size"}, [2]),
        (range(2), [0, 1]),
        (make_column_selector(pattern="^shape"), [3, 4, 5]),
        (lambda f: f.columns[:2], [0, 1]),
    ],
)
def test_dictionary_takes_column_transformer_specifications(frame, selection, expected):
    found = resolve({"chosen": selection}, frame)
    assert found.given
    assert found.cuts == []
    assert found.categories["chosen"].tolist() == expected
    assert found.categories["chosen"].dtype == np.int64
    rest = sorted(set(range(6)) - set(expected))
    assert found.categories["remainder"].tolist() == rest


def test_selector_by_dtype_on_numbered_columns():
    frame = pd.DataFrame({10: [1.0, 2.0], 11: [True, False]})
    found = resolve({"flags": make_column_selector(dtype_include=bool)}, frame)
    assert as_lists(found.categories) == {"flags": [1], "remainder": [0]}
    # Labels are what a selector answers with, in whatever they stand; numbers given are positions.
    swapped = pd.DataFrame({1: [1.0, 2.0], 0: [True, False], 2: [0.0, 3.0]})
    by_label = {"flags": lambda t: t.columns[t.dtypes == "bool"], "last": [2]}
    assert as_lists(resolve(by_label, swapped).categories) == {
        "flags": [1],
        "last": [2],
        "remainder": [0],
    }
    assert as_lists(resolve({"a": [0]}, swapped).categories) == {"a": [0], "remainder": [1, 2]}


def test_arrays_are_addressed_by_position_or_default_name():
    frame = pd.DataFrame(np.zeros((3, 3)))
    found = resolve({"a": ["x2"], "b": [0, 1]}, frame)
    assert as_lists(found.categories) == {"a": [2], "b": [0, 1]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"a": ["size"], "b": ["time__lag", "size"]}, "'size' is in two categories, 'a' and 'b'"),
        ({"a": ["siez"]}, "'a' names column 'siez'.*Did you mean 'size'"),
        ({"a": [6]}, "'a' names column number 6, but X has 6"),
        ({"a": []}, "'a' lists no column"),
        ({"a": [False] * 6}, "'a' lists no column"),
        ({"a": slice(3, 3)}, "'a' lists no column"),
        ({"a": [True, False]}, "'a' is a mask of 2 values, but X has 6"),
        ({"a": ["size", "size"]}, "'a' lists column 'size' more than once"),
        ({"a": [5, -1]}, "'a' lists column 'shape__d' more than once"),
        ({"a": ["size", 1]}, "'a'.*does not select columns"),
        ({"a__b": ["size"]}, "no '__' in it.*'a__b'"),
        ({3: ["size"]}, "must be a string.*got 3"),
        ({"": ["size"]}, "not empty"),
        ({}, "empty dict"),
        (["a", "b"], "2 labels but X has 6 columns"),
        ([["size"]] * 6, "one label"),
        (["a__b"] * 6, "'a__b'"),
        ("prefixes", "got 'prefixes'. Did you mean 'prefix'"),
        (None, "categories must be one of"),
        (2.5, "categories must be one of"),
        (True, "categories must be one of"),
        ({"remainder": ["size"]}, "already uses"),
    ],
)
def test_bad_categories_are_named(frame, spec, message):
    with pytest.raises(ValueError, match=message):
        resolve(spec, frame)


def test_remainder(frame):
    spec = {"a": ["time__lag", "time__hour"]}
    with pytest.raises(ValueError, match="4 columns are in no category: 'size', 'shape__w'"):
        resolve(spec, frame, remainder="error")
    with pytest.raises(ValueError, match="1 column is in no category"):
        resolve({"a": NAMES[1:]}, frame, remainder="error")
    full = {"a": NAMES[:3], "b": NAMES[3:]}
    assert list(resolve(full, frame, remainder="error").categories) == ["a", "b"]


def test_remainder_to_the_nearest(blocks):
    spec = {"a": ["a0", "a1"], "b": ["b0"], "c": ["c0"], "d": ["d0"]}
    found = resolve(spec, blocks, remainder="nearest")
    for name, columns in found.categories.items():
        assert {blocks.columns[i][0] for i in columns} == {name}


def test_labels(frame):
    found = resolve(["t", "t", None, "s", "s", np.nan], frame)
    assert as_lists(found.categories) == {"s": [3, 4], "t": [0, 1], "remainder": [2, 5]}
    assert as_lists(resolve(np.array([1, 1, 0, 0, 0, 0]), frame).categories) == {
        "0": [2, 3, 4, 5],
        "1": [0, 1],
    }


def test_a_series_of_labels_is_matched_by_name(frame):
    labels = pd.Series(["t", "t", "z", "s", "s", "s"], index=NAMES)
    assert as_lists(labeled(labels[::-1], NAMES)) == {"s": [3, 4, 5], "t": [0, 1], "z": [2]}
    twice = pd.concat([labels.drop("size"), labels[["shape__h"]]])
    with pytest.raises(ValueError, match="labels column 'shape__h' more than once"):
        labeled(twice, NAMES)


def test_mapping_from_a_file(frame, tmp_path):
    path = tmp_path / "categories.json"
    path.write_text(json.dumps({"all": NAMES}))
    assert as_lists(resolve(str(path), frame).categories) == {"all": list(range(6))}
    assert as_lists(resolve(path, frame).categories) == {"all": list(range(6))}
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"categories\.json.*must hold an object"):
        resolve(path, frame)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"categories\.json.*can not be read as JSON"):
        resolve(path, frame)
    path.write_text('{"a": ["time__a"], "b": [2], "a": [1]}')  # of which json takes the last
    with pytest.raises(ValueError, match=r"categories\.json.*the key 'a' stands there twice"):
        resolve(path, frame)
    with pytest.raises(ValueError, match=r"missing\.json"):
        resolve(str(tmp_path / "missing.json"), frame)


def test_prefixes(frame):
    found = resolve("prefix", frame)
    assert as_lists(found.categories) == {"shape": [3, 4, 5], "time": [0, 1], "remainder": [2]}
    assert list(found.categories) == ["shape", "time", "remainder"]
    assert families(["a__b__c", "__x", "y"]) == {"a": [0]}
    for spec in ("prefix", "prefix_auto"):
        with pytest.raises(ValueError, match=f"categories='{spec}' needs column names like"):
            resolve(spec, pd.DataFrame(np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"needs column names like .*'x2' and 4 more"):
        resolve("prefix", pd.DataFrame(np.zeros((2, 7))))


def test_clusters_within_each_family(blocks):
    renamed = blocks.rename(columns=lambda c: ("one__" if c[0] in "ab" else "two__") + c)
    found = resolve("prefix_auto", renamed)
    assert found.given
    assert set(found.categories) == {"one_1", "one_2", "two_1", "two_2"}
    expected = {frozenset(c for c in renamed.columns if c[5] == letter) for letter in "abcd"}
    assert as_sets(found.categories, renamed) == expected


# --- clustering ------------------------------------------------------------------------------


def test_auto_finds_the_factors(blocks):
    found = resolve("auto", blocks)
    assert not found.given
    assert list(found.categories) == ["cluster_1", "cluster_2", "cluster_3", "cluster_4"]
    assert [len(c) for c in found.categories.values()] == [5, 4, 3, 2]
    for columns in found.categories.values():
        assert len({blocks.columns[i][0] for i in columns}) == 1


def check_cuts(cuts, d, min_size):
    assert len(cuts[0]) == 1
    for coarse, fine in itertools.pairwise(cuts):
        assert len(fine) > len(coarse)
        for columns in fine.values():
            assert sum(set(columns) <= set(parent) for parent in coarse.values()) == 1
    for cut in cuts:
        assert sorted(np.concatenate(list(cut.values()))) == list(range(d))
        assert min(map(len, cut.values())) >= min_size


@pytest.mark.parametrize("min_size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_cuts_are_nested_complete_and_no_cluster_is_too_small(min_size, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 12)) @ rng.normal(size=(12, 40)) * (rng.random(40) > 0.1)
    found = resolve("auto", pd.DataFrame(X), min_category_size=min_size, max_categories=12)
    check_cuts(found.cuts, 40, min_size)
    assert 2 <= len(found.categories) <= 12
    assert as_lists(found.categories) in [as_lists(cut) for cut in found.cuts]


@pytest.mark.parametrize("correlation", ["pearson", "spearman", "mutual_information"])
@pytest.mark.parametrize("named", [True, False])
def test_the_order_of_columns_decides_nothing(blocks, correlation, named):
    rng = np.random.default_rng(3)
    order = rng.permutation(14)
    values = blocks.to_numpy().copy()
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:, 3] = 1.0
    names = list(blocks.columns) if named else list(range(14))
    first = resolve("auto", pd.DataFrame(values, columns=names), correlation=correlation)
    names = [names[i] for i in order] if named else names
    second = resolve("auto", pd.DataFrame(values[:, order], columns=names), correlation=correlation)
    for cut, permuted in zip(first.cuts, second.cuts, strict=True):
        back = {name: np.sort(order[columns]).tolist() for name, columns in permuted.items()}
        assert back == as_lists(cut)
        assert list(back) == list(cut)


def test_ties_are_broken_by_name():
    X = np.repeat(np.random.default_rng(0).normal(size=(50, 3)), 2, axis=1)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    first = resolve(3, frame)
    second = resolve(3, frame[list("fdbeca")])
    assert as_sets(first.categories, frame) == {frozenset("ab"), frozenset("cd"), frozenset("ef")}
    for name, columns in first.categories.items():
        assert set(frame.columns[columns]) == set(
            frame[list("fdbeca")].columns[second.categories[name]]
        )


def test_constant_columns_join_the_largest_cluster_and_cuts_stay_nested(blocks):
    frame = blocks.assign(flat=1.0, empty=np.nan)
    found = resolve("auto", frame)
    assert {"flat", "empty"} <= set(frame.columns[found.categories["cluster_1"]])
    assert len(found.categories) == 4
    check_cuts(found.cuts, 16, 2)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_few_columns_are_one_category(d):
    found = resolve("auto", pd.DataFrame(np.random.default_rng(0).normal(size=(20, d))))
    assert as_lists(found.categories) == {"cluster_1": list(range(d))}
    assert [as_lists(cut) for cut in found.cuts] == [{"cluster_1": list(range(d))}]


@pytest.mark.parametrize("X", [np.ones((5, 6)), np.full((5, 6), np.nan), np.ones((1, 6))])
def test_nothing_to_compare_is_one_category(X):
    assert len(resolve("auto", pd.DataFrame(X)).categories) == 1


def test_identical_columns_and_two_rows_cluster():
    X = np.repeat(np.random.default_rng(0).normal(size=(30, 1)), 6, axis=1)
    check_cuts(resolve("auto", pd.DataFrame(X)).cuts, 6, 2)
    check_cuts(resolve("auto", pd.DataFrame(X[:2])).cuts, 6, 2)


def test_silhouette_and_a_number_are_fixed_choices(blocks):
    auto, fixed = resolve("auto", blocks), resolve("silhouette", blocks)
    assert as_lists(fixed.categories) == as_lists(auto.categories)
    assert fixed.given
    assert fixed.cuts == []
    for count in (1, 2, 5):
        assert len(resolve(count, blocks).categories) == count
    with pytest.raises(ValueError, match="categories=9 can not be formed from 14 columns"):
        resolve(9, blocks)
    with pytest.raises(ValueError, match=r"can not be formed.* lower min_category_size\.$"):
        resolve(0, blocks)
    # How many can be at most depends on the columns, and was not looked for.
    with pytest.raises(ValueError, match="isolated families; at least 1 can"):
        resolve(0, blocks, max_categories=2)


def test_a_number_that_constant_columns_leave_out_of_reach_names_them(blocks):
    still = blocks.assign(**{f"still{j}": 1.0 for j in range(20)})
    with pytest.raises(
        ValueError, match=r"vary with no other.*: 'still0', 'still1', 'still2'\.\.\."
    ):
        resolve(9, still)


def test_one_category_at_most(blocks):
    assert len(resolve("auto", blocks, max_categories=1).categories) == 1


def test_isolated_families_stay_in_every_cut(blocks):
    frame = blocks.rename(columns={"a0": "own__a0", "b0": "own__b0"})
    found = resolve("auto", frame, isolate=["own"])
    assert set(frame.columns[found.categories["own"]]) == {"own__a0", "own__b0"}
    for cut in found.cuts:
        np.testing.assert_array_equal(cut["own"], found.categories["own"])
        assert sorted(np.concatenate(list(cut.values()))) == list(range(14))
    assert len(resolve(3, frame, isolate="own").categories) == 3
    with pytest.raises(ValueError, match=r"isolate names 'owm'.*Did you mean 'own'"):
        resolve("auto", frame, isolate=["owm"])
    with pytest.raises(ValueError, match="needs clustered columns"):
        resolve("prefix", frame, isolate=["own"])


def test_nothing_is_clustered_where_every_column_is_isolated(blocks):
    frame = blocks.iloc[:, :2].set_axis(["own__a", "own__b"], axis=1)
    found = resolve("auto", frame, isolate=["own"])
    assert {name: c.tolist() for name, c in found.categories.items()} == {"own": [0, 1]}


def test_families_and_clusters_of_one_name_are_refused(blocks):
    frame = blocks.rename(columns={"a0": "cluster_1__a0", "b0": "cluster_1__b0"})
    with pytest.raises(ValueError, match="isolated family 'cluster_1' has a cluster's name"):
        resolve(3, frame, isolate=["cluster_1"])


def test_columns_without_a_family_are_clustered_among_themselves(blocks):
    names = [f"f__{name}" if name.startswith("a") else name for name in blocks]
    found = resolve("prefix_auto", blocks.set_axis(names, axis=1))
    placed = sorted(int(j) for c in found.categories.values() for j in c)
    assert placed == list(range(len(names)))
    for name, columns in found.categories.items():
        assert {names[j].startswith("f__") for j in columns} == {name.startswith("f")}, name


@pytest.mark.parametrize(
    "clusterer",
    [
        AgglomerativeClustering(n_clusters=4, metric="precomputed", linkage="average"),
        KMeans(n_clusters=4, n_init=10),
        DBSCAN(eps=0.3, min_samples=2, metric="precomputed"),
        AffinityPropagation(affinity="precomputed"),
    ],
    ids=lambda c: type(c).__name__,
)
def test_clusterers(blocks, clusterer):
    found = resolve(clusterer, blocks, random_state=0)
    assert found.given
    assert [len(c) for c in found.categories.values()] == [5, 4, 3, 2]
    shuffled = blocks[sorted(blocks.columns)]
    again = resolve(clusterer, shuffled, random_state=0)
    assert as_sets(again.categories, shuffled) == as_sets(found.categories, blocks)
    assert not hasattr(clusterer, "labels_")


def test_feature_agglomeration_sees_the_table():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(50, 2)), 3, axis=1) + 0.1 * rng.normal(size=(50, 6))
    X[0, 0] = np.nan
    found = resolve(FeatureAgglomeration(n_clusters=2), pd.DataFrame(X))
    assert {tuple(c) for c in found.categories.values()} == {(0, 1, 2), (3, 4, 5)}


def test_columns_that_a_clusterer_calls_noise_are_kept(blocks):
    noise = np.random.default_rng(9).normal(size=len(blocks))
    frame = blocks.assign(noise=noise)
    found = resolve(DBSCAN(eps=0.3, min_samples=2, metric="precomputed"), frame)
    assert len(found.categories) == 4
    assert sum(map(len, found.categories.values())) == 15
    alone = resolve(DBSCAN(eps=1e-9, min_samples=9, metric="precomputed"), frame)
    assert as_lists(alone.categories) == {"cluster_1": list(range(15))}


def test_many_rows_are_sampled_by_seed():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(12_000, 8)) @ rng.normal(size=(8, 8)))
    first, second = (resolve("auto", frame, random_state=5) for _ in range(2))
    assert [as_lists(c) for c in first.cuts] == [as_lists(c) for c in second.cuts]


def test_comparing_needs_cells(frame):
    with pytest.raises(ValueError, match="Z=None"):
        resolve_categories("auto", frame, None, NAMES)


# --- association -----------------------------------------------------------------------------


def test_pearson_is_numpys_and_pandas(frame):
    X = frame.to_numpy().copy()
    np.testing.assert_allclose(correlation_matrix(X), np.corrcoef(X.T), atol=1e-12)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    np.testing.assert_allclose(correlation_matrix(X), pd.DataFrame(X).corr(), atol=1e-12)
    np.testing.assert_allclose(
        correlation_matrix(frame, "spearman"), frame.corr("spearman"), atol=1e-12
    )


def test_correlation_bears_any_scale():
    x = np.random.default_rng(0).normal(size=200)
    X = np.column_stack([x, 1e300 * x, -1e-300 * x, 1e6 + x, np.full(200, 3.0)])
    r = correlation_matrix(X)
    np.testing.assert_allclose(np.abs(r[:4, :4]), 1, atol=1e-6)
    np.testing.assert_array_equal(r[4], [0, 0, 0, 0, 1])


def test_columns_without_common_rows_are_unrelated():
    X = np.full((10, 3), np.nan)
    X[:5, 0] = X[5:, 1] = np.arange(5)
    X[:, 2] = np.arange(10)
    r = correlation_matrix(X)
    assert r[0, 1] == 0
    np.testing.assert_allclose(r[2, :2], 1)


def test_a_column_constant_over_the_common_rows_is_unrelated():
    X = np.column_stack([np.r_[np.ones(5), 2.0, 7.0], np.r_[np.arange(5.0), np.nan, np.nan]])
    assert correlation_matrix(X)[0, 1] == 0


def test_mutual_information_sees_what_correlation_does_not():
    x = np.random.default_rng(0).normal(size=2000)
    noise = np.random.default_rng(1).normal(size=2000)
    X = np.column_stack([x, x**2, noise, np.ones(2000)])
    information = correlation_matrix(X, "mutual_information")
    assert information[0, 1] > 0.4 > 0.05 > information[0, 2]
    assert abs(correlation_matrix(X)[0, 1]) < 0.1
    np.testing.assert_array_equal(information[3], [0, 0, 0, 1])
    with pytest.raises(ValueError, match=r"up to 300 columns; X has 301"):
        correlation_matrix(np.zeros((3, 301)), "mutual_information")


def test_mutual_information_is_scikit_learns_of_ten_parts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    X = np.column_stack([x, x + rng.normal(size=2000), np.rint(x), x > 1])
    parts = [pd.qcut(column, 10, labels=False, duplicates="drop") for column in X.T]
    # Values of many rows are parts of their own, and the rare ones below and above as well.
    parts[2], parts[3] = np.clip(X[:, 2], -2, 2), X[:, 3]
    expected = [[normalized_mutual_info_score(a, b) for a in parts] for b in parts]
    found = correlation_matrix(X, "mutual_information")
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("method", ["pearson", "mutual_information"])
@pytest.mark.parametrize(("n", "related"), [(2, False), (3, True)])
def test_it_takes_three_common_rows_to_be_related(method, n, related):
    X = np.full((40, 2), np.nan)
    X[:20, 0] = X[20:, 1] = np.arange(20.0)
    X[20 : 20 + n] = np.array([-30.0, 50.0, 30.0])[:n, None]
    assert (correlation_matrix(X, method)[0, 1] != 0) == related


def test_mutual_information_of_known_tables():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(4000, 1))
    X = np.hstack([bits, 1 - bits, rng.integers(0, 2, size=(4000, 1))])
    information = correlation_matrix(X, "mutual_information")
    assert information[0, 1] == pytest.approx(1)
    assert information[0, 2] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("n", [40, 500])
@pytest.mark.parametrize("ones", [0.06, 0.3, 0.7, 0.94])
def test_mutual_information_of_flags_is_that_of_their_values(n, ones):
    flag = np.arange(n) < ones * n
    other = np.roll(flag, 2)
    X = np.column_stack([flag, ~flag, other])
    information = correlation_matrix(X, "mutual_information")
    assert information[0, 1] == pytest.approx(1)
    assert information[0, 2] == pytest.approx(normalized_mutual_info_score(flag, other))


def test_mutual_information_is_that_of_negated_columns():
    rng = np.random.default_rng(0)
    mostly_zero = rng.normal(size=400) * (rng.random(400) < 0.08)
    X = np.column_stack([mostly_zero, np.minimum(rng.normal(size=400), -1.5)])
    information = correlation_matrix(np.hstack([X, -X]), "mutual_information")
    np.testing.assert_allclose(information[[0, 1], [2, 3]], 1)


def test_orphans_go_to_the_nearest_ties_to_the_larger_group():
    r = np.eye(5)
    r[4, :4] = r[:4, 4] = [0.5, 0.1, 0.1, 0.1]
    groups = [np.array([0]), np.array([1, 2]), np.array([3])]
    assert assign_to_nearest(r, np.array([4]), groups).tolist() == [0]
    assert assign_to_nearest(np.eye(5), np.array([4]), groups).tolist() == [1]
    r[4, :4] = r[:4, 4] = [0.5, 0.6, 0.1, 0.1]  # on average, not by the nearest column
    assert assign_to_nearest(r, np.array([4]), groups).tolist() == [0]


def test_columns_too_few_for_a_cluster_stay_and_go_to_the_nearer_half():
    r = np.eye(7)
    r[:3, :3] = r[3:6, 3:6] = 0.9
    r[:3, 3:6] = r[3:6, :3] = 0.8
    r[6, :3] = r[:3, 6] = 0.1
    r[6, 3:6] = r[3:6, 6] = 0.2  # joins the tree last, alone
    np.fill_diagonal(r, 1)
    found = cluster_columns(r, list("abcdefg"), max_clusters=2)
    assert [c.tolist() for c in found.partitions[1]] == [[3, 4, 5, 6], [0, 1, 2]]


def test_the_finest_cut_is_handed_on_whatever_its_number_of_clusters():
    r = np.kron(np.eye(5), np.full((2, 2), 0.9))
    r[:6, :6] = np.maximum(r[:6, :6], 0.7)
    found = cluster_columns(r, list("abcdefghij"))
    assert [len(cut) for cut in found.candidates()] == [1, 2, 3, 4, 5]
    assert found.chosen != 4


def test_keys_not_positions_order_equal_clusters():
    r = np.kron(np.eye(2), np.full((2, 2), 0.9))
    found = cluster_columns(r, ["d", "c", "b", "a"])
    assert [c.tolist() for c in found.partitions[1]] == [[2, 3], [0, 1]]
    same_start = column_keys(np.array([[0.0, 0.0], [1.0, 2.0]]), ["x0", "x1"], named=False)
    assert same_start[0] != same_start[1]
