"""Checkpoints: an interrupted fit goes on and ends with the same bits; nothing is mixed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE, load
from adaptive_vq._files import replacing
from adaptive_vq.checkpoints import Checkpoint
from adaptive_vq.streaming import fit_chunks

QUICK = {
    "auto_compression_strategy": "balanced",
    "bits": 12,
    "max_epochs": 2,
    "n_iter_no_change": 2,
    "lr": 0.02,
    "beam_width": 2,
    "group_hidden_dim": 8,
    "group_embedding_dim": 8,
    "random_state": 0,
}

AS_BY_DEFAULT = {"auto_compression_strategy": "rate_distortion"}  # another one would be idle


def codec(**parameters):
    return HierarchicalVQVAE(**{**QUICK, **parameters})


def make_rows(n=150, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.repeat(rng.normal(size=(n, 2)), 4, axis=1)
    return np.sin(factors) + 0.2 * rng.normal(size=(n, 8)) + 5.0


@pytest.fixture(scope="module")
def X():
    return make_rows()


@pytest.fixture(scope="module")
def whole(X):
    """What a fit without an interruption learns."""
    return content(codec().fit(X))


def content(estimator):
    """All that was learned, as bytes."""
    state = {key: value.tobytes() for key, value in estimator._state.items()}
    return state, estimator.history_, estimator.n_iter_, estimator.bits_, estimator._layout


@pytest.fixture
def interrupted(monkeypatch):
    """``interrupted(n)``: the n-th write of a checkpoint is the last; returns how many there were.

    With ``before=True`` it does not even take place.
    """
    put = Checkpoint.put
    written = []

    def limit(most, before=False):
        def put_and_stop(self, stage, value):
            if before and len(written) + 1 == most:
                raise KeyboardInterrupt
            put(self, stage, value)
            written.append(stage)
            if len(written) == most:
                raise KeyboardInterrupt

        written.clear()
        monkeypatch.setattr(Checkpoint, "put", put_and_stop)
        return written

    return limit


def stages_of(estimator, X, interrupted):
    written = interrupted(10**6)
    estimator.fit(X)
    return list(written)


def test_interrupted_at_every_write(X, tmp_path, interrupted):
    path = tmp_path / "fit.safetensors"
    longer = {"max_epochs": 3, "n_iter_no_change": 3, "lr": 0.01}
    longer |= {"bits": 10, "random_state": 9}  # with these training helps
    whole = codec(**longer).fit(X)
    stages = stages_of(codec(checkpoint=path, **longer), X, interrupted)
    assert whole.n_iter_ > 0
    assert set(stages) == {"note", "start", "training", "start_on_all", "training_on_all"}
    for n in range(1, len(stages) + 1):
        interrupted(n, before=n % 2 == 0)
        with pytest.raises(KeyboardInterrupt):
            codec(checkpoint=path, **longer).fit(X)
        assert path.exists()
        interrupted(10**6)
        assert content(codec(checkpoint=path, **longer).fit(X)) == content(whole)
        assert list(tmp_path.iterdir()) == []  # the fit is complete: nothing stays


def test_interrupted_again_and_again(X, tmp_path, interrupted, whole):
    path = tmp_path / "fit.safetensors"
    for _ in range(30):
        interrupted(1)
        try:
            resumed = codec(checkpoint=path).fit(X)
        except KeyboardInterrupt:
            continue
        break
    assert content(resumed) == whole


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_epochs": 0},
        {"early_stopping": False},
        {"compression_ratios": [0.5, 1.0], "n_levels": 2, **AS_BY_DEFAULT},
        {"auto_compression_strategy": "learned"},
        {"context": "joint", "scaler": "quantile"},
        {"encoders": {"cluster_1": torch.nn.Linear(4, 3)}},
        {"lr": 1e-12},
    ],
    ids=["no_epochs", "no_rows_aside", "given", "learned", "joint", "encoders", "no_gain"],
)
def test_every_way_of_fitting_resumes(X, tmp_path, interrupted, parameters):
    path = tmp_path / "fit.safetensors"
    torch.manual_seed(0)
    whole = codec(**parameters).fit(X)
    n_stages = len(stages_of(codec(checkpoint=path, **parameters), X, interrupted))
    for n in {2, n_stages - 1}:
        interrupted(n)
        with pytest.raises(KeyboardInterrupt):
            codec(checkpoint=path, **parameters).fit(X)
        interrupted(10**6)
        assert content(codec(checkpoint=path, **parameters).fit(X)) == content(whole)


def test_large_tables_keep_the_fit_as_it_is(X, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr("adaptive_vq.fitting.FOLD_IN_ROWS", 100)
    path = tmp_path / "fit.safetensors"
    whole = codec().fit(X)
    interrupted(4)
    with pytest.raises(KeyboardInterrupt):
        codec(checkpoint=path).fit(X)
    interrupted(10**6)
    assert content(codec(checkpoint=path).fit(X)) == content(whole)


def test_resumes_in_a_pipeline_and_with_missing_cells(X, tmp_path, interrupted):
    table = pd.DataFrame(X, columns=[f"f{j}" for j in range(8)])
    table = table.mask(np.random.default_rng(0).random(X.shape) < 0.1)

    def pipeline(**parameters):
        follows = {"bits": None, **AS_BY_DEFAULT}
        parameters = {**follows, **parameters}
        return make_pipeline(
            FeatureCharacterizer(), AdaptiveRatioSelector(bits=12), codec(**parameters)
        )

    whole = pipeline().fit(table)
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        pipeline(checkpoint=tmp_path / "fit").fit(table)
    interrupted(10**6)
    resumed = pipeline(checkpoint=tmp_path / "fit").fit(table)
    assert content(resumed[-1]) == content(whole[-1])
    np.testing.assert_array_equal(resumed.transform(table), whole.transform(table))


def test_resumes_a_warm_start(X, tmp_path, interrupted):
    path = tmp_path / "fit.safetensors"
    warm = codec(warm_start=True, early_stopping=False).fit(X)
    other = codec(warm_start=True, early_stopping=False).fit(X).set_params(checkpoint=path)
    interrupted(2)
    with pytest.raises(KeyboardInterrupt):
        other.fit(X)
    interrupted(10**6)
    assert content(other) == content(warm)  # as it was before the interruption
    with pytest.raises(ValueError, match="the fit to go on from"):
        codec(warm_start=True, early_stopping=False, checkpoint=path).fit(X)
    assert content(other.fit(X)) == content(warm.fit(X))


# --- an interruption leaves the estimator alone --------------------------------------------------


def test_interrupted_first_fit_is_no_fit(X, tmp_path, interrupted):
    estimator = codec(checkpoint=tmp_path / "fit")
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    with pytest.raises(NotFittedError):
        estimator.transform(X)
    assert set(vars(estimator)) == set(estimator.get_params())


def test_interrupted_refit_leaves_the_earlier_fit(X, tmp_path, interrupted):
    estimator = codec(checkpoint=tmp_path / "fit").fit(X[:, :6])
    before, codes = content(estimator), estimator.transform(X[:, :6])
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    assert content(estimator) == before
    assert estimator.n_features_in_ == 6
    np.testing.assert_array_equal(estimator.transform(X[:, :6]), codes)


def test_failed_update_leaves_the_fit(X, monkeypatch):
    estimator = codec().fit(X)
    before = content(estimator)
    monkeypatch.setattr("adaptive_vq.estimation.remember", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        estimator.partial_fit(X + 1)
    assert content(estimator) == before


# --- a checkpoint of another fit is refused ------------------------------------------------------


@pytest.fixture
def left_over(X, tmp_path, interrupted):
    path = tmp_path / "fit.safetensors"
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        codec(checkpoint=path).fit(X)
    interrupted(10**6)
    return path


@pytest.mark.parametrize(
    ("parameters", "change", "named"),
    [
        ({}, lambda X: X + 1e-9, "the table"),
        ({}, lambda X: X[::-1], "the table"),
        ({}, lambda X: pd.DataFrame(X, columns=list("abcdefgh")), "the table"),
        ({"random_state": 1}, lambda X: X, "random_state"),
        ({"lr": 0.03}, lambda X: X, "lr"),
        ({"bits": None, "compression_ratios": AdaptiveRatioSelector(bits=12)}, None, "bits"),
        ({"encoders": {"cluster_1": torch.nn.Linear(4, 3)}}, lambda X: X, "encoders"),
    ],
    ids=["cell", "order", "names", "seed", "lr", "selector", "encoders"],
)
def test_another_fit_is_refused(X, left_over, parameters, change, named):
    content_before = left_over.read_bytes()
    table = X if change is None else change(X)
    with pytest.raises(ValueError, match=rf"another fit: it differs in .*{named}"):
        codec(checkpoint=left_over, **parameters).fit(table)
    assert left_over.read_bytes() == content_before


def test_another_version_is_refused(X, left_over, monkeypatch):
    monkeypatch.setattr("adaptive_vq.__version__", "0.0.0")
    with pytest.raises(ValueError, match="differs in the version of adaptive-vq"):
        codec(checkpoint=left_over).fit(X)


def test_another_number_of_threads_goes_on_to_the_same_bits(X, left_over, threads, whole):
    threads(2)
    assert content(codec(checkpoint=left_over).fit(X)) == whole


def test_what_does_not_change_the_fit_does_not_matter(X, left_over, whole):
    resumed = codec(checkpoint=left_over, encode="onehot").fit(X)
    assert content(resumed) == whole


def test_damaged_checkpoint_is_named(X, left_over):
    whole = left_over.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for broken in (whole[: len(whole) // 2], bytes(flipped), b""):
        left_over.write_bytes(broken)
        with pytest.raises(ValueError, match="no usable checkpoint"):
            codec(checkpoint=left_over).fit(X)
        assert left_over.read_bytes() == broken


def test_a_model_is_no_checkpoint_and_the_reverse(X, left_over, tmp_path):
    from adaptive_vq import save

    with pytest.raises(ValueError, match="can not be loaded as a model"):
        load(left_over)
    model = tmp_path / "model.safetensors"
    save(codec(), model)
    with pytest.raises(ValueError, match="no usable checkpoint"):
        codec(checkpoint=model).fit(X)


@pytest.mark.parametrize("kind", ["table", "model", "foreign"])
def test_nobody_is_told_to_delete_a_file_that_is_no_checkpoint(X, left_over, tmp_path, kind):
    from safetensors.numpy import save_file

    from adaptive_vq import save

    path = tmp_path / "mine"
    if kind == "table":
        path.write_text("a,b\n1,2\n")
    elif kind == "model":
        save(codec(), path)
    else:
        save_file({"table": X}, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"no usable checkpoint .* another path\.$") as found:
        codec(checkpoint=path).fit(X)
    assert "Delete" not in str(found.value)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match=r"another fit.*Delete it"):  # which is safe here
        codec(checkpoint=left_over, bits=13).fit(X)


def test_folder_that_does_not_exist(X, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        codec(checkpoint=tmp_path / "no" / "fit").fit(X)


def test_parameters_of_no_fixed_value_are_named(X, tmp_path):
    def local(scores, level):
        return 1.0

    selector = AdaptiveRatioSelector(local, bits=12)
    with pytest.raises(ValueError, match="can not tell whether compression_ratios"):
        codec(compression_ratios=selector, bits=None, checkpoint=tmp_path / "fit").fit(X)


# --- kill -9 -------------------------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
import torch
from adaptive_vq import HierarchicalVQVAE, save
torch.set_num_threads(1)
vq = HierarchicalVQVAE(
    bits=12, max_epochs=60, n_iter_no_change=60, beam_width=2, random_state=0,
    auto_compression_strategy="balanced", checkpoint=sys.argv[2],
)
X = np.load(sys.argv[1])
np.save(sys.argv[3], vq.fit(X).transform(X))
"""


def test_killed_fit_resumes_in_a_new_process(X, tmp_path):
    table, path, codes = tmp_path / "X.npy", tmp_path / "fit.ckpt", tmp_path / "codes.npy"
    np.save(table, X)
    command = [sys.executable, "-c", SCRIPT, table, path, codes]
    victim = subprocess.Popen(command)
    while victim.poll() is None and not _has_epochs(path):
        time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert path.exists()
    assert not codes.exists()
    subprocess.run(command, check=True)
    whole = HierarchicalVQVAE(bits=12, max_epochs=60, n_iter_no_change=60, beam_width=2)
    whole.set_params(auto_compression_strategy="balanced", random_state=0)
    np.testing.assert_array_equal(np.load(codes), whole.fit(X).transform(X))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["X.npy", "codes.npy"]


@pytest.mark.parametrize("name", ["fit1.ckpt", "a_name_that_is_long_1.ckpt", "fit1." + 30 * "s"])
def test_what_a_killed_process_has_half_written_goes_in_the_end(name, tmp_path):
    other = name.replace("1", "2")
    killed = [replacing(tmp_path / which) for which in (name, other)]
    halves = [place.__enter__() for place in killed]  # and no end
    for half in halves:
        half.write_bytes(b"half")
    Checkpoint(tmp_path / name, {}).finish()
    assert list(tmp_path.iterdir()) == halves[1:]  # another fit may still be writing its own


def _has_epochs(path: Path) -> bool:
    return path.exists() and b"training/" in path.read_bytes()


@pytest.mark.parametrize("fit_rows", [None, 100])
@pytest.mark.parametrize("chunks", [False, True])
def test_a_generator_of_random_numbers_goes_on_too(X, tmp_path, interrupted, fit_rows, chunks):
    def fit(estimator):
        return fit_chunks(estimator, [X[:70], X[70:]]) if chunks else estimator.fit(X)

    theirs, ours = np.random.RandomState(3), np.random.RandomState(3)
    whole = fit(codec(random_state=theirs, fit_rows=fit_rows))
    resumed = codec(random_state=ours, fit_rows=fit_rows, checkpoint=tmp_path / "fit")
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        fit(resumed)
    interrupted(10**6)
    assert content(fit(resumed)) == content(whole)
    assert ours.randint(1000) == theirs.randint(1000)


def test_a_generator_that_earlier_steps_draw_from_is_named(X, tmp_path, interrupted):
    shared = np.random.RandomState(3)
    selector = AdaptiveRatioSelector("rate_distortion", bits=12, random_state=shared)
    pipe = make_pipeline(selector, HierarchicalVQVAE(checkpoint=tmp_path / "fit"))
    pipe[-1].set_params(random_state=shared, max_epochs=2)
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        pipe.fit(X)
    interrupted(10**6)
    with pytest.raises(ValueError, match=r"another fit.*random_state \(a RandomState moves on"):
        pipe.fit(X)
