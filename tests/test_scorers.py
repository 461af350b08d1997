"""Evaluation and scorers on a codec small enough to check by hand."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from adaptive_vq import metrics
from adaptive_vq.metrics import (
    Evaluation,
    balance_scorer,
    codebook_perplexity,
    codebook_utilization,
    diagnostics_scorer,
    perplexity_scorer,
    quality_scorer,
    rate_distortion_scorer,
    reconstruction_nmse,
    utilization_scorer,
    worst_category_scorer,
)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# --------------------------------------------------------------------------------- Evaluation
def evaluation(**changes):
    parts = {
        "target": np.array([[0.0, 1.0], [2.0, np.nan], [4.0, 3.0], [2.0, 2.0]]),
        "output": np.array([[0.0, 2.0], [2.0, 9.0], [3.0, 3.0], [2.0, 2.0]]),
        "reference": np.array([2.0, 2.0]),
        "codes": np.array([[0, 0], [1, 0], [1, 3], [0, 0]]),
        "categories": {"a": np.array([0]), "b": np.array([1])},
        "codebooks": {"a__L0": ("a", 0, 2), "b__L0": ("b", 0, 8)},
    }
    return Evaluation(**(parts | changes))


def test_evaluation_figures():
    run = evaluation()
    assert run.nmse == pytest.approx(2 / 10)
    assert run.quality == pytest.approx(0.8)
    assert run.per_category == pytest.approx({"a": 1 / 8, "b": 1 / 2})
    assert run.worst_category == "b"
    assert run.worst_quality == pytest.approx(0.5)
    assert run.imbalance["max_min"] == pytest.approx(4.0)
    assert run.balance == pytest.approx(-0.5 / 0.3125)
    assert run.bits == 4.0
    assert run.sizes.tolist() == [2, 8]
    assert run.used_share == pytest.approx(4 / 10)
    assert run.utilization == {"a__L0": 1.0, "b__L0": 0.25}
    assert run.perplexity["a__L0"] == pytest.approx(2.0)
    assert run.perplexity_share == pytest.approx((1 + run.perplexity["b__L0"] / 8) / 2)
    assert run.entropy["a__L0"] == pytest.approx(1.0)


def test_evaluation_without_an_observed_cell_in_a_category():
    target = evaluation().target.copy()
    target[:, 0] = np.nan
    run = evaluation(target=target)
    assert np.isnan(run.per_category["a"])
    assert run.worst_category == "b"
    assert run.balance == -1.0


def test_evaluation_without_codebooks():
    run = evaluation(codes=np.empty((4, 0), dtype=int), codebooks={})
    assert run.bits == 0.0
    assert run.utilization == {}
    assert np.isnan([run.used_share, run.perplexity_share]).all()


def test_worst_category_tie_is_broken_by_name():
    column = np.array([[0.0], [2.0]])
    parts = {"codes": np.empty((2, 0), dtype=int), "codebooks": {}, "reference": np.ones(2)}
    for categories in ({"z": [0], "y": [1]}, {"y": [0], "z": [1]}):
        run = Evaluation(np.hstack([column] * 2), np.ones((2, 2)), categories=categories, **parts)
        assert run.worst_category == "y"


def test_evaluation_refuses_parts_that_do_not_fit():
    with pytest.raises(ValueError, match=r"shape \(4, 2\); got \(3, 2\)"):
        evaluation(codes=np.zeros((3, 2), dtype=int))
    with pytest.raises(ValueError, match="'b__L0' belongs to 'c', which is no category"):
        evaluation(codebooks={"a__L0": ("a", 0, 2), "b__L0": ("c", 0, 8)})
    with pytest.raises(AttributeError):
        evaluation().codes = None


# ------------------------------------------------------------------------------------ scorers
class BinCodec(TransformerMixin, BaseEstimator):
    """Each column its own category, coded by the nearest of `n_codewords` training quantiles."""

    def __init__(self, n_codewords=4):
        self.n_codewords = n_codewords

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=float)
        self.mean_ = X.mean(axis=0)
        shares = (np.arange(self.n_codewords) + 0.5) / self.n_codewords
        self.words_ = np.quantile(X, shares, axis=0)
        self.n_evaluations_ = 0
        return self

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        return np.abs(X[:, None] - self.words_).argmin(axis=1)

    def _evaluate(self, X):
        codes = self.transform(X)
        self.n_evaluations_ += 1
        columns = range(codes.shape[1])
        return Evaluation(
            target=np.asarray(X, dtype=float),
            output=np.take_along_axis(self.words_, codes, axis=0),
            reference=self.mean_,
            codes=codes,
            categories={f"c{j}": np.array([j]) for j in columns},
            codebooks={f"c{j}__L0": (f"c{j}", 0, self.n_codewords) for j in columns},
        )


SCORERS = {
    "quality": quality_scorer,
    "worst_category": worst_category_scorer,
    "balance": balance_scorer,
    "utilization": utilization_scorer,
    "perplexity": perplexity_scorer,
}


@pytest.fixture
def table():
    return normal(0, 120, 3) * [1, 5, 2] + [0, 3, -1]


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_agree_with_the_figures(table, name):
    codec = BinCodec().fit(table[:80])
    run = codec._evaluate(table[80:])
    expected = {
        "quality": 1 - reconstruction_nmse(run.target, run.output, reference=run.reference),
        "worst_category": 1 - max(run.per_category.values()),
        "balance": -max(run.per_category.values()) / np.median(list(run.per_category.values())),
        "utilization": codebook_utilization(run.codes, [4] * 3).mean(),
        "perplexity": codebook_perplexity(run.codes, [4] * 3).mean() / 4,
    }[name]
    score = SCORERS[name](codec, table[80:])
    assert isinstance(score, float)
    assert score == pytest.approx(expected)
    assert diagnostics_scorer(codec, table[80:])[name] == score
    assert pickle.loads(pickle.dumps(SCORERS[name])) is SCORERS[name]


def test_diagnostics_take_one_pass(table):
    codec = BinCodec().fit(table)
    scores = diagnostics_scorer(codec, table)
    assert codec.n_evaluations_ == 1
    assert set(scores) == {*SCORERS, "bits"}
    assert scores["bits"] == 6.0


def test_rate_distortion_scorer(table):
    codec = BinCodec().fit(table)
    nmse = 1 - quality_scorer(codec, table)
    scorer = rate_distortion_scorer(0.01)
    assert scorer(codec, table) == pytest.approx(-(nmse + 0.06))
    assert rate_distortion_scorer(0)(codec, table) == pytest.approx(-nmse)
    assert pickle.loads(pickle.dumps(scorer)) == scorer != rate_distortion_scorer(0.02)
    for bad in (-1.0, np.nan, np.inf, True):
        with pytest.raises(ValueError, match="lmbda must be finite"):
            rate_distortion_scorer(bad)


def test_scorers_see_through_pipelines(table):
    scaled = StandardScaler().fit_transform(table)
    expected = quality_scorer(BinCodec().fit(scaled), scaled)
    pipe = make_pipeline(StandardScaler(), "passthrough", BinCodec()).fit(table)
    assert quality_scorer(pipe, table) == expected
    assert quality_scorer(FrozenEstimator(pipe), table) == expected
    nested = make_pipeline(FunctionTransformer(), make_pipeline(StandardScaler(), BinCodec()))
    assert quality_scorer(nested.fit(table), table) == expected
    assert quality_scorer(make_pipeline(BinCodec()).fit(scaled), scaled) == expected
    long = make_pipeline(MinMaxScaler(), FunctionTransformer(np.square), BinCodec()).fit(table)
    squared = MinMaxScaler().fit_transform(table) ** 2
    assert quality_scorer(long, table) == quality_scorer(BinCodec().fit(squared), squared)
    codec, reached = metrics.codec_of(pipe, table)
    assert codec is pipe[-1]
    np.testing.assert_array_equal(reached, scaled)


def test_scorers_keep_column_names(table):
    frame = pd.DataFrame(table, columns=["a", "b", "c"])
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), BinCodec()).fit(frame)
    assert quality_scorer(pipe, frame) > 0.5
    with pytest.raises(ValueError, match="feature names should match"):
        quality_scorer(pipe, frame.rename(columns={"a": "z"}))


def test_scorers_refuse_what_does_not_end_in_a_codec(table):
    model = make_pipeline(BinCodec(), LinearRegression()).fit(table, table[:, 0])
    message = (
        "^this scorer needs a codec such as HierarchicalVQVAE, or a Pipeline ending in one; got "
        r"Pipeline ending in LinearRegression\. Score a downstream model with a metric for its own "
        r"task\.$"
    )
    with pytest.raises(TypeError, match=message):
        quality_scorer(model, table)
    with pytest.raises(TypeError, match=r"got StandardScaler\. Score a downstream model"):
        diagnostics_scorer(StandardScaler(), table)
    with pytest.raises(TypeError, match="ending in passthrough"):
        quality_scorer(Pipeline([("codec", BinCodec()), ("end", "passthrough")]), table)
    with pytest.raises(NotFittedError):
        quality_scorer(BinCodec(), table)
    with pytest.raises(NotFittedError):
        quality_scorer(make_pipeline(StandardScaler(), BinCodec()), table)


def test_grid_search_with_diagnostics(table):
    pipe = Pipeline([("scale", StandardScaler()), ("vq", BinCodec())])
    grid = {"vq__n_codewords": [2, 4, 8]}
    search = GridSearchCV(pipe, grid, scoring=diagnostics_scorer, refit="quality", cv=3)
    search.fit(table)
    assert search.best_params_ == {"vq__n_codewords": 8}
    assert search.cv_results_["mean_test_bits"].tolist() == [3.0, 6.0, 9.0]
    assert (np.diff(search.cv_results_["mean_test_quality"]) > 0).all()
    separate = GridSearchCV(pipe, grid, scoring=SCORERS, refit="quality", cv=3).fit(table)
    for name in SCORERS:
        key = f"mean_test_{name}"
        np.testing.assert_allclose(separate.cv_results_[key], search.cv_results_[key])


def test_nested_cross_validation(table):
    pipe = Pipeline([("scale", StandardScaler()), ("vq", BinCodec())])
    search = GridSearchCV(pipe, {"vq__n_codewords": [2, 8]}, scoring=quality_scorer, cv=3)
    outer = {"scoring": diagnostics_scorer, "cv": 3, "error_score": "raise"}
    found = cross_validate(search, table, return_estimator=True, **outer)
    best = cross_validate(pipe.set_params(vq__n_codewords=8), table, **outer)
    np.testing.assert_array_equal(found["test_quality"], best["test_quality"])
    fitted = found["estimator"][0]
    assert (
        metrics.codec_of(make_pipeline(FrozenEstimator(fitted)), table)[0]
        == (fitted.best_estimator_["vq"])
    )
    with pytest.raises(TypeError, match="got GridSearchCV"):
        quality_scorer(search, table)


def test_grid_search_by_rate_and_distortion(table):
    grid = {"n_codewords": [2, 4, 8]}
    dear = GridSearchCV(BinCodec(), grid, scoring=rate_distortion_scorer(1.0), cv=3)
    assert dear.fit(table).best_params_ == {"n_codewords": 2}
    free = GridSearchCV(BinCodec(), grid, scoring=rate_distortion_scorer(0.0), cv=3)
    assert free.fit(table).best_params_ == {"n_codewords": 8}


# ------------------------------------------------------------------------------------ weights
ALL_SCORERS = [*SCORERS.values(), rate_distortion_scorer(0.01), diagnostics_scorer]


def test_weighted_figures_are_those_of_repeated_rows():
    weight = np.array([3, 2, 0, 1])
    once = evaluation(sample_weight=weight)
    parts = {"target": once.target, "output": once.output, "codes": once.codes}
    often = evaluation(**{key: np.repeat(value, weight, axis=0) for key, value in parts.items()})
    for name in ("nmse", "per_category", "used_share", "perplexity_share", "balance", "bits"):
        assert getattr(once, name) == pytest.approx(getattr(often, name)), name
    for name in ("utilization", "perplexity", "entropy"):
        assert getattr(once, name) == pytest.approx(getattr(often, name)), name
    assert once.used_share < evaluation().used_share  # a row of weight 0 uses no codeword
    with pytest.raises(ValueError, match="one per row; it has the shape"):
        evaluation(sample_weight=weight[:3])


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_scorers_count_rows_by_weight(table, scorer):
    codec, weight = BinCodec(64).fit(table), np.arange(120) % 3
    weighted = scorer(codec, table, sample_weight=weight)
    assert weighted == pytest.approx(scorer(codec, np.repeat(table, weight, axis=0)))
    assert weighted != scorer(codec, table)
    with pytest.raises(ValueError, match="zero in every row"):
        scorer(codec, table, sample_weight=0 * weight)


def test_steps_before_the_codec_see_no_row_of_weight_zero(table):
    pipe = make_pipeline(StandardScaler(), BinCodec()).fit(table)
    weight, wild = np.repeat([1.0, 0.0], [110, 10]), table.copy()
    wild[115, 0] = np.inf
    assert quality_scorer(pipe, wild, sample_weight=weight) == quality_scorer(pipe, table[:110])


class WeighedCodec(BinCodec):
    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X)


def mean_quality(search, table, weight):
    found = search.fit(table, sample_weight=weight).cv_results_
    return found["mean_test_score" if callable(search.scoring) else "mean_test_quality"][0]


@pytest.mark.parametrize("scoring", [quality_scorer, {"quality": quality_scorer}])
def test_searches_pass_weights_on(table, scoring):
    grid, cv = {"n_codewords": [4]}, [(np.arange(80), np.arange(80, 120))]
    weight = np.arange(120) % 3
    search = GridSearchCV(WeighedCodec(), grid, scoring=scoring, refit=False, cv=cv)
    codec = BinCodec().fit(table[:80])
    expected = quality_scorer(codec, table[80:], sample_weight=weight[80:])
    assert mean_quality(search, table, weight) == expected


@pytest.mark.parametrize("several", [False, True])
def test_scorers_take_part_in_metadata_routing(table, several):
    grid, cv = {"n_codewords": [4]}, [(np.arange(80), np.arange(80, 120))]
    weight, codec = np.arange(120) % 3, BinCodec().fit(table[:80])
    with config_context(enable_metadata_routing=True):
        model = WeighedCodec().set_fit_request(sample_weight=True)

        def search(scorer):
            scoring = {"quality": scorer} if several else scorer
            return GridSearchCV(model, grid, scoring=scoring, refit=False, cv=cv)

        with pytest.raises(UnsetMetadataPassedError, match=r"quality_scorer\.set_score_request"):
            search(quality_scorer).fit(table, sample_weight=weight)
        asks = quality_scorer.set_score_request(sample_weight=True)
        expected = quality_scorer(codec, table[80:], sample_weight=weight[80:])
        assert mean_quality(search(asks), table, weight) == expected
        declines = quality_scorer.set_score_request(sample_weight=False)
        expected = quality_scorer(codec, table[80:])
        assert mean_quality(search(declines), table, weight) == expected
    assert pickle.loads(pickle.dumps(asks)) == asks != declines
    # What is imported asks for nothing, whoever has set a request for himself.
    assert quality_scorer.get_metadata_routing().score.requests == {"sample_weight": None}


def test_a_made_scorer_takes_part_too():
    scorer = rate_distortion_scorer(0.5).set_score_request(sample_weight="importance")
    assert scorer.lmbda == 0.5
    assert scorer.get_metadata_routing().score.requests == {"sample_weight": "importance"}
