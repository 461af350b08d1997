"""Codewords of a chain that no row uses: brought to where a row does (torch and numpy only)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._arrays import Bools, Ints
from adaptive_vq._resumed import ResumedSearch
from adaptive_vq._spread import Chain, factors, like, selected, spreads_of

__all__ = ["nudged", "replaced"]

BEAM = 8
MOST_ROWS = 3_000
"""Rows, evenly spread, among which one is looked for that comes close to using a codeword."""
CLOSER = 0.9
"""A row leaves its codes for those that leave this share of its distance."""
ROUNDS = 6
_EXACT = 1e-9
"""Share of the mean energy of rows below which a row is coded exactly."""


@torch.no_grad()
def nudged(latents: Tensor, chain: Chain, weight: Tensor, codes: Tensor) -> Chain:
    """Move idle codewords by as little as it takes for a row to use each of them.

    A codebook is trained on what all candidates of a row leave, not only the best ones. Some of its
    codewords no row uses, but unseen rows will: those without a codeword of the first codebook next
    to them, which outliers among the training rows have all for themselves. They are worth most
    where they stand. Each is moved towards what that row would need which comes closest to using
    it, whatever its other codes are then, and no further than until it does.

    Where some stay idle, rows that have a codeword to themselves do without it, if idle ones serve
    them next best: it tells of that row only, and they of what many candidates leave. It moves to
    where rows are served worst.

    Parameters
    ----------
    latents : Tensor of shape (n, width)
    chain : list of Tensors (K_j, w_j)
    weight : Tensor of shape (n,)
        Weights of the rows; those of none are not looked at.
    codes : long Tensor of shape (n, len(chain))
        What the search found for the rows.

    Returns
    -------
    chain : list of Tensors (K_j, w_j)
        Equal to the given one but for the codewords that have moved. Codes are to be searched
        again: other rows may find better ones too, and leave a codeword idle.
    """
    counts = _counts(codes, chain)
    if all(count.all() for count in counts):
        return chain
    search = _Nudge(latents, chain, weight, codes, counts)
    for j in range(len(chain)):
        for _ in range(ROUNDS):
            if not search.move(j):
                break
    freed = [(j, word) for j in range(len(chain)) for word in search.swap(j)]
    own = torch.from_numpy(search.own)
    return _placed(search.latents, search.chain, search.weight, own, freed)


def _counts(codes: Tensor, chain: Chain) -> list[Ints]:
    """Rows that use each codeword."""
    return [
        np.bincount(column, minlength=len(book))
        for column, book in zip(codes.T.numpy(), chain, strict=True)
    ]


class _Nudge:
    """Some of the rows, the codes that they have by now, and who uses which codeword."""

    def __init__(
        self, latents: Tensor, chain: Chain, weight: Tensor, codes: Tensor, counts: list[Ints]
    ) -> None:
        self.chain, self.counts = like(chain, (c.clone() for c in chain)), counts
        some = slice(None, None, max(1, -(-len(latents) // MOST_ROWS)))
        self.latents, self.own = latents[some], codes[some].numpy().copy()
        self.weight = weight[some]
        self.search = ResumedSearch(self.latents, self.chain, BEAM)
        left = self.latents - quantize.decode(codes[some], chain, latents.shape[1])
        self.distance = left.norm(dim=1).numpy()
        _, group, sizes = self.latents.unique(dim=0, return_inverse=True, return_counts=True)
        self.group, self.size = group.numpy(), sizes[group].numpy()
        energy = float(self.latents.square().sum(1).mean())
        inexact = self.distance**2 > _EXACT * energy
        self.free = inexact & (self.weight > 0).numpy()

    def move(self, j: int) -> bool:
        """Move idle codewords of a codebook; whether any has moved, and others are left."""
        idle = np.flatnonzero(self.counts[j] == 0)
        free = np.flatnonzero(self.free)
        if not len(idle) or not len(free):
            return False
        width = self.chain[j].shape[1]
        codes, left = self._codes_with(free, j, idle)
        factor = factors(torch.from_numpy(codes), self.chain)
        # What a row may have left for the codeword to make good, beside what it does not reach.
        within, beyond = (part.norm(dim=1).numpy() for part in (left[:, :width], left[:, width:]))
        room = (CLOSER * self.distance[free]) ** 2 - beyond**2
        allowed = np.sqrt(np.maximum(room, 0.0))
        may = (room > 0.0) & self._can_leave(self.own[free], codes, self.size[free])
        n_moved = 0
        for at in _least(within - allowed, codes[:, j], may):
            row = int(free[at])
            if (
                self.free[row]
                and self._can_leave(self.own[[row]], codes[[at]], self.size[[row]])[0]
            ):
                share = max(0.0, 1.0 - float(allowed[at] / max(within[at], 1e-30)))
                needed = share * left[at, :width]
                self.chain[j][codes[at, j]] += needed if factor is None else needed / factor[at, j]
                self._use(row, codes[at])
                n_moved += 1
        return 0 < n_moved < len(idle)

    def swap(self, j: int) -> list[int]:
        """Let rows that share their codeword of a codebook with no other row use idle ones.

        Returns the codewords that they have left.
        """
        alone = self.counts[j][self.own[:, j]] == self.size
        rows, shared = np.flatnonzero(self.free & alone), np.ones(len(self.chain[j]), dtype=bool)
        shared[self.own[rows, j]] = False
        if not self.counts[j][shared].any() or all(count.all() for count in self.counts):
            return []
        codes, left = self._codes_with(rows, j, np.flatnonzero(shared))
        freed = []
        for at in left.norm(dim=1).argsort(stable=True).tolist():
            row, own = int(rows[at]), self.own[[rows[at]]].copy()
            idle = any(count[word] == 0 for count, word in zip(self.counts, codes[at], strict=True))
            own[:, j] = codes[at, j]  # the one that it is to leave needs no other users
            if idle and self.free[row] and self._can_leave(own, codes[[at]], self.size[[row]])[0]:
                freed.append(int(self.own[row, j]))
                self._use(row, codes[at])
        return freed

    def _codes_with(self, rows: Ints, j: int, words: Ints) -> tuple[Ints, Tensor]:
        """Codes of rows that use one of some codewords of a codebook, and what they leave."""
        at, some = torch.from_numpy(rows), torch.from_numpy(words)
        codes = self.search.codes(at, j, some)
        codes[:, j] = some[codes[:, j]]
        left = self.latents[at] - quantize.decode(codes, self.chain, self.latents.shape[1])
        return codes.numpy(), left

    def _can_leave(self, own: Ints, codes: Ints, size: Ints) -> Bools:
        """Whether every codeword that rows give up has other users."""
        users = np.stack([count[own[:, q]] for q, count in enumerate(self.counts)], axis=1)
        return np.asarray(((codes == own) | (users > size[:, None])).all(axis=1))

    def _use(self, row: int, codes: Ints) -> None:
        """Let a row, and those equal to it, use other codes."""
        for count, before, after in zip(self.counts, self.own[row], codes, strict=True):
            count[before] -= self.size[row]
            count[after] += self.size[row]
        equal = self.group == self.group[row]
        self.own[equal] = codes
        self.free[equal] = False


def _least(effort: NDArray[np.float32], words: Ints, may: Bools) -> Ints:
    """Of the rows that may use each codeword the one that takes least effort, least first."""
    rows = np.flatnonzero(may)
    rows = rows[np.argsort(effort[rows], kind="stable")]
    _, first = np.unique(words[rows], return_index=True)
    return rows[np.sort(first)]


@torch.no_grad()
def replaced(latents: Tensor, chain: Chain, weight: Tensor, codes: Tensor) -> Chain:
    """Move idle codewords to where rows are served worst.

    Each is moved so that one row, with its other codes as they are, is coded exactly.

    Parameters
    ----------
    latents, chain, weight, codes
        As for `nudged`, and so is what it returns.
    """
    counts = _counts(codes, chain)
    idle = [(j, int(word)) for j, count in enumerate(counts) for word in np.flatnonzero(count == 0)]
    return _placed(latents, chain, weight, codes, idle)


def _placed(
    latents: Tensor, chain: Chain, weight: Tensor, codes: Tensor, idle: Sequence[tuple[int, int]]
) -> Chain:
    """Move some codewords, given by codebook and place, to where rows are served worst."""
    if not idle:
        return chain
    left = latents - quantize.decode(codes, chain, latents.shape[1])
    new = selected(chain, [torch.arange(len(book)) for book in chain])
    factor = factors(codes, chain)
    worst = _worst_served(latents, left, weight, len(idle))
    for (j, word), row in zip(idle, worst, strict=False):
        # All of them from the chain as it was: rows keep their codes.
        needed = left[row, : chain[j].shape[1]]
        needed = needed if factor is None else needed / factor[row, j]
        new[j][word] = chain[j][codes[row, j]] + needed
        spreads = spreads_of(new)
        if spreads is not None:
            spreads[j][word] = spreads[j][codes[row, j]]
    return new


def _worst_served(latents: Tensor, left: Tensor, weight: Tensor, most: int) -> Iterator[int]:
    """Rows with the largest weighted error, worst first; of equal rows one, for all of them.

    Rows coded exactly are left out.
    """
    _, group = latents.unique(dim=0, return_inverse=True)
    mass = weight.new_zeros(len(latents)).index_add_(0, group, weight)[group]
    error = left.square().sum(1) * mass
    order = error.argsort(descending=True, stable=True)
    _, first = np.unique(group[order].numpy(), return_index=True)
    worst = order[torch.from_numpy(np.sort(first)[:most])]
    floor = _EXACT * float((latents.square().sum(1) * weight).sum() / weight.sum())
    return (int(row) for row in worst[error[worst] > floor])
