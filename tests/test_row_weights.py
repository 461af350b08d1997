"""Rows of any weight, of none, and what is said where steps do not get them."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq._statistics import column_quantiles
from adaptive_vq.metrics import (
    category_nmse,
    diagnostics_scorer,
    quality_scorer,
    reconstruction_nmse,
    utilization_scorer,
    worst_category_scorer,
)
from adaptive_vq.weights import merge_rows
from quick import NAMES, X, codec


def test_large_weights_are_no_numbers_of_rows(cells):
    weight = 1 / np.random.default_rng(0).uniform(1e-9, 2e-9, len(cells)) ** 2
    large = codec(bits=8).fit(cells, sample_weight=weight)
    small = codec(bits=8).fit(cells, sample_weight=weight / weight.mean())
    assert large.score(cells) == pytest.approx(small.score(cells), abs=1e-3)


def test_few_rows_with_holes_count_as_often_as_their_weight(cells):
    some = cells[:30].copy()
    some[np.random.default_rng(1).random(some.shape) < 0.1] = np.nan
    weight = np.where(np.arange(30) < 14, 2, 1)
    weighted = codec(bits=8).fit(some, sample_weight=weight)
    repeated = codec(bits=8).fit(some.repeat(weight, axis=0))
    np.testing.assert_array_equal(weighted.transform(cells), repeated.transform(cells))
    rows, mass = merge_rows(np.array([[1, np.nan], [1, np.nan], [2, 3.0]]), None)
    np.testing.assert_array_equal(rows, [[1, np.nan], [2, 3]])
    np.testing.assert_array_equal(mass, [2, 1])


def test_a_weight_next_to_nothing(cells):
    weight = np.ones(160)
    weight[3] = 1e-310
    for scaler in ("standard", "quantile"):
        fitted = codec(scaler=scaler).fit(cells, sample_weight=weight)
        assert np.isfinite(fitted.reconstruct(cells)).all()
        assert fitted.score(cells) > 0.9
    weight[3] = 1e-20
    ends = column_quantiles(cells, weight, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(ends, [cells.min(axis=0), cells.max(axis=0)])


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


@pytest.fixture(scope="module")
def named() -> HierarchicalVQVAE:
    return codec().fit(pd.DataFrame(X, columns=NAMES))


def arrow(table):
    return pa.Table.from_pandas(table, preserve_index=False) if hasattr(table, "columns") else table


CONTAINERS = [np.asarray, pd.DataFrame, pl.DataFrame, arrow, list]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("cell", [np.inf, np.nan, 1e300])
def test_a_row_of_weight_0_is_judged_as_no_row(fitted, named, cell, container):
    table, weight = pd.DataFrame(X, columns=NAMES), np.ones(len(X))
    fitted = fitted if container in (list, np.asarray) else named
    for place in (3, 50):
        weight[place] = 0
        table.iloc[place, 2] = cell
    kept = table[weight > 0]
    if container in (list, np.asarray):
        table, kept = table.to_numpy(), kept.to_numpy()
    given, expected = container(table), container(kept)
    for kind in (list, pd.Series, pl.Series):
        assert fitted.score(given, sample_weight=kind(weight)) == fitted.score(expected)
    for scorer in (quality_scorer, worst_category_scorer, utilization_scorer, diagnostics_scorer):
        assert scorer(fitted, given, sample_weight=weight) == pytest.approx(
            scorer(fitted, expected), rel=1e-12
        )


@pytest.mark.parametrize("cell", [np.inf, np.nan, 1e300])
def test_figures_leave_out_rows_of_weight_0(cell):
    given = {"X": [[1.0], [2.0], [cell]], "X_hat": [[1.1], [2.0], [cell]]}
    figure = reconstruction_nmse(**given, sample_weight=[1, 1, 0])
    assert figure == pytest.approx(0.02)
    per_category = category_nmse(**given, categories={"a": [0]}, sample_weight=[1, 1, 0])
    assert per_category == {"a": figure}
    if cell == np.inf:
        with pytest.raises(ValueError, match="Input X contains infinity"):
            reconstruction_nmse(**given, sample_weight=[1, 1, 1])


def test_weights_that_are_none_are_refused_as_before(fitted):
    for wrong in ([1, 0], [0] * len(X), ["a"] * len(X), [-1, *[0] * (len(X) - 1)]):
        for judge in (fitted.score, lambda X, **w: quality_scorer(fitted, X, **w)):
            with pytest.raises(ValueError, match=r"^sample_weight"):
                judge(X, sample_weight=wrong)


@pytest.mark.parametrize("ratios", ["auto", AdaptiveRatioSelector("uniform")])
def test_weights_are_told_by_the_steps_that_there_are(ratios):
    steps = [("plan", FeatureCharacterizer()), ("vq", codec(compression_ratios=ratios))]
    weight = np.r_[np.full(10, 2.0), np.ones(len(X) - 10)]
    for step, given, lacks in [
        ("vq", "HierarchicalVQVAE", "FeatureCharacterizer"),
        ("plan", "FeatureCharacterizer", "HierarchicalVQVAE"),
    ]:
        told = f"^sample_weight was given to {given}, but not to {lacks}, which"
        with pytest.warns(UserWarning, match=told):
            Pipeline(steps).fit(X, **{f"{step}__sample_weight": weight})
