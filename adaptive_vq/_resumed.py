"""Beam search of the same rows again and again, as one codebook after the other changes (torch)."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_vq._parallel import each
from adaptive_vq._spread import Chain, spreads_of
from adaptive_vq.beam import Stage, codes_through, states_of, tile_of

__all__ = ["ResumedSearch"]


class ResumedSearch:
    """Search with a restricted codebook, resumed from the candidates of those before it.

    Parameters
    ----------
    rows : Tensor of shape (n, width)
    chain : list of Tensors (K_j, w_j)
        May change between searches, but for codebooks that a search for the same or a later one
        has come past.
    beam : int
        Candidates kept after each codebook.
    """

    def __init__(self, rows: Tensor, chain: Chain, beam: int) -> None:
        self.rows, self.chain, self.beam = rows, chain, beam
        self._restart()

    def _restart(self) -> None:
        self._state = states_of(self.rows[:, None, :])
        self._trail: list[tuple[Tensor, Tensor]] = []

    def codes(self, at: Tensor, j: int, words: Tensor) -> Tensor:
        """Codes (m, len(chain)) of the rows `at`, which use one of some words of codebook `j`.

        The code of codebook `j` is a place in `words`.
        """
        if len(at) == 0:
            return at.new_empty((0, len(self.chain)))
        if len(self._trail) > j:
            self._restart()
        while len(self._trail) < j:
            self._advance()
        stages = [self._stage(j, words), *map(self._stage, range(j + 1, len(self.chain)))]
        parts = at.split(tile_of(self.beam))
        return torch.cat(each(lambda part: self._codes(part, stages), parts))

    def _codes(self, at: Tensor, stages: list[Stage]) -> Tensor:
        with torch.no_grad():  # the switch is one per thread
            state = self._state[at]
            trail = [(parent[at], word[at]) for parent, word in self._trail]
            return codes_through(stages, state, trail, self.beam)

    def _advance(self) -> None:
        """Let the candidates of all rows have a codeword of one codebook more."""
        stage = self._stage(len(self._trail))

        def work(state: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            with torch.no_grad():
                return stage.extended(state, self.beam)

        states, steps = zip(*each(work, self._state.split(tile_of(self.beam))), strict=True)
        self._state = torch.cat(states)
        parents, words = zip(*steps, strict=True)
        self._trail.append((torch.cat(parents), torch.cat(words)))

    def _stage(self, j: int, words: Tensor | None = None) -> Stage:
        spreads, book = spreads_of(self.chain), self.chain[j]
        spread = None if spreads is None else spreads[j]
        if words is not None:
            book, spread = book[words], None if spread is None else spread[words]
        return Stage(book, self.rows.shape[1], spread)
