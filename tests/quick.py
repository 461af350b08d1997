"""Tables and codecs that are fitted in no time, for tests of what surrounds a fit."""

import numpy as np
import pandas as pd

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE


def _in_groups(n: int, n_groups: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(size=(n, n_groups)), 3, axis=1)
    return groups + noise * rng.normal(size=groups.shape)


X = _in_groups(120, 3, 0.2)
NAMES = list("abcdefghi")

HALF_BY_HALF = _in_groups(160, 2, 0.1)
HALVES = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
PLAN = AdaptiveRatioSelector("water_filling", bits=12, characterizer=HALVES)


def coupled() -> pd.DataFrame:
    """Rows enough to keep some aside."""
    return pd.DataFrame(_in_groups(400, 2, 0.3), columns=list("abcdef"))


def untrained(*args, **parameters) -> HierarchicalVQVAE:
    """Codec without training."""
    quick = {"max_epochs": 0, "early_stopping": False, "random_state": 0}
    return HierarchicalVQVAE(*args, **quick | parameters)


def codec(*args, **parameters) -> HierarchicalVQVAE:
    """Codec without training, of a quick plan where none is given."""
    settings = {}
    if not args:
        settings["bits"] = 12
        if "compression_ratios" not in parameters:
            settings["auto_compression_strategy"] = "water_filling"
    return untrained(*args, **settings | parameters)


def judged(**parameters) -> HierarchicalVQVAE:
    """Codec of a quick plan without training, judged by rows kept aside."""
    return codec(**{"early_stopping": True} | parameters)
