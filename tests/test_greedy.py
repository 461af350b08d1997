"""Distortion-rate curves under greedy coding."""

import numpy as np
import pytest
import torch

from adaptive_vq.greedy import AveragedCurve, GreedyCurve
from adaptive_vq.spectra import row_items


def curve(width=6, n=6_000, limit=40):
    rows = torch.randn(n, width, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    return GreedyCurve(rows[: n - 100], rows[n - 100 :], width, limit, generator)


@pytest.mark.parametrize("ahead", [1, 9, 24, 99])
def test_working_ahead_changes_nothing_until_it_is_asked_for(ahead):
    plain, other = curve(), curve()
    other.look_ahead_to(ahead)
    assert other.measured == plain.measured == 8
    assert other.covers(8)
    assert not other.covers(9)
    np.testing.assert_array_equal(other.up_to(30), plain.up_to(30))
    for bits in (9, 20, 40):
        plain.measure_to(bits)
        other.measure_to(bits)
        assert other.measured == plain.measured >= bits
        np.testing.assert_array_equal(other.up_to(40), plain.up_to(40))


def test_what_has_been_worked_ahead_on_can_be_asked_for():
    plain, other = curve(), curve()
    other.look_ahead_to(20)
    plain.measure_to(20)
    assert other.covers(20, ahead=True)
    assert other.covers(24, ahead=True)
    assert not other.covers(25, ahead=True)
    np.testing.assert_array_equal(other.up_to(40, ahead=True), plain.up_to(40))


def test_an_exact_curve_is_told_only_once_it_is_asked_for():
    rows = torch.tensor([[0.0], [1.0], [2.5]]).repeat(200, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    parts = [GreedyCurve(rows, rows, 4, 40, torch.Generator().manual_seed(0)) for _ in range(2)]
    mean = AveragedCurve(parts)
    mean.look_ahead_to(40)
    assert mean.covers(40)  # three rows take two bits: the first codebook is exact
    np.testing.assert_array_equal(mean.up_to(12, ahead=True), mean.up_to(12))


def test_rows_that_repeat_each_other_count_as_one_with_their_weights():
    rng = np.random.default_rng(0)
    train = torch.from_numpy(rng.integers(0, 4, size=(2_000, 3)).astype(np.float32))
    valid = train[:500]
    weights = tuple(
        torch.from_numpy(rng.integers(1, 4, n).astype(np.float32)) for n in (2_000, 500)
    )

    def errors(train, valid, weights):
        found = GreedyCurve(train, valid, 3, 20, torch.Generator().manual_seed(0), weights)
        found.measure_to(16)
        return found.up_to(16)

    expected = errors(train, valid, weights)
    # All 64 rows have a codeword each after six bits, whoever is drawn first.
    assert expected[6] < 1e-6 * expected[0] < expected[5]
    places, held, same = rng.permutation(2_000), rng.permutation(500), {"rtol": 1e-5, "atol": 1e-6}
    shuffled = train[places], valid[held], (weights[0][places], weights[1][held])
    np.testing.assert_allclose(errors(*shuffled), expected, **same)
    _, first, index = np.unique(row_items(train.numpy()), return_index=True, return_inverse=True)
    mass = torch.zeros(len(first)).index_add_(0, torch.from_numpy(index), weights[0])
    np.testing.assert_allclose(errors(train[first], valid, (mass, weights[1])), expected, **same)
