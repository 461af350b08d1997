"""What a third review of estimators and pipelines found."""

import datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
)
from adaptive_vq.column_specs import labeled
from adaptive_vq.diagnosis import diagnose
from adaptive_vq.tables import check_table
from adaptive_vq.weights import merge_rows


def codec(**parameters) -> HierarchicalVQVAE:
    settings = {"bits": 12, "max_epochs": 0, "early_stopping": False, "random_state": 0}
    settings["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(**settings | parameters)


# ------------------------------------------------------------------------------------ cleaner
@pytest.mark.parametrize("keep", ["first", "informative"])
def test_no_column_is_dropped_for_one_that_lacks_its_cells(keep):
    rng = np.random.default_rng(0)
    full = rng.normal(size=1000)
    thin = np.where(np.arange(1000) < 20, full, np.nan)
    table = pd.DataFrame({"a": thin, "b": full, "c": rng.normal(size=1000)})
    assert "b" in FeatureCleaner(keep=keep).fit(table).get_feature_names_out()
    # The other way round nothing is lost.
    turned = FeatureCleaner(keep=keep).fit(table[["b", "a", "c"]])
    assert list(turned.get_feature_names_out()) == ["b", "c"]


def test_a_failed_fit_leaves_the_cleaner_as_it_was(frame):
    cleaner = FeatureCleaner().fit(frame)
    before = cleaner.transform(frame)
    for wrong in (frame.assign(g=1e200), 0 * frame):
        with pytest.raises(ValueError, match=r"beyond 1e150|No column is left"):
            cleaner.fit(wrong)
    pd.testing.assert_frame_equal(cleaner.transform(frame), before)


def test_score_counts_what_a_cleaner_inside_caps(frame):
    wild = pd.concat([frame] * 8, ignore_index=True)
    wild.iloc[:3, 0] = 1e4
    inside = codec(cleaner=FeatureCleaner(max_correlation=None)).fit(wild)
    assert inside.score(wild) < 0.1
    found = diagnose(inside, wild, embedding=None)
    assert found.columns.loc["a", "nmse"] > 0.9
    assert found.columns.loc["a", "nmse_capped"] < 0.2
    assert found.columns.loc["a", "capped"] > 0


# ------------------------------------------------------------------------------------- labels
def test_labels_in_a_series_go_by_its_index(frame, cells):
    labels = pd.Series(list("xxxyyy"), index=list("fedcba"))
    found = FeatureCharacterizer(labels).fit(frame).categories_
    assert {name: columns.tolist() for name, columns in found.items()} == {
        "x": [3, 4, 5],
        "y": [0, 1, 2],
    }
    places = pd.Series(list("xxxyyy"), index=[5, 4, 3, 2, 1, 0])
    assert FeatureCharacterizer(places).fit(cells).categories_["x"].tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="labels 'A', which is no column"):
        FeatureCharacterizer(labels.rename({"a": "A"})).fit(frame)
    unlisted = labeled(["x", pd.NA, "y", None], list("abcd"))
    assert {name: columns.tolist() for name, columns in unlisted.items()} == {"x": [0], "y": [2]}


def test_a_number_of_categories_may_wait_for_rows(frame):
    later = frame.copy()
    later.iloc[:40, 3:] = 0.0
    stream = FeatureCharacterizer(2).partial_fit(later[:40])
    with pytest.raises(ValueError, match=r"categories=2 .* 40 rows so far"):
        stream.transform(later)
    whole = FeatureCharacterizer(2).fit(later)
    stream.partial_fit(later[40:])
    assert {n: c.tolist() for n, c in stream.categories_.items()} == {
        n: c.tolist() for n, c in whole.categories_.items()
    }
    with pytest.raises(ValueError, match="at most 1 can"):
        FeatureCharacterizer(2).fit(later[:40])


# -------------------------------------------------------------------------------------- units
@pytest.mark.parametrize(
    ("function", "inverse"), [(np.square, np.sqrt), (np.exp, np.log), (np.tanh, np.arctanh)]
)
def test_a_transformer_without_inverse_everywhere_gives_numbers(function, inverse):
    skewed = np.random.default_rng(0).gamma(0.5, size=(300, 6)) / 8
    scaler = FunctionTransformer(function, inverse, check_inverse=False)
    fitted = codec(bits=10, scaler=scaler).fit(skewed)
    assert np.isfinite(fitted.reconstruct(skewed)).all()


def test_a_transformer_that_cannot_go_back_is_named(cells):
    one_way = FunctionTransformer(np.exp, lambda Z: np.full(Z.shape, np.nan))
    fitted = codec(scaler=one_way.set_params(check_inverse=False)).fit(cells)
    with pytest.raises(ValueError, match="Column 'x0' has no inverse"):
        fitted.reconstruct(cells)


@pytest.mark.parametrize("factor", [1e-12, 1e-8, 1e8, 1e12])
def test_no_scaler_at_any_scale(cells, factor):
    table = np.column_stack([cells * factor, np.full(len(cells), 5e6 * factor)])
    fitted = codec(scaler=None).fit(table)
    assert fitted.score(table) > 0.95
    assert (fitted.reconstruct(table)[:, -1] == table[0, -1]).all()


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_scales_that_float32_cannot_square_are_refused(cells, factor):
    with pytest.raises(ValueError, match="Column 'x0' has a spread that float32 cannot square"):
        codec(scaler=None).fit(cells * factor)


# ------------------------------------------------------------------------------------ weights
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


# --------------------------------------------------------------------------------- estimators
@pytest.mark.parametrize("wrong", [{"beam_width": 0}, {"context": "bogus"}, {"device": "bogus"}])
def test_partial_fit_checks_what_has_been_set_since(frame, wrong):
    fitted = codec().fit(frame).set_params(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fitted.partial_fit(frame)


def test_a_warm_start_begins_anew_with_other_columns(frame):
    other = (-frame).rename(columns=dict(zip("abcdef", "uvwxyz", strict=True)))
    warm = codec(warm_start=True).fit(frame).fit(other)
    np.testing.assert_array_equal(warm.transform(other), codec().fit(other).transform(other))


def test_measured_plans_give_few_values_few_bits(frame):
    flags = frame.assign(g=np.arange(160) % 2)
    categories = FeatureCharacterizer({"x": list("abcdef"), "flag": ["g"]})
    for strategy in ("rate_distortion", "minimax", "uniform"):
        plan = AdaptiveRatioSelector(strategy, bits=16, characterizer=categories).fit(flags)
        assert sum(plan.bits_["flag"]) == 1


# --------------------------------------------------------------------------------- containers
def test_masked_cells_are_missing(cells):
    masked = np.ma.masked_array(cells.copy(), mask=False)
    masked.mask[::3, 0] = True
    masked.data[::3, 0] = -999
    holes = np.where(np.ma.getmaskarray(masked), np.nan, cells)
    expected = codec().fit(holes)
    found = codec().fit(masked)
    np.testing.assert_array_equal(found.transform(masked), expected.transform(holes))


@pytest.mark.parametrize(
    "text",
    [
        ["02139", "10001"],
        pd.Categorical(["02139", "10001"]),
        list(np.array(["2024-01-01", "2024-01-02"], dtype="M8[ns]")),
        [b"1", b"2"],
        list(np.array([1, 2], dtype="m8[D]")),
    ],
)
def test_text_that_reads_as_a_number_is_refused(text):
    table = pd.DataFrame({"x": [1.0, 2.0]})
    table["code"] = pd.Series(list(text), dtype=getattr(text, "dtype", object))
    with pytest.raises(ValueError, match="'code'"):
        codec(bits=2).fit(table)


def test_sparse_columns_are_columns(frame):
    thin = frame.where(frame > 0, 0.0)
    for fill in (0.0, np.nan):
        sparse = thin.astype(pd.SparseDtype("float", fill))
        np.testing.assert_array_equal(
            codec().fit(sparse).transform(sparse), codec().fit(thin).transform(thin)
        )


def test_structured_arrays_are_told_what_to_become(frame):
    with pytest.raises(TypeError, match=r"structured array: give pandas\.DataFrame"):
        codec().fit(frame.to_records(index=False))


@pytest.mark.parametrize(
    ("cell", "kind", "message"),
    [
        (datetime.date(2020, 1, 1), "date32", "Columns of X hold dates or time differences: 'a'"),
        (datetime.datetime(2020, 1, 1), "timestamp", "hold dates or time differences: 'a'"),
        (datetime.timedelta(1), "duration", "hold dates or time differences: 'a'"),
        ([1.0], "list", r"Column 'a' of X is not numeric: it holds \[1.0\]"),
        ({"x": 1.0}, "struct", "Column 'a' of X is not numeric: it holds {'x': 1.0}"),
    ],
)
def test_columns_of_pyarrow_without_numbers_are_named(cell, kind, message):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [cell] * 3, "b": [1.0, 2.0, 3.0]})
    assert str(table.schema.field("a").type).startswith(kind)
    with pytest.raises((TypeError, ValueError), match=message):
        codec().fit(table)


def test_numbers_of_pyarrow_are_taken_from_a_dictionary():
    pa = pytest.importorskip("pyarrow")
    numbers = pa.array([1, 2, None, 2]).dictionary_encode()
    cells = check_table(HierarchicalVQVAE(), pa.table({"a": numbers, "b": numbers}), reset=True)
    np.testing.assert_array_equal(cells, np.repeat([[1], [2], [np.nan], [2]], 2, axis=1))


def test_names_of_pyarrow_tables_pass_a_pipeline(frame):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({name: frame[name].to_numpy() for name in frame})
    pipe = make_pipeline(FeatureCharacterizer({"left": ["a", "b"]}), codec(bits=8)).fit(table)
    assert list(pipe.inverse_transform(pipe.transform(table)).columns) == list(frame.columns)


def test_names_of_a_batch_of_pyarrow_are_seen(frame):
    pa = pytest.importorskip("pyarrow")
    batches = pa.table({name: frame[name].to_numpy() for name in frame}).to_batches(100)
    for fitted in (FeatureCleaner(), FeatureCharacterizer({"left": ["a", "b"]})):
        for batch in batches:
            fitted.partial_fit(batch)
        assert list(fitted.feature_names_in_) == list(frame.columns)
    fitted = codec(bits=8).fit(frame)
    codes = fitted.transform(batches[0])  # warnings are errors here
    np.testing.assert_array_equal(codes, fitted.transform(frame)[: len(codes)])
