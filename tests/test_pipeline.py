"""The three estimators in every wiring that scikit-learn offers."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from joblib import parallel_config
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    tune_categories,
)
from adaptive_vq.annotations import annotation
from adaptive_vq.metrics import diagnostics_scorer

GROUPS = {"a": ["a__0", "a__1", "a__2"], "b": ["b__0", "b__1", "b__2", "b__flag", "constant"]}
BY_NUMBER = {"a": [0, 1, 2], "b": [3, 4, 5, 6, 7]}


def codec(**parameters):
    quick = {
        "max_epochs": 1,
        "early_stopping": False,
        "beam_width": 2,
        "group_hidden_dim": 8,
        "group_embedding_dim": 8,
        "random_state": 0,
    }
    return HierarchicalVQVAE(**{**quick, **parameters})


def selector(strategy="uniform", **parameters):
    return AdaptiveRatioSelector(strategy, **{"bits": 12, "n_levels": 2, **parameters})


def three_steps(categories=BY_NUMBER, **parameters):
    steps = [
        ("characterize", FeatureCharacterizer(categories)),
        ("ratios", selector()),
        ("vq", codec(**parameters)),
    ]
    return Pipeline(steps)


@pytest.fixture
def expected(small_frame):
    """Codes of the plain pipeline, with which every other wiring has to agree."""
    return three_steps().fit_transform(small_frame)


# --- containers ----------------------------------------------------------------------------------


def test_plan_reaches_the_codec(small_frame, expected):
    pipe = three_steps().fit(small_frame)
    plan, vq = pipe["ratios"], pipe["vq"]
    assert list(vq.categories_) == ["a", "b"]
    assert vq.ratios_ == plan.ratios_
    assert vq.decisions_.index.tolist() == plan.decisions_.index.tolist()
    assert vq.n_bits_ <= 12
    names = ["a__L0", "a__L1", "b__L0", "b__L1"]
    assert pipe.get_feature_names_out().tolist() == names
    assert expected.shape == (80, 4)
    assert expected.dtype == np.uint8


def test_array_frame_and_polars_give_the_same_codes(small_frame, small_polars, expected):
    array = small_frame.to_numpy()
    for X in (array, small_polars):
        np.testing.assert_array_equal(three_steps().fit_transform(X), expected)
    aside = [
        three_steps(early_stopping=True).fit_transform(X)
        for X in (small_frame, array, small_polars)
    ]
    np.testing.assert_array_equal(aside[0], aside[1])
    np.testing.assert_array_equal(aside[0], aside[2])
    fitted = three_steps().fit(small_frame)
    decoded = fitted.inverse_transform(expected)
    assert isinstance(decoded, pd.DataFrame)
    assert decoded.columns.tolist() == small_frame.columns.tolist()
    assert fitted.score(small_frame) > 0.5
    from_array = three_steps().fit(array).inverse_transform(expected)
    assert isinstance(from_array, np.ndarray)
    np.testing.assert_array_equal(from_array, decoded.to_numpy())


def test_table_is_left_as_it_was(small_frame):
    before = small_frame.copy()
    three_steps().fit(small_frame)
    pd.testing.assert_frame_equal(small_frame, before)
    assert annotation(small_frame) is None


def test_columns_in_another_order_are_refused(small_frame):
    pipe = three_steps().fit(small_frame)
    with pytest.raises(ValueError, match="feature names should match"):
        pipe.transform(small_frame[small_frame.columns[::-1]])


# --- copies --------------------------------------------------------------------------------------


def test_clone_and_pickle(small_frame, expected):
    fitted = three_steps().fit(small_frame)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(small_frame), expected)
    fresh = clone(fitted)
    assert not hasattr(fresh["vq"], "codebooks_")
    np.testing.assert_array_equal(fresh.fit_transform(small_frame), expected)


def test_html_and_text_repr(small_frame):
    fitted = three_steps().fit(small_frame)
    assert "HierarchicalVQVAE" in repr(fitted)
    assert "HierarchicalVQVAE" in fitted._repr_html_()


# --- searches ------------------------------------------------------------------------------------

GRID = {"ratios__strategy": ["uniform", "dimensionality", "rate_distortion"]}


def search(**parameters):
    return GridSearchCV(three_steps(), GRID, cv=2, **parameters)


def test_grid_search_compares_different_plans(small_frame):
    found = search(scoring=diagnostics_scorer, refit="quality").fit(small_frame)
    scores = found.cv_results_["mean_test_quality"]
    assert len(set(scores)) == len(GRID["ratios__strategy"])  # no strategy is ignored
    plans = [
        three_steps().set_params(ratios__strategy=s).fit(small_frame)["vq"].bits_
        for s in GRID["ratios__strategy"]
    ]
    assert plans[0] != plans[1] != plans[2]
    best = GRID["ratios__strategy"][found.best_index_]
    assert found.best_estimator_["ratios"].strategy == best
    assert {"mean_test_worst_category", "mean_test_utilization"} <= set(found.cv_results_)


@pytest.fixture(scope="module")
def alone(make_small_frame):
    """Scores of the search in one process and thread."""
    return search(refit=False).fit(make_small_frame()).cv_results_["mean_test_score"]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_in_parallel_gives_the_same_scores(small_frame, alone, backend):
    with parallel_config(backend, n_jobs=2):
        together = search(refit=False).fit(small_frame)
    np.testing.assert_array_equal(alone, together.cv_results_["mean_test_score"])


def test_halving_search(small_frame):
    found = HalvingGridSearchCV(
        three_steps(), GRID, cv=2, min_resources=40, factor=2, random_state=0
    ).fit(small_frame)
    assert found.n_resources_ == [40, 80]
    assert found.best_estimator_["vq"].n_bits_ <= 12


# --- pipeline and output settings ----------------------------------------------------------------


def test_pipeline_with_memory(small_frame, expected, tmp_path):
    pipe = three_steps().set_params(memory=str(tmp_path))
    np.testing.assert_array_equal(pipe.fit_transform(small_frame), expected)
    np.testing.assert_array_equal(pipe.fit_transform(small_frame), expected)  # from the cache
    moved = clone(pipe).set_params(ratios__strategy="dimensionality").fit(small_frame)
    plain = three_steps().set_params(ratios__strategy="dimensionality").fit(small_frame)
    assert moved["vq"].bits_ == plain["vq"].bits_


@pytest.mark.parametrize(("output", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output(small_frame, expected, output, kind):
    pipe = three_steps().set_output(transform=output)
    codes = pipe.fit_transform(small_frame)
    assert isinstance(codes, kind)
    assert list(codes.columns) == pipe.get_feature_names_out().tolist()
    np.testing.assert_array_equal(codes.to_numpy(), expected)
    decoded, plain = pipe.inverse_transform(codes), pipe.inverse_transform(expected)
    assert decoded.index.equals(small_frame.index if output == "pandas" else plain.index)
    pd.testing.assert_frame_equal(decoded.reset_index(drop=True), plain)


def test_pandas_output_keeps_the_index(small_frame):
    codes = three_steps().set_output(transform="pandas").fit_transform(small_frame)
    assert codes.index.equals(small_frame.index)
    assert (codes.dtypes == np.uint8).all()


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_global_output_setting(small_frame, expected, output):
    with sklearn.config_context(transform_output=output):
        codes = three_steps().fit_transform(small_frame)
    np.testing.assert_array_equal(codes.to_numpy(), expected)


def test_sparse_codes_refuse_frames(small_frame):
    pipe = three_steps(encode="onehot").set_output(transform="pandas")
    with pytest.raises(ValueError, match="sparse_output=False"):
        pipe.fit_transform(small_frame)
    dense = three_steps(encode="onehot", sparse_output=False).set_output(transform="pandas")
    codes = dense.fit_transform(small_frame)
    assert codes.columns[0] == "a__L0_0"
    assert (codes.sum(axis=1) == 4).all()


# --- other meta-estimators -----------------------------------------------------------------------


def test_inside_a_column_transformer(small_frame):
    columns = GROUPS["a"]
    pipe = make_pipeline(selector(), codec())
    both = ColumnTransformer([("codes", pipe, columns), ("rest", "passthrough", ["constant"])])
    out = both.fit_transform(small_frame)
    alone = make_pipeline(selector(), codec()).fit_transform(small_frame[columns])
    np.testing.assert_array_equal(out[:, :-1], alone)
    assert both.get_feature_names_out()[0] == "codes__cluster_1__L0"


def test_frozen_selector(small_frame):
    frozen = FrozenEstimator(selector("dimensionality", bits=9).fit(small_frame))
    pipe = make_pipeline(frozen, codec()).fit(small_frame[:60])
    assert pipe[-1].ratios_ == frozen.ratios_
    assert pipe[-1].budget_ == 9


def test_frozen_codec(small_frame, expected):
    fitted = three_steps().fit(small_frame)
    pipe = make_pipeline(FrozenEstimator(fitted), FunctionTransformer()).fit(small_frame[:10])
    np.testing.assert_array_equal(pipe.transform(small_frame), expected)


@pytest.mark.parametrize("routing", [False, True])
def test_before_a_classifier_with_metadata_routing(small_frame, routing):
    y = (np.arange(80) % 2).astype(int)
    weight = np.linspace(0.1, 1, 80)
    with sklearn.config_context(enable_metadata_routing=routing):
        classifier, steps = LogisticRegression(), (selector(), codec(encode="onehot"))
        if routing:
            classifier.set_fit_request(sample_weight=True)
            for step in steps:  # both take weights too, and are to be told whether to
                step.set_fit_request(sample_weight=False)
        pipe = make_pipeline(*steps, classifier)
        key = "sample_weight" if routing else "logisticregression__sample_weight"
        pipe.fit(small_frame, y, **{key: weight})
    assert pipe.predict(small_frame).shape == (80,)
    assert pipe[1].budget_ == 12


# --- the note ------------------------------------------------------------------------------------


def test_metadata_of_decoding_are_the_levels_alone(small_frame):
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = three_steps()
        pipe["vq"].set_inverse_transform_request(n_levels=True)
        with pytest.raises(TypeError, match="codes"):
            pipe["vq"].set_inverse_transform_request(codes=True)
        codes = pipe.fit_transform(small_frame)
        coarse = pipe.inverse_transform(codes, n_levels=1)
    assert coarse.equals(pipe["vq"].inverse_transform(codes, n_levels=1))


@pytest.mark.parametrize("first", [FeatureCharacterizer(), AdaptiveRatioSelector()])
def test_lost_note_names_the_culprit(small_frame, first):
    pipe = Pipeline([("first", first), ("scale", StandardScaler()), ("vq", codec())])
    name = type(first).__name__
    with pytest.raises(ValueError, match=f"note of {name} was lost.*'scale'"):
        pipe.fit(small_frame)
    with pytest.raises(ValueError, match=f"note of {name} was lost.*'scale'"):
        pipe.fit_transform(small_frame)


def test_lost_note_of_a_selector_after_a_characterizer(small_frame):
    steps = [FeatureCharacterizer(), selector(), StandardScaler(), codec()]
    with pytest.raises(ValueError, match=r"lost on the way.*'standardscaler'"):
        make_pipeline(*steps).fit(small_frame)


def test_note_lost_between_characterizer_and_selector(small_frame):
    steps = [FeatureCharacterizer(BY_NUMBER), StandardScaler(), selector(), codec()]
    with pytest.raises(ValueError, match=r"lost on the way to AdaptiveRatioSelector: .*scaler"):
        make_pipeline(*steps).fit(small_frame)


def test_lost_note_in_nested_pipelines(small_frame):
    inner = make_pipeline(selector(), StandardScaler())
    with pytest.raises(
        ValueError, match=r"AdaptiveRatioSelector was lost.*last step of step 'plan'"
    ):
        Pipeline([("plan", inner), ("vq", codec())]).fit(small_frame)
    outer = [("ratios", selector()), ("scale", StandardScaler()), ("last", make_pipeline(codec()))]
    with pytest.raises(ValueError, match=r"AdaptiveRatioSelector was lost.*'scale'"):
        Pipeline(outer).fit(small_frame)


def test_a_note_that_a_codec_has_used_is_not_lost_to_the_next(small_frame):
    first, second = (codec(auto_compression_strategy="water_filling", bits=8) for _ in "ab")
    fitted = make_pipeline(FeatureCharacterizer(), first, second).fit(small_frame)
    assert fitted.transform(small_frame).shape[0] == len(small_frame)


def test_lost_note_with_memory(small_frame, tmp_path):
    pipe = Pipeline(
        [("ratios", selector()), ("scale", StandardScaler()), ("vq", codec())],
        memory=str(tmp_path),
    )
    with pytest.raises(ValueError, match="was lost"):
        pipe.fit(small_frame)


def test_note_survives_nested_pipelines(small_frame, expected):
    plan = make_pipeline(FeatureCharacterizer(BY_NUMBER), selector())
    nested = make_pipeline(plan, make_pipeline(codec())).fit(small_frame)
    np.testing.assert_array_equal(nested.transform(small_frame), expected)


def test_harmless_steps_around_the_three(small_frame):
    steps = [StandardScaler(), *[step for _, step in three_steps().steps], FunctionTransformer()]
    codes = make_pipeline(*steps).fit_transform(small_frame)
    assert codes.shape == (80, 4)


def test_pandas_scaler_between_is_seen_too(small_frame):
    scale = StandardScaler().set_output(transform="pandas")
    with pytest.raises(ValueError, match="was lost"):
        make_pipeline(selector(), scale, codec()).fit(small_frame)


def test_columns_dropped_behind_the_selector(small_frame):
    drop = FunctionTransformer(lambda X: X.drop(columns="constant"))
    with pytest.raises(ValueError, match="columns of X were changed after AdaptiveRatioSelector"):
        make_pipeline(selector(), drop, codec()).fit(small_frame)


def test_rows_dropped_behind_the_selector_are_fine(small_frame):
    annotated = selector().fit(small_frame).transform(small_frame)
    assert codec().fit(annotated[:50]).budget_ == 12


# --- who decides ---------------------------------------------------------------------------------


def test_same_setting_in_two_places_is_no_conflict(small_frame):
    pipe = make_pipeline(
        FeatureCharacterizer(scaler="robust", clip=(1, 99)),
        selector(scaler="robust", clip=(1, 99)),
        codec(scaler="robust", clip=(1, 99), bits=12, n_levels=2),
    )
    assert pipe.fit(small_frame)[-1].units_.scaler == "robust"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bits": 20}, r"HierarchicalVQVAE\(bits=20\) contradicts.*bits=12"),
        ({"n_levels": 3}, r"HierarchicalVQVAE\(n_levels=3\) contradicts.*n_levels=2"),
        ({"scaler": None}, r"HierarchicalVQVAE has scaler=None, but Ad.*scaler='robust'"),
        ({"clip": None}, r"HierarchicalVQVAE has clip=None, but Ad.*clip=\[1.0, 99.0\]"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_conflict_between_selector_and_codec(small_frame, parameters, message, nested):
    first = selector(scaler="robust", clip=(1, 99))
    codec_alone = codec(compression_ratios=first, **parameters)
    estimator = codec_alone if nested else make_pipeline(first, codec(**parameters))
    with pytest.raises(ValueError, match=message):
        estimator.fit(small_frame)


def test_conflict_with_a_default_budget_names_it(small_frame):
    pipe = make_pipeline(AdaptiveRatioSelector("uniform"), codec(bits=64))
    with pytest.raises(ValueError, match=r"bits=64.*planned bits=16.*on AdaptiveRatioSelector"):
        pipe.fit(small_frame)


def test_conflict_between_characterizer_and_the_others(small_frame):
    first = FeatureCharacterizer(scaler="robust")
    with pytest.raises(ValueError, match="AdaptiveRatioSelector has scaler='standard'"):
        make_pipeline(first, selector(scaler="standard"), codec()).fit(small_frame)
    with pytest.raises(ValueError, match="HierarchicalVQVAE has scaler='standard'"):
        make_pipeline(first, codec(scaler="standard")).fit(small_frame)


def test_units_follow_the_first_that_decides(small_frame):
    pipe = make_pipeline(FeatureCharacterizer(scaler="robust", clip=(5, 95)), selector(), codec())
    units = pipe.fit(small_frame)[-1].units_
    assert units.scaler == "robust"
    assert units.clip == (5.0, 95.0)
    nested = codec(compression_ratios=selector(), scaler="quantile", clip=None).fit(small_frame)
    assert nested.units_.scaler == "quantile"
    assert nested.units_.clip is None


def test_nested_selector_and_characterizer(small_frame, expected):
    nested = codec(compression_ratios=selector(characterizer=FeatureCharacterizer(BY_NUMBER)))
    np.testing.assert_array_equal(nested.fit_transform(small_frame), expected)
    assert not hasattr(nested.compression_ratios, "plan_")  # fitted on a clone
    deep = nested.get_params()
    assert deep["compression_ratios__characterizer__categories"] is BY_NUMBER
    nested.set_params(compression_ratios__bits=6).fit(small_frame)
    assert nested.n_bits_ <= 6


class Halves(FeatureCharacterizer):
    def __init__(self):
        super().__init__(2)


class Uniform(AdaptiveRatioSelector):
    def __init__(self, bits=None):
        super().__init__("uniform", bits=bits, characterizer=Halves())


class Quick(HierarchicalVQVAE):
    def __init__(self, compression_ratios="auto"):
        super().__init__(compression_ratios, bits=8, max_epochs=0, scaler="robust")


def test_subclasses_with_fewer_parameters_follow_each_other(small_frame):
    fitted = Quick(Uniform()).fit(small_frame)
    plain = AdaptiveRatioSelector("uniform", characterizer=FeatureCharacterizer(2))
    expected = HierarchicalVQVAE(plain, bits=8, max_epochs=0, scaler="robust").fit(small_frame)
    assert fitted.bits_ == expected.bits_
    np.testing.assert_array_equal(fitted.transform(small_frame), expected.transform(small_frame))
    assert isinstance(tune_categories(Quick(Uniform()), small_frame, max_rounds=1)[0], Quick)


def test_nested_selector_takes_the_budget_of_the_codec(small_frame):
    nested = codec(compression_ratios=AdaptiveRatioSelector("uniform"), bits=7)
    assert nested.fit(small_frame).budget_ == 7


def test_given_beats_nested_beats_note(small_frame):
    annotated = selector("dimensionality").fit(small_frame).transform(small_frame)
    noted = codec().fit(annotated)
    with pytest.warns(UserWarning, match="replaces the plan"):
        nested = codec(compression_ratios=selector("uniform", bits=8)).fit(annotated)
    with pytest.warns(UserWarning, match="replaces the plan"):
        given = codec(compression_ratios=[1.0, 2.0, 4.0]).fit(annotated)
    assert "dimensionality" in noted.decisions_["reason"].iloc[0]
    assert nested.budget_ == 8
    assert next(iter(given.ratios_.values())) == [1.0, 2.0, 4.0]
    assert given.budget_ == 12  # the budget asked for earlier still holds
    assert list(given.categories_) == list(noted.categories_)
    with (
        pytest.warns(UserWarning, match="replaces the plan"),
        pytest.raises(ValueError, match=r"bits=30\) contradicts"),
    ):
        codec(compression_ratios=[1.0, 2.0], bits=30).fit(annotated)


def test_a_plan_that_is_replaced_is_told(small_frame):
    pipe = make_pipeline(selector("dimensionality"), codec(compression_ratios="0.5:1:2"))
    message = r"compression_ratios='0\.5:1:2'\) replaces the plan.*'dimensionality'.*no effect"
    with pytest.warns(UserWarning, match=message) as caught:
        pipe.fit(small_frame)
    with pytest.warns(UserWarning, match=message) as alone:
        pipe[-1].fit(pipe[0].transform(small_frame))
    assert len(caught) == len(alone) == 1
    assert alone[0].filename == __file__
    make_pipeline(FeatureCharacterizer(), codec(compression_ratios="0.5:1:2")).fit(small_frame)


@pytest.mark.parametrize("idle", ["minimax", ["uniform", "variance", "balanced"], [5, "uniform"]])
def test_a_strategy_of_the_codec_beside_a_plan_is_told_to_be_idle(small_frame, idle):
    for strategy, told in ((idle, True), ("rate_distortion", False), ("balanced", False)):
        vq = HierarchicalVQVAE(auto_compression_strategy=strategy, max_epochs=0)
        pipe = make_pipeline(AdaptiveRatioSelector("balanced", bits=8), vq)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pipe.fit(small_frame)
        found = [str(w.message) for w in caught if "auto_compression_strategy" in str(w.message)]
        assert len(found) == told
        assert all("has no effect" in text and "'balanced'" in text for text in found)


def test_a_strategy_of_the_codec_beside_a_nested_selector_is_told_to_be_idle(small_frame):
    nested = AdaptiveRatioSelector("balanced", bits=8)
    message = (
        r"auto_compression_strategy='minimax'\) has no effect: the selector in "
        "compression_ratios makes the plan, by strategy 'balanced'"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        codec(compression_ratios=nested, auto_compression_strategy="minimax").fit(small_frame)
    assert [w.filename for w in caught] == [__file__]
    for same in ("rate_distortion", "balanced"):
        codec(compression_ratios=nested, auto_compression_strategy=same).fit(small_frame)


@pytest.mark.parametrize("ratios", ["0.5:1:2", [0.5, 1.0, 2.0], {"all": [0.5, 1.0, 2.0]}])
def test_a_strategy_of_the_codec_beside_given_ratios_is_told_to_be_idle(small_frame, ratios):
    frame = FeatureCharacterizer({"all": slice(None)}).fit_transform(small_frame)
    vq = codec(compression_ratios=ratios)
    message = r"auto_compression_strategy='balanced'\) has no effect: compression_ratios=.* already"
    with pytest.warns(UserWarning, match=message) as caught:
        told = clone(vq).set_params(auto_compression_strategy="balanced").fit(frame)
    assert [w.filename for w in caught] == [__file__]
    assert told.bits_ == vq.fit(frame).bits_  # as by default, where nothing is told


def test_default_selector_when_alone(small_frame):
    vq = codec(auto_compression_strategy="uniform", bits=12, n_levels=2).fit(small_frame)
    pipe = make_pipeline(selector("uniform"), codec()).fit(small_frame)
    assert vq.bits_ == pipe[-1].bits_
    np.testing.assert_array_equal(vq.transform(small_frame), pipe.transform(small_frame))


def test_refit_forgets_the_earlier_fit(small_frame):
    pipe = make_pipeline(selector("rate_distortion"), codec()).fit(small_frame)
    assert hasattr(pipe[-1], "curves_")
    pipe.set_params(adaptiveratioselector__strategy="uniform").fit(small_frame.to_numpy()[:, :4])
    vq = pipe[-1]
    assert not hasattr(vq, "curves_")
    assert not hasattr(vq, "feature_names_in_")
    assert vq.n_features_in_ == 4
    assert isinstance(
        pipe.inverse_transform(vq.transform(small_frame.to_numpy()[:, :4])), np.ndarray
    )
