"""Rows drawn beside those to fit on, which keep codebooks from memorizing them (torch only)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adaptive_vq._parallel import each

__all__ = ["between_neighbours", "smoothed_bootstrap"]

_TILE = 1024
_N_NEIGHBOURS = 20
_FURTHEST = 0.8
"""Share of the way to a neighbour that draws go at most."""


def smoothed_bootstrap(
    rows: Tensor,
    width: float,
    copies: int,
    generator: torch.Generator,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Rows followed by `copies` times as many draws from a kernel estimate of their distribution.

    Each draw is a row plus `width` times Gaussian noise of the rows' covariance, shrunk so that the
    covariance is kept (Silverman and Young, 1987, "The bootstrap: to smooth or not to smooth?"). It
    keeps deep codebooks of small tables from memorizing single rows. A draw has the weight of its
    row; the weights of all are the second result.
    """
    weight = torch.ones(len(rows)) if weight is None else weight
    share = weight[:, None] / weight.mean()
    mean = (rows * share).mean(0)
    centered = rows - mean
    covariance = centered.T @ (centered * share) / len(rows)
    ridge = 1e-6 * covariance.diagonal().mean().clamp_min(1e-12)
    root = torch.linalg.cholesky(covariance + ridge * torch.eye(rows.shape[1]))
    pick = torch.randint(len(rows), (copies * len(rows),), generator=generator)
    noise = torch.randn(len(pick), rows.shape[1], generator=generator) @ root.T
    drawn = mean + (centered[pick] + width * noise) / math.sqrt(1.0 + width**2)
    return torch.cat([rows, drawn]), torch.cat([weight, weight[pick]])


def between_neighbours(
    rows: Tensor, copies: int, generator: torch.Generator, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows followed by `copies` draws each, on the way to one of its nearest neighbours.

    As in SMOTE (Chawla et al., 2002), draws stay where the rows are, whatever the shape of their
    distribution. A draw has the weight of its row; the weights of all are the second result.
    """
    close = _neighbours(rows, weight, min(_N_NEIGHBOURS, int((weight > 0).sum()) - 1))
    pick = torch.arange(len(rows)).repeat(copies if close.shape[1] else 0)
    other = close[pick, torch.randint(max(close.shape[1], 1), (len(pick),), generator=generator)]
    share = _FURTHEST * torch.rand(len(pick), 1, generator=generator)
    drawn = torch.lerp(rows[pick], rows[other], share)
    return torch.cat([rows, drawn]), torch.cat([weight, weight[pick]])


def _neighbours(rows: Tensor, weight: Tensor, count: int) -> Tensor:
    """Indices of the nearest other rows that have weight, (n, count).

    Equal distances, of which columns with few values have many, are ranked alike for any number of
    threads, which scikit-learn's search does not promise.
    """
    norms = torch.where(weight > 0, (rows * rows).sum(1), math.inf)

    def of(start: int) -> Tensor:
        part = rows[start : start + _TILE]
        scores = torch.addmm(norms, part, rows.T, alpha=-2.0)
        scores[torch.arange(len(part)), torch.arange(start, start + len(part))] = math.inf
        return scores.topk(count, largest=False).indices

    found = each(of, range(0, len(rows) if count > 0 else 0, _TILE), split=True)
    return torch.cat([torch.empty(0, max(count, 0), dtype=torch.long), *found])
