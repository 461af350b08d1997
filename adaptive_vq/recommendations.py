"""Recommendations: what stands out in a diagnosis, by which rule, and which parameter to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adaptive_vq import _error_rules as errors
from adaptive_vq import _usage_rules as usage
from adaptive_vq._advice import Found, Recommendation

if TYPE_CHECKING:
    from adaptive_vq.diagnosis import Diagnosis

__all__ = ["Recommendation", "recommend"]


_RULES: tuple[Callable[[Diagnosis], Found], ...] = (
    errors.worst_category,
    errors.dominant_column,
    errors.beyond_caps,
    errors.singletons,
    usage.low_utilization,
    usage.dead_codes,
    usage.one_code,
    usage.few_rows,
    errors.knee,
    errors.idle_level,
    errors.above_training,
    errors.above_predicted,
    usage.shift,
    usage.stuck,
    usage.new_codes,
)


def recommend(diagnosis: Diagnosis) -> list[Recommendation]:
    """Apply every rule to a diagnosis.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    list of Recommendation
        In the order of the rules; empty if nothing stands out.
    """
    return [found for rule in _RULES for found in rule(diagnosis)]
