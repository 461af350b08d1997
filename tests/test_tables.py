import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator

from adaptive_vq.tables import as_frame, check_table, column_names, like_training


def check(X, **kwargs):
    return check_table(BaseEstimator(), X, reset=True, **kwargs)


@pytest.mark.parametrize(
    "X",
    [
        [[1, None], [True, 3]],
        np.array([[1, None], [True, 3]], dtype=object),
        np.array([[1, np.nan], [1, 3]], dtype=np.float32),
        pd.DataFrame({"a": [1, 1], "b": pd.array([None, 3], dtype="Int64")}),
        pd.DataFrame({"a": [True, True], "b": [None, 3]}, dtype=object),
        pd.DataFrame({"a": pd.array([True, True], dtype="boolean"), "b": [np.nan, 3.0]}),
        pl.DataFrame({"a": [True, True], "b": [None, 3]}),
        pl.DataFrame({"a": [1, 1], "b": [None, 3]}, schema={"a": pl.Int128, "b": pl.UInt128}),
        pa.table({"a": [True, True], "b": [None, 3]}),
        pa.record_batch({"a": [True, True], "b": [None, 3]}),
        np.ma.masked_array([[1, 7], [1, 3]], [[False, True], [False, False]]),
        np.ma.masked_array(np.array([[1, "?"], [True, 3]], dtype=object), [[0, 1], [0, 0]]),
    ],
)
def test_containers_give_the_same_array(X):
    array = check(X)
    np.testing.assert_array_equal(array, [[1.0, np.nan], [1.0, 3.0]])
    assert array.dtype == np.float64
    assert array.flags.c_contiguous


def test_names_and_width_are_kept():
    estimator = BaseEstimator()
    check_table(estimator, pl.DataFrame({"a": [1], "b": [2]}), reset=True)
    assert estimator.n_features_in_ == 2
    assert column_names(estimator) == ["a", "b"]
    check_table(estimator, np.zeros((1, 3)), reset=True)
    assert column_names(estimator) == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="3 features"):
        check_table(estimator, np.zeros((1, 2)), reset=False)


def test_other_columns_than_at_fit_are_named():
    estimator = BaseEstimator()
    check_table(estimator, pd.DataFrame({"a": [1], "b": [2]}), reset=True)
    with pytest.raises(ValueError, match="oops"):
        check_table(estimator, pd.DataFrame({"a": [1], "oops": [2]}), reset=False)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"a": [1.0], "bad": [np.inf]}), ValueError, r"infinity.*'bad'"),
        (np.array([[0.0, -np.inf]]), ValueError, "infinity.*'x1'"),
        (pd.DataFrame({"a": [1.0], "bad": ["red"]}), ValueError, "'bad'.*'red'"),
        (pl.DataFrame({"a": [1.0], "bad": ["red"]}), ValueError, "'bad'.*'red'"),
        (np.array([[1, "red"]], dtype=object), ValueError, "'x1'.*'red'"),
        (np.array([[1, 10**400]], dtype=object), ValueError, "'x1'"),
        (np.array([[1, {}]], dtype=object), TypeError, "'x1'.*argument must be"),
        (pd.DataFrame({"a": [1.0], "bad": pd.Categorical(["red"])}), ValueError, "'bad'.*'red'"),
        (pd.DataFrame({"day": pd.to_datetime(["2020-01-01"])}), ValueError, "dates.*'day'"),
        (pd.DataFrame({"day": pd.to_datetime(["2020-01-01"], utc=True)}), ValueError, "'day'"),
        (pl.DataFrame({"day": pl.Series([0]).cast(pl.Date)}), ValueError, "dates.*'day'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "duplicate.*'a'"),
        (pd.DataFrame({("a", "b"): [1]}), ValueError, "2 levels"),
        (sparse.eye_array(3).tocsr(), TypeError, "[Ss]parse"),
        (sparse.eye_array(3).todok(), TypeError, "[Ss]parse"),
        (np.array([[1j]]), ValueError, "Complex"),
        (np.zeros((0, 3)), ValueError, "0 sample"),
        (np.zeros((3, 0)), ValueError, "0 feature"),
        (np.zeros(3), ValueError, "1D array"),
        ("table.csv", TypeError, r"X is 'table.csv', not a table: read the file .*read_csv"),
        (Path("table.csv"), TypeError, "not a table: read the file"),
        ({"a": [1.0]}, TypeError, r"in dict, not as a table: give pandas.DataFrame\(X\)"),
        ([{"a": 1.0}], TypeError, r"in dicts, not as a table: give pandas.DataFrame\(X\)"),
        (None, TypeError, "X is None"),
        (
            iter([np.ones((2, 2))]),
            TypeError,
            r"X is a list_iterator, not a table: fit .*fit_chunks",
        ),
        (pd.read_csv(io.StringIO("a\n1\n"), chunksize=1), TypeError, "TextFileReader.*fit_chunks"),
        ([pd.DataFrame({"a": [1.0]})], TypeError, r"X is a list of tables.*pandas.concat\(X\)"),
        (io.StringIO("a\n1\n"), TypeError, "X is a StringIO, a file and not a table: read it"),
        (torch.ones(3, 2).bfloat16(), TypeError, r"X is a tensor of bfloat16.*tensor.float\(\)"),
    ],
)
def test_bad_input_names_the_culprit(X, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        check(X)


def test_many_bad_columns_are_counted():
    with pytest.raises(ValueError, match="'x4' and 5 more"):
        check(np.full((2, 10), np.inf))


def test_one_row_can_be_refused():
    assert check(np.ones((1, 2))).shape == (1, 2)
    with pytest.raises(ValueError, match="minimum of 2"):
        check(np.ones((1, 2)), ensure_min_samples=2)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (["1.5", "?", "2"], r"'\?'\."),
        (np.array([["1.5"], ["n/a"], ["2"]]), "'n/a'"),
        (np.array([["1.5"], ["2"], ["3"]]), r"'1\.5'\."),
        (["x" * 500, "?", "2"], r"'x{59}\.\.\.\. Encode"),
        ([1.5, 2j, 3], r"\(1\.5\+0j\) \(Complex data not supported\)\. Encode"),
        (pd.DataFrame({"flag": [True, False], "a": [1j, 2]}), "1j .Complex data not supported"),
        (pd.DataFrame({"n": pd.array([1, None], "Int64"), "a": [1j, 2]}), "1j .Complex data"),
        (pl.DataFrame({"a": [[1], [2, 3]]}), r"shape: \(1,\) Series: .* 1 \] \("),
    ],
)
def test_the_cell_that_is_no_number_is_named_on_one_line(column, cell):
    X = pd.DataFrame({"a": column}) if isinstance(column, list) else column
    with pytest.raises(ValueError, match=f"Column '(a|x0)' of X .* it holds {cell}") as raised:
        check(X)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("rows", [list, tuple])
@pytest.mark.parametrize("cell", [pd.Timestamp("2020-01-01"), {}])
def test_the_cell_that_is_no_number_is_named_in_rows_as_well(rows, cell):
    with pytest.raises(TypeError, match=f"^Column 'x1' of X is not numeric: it holds {cell!r:.9}"):
        check(rows([[1.0, 2.0], [3.0, cell]]))


def test_as_frame_passes_tables_through():
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1.0, 2.0]}, index=[7, 9])
    frame.attrs["note"] = "kept"
    passed = as_frame(frame, check(frame))
    pd.testing.assert_frame_equal(passed, frame)
    assert passed is not frame
    assert passed.attrs == {"note": "kept"}
    table = pl.DataFrame({"a": [1, None], "b": [True, False]}, {"a": pl.Int128, "b": pl.Boolean})
    passed = as_frame(table, check(table))
    assert list(passed.columns) == ["a", "b"]
    np.testing.assert_array_equal(passed["a"], [1.0, np.nan])
    array = np.arange(6.0).reshape(3, 2)
    assert list(as_frame(array, array).columns) == [0, 1]


def test_like_training_follows_the_training_container():
    estimator = BaseEstimator()
    check_table(estimator, pd.DataFrame({"a": [1.0], "b": [2.0]}), reset=True)
    back = like_training(estimator, np.zeros((3, 2)))
    assert isinstance(back, pd.DataFrame)
    assert list(back.columns) == ["a", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_table(estimator, back, reset=False)
    check_table(estimator, np.zeros((1, 2)), reset=True)
    values = np.zeros((3, 2))
    assert like_training(estimator, values) is values


def test_notes_are_not_copied_with_every_column():
    copies = []

    class Note:
        def __deepcopy__(self, memo):
            copies.append(self)
            return self

    frame = pd.DataFrame(np.ones((3, 100)))
    frame.attrs["note"] = note = Note()
    array = check_table(BaseEstimator(), frame, reset=True)
    assert array.shape == (3, 100)
    assert len(copies) < 10
    assert frame.attrs == {"note": note}


def test_columns_of_numbers_are_not_looked_at_one_by_one(monkeypatch):
    # One row at a time, as it comes from a sensor, is checked for text: its types are enough.
    row = pd.DataFrame(np.zeros((1, 50)), columns=[f"s{j}" for j in range(50)]).assign(cat=1)
    row["cat"] = row["cat"].astype("category")
    taken, take = [], pd.DataFrame.__getitem__
    monkeypatch.setattr(
        pd.DataFrame, "__getitem__", lambda self, key: (taken.append(key), take(self, key))[1]
    )
    check_table(BaseEstimator(), row, reset=True)
    assert [key for key in taken if isinstance(key, str)] == ["cat"]
