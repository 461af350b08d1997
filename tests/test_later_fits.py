"""What is set or given between fits, and what waits for rows."""

import numpy as np
import pytest
import torch

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer
from quick import codec


def test_a_number_of_categories_may_wait_for_rows(frame):
    later = frame.copy()
    later.iloc[:40, 3:] = 0.0
    stream = FeatureCharacterizer(2).partial_fit(later[:40])
    with pytest.raises(ValueError, match=r"categories=2 .* 40 rows so far"):
        stream.transform(later)
    whole = FeatureCharacterizer(2).fit(later)
    stream.partial_fit(later[40:])
    assert {n: c.tolist() for n, c in stream.categories_.items()} == {
        n: c.tolist() for n, c in whole.categories_.items()
    }
    with pytest.raises(ValueError, match="at most 1 can"):
        FeatureCharacterizer(2).fit(later[:40])


@pytest.mark.parametrize("wrong", [{"beam_width": 0}, {"context": "bogus"}, {"device": "bogus"}])
def test_partial_fit_checks_what_has_been_set_since(frame, wrong):
    fitted = codec().fit(frame).set_params(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fitted.partial_fit(frame)


def test_a_warm_start_begins_anew_with_other_columns(frame):
    other = (-frame).rename(columns=dict(zip("abcdef", "uvwxyz", strict=True)))
    warm = codec(warm_start=True).fit(frame).fit(other)
    np.testing.assert_array_equal(warm.transform(other), codec().fit(other).transform(other))


def test_measured_plans_give_few_values_few_bits(frame):
    flags = frame.assign(g=np.arange(160) % 2)
    categories = FeatureCharacterizer({"x": list("abcdef"), "flag": ["g"]})
    for strategy in ("rate_distortion", "minimax", "uniform"):
        plan = AdaptiveRatioSelector(strategy, bits=16, characterizer=categories).fit(flags)
        assert sum(plan.bits_["flag"]) == 1


def test_a_number_of_categories_beyond_the_columns_is_refused_at_once(frame):
    with pytest.raises(ValueError, match="categories=99 can not be formed from 6 columns"):
        FeatureCharacterizer(99).partial_fit(frame)
    families = frame.set_axis(["a__1", "a__2", "a__3", "b__1", "b__2", "b__3"], axis=1)
    fitted = FeatureCharacterizer(5, isolate=["a", "b"]).fit(families)
    assert len(fitted.transform(families)) == 160


class Positions(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)

    def forward(self, rows):
        return self.linear(rows + torch.arange(3))


def test_encoders_may_make_tensors(cells):
    given = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
    plan = AdaptiveRatioSelector("uniform", bits=10, characterizer=given)
    fitted = codec(plan, encoders={"a": Positions()}, max_epochs=1).fit(cells)
    assert fitted.score(cells) > 0.5


def test_a_warm_start_predicts_nothing_from_rows_it_has_learned_from(cells):
    fitted = codec(warm_start=True, early_stopping=True).fit(cells).fit(cells)
    cold = codec(early_stopping=True).fit(cells)
    np.testing.assert_array_equal(fitted.transform(cells), cold.transform(cells))
    unjudged = codec(early_stopping=False).fit(cells)  # says what the plan does
    before, after, plan = (c.decisions_["predicted_nmse"] for c in (cold, fitted, unjudged))
    np.testing.assert_array_equal(after, plan)
    assert (before != plan).all()
