"""Pictures of a codec, after the manner of scikit-learn's displays.

Each has ``from_estimator`` (computes what it shows), ``from_diagnosis`` (takes it from a
:class:`~adaptive_vq.diagnosis.Diagnosis`) and ``plot(ax=None)``; after plotting, ``ax_`` and
``figure_`` hold the picture. They need matplotlib, which is imported when a picture is drawn.
"""

from adaptive_vq._category_displays import (
    CategoryErrorDisplay,
    CodebookUsageDisplay,
    RatioDecisionDisplay,
)
from adaptive_vq._curve_displays import (
    LatentMapDisplay,
    RateDistortionDisplay,
    TrainingHistoryDisplay,
)

__all__ = [
    "CategoryErrorDisplay",
    "CodebookUsageDisplay",
    "LatentMapDisplay",
    "RateDistortionDisplay",
    "RatioDecisionDisplay",
    "TrainingHistoryDisplay",
]
