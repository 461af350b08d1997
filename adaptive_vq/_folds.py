"""Rows kept aside more than once, where one part of them would be too few to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._novelty import are_known

__all__ = ["ENOUGH_JUDGED", "MOST_FOLDS", "Fold", "folds"]

ENOUGH_JUDGED = 600
"""Rows kept aside, over all folds, from which errors of two codecs can be told apart."""
MOST_FOLDS = 4


def folds(order: Ints, n_valid: int, most: int = MOST_FOLDS) -> Iterator[tuple[Ints, Ints]]:
    """Split rows into those to fit on and those kept aside, again and again while these are few.

    Parameters
    ----------
    order : ndarray of int of shape (n,)
        Rows, shuffled.
    n_valid : int
        Rows kept aside at a time, less than n.
    most : int, default=4
        Folds at most.

    Yields
    ------
    fit, valid : ndarray of int
        Rows to fit on, rows kept aside: no row is kept aside twice. One fold where `n_valid` rows
        are enough to judge by, else as many as that takes, at most `most`.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._folds import folds
    >>> [(fit.tolist(), valid.tolist()) for fit, valid in folds(np.arange(4), 2)]
    [([2, 3], [0, 1]), ([0, 1], [2, 3])]
    """
    wanted = -(-ENOUGH_JUDGED // n_valid)
    for i in range(max(1, min(wanted, most, len(order) // n_valid))):
        valid = slice(i * n_valid, (i + 1) * n_valid)
        yield np.delete(order, valid), order[valid]


class Fold:
    """Rows to fit on and rows kept aside, with their weights."""

    def __init__(self, Z: NDArray[np.float32], weight: Floats | None, fit: Any, valid: Any) -> None:
        self.train, self.valid = (torch.from_numpy(Z[rows]) for rows in (fit, valid))
        mass = np.ones(len(Z)) if weight is None else weight
        self.weight, self.valid_weight = (
            torch.from_numpy(mass[rows].astype(np.float32)) for rows in (fit, valid)
        )

    def every(self, columns: Tensor | list[int]) -> tuple[NDArray[np.float32], Floats]:
        """All rows in some columns, and their weights."""
        rows = torch.cat([self.train[:, columns], self.valid[:, columns]])
        return rows.numpy(), torch.cat([self.weight, self.valid_weight]).double().numpy()

    def weight_of_known(self, columns: Tensor) -> Tensor:
        """Weights of the rows kept aside, none of those that are new in some columns."""
        rows, before = self.valid[:, columns], self.train[self.weight > 0][:, columns]
        weight = self.valid_weight * torch.from_numpy(are_known(rows.numpy(), before.numpy()))
        return weight if bool(weight.any()) else self.valid_weight
