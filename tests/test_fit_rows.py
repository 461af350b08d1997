"""Rows that a codec learns from: all of a small table, the same draw from a large one."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

import adaptive_vq
from adaptive_vq import AdaptiveRatioSelector, FeatureCleaner, HierarchicalVQVAE
from adaptive_vq.streaming import drawn_rows, fit_chunks, sample_rows
from adaptive_vq.tables import CHUNK_ROWS

N, MOST = 400, 150
NAMES = list("abcd")


def codec(**parameters):
    defaults = {"bits": 8, "max_epochs": 1, "early_stopping": False, "fit_rows": MOST}
    defaults["random_state"] = 3
    if parameters.get("bits", 8) is not None:  # where it is, a step before makes the plan
        defaults["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(**(defaults | parameters))


def first_half(X, names=None):
    return names[:2] if names is not None else X[:, :2]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(N, 2)), 2, axis=1) + 0.2 * rng.normal(size=(N, 4))
    X[5, 2] = np.nan
    return X.astype(np.float32)


@pytest.fixture(scope="module")
def expected(X):
    """What is learned from the drawn rows alone."""
    return codec().fit(sample_rows(X, MOST, random_state=3))


def assert_same(one, other):
    assert one._state.keys() == other._state.keys()
    for name in one._state:
        np.testing.assert_array_equal(one._state[name], other._state[name])
    np.testing.assert_array_equal(one.n_capped_, other.n_capped_)


def test_a_large_table_is_learned_from_drawn_rows(X, expected):
    fitted = codec().fit(X)
    assert fitted.training_["n_rows"] == MOST
    assert_same(fitted, expected)
    assert fitted.transform(X).shape[0] == N
    aside = codec(early_stopping=True, auto_compression_strategy="rate_distortion")
    assert_same(clone(aside).fit(X), aside.fit(sample_rows(X, MOST, random_state=3)))


@pytest.mark.parametrize("most", [N, N + 1, None])
def test_a_table_of_as_many_rows_is_learned_from_as_a_whole(X, most):
    fitted = codec(fit_rows=most).fit(X)
    assert fitted.training_["n_rows"] == N
    assert_same(fitted, codec(fit_rows=10 * N).fit(X))


@pytest.fixture(scope="module")
def named(X):
    """What is learned from the drawn rows with names."""
    return codec().fit(pd.DataFrame(sample_rows(X, MOST, random_state=3), columns=NAMES))


@pytest.mark.parametrize("kind", ["frame", "polars", "arrow", "list", "memmap", "cleaned"])
def test_of_every_kind_the_same_rows_are_drawn(X, expected, named, kind, tmp_path):
    parameters = {}
    if kind == "frame":
        given, expected = pd.DataFrame(X, columns=NAMES, index=np.arange(N)[::-1]), named
    elif kind == "polars":
        given, expected = pl.DataFrame(X, schema=NAMES), named
    elif kind == "arrow":
        given, expected = pl.DataFrame(X, schema=NAMES).to_arrow(), named
    elif kind == "list":
        given = X.tolist()
    elif kind == "memmap":
        given = np.memmap(tmp_path / "table", np.float32, "w+", shape=X.shape)
        given[:] = X
    else:
        given, parameters["cleaner"] = X, FeatureCleaner(max_correlation=None)
        expected = codec(**parameters).fit(sample_rows(X, MOST, random_state=3))
    assert_same(codec(**parameters).fit(given), expected)


def test_the_seed_draws(X):
    first, other = codec().fit(X), codec(random_state=4).fit(X)
    assert not np.array_equal(first.training_["energy"], other.training_["energy"])
    assert_same(codec(random_state=None).fit(X), codec(random_state=None).fit(X))


def test_rows_of_weight_zero_are_not_drawn(X):
    weight = np.zeros(N)
    weight[7 : 7 + MOST] = 2.0
    weighted = codec().fit(X, sample_weight=weight)
    assert_same(weighted, codec().fit(X[7 : 7 + MOST], sample_weight=np.full(MOST, 2.0)))
    weight[:] = 1.0
    assert_same(codec().fit(X, sample_weight=weight), codec().fit(X))
    with pytest.raises(ValueError, match="sample_weight"):
        codec().fit(X, sample_weight=weight[1:])


@pytest.mark.parametrize("row", [0, N - 1])
def test_every_row_is_checked(X, row, monkeypatch):
    monkeypatch.setattr("adaptive_vq.tables.CHUNK_ROWS", 64)
    spoiled = X.copy()
    spoiled[row, 1] = np.inf
    with pytest.raises(ValueError, match=r"infinity.*'x1'"):
        codec().fit(spoiled)
    with pytest.raises(ValueError, match=r"infinity.*'x1'"):
        fit_chunks(codec(), np.array_split(spoiled, 3))


def test_a_plan_made_for_all_rows_reaches_the_codec(X):
    pipeline = make_pipeline(AdaptiveRatioSelector("balanced", bits=6), codec(bits=None)).fit(X)
    assert pipeline[-1].budget_ == 6
    assert pipeline[-1].training_["n_rows"] == MOST


@pytest.mark.parametrize("cuts", [[], [1], [100, 100, 399], list(range(7, N, 13))])
def test_any_chunks_give_the_codes_of_the_whole_table(X, expected, cuts):
    fitted = fit_chunks(codec(), np.split(X, cuts))
    assert_same(fitted, expected)
    np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))


def test_chunks_of_parquet_and_a_pipeline(X, named, tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(X, columns=NAMES)
    (tmp_path / "parts").mkdir()
    for i, part in enumerate(np.array_split(np.arange(N), 3)):
        frame.iloc[part].to_parquet(tmp_path / "parts" / f"{i}.parquet")
    frame.to_parquet(tmp_path / "whole.parquet", row_group_size=50)
    for path in (tmp_path / "parts", str(tmp_path / "whole.parquet")):
        fitted = fit_chunks(codec(), path)
        assert_same(fitted, named)
        assert list(fitted.feature_names_in_) == NAMES
    pipeline = make_pipeline(AdaptiveRatioSelector(bits=8, random_state=3), codec(bits=None))
    fitted = fit_chunks(pipeline, tmp_path / "parts")
    drawn = sample_rows(frame, MOST, random_state=3)
    np.testing.assert_array_equal(fitted.transform(frame), pipeline.fit(drawn).transform(frame))
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no file that ends in"):
        fit_chunks(codec(), tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no file"):
        fit_chunks(codec(), tmp_path / "absent.parquet")


@pytest.mark.parametrize("cuts", [[1], [100, 100, 399]])
def test_passes_over_all_rows_lower_the_error_whatever_the_chunks(X, expected, cuts, monkeypatch):
    monkeypatch.setattr("adaptive_vq.streaming.CHUNK_ROWS", 90)
    fresh = np.repeat(np.random.default_rng(9).normal(size=(500, 2)), 2, axis=1)
    judged = {"early_stopping": True, "auto_compression_strategy": "rate_distortion"}
    few = codec(fit_rows=30, **judged)
    start = fit_chunks(few, X).score(fresh)
    moved = fit_chunks(few, np.split(X, cuts), n_passes=2)
    assert moved.score(fresh) > start
    assert moved.training_["n_rows"] > N
    assert_same(moved, fit_chunks(codec(fit_rows=30, **judged), [X], n_passes=2))


def test_a_pass_that_does_not_help_is_undone_and_the_last_one(X, expected, monkeypatch):
    calls = []

    def worse(self, rows):
        calls.append(len(rows))
        self._state = {name: 0 * value for name, value in self._state.items()}
        self.training_ = {"n_rows": 0}

    monkeypatch.setattr(HierarchicalVQVAE, "partial_fit", worse)
    fitted = fit_chunks(codec(), X, n_passes=3)
    assert len(calls) == 1
    assert 0.85 * N < calls[0] < 0.95 * N  # a tenth takes no part
    assert_same(fitted, expected)
    assert fitted.training_["n_rows"] == MOST


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([0.1, 0.1], 0), ([0.1, np.nan], 0), ([0.1, 0.5, 0.3], 1), ([0.1, 0.2, 0.3, 0.4], 3)],
)
def test_a_pass_must_do_better_than_the_one_before(X, scores, kept, monkeypatch):
    to_come = iter(scores)

    def move(self, rows):
        self.training_ = {"passes": self.training_.get("passes", 0) + 1}

    monkeypatch.setattr(HierarchicalVQVAE, "partial_fit", move)
    monkeypatch.setattr(HierarchicalVQVAE, "score", lambda self, rows: next(to_come))
    fitted = fit_chunks(codec(), X, n_passes=3)
    assert next(to_come, None) is None  # no pass follows one that is undone
    assert fitted.training_.get("passes", 0) == kept


@pytest.mark.parametrize("most", [MOST, None])
def test_chunks_take_from_a_generator_what_fit_takes(X, most):
    one, other = np.random.RandomState(0), np.random.RandomState(0)
    chunks = fit_chunks(codec(fit_rows=most, random_state=one), [X[:100], X[100:]])
    assert_same(chunks, codec(fit_rows=most, random_state=other).fit(X))
    assert one.random_sample() == other.random_sample()


@pytest.mark.parametrize("random_state", [int, np.random.RandomState])
def test_every_pass_keeps_the_same_rows_aside_and_none_of_those_drawn(X, random_state, monkeypatch):
    moved, judged = [], []

    def score(self, rows):
        judged.append(np.array(rows))
        return len(judged)  # every pass is better

    monkeypatch.setattr("adaptive_vq.streaming._MOST_ASIDE", 20)
    monkeypatch.setattr(HierarchicalVQVAE, "score", score)
    monkeypatch.setattr(HierarchicalVQVAE, "partial_fit", lambda self, rows: moved.append(rows))
    fit_chunks(codec(random_state=random_state(0)), X, n_passes=2)
    np.testing.assert_array_equal(*moved)
    np.testing.assert_array_equal(judged[0], judged[-1])
    assert 10 < len(judged[0]) < 30
    aside = set(map(tuple, judged[0]))
    assert aside.isdisjoint(map(tuple, moved[0]))
    drawn = drawn_rows(codec(random_state=random_state(0)), X)
    assert aside.isdisjoint(map(tuple, drawn))


def test_a_pass_that_fails_leaves_the_fit(X, expected, monkeypatch):
    monkeypatch.setattr("adaptive_vq.streaming.CHUNK_ROWS", 90)
    move, calls = HierarchicalVQVAE.partial_fit, []

    def fails(self, rows):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return move(self, rows)

    monkeypatch.setattr(HierarchicalVQVAE, "partial_fit", fails)
    fitted = codec()
    with pytest.raises(KeyboardInterrupt):
        fit_chunks(fitted, X, n_passes=1)
    assert_same(fitted, expected)


def test_passes_of_a_pipeline(X):
    wide = np.column_stack([X, np.ones(N)])
    pipeline = make_pipeline(FeatureCleaner(), codec(fit_rows=60))
    fitted = fit_chunks(pipeline, [wide[:150], wide[150:]], n_passes=1)
    assert fitted.transform(wide).shape[0] == N
    assert fitted[-1].n_features_in_ < wide.shape[1]


def test_passes_go_through_all_steps_of_a_pipeline_in_a_pipeline(X, monkeypatch):
    moved = []
    monkeypatch.setattr(HierarchicalVQVAE, "partial_fit", lambda self, rows: moved.append(rows))
    inner = make_pipeline(VarianceThreshold(), FunctionTransformer(np.negative), codec())
    fit_chunks(make_pipeline(MinMaxScaler(), inner), X, n_passes=1)
    assert -0.6 < np.nanmedian(moved[0]) < -0.4


def test_an_iterator_can_not_be_read_again(X):
    with pytest.raises(ValueError, match="iterator does not allow"):
        fit_chunks(codec(), iter([X]), n_passes=1)
    with pytest.raises(ValueError, match="n_passes"):
        fit_chunks(codec(), [X], n_passes=-1)


def test_a_bad_number_of_rows_is_refused(X):
    with pytest.raises(ValueError, match="'fit_rows'"):
        codec(fit_rows=1).fit(X)


def test_it_is_kept_with_the_model(expected, tmp_path):
    adaptive_vq.save(expected, tmp_path / "model.safetensors")
    assert adaptive_vq.load(tmp_path / "model.safetensors").fit_rows == MOST


def test_a_table_is_checked_in_more_than_one_chunk():
    assert HierarchicalVQVAE().fit_rows > CHUNK_ROWS


@pytest.mark.parametrize(
    ("cleaner", "told"),
    [
        (SimpleImputer(), r"cleaner=SimpleImputer\(\)\) could decode no row.*add_indicator"),
        (FunctionTransformer(first_half, feature_names_out=first_half), r"\(1, 2\), not \(1, 4\)"),
    ],
)
def test_cleaner_without_a_way_back_is_refused_before_the_work(X, cleaner, told):
    with pytest.raises(ValueError, match=told):
        codec(cleaner=cleaner).fit(X)
    for fine in (VarianceThreshold(), MinMaxScaler(), FeatureCleaner()):  # with a missing cell
        vq = codec(cleaner=fine, max_epochs=0, auto_compression_strategy="water_filling").fit(X)
        assert vq.reconstruct(X).shape == X.shape
