"""Principal directions of few rows and many columns."""

import pytest
import torch

from adaptive_vq import classical
from adaptive_vq._axes import principal_directions


def rows_of(n, k, rank=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rank = n if rank is None else rank
    scales = 2.0 ** -torch.arange(rank)  # apart, so that each direction is told from the others
    left = torch.randn(n, rank, generator=generator, dtype=torch.float64)
    right, _ = torch.linalg.qr(torch.randn(k, rank, generator=generator, dtype=torch.float64))
    return ((left * scales) @ right.T).float()


def by_covariance(rows, width, weight):
    double, weight = rows.double(), weight.double()
    centered = (double - weight @ double / weight.sum()) * weight.sqrt()[:, None]
    values, vectors = torch.linalg.eigh(centered.T @ centered)
    return values.flip(0)[:width], vectors.flip(1)[:, :width]


WEIGHTS = {
    "alike": torch.ones(12),
    "different": torch.linspace(0.5, 3.0, 12),
    "some zero": torch.tensor([0.0, 1.0, 2.0] * 4),
}


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("duplicates", [False, True])
def test_few_rows_have_the_axes_of_their_covariance(weight, duplicates):
    rows = rows_of(12, 60)
    if duplicates:
        rows[6:] = rows[:6]
    width = 3
    mean, basis = classical.principal_axes(rows, width, weight)
    _, expected = by_covariance(rows, width, weight)
    torch.testing.assert_close(mean.double(), (weight @ rows / weight.sum()).double())
    expected = expected * torch.sign((expected * basis).sum(0))
    torch.testing.assert_close(basis.double(), expected, atol=2e-6, rtol=0)


def test_what_varies_little_beside_the_rest_is_told_apart():
    """By products of rows its variance, 1e-18 of the largest, would be rounding."""
    rows = torch.zeros(4, 20, dtype=torch.float64)
    rows[:, 3] = 1e9 * torch.tensor([1.0, -1.0, 1.0, -1.0])
    rows[:, 7] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    found = principal_directions(rows, 2)
    assert found.abs().argmax(0).tolist() == [3, 7]
    torch.testing.assert_close(found.abs().amax(0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("width", [3, 10, 30, 40])
def test_more_directions_than_rows_are_orthonormal(width):
    rows = rows_of(10, 40, rank=3).double()
    rows -= rows.mean(0)
    found = principal_directions(rows, width)
    assert found.shape == (40, width)
    torch.testing.assert_close(found.T @ found, torch.eye(width, dtype=torch.float64))
    torch.testing.assert_close(rows @ found @ found.T, rows, atol=1e-6, rtol=0)
    assert not (rows @ found[:, 3:]).abs().gt(1e-6).any()


def test_no_square_of_the_columns_is_made(monkeypatch):
    shapes = []
    for name in ("eigh", "svd"):
        own = getattr(torch.linalg, name)

        def noted(matrix, *args, own=own, **kwargs):
            shapes.append(tuple(matrix.shape))
            return own(matrix, *args, **kwargs)

        monkeypatch.setattr(torch.linalg, name, noted)
    classical.principal_axes(rows_of(12, 60), 5, torch.ones(12))
    assert shapes == [(12, 12)]
    classical.principal_axes(rows_of(31, 60), 5, torch.ones(31))  # as ever
    assert shapes[1:] == [(60, 60)]


def test_columns_that_further_directions_start_from_may_be_the_rows_own():
    rows = torch.zeros(4, 12, dtype=torch.float64)
    rows[:, 0] = torch.tensor([1.0, -1.0, 2.0, -2.0])
    found = principal_directions(rows, 12)
    torch.testing.assert_close(found.T @ found, torch.eye(12, dtype=torch.float64))
    torch.testing.assert_close(found[0, 0].abs(), torch.tensor(1.0, dtype=torch.float64))
