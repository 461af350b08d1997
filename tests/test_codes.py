"""Forms of codes: ordinal, one-hot, token, embedding, and back."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from adaptive_vq.codes import CodeTable, code_names, smallest_dtype

FORMS = ["ordinal", "onehot", "token", "embedding"]


@pytest.fixture
def table():
    """Two categories: a with levels 0, 1, 1, b with level 0 only; 3, 2, 4 and 5 codewords."""
    rng = np.random.default_rng(0)
    levels = [0, 1, 1, 0]
    books = [
        rng.normal(size=(k, w)).astype(np.float32) for k, w in ((3, 2), (2, 2), (4, 3), (5, 1))
    ]
    return CodeTable(code_names([("a", levels[:3]), ("b", levels[3:])]), levels, books)


@pytest.fixture
def codes(table):
    rng = np.random.default_rng(1)
    return np.stack([rng.integers(0, size, 20) for size in table.sizes], axis=1)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(0, np.uint8), (255, np.uint8), (256, np.uint16), (65_536, np.uint32), (-1, np.uint8)],
)
def test_smallest_dtype(largest, dtype):
    assert smallest_dtype(largest) == dtype


def test_names_of_several_codebooks_per_level():
    assert code_names([("a", [0, 1, 1]), ("b", [2])]) == ["a__L0", "a__L1a", "a__L1b", "b__L2"]
    many = code_names([("a", [0] * 28)])
    assert many[0] == "a__L0a"
    assert many[25:] == ["a__L0z", "a__L0aa", "a__L0ab"]
    assert code_names([("a", [])]) == []


@pytest.mark.parametrize("encode", FORMS)
def test_columns_match_the_width(table, codes, encode):
    assert table.encode(codes, encode, True).shape == (20, len(table.columns(encode)))
    assert len(set(table.columns(encode))) == len(table.columns(encode))


@pytest.mark.parametrize("encode", FORMS)
@pytest.mark.parametrize("sparse_output", [True, False])
def test_round_trip(table, codes, encode, sparse_output):
    given = table.encode(codes, encode, sparse_output)
    for form in (given, pd.DataFrame(_dense(given), columns=table.columns(encode))):
        back, levels = table.decode(form, encode, None, 2)
        np.testing.assert_array_equal(back, codes)
        assert levels == 2


@pytest.mark.parametrize("encode", FORMS)
def test_prefix_by_number_and_by_columns(table, codes, encode):
    given = _dense(table.encode(codes, encode, False))
    names = np.array(table.columns(encode))
    first = [i for i, name in enumerate(names) if "__L0" in name]
    by_number = table.decode(given, encode, 1, 2)
    by_columns = table.decode(given[:, first], encode, None, 2)
    shuffled = pl.DataFrame({names[i]: given[:, i] for i in first[::-1]})
    by_names = table.decode(shuffled, encode, None, 2)
    for back, levels in (by_number, by_columns, by_names):
        assert levels == 1
        np.testing.assert_array_equal(back[:, [0, 3]], codes[:, [0, 3]])
        assert (back[:, [1, 2]] == 0).all()


@pytest.mark.parametrize("encode", FORMS)
def test_columns_of_pyarrow_are_found_by_their_names(table, codes, encode):
    pa = pytest.importorskip("pyarrow", reason="extra 'cli'")
    given = _dense(table.encode(codes, encode, False))
    names = table.columns(encode)
    shuffled = pa.table({name: given[:, i] for i, name in reversed(list(enumerate(names)))})
    np.testing.assert_array_equal(table.decode(shuffled, encode, None, 2)[0], codes)
    with pytest.raises(ValueError, match="'x' is no code column"):
        table.decode(shuffled.append_column("x", given[:, :1].T.tolist()), encode, None, 2)


@pytest.mark.parametrize("encode", FORMS)
def test_frames_without_names_go_by_position(table, codes, encode):
    # As everywhere in scikit-learn: numbers of columns are no names.
    given = pd.DataFrame(_dense(table.encode(codes, encode, False)))
    np.testing.assert_array_equal(table.decode(given, encode, None, 2)[0], codes)
    for other in (given.iloc[:, ::-1], given.iloc[:, 1:], given.add_prefix("c")):
        with pytest.raises(ValueError, match="is no code column"):
            table.decode(other, encode, None, 2)


def test_known_values(table):
    codes = np.array([[2, 1, 0, 4], [0, 0, 3, 0]])
    np.testing.assert_array_equal(table.encode(codes, "token", True), [[2, 4, 5, 13], [0, 3, 8, 9]])
    onehot = table.encode(codes, "onehot", True)
    assert isinstance(onehot, sp.csr_matrix)
    assert onehot.toarray()[0].nonzero()[0].tolist() == [2, 4, 5, 13]
    embedded = table.encode(codes, "embedding", True)
    np.testing.assert_array_equal(embedded[0, :2], table.codebooks[0][2])
    assert table.columns("embedding")[:2] == ["a__L0_z0", "a__L0_z1"]
    assert table.columns("onehot")[:3] == ["a__L0_0", "a__L0_1", "a__L0_2"]


def test_embedding_takes_the_nearest_codeword(table, codes):
    noise = 1e-3 * np.random.default_rng(2).normal(size=(20, 8))
    noisy = table.encode(codes, "embedding", True) + noise
    np.testing.assert_array_equal(table.decode(noisy, "embedding", None, 2)[0], codes)


def test_floats_and_objects_hold_whole_numbers(table, codes):
    for kind in (np.float32, object, np.int8):
        np.testing.assert_array_equal(
            table.decode(codes.astype(kind), "ordinal", None, 2)[0], codes
        )


@pytest.mark.parametrize("encode", FORMS)
def test_columns_that_may_hold_na_are_taken_where_they_hold_none(table, codes, encode):
    cells = pd.DataFrame(table.encode(codes, encode, False), columns=table.columns(encode))
    decoded, _ = table.decode(cells.convert_dtypes(), encode, None, 2)
    np.testing.assert_array_equal(decoded, codes)


def test_one_hot_codes_may_store_their_zeros(table, codes):
    dense = table.encode(codes, "onehot", False)
    stored = sp.csr_matrix(np.ones_like(dense))
    stored.data[:] = dense.ravel()
    np.testing.assert_array_equal(table.decode(stored, "onehot", None, 2)[0], codes)
    assert stored.nnz == dense.size  # the table of the caller is left alone


def test_no_codebooks_at_all():
    empty = CodeTable([], [], [])
    for encode in FORMS:
        given = empty.encode(np.zeros((4, 0), dtype=np.int64), encode, True)
        assert given.shape == (4, 0)
        assert empty.decode(given, encode, None, 3)[0].shape == (4, 0)


@pytest.mark.parametrize(
    ("encode", "spoil", "message"),
    [
        ("ordinal", lambda c: c[:, :3], r"Codes have 3 columns.*4 for 2 levels, 2 for 1 level\."),
        ("ordinal", lambda c: c[0], "2 dimensions, got 1"),
        ("ordinal", lambda c: c + 5, "'a__L0' must lie between 0 and 2; found 5 to 7"),
        ("ordinal", lambda c: c * 0.5, "'a__L0' must be whole numbers"),
        ("ordinal", lambda c: c * np.inf, "'a__L0' must be whole numbers"),
        ("token", lambda c: c - 1, "'a__L0' must lie between 0 and 2"),
        ("token", lambda c: c[:, ::-1], "'a__L0' must lie"),
        ("onehot", lambda c: c * 2, "'a__L0' must hold a single 1 each"),
        ("onehot", lambda c: c * 0, "'a__L0' must hold a single 1 each"),
        ("onehot", lambda c: np.ones_like(c), "'a__L0' must hold a single 1 each"),
        ("embedding", lambda c: c * np.nan, "'a__L0' must be finite"),
        ("ordinal", lambda c: np.ma.masked_equal(c, 0), "'a__L0' must be whole numbers"),
        ("token", lambda c: c.astype("datetime64[s]"), r"must be numbers, not datetime64\[s\]"),
        ("ordinal", lambda c: c.astype(complex), "must be numbers, not complex128"),
        ("onehot", lambda c: np.ma.masked_equal(c, 1), "'a__L0' must hold a single 1 each"),
        ("onehot", lambda c: np.full(c.shape, "x"), "'a__L0' are no numbers"),
        ("onehot", lambda c: np.where(c == 1, 1, pd.NA), "'a__L0' are no numbers"),
        ("embedding", lambda c: np.where(c > 0, c, pd.NA), "'a__L0' are no numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_bad_codes_name_the_column(table, codes, encode, spoil, message):
    given = _dense(table.encode(codes, encode, False)).astype(float)
    with pytest.raises(ValueError, match=message):
        table.decode(spoil(given), encode, None, 2)


def test_codes_beyond_int64_are_named_without_a_warning(table, codes):
    with pytest.raises(ValueError, match="'a__L0' must lie between 0 and 2; found 18446744073"):
        table.decode(np.full_like(codes, 2**64 - 1, dtype=np.uint64), "ordinal", None, 2)


def test_frames_with_other_columns(table, codes):
    frame = pd.DataFrame(codes, columns=table.columns("ordinal"))
    with pytest.raises(ValueError, match="'x' is no code column"):
        table.decode(frame.assign(x=1), "ordinal", None, 2)
    with pytest.raises(ValueError, match="'b__L0' is missing"):
        table.decode(frame[["a__L0", "a__L1a"]], "ordinal", None, 2)
    with pytest.raises(ValueError, match="'a__L1b' belongs to a later one"):
        table.decode(frame[["a__L0", "b__L0", "a__L1b"]], "ordinal", None, 2)
    with pytest.raises(ValueError, match="'a__L1a' is missing, and 'a__L1b' belongs"):
        table.decode(frame.drop(columns="a__L1a"), "ordinal", None, 2)


@pytest.mark.parametrize("n_levels", [0, 3, "1", 1.0])
def test_bad_number_of_levels(table, codes, n_levels):
    with pytest.raises(ValueError, match="whole number from 1 to 2"):
        table.decode(codes, "ordinal", n_levels, 2)
    with pytest.raises(ValueError, match="codes hold 1 level only"):
        table.decode(codes[:, [0, 3]], "ordinal", 2, 2)


def _dense(values):
    return values.toarray() if sp.issparse(values) else np.asarray(values)
