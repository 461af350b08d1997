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


def test_beyond_what_is_measured_the_curve_falls_as_in_its_last_codebook():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2_000, 6, generator=generator)
    rows[:, 0] += 100.0 * (torch.arange(2_000) % 4)  # which the first codebook tells
    found = GreedyCurve(rows[:1_800], rows[1_800:], 6, 40, generator)
    found.measure_to(16)
    known = found.up_to(16)
    factor = (known[16] / known[8]) ** (1 / 8)
    assert factor > 1.2 * (known[16] / known[0]) ** (1 / 16)
    np.testing.assert_allclose(found.up_to(24)[17:], known[16] * factor ** np.arange(1, 9))


def test_rows_count_by_their_weights():
    generator = torch.Generator().manual_seed(0)
    flat, steep = torch.zeros(200, 2), torch.zeros(200, 2)
    flat[:, 0] = torch.randn(200, generator=generator)
    steep[:, 1] = 3 * torch.randn(200, generator=generator)
    rows = torch.cat([flat, steep])
    first = (torch.arange(400) < 200).float() + 1e-4

    def error_of(fitted, judged, width=1, bits=8):
        """Of some principal directions, as a share of what no bits leave."""
        found = GreedyCurve(rows, rows, width, bits, generator, (fitted, judged)).up_to(bits)
        return found[bits] / found[0]

    assert error_of(first, first) < 0.01
    assert error_of(1.0001 - first + 1e-4, first) > 0.9
    assert error_of(first, torch.ones(400)) > 0.5
    # Of both directions four codewords are for the rows that count.
    assert error_of(first, first, 2, 2) < 0.5 * error_of(torch.ones(400), first, 2, 2)


def test_of_values_that_training_never_had_no_more_bits_are_promised_to_help():
    values = torch.tensor([[0.0], [1.0], [2.5]]).repeat(200, 1)
    unseen = torch.cat([values[:30], torch.tensor([[1.6]])])
    found = GreedyCurve(values, unseen, 1, 40, torch.Generator().manual_seed(0))
    assert found.covers(40)
    np.testing.assert_array_equal(found.up_to(40)[2:], found.up_to(40)[2])


def test_a_mean_of_curves_is_known_where_all_are():
    exact = torch.tensor([[0.0], [1.0], [2.5]]).repeat(200, 1)
    known = GreedyCurve(exact, exact, 1, 40, torch.Generator().manual_seed(0))
    other = curve(width=1)
    mean = AveragedCurve([known, other])
    assert not mean.covers(9)
    mean.look_ahead_to(16)
    expected = (known.up_to(30) + other.up_to(30, ahead=True)) / 2
    np.testing.assert_array_equal(mean.up_to(30, ahead=True), expected)
    mean.measure_to(9)
    assert mean.covers(9)
