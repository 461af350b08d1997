"""Faults on the way: memory, Ctrl-C, a killed process, the disk, training that runs off.

What was there before is there afterwards, no half-written file is left, and the error says what is
wrong.
"""

import errno
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    _joint_tables,
    characterize,
    classical,
    estimation,
    load,
    modules,
    save,
    training,
)

ROOT = Path(__file__).resolve().parent.parent


def table(seed=0, n=80):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2))[:, [0, 0, 0, 1, 1]] + 0.2 * rng.normal(size=(n, 5))


def codec(**parameters):
    quick = {"bits": 10, "max_epochs": 1, "beam_width": 2, "random_state": 0}
    return HierarchicalVQVAE(**(quick | parameters))


@pytest.fixture(scope="module")
def fitted():
    return codec().fit(table())


@pytest.fixture(scope="module")
def fitted_on_all():
    return codec(early_stopping=False).fit(table())


# --- memory and Ctrl-C ---------------------------------------------------------------------------

PLACES = {
    "measuring": (estimation, "specs_of"),
    "start": (classical, "fit_rivals"),
    "joint tables": (_joint_tables, "fit_tables"),
    "training": (training, "valid_error"),
    "weights": (modules.CodecModule, "start_from"),
    "codes": (modules.CodecModule, "encode"),
}


def raising(error):
    def instead(*arguments, **named):
        raise error

    return instead


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()], ids=type)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_an_interrupted_fit_is_no_fit_and_can_be_repeated(
    place, error, monkeypatch, fitted, fitted_on_all
):
    # Only a training with rows kept aside asks for their error; a fit without them is quicker.
    aside = place == PLACES["training"]
    vq, expected = codec(early_stopping=aside), fitted if aside else fitted_on_all
    with monkeypatch.context() as patched:
        patched.setattr(*place, raising(error))
        with pytest.raises(type(error)):
            vq.fit(table())
    with pytest.raises(NotFittedError):
        vq.transform(table())
    # Neither torch's random numbers nor a lock nor a callback is left in the way.
    assert vq.fit(table()).transform(table()).tobytes() == expected.transform(table()).tobytes()


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()], ids=type)
def test_an_interrupted_chunk_leaves_the_codec_as_it_was(error, monkeypatch, fitted):
    vq = pickle.loads(pickle.dumps(fitted))
    before = pickle.dumps(vq)
    monkeypatch.setattr(modules.CodecModule, "absorb", raising(error))
    with pytest.raises(type(error)):
        vq.partial_fit(table(1))
    assert pickle.dumps(vq) == before


def test_an_interrupted_refit_leaves_the_fit_before(monkeypatch, fitted):
    vq = pickle.loads(pickle.dumps(fitted))
    before = pickle.dumps(vq)
    with monkeypatch.context() as patched:
        patched.setattr(estimation, "fit_codec", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            vq.fit(table(3)[:, :4])
    assert pickle.dumps(vq) == before
    with pytest.raises(ValueError, match="infinity"):
        vq.fit(table() * np.inf)
    assert pickle.dumps(vq) == before


@pytest.mark.parametrize(
    "estimator", [FeatureCharacterizer(), AdaptiveRatioSelector(bits=8)], ids=["profile", "plan"]
)
def test_an_interrupted_refit_leaves_the_plan_before(estimator, monkeypatch):
    estimator.fit(table())
    before = dict(vars(estimator))
    monkeypatch.setattr(characterize, "resolve_categories", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(table(3)[:, :4])
    assert vars(estimator) == before


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()], ids=type)
def test_an_interrupted_save_leaves_the_old_file(error, tmp_path, monkeypatch, fitted):
    path = tmp_path / "model.safetensors"
    save(FeatureCharacterizer(), path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", raising(error))
        with pytest.raises(type(error)):
            save(fitted, path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


# --- processes that are killed -------------------------------------------------------------------


def in_another_process(code, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_killed_while_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save(FeatureCharacterizer(min_category_size=2), path)
    ended = in_another_process(
        """
        import os, signal
        from adaptive_vq import FeatureCharacterizer, save
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        save(FeatureCharacterizer(min_category_size=7), "model.safetensors")
        """,
        tmp_path,
    )
    assert ended.returncode == -signal.SIGKILL
    assert load(path).min_category_size == 2


def test_killed_workers_end_a_search_with_an_error(tmp_path):
    ended = in_another_process(
        """
        import os, signal, sys, numpy as np
        from sklearn.model_selection import GridSearchCV
        from adaptive_vq import AdaptiveRatioSelector, HierarchicalVQVAE

        def dies(scores, level):
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return 1.0

        parent = os.getpid()
        X = np.random.default_rng(0).normal(size=(60, 3))
        vq = HierarchicalVQVAE(bits=6, max_epochs=0, auto_compression_strategy=dies)
        search = GridSearchCV(vq, {"bits": [4, 6]}, cv=2, n_jobs=2)
        try:
            search.fit(X)
        except Exception as error:
            sys.exit(type(error).__name__)
        """,
        tmp_path,
    )
    assert "TerminatedWorkerError" in ended.stderr


# --- the disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_while_writing_leaves_the_old_file(code, tmp_path, monkeypatch, fitted):
    path = tmp_path / "model.safetensors"
    save(FeatureCharacterizer(), path)
    before = path.read_bytes()

    def half(place, content):
        with place.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(code, os.strerror(code), str(place))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        with pytest.raises(OSError, match=os.strerror(code)):
            save(fitted, path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_read_only_folder_is_named(tmp_path, fitted):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    with pytest.raises(PermissionError, match="locked"):
        save(fitted, folder / "model.safetensors")


def test_a_folder_that_refuses_to_be_written_is_named(tmp_path, monkeypatch, fitted):
    def refuse(place, content):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(PermissionError, match=tmp_path.name):
        save(fitted, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


# --- training that runs off ----------------------------------------------------------------------


@pytest.mark.parametrize("lr", [1e3, 1e30])
def test_training_that_runs_off_is_undone(lr):
    X = table(n=200)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        wild = codec(lr=lr, max_epochs=6).fit(X)
    start = codec(max_epochs=0).fit(X)
    assert wild.n_iter_ == 0
    assert any(issubclass(w.category, ConvergenceWarning) for w in seen)
    assert wild.transform(X).tobytes() == start.transform(X).tobytes()
    assert wild.reconstruct(X).tobytes() == start.reconstruct(X).tobytes()


@pytest.mark.parametrize("lr", [1e3, 1e30])
def test_training_that_runs_off_without_rows_kept_aside_is_undone(lr):
    X = table(n=200)
    with pytest.warns(ConvergenceWarning, match="Lower lr"):
        wild = codec(lr=lr, max_epochs=6, early_stopping=False).fit(X)
    start = codec(max_epochs=0, early_stopping=False).fit(X)
    assert wild.reconstruct(X).tobytes() == start.reconstruct(X).tobytes()


# --- tables at the edge --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 60])
def test_all_rows_equal(n):
    X = np.tile(table(n=1), (n, 1))
    with pytest.warns(UserWarning, match="No column of X varies"):
        vq = codec().fit(X)
    assert vq.n_bits_ == 0.0
    assert vq.transform(X).shape == (n, 0)
    np.testing.assert_allclose(vq.reconstruct(X), X, rtol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_fewer_rows_than_codewords(n):
    X = table(n=n)
    vq = codec(bits=60).fit(X)
    assert all(len(book) <= n for book in vq.codebooks_.values())
    assert vq.score(X) > 0.95
    assert len(np.unique(vq.transform(X), axis=0)) == n


def test_a_search_goes_on_where_one_candidate_fails():
    search = GridSearchCV(codec(), {"bits": [0, 6]}, cv=2, error_score=np.nan)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        search.fit(table())
    assert any("'bits' parameter" in str(w.message) for w in seen)
    assert search.best_params_ == {"bits": 6}
