"""Encoders of the user's own: what is taken, what is refused, and what stays of them."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq.estimation import module_of

TWO = FeatureCharacterizer({"a": slice(0, 4), "b": slice(4, 8)})
QUICK = {
    "max_epochs": 2,
    "lr": 0.02,
    "early_stopping": False,
    "beam_width": 2,
    "group_hidden_dim": 8,
    "group_embedding_dim": 8,
    "random_state": 0,
}


def codec(body, **parameters):
    plan = AdaptiveRatioSelector("uniform", bits=12, characterizer=TWO)
    return HierarchicalVQVAE(plan, encoders={"a": body}, **{**QUICK, **parameters})


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(150, 2)), 4, axis=1) + 0.2 * rng.normal(size=(150, 8))


class Apply(nn.Module):
    """A linear layer, and any function of what it gives."""

    def __init__(self, function, width=3):
        super().__init__()
        self.linear, self.function = nn.Linear(4, width), function

    def forward(self, rows):
        return self.function(self.linear(rows))


class Within(nn.Module):
    """Computes in another precision all the way."""

    def __init__(self, dtype):
        super().__init__()
        self.linear = nn.Linear(4, 3).to(dtype)

    def forward(self, rows):
        return self.linear(rows.to(self.linear.weight.dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_any_precision_are_taken(X, dtype):
    torch.manual_seed(0)
    fitted = codec(Apply(lambda output: output.to(dtype))).fit(X)
    assert (fitted._state["encoders.0.gate"] != 0).all()  # it has been trained
    assert fitted.score(X) > 0.5


def test_weights_may_have_another_precision(X):
    torch.manual_seed(0)
    fitted = codec(Within(torch.float64)).fit(X)
    assert fitted._state["encoders.0.body.linear.weight"].dtype == np.float64
    assert fitted.score(X) > 0.5
    fitted.set_params(warm_start=True).fit(X)
    assert fitted._state["encoders.0.body.linear.weight"].dtype == np.float64


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (Apply(lambda output: output.long()), ValueError, "'a'.*returns torch.int64.*float"),
        (Apply(lambda output: output.to(torch.complex64)), ValueError, "torch.complex64"),
        (Apply(lambda output: (output, output)), TypeError, "'a'.*returns a tuple.*one tensor"),
        (Apply(lambda output: output.numpy()), TypeError, "'a'.*returns a ndarray"),
        (Apply(lambda output: output[:, :0]), ValueError, r"shape \(2, 0\).*any width but 0"),
        (nn.Linear(4, 3).double(), ValueError, r"'a'.*shape \(n, 4\) in float32: "),
        (Within(torch.bfloat16), ValueError, r"'a'.*'linear.weight' no numpy.*module.float\(\)"),
        (nn.Linear(5, 3), ValueError, "'a'.*does not take rows of its 4 columns"),
        (max, TypeError, "'a'.*give a torch.nn.Module"),
    ],
)
def test_what_can_not_be_used_is_refused_before_the_fit(X, body, error, message):
    with pytest.raises(error, match=message):
        codec(body).fit(X)


class Tied(nn.Module):
    """Goes there and back by the same weights, and holds a buffer twice."""

    def __init__(self):
        super().__init__()
        self.there, self.back = nn.Linear(4, 4), nn.Linear(4, 4)
        self.back.weight = self.there.weight
        self.third = nn.Linear(4, 4)
        self.third.weight = self.there.weight
        self.register_buffer("one", torch.ones(4))
        self.register_buffer("same", self.one)

    def forward(self, rows):
        return self.third(self.back(torch.tanh(self.there(rows) * self.one)))


def test_tied_weights_stay_tied_over_a_warm_start(X):
    torch.manual_seed(0)
    fitted = codec(Tied(), warm_start=True).fit(X)
    before = fitted._state["encoders.0.body.there.weight"]
    body = module_of(fitted).encoders[0].body
    assert body.there.weight is body.back.weight is body.third.weight
    assert body.one is body.same
    assert body.there.weight.requires_grad
    fitted.fit(X)
    there = fitted._state["encoders.0.body.there.weight"]
    assert not np.array_equal(there, before)
    np.testing.assert_array_equal(there, fitted._state["encoders.0.body.back.weight"])
    np.testing.assert_array_equal(there, fitted._state["encoders.0.body.third.weight"])


def test_weights_that_are_not_trained_stay_so_over_a_warm_start(X):
    torch.manual_seed(0)
    given = Tied()
    given.there.weight.requires_grad_(False)
    fitted = codec(given, warm_start=True).fit(X).fit(X)
    for name in ("there", "back", "third"):
        own = fitted._state[f"encoders.0.body.{name}.weight"]
        np.testing.assert_array_equal(own, given.there.weight.numpy())


def test_an_encoder_without_a_code_is_told(X):
    given = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}
    none_for_b = {"a": [4, 4, 4], "b": [1, 1, 1]}
    vq = codec(None, max_epochs=0, codebook_sizes=none_for_b).set_params(encoders=given)
    with pytest.warns(UserWarning, match=r"encoders has no effect on the categories \['b'\]"):
        vq.fit(X)


def test_an_encoder_that_gives_nan_is_named(X):
    given = {"a": Apply(lambda output: output.clamp_min(0) / 0 * 0), "b": nn.Linear(4, 4)}
    with pytest.warns(ConvergenceWarning, match=r"encoders gives the categories \['a'\].* NaN"):
        codec(None).set_params(encoders=given).fit(X)


def test_training_that_diverges_by_itself_blames_no_encoder(X):
    torch.manual_seed(0)
    with pytest.warns(ConvergenceWarning, match=r"Training diverged .* Lower lr\.$"):
        codec(Apply(lambda output: output), lr=1e8, max_epochs=9).fit(X)
