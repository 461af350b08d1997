"""Networks kept between calls: nobody notices."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone

from adaptive_vq import HierarchicalVQVAE
from adaptive_vq.estimation import module_of, working_module_of


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(200, 2)), 3, axis=1) + 0.1 * rng.normal(size=(200, 6))


@pytest.fixture
def vq(X):
    return HierarchicalVQVAE(
        bits=12,
        auto_compression_strategy="water_filling",
        max_epochs=1,
        early_stopping=False,
        device="cpu",
        random_state=0,
    ).fit(X)


def test_a_network_is_built_once(vq, X):
    network = working_module_of(vq)
    vq.inverse_transform(vq.transform(X))
    assert working_module_of(vq) is network
    assert module_of(vq) is not network


def test_the_estimator_shows_nothing_of_it(vq, X):
    before, pickled = dict(vars(vq)), pickle.dumps(vq)
    vq.transform(X)
    assert vars(vq).keys() == before.keys()
    assert pickle.dumps(vq) == pickled
    for other in (copy.copy(vq), copy.deepcopy(vq), pickle.loads(pickled)):
        assert working_module_of(other) is not working_module_of(vq)
        np.testing.assert_array_equal(other.transform(X), vq.transform(X))
    assert not hasattr(clone(vq), "codebooks_")


def test_a_refit_and_an_update_take_effect(vq, X):
    first = vq.transform(X)
    other = HierarchicalVQVAE(bits=8, max_epochs=0, early_stopping=False, random_state=1)
    expected = clone(other).fit(-X).transform(X)
    vq.set_params(**other.get_params()).fit(-X)
    np.testing.assert_array_equal(vq.transform(X), expected)
    assert not np.array_equal(first, expected)
    moved = copy.deepcopy(vq).partial_fit(3 * X)
    vq.reconstruct(X)
    vq.partial_fit(3 * X)
    np.testing.assert_array_equal(vq.reconstruct(X), moved.reconstruct(X))


def test_cells_and_arrays_that_change_take_effect(vq, X):
    vq.transform(X)
    name = next(iter(vq.codebooks_))
    for vary in (
        lambda: vq.codebooks_[name].__imul__(np.float32(-1)),
        lambda: vq._state.update(offsets=vq._state["offsets"] + np.float32(1)),
    ):
        vary()
        fresh = copy.deepcopy(vq)
        np.testing.assert_array_equal(vq.transform(X), fresh.transform(X))
        np.testing.assert_array_equal(vq.reconstruct(X), fresh.reconstruct(X))


def test_arrays_that_may_not_be_written_to(vq, X):
    expected = vq.reconstruct(X)
    for array in vq._state.values():
        array.flags.writeable = False
    np.testing.assert_array_equal(copy.copy(vq).reconstruct(X), expected)


def test_a_network_goes_with_its_estimator(vq, X):
    other = copy.deepcopy(vq)
    other.transform(X)
    network = weakref.ref(working_module_of(other))
    del other
    gc.collect()
    assert network() is None


def test_threads_share_a_network(vq, X):
    expected, fresh = vq.transform(X), copy.deepcopy(vq)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: fresh.transform(X), range(24)):
            np.testing.assert_array_equal(found, expected)


def test_own_encoders_are_not_shared(X):
    body = torch.nn.Linear(3, 4)
    vq = HierarchicalVQVAE(
        [1.0], codebook_sizes=4, bits=12, max_epochs=1, encoders={"cluster_1": body}
    ).fit(X)
    assert working_module_of(vq) is not working_module_of(vq)
