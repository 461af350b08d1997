"""Rows of a table with the weights of their cells, and batches of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from adaptive_vq import _distributed

__all__ = ["Rows", "TensorBatches", "holes_of"]


def holes_of(weight: Tensor) -> Tensor | None:
    """Missing cells, None where there are none: the mask would be kept for nothing."""
    holes = weight == 0
    return holes if bool(holes.any()) else None


@dataclass(frozen=True)
class Rows(Dataset):  # type: ignore[type-arg]
    """Rows for training or judging: filled cells, and the weight of each cell (0 = missing).

    Where every cell counts alike, its weights may be one number in memory, expanded to the shape of
    the table.
    """

    table: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.table)

    def take(self, chosen: Tensor) -> Rows:
        """Return the rows of a mask or of places; weights that are one number stay so."""
        table, weight = self.table[chosen], self.weight
        one = weight.stride() == (0, 0)
        return Rows(table, weight[:1, :1].expand(table.shape) if one else weight[chosen])

    def to(self, device: torch.device) -> Rows:
        """Return the same rows on a device."""
        return Rows(self.table.to(device), self.weight.to(device))

    def observed(self) -> Rows:
        """Rows with any observed cell; there is nothing to learn from the others."""
        seen = self.weight.amax(1) > 0
        return self if bool(seen.all()) else self.take(seen)

    def even(self) -> Rows:
        """Rows of mean weight one: how large the weights are changes no step of training."""
        mass = float(self.weight.amax(1).mean()) if len(self) else 1.0
        return self if mass in (0.0, 1.0) else Rows(self.table, self.weight / mass)


class TensorBatches:
    """Shuffled batches cut out of whole tensors; of processes that train together each its part.

    A DataLoader fetches row by row, which costs more than the training step itself on tables of
    this kind.
    """

    def __init__(
        self, dataset: Rows, batch_size: int, generator: torch.Generator | None = None
    ) -> None:
        self.dataset, self.batch_size, self.generator = dataset, batch_size, generator

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        # Drawn on the processor, so that every device sees the same batches.
        order = torch.randperm(len(self.dataset), generator=self.generator, device="cpu")
        order = order.to(self.dataset.table.device)
        for batch in order.split(self.batch_size):
            if len(batch) < _distributed.n_ranks():
                break  # a few rows at the end, fewer than there are processes to share them
            chosen = _distributed.own_share(batch)
            table, weight = self.dataset.table[chosen], self.dataset.weight[chosen]
            yield {"table": table, "weight": weight}, table
