"""What is predicted of rows that the codec has not seen."""

import math

import numpy as np
import pytest
import torch

from adaptive_vq import HierarchicalVQVAE, estimation, fitting
from adaptive_vq._foresight import (
    Errors,
    Optimism,
    category_errors,
    drawn_together,
    measure_optimism,
)
from adaptive_vq._usual_gains import UsualGains
from adaptive_vq.fitting import fit_codec
from adaptive_vq.metrics import category_nmse


def test_prediction_is_the_training_error_times_the_factor():
    optimism = Optimism({"a": 1.5, "b": None}, {"a": 0.9, "b": 0.2})
    assert optimism.predict({"a": 0.1, "b": 0.0}) == {"a": pytest.approx(0.15), "b": 0.2}


def test_categories_of_either_codec_alone_have_no_factor():
    def errors(error):
        return Errors(torch.full((50,), error), torch.ones(50))

    unseen = {"a": errors(0.3), "b": errors(0.2), "c": errors(0.1)}
    found = measure_optimism(unseen, {"a": errors(0.2), "b": errors(0.0), "d": errors(0.4)})
    assert found.factors == {"a": pytest.approx(1.5), "b": None, "c": None}
    predicted = found.predict({"a": 0.2, "b": 0.0, "c": 0.1})
    assert predicted == {"a": pytest.approx(0.3), "b": pytest.approx(0.2), "c": pytest.approx(0.1)}


@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_final_codec_is_asked_about_the_rows_fitted_on(monkeypatch, early_stopping):
    asked = []

    def noted(module, rows):
        asked.append((module, len(rows)))
        return category_errors(module, rows)

    def ended(*args):
        fitted = fit_codec(*args)
        asked.append((fitted.module, None))
        return fitted

    monkeypatch.setattr(fitting, "category_errors", noted)
    monkeypatch.setattr(estimation, "fit_codec", ended)
    X = np.random.default_rng(1).normal(size=(400, 6))
    settings = {"max_epochs": 0, "random_state": 0, "early_stopping": early_stopping}
    HierarchicalVQVAE(bits=16, **settings).fit(X)
    (last, _) = asked.pop()
    if not early_stopping:
        assert asked == []
        return
    (before, n_aside), (after, n_fitted) = asked
    assert (n_aside, n_fitted) == (40, 360)
    assert before is not last
    assert after is last


def test_uncertain_categories_are_drawn_towards_all():
    values = np.array([0.2, 0.3, 3.0])
    found = drawn_together(values, np.array([1e-6, 1e-6, 1.0]))
    np.testing.assert_allclose(found[:2], values[:2], atol=1e-4)
    assert 0.25 < found[2] < 0.8  # an outlier of one category says little
    np.testing.assert_allclose(drawn_together(values, np.zeros(3)), values)
    assert len(drawn_together(np.zeros(0), np.zeros(0))) == 0


def test_predictions_follow_from_the_record_of_the_training_rows():
    X = np.random.default_rng(1).normal(size=(400, 6))
    vq = HierarchicalVQVAE(bits=16, max_epochs=0, random_state=0).fit(X)
    record = vq.training_
    for name, columns in vq.categories_.items():
        trained = record["error"][columns].sum() / record["energy"][columns].sum()
        assert vq.decisions_.loc[name, "predicted_nmse"] > trained


def test_variance_of_the_logarithm_is_that_over_draws_of_rows():
    rng = np.random.default_rng(0)
    energy = rng.chisquare(3, size=(400, 500))
    error = 0.2 * energy * rng.gamma(2.0, 0.5, size=energy.shape)
    spread = np.log(error.sum(1) / energy.sum(1)).std()
    one = Errors(torch.from_numpy(error[0]), torch.from_numpy(energy[0]))
    assert math.sqrt(one.log_variance) == pytest.approx(spread, rel=0.15)


def test_categories_are_coded_as_predicted():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(3000, 4)) @ rng.normal(size=(4, 12))
    X = mixed + 0.2 * rng.normal(size=mixed.shape)
    # On rows fitted on the error is 0.57 of that on others: without foresight this would fail.
    vq = HierarchicalVQVAE(bits=20, clip=None, max_epochs=1, random_state=0).fit(X[:1200])
    held = vq.units_.to_codec(X[1200:])
    output = vq.units_.to_codec(vq.inverse_transform(vq.transform(X[1200:])))
    found = category_nmse(held, output, vq.categories_, reference=np.zeros(12))
    predicted = vq.decisions_["predicted_nmse"]
    for name, nmse in found.items():
        assert nmse == pytest.approx(predicted[name], rel=0.15)


def test_gains_of_chains_are_averaged_by_length_and_guessed_beyond_the_longest():
    gains = UsualGains()
    for gain in (0.8, 0.5):
        gains.note(gain, 2.0)
    expected = [0.0, np.log(0.4) / 2, 2 * np.log(0.4) / 2, 2.5 * np.log(0.4) / 2]
    np.testing.assert_allclose(gains.usual(np.array([1.0, 2.0, 5.0, 101.0])), expected)
    for gain, usual in ((1.0, 0.0), (0.0, np.log(0.02))):  # coding all rows is no better than 2 %
        gains = UsualGains()
        gains.note(gain, 2.0)
        found = gains.usual(np.array([2.0, 5.0]))
        np.testing.assert_allclose(found, [usual, min(2 * usual, -0.6)], atol=1e-12)
