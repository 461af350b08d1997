"""What users give as they have it: labels, weights, dates, codes, text; and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq._tables_io import read_table
from adaptive_vq.units import CodecUnits

CHARACTERIZER = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
SELECTOR = AdaptiveRatioSelector("water_filling", bits=12, characterizer=CHARACTERIZER)


def codec(*args, **params):
    return HierarchicalVQVAE(*args, max_epochs=0, random_state=0, **params)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(160, 2)), 3, axis=1) + 0.1 * rng.normal(size=(160, 6))


@pytest.fixture(scope="module")
def frame(X):
    return pd.DataFrame(X, columns=list("abcdef"), index=np.arange(160)[::-1])


@pytest.fixture(scope="module")
def fitted(frame):
    return codec(SELECTOR).fit(frame)


def test_decoded_rows_keep_the_index(fitted, frame):
    decoded = fitted.reconstruct(frame)
    assert decoded.index.equals(frame.index)
    assert float(((frame - decoded) ** 2).mean().mean()) < 0.2
    named = pd.DataFrame(
        fitted.transform(frame), index=frame.index, columns=fitted.get_feature_names_out()
    )
    pd.testing.assert_frame_equal(fitted.inverse_transform(named), decoded)
    assert list(fitted.inverse_transform(fitted.transform(frame)).index) == list(range(160))


def test_a_characterizer_after_the_selector_is_no_silent_loss_of_the_plan(frame):
    pipe = make_pipeline(SELECTOR, FeatureCharacterizer(1), codec())
    with pytest.raises(ValueError, match="note of AdaptiveRatioSelector was lost"):
        pipe.fit(frame)


def test_weights_of_a_series_go_by_its_labels(frame):
    heavy = pd.Series([1, 1, 1, 1, 1, 100.0], index=list("fedcba"))
    by_series, by_dict, by_place = (
        codec(bits=8, column_weights=w).fit(frame).reconstruct(frame)
        for w in (heavy, heavy.to_dict(), heavy.sort_index().reset_index(drop=True))
    )
    pd.testing.assert_frame_equal(by_series, by_dict)
    pd.testing.assert_frame_equal(by_series, by_place)
    with pytest.raises(ValueError, match="'z', which is no column"):
        codec(column_weights=pd.Series({"z": 2.0})).fit(frame)


def test_quantiles_of_weighted_rows_are_those_of_repeated_ones(X):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = codec(SELECTOR, scaler="quantile").fit(X, sample_weight=weight).units_
    repeated = codec(SELECTOR, scaler="quantile").fit(X.repeat(weight, axis=0)).units_
    np.testing.assert_allclose(weighted.to_codec(X), repeated.to_codec(X), atol=1e-6)
    light = CodecUnits("quantile", None).fit(X, np.full(len(X), 1e-3))
    plain = CodecUnits("quantile", None).fit(X)
    np.testing.assert_allclose(light.quantiles_, plain.quantiles_, atol=1e-6)


@pytest.mark.parametrize("kind", ["M8[ns]", "m8[s]"])
def test_arrays_of_dates_are_refused(kind):
    dates = np.arange(40).astype(kind).reshape(-1, 2)
    with pytest.raises(ValueError, match="dates or time differences: 'x0', 'x1'"):
        codec().fit(dates)


def test_na_among_python_objects_is_a_missing_cell():
    cells = pd.Series([1, pd.NA, 2, None] * 10, dtype=object)
    frame = pd.DataFrame({"a": np.arange(40.0), "b": cells})
    numbers = frame.assign(b=pd.to_numeric(frame["b"].where(frame["b"].notna(), np.nan)))
    expected = codec(bits=4).fit(numbers).transform(numbers)
    assert frame["b"].iloc[1] is pd.NA
    for table, plain in ((frame, numbers), (frame.to_numpy(), numbers.to_numpy(dtype=float))):
        found = codec(bits=4).fit(table)
        np.testing.assert_array_equal(found.transform(table), expected)
        np.testing.assert_array_equal(found.transform(plain), expected)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_codes_of_any_sparse_kind_and_no_column_twice(fitted, frame):
    expected = fitted.reconstruct(frame).to_numpy()
    codes = fitted.transform(frame)
    for encode in ("ordinal", "onehot", "embedding"):
        fitted.set_params(encode=encode)
        given = sparse.csr_matrix(fitted.transform(frame))
        for kind in ("csr", "coo", "bsr", "dia", "csc"):
            decoded = fitted.inverse_transform(given.asformat(kind)).to_numpy()
            np.testing.assert_allclose(decoded, expected, atol=1e-6)
    fitted.set_params(encode="ordinal")
    named = pd.DataFrame(codes, columns=fitted.get_feature_names_out())
    first = named.columns[0]
    with pytest.raises(ValueError, match=f"column '{first}' more than once"):
        fitted.inverse_transform(named[[first, *named.columns]])
    with pytest.raises(ValueError, match="n_levels=True must be"):
        fitted.inverse_transform(codes, n_levels=True)


@pytest.mark.parametrize(("name", "value"), [("encode", "Ordinal"), ("beam_width", 0)])
def test_parameters_set_after_the_fit_are_checked(fitted, frame, name, value):
    before, codes = getattr(fitted, name), fitted.transform(frame)
    fitted.set_params(**{name: value})
    try:
        for use in (fitted.transform, fitted.reconstruct, fitted.score):
            with pytest.raises(ValueError, match=f"The '{name}' parameter"):
                use(frame)
        with pytest.raises(ValueError, match=f"The '{name}' parameter"):
            fitted.inverse_transform(codes)
    finally:
        fitted.set_params(**{name: before})


@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_labels_of_columns_may_be_an_array(frame, kind):
    found = FeatureCharacterizer(kind(list("xxxyyy"))).fit(frame)
    assert {k: v.tolist() for k, v in found.categories_.items()} == {
        "x": [0, 1, 2],
        "y": [3, 4, 5],
    }


def test_what_cannot_be_is_named(frame):
    with pytest.raises(ValueError, match=re.escape("validation_fraction=0.99 leaves 1 of 60 rows")):
        codec(SELECTOR, validation_fraction=0.99).fit(frame[:60])
    with pytest.raises(ValueError, match=re.escape("isolate=[1, 2] must hold names")):
        FeatureCharacterizer(isolate=[1, 2]).fit(frame)
    with pytest.raises(ValueError, match=re.escape("did you mean (0.5, 99.5)?")):
        codec(clip=(0.005, 0.995)).fit(frame)
    with pytest.raises(ValueError, match="'bogus'"):
        codec(SELECTOR, auto_compression_strategy="bogus").fit(frame)


def test_a_first_line_of_data_is_not_taken_for_names(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("5.1,3.5,1.4\n4.9,3.0,1.4\n")
    with pytest.raises(ValueError, match="first line holds numbers only"):
        read_table(path)
    path.write_text("2019,2020,2021\n4.9,3.0,1.4\n")
    assert list(read_table(path).columns) == ["2019", "2020", "2021"]


def test_a_fit_in_which_no_codeword_is_needed_ends(frame):
    with pytest.warns(UserWarning, match="codebook_sizes=1 leaves no code"):
        assert codec(bits=4, codebook_sizes=1).fit(frame).n_bits_ == 0
