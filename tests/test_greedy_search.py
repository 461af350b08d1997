"""Search with one candidate."""

import pytest
import torch

from adaptive_vq import quantize
from adaptive_vq._greedy_search import GreedySearch
from adaptive_vq._spread import Spreading


def chain_of(widths, *, spread):
    generator = torch.Generator().manual_seed(0)
    books = [0.6**j * torch.randn(30 + j, w, generator=generator) for j, w in enumerate(widths)]
    if not spread:
        return books
    return Spreading(books, [0.5 + torch.rand(len(book), generator=generator) for book in books])


def one_by_one(row, chain):
    """Codes of a row: the codeword that leaves least, given those before it."""
    codes = []
    for j, book in enumerate(chain):
        ways = torch.tensor([[*codes, word] for word in range(len(book))])
        left = row - quantize.decode(ways, shortened(chain, j + 1), len(row))
        codes.append(int(left.square().sum(1).argmin()))
    return codes


def shortened(chain, n):
    if not isinstance(chain, Spreading):
        return chain[:n]
    return Spreading(chain[:n], chain.spreads[:n])


@pytest.mark.parametrize("widths", [[5], [5, 5, 5], [2, 5, 5, 5]])
@pytest.mark.parametrize("spread", [False, True])
def test_each_codeword_leaves_least(widths, spread):
    chain = chain_of(widths, spread=spread)
    rows = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    expected = [one_by_one(row, chain) for row in rows]
    assert GreedySearch(chain).codes(rows).tolist() == expected


@pytest.mark.parametrize("spread", [False, True])
def test_a_beam_of_one_searches_greedily(spread, monkeypatch):
    chain = chain_of([3, 4, 4], spread=spread)
    rows = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
    before = rows.clone()
    expected = GreedySearch(chain).codes(rows)
    assert torch.equal(rows, before)
    assert torch.equal(quantize.codes_of(rows, chain, 1), expected)
    asked = []
    monkeypatch.setattr(GreedySearch, "codes", lambda self, rows: asked.append(rows) or expected)
    quantize.codes_in_fit(rows, chain, 1)
    assert asked
