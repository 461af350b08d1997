"""Tables in any container that users have them in, with names, labels and an index."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from adaptive_vq import FeatureCharacterizer, FeatureCleaner, HierarchicalVQVAE
from adaptive_vq._streams import map_parquet
from adaptive_vq._tables_io import read_table
from adaptive_vq.column_specs import labeled
from adaptive_vq.metrics import reconstruction_nmse
from adaptive_vq.streaming import fit_chunks, sample_rows
from adaptive_vq.tables import check_table
from quick import NAMES, X, codec


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


def test_labels_go_by_the_header_of_the_table(cells):
    turned = pd.DataFrame(cells)[[3, 4, 5, 0, 1, 2]]
    for table in (turned, pd.DataFrame(cells, columns=[10, 20, 30, 40, 50, 60])):
        labels = pd.Series(list("xxxyyy"), index=table.columns)
        found = FeatureCharacterizer(labels).fit(table).categories_
        assert found["x"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="7 labels"):
        FeatureCharacterizer(pd.Series(list("xxxyyyy"), index=[0, 0, 1, 2, 3, 4, 5])).fit(cells)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(pd.array([*range(35_000)] + [None] * 5_000, dtype="Int64"), name="id"),
        pd.RangeIndex(500, 40_500),
        pd.RangeIndex(0, 120_000, 3),
        pd.RangeIndex(40_000, name="id"),
    ],
)
def test_every_index_passes_from_parquet_to_parquet(tmp_path, index):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"a": np.arange(40_000.0)}, index=index)
    table.to_parquet(tmp_path / "in.parquet")
    map_parquet(lambda piece: 2 * piece, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found.index.name == index.name
    np.testing.assert_array_equal(
        found.index.to_numpy(dtype=float, na_value=np.nan),
        index.to_numpy(dtype=float, na_value=np.nan),
    )


def test_masks_and_text_at_other_doors(cells):
    masked = np.ma.masked_array(cells.copy(), np.random.default_rng(0).random(cells.shape) < 0.2)
    masked.data[masked.mask] = 1e6
    holes = np.ma.filled(masked, np.nan)
    fitted = codec().fit(holes)
    found = reconstruction_nmse(masked, fitted.reconstruct(masked))
    assert found == reconstruction_nmse(holes, fitted.reconstruct(holes))
    for other in (codec().fit(masked.astype(object)), fit_chunks(codec(), masked)):
        np.testing.assert_array_equal(other.transform(holes), fitted.transform(holes))
    np.testing.assert_array_equal(sample_rows(masked, 9), sample_rows(holes, 9))
    with pytest.raises(ValueError, match=r"not numeric: it holds .*02139"):
        check_table(HierarchicalVQVAE(), [["02139", "2"], ["3", "4"]], reset=True)
    with pytest.raises(ValueError, match="'x1' of X is not numeric: it holds '2'"):
        check_table(HierarchicalVQVAE(), [[1.0, "2"], [3.0, "4"]], reset=True)
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="'zip' of X is not numeric"):
        check_table(
            HierarchicalVQVAE(), pa.table({"zip": ["02139", "1"], "b": [1.0, 2.0]}), reset=True
        )


@pytest.mark.parametrize("name", ["400.5", "0.5", "1e5", "-1", "inf", "1_0"])
def test_numbers_may_be_names_of_a_column(tmp_path, name):
    pd.DataFrame({name: [1.0, 2, 3]}).to_csv(tmp_path / "t.csv", index=False)
    assert list(read_table(tmp_path / "t.csv").columns) == [name]
    (tmp_path / "years.csv").write_text("1990,1991,NA\n1,2,3\n")
    assert len(read_table(tmp_path / "years.csv")) == 1


def test_frames_with_a_column_called_nan_are_compared(cells):
    table = pd.DataFrame(cells[:, :2], columns=["a", np.nan])
    assert reconstruction_nmse(table, table) == 0


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


@pytest.mark.parametrize("cleaner", [None, FeatureCleaner(), MinMaxScaler()])
@pytest.mark.parametrize("name", [None, "patient"])
def test_the_index_of_a_pandas_table_is_no_column_of_its_pyarrow_table(name, cleaner):
    frame = pd.DataFrame(X, columns=NAMES).sample(frac=0.9, random_state=0)
    frame.index = pd.Index(3 * frame.index, name=name)
    table = pa.Table.from_pandas(frame)
    assert len(table.column_names) == 10
    fitted, expected = codec(cleaner=cleaner).fit(table), codec(cleaner=cleaner).fit(frame)
    assert list(fitted.feature_names_in_) == NAMES
    assert (fitted.transform(table) == expected.transform(frame)).all()
    assert expected.score(table) == fitted.score(frame)
    assert (np.asarray(fitted.reconstruct(table)) == expected.reconstruct(frame).to_numpy()).all()
    for step in (FeatureCleaner(), FeatureCharacterizer()):
        assert list(step.fit(table).transform(table).columns) == NAMES
    planned = make_pipeline(FeatureCharacterizer(), codec(cleaner=None)).fit(table)
    assert planned.score(frame) == planned.score(table)
    again = table.select([*table.column_names[::-1]])  # the index first
    assert list(FeatureCleaner().fit(again).transform(again).columns) == NAMES[::-1]
