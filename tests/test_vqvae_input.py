"""HierarchicalVQVAE: forms of codes, missing cells, bad and degenerate input."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
)
from adaptive_vq.metrics import reconstruction_nmse

QUICK = {
    "auto_compression_strategy": "balanced",
    "bits": 12,
    "max_epochs": 2,
    "early_stopping": False,
    "beam_width": 2,
    "group_hidden_dim": 8,
    "group_embedding_dim": 8,
    "random_state": 0,
}


def codec(**parameters):
    settings = {**QUICK, **parameters}
    if "compression_ratios" in settings:
        del settings["auto_compression_strategy"]  # idle beside these, which is told
    return HierarchicalVQVAE(**settings)


def make_rows(n=150, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.repeat(rng.normal(size=(n, 2)), 4, axis=1)
    return factors + 0.3 * rng.normal(size=(n, 8)) + 5.0


@pytest.fixture(scope="module")
def X():
    return make_rows()


@pytest.fixture(scope="module")
def fitted(X):
    return codec().fit(X)


# --- forms of codes ------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "token", "embedding"])
@pytest.mark.parametrize("n_levels", [None, 1, 2, 3])
def test_forms_round_trip(X, fitted, encode, n_levels):
    other = codec(encode=encode).fit(X)
    codes = other.transform(X)
    assert codes.shape == (150, len(other.get_feature_names_out()))
    expected = fitted.inverse_transform(fitted.transform(X), n_levels)
    np.testing.assert_array_equal(other.inverse_transform(codes, n_levels), expected)


def test_onehot_is_sparse_or_dense(X):
    sparse = codec(encode="onehot").fit(X).transform(X)
    dense = codec(encode="onehot", sparse_output=False).fit(X).transform(X)
    assert isinstance(sparse, sp.csr_matrix)
    assert isinstance(dense, np.ndarray)
    np.testing.assert_array_equal(sparse.toarray(), dense)
    assert (dense.sum(axis=1) == 6).all()


def test_tokens_are_unique_over_codebooks(X):
    fitted = codec(encode="token").fit(X)
    tokens = fitted.transform(X)
    columns = [set(column) for column in tokens.T]
    assert sum(map(len, columns)) == len(set.union(*columns))
    assert tokens.max() == sum(map(len, fitted.codebooks_.values())) - 1


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "token", "embedding"])
def test_prefixes_by_columns_and_by_number(X, encode):
    fitted = codec(encode=encode, sparse_output=False).set_output(transform="pandas").fit(X)
    codes = fitted.transform(X)
    for n_levels in (1, 2, 3):
        columns = [c for c in codes.columns if int(c.split("__L")[1][0]) < n_levels]
        by_number = fitted.inverse_transform(codes, n_levels)
        by_frame = fitted.inverse_transform(codes[columns[::-1]])  # names decide, not places
        by_array = fitted.inverse_transform(codes[columns].to_numpy())
        np.testing.assert_array_equal(by_frame, by_number)
        np.testing.assert_array_equal(by_array, by_number)


def test_every_level_adds_detail(X, fitted):
    codes = fitted.transform(X)
    found = [reconstruction_nmse(X, fitted.inverse_transform(codes, n)) for n in (1, 2, 3)]
    assert found == sorted(found, reverse=True)
    assert found[0] < 1.0


def test_codes_of_no_rows(X, fitted):
    assert fitted.inverse_transform(fitted.transform(X)[:0]).shape == (0, 8)


# --- missing cells -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def holed(X):
    holed = X.copy()
    rng = np.random.default_rng(1)
    holed[rng.random(X.shape) < 0.15] = np.nan
    holed[7] = np.nan  # a row without any cell
    holed[8, :4] = np.nan  # a category without any cell
    return holed


def test_missing_cells_are_filled(X, holed):
    fitted = codec(bits=16).fit(holed)
    out = fitted.reconstruct(holed)
    assert np.isfinite(out).all()
    lost = np.isnan(holed)
    lost[7] = lost[8] = False
    guess = np.broadcast_to(np.nanmean(holed, axis=0), X.shape)
    assert ((out - X)[lost] ** 2).mean() < 0.5 * ((guess - X)[lost] ** 2).mean()


def test_missing_cells_have_no_weight(holed):
    fitted = codec(scaler=None, clip=None).fit(holed)
    seen = ~np.isnan(holed)
    out = fitted.reconstruct(holed)
    error = ((out - holed)[seen] ** 2).sum()
    variance = ((holed - np.nanmean(holed, axis=0))[seen] ** 2).sum()
    assert fitted.score(holed) == pytest.approx(1 - error / variance, rel=1e-4)


def test_category_without_cells_gets_the_code_of_its_mean(X):
    selector = AdaptiveRatioSelector(
        characterizer=FeatureCharacterizer({"a": range(4), "b": range(4, 8)})
    )
    fitted = codec(compression_ratios=selector).fit(X)
    rows = np.repeat(X[:1], 2, axis=0)
    rows[0, :4] = np.nan
    rows[1, :4] = np.clip(X, *np.percentile(X, [0.5, 99.5], axis=0)).mean(axis=0)[:4]
    codes = fitted.transform(rows)
    np.testing.assert_array_equal(codes[0], codes[1])


def test_column_missing_in_all_training_rows(X):
    table = X.copy()
    table[:, 3] = np.nan
    with pytest.warns(UserWarning, match=r"\['x3'\] have no observed cell"):
        fitted = codec().fit(table)
    assert (fitted.reconstruct(table)[:, 3] == 0).all()
    assert fitted.score(table) > 0.8


def test_rows_without_cells_do_not_matter_to_the_fit(X):
    empty = np.full((200, 8), np.nan)
    fitted = codec(max_epochs=0, early_stopping=False).fit(np.r_[X, empty])
    alone = codec(max_epochs=0, early_stopping=False).fit(X)
    assert fitted.score(X) == pytest.approx(alone.score(X), abs=0.02)


# --- bad input -----------------------------------------------------------------------------------


@pytest.fixture
def frame(X):
    return pd.DataFrame(X, columns=[f"f{j}" for j in range(8)])


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: f[:0], ValueError, r"0 sample\(s\)"),
        (lambda f: f[:1], ValueError, r"1 sample\(s\).*minimum of 2"),
        (lambda f: f[[]], ValueError, r"0 feature\(s\)"),
        (lambda f: f["f0"], ValueError, "2-dimensional"),
        (lambda f: f["f0"].to_numpy(), ValueError, "2D"),
        (lambda f: f.assign(f3=np.inf), ValueError, "infinity.*'f3'"),
        (lambda f: f.assign(f3=1e200), ValueError, "'f3' has cells beyond 1e150"),
        (lambda f: f.assign(city="Ulm"), ValueError, "'city'.*'Ulm'"),
        (lambda f: f.assign(f2=1j), ValueError, "[Cc]omplex"),
        (lambda f: pd.concat([f, f[["f1"]]], axis=1), ValueError, "duplicate.*'f1'"),
        (lambda f: pd.concat({"a": f}, axis=1), ValueError, "2 levels of column names"),
        (lambda f: f * np.nan, ValueError, "no observed cell"),
        (lambda f: sp.csr_matrix(f), TypeError, "[Ss]parse"),
    ],
)
def test_unusable_tables(frame, spoil, error, message):
    with pytest.raises(error, match=message):
        codec().fit(spoil(frame))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bits": 0}, "'bits'"),
        ({"bits": 2.5}, "'bits'"),
        ({"n_levels": 0}, "'n_levels'"),
        ({"context": "global"}, "'context'"),
        ({"encode": "hot"}, "'encode'"),
        ({"scaler": "standart"}, "'scaler'"),
        ({"clip": (99, 1)}, "clip="),
        ({"dropout": 1.0}, "'dropout'"),
        ({"lr": 0.0}, "'lr'"),
        ({"validation_fraction": 1.0}, "'validation_fraction'"),
        ({"compression_ratios": "half"}, "compression_ratios='half'"),
        ({"compression_ratios": [1.0, -1.0]}, "compression_ratios="),
        ({"compression_ratios": {"cluster_3": [1.0]}}, "'cluster_3'.*Did you mean 'cluster_"),
        ({"compression_ratios": {"cluster_1": [1.0]}}, "no entry for category 'cluster_2'"),
        ({"compression_ratios": {"cluster_1": [1], "cluster_2": [1, 2]}}, "different numbers"),
        ({"compression_ratios": [1.0, 2.0], "n_levels": 3}, "n_levels=3 contradicts"),
        ({"auto_compression_strategy": "balance"}, "^auto_c.*'balance' .*did you mean 'balanced'"),
        ({"auto_compression_strategy": ["variance"]}, "^auto_c.* lists 1 strategy for n_levels=3"),
        ({"codebook_sizes": 64}, "36.0 bits per row, the budget is 12. Raise bits to 36"),
        ({"codebook_sizes": [2, 2]}, r"one whole number per level \(3\)"),
        ({"codebook_sizes": [2, 2, 2.5]}, "one whole number"),
        ({"codebook_sizes": {"cluster_1": 2}}, "no entry for category 'cluster_2'"),
        ({"codebook_sizes": {"cluster_7": 2}}, "unknown category 'cluster_7'"),
        ({"cleaner": FunctionTransformer()}, "'cleaner'.*'get_feature_names_out'"),
        ({"encoders": {"cluster_7": torch.nn.Linear(2, 2)}}, "unknown category 'cluster_7'"),
    ],
)
def test_bad_parameters_are_named(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        codec(**parameters).fit(X)


def test_numpy_integers_of_8_bits_are_whole_numbers_as_others(X):
    plain = {"beam_width": 100, "batch_size": 100, "group_hidden_dim": 100}
    small = {name: np.uint8(value) for name, value in plain.items()}
    expected, found = codec(**plain).fit(X), codec(**small).fit(X)
    assert (found.transform(X) == expected.transform(X)).all()
    assert found.partial_fit(X).score(X) == expected.partial_fit(X).score(X)


@pytest.mark.parametrize("given", [AdaptiveRatioSelector, FeatureCharacterizer()])
def test_estimators_that_make_no_plan_are_refused(X, given):
    with pytest.raises(ValueError, match=r"makes no plan: give an AdaptiveRatioSelector\(...\)"):
        codec(compression_ratios=given).fit(X)


@pytest.mark.parametrize("given", ["uniform", "minimax", "rate_distorsion"])
def test_strategy_given_as_ratios_is_sent_to_its_parameter(X, given):
    with pytest.raises(ValueError, match=r"looks like a strategy: .* auto_compression_strategy="):
        codec(compression_ratios=given).fit(X)


def test_category_naming_an_unknown_column(frame):
    characterizer = FeatureCharacterizer({"a": ["f0", "g1"]})
    with pytest.raises(ValueError, match="'a' names column 'g1'"):
        make_pipeline(characterizer, codec()).fit(frame)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.assign(cluster_1__L0=77), r"'cluster_1__L0' must lie between 0 and 1.*77"),
        (lambda c: c.astype(int) - 1, "must lie between 0 and"),
        (lambda c: c + 0.5, "must be whole numbers"),
        (lambda c: c * np.nan, "must be whole numbers"),
        (lambda c: c.astype(str) + "x", "are no numbers"),
        (lambda c: c.to_numpy()[:, :-1], "Codes have 5 columns.*6 for 3 levels"),
        (lambda c: c.to_numpy()[0], "2 dimensions"),
        (lambda c: c.rename(columns={"cluster_1__L0": "x"}), "'x' is no code column"),
        (lambda c: c[["cluster_1__L0", "cluster_1__L1"]], "'cluster_2__L0' is missing"),
        (lambda c: c[["cluster_1__L0", "cluster_2__L0", "cluster_2__L2"]], "'cluster_2__L2' bel"),
    ],
)
def test_bad_codes_are_named(X, fitted, spoil, message):
    codes = pd.DataFrame(fitted.transform(X), columns=fitted.get_feature_names_out())
    with pytest.raises(ValueError, match=message):
        fitted.inverse_transform(spoil(codes))


@pytest.mark.parametrize("n_levels", [0, 4, "all", 1.5])
def test_bad_number_of_levels(X, fitted, n_levels):
    with pytest.raises(ValueError, match="from 1 to 3"):
        fitted.inverse_transform(fitted.transform(X), n_levels)
    with pytest.raises(ValueError, match="codes hold 1 level only"):
        fitted.inverse_transform(fitted.transform(X)[:, [0, 3]], 2)


def test_other_columns_than_in_fit(X, frame, fitted):
    with pytest.raises(ValueError, match="5 features"):
        fitted.transform(X[:, :5])
    with pytest.raises(ValueError, match="feature names"):
        codec().fit(frame).transform(frame.rename(columns={"f0": "g"}))


def test_refit_on_another_width(X):
    fitted = codec().fit(X).fit(X[:, :5])
    assert fitted.n_features_in_ == 5
    assert fitted.reconstruct(X[:, :5]).shape == (150, 5)


def test_failed_fit_is_no_fit(X):
    broken = codec(compression_ratios="half")
    with pytest.raises(NotFittedError):
        broken.transform(X)
    with pytest.raises(ValueError, match="half"):
        broken.fit(X)
    with pytest.raises(NotFittedError):
        broken.transform(X)


@pytest.mark.parametrize(
    "table",
    [
        np.full((40, 3), 2.0),
        np.full((40, 1), 2.0),
        make_rows()[:, :1],
        np.c_[make_rows(), np.full(150, 1e9)],
        make_rows(2),
        make_rows(5),
        np.repeat(make_rows(3), 10, axis=0),
    ],
    ids=[
        "constant",
        "one constant",
        "one column",
        "with constant",
        "two",
        "five",
        "three distinct",
    ],
)
def test_degenerate_tables_are_handled(table):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = codec().fit(table)
    varies = (np.ptp(table, axis=0) > 0).any()
    told = [] if varies else ["No column of X varies in the training rows"]
    assert [str(warning.message).split(":")[0] for warning in caught] == told
    assert fitted.score(table) > 0.8
    assert fitted.n_bits_ <= 12
    assert fitted.reconstruct(table).shape == table.shape
    constant = np.flatnonzero(np.ptp(table, axis=0) == 0)
    np.testing.assert_allclose(fitted.reconstruct(table)[:, constant], table[:, constant])


def test_one_bit_buys_one_bit(X):
    fitted = codec(bits=1).fit(X)
    assert fitted.n_bits_ == 1.0
    assert fitted.transform(X).shape == (150, 1)
    assert fitted.score(X) > 0.2
    assert fitted.decisions_["bits_spent"].tolist() == [1.0, 0.0]


def test_bits_that_find_no_use_are_reported():
    table = np.repeat(make_rows(3), 10, axis=0)
    together = AdaptiveRatioSelector(
        "uniform", characterizer=FeatureCharacterizer({"all": range(8)})
    )
    fitted = codec(compression_ratios=together).fit(table)
    assert fitted.n_bits_ == pytest.approx(np.log2(3))
    assert "nothing more to tell apart" in fitted.decisions_["reason"].iloc[0]


def test_ratios_beyond_any_width_are_those_of_all_columns():
    X = np.random.default_rng(0).normal(size=(60, 4))
    huge, ones = (
        HierarchicalVQVAE([ratio] * 3, bits=6, max_epochs=0, random_state=0).fit(X)
        for ratio in (1e308, 1.0)
    )
    assert huge.bits_ == ones.bits_
    np.testing.assert_array_equal(huge.transform(X), ones.transform(X))


def test_no_bit_is_spent_on_rounding_of_a_level():
    X = 1e13 + np.random.default_rng(0).normal(size=(100, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vq = HierarchicalVQVAE(**QUICK).fit(X)
    assert vq.n_bits_ == 0.0
    assert ["No column of X varies" in str(w.message) for w in caught] == [True]


def test_ranks_of_a_large_level_vary(recwarn):
    X = 1e12 + np.random.default_rng(0).normal(size=(100, 4))
    vq = HierarchicalVQVAE(**QUICK, scaler="quantile").fit(X)
    assert vq.n_bits_ > 10
    assert not [w for w in recwarn if "No column" in str(w.message)]
