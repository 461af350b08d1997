"""Whether a table is so wide that its rows are the smaller problem."""

from __future__ import annotations

from typing import Any

__all__ = ["wide"]


def wide(rows: Any) -> bool:
    """Whether columns are so many more than rows that the rows are the smaller problem.

    Clearly more: up to there bits stay what they are by the covariance, whose cost is no matter.

    Parameters
    ----------
    rows : ndarray or Tensor of shape (n, k)

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._wide import wide
    >>> wide(np.zeros((80, 5000))), wide(np.zeros((80, 100)))
    (True, False)
    """
    return bool(2 * rows.shape[0] <= rows.shape[1])
