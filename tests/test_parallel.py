"""Independent work side by side."""

import threading

import numpy as np
import pytest
import torch

from adaptive_vq import HierarchicalVQVAE
from adaptive_vq._parallel import each, n_workers, one_thread_each


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_items", [0, 1, 7])
def test_results_come_in_the_order_of_the_items(n_items, n_threads, split, threads):
    threads(n_threads)
    assert each(lambda i: i * i, range(n_items), split=split) == [i * i for i in range(n_items)]
    assert torch.get_num_threads() == n_threads


def test_every_argument_has_items_of_its_own(threads):
    for n_threads in (1, 2):
        threads(n_threads)
        assert each(pow, [2, 3, 4], iter([3, 2, 1])) == [8, 9, 4]
        with pytest.raises(ValueError, match="shorter"):
            each(pow, [2, 3], [1])


@pytest.mark.parametrize(
    ("n_threads", "n_items", "split", "inside"),
    [(4, 2, True, 2), (4, 2, False, 1), (5, 2, True, 2), (2, 3, True, 1), (3, 1, True, 3)],
)
def test_threads_without_an_item_help_the_others(n_threads, n_items, split, inside, threads):
    threads(n_threads)
    together = threading.Barrier(min(n_threads, n_items), timeout=60)

    def work(item):
        if item < together.parties:
            together.wait()  # breaks unless that many are worked on at a time
        return n_workers()

    with one_thread_each():
        assert torch.get_num_threads() == 1
        assert set(each(work, range(n_items), split=split)) == {inside}
    assert n_workers() == n_threads
    assert torch.get_num_threads() == n_threads


def test_what_goes_wrong_in_a_thread_is_raised(threads):
    def fail(item):
        raise ZeroDivisionError(item)

    for n_threads in (1, 2):
        threads(n_threads)
        with pytest.raises(ZeroDivisionError):
            each(fail, range(3))
        assert torch.get_num_threads() == n_threads


def test_a_fit_in_several_threads_ends_with_the_same_bits_as_one_in_one(threads):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(200, 3))
    X = np.repeat(factors, 3, axis=1) + 0.1 * rng.normal(size=(200, 9))

    def fitted(n_threads):
        threads(n_threads)
        return HierarchicalVQVAE(bits=18, random_state=0, max_epochs=1).fit(X)

    one, several = fitted(1), fitted(3)
    assert one._state.keys() == several._state.keys()
    for name, values in one._state.items():
        np.testing.assert_array_equal(values, several._state[name], err_msg=name)
