"""Searches, tuned codecs and paths: what is taken, and what is refused."""

import io

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    compare,
    diagnose,
    load,
    save,
    tune_categories,
)
from adaptive_vq.displays import CategoryErrorDisplay, RatioDecisionDisplay, TrainingHistoryDisplay
from adaptive_vq.metrics import quality_scorer
from adaptive_vq.persistence import read_document
from quick import X, codec


def test_tuning_learns_from_the_rows_that_a_fit_draws():
    rng = np.random.default_rng(0)
    table = np.repeat(rng.normal(size=(500, 2)), 3, axis=1) + 0.3 * rng.normal(size=(500, 6))
    given = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
    few = codec(AdaptiveRatioSelector("uniform", bits=8, characterizer=given), fit_rows=100)
    for refit in (True, False):
        tuned, _ = tune_categories(few, table, max_epochs=0, max_rounds=1, refit=refit)
        assert tuned.training_["n_rows"] == 100


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


@pytest.mark.parametrize("path", [io.BytesIO(), None, 3])
def test_what_is_no_path_is_named(fitted, path):
    report, found = diagnose(fitted, X, embedding=None), compare({"a": fitted, "b": fitted}, X)
    uses = [lambda p: save(fitted, p), load, read_document]
    if path is not None:  # these return the text alone
        uses += [report.to_json, report.to_html, found.to_html]
    for use in uses:
        with pytest.raises(TypeError, match=r"^path=.* is no path: give the name of a file, as"):
            use(path)


def grid(**settings) -> GridSearchCV:
    return GridSearchCV(codec(), {"bits": [4]}, cv=2, **settings)


@pytest.mark.parametrize("inside", [False, True])
def test_a_search_without_best_estimator_says_what_to_do(fitted, inside):
    for search, advice in [
        (grid(), "got .*GridSearchCV.* fit it first"),
        (grid(refit=False).fit(X), "got .*GridSearchCV.* With refit=False .* refit=True"),
    ]:
        given = make_pipeline("passthrough", search) if inside else search
        uses = [
            lambda e: diagnose(e, X),
            lambda e: compare({"a": fitted, "b": e}, X),
            lambda e: quality_scorer(e, X),
            lambda e: CategoryErrorDisplay.from_estimator(e, X),
            RatioDecisionDisplay.from_estimator,
            TrainingHistoryDisplay.from_estimator,
        ]
        for use in uses:
            with pytest.raises(TypeError, match=advice):
                use(given)


def test_tuning_says_what_to_give_of_a_search():
    with pytest.raises(TypeError, match=r"got GridSearchCV\. .* best_estimator_"):
        tune_categories(grid().fit(X), X)


@pytest.mark.parametrize("refit", ["no", None, 1, []])
def test_tuning_refuses_a_refit_that_is_neither_true_nor_false(refit):
    with pytest.raises(ValueError, match=r"refit=.* must be True or False"):
        tune_categories(codec(), X, refit=refit, max_rounds=0)


def test_tuning_takes_truth_of_numpy():
    assert len(tune_categories(codec(), X, refit=np.False_, max_rounds=0).report) == 1
