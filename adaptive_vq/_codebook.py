"""Codewords that follow the rows which choose them, while the network is trained (torch only)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adaptive_vq import _distributed, kmeans

__all__ = ["Codebook"]

_REVIVE_BELOW = 1e-3


class Codebook(nn.Module):
    """Codewords with running counts and sums (exponential moving averages).

    As in van den Oord et al. (2017), but counts and sums start from the data, and a revived
    codeword gets vector, count and sum together, so that the next update keeps it.
    """

    weight: Tensor
    count: Tensor
    total: Tensor
    spread: Tensor

    def __init__(self, size: int, width: int, spread: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(size, width))
        if spread:
            self.register_buffer("spread", torch.ones(size))
        self.register_buffer("count", torch.ones(size))
        self.register_buffer("total", torch.zeros(size, width))

    def start(self, weight: Tensor, count: Tensor) -> None:
        """Set codewords and their running counts; sums follow."""
        self.weight.copy_(weight)
        self.count.copy_(count)
        self.total.copy_(weight * count[:, None])

    @torch.no_grad()
    def widen(self, width: int) -> None:
        """Let codewords reach so many coordinates, with nothing in those that are new."""
        for name in ("weight", "total"):
            old = getattr(self, name)
            more = max(0, width - old.shape[1])
            setattr(self, name, nn.functional.pad(old, (0, more)))

    @torch.no_grad()
    def update(
        self,
        rows: Tensor,
        codes: Tensor,
        row_weight: Tensor,
        decay: float,
        least: Tensor | float = 1.0,
    ) -> None:
        """Move codewords towards the weighted mean of the rows that chose them.

        Parameters
        ----------
        rows : Tensor of shape (n, width)
            What this codebook has to represent.
        codes : long Tensor of shape (n,)
        row_weight : Tensor of shape (n,)
        decay : float
        least : Tensor or float, default=1
            Least that a row of weight 1 in the table may count as here.
        """
        error = ((rows - self.weight[codes]) ** 2).sum(1) * row_weight
        add_up = kmeans.sums if rows.device.type == "cpu" else kmeans.sums_by_product
        count, total = add_up(rows, codes, row_weight, len(self.weight))
        # Before the averages move: several processes that train together keep one codebook.
        count, total = _distributed.total(count), _distributed.total(total)
        self.count.mul_(decay).add_(count, alpha=1 - decay)
        self.total.mul_(decay).add_(total, alpha=1 - decay)
        alive = self.count > _REVIVE_BELOW * least
        means = self.total / self.count[:, None].clamp_min(1e-30)
        self.weight.copy_(torch.where(alive[:, None], means, self.weight))
        # On an accelerator the question would wait for all that is under way.
        if self.weight.device.type != "cpu" or not bool(alive.all()):
            self.revive(~alive, rows, error)

    @torch.no_grad()
    def revive(self, dead: Tensor, rows: Tensor, error: Tensor) -> None:
        """Put dead codewords on the rows served worst; vector, count and sum together.

        Parameters
        ----------
        dead : bool Tensor of shape (K,)
        rows : Tensor of shape (n, width)
        error : Tensor of shape (n,)
        """
        worst = _distributed.worst_rows(rows, error, len(dead))
        place = dead.cumsum(0) - 1
        moved = dead & (place < len(worst))
        new = worst[place.clamp(0, len(worst) - 1)]
        self.weight.copy_(torch.where(moved[:, None], new, self.weight))
        self.total.copy_(torch.where(moved[:, None], new, self.total))
        self.count.masked_fill_(moved, 1.0)
