"""Trials on several parts of the rows, of which those that fall behind are given up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Race", "behind"]

CERTAIN = 1.5
"""Standard errors that a trial has to be behind by on the first parts for it to be given up."""

Errors = Sequence[Tensor]


def behind(errors: Errors, best: Errors, share: float = 1.0) -> bool:
    """Whether errors of rows, on first parts, are clearly no less than a share of the best ones.

    Parts on which the best trial has less than half the error that it has elsewhere tell nothing: a
    few rows make up most of the error, and others may be better on these.

    Parameters
    ----------
    errors, best : sequences of Tensors
        Errors of the rows of first parts, and of all parts.
    share : float, default=1

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._race import behind
    >>> best = [torch.ones(9)] * 4
    >>> behind([1.5 * torch.ones(9)], best), behind([torch.tensor([0.5, 2.0, 0.8] * 3)], best)
    (True, False)
    >>> behind([1.5 * torch.ones(9)], [torch.ones(9), 9.0 * torch.ones(9)])
    False
    """
    if len(errors) >= len(best):
        return False
    seen, found = torch.cat([*best[: len(errors)]]).double(), torch.cat([*errors]).double()
    if 2 * len(best) * float(seen.sum()) < len(errors) * _sum(best):
        return False
    worse = found - share * seen
    noise = float((worse - worse.mean()).square().sum().sqrt())
    return float(worse.sum()) > CERTAIN * noise


class Race:
    """Errors of trials on the same parts of the rows, one trial after the other.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._race import Race
    >>> race = Race()
    >>> race.entered([torch.ones(9)] * 4)
    36.0
    >>> worse = torch.tensor([0.5, 2.0, 0.5] * 3), torch.tensor([1.0, 2.0, 0.5] * 3)
    >>> race.lost(worse[:1]), race.lost(worse)
    (False, True)
    >>> race.entered(worse)
    39.0
    """

    def __init__(self) -> None:
        self._best: Errors = []

    def lost(self, errors: Errors) -> bool:
        """Whether a trial with these errors on the first parts is to be given up.

        If it is clearly behind the best so far, or after half of the parts behind it at all.
        """
        seen = _sum(self._best[: len(errors)])
        half_way = len(errors) < len(self._best) <= 2 * len(errors)
        return (half_way and 0.0 < seen <= _sum(errors)) or behind(errors, self._best)

    def entered(self, errors: Errors) -> float:
        """Error of a trial on all parts.

        Of one that was given up it is that of the best trial times what it was worse by; where that
        one had no error, its own so far.
        """
        every, found = _sum(self._best), _sum(errors)
        if len(errors) < len(self._best):
            seen = _sum(self._best[: len(errors)])
            return every * found / seen if seen > 0.0 else found
        if not self._best or found < every:
            self._best = list(errors)
        return found


def _sum(errors: Errors) -> float:
    return float(sum(float(part.sum()) for part in errors))
