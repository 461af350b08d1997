"""Beam search by products of codewords against that by products with residuals."""

import numpy as np
import pytest
import torch

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    beam,
    candidates,
    quantize,
)
from adaptive_vq import _product_search as products
from adaptive_vq._product_search import ProductSearch, pays, pays_next
from adaptive_vq._spread import Spreading


def chain_of(sizes, widths, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    books = [
        torch.randn(size, width, generator=generator) / (1 + j)
        for j, (size, width) in enumerate(zip(sizes, widths, strict=True))
    ]
    if not spread:
        return books
    return Spreading(books, [0.5 + torch.rand(size, generator=generator) for size in sizes])


def by_residuals(chain, width, most, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(beam, "pays", lambda *_: False)
        return beam.ChainSearch(chain, width, most)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("most", [2, 5, 16])
@pytest.mark.parametrize("widths", [[9, 9, 9, 9], [3, 5, 9, 9], [9, 7, 9, 4]])
def test_codes_are_those_of_products_with_residuals(widths, most, spread, monkeypatch):
    chain = chain_of([8, 32, 5, 16], widths, spread)
    rows = torch.randn(700, 9, generator=torch.Generator().manual_seed(1))
    found = ProductSearch(chain, most, beam.smallest).codes(rows)
    expected = by_residuals(chain, 9, most, monkeypatch).codes(rows)
    assert (found == expected).all(1).float().mean() > 0.995  # but for ties up to rounding
    errors = [
        (rows - quantize.decode(codes, chain, 9)).square().sum() for codes in (found, expected)
    ]
    assert float(errors[0]) == pytest.approx(float(errors[1]), rel=1e-4)


@pytest.mark.parametrize("spread", [False, True])
def test_with_all_candidates_kept_the_search_is_exhaustive(spread):
    chain = chain_of([3, 4, 5], [6, 6, 6], spread)
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    every = torch.cartesian_prod(*(torch.arange(len(book)) for book in chain))
    decoded = quantize.decode(every, chain, 6)
    best = every[torch.cdist(rows, decoded).argmin(1)]
    assert torch.equal(ProductSearch(chain, 12, beam.smallest).codes(rows), best)


def test_rows_at_a_time_change_nothing(monkeypatch):
    chain = chain_of([16] * 4, [40] * 4, True)
    rows = torch.randn(300, 40, generator=torch.Generator().manual_seed(1))
    search = ProductSearch(chain, 8, beam.smallest)
    expected = search.codes(rows)
    for at_once in (1, 100, 10**6):
        monkeypatch.setattr(products, "AT_ONCE", at_once)
        assert torch.equal(search.codes(rows), expected)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("widths", [[40] * 4, [20, 40, 40, 40]])
def test_a_growing_chain_keeps_the_candidates_that_residuals_say(widths, spread, monkeypatch):
    chain = chain_of([16, 32, 8, 24], widths, spread)
    rows = torch.randn(700, 40, generator=torch.Generator().manual_seed(1))
    used = []
    scores = products.ProductStage.scores

    def grown(pays_next):
        monkeypatch.setattr(candidates, "pays_next", pays_next)
        found = candidates.Candidates(rows)
        for j, book in enumerate(chain):
            found.extend(book, 8)
            if spread:
                found.spread_out(chain.spreads[j])
        return found.best(), found.residuals(8, 40)

    def noted(self, *args):
        used.append(self.size)
        return scores(self, *args)

    monkeypatch.setattr(products.ProductStage, "scores", noted)
    codes, left = grown(pays_next)
    assert set(used) == {32, 8, 24}  # there is nothing to multiply the first one by
    expected, of_residuals = grown(lambda *_: False)
    assert (codes == expected).all(1).float().mean() > 0.995  # but for ties up to rounding
    errors = [part.square().sum(2) for part in (left, of_residuals)]
    torch.testing.assert_close(errors[0], errors[1], rtol=1e-3, atol=0.0)
    assert (errors[0].diff(dim=1) > -1e-3).all()  # best first


def test_where_extending_by_products_pays():
    chain = chain_of([256] * 4, [64] * 4, False)
    assert pays_next(chain[:3], chain[3], 16, 5_000)
    assert not pays_next([], chain[0], 16, 5_000)
    assert not pays_next(chain[:3], chain[3], 1, 50_000)
    assert not pays_next(chain[:3], chain[3], 16, 100)  # of few rows
    assert not pays_next(chain[:3], chain[3][:, :8], 16, 5_000)  # a narrow codebook
    assert not pays_next(chain[:3], 1e-2 * chain[3], 16, 5_000)  # little left to tell apart
    assert not pays_next(chain_of([256] * 64, [64] * 64, False), chain[3], 16, 5_000)


def test_where_it_pays():
    chain = chain_of([256] * 4, [64] * 4, False)
    assert pays(chain, 64, 16)
    assert pays(chain, 64, 16, 5_000)
    assert not pays(chain, 64, 16, 100)  # of few rows
    assert not pays(chain, 16, 8)  # of narrow ones
    assert not pays(chain, 64, 1)
    assert not pays(chain[:1], 64, 16)
    assert not pays(chain_of([256] * 20, [64] * 20, False), 64, 16)  # too many products
    assert not pays([*chain[:3], 1e-2 * chain[3]], 64, 16)  # little left to tell apart


def test_a_codec_encodes_by_products_whatever_the_chunks(threads, monkeypatch):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1500, 6)) @ rng.normal(size=(6, 48)) + rng.normal(size=(1500, 48))
    one = FeatureCharacterizer({"all": list(range(48))})
    plan = AdaptiveRatioSelector("uniform", bits=32, characterizer=one)
    settings = {"max_epochs": 0, "early_stopping": False, "random_state": 0}
    fitted = HierarchicalVQVAE(plan, **settings).fit(table[:1000])
    used = []
    codes_of = ProductSearch.codes
    monkeypatch.setattr(
        ProductSearch, "codes", lambda self, rows: used.append(1) or codes_of(self, rows)
    )
    whole = fitted.transform(table)
    assert used
    for n_threads, size in ((1, 7), (2, 256), (1, 1100)):
        threads(n_threads)
        parts = [fitted.transform(table[i : i + size]) for i in range(0, 1500, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
