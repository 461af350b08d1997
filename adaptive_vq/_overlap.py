"""What is told of categories given that go together."""

from __future__ import annotations

from typing import Any

from adaptive_vq._alerts import warn
from adaptive_vq._wording import more_than

__all__ = ["warn_of_overlap"]

OVERLAP = 0.1
"""Below this mean absolute correlation two categories are not said to overlap."""


def warn_of_overlap(
    separation: dict[str, dict[str, Any]], scores: dict[str, dict[str, float]]
) -> None:
    """Warn where columns correlate more with another category than among themselves.

    Parameters
    ----------
    separation : dict of str to dict
        What `scores.category_separation` returned.
    scores : dict of str to dict
        Scores of the same categories.
    """
    # One-hot columns oppose each other: their aligned correlation is low, their strength is not.
    overlapping = [
        f"{name!r} and {figures['neighbor']!r} (within {figures['within']:.2f}, between "
        f"{figures['between']:.2f})"
        for name, figures in separation.items()
        if figures["between"] > max(figures["within"], scores[name]["correlation"], OVERLAP)
    ]
    if overlapping:
        warn(
            "Categories overlap, their columns correlate more with another category than among "
            f"themselves: {'; '.join(overlapping[:3])}{more_than(3, len(overlapping))}. Consider "
            "merging them or categories='auto'."
        )
