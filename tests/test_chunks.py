"""Tables worked on chunk by chunk: the same codes and rows, whatever the table is kept in."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from adaptive_vq import HierarchicalVQVAE, tables
from adaptive_vq.tables import joined, row_chunks

N = 300


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(N, 5))
    return table.astype(np.float32)


@pytest.fixture(scope="module")
def codec(X):
    return HierarchicalVQVAE(bits=10, max_epochs=1, random_state=0).fit(X)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 70)


@pytest.mark.parametrize("encode", ["ordinal", "token", "onehot", "embedding"])
def test_chunks_change_nothing(codec, X, encode, monkeypatch):
    codec.set_params(encode=encode)
    whole = codec.transform(X)
    back = codec.inverse_transform(whole)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 70)
    parts = codec.transform(X)
    assert type(parts) is type(whole)
    assert parts.dtype == whole.dtype
    dense = (part.toarray() if sp.issparse(part) else part for part in (parts, whole))
    np.testing.assert_array_equal(*dense)
    np.testing.assert_array_equal(codec.inverse_transform(parts), back)
    np.testing.assert_array_equal(codec.reconstruct(X), back)


def test_a_memory_map_is_never_read_as_a_whole(codec, X, small_chunks, tmp_path, monkeypatch):
    stored = np.memmap(tmp_path / "table", np.float32, "w+", shape=X.shape)
    stored[:] = X
    seen = []
    check = tables.check_table
    monkeypatch.setattr(
        "adaptive_vq._trained.check_table",
        lambda estimator, part, **kwargs: (
            seen.append(len(part)) or check(estimator, part, **kwargs)
        ),
    )
    codes = codec.set_params(encode="ordinal").transform(stored)
    assert seen == [70, 70, 70, 70, 20]
    np.testing.assert_array_equal(codes, codec.transform(X))


def test_chunks_of_data_frames(X, small_chunks):
    frame = pd.DataFrame(X, columns=list("abcde"), index=np.arange(N)[::-1])
    codec = HierarchicalVQVAE(bits=10, max_epochs=0, random_state=0).fit(frame)
    codes = codec.transform(frame)
    np.testing.assert_array_equal(codec.transform(pl.DataFrame(X, schema=list("abcde"))), codes)
    named = pd.DataFrame(codes, columns=codec.get_feature_names_out())
    pd.testing.assert_frame_equal(
        codec.inverse_transform(named), codec.inverse_transform(codes), check_exact=True
    )


def test_the_last_chunk_is_checked_like_the_first(codec, X, small_chunks):
    broken = X.copy()
    broken[-1, 3] = np.inf
    with pytest.raises(ValueError, match="x3"):
        codec.transform(broken)
    codes = codec.set_params(encode="ordinal").transform(X)
    codes[-1, 0] = 255
    with pytest.raises(ValueError, match="must lie between"):
        codec.inverse_transform(codes)


def test_what_cannot_be_cut_comes_back_whole():
    rows = [[1.0], [2.0], [3.0]]
    assert list(row_chunks(rows, 2)) == [rows]


@pytest.mark.parametrize("n", [1, 3])
def test_joined(n):
    parts = [np.arange(4).reshape(2, 2) + i for i in range(n)]
    np.testing.assert_array_equal(joined(list(parts)), np.concatenate(parts))
    stacked = joined([sp.csr_matrix(part) for part in parts])
    np.testing.assert_array_equal(stacked.toarray(), np.concatenate(parts))
