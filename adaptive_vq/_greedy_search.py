"""Search with one candidate through a chain of residual codebooks (torch).

Candidates of different errors are compared by error; where there is one, its energy is the same for
all codewords and need not be kept: ``||c||^2 - 2 <r, c>`` tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adaptive_vq._argmin import argmin
from adaptive_vq._spread import spreads_of

__all__ = ["GreedySearch"]


class GreedySearch:
    """Greedy search through a chain, prepared once for any number of rows.

    What a residual ``r`` leaves is held as ``[f^2, f r]``, where ``f`` is what codewords with
    spreads multiply later ones by (`_spread`), else 1: a product of matrices gives the scores.

    Parameters
    ----------
    chain : sequence of Tensors (K_j, w_j)
        With spreads or without; at least one codebook.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._greedy_search import GreedySearch
    >>> search = GreedySearch([torch.tensor([[0.0], [4.0]]), torch.tensor([[-1.0], [1.0]])])
    >>> search.codes(torch.tensor([[4.5], [-0.5]])).tolist()
    [[1, 1], [0, 0]]
    """

    def __init__(self, chain: Sequence[Tensor]) -> None:
        self._words, self._spreads = list(chain), spreads_of(chain)
        self._matrices = [torch.cat([book.square().sum(1)[None], -2.0 * book.T]) for book in chain]

    def codes(self, rows: Tensor) -> Tensor:
        """Codes (n, number of codebooks) of rows (n, width)."""
        state = torch.cat([rows.new_ones(len(rows), 1), rows], 1)
        codes, last = list[Tensor](), len(self._matrices) - 1
        for j, matrix in enumerate(self._matrices):
            word = argmin(torch.mm(state[:, : len(matrix)], matrix))
            codes.append(word)
            if j < last:
                self._take_off(state, j, word)
        return torch.stack(codes, 1)

    def _take_off(self, state: Tensor, j: int, word: Tensor) -> None:
        """Turn states into what codewords of codebook `j` leave of them."""
        words = self._words[j].index_select(0, word)
        left = state[:, 1 : 1 + words.shape[1]]
        if self._spreads is None:
            left -= words
            return
        left.addcmul_(words, state[:, :1], value=-1.0)
        spread = self._spreads[j].index_select(0, word)[:, None]
        state *= spread
        state[:, :1] *= spread
