"""A table and a codec of it that is fitted in no time, for tests of what surrounds a fit."""

import numpy as np

from adaptive_vq import HierarchicalVQVAE

_RNG = np.random.default_rng(0)
X = np.repeat(_RNG.normal(size=(120, 3)), 3, axis=1) + 0.2 * _RNG.normal(size=(120, 9))
NAMES = list("abcdefghi")


def codec(*args, **parameters) -> HierarchicalVQVAE:
    """Codec without training, of a quick plan where none is given."""
    settings = {"max_epochs": 0, "early_stopping": False, "random_state": 0}
    if not args:
        settings["bits"] = 12
        if "compression_ratios" not in parameters:
            settings["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(*args, **settings | parameters)
