"""Means and variances of columns, some columns at a time."""

import numpy as np
import pytest
import torch

from adaptive_vq._moments import column_means, column_variances


@pytest.mark.parametrize("n_columns", [1, 16, 17, 40])
def test_any_number_of_columns(n_columns):
    rng = np.random.default_rng(0)
    table = (1e4 + rng.normal(size=(50, n_columns))).astype(np.float32)
    weight = rng.integers(0, 3, table.shape).astype(np.float32)
    weight[:, 0] = 0
    mean, variance = (
        f(torch.from_numpy(table), torch.from_numpy(weight)).numpy()
        for f in (column_means, column_variances)
    )
    assert mean[0] == variance[0] == 0
    for j in range(1, n_columns):
        expected = np.average(table[:, j].astype(float), weights=weight[:, j])
        assert mean[j] == pytest.approx(expected, rel=1e-12)
        away = (table[:, j] - expected) ** 2
        assert variance[j] == pytest.approx(np.average(away, weights=weight[:, j]), rel=1e-9)
