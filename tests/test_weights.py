"""Weights of rows (2: the row twice, 0: no row) and of columns (importance)."""

import copy
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    diagnose,
    load,
    save,
)
from adaptive_vq.association import correlation_matrix
from adaptive_vq.metrics import code_entropy
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.scores import category_profile, category_scores
from adaptive_vq.spectra import category_statistics
from adaptive_vq.weights import (
    check_column_weights,
    learning_rows,
    merge_rows,
    rows_that_count,
    settle_column_weights,
)

QUICK = {
    "auto_compression_strategy": "balanced",
    "bits": 12,
    "max_epochs": 1,
    "early_stopping": False,
    "beam_width": 2,
    "group_hidden_dim": 8,
    "group_embedding_dim": 8,
    "random_state": 0,
}


def codec(**parameters):
    return HierarchicalVQVAE(**{**QUICK, **parameters})


def make_rows(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.normal(size=(n, 2)), 4, axis=1) + 0.3 * rng.normal(size=(n, 8)) + 5.0
    X[:, 3] = X[:, 3] > 5  # a flag
    return X


@pytest.fixture(scope="module")
def X():
    return make_rows()


@pytest.fixture(scope="module")
def holed(X):
    return np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(2).integers(0, 4, size=120)


@pytest.fixture(scope="module")
def fitted(X):
    return codec().fit(X)


def kept(X, weight):
    return X[weight > 0], weight[weight > 0].astype(float)


# --- rows: what is exact -------------------------------------------------------------------------

TWO = {"a": np.arange(4), "b": np.arange(4, 8)}


@pytest.mark.parametrize("method", ["pearson", "spearman", "mutual_information"])
@pytest.mark.parametrize("name", ["X", "holed"])
def test_correlations(request, weight, method, name):
    table = request.getfixturevalue(name)
    rows, mass = kept(table, weight)
    repeated = correlation_matrix(np.repeat(table, weight, axis=0), method)
    np.testing.assert_allclose(correlation_matrix(rows, method, mass), repeated, atol=1e-9)
    assert np.abs(correlation_matrix(table, method) - repeated).max() > 1e-3


@pytest.mark.parametrize("name", ["X", "holed"])
def test_scores_and_profile(request, weight, name):
    table = request.getfixturevalue(name)
    rows, mass = kept(table, weight)
    more = np.repeat(table, weight, axis=0)
    for ours, theirs in (
        (category_scores(rows, TWO, mass), category_scores(more, TWO)),
        (category_profile(rows, rows, TWO, mass), category_profile(more, more, TWO)),
    ):
        for category in TWO:
            assert ours[category] == pytest.approx(theirs[category], rel=1e-9, abs=1e-12)


def test_spectra(X, weight):
    rows, mass = kept(X.astype(np.float32), weight)
    ours = category_statistics(rows, TWO, mass)
    theirs = category_statistics(np.repeat(X.astype(np.float32), weight, axis=0), TWO)
    for category in TWO:
        np.testing.assert_allclose(ours[category].spectrum, theirs[category].spectrum, rtol=1e-9)
        assert ours[category].exact_at == theirs[category].exact_at


def test_distinct_rows_are_compared_with_the_weighted_number_of_rows():
    Z = np.array([[0.0], [1.0]], dtype=np.float32)
    assert category_statistics(Z, {"a": [0]})["a"].exact_at is None
    assert category_statistics(Z, {"a": [0]}, np.array([20.0, 20.0]))["a"].exact_at == 1


def test_conditional_means(holed, weight):
    rows, mass = kept(holed, weight)
    ours = ConditionalMeanImputer().fit(rows, TWO, mass)
    theirs = ConditionalMeanImputer().fit(np.repeat(holed, weight, axis=0), TWO)
    for category in TWO:
        np.testing.assert_allclose(ours.mean_[category], theirs.mean_[category], rtol=1e-6)
        np.testing.assert_allclose(
            ours.correlation_[category], theirs.correlation_[category], atol=1e-6
        )


@pytest.mark.parametrize("name", ["X", "holed"])
def test_characterizer(request, weight, name):
    table = request.getfixturevalue(name)
    ours = FeatureCharacterizer().fit(table, sample_weight=weight)
    theirs = FeatureCharacterizer().fit(np.repeat(table, weight, axis=0))
    assert sorted(map(tuple, ours.categories_.values())) == sorted(
        map(tuple, theirs.categories_.values())
    )
    np.testing.assert_allclose(
        ours.characteristics_.sort_values("within"),
        theirs.characteristics_.sort_values("within"),
        rtol=1e-6,
        atol=1e-9,
    )


def test_characterizer_in_chunks(X, weight):
    whole = FeatureCharacterizer().fit(X, sample_weight=np.where(np.arange(120) < 50, 1, weight))
    parts = FeatureCharacterizer().partial_fit(X[:50])
    parts.partial_fit(X[50:80], sample_weight=weight[50:80])
    parts.partial_fit(X[80:], sample_weight=weight[80:])
    pd.testing.assert_frame_equal(parts.characteristics_, whole.characteristics_)
    one = FeatureCharacterizer().partial_fit(X[:60], sample_weight=np.ones(60)).partial_fit(X[60:])
    pd.testing.assert_frame_equal(
        one.characteristics_, FeatureCharacterizer().fit(X).characteristics_
    )


@pytest.mark.parametrize("strategy", ["balanced", "water_filling"])
def test_closed_form_plans(X, weight, strategy):
    characterizer = FeatureCharacterizer({"a": range(4), "b": range(4, 8)})
    selector = AdaptiveRatioSelector(strategy, bits=12, characterizer=characterizer)
    ours = selector.fit(X, sample_weight=weight)
    bits, ratios = ours.bits_, ours.ratios_
    theirs = selector.fit(np.repeat(X, weight, axis=0))
    assert bits == theirs.bits_
    assert ratios == theirs.ratios_


def test_units_of_the_codec(X, weight):
    ours = codec(max_epochs=0).fit(X, sample_weight=weight).units_
    theirs = codec(max_epochs=0).fit(np.repeat(X, weight, axis=0)).units_
    for name in ("lower_", "upper_", "center_", "scale_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12)


def test_few_rows_give_equal_codes():
    X, weight = make_rows(16), np.random.default_rng(0).integers(0, 4, size=16)
    ours = codec(early_stopping=True).fit(X, sample_weight=weight)
    order = np.random.default_rng(1).permutation(weight.sum())
    theirs = codec(early_stopping=True).fit(np.repeat(X, weight, axis=0)[order])
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    assert ours.training_["n_rows"] == theirs.training_["n_rows"] == weight.sum()


def test_use_of_codewords_in_training_goes_by_weights_of_any_size(X, tmp_path):
    parts = np.random.default_rng(0).pareto(1.0, size=120)
    X = X.copy()
    X[::3, 0] = np.nan
    vq = codec(max_epochs=0, auto_compression_strategy="uniform").fit(X, sample_weight=parts)
    save(vq, tmp_path / "m.safetensors")
    for fitted in (vq, load(tmp_path / "m.safetensors")):
        found = diagnose(fitted, X, embedding=None)
        expected = code_entropy(fitted.transform(X), sample_weight=parts)
        np.testing.assert_allclose(found.codebooks["training_entropy"], expected, rtol=1e-6)
        missing = parts[::3].sum() / parts.sum()
        assert found.columns["training_missing"].iloc[0] == pytest.approx(missing)
        assert found.columns["training_missing"].iloc[1] == 0.0


@pytest.mark.parametrize("repeated", [True, False])
def test_rows_per_codeword_count_repeated_rows_as_often_as_they_come(repeated):
    rows = make_rows(15)
    table, weight = (np.repeat(rows, 3, axis=0), None) if repeated else (rows, np.full(15, 3))
    vq = codec(max_epochs=0, min_rows_per_codeword=10).fit(table, sample_weight=weight)
    assert max(map(len, vq.codebooks_.values())) == 4  # of 45 rows, not 15


# --- rows: the codec -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["balanced", "rate_distortion", "learned"])
def test_weight_zero_is_no_row(X, weight, strategy):
    some = (weight > 0).astype(float)
    given = {"auto_compression_strategy": strategy, "early_stopping": True}
    ours = codec(**given).fit(X, sample_weight=some)
    theirs = codec(**given).fit(X[weight > 0])
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    np.testing.assert_array_equal(ours.reconstruct(X), theirs.reconstruct(X))


def test_weight_one_is_no_weight(X):
    vq = codec(early_stopping=True)
    ours, theirs = clone(vq).fit(X, sample_weight=np.ones(120)), vq.fit(X)
    np.testing.assert_array_equal(ours.reconstruct(X), theirs.reconstruct(X))


@pytest.mark.parametrize("weight", [0.1, 0.37, 1 / 3, 1e12 / 7])
@pytest.mark.parametrize("scaler", ["standard", "quantile"])
def test_equal_fractions_are_no_weights(X, weight, scaler):
    some = X[:50]  # of fewer, repeated rows are merged
    ours = codec(scaler=scaler).fit(some, sample_weight=np.full(50, weight))
    theirs = codec(scaler=scaler).fit(some)
    assert ours.units_.own_mean().tobytes() == theirs.units_.own_mean().tobytes()
    np.testing.assert_array_equal(ours.reconstruct(X), theirs.reconstruct(X))


def test_only_the_proportions_of_fractions_count(X):
    weight = np.random.default_rng(0).random(120)
    ours, theirs = (codec(early_stopping=True).fit(X, sample_weight=c * weight) for c in (1.0, 8.0))
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))


def test_rounding_of_fractions_makes_no_few_rows_of_fifty(X):
    for seed in range(20):
        weight = np.random.default_rng(seed).random(50)
        for factor in (0.7, 1.0, 3.0):
            rows, found = learning_rows(X[:50], factor * weight)
            np.testing.assert_array_equal(rows, X[:50])  # few would be sorted
            np.testing.assert_allclose(found, weight / weight.mean())


def test_few_rows_are_those_of_little_weight():
    rows = np.array([[2.0], [0.0], [2.0], [-0.0]])
    merged, found = merge_rows(rows, None)
    np.testing.assert_array_equal(merged, [[0.0], [2.0]])
    np.testing.assert_array_equal(found, [2.0, 2.0])
    merged, found = merge_rows(rows[:2], None)  # in order
    np.testing.assert_array_equal(merged, [[0.0], [2.0]])
    assert found is None
    many = np.full(4, 12.5)
    assert merge_rows(rows, many) == (rows, many)


def test_rows_that_all_count_stay_as_they_are():
    X, weight = [[1.0], [2.0]], [1, 2]
    assert rows_that_count(X, weight) == (X, weight)
    assert rows_that_count(X, weight)[0] is X


@pytest.mark.parametrize("strategy", ["balanced", "rate_distortion"])
def test_rows_that_weigh_more_are_coded_better(strategy):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(200, 6)), rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    X, first = np.concatenate([one, other]), np.arange(400) < 200

    def error(weight):
        fitted = codec(auto_compression_strategy=strategy, scaler=None, clip=None)
        fitted.fit(X, sample_weight=weight)
        wrong = (fitted.reconstruct(X) - X) ** 2
        return wrong[first].sum(), wrong[~first].sum()

    towards_one, towards_other = (error(np.where(first, w, 1 / w)) for w in (10, 0.1))
    assert towards_one[0] < 0.9 * towards_other[0]
    assert towards_other[1] < 0.9 * towards_one[1]


def test_partial_fit_follows_weights(X):
    chunk = make_rows(200, seed=3) + np.where(np.arange(200) < 100, 2.0, -2.0)[:, None]
    up, down = (
        codec().fit(X).partial_fit(chunk, sample_weight=weight)
        for weight in (np.repeat([1, 0], 100), np.repeat([0, 1], 100))
    )
    assert up.score(chunk[:100]) > down.score(chunk[:100])
    assert down.score(chunk[100:]) > up.score(chunk[100:])
    alone = codec().fit(X).partial_fit(chunk[:100])
    np.testing.assert_array_equal(up.transform(chunk), alone.transform(chunk))


@pytest.mark.parametrize("far", [1e10, 1e40])
def test_partial_fit_judges_no_row_of_weight_zero(X, far):
    seen = np.vstack([X, np.full((1, X.shape[1]), far)])
    weight = np.append(np.ones(len(X)), 0.0)
    with_it = codec(clip=None).fit(X).partial_fit(seen, sample_weight=weight)
    without = codec(clip=None).fit(X).partial_fit(X)
    for name, value in without._state.items():
        np.testing.assert_array_equal(with_it._state[name], value)


def test_score_is_weighted(X, weight):
    fitted = codec().fit(X)
    repeated = fitted.score(np.repeat(X, weight, axis=0))
    assert fitted.score(X, sample_weight=weight) == pytest.approx(repeated, rel=1e-9)
    assert fitted.score(X) != pytest.approx(repeated, rel=1e-6)


def test_cleaner_inside_does_not_see_rows_of_weight_zero(X):
    table = pd.DataFrame(np.c_[X, np.r_[np.full(60, 3.0), np.arange(60.0)]])
    table.columns = [f"f{j}" for j in range(9)]
    weight = np.repeat([1, 0], 60)
    fitted = codec(cleaner=FeatureCleaner()).fit(table, sample_weight=weight)
    assert "f8" not in fitted.cleaner_.get_feature_names_out()
    for held in (pl.Series(weight), torch.tensor(weight)):
        again = codec(cleaner=FeatureCleaner()).fit(table, sample_weight=held)
        assert (again.transform(table) == fitted.transform(table)).all()
    assert "f8" in codec(cleaner=FeatureCleaner()).fit(table).cleaner_.get_feature_names_out()


def test_weights_through_a_pipeline(X, weight):
    def steps():
        return Pipeline(
            [
                ("characterize", FeatureCharacterizer()),
                ("ratios", AdaptiveRatioSelector("balanced", bits=12)),
                ("vq", codec(bits=None)),
            ]
        )

    by_name = steps().fit(X, **{f"{s}__sample_weight": weight for s in steps().named_steps})
    with sklearn.config_context(enable_metadata_routing=True):
        routed = steps()
        for step in routed.named_steps.values():
            step.set_fit_request(sample_weight=True)
        routed[-1].set_score_request(sample_weight=True)
        routed.fit(X, sample_weight=weight)
        score = routed.score(X, sample_weight=weight)
    alone = codec().fit(X, sample_weight=weight)
    for fitted in (by_name, routed):
        np.testing.assert_array_equal(fitted.transform(X), alone.transform(X))
    assert score == alone.score(X, sample_weight=weight)


@pytest.mark.parametrize(
    ("weighed", "given", "lacks"),
    [
        (["vq"], "HierarchicalVQVAE", "AdaptiveRatioSelector"),
        (["ratios"], "AdaptiveRatioSelector", "FeatureCharacterizer"),
        (["characterize", "ratios"], "AdaptiveRatioSelector", "HierarchicalVQVAE"),
        (["characterize", "vq"], "FeatureCharacterizer", "AdaptiveRatioSelector"),
    ],
)
def test_weights_of_some_steps_only_are_told(X, weight, weighed, given, lacks):
    steps = {
        "characterize": FeatureCharacterizer(),
        "ratios": AdaptiveRatioSelector("balanced", bits=12),
        "vq": codec(bits=None, max_epochs=0),
    }
    message = f"sample_weight was given to {given}, but not to {lacks}, which counts all rows alike"
    with pytest.warns(UserWarning, match="sample_weight was given") as caught:
        Pipeline(list(steps.items())).fit(X, **{f"{s}__sample_weight": weight for s in weighed})
    assert str(caught[0].message).startswith(message)


def test_weights_of_a_codec_reach_what_it_plans_with(X, weight):
    zeros = np.where(np.arange(120) < 60, weight, 0)
    table = FeatureCharacterizer().fit(X, sample_weight=zeros).transform(X)
    given = {"compression_ratios": [1.0, 2.0], "auto_compression_strategy": "rate_distortion"}
    for own in ({}, given, {"fit_rows": 30}):
        codec(max_epochs=0, **own).fit(table, sample_weight=zeros)
        with pytest.warns(UserWarning, match="given to FeatureCharacterizer, but not to"):
            codec(max_epochs=0, **own).fit(table)
    with pytest.warns(UserWarning, match="but not to HierarchicalVQVAE") as caught:
        codec(max_epochs=0, **given).fit(table)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="but not to AdaptiveRatioSelector") as caught:
        AdaptiveRatioSelector("balanced").fit(table)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "weight",
    [np.zeros(120), np.ones(119), -np.ones(120), np.full(120, np.nan), np.ones((120, 2))],
    ids=["zero", "short", "negative", "nan", "square"],
)
@pytest.mark.parametrize(
    "estimator", [FeatureCharacterizer(), AdaptiveRatioSelector("balanced"), codec()]
)
def test_bad_weights_are_refused(X, estimator, weight):
    with pytest.raises(ValueError, match="sample_weight"):
        estimator.fit(X, sample_weight=weight)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (["a"] * 120, "one per row; it holds the text 'a'"),
        ([[1], [1, 2]] * 60, "one per row; numpy says: setting an array element"),
        (np.ones(119), r"120 finite numbers >= 0, one per row; it has the shape \(119,\)"),
        (np.r_[np.ones(7), -2.0, np.ones(112)], "one per row; row 7 has -2"),
        (np.r_[np.nan, np.ones(119)], "one per row; row 0 has nan"),
        (np.ones(120) * (1 + 1j), "one per row; it holds complex numbers"),
        (["1"] * 120, "one per row; it holds the text '1'"),
        (np.array(["1"] * 120, dtype=object), "one per row; it holds the text '1'"),
        (np.ones(120).astype("M8[D]"), "one per row; it holds dates"),
        (np.ones(120).astype("m8[D]"), "one per row; it holds durations"),
        (np.array([object()] * 120), r"one per row; numpy says: float\(\) argument"),
        (np.ma.masked_array(np.ones(120), np.arange(120) == 3), "one per row; row 3 has nan"),
    ],
)
def test_bad_weights_are_told_what_is_wrong(X, fitted, weight, message):
    calls = [
        FeatureCharacterizer().fit,
        FeatureCharacterizer().partial_fit,
        AdaptiveRatioSelector("balanced").fit,
        codec().fit,
        copy.deepcopy(fitted).partial_fit,
        fitted.score,
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"^sample_weight must be .*{message}"):
            call(X, sample_weight=weight)


@pytest.mark.parametrize("mass", [1.0, 2.0, 0.3])
@pytest.mark.parametrize(
    "estimator",
    [
        FeatureCharacterizer(),
        AdaptiveRatioSelector("balanced"),
        codec(),
        codec(fit_rows=100),
        codec(cleaner=FeatureCleaner()),
    ],
)
def test_weights_that_leave_a_single_row_are_refused(X, estimator, mass):
    weight = np.zeros(120)
    weight[3] = mass
    with pytest.raises(ValueError, match="zero in all rows but one of 120: give at least two"):
        estimator.fit(X, sample_weight=weight)


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["balanced", "rate_distortion"])
def test_columns_that_weigh_more_are_coded_better(X, strategy):
    even = codec(auto_compression_strategy=strategy).fit(X)
    weighed = codec(auto_compression_strategy=strategy, column_weights=[25, 1, 1, 1, 1, 1, 1, 1])
    weighed.fit(X)

    def error(fitted, columns):
        return ((fitted.reconstruct(X) - X)[:, columns] ** 2).sum()

    assert error(weighed, [0]) < 0.8 * error(even, [0])
    assert error(weighed, [1, 2, 4, 5]) > error(even, [1, 2, 4, 5])


def test_bits_follow_the_weights_of_columns(X):
    halves = FeatureCharacterizer({"a": range(4), "b": range(4, 8)})
    for strategy in ("rate_distortion", "water_filling"):
        selector = AdaptiveRatioSelector(strategy, bits=12, characterizer=halves)
        even = sum(selector.fit(X).bits_["a"])
        selector.set_params(column_weights=[9, 9, 9, 9, 1, 1, 1, 1])
        assert sum(selector.fit(X).bits_["a"]) > even


@pytest.mark.parametrize("weight", [4.0, 1e-320, 1e308])
def test_equal_weights_change_nothing(X, weight):
    even = codec().fit(X)
    weighed = codec(column_weights=np.full(8, weight)).fit(X)
    np.testing.assert_array_equal(weighed.transform(X), even.transform(X))
    np.testing.assert_allclose(weighed.reconstruct(X), even.reconstruct(X), rtol=1e-5)
    assert weighed.score(X) == pytest.approx(even.score(X), rel=1e-5)


@pytest.mark.parametrize("scaler", ["standard", "robust", "quantile", None])
def test_units_are_inverted(X, scaler):
    quick = {"bits": 40, "early_stopping": False}
    fitted = codec(scaler=scaler, column_weights=np.arange(1.0, 9.0), **quick).fit(X)
    assert np.abs(fitted.reconstruct(X) - X).mean() < 0.3


def test_score_counts_columns_by_their_weight(X):
    fitted = codec(column_weights=[16, 1, 1, 1, 1, 1, 1, 1]).fit(X)
    Z = fitted.units_.to_codec(X, cap=False).astype(float)
    output = fitted.units_.to_codec(fitted.reconstruct(X), cap=False).astype(float)
    plain = 1 - ((Z - output) ** 2).sum() / ((Z - fitted.units_.reference_) ** 2).sum()
    assert fitted.units_.variance_[0] == pytest.approx(16 * fitted.units_.variance_[1], rel=0.01)
    assert fitted.score(X) == pytest.approx(plain, rel=1e-4)
    assert diagnose(fitted, X).summary["nmse"] == pytest.approx(1 - fitted.score(X), rel=1e-6)


def test_names_positions_and_nested_selectors_agree(X):
    table = pd.DataFrame(X, columns=list("abcdefgh"))
    by_name = codec(column_weights={"b": 9.0}).fit(table)
    weights = [1, 9, 1, 1, 1, 1, 1, 1]
    others = [
        codec(column_weights=weights),
        codec(compression_ratios=AdaptiveRatioSelector("balanced", column_weights=weights)),
        make_pipeline(
            AdaptiveRatioSelector("balanced", bits=12, column_weights={"b": 9}), codec(bits=None)
        ),
    ]
    for other in others:
        np.testing.assert_array_equal(other.fit(table).transform(table), by_name.transform(table))


def test_column_weights_are_numbers_of_any_kind_in_the_order_of_the_columns():
    for given in ([Fraction(1, 2), Decimal(2)], pd.Series([0.5, 2.0]), {"a": 0.5, "b": 2}):
        np.testing.assert_array_equal(check_column_weights(given, ["a", "b"]), [0.5, 2.0])


def test_columns_dropped_by_the_cleaner_take_their_weight_along(X):
    table = pd.DataFrame(np.c_[np.full(120, 3.0), X], columns=list("zabcdefgh"))
    inside = codec(cleaner=FeatureCleaner(caps=None), column_weights={"z": 2.0, "b": 9.0})
    kept = inside.fit(table).cleaner_.get_feature_names_out()
    alone = codec(column_weights={"b": 9.0}).fit(table[kept])
    np.testing.assert_array_equal(inside.transform(table), alone.transform(table[kept]))


def test_weights_given_twice_must_agree(X):
    for here, there in (([1] * 8, [2] * 8), ([2] * 8, None)):
        pipeline = make_pipeline(
            AdaptiveRatioSelector("balanced", bits=12, column_weights=there),
            codec(bits=None, column_weights=here),
        )
        with pytest.raises(ValueError, match="column_weights on AdaptiveRatioSelector only"):
            pipeline.fit(X)


def test_weights_of_one_agree_with_a_plan_without_any():
    ones = np.ones(2)
    assert (
        settle_column_weights(ones, {"plan": {"bits": 8}}, "HierarchicalVQVAE", np.zeros((1, 2)))
        is ones
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "one weight per column"),
        ([1] * 7 + [0], "'h' is 0: give a finite number above 0"),
        ([1] * 7 + [np.inf], "'h' is inf"),
        ({"b": "much"}, "'b' is 'much': give a number"),
        ({"b": 1 + 1j}, r"'b' is \(1\+1j\): give a number"),
        ({"b": np.datetime64("2020-01-01")}, r"'b' is .*2020-01-01.*: give a number"),
        ({"aa": 2}, "'aa', which is no column of X. Did you mean 'a'"),
        (pd.Series([2.0, 3.0], index=["a", "a"]), "'a' more than once"),
    ],
)
def test_bad_column_weights_are_named(X, weights, message):
    table = pd.DataFrame(X, columns=list("abcdefgh"))
    for estimator in (codec(), AdaptiveRatioSelector("balanced")):
        with pytest.raises(ValueError, match=message):
            estimator.set_params(column_weights=weights).fit(table)


def test_weighted_codec_survives_saving(X, weight, tmp_path):
    fitted = codec(column_weights={"x1": 9.0}).fit(X, sample_weight=weight)
    save(fitted, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    assert again.column_weights == {"x1": 9.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert again.score(X) == fitted.score(X)


@pytest.mark.parametrize("model", [{}, {"compression_ratios": [0.5, 1.0]}])
def test_column_weights_of_a_settings_file(X, model):
    from adaptive_vq._config import build_pipeline, settings_of

    content = {"model": {"bits": 12, "column_weights": {"x1": 9.0}, **model}}
    content["training"] = {"epochs": 0}
    fitted = build_pipeline(settings_of(content)).fit(X)
    variance = fitted[-1].units_.variance_
    assert variance[1] == pytest.approx(9 * variance[0], rel=0.01)
