"""Place of the smallest of every row, as fast as a device finds it (torch; numpy on processors)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["argmin"]


def argmin(scores: Tensor) -> Tensor:
    """Place of the smallest of every row, shape (n,).

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._argmin import argmin
    >>> argmin(torch.tensor([[2.0, 1.0, 3.0], [0.0, 4.0, 0.0]])).tolist()
    [1, 0]
    """
    if scores.device.type != "cpu":
        return scores.argmin(1)
    # numpy's is vectorized along rows, torch's is not: a factor of six.
    return torch.from_numpy(scores.numpy().argmin(1))
