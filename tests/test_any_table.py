"""Any finite table fits or is refused by name: what comes out is whole, finite and repeatable.

`pytest --hypothesis-profile long` tries twenty times as many tables.
"""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.pipeline import Pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    diagnose,
)
from adaptive_vq.metrics import topographic_similarity
from adaptive_vq.strategies import MEASURING, STRATEGIES

# Examples follow the profile: `--hypothesis-profile long` has twenty times as many.
few = settings(max_examples=settings().max_examples // 25)
more = settings(max_examples=settings().max_examples // 5)

COLUMNS = ("normal", "shared", "ties", "flag", "heavy", "rare", "constant", "level", "twin", "gap")
NAMES = sorted([*STRATEGIES, *MEASURING])


def column(rng, kind, n, factor):
    """One column of a kind, before its scale."""
    x = rng.normal(size=n)
    return {
        "normal": x,
        "shared": factor + 0.1 * x,
        "ties": np.round(2 * factor),
        "flag": (factor > 0).astype(float),
        "heavy": np.exp(3 * x),
        "rare": np.where(rng.random(n) < 0.05, x, 0.0),
        "constant": np.full(n, x[0]),
        "level": 1e6 + x,  # a spread that is small beside its level
        "twin": factor,
        "gap": np.where(x > 0, 1e3, -1e3) + 1e-3 * x,
    }[kind]


@st.composite
def cells(draw, kinds=COLUMNS, missing=True, scales=None):
    """Finite cells (n, d): columns of any kind at any scale, rows repeated, blocks missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wide = draw(st.booleans())
    n = draw(st.integers(2, 10) if wide else st.integers(2, 70))
    d = draw(st.integers(10, 30) if wide else st.integers(1, 8))
    of_columns = draw(st.lists(st.sampled_from(kinds), min_size=d, max_size=d))
    scales = st.integers(-12, 12) if scales is None else scales
    powers = draw(st.lists(scales, min_size=d, max_size=d))
    factor = rng.normal(size=n)
    X = np.column_stack(
        [
            column(rng, kind, n, factor) * 10.0**power
            for kind, power in zip(of_columns, powers, strict=True)
        ]
    )
    if draw(st.booleans()):
        X = X[rng.integers(0, max(1, n // 3), n)]  # rows that are there several times
    if missing and draw(st.booleans()):
        rows, columns = np.sort(rng.integers(0, n + 1, 2)), np.sort(rng.integers(0, d + 1, 2))
        X[slice(*rows), slice(*columns)] = np.nan  # a block, maybe whole rows or columns
        X[rng.random(X.shape) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    return X


def strategy_names():
    return st.sampled_from(NAMES)


def codec(**parameters):
    quick = {"bits": 10, "max_epochs": 1, "beam_width": 2, "random_state": 0}
    quick |= {"group_hidden_dim": 4, "group_embedding_dim": 4}
    return HierarchicalVQVAE(**(quick | parameters))


def fit_or_refuse(estimator, X):
    """Fit; a table without any observed cell is refused (None) and no other."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Columns .* have no observed cell")
        warnings.filterwarnings("ignore", message="Categories overlap")
        warnings.filterwarnings("ignore", message="No column of X varies")
        if not np.isnan(np.asarray(X, dtype=float)).all():
            return estimator.fit(X)
        with pytest.raises(ValueError, match="no observed cell"):
            estimator.fit(X)
        return None


@more
@given(
    X=cells(),
    strategy=strategy_names(),
    bits=st.integers(1, 40),
    epochs=st.integers(0, 2),
    scaler=st.sampled_from(["standard", "robust", "quantile"]),
    clip=st.sampled_from([None, (0.5, 99.5), (10, 90)]),
)
def test_any_table_fits_or_is_refused_by_name(X, strategy, bits, epochs, scaler, clip):
    n, d = X.shape
    vq = codec(
        auto_compression_strategy=strategy, bits=bits, max_epochs=epochs, scaler=scaler, clip=clip
    )
    fitted = fit_or_refuse(vq, X)
    if fitted is None:
        return
    codes = fitted.transform(X)
    sizes = [len(book) for book in fitted.codebooks_.values()]
    # No column is lost: each is in one category and comes back.
    assert sorted(np.concatenate(list(fitted.categories_.values()))) == list(range(d))
    decoded = fitted.inverse_transform(codes)
    assert decoded.shape == (n, d)
    # Never NaN, never a code that does not decode.
    assert np.isfinite(decoded).all()
    assert codes.dtype.kind == "u"
    assert codes.shape == (n, len(sizes))
    assert (codes < np.array(sizes, dtype=int)).all()
    assert np.isfinite(fitted.score(X))
    assert fitted.n_bits_ <= bits + 1e-9
    # Never far worse than the mean of every column.
    Z = fitted.units_.to_codec(X).astype(float)
    error = np.nansum((Z - fitted._decode(codes.astype(np.int64), 3)) ** 2)
    assert error <= 1.001 * np.nansum((Z - fitted.units_.reference_) ** 2) + 1e-6
    # A column that says nothing comes back as it is.
    for j in np.flatnonzero(np.isfinite(X).any(0)):
        seen = X[np.isfinite(X[:, j]), j]
        if np.ptp(seen) == 0:
            np.testing.assert_allclose(decoded[:, j], seen[0], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:strategy=.learned. has moved no bit")
@few
@given(X=cells(scales=st.integers(-3, 3)), strategy=strategy_names(), epochs=st.integers(0, 1))
def test_transform_is_fit_transform_and_the_seed_decides(X, strategy, epochs):
    vq = codec(auto_compression_strategy=strategy, max_epochs=epochs)
    fitted = fit_or_refuse(vq, X)
    if fitted is None:
        return
    again = codec(auto_compression_strategy=strategy, max_epochs=epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        codes = again.fit_transform(X)
    assert fitted.transform(X).tobytes() == codes.tobytes()
    assert fitted.inverse_transform(codes).tobytes() == again.reconstruct(X).tobytes()
    for key, value in fitted._state.items():
        assert value.tobytes() == again._state[key].tobytes()


# --- one table, many containers ------------------------------------------------------------------


def far_indices(n):
    """Index of a frame: labels, dates, repeated, backwards."""
    return {
        "labels": [f"row {i}" for i in range(n)],
        "dates": pd.date_range("2020-01-01", periods=n),
        "repeated": [7] * n,
        "backwards": range(n, 0, -1),
        "floats": np.linspace(0, 1, n),
        "two levels": pd.MultiIndex.from_product([["a"], range(n)]),
    }


def same_cells(X):
    """The same cells in other containers, dtypes and orders of memory."""
    n, d = X.shape
    names = [f"c{j}" for j in range(d)]
    frozen = X.copy()
    frozen.flags.writeable = False
    every_other = np.zeros((2 * n, 3 * d))
    every_other[::2, ::3] = X
    yield "fortran", np.asfortranarray(X)
    yield "read-only", frozen
    yield "strided", every_other[::2, ::3]
    yield "backwards in memory", X[::-1, ::-1].copy()[::-1, ::-1]
    yield "list", X.tolist()
    yield "objects", X.astype(object)
    yield "big endian", X.astype(">f8")
    for name, index in far_indices(n).items():
        yield f"pandas, {name}", pd.DataFrame(X, index=index, columns=names)
    yield "pandas, numbered columns", pd.DataFrame(X)
    yield "pandas, nullable", pd.DataFrame(X, columns=names).astype("Float64")
    yield "polars", pl.DataFrame(X, schema=names, nan_to_null=True)
    yield "polars, NaN", pl.DataFrame(X, schema=names)


@few
@given(X=cells(scales=st.integers(-6, 6)))
def test_container_and_memory_never_change_a_code(X):
    fitted = fit_or_refuse(codec(max_epochs=0), X)
    if fitted is None:
        return
    expected = fitted.transform(X)
    for name, table in same_cells(X):
        with warnings.catch_warnings():
            # An estimator fitted without names is given names.
            warnings.filterwarnings("ignore", message="X has feature names")
            assert_array_equal(fitted.transform(table), expected, err_msg=name)


@few
@given(X=cells(scales=st.integers(-6, 6)), which=st.integers(0, 16))
def test_fitting_does_not_depend_on_the_container(X, which):
    fitted = fit_or_refuse(codec(max_epochs=0), X)
    if fitted is None:
        return
    containers = list(same_cells(X))
    name, table = containers[which % len(containers)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        again = codec(max_epochs=0).fit(table)
    assert_array_equal(again.transform(table), fitted.transform(X), err_msg=name)
    decoded = np.asarray(again.reconstruct(table))
    assert_array_equal(decoded, fitted.reconstruct(X), err_msg=name)


@few
@given(
    X=cells(kinds=("ties", "flag", "constant"), missing=False, scales=st.just(0)),
    kind=st.sampled_from([np.float32, np.float16, np.int64, np.int8, np.uint8, bool, "mixed"]),
)
def test_any_numeric_type(X, kind):
    X = np.clip(np.round(X), -100, 100)
    if kind in (np.uint8, bool):
        X = np.abs(X)
    if kind == "mixed":
        types = [np.float32, np.int16, "Int64", "boolean", "Float32"]
        columns = {f"c{j}": pd.Series(x) for j, x in enumerate(X.T)}
        table = pd.DataFrame(
            {
                name: (x != 0 if types[j % 5] == "boolean" else x).astype(types[j % 5])
                for j, (name, x) in enumerate(columns.items())
            }
        )
        X = table.astype(float).to_numpy()
    else:
        table = X.astype(kind)
        X = table.astype(float)
    fitted = fit_or_refuse(codec(max_epochs=0), X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X has feature names")
        assert_array_equal(fitted.transform(table), fitted.transform(X))
        warnings.filterwarnings("ignore", message="No column of X varies")
        again = codec(max_epochs=0).fit(table)
    assert_array_equal(again.transform(table), fitted.transform(X))


@few
@given(X=cells(scales=st.integers(-3, 3)), data=st.data())
def test_columns_go_by_name_or_are_refused(X, data):
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    fitted = fit_or_refuse(codec(max_epochs=0), frame)
    if fitted is None or frame.shape[1] < 2:
        return
    order = data.draw(st.permutations(list(frame.columns)))
    moved = frame[order]
    if list(moved) == list(frame):
        assert_array_equal(fitted.transform(moved), fitted.transform(frame))
        return
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(moved)
    with pytest.raises(ValueError, match="c0"):
        fitted.transform(frame.drop(columns="c0"))
    with pytest.raises(ValueError, match="other"):
        fitted.transform(frame.assign(other=1.0))


@few
@given(X=cells(), strategy=strategy_names(), data=st.data())
def test_chunks_never_change_a_code(X, strategy, data):
    fitted = fit_or_refuse(codec(auto_compression_strategy=strategy), X)
    if fitted is None:
        return
    many = np.tile(X, (1 + 300 // len(X), 1))  # more rows than a tile has
    codes = fitted.transform(many)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(many)), max_size=4)))
    parts = [part for part in np.split(many, cuts) if len(part)]
    assert_array_equal(np.concatenate([fitted.transform(part) for part in parts]), codes)
    decoded = [fitted.inverse_transform(part) for part in np.split(codes, cuts) if len(part)]
    assert_array_equal(np.concatenate(decoded), fitted.inverse_transform(codes))
    assert_array_equal(fitted.set_params(batch_size=7).transform(many), codes)


@pytest.mark.filterwarnings("ignore:strategy=.learned. has moved no bit")
@few
@given(X=cells(scales=st.integers(-6, 6)), strategy=strategy_names(), bits=st.integers(1, 20))
def test_the_three_steps_keep_every_column(X, strategy, bits):
    pipe = Pipeline(
        [
            ("characterize", FeatureCharacterizer()),
            ("ratios", AdaptiveRatioSelector(strategy, bits=bits)),
            ("vq", codec(bits=None, max_epochs=0)),
        ]
    )
    if fit_or_refuse(pipe, X) is None:
        return
    decoded = pipe.inverse_transform(pipe.transform(X))
    assert decoded.shape == X.shape
    assert np.isfinite(decoded).all()
    decisions = pipe["vq"].decisions_
    assert decisions["n_columns"].sum() == X.shape[1]
    # A category without bits is no secret.
    assert decisions["reason"].str.len().gt(0).all()
    assert not decisions[["bits", "bits_spent"]].isna().any(axis=None)


@few
@given(X=cells(scales=st.integers(-2, 2)), power=st.integers(-9, 9))
def test_units_of_the_table_never_change_a_code(X, power):
    fitted = fit_or_refuse(codec(max_epochs=0), X)
    if fitted is None:
        return
    factor = 2.0 ** (3 * power)  # exact in floating point
    scaled = fit_or_refuse(codec(max_epochs=0), X * factor)
    assert_array_equal(scaled.transform(X * factor), fitted.transform(X))
    assert scaled.score(X * factor) == pytest.approx(fitted.score(X), abs=1e-6)


@few
@given(X=cells(missing=False), spoiled=st.sampled_from([np.inf, -np.inf, 1e200, "word", 1j]))
def test_what_is_no_finite_number_is_refused_with_its_column(X, spoiled):
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])]).astype(object)
    frame.iloc[-1, -1] = spoiled
    with pytest.raises((ValueError, TypeError), match=frame.columns[-1]):
        codec(max_epochs=0).fit(frame)


def tables_that_underflow():
    """Tables with cells, spreads and weights that are next to nothing beside others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    wide = X * 10.0 ** np.array([-300, -12, 100, 9, 0, 0])
    subnormal = X * 10.0 ** np.array([-320, 0, -308, 0, 0, 0])
    subnormal[:, 1] = np.where(np.arange(60) == 5, 1e-310, 0.0)
    return {"wide": wide, "subnormal": subnormal, "heavy": np.exp(50 * X - 500)}


@pytest.mark.filterwarnings("ignore:Columns")
@pytest.mark.filterwarnings("ignore:Training diverged")
@pytest.mark.parametrize("scaler", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("name", ["wide", "subnormal", "heavy"])
def test_what_underflows_is_no_error(name, scaler):
    X = tables_that_underflow()[name]
    weight = np.random.default_rng(1).random(60) * 1e-200
    with np.errstate(all="raise"):
        fitted = codec(scaler=scaler, max_epochs=0).fit(X, sample_weight=weight)
        fitted.inverse_transform(fitted.transform(X))
        fitted.score(X)
        diagnose(fitted, X).to_json()
        topographic_similarity(X, fitted.transform(X))
        FeatureCleaner().fit_transform(X)
