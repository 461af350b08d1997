"""Where the network works."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn

import adaptive_vq
from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    diagnose,
    kmeans,
    modules,
    tune_categories,
)
from adaptive_vq._device import resolve_device
from adaptive_vq.checkpoints import Checkpoint
from adaptive_vq.estimation import module_of
from adaptive_vq.training import Rows, TrainingOptions, train

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + 0.2 * rng.normal(size=(400, 6))


def codec(**params):
    quick = {"bits": 12, "max_epochs": 2, "early_stopping": False, "random_state": 0}
    return HierarchicalVQVAE(**(quick | params))


def test_names_of_devices(monkeypatch):
    for found, auto in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert resolve_device("auto").type == auto
        assert resolve_device("cpu").type == "cpu"
    assert resolve_device("cuda").type == "cuda"


@needs_none
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_a_missing_gpu_is_named(X, method):
    vq = codec(device="cuda")
    if method == "transform":
        vq = codec(max_epochs=0).fit(X).set_params(device="cuda")
    with pytest.raises(ValueError, match=r"no GPU .* device='auto'"):
        getattr(vq, method)(X)


def test_an_unknown_device_is_refused(X):
    with pytest.raises(InvalidParameterError, match="'device' parameter"):
        codec(device="abacus").fit(X)


def test_the_device_is_saved(X, tmp_path):
    vq = codec(max_epochs=0, device="cpu").fit(X)
    adaptive_vq.save(vq, tmp_path / "model.safetensors")
    assert adaptive_vq.load(tmp_path / "model.safetensors").device == "cpu"
    assert clone(vq).device == "cpu"


@pytest.mark.parametrize("joint", [False, True])
def test_every_tensor_is_made_where_its_inputs_are(X, joint):
    """A default device without storage stands in for any other device: mixing with it fails."""
    vq = codec().fit(X)
    module = module_of(vq)
    Z = torch.from_numpy(vq._codec_rows(X)[0])
    rows = Rows(Z, torch.ones_like(Z))
    options = TrainingOptions(2, 64, 1e-3, 0.25, 0.99, 2, 4, 0)
    plain = module.encode(Z, 8, joint=joint)
    decoded = module.decode(plain, module.layout.n_levels)
    with torch.device("meta"):
        assert torch.equal(module.encode(Z, 8, joint=joint), plain)
        assert torch.equal(module.decode(plain, module.layout.n_levels), decoded)
        history, _ = train(module, rows, rows, options, lambda *_: False)
    assert all(np.isfinite(record["valid_nmse"]) for record in history)


def test_sums_of_the_rows_of_a_code_by_product():
    rng = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(50, 3, generator=rng), torch.rand(50, generator=rng)
    codes = torch.randint(0, 7, (50,), generator=rng)
    for found, expected in zip(
        kmeans.sums_by_product(rows, codes, weight, 9),
        kmeans.sums(rows, codes, weight, 9),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


class Kept:
    """Progress of a training, in memory; interrupted after an epoch if asked to."""

    def __init__(self, interrupted_after=None):
        self.state, self.left = None, interrupted_after

    def get(self, stage):
        return self.state

    def put(self, stage, value):
        self.state = value
        if self.left == value["history"][-1]["epoch"]:
            self.left = None
            raise KeyboardInterrupt


@pytest.fixture
def generator_of_a_gpu(monkeypatch):
    """A processor under the name of a GPU, whose dropout draws from a generator of its own."""
    own = torch.Generator().manual_seed(0)

    def dropout(values, p, training, inplace):
        kept = torch.rand(values.shape, generator=own) >= p if training else 1.0
        return values * kept

    stays = modules.CodecModule.to
    monkeypatch.setattr(modules.CodecModule, "to", lambda self, device: stays(self, "cpu"))
    monkeypatch.setattr(Rows, "to", lambda self, device: self)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: own.get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: own.set_state(state))
    monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
    return own


def test_a_training_on_a_gpu_goes_on_with_its_random_numbers(X, generator_of_a_gpu):
    """Stands in for the same on a GPU, where dropout draws from the generator of the GPU."""
    vq = codec(max_epochs=0, dropout=0.5).fit(X)
    Z = torch.from_numpy(vq._codec_rows(X)[0])
    rows = Rows(Z, torch.ones_like(Z))
    options = TrainingOptions(3, 64, 1e-2, 0.25, 0.99, 3, 4, 0, device="cuda")

    def trained(progress):
        generator_of_a_gpu.manual_seed(0)
        return train(module_of(vq), rows, None, options, lambda *_: False, progress)[0]

    whole, resumed = trained(Kept()), Kept(interrupted_after=1)
    with pytest.raises(KeyboardInterrupt):
        trained(resumed)
    assert trained(resumed) == whole


@pytest.mark.parametrize(("before", "after"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_training_goes_on_on_another_device(X, generator_of_a_gpu, before, after):
    vq = codec(max_epochs=0, dropout=0.5).fit(X)
    Z = torch.from_numpy(vq._codec_rows(X)[0])
    rows, progress = Rows(Z, torch.ones_like(Z)), Kept(interrupted_after=1)

    def trained(device):
        options = TrainingOptions(3, 64, 1e-3, 0.25, 0.99, 3, 4, 0, device=device)
        return train(module_of(vq), rows, None, options, lambda *_: False, progress)[0]

    with pytest.raises(KeyboardInterrupt):
        trained(before)
    kept = dict(progress.state["history"][0])
    history = trained(after)
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert history[0] == kept


@needs_gpu
def test_an_interrupted_fit_goes_on_on_a_gpu(X, tmp_path, monkeypatch):
    whole, put = codec(device="cuda").fit(X), Checkpoint.put

    def interrupt(self, stage, value):
        put(self, stage, value)
        if stage == "training":
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(Checkpoint, "put", interrupt)
        with pytest.raises(KeyboardInterrupt):
            codec(device="cuda", checkpoint=tmp_path / "fit").fit(X)
    resumed = codec(device="cuda", checkpoint=tmp_path / "fit").fit(X)
    for key, value in whole._state.items():
        np.testing.assert_array_equal(value, resumed._state[key])


@needs_gpu
def test_no_batch_waits_for_the_gpu(X):
    vq = codec(max_epochs=0).fit(X)
    Z = torch.from_numpy(vq._codec_rows(X)[0])

    def waits(batch_size):
        options = TrainingOptions(1, batch_size, 1e-3, 0.25, 0.99, 2, 4, 0, device="cuda")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                train(module_of(vq), Rows(Z, torch.ones_like(Z)), None, options, lambda *_: False)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    assert waits(len(X)) == waits(len(X) // 8) > 0


@needs_gpu
def test_a_gpu_fits_the_same_codec_twice(X):
    first, again = codec(device="cuda").fit(X), codec(device="cuda").fit(X)
    for key, value in first._state.items():
        np.testing.assert_array_equal(value, again._state[key])


@needs_gpu
@pytest.mark.parametrize("context", ["local", "joint"])
def test_a_codec_of_the_gpu_works_on_the_processor(X, context):
    vq = codec(device="cuda", context=context).fit(X)
    codes, rows = vq.transform(X), vq.reconstruct(X)
    vq.set_params(device="cpu")
    assert (vq.transform(X) == codes).mean() >= 0.9999
    np.testing.assert_allclose(vq.inverse_transform(codes), rows, rtol=1e-4, atol=1e-4)


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


def everything(X, encoder):
    """What comes of a fit, and of all that is done with it."""
    given = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
    plan = AdaptiveRatioSelector("learned", bits=8, characterizer=given)
    quick = {"max_epochs": 1, "beam_width": 2, "random_state": 0}
    fitted = HierarchicalVQVAE(plan, encoders={"a": encoder}, **quick).fit(X)
    codes = fitted.transform(X)
    figures = diagnose(fitted, X).to_json()
    tuned, _ = tune_categories(
        HierarchicalVQVAE(bits=8, early_stopping=False, **{**quick, "max_epochs": 0}),
        X,
        max_rounds=1,
    )
    score = tuned.score(X)
    return codes, fitted.inverse_transform(codes), figures, score, fitted.partial_fit(X).score(X)


@pytest.fixture(scope="module")
def usual():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(60, 2)), 3, axis=1) + 0.3 * rng.normal(size=(60, 6))
    encoder = nn.Linear(3, 4)
    return X, encoder, everything(X, encoder)


@pytest.mark.parametrize(
    "setting",
    [
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.device("meta"),
        lambda: default_device("meta"),
    ],
    ids=["inference_mode", "no_grad", "device", "default_device"],
)
def test_what_is_set_in_torch_changes_nothing(usual, setting):
    X, encoder, expected = usual
    with setting():
        found = everything(X, encoder)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
