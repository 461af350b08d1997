"""Rows drawn from tables that are larger than memory."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from sklearn.model_selection import GridSearchCV

from adaptive_vq import AdaptiveRatioSelector, FeatureCleaner, HierarchicalVQVAE, _reservoir
from adaptive_vq._reservoir import blocks_of
from adaptive_vq.streaming import fit_chunks, sample_rows

N = 500


@pytest.fixture
def X():
    return np.column_stack([np.arange(N), -np.arange(N)]).astype(np.float32)


@pytest.mark.parametrize("cuts", [[], [1], [100, 100, 499], list(range(7, N, 13))])
def test_any_chunking_gives_the_same_rows(X, cuts):
    drawn = sample_rows(np.split(X, cuts), 60, random_state=3)
    np.testing.assert_array_equal(drawn, sample_rows(X, 60, random_state=3))
    assert (np.diff(drawn[:, 0]) > 0).all()


def test_every_row_is_as_likely(X):
    count = np.zeros(N)
    for seed in range(300):
        count[sample_rows(np.split(X, 5), 50, random_state=seed)[:, 0].astype(int)] += 1
    parts = count.reshape(10, -1).sum(1)
    assert parts.sum() == 300 * 50
    assert np.abs(parts - 1_500).max() < 150  # four standard deviations


@pytest.mark.parametrize("n_rows", [N, N + 1])
def test_all_rows_where_there_are_no_more(X, n_rows):
    np.testing.assert_array_equal(sample_rows(np.array_split(X, 3), n_rows), X)


def test_frames_stay_frames(X):
    expected = sample_rows(X, 9)
    frame = pd.DataFrame(X, columns=["a", "b"], index=np.arange(N)[::-1])
    drawn = sample_rows([frame[:77], frame[77:]], 9)
    pd.testing.assert_frame_equal(drawn, frame[frame["a"].isin(expected[:, 0])])
    polar = pl.DataFrame(X, schema=["a", "b"])
    drawn = sample_rows([polar[:77], polar[77:]], 9)
    assert isinstance(drawn, pl.DataFrame)
    np.testing.assert_array_equal(drawn.to_numpy(), expected)


def test_a_memory_map_is_left_alone(X, tmp_path):
    stored = np.memmap(tmp_path / "table", np.float32, "w+", shape=X.shape)
    stored[:] = X
    drawn = sample_rows(stored, 9)
    assert type(drawn) is np.ndarray
    assert not isinstance(drawn.base, np.memmap)
    np.testing.assert_array_equal(drawn, sample_rows(X, 9))


def test_what_cannot_be_drawn_from_is_refused(X):
    with pytest.raises(ValueError, match="no row"):
        sample_rows([])
    with pytest.raises(ValueError, match="no row"):
        sample_rows(X[:0])
    with pytest.raises(ValueError, match="the same"):
        sample_rows([X, X[:, :1]], 10)
    with pytest.raises(ValueError, match="n_rows"):
        sample_rows(X, 0)


@pytest.fixture
def copied(monkeypatch):
    """Rows that were copied to join parts."""
    counts, join = [], _reservoir._joined

    def counting(parts):
        counts.append(sum(part.shape[0] for part in parts) if len(parts) > 1 else 0)
        return join(parts)

    monkeypatch.setattr(_reservoir, "_joined", counting)
    return counts


@pytest.mark.parametrize("n_rows", [500, 20_000, None])
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_small_chunks_cost_what_their_rows_cost(n_rows, kind, copied):
    X = np.arange(10_000.0).reshape(-1, 1)
    drawn = sample_rows((kind(X[i : i + 10]) for i in range(0, 10_000, 10)), n_rows)
    assert sum(copied) < 6 * len(X)  # 1,000 chunks: copies of the whole would be 100 times as many
    np.testing.assert_array_equal(np.asarray(drawn), sample_rows(X, n_rows))


@pytest.mark.parametrize("size", [1, 7, 250, 999])
def test_blocks_are_the_same_for_any_chunks(size, copied):
    X = np.arange(1_000.0).reshape(-1, 1)
    blocks = list(blocks_of((X[i : i + size] for i in range(0, 1_000, size)), 300))
    assert [len(block) for block in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate(blocks), X)
    assert sum(copied) <= 3 * len(X)


def test_a_reader_may_fill_the_same_buffer_again():
    X, buffer = np.arange(90.0).reshape(-1, 1), np.empty((9, 1))

    def chunks():
        for start in range(0, 90, 9):
            buffer[:] = X[start : start + 9]
            yield buffer

    np.testing.assert_array_equal(np.concatenate(list(blocks_of(chunks(), 20))), X)
    np.testing.assert_array_equal(sample_rows(chunks(), None), X)


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_a_chunk_of_which_no_row_is_drawn_has_its_say_in_the_type(kind):
    whole, half = np.arange(4).reshape(-1, 1), np.full((4, 1), 0.5)
    seed = next(s for s in range(99) if np.random.RandomState(s).random_sample(84).argmin() < 4)
    drawn = sample_rows([*[kind(whole)] * 20, kind(half)], 1, random_state=seed)
    assert np.asarray(drawn).dtype == np.float64


@pytest.fixture
def frame(X):
    return pd.DataFrame(X, columns=["a", "b"])


@pytest.mark.parametrize("kind", ["Table", "RecordBatch"])
def test_chunks_of_pyarrow_are_data_frames(frame, kind):
    made = getattr(pytest.importorskip("pyarrow"), kind).from_pandas
    expected = sample_rows(frame, 9).reset_index(drop=True)
    for table in ([made(frame[:77]), made(frame[77:])], made(frame)):
        drawn = sample_rows(table, 9)
        pd.testing.assert_frame_equal(drawn.reset_index(drop=True), expected)


def test_tensors_are_arrays(X):
    drawn = sample_rows([torch.from_numpy(X[:77]), torch.from_numpy(X[77:])], 9)
    np.testing.assert_array_equal(drawn, sample_rows(X, 9))


def test_columns_of_a_dask_array_may_be_in_several_blocks(X):
    da = pytest.importorskip("dask.array", reason="extra 'scale'")
    drawn = sample_rows(da.from_array(X, chunks=(100, 1)), 9)
    np.testing.assert_array_equal(drawn, sample_rows(X, 9))


@pytest.mark.parametrize("other", [pl.Int64, pl.Boolean, pl.Null])
@pytest.mark.parametrize("order", [1, -1])
def test_polars_chunks_may_differ_in_types_of_numbers(frame, other, order):
    cells = [None, None] if other == pl.Null else [0, 1]
    second = pl.DataFrame({"a": cells}).cast(other)
    chunks = [pl.DataFrame({"a": [0.5]}), second][::order]
    drawn = sample_rows(chunks, None)
    assert drawn["a"].dtype == pl.Float64
    assert drawn["a"].to_list() == ([0.5, *cells] if order == 1 else [*cells, 0.5])


def test_chunks_without_rows_say_nothing(X):
    drawn = sample_rows([X[:77], np.empty((0, 5)), pl.DataFrame(), X[77:]], 9)
    np.testing.assert_array_equal(drawn, sample_rows(X, 9))


def _polar(frame, dtype):
    return pl.from_pandas(frame).with_columns(pl.col("b").cast(dtype))


@pytest.mark.parametrize(
    ("second", "error", "message"),
    [
        (lambda f: f.to_numpy().tolist(), TypeError, r"Chunk 1 is a list of rows: give np\.asarr"),
        (lambda f: f.to_numpy()[0].tolist(), TypeError, r"a list of cells.*np\.asarray\(table\)"),
        (lambda f: "b.parquet", TypeError, r"1 is 'b\.parquet': .*read_parquet\('b\.parquet'\)"),
        (lambda f: 5, TypeError, "Chunk 1 is a int: give arrays or DataFrames"),
        (lambda f: pl.from_pandas(f).lazy(), TypeError, r"LazyFrame.*chunk\.collect\(\)"),
        (lambda f: f["a"], ValueError, r"Chunk 1 is a Series of shape \(300,\)"),
        (lambda f: f.to_numpy()[0], ValueError, r"Chunk 1 .*a single row is chunk\.reshape"),
        (lambda f: torch.ones(3, 2).bfloat16(), TypeError, r"Chunk 1 is a tensor of bfloat16"),
        (lambda f: sp.csr_array(f), TypeError, r"Chunk 1 is sparse: give chunk\.toarray"),
        (lambda f: f.to_numpy(), TypeError, r"Chunk 1 \(rows 200 to 499.*a NumPy array, the first"),
        (lambda f: f[["a"]], ValueError, r"Chunk 1 \(rows 200 to 499.*'b' is missing"),
        (lambda f: f.assign(c=1.0), ValueError, "Chunk 1 .*'c' is new"),
        (lambda f: f[["b", "a"]], ValueError, "Chunk 1 .*'a' is at another place"),
        (lambda f: f[["a", "b", "a"]], ValueError, "Chunk 1 .*3 instead of 2, some of one name"),
    ],
)
def test_a_chunk_that_is_not_like_the_first_is_named(frame, second, error, message):
    for read in (sample_rows, lambda chunks: fit_chunks(HierarchicalVQVAE(bits=4), chunks)):
        with pytest.raises(error, match=message):
            read([frame[:200], second(frame[200:])])


def test_text_where_there_were_numbers_is_refused(frame):
    polar = [_polar(frame[:200], pl.Float64), _polar(frame[200:], pl.String)]
    with pytest.raises(ValueError, match=r"Chunk 1 .*holds String in column 'b', where.*numbers"):
        sample_rows(polar)
    with pytest.raises(ValueError, match=r"Chunk 1 .*holds text in its cells, where.*numbers"):
        sample_rows([np.zeros((3, 1)), np.array([["a"]])])


def test_a_chunk_that_can_not_be_fitted_is_named(X):
    broken = X.copy()
    broken[260, 1] = np.inf
    with pytest.raises(ValueError, match=r"Chunk 2 \(rows 200 to 299, .*infinity.*'x1'"):
        fit_chunks(HierarchicalVQVAE(bits=4), np.split(broken, [100, 200, 300]))


@pytest.mark.parametrize("table", [None, 3])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(TypeError, match="is no table: give an array"):
        sample_rows(table)


@pytest.mark.parametrize(
    ("estimator", "told"),
    [
        (GridSearchCV(HierarchicalVQVAE(), {"bits": [4]}), r"got GridSearchCV: .*best_estimator_"),
        (FeatureCleaner(), r"got FeatureCleaner, whose partial_fit takes one after the other\.$"),
        (AdaptiveRatioSelector(), r"got AdaptiveRatioSelector\.$"),
        (HierarchicalVQVAE, r"got type\.$"),
    ],
)
def test_what_does_not_fit_chunks_is_told_only_what_it_has(estimator, told):
    with pytest.raises(TypeError, match=told) as found:
        fit_chunks(estimator, [np.eye(4)])
    if hasattr(estimator, "refit"):
        assert "partial_fit" not in str(found.value)
