"""Corners of the public surface that a sixth review found wanting."""

import numpy as np
import pytest

from adaptive_vq import HierarchicalVQVAE

RNG = np.random.default_rng(0)
X = np.repeat(RNG.normal(size=(120, 2)), 3, axis=1) + 0.2 * RNG.normal(size=(120, 6))


def codec(**parameters) -> HierarchicalVQVAE:
    return HierarchicalVQVAE(**{"bits": 12, "max_epochs": 0, "random_state": 0} | parameters)


@pytest.mark.parametrize("sizes", [1, [1, 1, 1], {"cluster_1": 1, "cluster_2": 1}])
def test_sizes_that_leave_no_code_are_told(sizes):
    plan = {"auto_compression_strategy": "uniform"}
    with pytest.warns(UserWarning, match="codebook_sizes=.* leaves no code"):
        assert codec(codebook_sizes=sizes, **plan).fit(X).n_bits_ == 0
    assert codec(codebook_sizes=[2, 1, 1], **plan).fit(X).n_bits_ == 2


def test_learning_that_sizes_leave_nothing_to_is_told():
    with pytest.warns(UserWarning, match="'learned' moves no bit: codebook_sizes=2 says"):
        assert codec(codebook_sizes=2, auto_compression_strategy="learned").fit(X).moves_ == []
