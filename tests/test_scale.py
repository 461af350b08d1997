"""Dask collections: lazy, right names and types, the same codes for any partitioning."""

from itertools import pairwise

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    sampling,
    scale,
)
from adaptive_vq.streaming import fit_chunks, sample_rows

dask = pytest.importorskip("dask", reason="extra 'scale'")
da = pytest.importorskip("dask.array", reason="extra 'scale'")
dd = pytest.importorskip("dask.dataframe", reason="extra 'scale'")

N = 120


def table():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(N, 5))
    cells[3, 1] = np.nan
    return pd.DataFrame(cells, columns=list("abcde"), index=[f"r{i}" for i in range(N)])


@pytest.fixture(scope="module")
def frame():
    return table()


def quick(**parameters):
    settings = {"bits": 10, "max_epochs": 0, "early_stopping": False, "random_state": 0}
    settings["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(**settings | parameters)


@pytest.fixture(scope="module")
def codec(frame):
    return quick().fit(frame)


@pytest.fixture(scope="module")
def bare(frame):
    return quick().fit(frame.to_numpy())


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=5))
def test_codes_do_not_depend_on_the_partitioning(bare, frame, cuts):
    edges = [0, *sorted(cuts), N]
    sizes = tuple(b - a for a, b in pairwise(edges))
    X = da.from_array(frame.to_numpy(), chunks=(sizes, 5))
    codes = scale.transform(bare, X)
    assert codes.chunks[0] == sizes
    expected = bare.transform(frame.to_numpy())
    assert codes.dtype == expected.dtype
    assert codes.shape == expected.shape
    np.testing.assert_array_equal(codes.compute(scheduler="synchronous"), expected)


@pytest.mark.parametrize("encode", ["ordinal", "token", "embedding"])
def test_data_frames_keep_names_types_and_index(codec, frame, encode):
    codec.set_params(encode=encode)
    codes = scale.transform(codec, dd.from_pandas(frame, npartitions=4))
    assert isinstance(codes, dd.DataFrame)
    assert list(codes.columns) == list(codec.get_feature_names_out())
    found = codes.compute(scheduler="synchronous")
    assert (codes.dtypes == found.dtypes).all()
    direct = codec.transform(frame)
    order = frame.index.get_indexer(found.index)
    np.testing.assert_array_equal(found.to_numpy(), direct[order])
    rows = scale.inverse_transform(codec, codes)
    assert list(rows.columns) == list("abcde")
    back = rows.compute(scheduler="synchronous")
    np.testing.assert_array_equal(
        back.to_numpy(), codec.inverse_transform(direct).to_numpy()[order]
    )
    assert (rows.dtypes == back.dtypes).all()
    assert list(back.index) == list(found.index)


def test_nothing_is_computed_before_it_is_asked_for(codec, frame):
    calls = []
    X = dd.from_pandas(frame, npartitions=2).map_partitions(
        lambda part: calls.append(1) or part, meta=frame.iloc[:0]
    )
    codes = scale.transform(codec.set_params(encode="ordinal"), X)
    scale.inverse_transform(codec, codes)
    assert not calls


def test_a_partition_may_be_empty(codec, frame):
    X = dd.from_pandas(frame, npartitions=3)
    X = X[X["a"] > frame["a"].max() - 1e-9]
    codec.set_params(encode="ordinal")
    found = scale.transform(codec, X).compute(scheduler="synchronous")
    expected = codec.transform(frame)[[frame["a"].argmax()]]
    np.testing.assert_array_equal(found.to_numpy(), expected)


def test_pipelines(frame):
    wide = frame.assign(constant=1.0)
    pipe = Pipeline(
        [
            ("clean", FeatureCleaner()),
            ("ratios", AdaptiveRatioSelector("uniform", bits=10)),
            ("vq", HierarchicalVQVAE(max_epochs=0, random_state=0)),
        ]
    ).fit(wide)
    codes = scale.transform(pipe, dd.from_pandas(wide, npartitions=2, sort=False))
    np.testing.assert_array_equal(codes.compute(scheduler="synchronous"), pipe.transform(wide))
    rows = scale.inverse_transform(pipe, codes).compute(scheduler="synchronous")
    expected = pipe.inverse_transform(pipe.transform(wide))
    np.testing.assert_array_equal(rows.to_numpy(), np.asarray(expected))
    assert list(rows.columns) == list(wide.columns)


def test_what_cannot_be_mapped_is_refused(codec, bare, frame):
    with pytest.raises(TypeError, match="got DataFrame; what is in memory"):
        scale.transform(codec, frame)
    with pytest.raises(ValueError, match="rechunk"):
        scale.transform(bare, da.from_array(frame.to_numpy(), chunks=(50, 2)))
    onehot = quick(encode="onehot").fit(frame)
    with pytest.raises(ValueError, match="sparse_output=False"):
        scale.transform(onehot, dd.from_pandas(frame, npartitions=2))


def test_what_is_no_codec_is_told(frame):
    rows = dd.from_pandas(frame, npartitions=2)
    fitted = FeatureCleaner().fit(frame)
    for call in (scale.transform, scale.inverse_transform):
        with pytest.raises(TypeError, match=f"scale.{call.__name__} needs a .* got FeatureCleaner"):
            call(fitted, rows)
        with pytest.raises(NotFittedError):
            call(HierarchicalVQVAE(), rows)


def test_collections_are_refused_where_their_names_would_be_lost(codec, frame):
    rows = dd.from_pandas(frame, npartitions=2)
    unknown = da.from_array(frame.to_numpy(), chunks=(50, -1))
    unknown = unknown[unknown[:, 0] > 0]
    calls = [
        estimator.fit for estimator in (FeatureCharacterizer(), FeatureCleaner(), clone(codec))
    ]
    for call in (*calls, codec.transform, codec.score):
        with pytest.raises(TypeError, match=r"X is a Dask DataFrame, .*fit_chunks.*X\.compute"):
            call(rows)
        with pytest.raises(TypeError, match="X is a Dask Array, which does not know"):
            call(unknown)
    with pytest.raises(TypeError, match="X is a Dask Delayed, which does not know"):
        FeatureCharacterizer().fit(rows.to_delayed()[0])


def test_other_columns_are_refused_before_anything_is_computed(codec, bare, frame):
    pipe = Pipeline([("nested", Pipeline([("clean", FeatureCleaner()), ("vq", codec)]))])
    pipe.fit(frame)
    codec.set_params(encode="ordinal")
    rows = dd.from_pandas(frame, npartitions=2)
    for estimator in (codec, pipe):
        with pytest.raises(ValueError, match="feature names should match"):
            scale.transform(estimator, rows[list(frame.columns[::-1])])
        with pytest.raises(ValueError, match="is no code column of this codec"):
            scale.inverse_transform(estimator, rows)
    array = da.from_array(frame.to_numpy(), chunks=(50, -1))
    with pytest.raises(ValueError, match="X has 2 features"):
        scale.transform(bare, array[:, :2])
    with pytest.raises(ValueError, match="Codes have 40 columns"):
        scale.inverse_transform(bare, da.zeros((9, 40), chunks=(3, 40), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["frame", "array", "cut array"])
def test_a_codec_learns_from_a_collection_part_by_part(frame, kind):
    cells, codec = frame.to_numpy(), quick(fit_rows=70, random_state=None)
    computed = []

    def seen(part):
        computed.append(len(part))
        return part

    if kind == "frame":
        rows = dd.from_pandas(frame, npartitions=4, sort=False)
        X = rows.map_partitions(seen, meta=frame.iloc[:0])
    else:
        X = da.from_array(cells, chunks=(50, 5 if kind == "array" else 2))
        X = X.map_blocks(seen, meta=cells[:0])
    whole = frame if kind == "frame" else cells
    assert fit_chunks(codec, X) is codec
    expected = quick(fit_rows=70, random_state=None).fit(whole)
    np.testing.assert_array_equal(codec.transform(whole), expected.transform(whole))
    assert codec.training_["n_rows"] == 70
    assert sum(computed) == N * (3 if kind == "cut array" else 1)  # no part twice
    assert max(computed) < N
    drawn = sample_rows(X, 20)
    assert type(drawn) is type(whole)
    np.testing.assert_array_equal(drawn, sample_rows(whole, 20))


# --- characterizer and cleaner -------------------------------------------------------------------


def learn(estimator, X):
    fit = scale.characterize if isinstance(estimator, FeatureCharacterizer) else scale.fit_cleaner
    return fit(estimator, X)


def assert_learned_the_same(found, expected):
    """All that was fitted, but for the rows to add to, which follow from what is compared."""
    ours, theirs = vars(found), vars(expected)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name == "_header":  # no rows, thus no index
            assert ours[name].dtypes.equals(theirs[name].dtypes)
        elif isinstance(ours[name], pd.DataFrame):
            pd.testing.assert_frame_equal(ours[name], theirs[name], check_exact=True)
        elif not isinstance(ours[name], sampling.RowSample):
            np.testing.assert_equal(vars_of(ours[name]), vars_of(theirs[name]), strict=False)
    for name in ("rows", "ranks", "n_seen", "seed", "capacity"):
        np.testing.assert_array_equal(getattr(found._sample, name), getattr(expected._sample, name))


def vars_of(value):
    return vars(value) if hasattr(value, "__dataclass_fields__") else value


@pytest.fixture
def small_sample(monkeypatch):
    """Samples of 60 rows, fewer than the table has."""
    for name in ("MAX_ROWS", "MIN_ROWS"):
        monkeypatch.setattr(sampling, name, 60)
    monkeypatch.setattr(sampling, "_NUMBERS_AT_ONCE", 17)


LEARNERS = [FeatureCharacterizer(random_state=3), FeatureCleaner(caps="iqr", max_missing=0.5)]


@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, N), max_size=5))
def test_any_partitioning_gives_what_fit_gives(small_sample, estimator, frame, cuts):
    cells = frame.to_numpy()
    expected = clone(estimator).fit(cells)
    assert len(expected._sample.rows) == 60
    edges = [0, *sorted(cuts), N]
    sizes = tuple(b - a for a, b in pairwise(edges))
    found = learn(clone(estimator), da.from_array(cells, chunks=(sizes, 5)))
    assert_learned_the_same(found, expected)


@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
@pytest.mark.parametrize("most", [60, 10_000])
def test_data_frames_are_learned_from_by_position(monkeypatch, estimator, frame, most):
    monkeypatch.setattr(sampling, "MAX_ROWS", most)
    monkeypatch.setattr(sampling, "MIN_ROWS", most)
    frame = frame.astype({"b": "Float64", "c": np.float32})
    X = dd.from_pandas(frame.set_index(frame.index[::-1]), npartitions=5, sort=False)
    expected = clone(estimator).fit(frame)
    assert_learned_the_same(learn(clone(estimator), X), expected)
    few = X[X["a"] > frame["a"].median()]  # some partitions may end without rows
    expected = clone(estimator).fit(frame[frame["a"] > frame["a"].median()])
    assert_learned_the_same(learn(clone(estimator), few), expected)


@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
def test_partitions_without_rows_or_known_length(estimator, frame):
    cells = frame.to_numpy()
    X = da.from_array(cells, chunks=(25, 2))
    chosen = cells[:, 0] > np.sort(cells[:, 0])[-9]
    few = X[da.from_array(chosen, chunks=25)]
    assert np.isnan(few.chunks[0]).all()
    assert_learned_the_same(learn(clone(estimator), few), clone(estimator).fit(cells[chosen]))


@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
def test_masked_cells_are_missing_in_partitions(estimator, frame):
    masked = np.ma.masked_greater(frame.to_numpy(), 1.0)
    X = da.from_array(masked, chunks=(50, -1), asarray=False)
    expected = clone(estimator).fit(np.ma.filled(masked, np.nan))
    assert_learned_the_same(learn(clone(estimator), X), expected)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's
@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
def test_files_that_dask_reads_several_at_a_time(small_sample, estimator, frame, tmp_path):
    frame = frame.reset_index(drop=True)
    for i, rows in enumerate(np.array_split(np.arange(N), 6)):
        frame.iloc[rows].to_parquet(tmp_path / f"{i}.parquet", index=False)
    rows = dd.read_parquet(tmp_path)
    assert len(rows[["a"]].map_partitions(len).compute()) < rows.npartitions  # as it does
    chosen = frame["a"] > frame["a"].median()
    for X, whole in (
        (rows, frame),
        (rows[rows["a"] > frame["a"].median()], frame[chosen]),
        (
            rows[["a", "b", "c"]].assign(e=rows["d"] + 1),
            frame[["a", "b", "c"]].assign(e=frame["d"] + 1),
        ),
    ):
        assert_learned_the_same(learn(clone(estimator), X), clone(estimator).fit(whole))


@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
def test_learning_reads_a_partition_once_and_holds_no_table(small_sample, estimator, frame):
    computed = []
    X = da.from_array(frame.to_numpy(), chunks=(20, 5)).map_blocks(
        lambda part: computed.append(len(part)) or part, meta=frame.to_numpy()[:0]
    )
    learn(clone(estimator), X)
    assert computed == [20] * 6


@pytest.mark.parametrize("estimator", LEARNERS, ids=["characterizer", "cleaner"])
def test_errors_are_those_of_tables_in_memory(estimator, frame):
    for cell, named in ((np.inf, frame), (-np.inf, None)):
        wrong = frame.copy()
        wrong.loc["r77", "d"] = cell
        X = dd.from_pandas(wrong, npartitions=4, sort=False)
        if named is None:
            wrong = wrong.to_numpy()
            X = da.from_array(wrong, chunks=(50, 5))
        before = clone(estimator)
        with pytest.raises(ValueError, match="infinit") as in_memory:
            clone(estimator).fit(wrong)
        with pytest.raises(ValueError, match="infinit") as lazily:
            learn(before, X)
        assert str(lazily.value) == str(in_memory.value)
        if isinstance(estimator, FeatureCharacterizer):
            assert not hasattr(before, "categories_")
    huge = da.from_array(np.where(np.arange(10) < 9, 1.0, 1e200).reshape(5, 2), chunks=(2, 2))
    with pytest.raises(ValueError, match="'x1' has cells beyond 1e150"):
        learn(clone(estimator), huge)
    for rows in (0, 1):
        with pytest.raises(ValueError, match=f"Found array with {rows} sample"):
            learn(clone(estimator), da.from_array(np.zeros((rows, 3)), chunks=(1, 3)))
    with pytest.raises(TypeError, match="got DataFrame; what is in memory"):
        learn(clone(estimator), frame)
    with pytest.raises(ValueError, match="2 dimensions"):
        learn(clone(estimator), da.zeros((4, 2, 2)))
    with pytest.raises(ValueError, match="'d' of X is not numeric"):
        learn(
            clone(estimator),
            dd.from_pandas(frame.assign(d="text"), npartitions=2, sort=False),
        )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda X: X["a"], TypeError, r"got Series, which is one column.*X\.to_frame\(\)"),
        (lambda X: X.index, TypeError, r"got Index, which is one column"),
        (lambda X: X["a"].sum(), TypeError, "got Scalar, which is another collection"),
        (lambda X: dask.delayed(X), TypeError, "got Delayed.*from_delayed"),
        (lambda X: da.zeros(4), ValueError, r"2 dimensions is needed, got shape \(4,\)"),
        (lambda X: "no table at all", TypeError, "got str; what is in memory"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_computed(
    codec, frame, make, error, message
):
    wrong = make(dd.from_pandas(frame, npartitions=2, sort=False))
    for use in (
        lambda: scale.transform(codec, wrong),
        lambda: scale.inverse_transform(codec, wrong),
        lambda: scale.characterize(FeatureCharacterizer(), wrong),
        lambda: scale.fit_cleaner(FeatureCleaner(), wrong),
        *([] if isinstance(wrong, str) else [lambda: sample_rows(wrong)]),
    ):
        with pytest.raises(error, match=message):
            use()


def test_a_chunk_is_no_collection(frame):
    X = dd.from_pandas(frame, npartitions=2, sort=False)
    with pytest.raises(TypeError, match=r"Chunk 1 is a Dask DataFrame: give chunk\.compute"):
        sample_rows([frame, X])


@pytest.mark.parametrize(
    ("fit", "other", "wanted"),
    [
        (scale.characterize, HierarchicalVQVAE, "FeatureCharacterizer"),
        (scale.characterize, FeatureCleaner, "FeatureCharacterizer"),
        (scale.fit_cleaner, FeatureCharacterizer, "FeatureCleaner"),
    ],
)
def test_other_estimators_are_refused_by_name(frame, fit, other, wanted):
    with pytest.raises(TypeError, match=f"fits a {wanted}, got {other.__name__}: a codec is"):
        fit(other(), dd.from_pandas(frame, npartitions=2))


def test_parameters_are_checked_before_anything_is_read(frame):
    X = da.from_array(frame.to_numpy(), chunks=(50, 5))
    with pytest.raises(ValueError, match="'remainder' parameter"):
        scale.characterize(FeatureCharacterizer(remainder="none"), X)
    with pytest.raises(ValueError, match="needs max_correlation"):
        scale.fit_cleaner(FeatureCleaner(keep="informative", max_correlation=None), X)


def test_a_collection_that_gives_other_rows_every_time_is_refused(frame):
    calls = []

    def changing(part):
        calls.append(1)
        return part.iloc[: len(part) - len(calls)]

    X = dd.from_pandas(frame, npartitions=1).map_partitions(changing, meta=frame.iloc[:0])
    with pytest.raises(ValueError, match="119 rows when they were counted, and 118"):
        scale.characterize(FeatureCharacterizer(), X)


def test_columns_may_be_chosen_by_a_callable(frame):
    whole = frame.assign(d=np.arange(N))
    spec = {"whole": make_column_selector(dtype_include="int64"), "rest": ["a", "b", "c", "e"]}
    found = scale.characterize(
        FeatureCharacterizer(spec), dd.from_pandas(whole, npartitions=3, sort=False)
    )
    assert_learned_the_same(found, FeatureCharacterizer(spec).fit(whole))
    assert found.categories_["whole"].tolist() == [3]


def test_the_best_codec_of_a_search(frame):
    codec = quick()
    search = GridSearchCV(codec, {"beam_width": [2]}, cv=2).fit(frame)
    codes = scale.transform(search, dd.from_pandas(frame, npartitions=2, sort=False))
    found = codes.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, search.transform(frame))
    back = scale.inverse_transform(search, codes).compute(scheduler="synchronous")
    pd.testing.assert_frame_equal(back, search.inverse_transform(found))


def test_a_search_on_the_dask_backend(frame):
    distributed = pytest.importorskip("distributed", reason="extra 'scale'")
    codec = quick()
    search = GridSearchCV(codec, {"auto_compression_strategy": ["uniform", "water_filling"]}, cv=2)
    expected = search.fit(frame).cv_results_["mean_test_score"]
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_backend("dask"),
    ):
        found = search.fit(frame).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)


def test_steps_that_do_nothing_come_before_others(codec, frame):
    nothing = Pipeline([("skip", "passthrough")])
    inner = Pipeline([("skip", "passthrough"), ("clean", FeatureCleaner(caps=None))])
    pipe = Pipeline([("nothing", nothing), ("inner", inner), ("codec", clone(codec))]).fit(frame)
    X = dd.from_pandas(frame, npartitions=3, sort=False)
    rows = scale.inverse_transform(pipe, scale.transform(pipe, X)).compute()
    expected = pipe.inverse_transform(pipe.transform(frame))
    np.testing.assert_array_equal(rows, expected)
    assert list(rows.columns) == list(frame.columns)
    with pytest.raises(ValueError, match="same order"):
        scale.transform(pipe, X[list("bacde")])
