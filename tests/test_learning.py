"""Bits move to where rows kept aside show that they help."""

import numpy as np
import torch

from adaptive_vq import AdaptiveRatioSelector, HierarchicalVQVAE
from adaptive_vq.classical import CategorySpec
from adaptive_vq.learning import bits_of, move_bits


def _two_blocks():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=(500, 3))
    easy = np.repeat(rng.normal(size=(500, 1)), 3, axis=1) + 0.01 * rng.normal(size=(500, 3))
    return torch.tensor(np.hstack([hard, easy]), dtype=torch.float32)


def test_bits_leave_the_category_that_has_too_many():
    rows = _two_blocks()
    specs = [
        CategorySpec("hard", torch.arange(3), [[2], []], [3, 3]),
        CategorySpec("easy", torch.arange(3, 6), [[256], []], [3, 3]),
    ]
    moved, moves = move_bits(rows[100:], torch.ones(400), rows[:100], specs, 0)
    assert moves
    assert moves[0]["giver"] == "easy"
    assert moves[0]["taker"] == "hard"
    assert sum(map(bits_of, moved)) == sum(map(bits_of, specs))
    assert all(move["after"] < move["before"] for move in moves)


def test_the_codec_stores_the_trajectory_and_keeps_the_budget():
    X = _two_blocks().numpy()
    selector = AdaptiveRatioSelector("learned", bits=10)
    vq = HierarchicalVQVAE(selector, max_epochs=1, beam_width=4, random_state=0).fit(X)
    assert isinstance(vq.history_[0]["moves"], list)
    assert vq.n_bits_ <= 10 + 1e-6
