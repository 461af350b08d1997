"""Dask collections: lazy, right names and types, the same codes for any partitioning."""

from itertools import pairwise

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCleaner, HierarchicalVQVAE, scale
from adaptive_vq.streaming import fit_chunks, sample_rows

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


@pytest.fixture(scope="module")
def codec(frame):
    return HierarchicalVQVAE(bits=10, max_epochs=0, random_state=0).fit(frame)


@pytest.fixture(scope="module")
def bare(frame):
    return HierarchicalVQVAE(bits=10, max_epochs=0, random_state=0).fit(frame.to_numpy())


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
    onehot = HierarchicalVQVAE(bits=10, max_epochs=0, encode="onehot").fit(frame)
    with pytest.raises(ValueError, match="sparse_output=False"):
        scale.transform(onehot, dd.from_pandas(frame, npartitions=2))


@pytest.mark.parametrize("kind", ["frame", "array", "cut array"])
def test_a_codec_learns_from_a_collection_part_by_part(frame, kind):
    cells, codec = frame.to_numpy(), HierarchicalVQVAE(bits=10, max_epochs=0, fit_rows=70)
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
    expected = HierarchicalVQVAE(bits=10, max_epochs=0, fit_rows=70).fit(whole)
    np.testing.assert_array_equal(codec.transform(whole), expected.transform(whole))
    assert codec.training_["n_rows"] == 70
    assert sum(computed) == N * (3 if kind == "cut array" else 1)  # no part twice
    assert max(computed) < N
    drawn = sample_rows(X, 20)
    assert type(drawn) is type(whole)
    np.testing.assert_array_equal(drawn, sample_rows(whole, 20))


def test_a_search_on_the_dask_backend(frame):
    distributed = pytest.importorskip("distributed", reason="extra 'scale'")
    codec = HierarchicalVQVAE(bits=10, max_epochs=0, random_state=0)
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
