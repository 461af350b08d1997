"""Least squares over observed cells only."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from adaptive_vq import quantize
from adaptive_vq._observed import conjugate_gradients, normal_product
from adaptive_vq._spread import Spreading, factors


def one_hot(codes, sizes, shares=None):
    parts = []
    for j, size in enumerate(sizes):
        part = np.eye(size)[codes[:, j]]
        parts.append(part if shares is None else part * shares[:, j, None])
    return np.hstack(parts)


def problem(spread=False):
    generator = torch.Generator().manual_seed(0)
    sizes = [5, 4, 3]
    codes = torch.stack([torch.randint(s, (400,), generator=generator) for s in sizes], 1)
    chain = [0.1 * torch.randn(s, 6, generator=generator) for s in sizes]
    if spread:
        chain = Spreading(chain, [torch.rand(s, generator=generator) + 0.5 for s in sizes])
    target = torch.randn(400, 6, generator=generator)
    weight = torch.rand(400, generator=generator) + 0.5
    missing = torch.rand(400, 6, generator=generator) < torch.linspace(0.0, 0.95, 6)
    return codes, sizes, chain, target, weight, missing


def test_product_is_that_of_the_matrix():
    codes, sizes, _, _, weight, missing = problem()
    cells = torch.where(missing, 0.0, weight.double()[:, None])
    words = torch.randn(sum(sizes), 6, dtype=torch.float64)
    product = normal_product(codes, sizes, cells, None, 2.0)(words)
    A = one_hot(codes.numpy(), sizes)
    for c in range(6):
        expected = A.T @ (cells[:, c].numpy() * (A @ words[:, c].numpy())) + 2 * words[:, c].numpy()
        np.testing.assert_allclose(product[:, c].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("spread", [False, True])
def test_refit_is_that_of_the_observed_cells_alone(spread):
    codes, sizes, chain, target, weight, missing = problem(spread)
    filled = torch.where(missing, quantize.decode(codes, chain, 6), target)
    moved = quantize.refit(filled, codes, chain, 10.0, weight, missing)
    shares = factors(codes, chain)
    A = one_hot(codes.numpy(), sizes, None if shares is None else shares.numpy())
    start = torch.cat(list(chain)).numpy()
    for c in range(6):
        seen = ~missing[:, c].numpy()
        model = Ridge(alpha=10.0, fit_intercept=False)
        model.fit(A[seen], target[seen, c].numpy() - A[seen] @ start[:, c], weight[seen].numpy())
        found = torch.cat(list(moved)).numpy()[:, c] - start[:, c]
        np.testing.assert_allclose(found, model.coef_, atol=5e-3)


def test_columns_that_are_solved_stay_as_they_are():
    right = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    found = conjugate_gradients(lambda x: 2.0 * x, right, lambda r: r / 2.0)
    torch.testing.assert_close(found, right / 2.0)
