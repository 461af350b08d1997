"""Edges of what is taken: sizes without a code, far codes, rows that hardly differ."""

import numpy as np
import pandas as pd
import pytest

from adaptive_vq import AdaptiveRatioSelector, HierarchicalVQVAE
from adaptive_vq.metrics import category_nmse, reconstruction_nmse

RNG = np.random.default_rng(0)
X = np.repeat(RNG.normal(size=(120, 2)), 3, axis=1) + 0.2 * RNG.normal(size=(120, 6))


def codec(**parameters) -> HierarchicalVQVAE:
    return HierarchicalVQVAE(**{"bits": 12, "max_epochs": 0, "random_state": 0} | parameters)


@pytest.mark.parametrize("sizes", [1, [1, 1, 1], {"cluster_1": 1, "cluster_2": 1}])
def test_sizes_that_leave_no_code_are_told(sizes):
    plan = {"auto_compression_strategy": "uniform"}
    with pytest.warns(UserWarning, match="codebook_sizes=.* leaves no code"):
        assert codec(codebook_sizes=sizes, **plan).fit(X).n_bits_ == 0
    assert codec(codebook_sizes=[2, 1, 1], **plan).fit(X).n_bits_ == 2


def test_codes_in_half_precision_decode():
    vq = codec(encode="onehot", sparse_output=False).fit(X)
    codes = vq.transform(X)
    np.testing.assert_array_equal(
        vq.inverse_transform(codes.astype(np.float16)), vq.inverse_transform(codes)
    )


@pytest.mark.parametrize("factor", [1e25, 1e60, np.inf, np.nan])
def test_embedded_codes_that_no_codeword_is_nearest_to_are_refused(factor):
    vq = codec(encode="embedding").fit(X)
    codes = np.ones(vq.transform(X).shape)
    assert len(vq.inverse_transform(1e15 * codes)) == len(X)
    with pytest.raises(ValueError, match="'cluster_1__L0a' must be finite, and small enough"):
        vq.inverse_transform(factor * codes)


@pytest.mark.parametrize(("level", "told"), [(0, "differ."), (1e12, "differ by more than round")])
def test_rows_that_differ_by_rounding_only_are_told_so(level, told):
    rows = level + (X[:40] if level else 0.0 * X[:40])
    rows[3, :] = np.nan
    with pytest.warns(UserWarning, match=f"No column of X varies.*Give rows that {told}"):
        codec().fit(rows)


@pytest.mark.parametrize(
    "turned",
    [
        lambda table: table.astype(pd.SparseDtype(float)),
        lambda table: table.astype(pd.SparseDtype(float, 0.0)),
        lambda table: table.astype(object).where(table.notna(), pd.NA),
        lambda table: table.astype("Float64"),
        lambda table: table.astype("float64[pyarrow]"),
    ],
)
def test_errors_are_taken_of_the_tables_that_estimators_take(turned):
    table = pd.DataFrame(np.where(X > 2, np.nan, X), columns=list("abcdef"))
    vq = codec().fit(turned(table))
    back = vq.inverse_transform(vq.transform(turned(table)))
    pairs = {"all": range(6), "a": [0]}
    assert category_nmse(turned(table), back, pairs) == category_nmse(table, back, pairs)
    assert reconstruction_nmse(turned(table), turned(back)) == reconstruction_nmse(table, back)


@pytest.mark.parametrize(
    "altered",
    [
        {"categories": {"a": [99]}},
        {"categories": {"a": [0, 1, 2, 3, 4]}},
        {"categories": None},
        {"cuts": [{"a": [0, 0, 1, 2, 3, 4]}]},
        {"units": 5},
        {"by": None},
        {"categories": {"a": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}},
        {"columns": 6},
        {"columns": ["6", ""]},
        {"plan": 5},
        {"plan": {"categories": {"a": ["x"]}}},
    ],
)
def test_notes_that_were_altered_are_refused(altered):
    selector = AdaptiveRatioSelector("uniform", bits=8)
    table = selector.fit_transform(pd.DataFrame(X, columns=list("abcdef")))
    table.attrs["adaptive_vq"] |= altered
    for step in (selector, HierarchicalVQVAE(max_epochs=0)):
        with pytest.raises(ValueError, match=r"holds a note that no step .* Delete it"):
            step.fit(table)
