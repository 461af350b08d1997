"""Independent work side by side."""

import contextlib
import os
import sys
import threading
import time

import numpy as np
import pytest
import torch

from adaptive_vq import HierarchicalVQVAE, fitting, kmeans, load, quantize, save
from adaptive_vq._draws import between_neighbours
from adaptive_vq._parallel import beside, each, n_workers, one_thread_each, until
from adaptive_vq.candidates import Candidates


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
        if item >= together.parties:
            return inside
        together.wait()  # breaks unless that many are worked on at a time
        number = n_workers()
        together.wait()  # none ends before all have looked
        return number

    with one_thread_each():
        assert torch.get_num_threads() == 1
        assert set(each(work, range(n_items), split=split)) == {inside}
    assert n_workers() == n_threads
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize(("split", "inside"), [(True, 3), (False, 1)])
def test_threads_whose_items_are_done_help_the_others(split, inside, threads):
    threads(3)

    def work(item):
        if item < 2:
            return n_workers()
        for _ in range(6000):
            if n_workers() == inside:
                break
            time.sleep(0.01)  # until the others have ended
        return n_workers()

    with one_thread_each():
        assert each(work, range(3), split=split) == [1, 1, inside]
    assert n_workers() == 3


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_work_ends_with_what_is_enough_for_any_number_of_threads(n_threads, threads):
    threads(n_threads)
    done = []

    def squared(i):
        done.append(i)
        return i * i

    assert until(lambda found: sum(found) >= 5, squared, range(9)) == [0, 1, 4]
    assert len(done) == -(-3 // n_threads) * n_threads
    assert until(lambda _: False, squared, range(4)) == [0, 1, 4, 9]
    assert until(lambda _: False, squared, []) == []


def test_threads_are_kept_for_further_work(threads):
    threads(3)
    together = threading.Barrier(3, timeout=60)

    def met(_):
        together.wait()
        return threading.current_thread()

    with one_thread_each():
        each(met, range(3))
        before = set(threading.enumerate())
        for _ in range(2_000):
            each(lambda i: i, range(3))
        assert set(each(met, range(3))) <= before
    assert threading.active_count() <= len(before)


def test_work_inside_of_pieces_never_comes_to_a_standstill(threads):
    def sums(depth):
        if depth == 0:
            return 1
        return sum(each(lambda _: sums(depth - 1), range(3), split=depth % 2 == 0))

    threads(4)
    with one_thread_each():
        assert sums(5) == 3**5
    assert n_workers() == 4


def test_after_a_failure_no_further_piece_begins(threads):
    threads(2)
    begun = []

    def fail(item):
        begun.append(item)
        raise ZeroDivisionError(item)

    with one_thread_each(), pytest.raises(ZeroDivisionError):
        each(fail, range(100))
    assert len(begun) <= 2


@pytest.mark.parametrize("n_threads", [1, 2])
def test_something_aside_runs_in_another_thread_if_there_is_one(n_threads, threads):
    threads(n_threads)
    here, seen = threading.current_thread(), []
    met = threading.Barrier(2, timeout=60)

    def both(name):
        if n_threads == 2:
            met.wait()  # breaks unless the other one is under way
        seen.append((name, threading.current_thread() is here, n_workers()))
        if n_threads == 2:
            met.wait()  # neither ends before both have looked
        return name

    with one_thread_each():
        assert beside(lambda: both("aside"), lambda: both("own")) == "own"
        assert n_workers() == n_threads
    assert sorted(seen) == [("aside", n_threads == 1, 1), ("own", True, 1)]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("where", ["aside", "own"])
def test_what_goes_wrong_aside_or_here_is_raised(where, n_threads, threads):
    def call(name):
        if name == where:
            raise ZeroDivisionError(name)

    threads(n_threads)
    with one_thread_each():
        with pytest.raises(ZeroDivisionError, match=where):
            beside(lambda: call("aside"), lambda: call("own"))
        assert n_workers() == n_threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_threads_of_its_own(threads):
    threads(2)
    together = threading.Barrier(2, timeout=20)
    with one_thread_each():
        each(lambda _: together.wait(), range(2))
    child = os.fork()
    if child == 0:  # no assertion gets out of here
        together = threading.Barrier(2, timeout=20)
        right = [[0, 1]]
        try:
            with one_thread_each():
                found = each(lambda i: (together.wait(), i)[1], range(2))
            os._exit(0 if [found] == right else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_goes_wrong_in_a_thread_is_raised(threads):
    def fail(item):
        raise ZeroDivisionError(item)

    for n_threads in (1, 2):
        threads(n_threads)
        with pytest.raises(ZeroDivisionError):
            each(fail, range(3))
        assert torch.get_num_threads() == n_threads


def test_a_thread_that_comes_while_others_work_takes_their_number(threads):
    threads(4)
    begun, ended, found = threading.Event(), threading.Event(), []

    def late():
        begun.wait(60)
        with one_thread_each():
            found.append((n_workers(), torch.get_num_threads()))
            ended.set()

    other = threading.Thread(target=late)
    other.start()
    with one_thread_each():
        begun.set()
        ended.wait(60)
    other.join()
    assert found == [(4, 1)]
    assert torch.get_num_threads() == n_workers() == 4
    again = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    again.start()
    again.join()
    assert found[1:] == [4]


def test_operations_of_a_fit_have_one_thread(monkeypatch, threads):
    threads(3)
    seen, own = set(), kmeans._seed_codewords

    def seeding(*args):
        seen.add(torch.get_num_threads())
        return own(*args)

    monkeypatch.setattr(kmeans, "_seed_codewords", seeding)
    X = np.random.default_rng(0).normal(size=(150, 6))
    HierarchicalVQVAE(bits=16, random_state=0, max_epochs=0).fit(X)
    assert seen == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("n", [8192, 20_001])
def test_shared_out_searches_give_the_same_bits(n, threads):
    rows = torch.randn(n, 7, generator=torch.Generator().manual_seed(0))
    words, more = rows[:200] + 0.1, rows[50:80] * 0.3
    drawn = torch.randint(n, (n,), generator=torch.Generator().manual_seed(1))

    def found(n_threads):
        threads(n_threads)
        with one_thread_each():
            candidates = Candidates(rows)
            candidates.extend(words, 6)
            candidates.extend(more, 6)
            codes = quantize.refine(rows, candidates.best(), [words, more], 2)
            return [
                *kmeans.nearest(rows, words),
                candidates.residuals(6, 7),
                candidates.chosen(drawn, drawn % 6, 5),
                codes,
                quantize.decode(codes, [words, more], 7),
                kmeans.kmeans(rows, 200, torch.Generator().manual_seed(2), n_iter=2),
                *quantize.refit(rows, codes, [words, more], 1.0),
                between_neighbours(rows[:3000], 2, torch.Generator(), torch.ones(3000))[0],
            ]

    one = found(1)
    for n_threads in (2, 3):
        for a, b in zip(one, found(n_threads), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("n", [200, 4_000])
def test_a_fit_in_several_threads_ends_with_the_same_bits_as_one_in_one(n, threads, tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, 3))
    X = np.repeat(factors, 3, axis=1) + 0.1 * rng.normal(size=(n, 9))

    def fitted(n_threads, checkpoint=None):
        threads(n_threads)
        model = HierarchicalVQVAE(bits=18, random_state=0, max_epochs=1, checkpoint=checkpoint)
        return model.fit(X)

    one, several = fitted(1), fitted(3, tmp_path / "fit.safetensors")
    assert one._state.keys() == several._state.keys()
    for name, values in one._state.items():
        np.testing.assert_array_equal(values, several._state[name], err_msg=name)


def test_training_and_so_callbacks_have_the_thread_that_fits(monkeypatch, threads):
    threads(2)
    seen, own = [], fitting.train

    def noting(*args):
        seen.append(threading.current_thread())
        return own(*args)

    monkeypatch.setattr(fitting, "train", noting)
    X = np.random.default_rng(0).normal(size=(300, 6))
    HierarchicalVQVAE(bits=16, random_state=0, max_epochs=3).fit(X)
    assert set(seen) == {threading.current_thread()}


@pytest.fixture
def switching():
    """Set how often Python switches between threads, as it was before afterwards."""
    before = sys.getswitchinterval()
    yield sys.setswitchinterval
    sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("n_threads", "before", "inside"), [(2, 5e-3, 1e-4), (2, 2e-5, 2e-5), (1, 5e-3, 5e-3)]
)
def test_python_switches_often_while_several_threads_work(
    n_threads, before, inside, threads, switching
):
    threads(n_threads)
    switching(before)
    with one_thread_each():
        other = threading.Thread(target=_come_and_go)
        other.start()
        other.join()
        assert sys.getswitchinterval() == pytest.approx(inside)
    assert sys.getswitchinterval() == pytest.approx(before)


def _come_and_go():
    with contextlib.suppress(ZeroDivisionError), one_thread_each():
        raise ZeroDivisionError


def test_an_interval_set_meanwhile_stays(threads, switching):
    threads(2)
    switching(5e-3)
    with one_thread_each():
        switching(1e-2)
    assert sys.getswitchinterval() == pytest.approx(1e-2)


@pytest.mark.parametrize("context", ["local", "joint"])
def test_codecs_are_float32_whatever_torch_makes_of_numbers(context, threads, tmp_path):
    threads(1)
    X = np.random.default_rng(0).normal(size=(300, 5))
    quick = {"max_epochs": 1, "early_stopping": False, "random_state": 0}
    codec = HierarchicalVQVAE(bits=16, context=context, **quick)
    expected = codec.fit(X).transform(X)
    torch.set_default_dtype(torch.float64)
    try:
        codes = codec.fit(X).transform(X)
        save(codec, tmp_path / "codec.safetensors")
        again = load(tmp_path / "codec.safetensors").transform(X)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(codes, expected)
    assert np.array_equal(again, expected)
