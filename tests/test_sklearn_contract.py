"""scikit-learn's own checks of the three estimators; none is expected to fail."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE


@parametrize_with_checks(
    [
        FeatureCharacterizer(),
        AdaptiveRatioSelector(),
        HierarchicalVQVAE(bits=8, max_epochs=1, beam_width=2),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_check(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
