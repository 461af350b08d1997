"""FeatureCharacterizer: scores, chunks, wiring and the scikit-learn contract."""

import copy
import gc
import json
import pickle
import re
import warnings
import weakref

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import make_column_selector
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from adaptive_vq.annotations import annotation
from adaptive_vq.association import correlation_matrix
from adaptive_vq.characterize import FeatureCharacterizer, category_scores
from adaptive_vq.sampling import RowSample
from adaptive_vq.scores import category_profile, category_separation, gaussian_bits

SCORES = ["variance", "dimensionality", "information", "correlation"]


@parametrize_with_checks([FeatureCharacterizer(), FeatureCharacterizer("silhouette", scaler=None)])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    factors = np.repeat(rng.normal(size=(300, 3)), [5, 4, 3], axis=1)
    X = factors + 0.4 * rng.normal(size=(300, 12))
    X *= 10.0 ** rng.integers(-6, 7, size=12)
    X[rng.random(X.shape) < 0.05] = np.nan
    X[:, 7] = np.round(np.nan_to_num(X[:, 7] / np.nanstd(X[:, 7])))
    return pd.DataFrame(X, columns=[f"c{i:02d}" for i in range(12)])


def assert_same(first, second):
    assert list(first.categories_) == list(second.categories_)
    for name, columns in first.categories_.items():
        np.testing.assert_array_equal(columns, second.categories_[name])
    pd.testing.assert_frame_equal(first.characteristics_, second.characteristics_, check_exact=True)
    assert [list(c) for c in first.cuts_] == [list(c) for c in second.cuts_]


# --- scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "published"),
    [(24, 0.697), (5, 0.388), (11, 0.538), (10, 0.520), (17, 0.626), (20, 0.660), (31, 0.751)],
)
def test_dimensionality_of_the_published_categories(k, published):
    X = np.random.default_rng(0).normal(size=(5, k))
    assert round(category_scores(X, {"a": range(k)})["a"]["dimensionality"], 3) == published


def test_scores_follow_their_definitions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)) * [1, 2, 3, 0.1, 0.2, 0.3, 1, 1]
    scores = category_scores(X, {"wide": [0, 1, 2, 6, 7, 3, 4], "narrow": [3, 4], "one": [5]})
    wide = X[:, [0, 1, 2, 3, 4, 6, 7]]
    eigenvalues = np.linalg.eigvalsh(np.cov(wide.T))[::-1]
    r = np.abs(np.corrcoef(wide.T))[np.triu_indices(7, 1)]
    assert scores["wide"]["variance"] == min(1, np.median(wide.var(axis=0)))
    small = category_scores(0.1 * X, {"wide": [0, 1, 2, 6, 7, 3, 4]})["wide"]
    assert small["variance"] == pytest.approx(0.01 * np.median(wide.var(axis=0)))
    assert scores["wide"]["information"] == pytest.approx(eigenvalues[:5].sum() / eigenvalues.sum())
    assert scores["wide"]["correlation"] == pytest.approx(r.mean())
    assert scores["narrow"]["variance"] == pytest.approx(np.median(X[:, 3:5].var(axis=0)))
    assert scores["narrow"]["information"] == 1
    assert scores["one"] == {
        "variance": pytest.approx(X[:, 5].var()),
        "dimensionality": pytest.approx(np.log10(2) / np.log10(101)),
        "information": 0.5,
        "correlation": 0.0,
    }


def test_scores_use_the_cells_that_are_there():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 3)) @ rng.normal(size=(3, 3)) + 2.0
    holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    full, holed = (category_scores(t, {"a": [0, 1, 2]})["a"] for t in (X, holes))
    assert holed == pytest.approx(full, abs=0.05)
    assert holed["variance"] == pytest.approx(min(1, np.median(np.nanvar(holes, axis=0))))
    profile = category_profile(holes, holes, {"a": [0, 1, 2]})["a"]
    assert profile["tail_weight"] == pytest.approx(0, abs=0.2)  # that of normal columns


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_scores_of_constant_missing_and_huge_columns_are_finite(scale):
    x = np.random.default_rng(0).normal(size=50)
    X = np.column_stack([np.full(50, 3.0), np.full(50, np.nan), x * scale, x])
    scores = category_scores(X, {"none": [0, 1], "some": [0, 1, 2, 3]})
    assert scores["none"] == {
        "variance": 0.0,
        "dimensionality": pytest.approx(0.238, abs=1e-3),
        "information": 0.5,
        "correlation": 0.0,
    }
    assert all(0 <= value <= 1 for value in scores["some"].values())
    small = category_scores(-np.abs(X[:, 2:]), {"a": [0]})["a"]  # all of one sign
    assert small["variance"] == pytest.approx(min(1, np.std(np.abs(x)) * scale) ** 2)


def test_only_variance_and_information_depend_on_units():
    X = np.random.default_rng(0).normal(size=(100, 7))
    before = category_scores(X, {"a": range(7)})["a"]
    after = category_scores(X * [1, 1, 1, 1, 1, 1, 1000], {"a": range(7)})["a"]
    assert after["correlation"] == pytest.approx(before["correlation"], abs=1e-12)
    assert after["dimensionality"] == before["dimensionality"]
    assert after["information"] > before["information"] + 0.1


def test_profile_of_known_columns():
    n = 4000
    rng = np.random.default_rng(0)
    normal, coin = rng.normal(size=(n, 2)), rng.integers(0, 2, size=(n, 1)).astype(float)
    sparse = np.where(rng.random((n, 1)) < 0.77, 0.0, rng.normal(size=(n, 1)))
    X = np.hstack([normal, coin, sparse, np.repeat(normal[:, :1], 3, axis=1)])
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    found = category_profile(X, Z, {"n": [0, 1], "c": [2], "s": [3], "same": [4, 5, 6]})
    assert found["n"]["effective_dimension"] == pytest.approx(2, abs=0.01)
    assert found["same"]["effective_dimension"] == pytest.approx(1)
    assert found["n"]["spectral_entropy"] == pytest.approx(1, abs=0.01)
    assert found["same"]["spectral_entropy"] == pytest.approx(0, abs=1e-6)
    assert found["n"]["discreteness"] == 0
    assert found["c"]["discreteness"] == pytest.approx(1, abs=1e-3)
    assert found["s"]["discreteness"] == pytest.approx(0.77, abs=0.02)
    assert found["c"]["tail_weight"] == pytest.approx(-2, abs=0.01)
    assert found["n"]["tail_weight"] == pytest.approx(0, abs=0.3)
    assert found["s"]["tail_weight"] > 5
    mixed = category_profile(X, Z, {"a": [0, 1, 3]})["a"]
    assert mixed["tail_weight"] == pytest.approx(0, abs=0.3)  # the median, not the mean
    assert found["c"]["gaussian_bits"] == pytest.approx(0.5 * np.log2(10))
    assert found["same"]["gaussian_bits"] == pytest.approx(0.5 * np.log2(10), abs=1e-6)
    # Caps make values alike and tails short; what is told of cells is of those that were given.
    capped = category_profile(X, np.clip(Z, -1, 1), {"n": [0, 1]})["n"]
    assert capped["discreteness"] == 0
    assert capped["tail_weight"] == found["n"]["tail_weight"]


@pytest.mark.parametrize("nmse", [0.01, 0.1, 0.5, 0.9])
def test_gaussian_bits_reach_the_error_by_reverse_water_filling(nmse):
    spectrum = 1 / np.arange(1, 30) ** 1.5
    low, high = 0.0, 1.0
    for _ in range(100):
        level = (low + high) / 2
        error = np.minimum(level, spectrum).sum() / spectrum.sum()
        low, high = (low, level) if error > nmse else (level, high)
    expected = np.maximum(0, 0.5 * np.log2(spectrum / level)).sum()
    assert gaussian_bits(spectrum, nmse) == pytest.approx(expected)
    assert gaussian_bits(spectrum[::-1] * 7, nmse) == pytest.approx(expected)
    assert gaussian_bits([0.0, 0.0], nmse) == 0
    assert gaussian_bits(spectrum, 1.0) == 0


def test_separation_aligns_signs():
    x, y = np.random.default_rng(0).normal(size=(2, 500, 1))
    X = np.hstack([x, -x, x, y, -y]) + 0.3 * np.random.default_rng(1).normal(size=(500, 5))
    found = category_separation(correlation_matrix(X), {"x": [0, 1, 2], "y": [3, 4]})
    for name, other in (("x", "y"), ("y", "x")):
        assert found[name]["within"] > 0.85
        assert found[name]["between"] < 0.1
        assert found[name]["separation"] == found[name]["within"] - found[name]["between"]
        assert found[name]["neighbor"] == other
    r = np.array([[1, 0.9, -0.5], [0.9, 1, 0.3], [-0.5, 0.3, 1]])
    assert category_separation(r, {"a": [0, 1], "b": [2]})["a"]["between"] == pytest.approx(0.4)
    alone = category_separation(correlation_matrix(X), {"all": range(5)})["all"]
    assert alone["between"] == 0
    assert alone["neighbor"] is None


# --- estimator -------------------------------------------------------------------------------


def test_characteristics(table):
    fitted = FeatureCharacterizer().fit(table)
    frame = fitted.characteristics_
    assert list(frame.index) == list(fitted.categories_)
    assert list(frame.columns)[:4] == SCORES
    assert set(frame.columns[4:]) == {
        "n_columns",
        "effective_dimension",
        "spectral_entropy",
        "tail_weight",
        "discreteness",
        "missing_share",
        "gaussian_bits",
        "within",
        "between",
        "separation",
    }
    assert np.isfinite(frame.to_numpy(dtype=float)).all()
    expected = category_scores(table, fitted.categories_)
    for name in fitted.categories_:
        assert frame.loc[name, SCORES].to_dict() == expected[name]


def test_scale_of_columns_does_not_move_categories(table):
    scaled = table * 10.0 ** np.arange(-6, 6)
    first, second = (FeatureCharacterizer().fit(t).categories_ for t in (table, scaled))
    assert {n: c.tolist() for n, c in first.items()} == {n: c.tolist() for n, c in second.items()}


def test_permuting_columns_changes_only_their_order(table):
    order = np.random.default_rng(1).permutation(12)
    first = FeatureCharacterizer().fit(table)
    second = FeatureCharacterizer().fit(table.iloc[:, order])
    assert list(first.categories_) == list(second.categories_)
    for name, columns in second.categories_.items():
        np.testing.assert_array_equal(np.sort(order[columns]), first.categories_[name])
    pd.testing.assert_frame_equal(first.characteristics_, second.characteristics_, check_exact=True)


@pytest.mark.parametrize("sizes", [[300], [1, 299], [100, 100, 100], [7] * 42 + [6]])
@pytest.mark.parametrize("categories", ["auto", {"a": ["c00", "c01"]}])
@pytest.mark.filterwarnings("ignore:Categories overlap:UserWarning")
def test_any_chunking_gives_the_result_of_one_fit(table, sizes, categories):
    whole = FeatureCharacterizer(categories).fit(table)
    chunked = FeatureCharacterizer(categories)
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        chunked.partial_fit(table.iloc[start : start + size])
    assert_same(whole, chunked)
    assert chunked.n_samples_seen_ == 300


def test_sampled_rows_do_not_depend_on_chunks():
    X = np.arange(1000.0)[:, None]
    whole = RowSample.empty(1, seed=3, capacity=50).add(X)
    chunked = RowSample.empty(1, seed=3, capacity=50)
    for chunk in np.array_split(X, [10, 45, 300, 301, 900]):
        chunked = chunked.add(chunk)
    np.testing.assert_array_equal(whole.rows, chunked.rows)
    np.testing.assert_array_equal(whole.subset(20), chunked.subset(20))
    assert len(np.unique(whole.rows)) == 50
    assert (np.diff(whole.rows[:, 0]) > 0).all()
    assert abs(whole.rows.mean() - 500) < 4 * 289 / np.sqrt(50)
    other = RowSample.empty(1, seed=4, capacity=50).add(X)
    assert not np.array_equal(whole.rows, other.rows)


def test_wide_tables_keep_fewer_rows():
    assert RowSample.empty(10, seed=0).capacity == 65_536
    assert RowSample.empty(1024, seed=0).capacity == 32_768
    assert RowSample.empty(10**6, seed=0).capacity == 4_096


def test_chunks_are_copied(table):
    buffer = table.to_numpy().copy()
    fitted = FeatureCharacterizer().partial_fit(buffer[:200])
    rest = buffer[200:].copy()
    buffer[:] = 0
    assert_same(fitted.partial_fit(rest), FeatureCharacterizer().fit(table.to_numpy()))


def test_pickles_after_fit_hold_no_rows(table):
    fitted = FeatureCharacterizer().fit(table)
    thawed = pickle.loads(pickle.dumps(fitted))
    assert_same(fitted, thawed)
    for held in (thawed, copy.deepcopy(fitted)):
        with pytest.raises(ValueError, match="from a pickle, saved file or copy made after fit"):
            held.partial_fit(table)
    stream = pickle.loads(pickle.dumps(FeatureCharacterizer().partial_fit(table[:200])))
    assert_same(stream.partial_fit(table[200:]), fitted)
    assert_same(FeatureCharacterizer().fit(table[:200]).partial_fit(table[200:]), fitted)


def test_refit_forgets(table):
    fitted = FeatureCharacterizer().fit(table)
    fitted.set_params(categories=[0] * 3).fit(table.to_numpy()[:, :3])
    assert_same(fitted, FeatureCharacterizer([0] * 3).fit(table.to_numpy()[:, :3]))
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.cuts_ == []
    assert fitted.n_samples_seen_ == 300


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_same_seed_same_result_beyond_the_sample(seed, monkeypatch):
    monkeypatch.setattr("adaptive_vq.sampling.MAX_ROWS", 500)
    monkeypatch.setattr("adaptive_vq.sampling.MIN_ROWS", 10)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6)) @ rng.normal(size=(6, 6))
    first, second = (FeatureCharacterizer(random_state=seed).fit(X) for _ in range(2))
    assert_same(first, second)
    other = FeatureCharacterizer(random_state=99).fit(X)
    assert not np.array_equal(
        first.characteristics_["correlation"], other.characteristics_["correlation"]
    )


@pytest.mark.parametrize("container", [pd.DataFrame, np.asarray, pl.from_pandas])
def test_transform_passes_cells_through_with_a_note(table, container):
    X = container(table)
    fitted = FeatureCharacterizer().fit(X)
    out = fitted.transform(X)
    assert isinstance(out, pd.DataFrame)
    np.testing.assert_array_equal(out.to_numpy(), table.to_numpy())
    note = annotation(out)
    assert json.loads(json.dumps(note)) == note
    assert note["by"] == ["FeatureCharacterizer"]
    assert note["categories"] == {n: c.tolist() for n, c in fitted.categories_.items()}
    assert note["given"] is False
    assert len(note["cuts"]) == len(fitted.cuts_)
    assert set(note["scores"]) == set(fitted.categories_)
    assert note["units"]["explicit"] is False
    assert fitted.inverse_transform(out) is out
    if container is not np.asarray:
        assert list(fitted.get_feature_names_out()) == list(table.columns)


def test_dtypes_index_and_other_attrs_pass_through(table):
    X = table.assign(flag=True).set_index(np.arange(300) + 7)
    X.attrs["unit"] = "m"
    out = FeatureCharacterizer().fit_transform(X)
    assert out["flag"].dtype == bool
    assert out.index[0] == 7
    assert out.attrs["unit"] == "m"
    assert X.attrs == {"unit": "m"}


def test_the_note_survives_set_output_and_subclassing(table):
    class Named(FeatureCharacterizer):
        def transform(self, X):
            return super().transform(X)

    for output in ("default", "pandas", "polars"):
        pipe = make_pipeline(FeatureCharacterizer(), Named()).set_output(transform=output)
        assert annotation(pipe.fit_transform(table))["by"] == ["FeatureCharacterizer", "Named"]


def test_units_are_settled_by_the_first_step(table):
    pipe = make_pipeline(FeatureCharacterizer(scaler="robust"), FeatureCharacterizer())
    assert annotation(pipe.fit_transform(table))["units"]["scaler"] == "robust"
    pipe = make_pipeline(FeatureCharacterizer(scaler="robust"), FeatureCharacterizer(scaler=None))
    with pytest.raises(ValueError, match="FeatureCharacterizer"):
        pipe.fit(table)


def test_scaling_in_front_is_seen_in_the_scores(table):
    raw = FeatureCharacterizer().fit(table)
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), FeatureCharacterizer())
    scaled = pipe.fit(table)[-1]
    for name, columns in raw.categories_.items():
        np.testing.assert_array_equal(columns, scaled.categories_[name])
    assert (scaled.characteristics_["variance"].round(6) == 1).all()


def test_given_categories_are_fixed(table):
    spec = {"low": slice("c00", "c04"), "numbers": make_column_selector(pattern="c0[5-8]")}
    fitted = FeatureCharacterizer(spec).fit(table)
    assert {n: c.tolist() for n, c in fitted.categories_.items()} == {
        "low": [0, 1, 2, 3, 4],
        "numbers": [5, 6, 7, 8],
        "remainder": [9, 10, 11],
    }
    note = annotation(fitted.transform(table))
    assert note["given"] is True
    assert note["cuts"] == []
    assert list(clone(fitted).fit(table).categories_) == list(fitted.categories_)


def test_overlapping_categories_warn(table):
    with pytest.warns(UserWarning, match="Categories overlap.*'odd'"):
        FeatureCharacterizer([["even", "odd"][i % 2] for i in range(12)]).fit(table)


def test_overlapping_categories_are_counted_and_told_where_fit_is_called():
    noise = np.random.default_rng(0).normal(size=(200, 12))
    columns = noise.cumsum(axis=1)  # every other category is nearer than its own columns
    with pytest.warns(UserWarning, match=r"Categories overlap.* and 3 more\. Consider") as told:
        FeatureCharacterizer([*range(6), *range(6)]).fit(columns)
    assert told[0].filename == __file__


def test_opposed_columns_are_no_overlap():
    rng = np.random.default_rng(0)
    day = np.eye(5)[rng.integers(0, 5, 500)]
    X = np.hstack([day, rng.normal(size=(500, 3))])
    fitted = FeatureCharacterizer(["day"] * 5 + ["rest"] * 3).fit(X)
    assert fitted.characteristics_.loc["day", "separation"] < 0.2


@pytest.mark.parametrize("d", [1, 2, 3])
def test_narrow_tables(d):
    X = np.random.default_rng(0).normal(size=(2, d))
    fitted = FeatureCharacterizer().fit(X)
    assert [c.tolist() for c in fitted.categories_.values()] == [list(range(d))]
    assert fitted.transform(X[:1]).shape == (1, d)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((1, 3)), "1 sample"),
        (np.zeros((0, 3)), "0 sample"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), "infinity"),
        (pd.DataFrame({"a": [1, 2], "word": ["x", "y"]}), "word"),
        (pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]), "duplicate"),
        (pd.DataFrame(np.zeros((2, 1)), columns=pd.MultiIndex.from_tuples([("a", "b")])), "levels"),
    ],
)
def test_unusable_tables(X, message):
    with pytest.raises(ValueError, match=message):
        FeatureCharacterizer().fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"categories": "prefix"}, "column names like"),
        ({"categories": {"a": ["c99"]}}, "'a' names column 'c99'"),
        ({"remainder": "drop"}, "remainder"),
        ({"min_category_size": 0}, "min_category_size"),
        ({"max_categories": 0}, "max_categories"),
        ({"correlation": "kendall"}, "correlation"),
        ({"scaler": "minmax"}, "scaler"),
        ({"clip": "no"}, "clip"),
    ],
)
def test_unusable_parameters(table, parameters, message):
    with pytest.raises(ValueError, match=message):
        FeatureCharacterizer(**parameters).fit(table)


def test_constant_and_missing_columns_are_kept(table):
    X = table.assign(flat=1.0, empty=np.nan)
    fitted = FeatureCharacterizer().fit(X)
    assert sorted(np.concatenate(list(fitted.categories_.values()))) == list(range(14))
    assert np.isfinite(fitted.characteristics_.to_numpy(dtype=float)).all()
    flat = FeatureCharacterizer().fit(np.ones((4, 5)))
    assert flat.characteristics_["variance"].tolist() == [0.0]


def test_rows_to_add_to_later_are_kept_apart_from_the_table(table):
    cells = table.to_numpy().copy()
    fitted = FeatureCharacterizer().fit(cells)
    cells[:] = 1.0
    more = table.iloc[:50]
    assert_same(
        fitted.partial_fit(more.to_numpy()),
        FeatureCharacterizer().fit(pd.concat([table, more]).to_numpy()),
    )


def test_a_fit_on_many_rows_holds_its_sample_only(monkeypatch):
    monkeypatch.setattr("adaptive_vq.sampling.MAX_ROWS", 200)
    monkeypatch.setattr("adaptive_vq.sampling.MAX_CELLS", 800)
    monkeypatch.setattr("adaptive_vq.sampling.MIN_ROWS", 200)
    rows = np.random.default_rng(0).normal(size=(1_000, 4)).view(Watched)
    watch = weakref.ref(rows)
    fitted = FeatureCharacterizer().fit(rows)
    assert len(fitted._sample.rows) == 200
    del rows
    gc.collect()
    assert watch() is None


class Watched(np.ndarray):
    """An array that can be watched by a weak reference."""


GIVEN = {"a": [0, 1, 2], "b": [3, 4, 5]}


@pytest.mark.parametrize(
    ("categories", "parameters", "idle"),
    [
        (
            GIVEN,
            {"max_categories": 5},
            r"max_categories=5 of FeatureCharacterizer has no effect.*'a'",
        ),
        (list("aaabbb"), {"min_category_size": 3}, "min_category_size=3 .* Leave it out"),
        (GIVEN, {"correlation": "spearman", "max_categories": 5}, "5 and correlation='spearman'"),
        (2, {"max_categories": 5}, "max_categories=5 .*categories=2"),
        (KMeans(2, random_state=0), {"min_category_size": 3}, "min_category_size=3"),
        (2, {"min_category_size": 3}, None),
        ({"a": [0, 1, 2, 3, 4]}, {"correlation": "spearman", "remainder": "nearest"}, None),
        (KMeans(2, random_state=0), {"correlation": "spearman"}, None),
        ("silhouette", {"max_categories": 5, "correlation": "spearman"}, None),
    ],
)
def test_parameters_that_given_categories_leave_idle_are_told(cells, categories, parameters, idle):
    characterizer = FeatureCharacterizer(categories, **parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        characterizer.fit(cells)
    assert [w.filename for w in caught] == ([] if idle is None else [__file__])
    assert all(re.search(idle, str(w.message)) for w in caught)


def test_parameters_set_between_chunks_are_checked():
    X = np.random.default_rng(0).normal(size=(20, 3))
    begun = FeatureCharacterizer().partial_fit(X)
    with pytest.raises(ValueError, match="remainder"):
        begun.set_params(remainder="the rest").partial_fit(X)
    assert begun.set_params(remainder="error").partial_fit(X).n_samples_seen_ == 40
