"""Principal directions of rows, also of far more columns than rows (torch only)."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_vq._wide import wide

__all__ = ["principal_directions"]


def principal_directions(centered: Tensor, width: int) -> Tensor:
    """Orthonormal directions in which rows vary most, the first one most; signs are arbitrary.

    Of few rows and many columns a covariance of all columns would be large and nearly all of its
    eigenvectors no row's. There the singular vectors come from a triangle as small as the rows are
    few, which, unlike products of rows, keeps what varies ever so little. Directions beyond the
    rows, if so many are asked for, are some that no row varies in.

    Parameters
    ----------
    centered : float64 Tensor of shape (n, k)
        Rows less their mean, times the roots of their weights.
    width : int
        How many directions, at most k.

    Returns
    -------
    float64 Tensor of shape (k, width)

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._axes import principal_directions
    >>> rows = torch.tensor([[0.0, 3.0, 0.0, 0.0], [0.0, -3.0, 0.0, 0.0]], dtype=torch.float64)
    >>> principal_directions(rows, 1).abs().round(decimals=6).flatten().tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    if not wide(centered):
        _, vectors = torch.linalg.eigh(centered.T @ centered)
        return vectors.flip(1)[:, :width]
    span, triangle = torch.linalg.qr(centered.T)
    turn, _, _ = torch.linalg.svd(triangle)
    found = span @ turn[:, :width]
    n_further = width - found.shape[1]
    if n_further <= 0:
        return found
    # What a basis of these and of any further columns adds is at right angles to these, also where
    # the further columns are among them.
    axes = torch.eye(found.shape[0], n_further, dtype=found.dtype)
    both, _ = torch.linalg.qr(torch.cat([found, axes], 1))
    return torch.cat([found, both[:, found.shape[1] :]], 1)
