"""Training on several processes: what they have to agree on (torch.distributed).

Where no process group has been initialized, everything here leaves its argument as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "average_gradients",
    "from_first",
    "mean",
    "n_ranks",
    "own_share",
    "total",
    "worst_rows",
]


def n_ranks() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_share(rows: Tensor) -> Tensor:
    """Return this rank's part of a batch that all ranks have drawn alike: every so many rows.

    Parameters
    ----------
    rows : long Tensor of shape (n,)
        Places of the rows of the batch; at least one for every rank.

    Returns
    -------
    long Tensor of shape (about n / number of ranks,)
    """
    size = n_ranks()
    return rows if size == 1 else rows[dist.get_rank() :: size]


def total(values: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place: afterwards it is the same on each."""
    if n_ranks() > 1:
        dist.all_reduce(values)
    return values


def mean(values: Sequence[Tensor], weights: Sequence[int]) -> float:
    """Return the weighted mean of numbers, those of all ranks together."""
    numbers = torch.stack(list(values)).double().cpu()
    mass = torch.tensor(weights, dtype=torch.float64, device=numbers.device)
    sums = total(torch.stack([(numbers * mass).sum(), mass.sum()]))
    return float(sums[0] / sums[1])


def from_first(tensors: Iterable[Tensor]) -> None:
    """Give all ranks the values of the first one, in place."""
    if n_ranks() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def average_gradients(parameters: Iterable[Tensor], n_rows: int) -> None:
    """Average gradients over all ranks, each counting for its number of rows.

    Parameters
    ----------
    parameters : iterable of Tensors
        The same on all ranks.
    n_rows : int
        Rows that this rank's gradients are the mean of.
    """
    if n_ranks() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    rows = total(gradients[0].new_tensor([n_rows]))
    flat = total(torch.cat([g.reshape(-1) for g in gradients]) * (n_rows / rows))
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def worst_rows(rows: Tensor, error: Tensor, most: int) -> Tensor:
    """Return the rows with the largest errors on any rank, the worst first.

    Parameters
    ----------
    rows : Tensor of shape (n, width)
        Rows of this rank, at least one.
    error : Tensor of shape (n,)
    most : int
        How many to return at most; the same on all ranks.

    Returns
    -------
    Tensor of shape (at most `most`, width)
    """
    chosen = torch.topk(error, min(most, len(rows))).indices
    rows, error = rows[chosen], error[chosen]
    if n_ranks() == 1:
        return rows
    # Every rank sends as many, some of them none of its rows.
    sent = rows.new_zeros(most, rows.shape[1] + 1)
    sent[:, 0] = -torch.inf
    sent[: len(rows)] = torch.cat([error[:, None], rows], 1)
    received = [torch.empty_like(sent) for _ in range(n_ranks())]
    dist.all_gather(received, sent)
    both = torch.cat(received)
    both = both[torch.topk(both[:, 0], most).indices]
    return both[both[:, 0] > -torch.inf, 1:]
