"""Codewords with spreads: factors, search, refit, idle words, the network, and the estimator."""

import itertools
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    _idle,
    _joint_tables,
    classical,
    load,
    quantize,
    save,
)
from adaptive_vq._layout import Layout, layout_of
from adaptive_vq._prefixes import settle_prefixes
from adaptive_vq._pruning import put_to_use, without_unused
from adaptive_vq._rows import Rows
from adaptive_vq._small_tables import choose_start
from adaptive_vq._spread import Spreading, factors, like, measured, selected, spreads_of, widest
from adaptive_vq.candidates import Candidates
from adaptive_vq.checkpoints import pack, unpack
from adaptive_vq.classical import CategoryCodec, CategorySpec, Codec, StartOptions
from adaptive_vq.estimation import working_module_of
from adaptive_vq.modules import CodecModule
from adaptive_vq.objectives import Objectives, Step, prefix_values, unevenness
from adaptive_vq.training import TrainingModule


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def uneven(n, width=5, seed=0):
    """Rows around 16 centers, close to some and far from others."""
    centers = 3 * normal(16, width, seed=99)
    index = torch.randint(16, (n,), generator=generator(seed))
    scale = torch.logspace(-1, 0.3, 16)[index]
    return centers[index] + scale[:, None] * normal(n, width, seed=seed + 1)


@pytest.fixture
def rows():
    return uneven(600)


@pytest.fixture
def chain(rows):
    found, _ = quantize.fit_chain(rows, [16, 8, 4], [3, 5, 5], generator(), spread=True)
    return found


def decoded(codes, chain, width):
    """Sum by the formula, row by row."""
    out = torch.zeros(len(codes), width)
    for i, row in enumerate(codes.tolist()):
        factor = 1.0
        for book, spread, k in zip(chain, spreads_of(chain), row, strict=True):
            out[i, : book.shape[1]] += factor * book[k]
            factor = factor * spread[k]
    return out


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def left_of(rows, chain, codes):
    return (rows - quantize.decode(codes, chain, rows.shape[1])).square().sum(1)


# --- the chain -----------------------------------------------------------------------------------


def test_chains_keep_their_spreads(chain):
    assert spreads_of(list(chain)) is None
    assert same(spreads_of(like(chain, [book + 1 for book in chain])), chain.spreads)
    assert spreads_of(like(list(chain), chain)) is None
    few = selected(chain, [torch.tensor([1, 3])] * 3)
    assert [len(book) for book in few] == [len(s) for s in few.spreads] == [2, 2, 2]
    assert torch.equal(few.spreads[1], chain.spreads[1][[1, 3]])
    assert spreads_of(selected(list(chain), [torch.tensor([0])] * 3)) is None


def test_decoding_multiplies_by_the_spreads_before(chain):
    codes = torch.stack([torch.randint(k, (50,), generator=generator(k)) for k in (16, 8, 4)], 1)
    torch.testing.assert_close(quantize.decode(codes, chain, 5), decoded(codes, chain, 5))
    assert not torch.allclose(quantize.decode(codes, list(chain), 5), decoded(codes, chain, 5))
    assert factors(codes, list(chain)) is None


def test_spreads_are_measured_by_what_rows_leave():
    codes = torch.arange(300) % 3
    scale = torch.tensor([0.5, 1.0, 2.0])[codes]
    left = scale[:, None] * normal(300, 8)
    plain = measured(left, torch.ones(300), codes, torch.ones(300), 4)
    torch.testing.assert_close(
        plain[:3] / plain[1], torch.tensor([0.5, 1.0, 2.0]), rtol=0.2, atol=0
    )
    assert plain[3] == 1.0
    assert torch.allclose(measured(left, scale, codes, torch.ones(300), 4), torch.ones(4), atol=0.1)
    heavy = measured(left, torch.ones(300), codes, torch.where(codes == 0, 1e-6, 1.0), 4)
    assert heavy[0] > 0.9 > plain[0]
    assert torch.equal(measured(0 * left, scale, codes, torch.ones(300), 4), torch.ones(4))


@pytest.mark.parametrize("n_books", [2, 16, 100])
def test_factors_of_chains_stay_within_what_float32_holds(n_books):
    left = torch.tensor([[0.0], [1.0]]).repeat(5000, 1)
    codes, ones = torch.arange(10_000) % 2, torch.ones(10_000)
    limit = widest(n_books)
    low, high = measured(left, ones, codes, ones, 2, limit).tolist()
    assert low == pytest.approx(1 / limit)
    assert 1 < high <= limit <= 8
    square = torch.tensor(low).double() ** (2 * n_books)
    assert float(square.float()) > 1e-30


def test_a_wide_search_finds_the_best_of_all_combinations(rows, chain):
    every = torch.tensor(list(itertools.product(range(16), range(8), range(4))))
    sums = decoded(every, chain, 5)
    best = (torch.cdist(rows.double(), sums.double()) ** 2).amin(1)
    codes = quantize.codes_of(rows, chain, 512)
    left = rows - decoded(codes, chain, 5)
    torch.testing.assert_close(left.square().sum(1).double(), best, rtol=1e-3, atol=1e-4)
    narrow = left_of(rows, chain, quantize.codes_of(rows, chain, 1))
    assert float(narrow.sum()) > float(best.sum())
    torch.testing.assert_close(quantize.decode(codes, chain, 5), rows - left, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 255, 600])
def test_codes_depend_on_neither_cut_nor_threads(rows, chain, threads, n):
    threads(1)
    every = quantize.codes_of(rows, chain, 8)
    threads(3)
    assert torch.equal(quantize.codes_of(rows[:n], chain, 8), every[:n])


def test_candidates_leave_what_decoding_does_not_say(rows, chain):
    found = Candidates(rows)
    for book, spread in zip(chain, chain.spreads, strict=True):
        found.extend(book, 4)
        found.spread_out(spread)
    codes = found.best()
    torch.testing.assert_close(
        found.residuals(1, 5)[:, 0], rows - decoded(codes, chain, 5), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(found.last_factors(), factors(codes, chain)[:, 2])
    after = found.factors(1)[:, 0]
    torch.testing.assert_close(after, factors(codes, chain)[:, 2] * chain.spreads[2][codes[:, 2]])


def test_codes_of_a_fit_are_those_of_the_search(rows):
    chain, codes = quantize.fit_chain(rows, [16, 8, 8], [5, 5, 5], generator(), beam=4, spread=True)
    again = quantize.codes_of(rows, chain, 4)
    assert float((codes == again).all(1).float().mean()) > 0.99


def test_uneven_rows_are_coded_better_with_spreads():
    table, unseen = uneven(4000), uneven(1000, seed=7)
    errors = {}
    for spread in (False, True):
        chain, _ = quantize.fit_chain(table, [32, 32, 32], [5, 5, 5], generator(), spread=spread)
        errors[spread] = float(left_of(unseen, chain, quantize.codes_of(unseen, chain, 8)).sum())
    assert errors[True] < 0.8 * errors[False]


@pytest.mark.parametrize("sizes", [[8], [1, 1]])
def test_a_chain_that_needs_none_has_no_spreads_to_lose(sizes):
    rows = normal(8, 3)
    chain, codes = quantize.fit_chain(rows, sizes, [3] * len(sizes), generator(), spread=True)
    assert codes.shape == (8, len(chain))
    assert (spreads_of(chain) is None) == (len(chain) == 1)
    assert torch.equal(codes, quantize.codes_of(rows, chain))


def test_a_refit_is_the_least_squares_solution(rows, chain):
    codes = quantize.codes_of(rows, chain, 8)
    weight = torch.rand(600, generator=generator(3)) + 0.5
    moved = quantize.refit(rows, codes, chain, 1e-2, weight)
    assert same(spreads_of(moved), chain.spreads)
    factor = factors(codes, chain).double()
    for low, high, active in ((0, 3, [0, 1, 2]), (3, 5, [1, 2])):
        design = torch.cat(
            [
                factor[:, j, None] * torch.nn.functional.one_hot(codes[:, j], len(chain[j]))
                for j in active
            ],
            1,
        )
        root = weight.double().sqrt()[:, None]
        # A codebook may take over what a later one says of all rows: the rank is not full.
        best = torch.linalg.lstsq(
            root * design, root * rows[:, low:high].double(), rcond=1e-5, driver="gelsd"
        ).solution
        expected = (weight.double()[:, None] * (rows[:, low:high] - design @ best) ** 2).sum()
        error = rows - quantize.decode(codes, moved, 5)
        got = (weight[:, None] * error[:, low:high] ** 2).sum()
        assert float(got) == pytest.approx(float(expected), rel=1e-3)


def test_idle_codewords_become_the_choice_of_a_row(rows, chain):
    chain[1][3] += 300.0
    chain[2][1] -= 300.0
    codes = quantize.codes_of(rows, chain, 512)
    assert not (codes[:, 1] == 3).any()
    closer = _idle.nudged(rows, chain, torch.ones(600), codes)
    after = quantize.codes_of(rows, closer, 512)
    assert (after[:, 1] == 3).any()
    assert (after[:, 2] == 1).any()
    assert same(spreads_of(closer), chain.spreads)


@pytest.mark.parametrize("j", [0, 1])
def test_the_row_served_worst_is_coded_exactly(rows, chain, j):
    chain[j][5] += 1000.0
    codes = quantize.codes_of(rows, chain, 64)
    worst = int(left_of(rows, chain, codes).argmax())
    before = [spread.clone() for spread in chain.spreads]
    new = _idle.replaced(rows, chain, torch.ones(600), codes)
    target = codes[worst].clone()
    target[j] = 5
    left = rows[worst] - quantize.decode(target[None], new, 5)[0]
    torch.testing.assert_close(left[:3], torch.zeros(3), rtol=0, atol=1e-4)
    assert same(before, chain.spreads)


# --- the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "sizes"), [(1200, [[16], [256]]), (3000, [[64], [64]])])
def test_spreads_are_chosen_where_rows_are_uneven(n, sizes):
    spec = CategorySpec("a", torch.arange(5), sizes, [5, 5])
    weight = torch.ones(n)

    def chosen(rows, seeds, may_spread=True):
        """Seeds with which spreads are chosen."""
        for seed in seeds:
            options = StartOptions(seed, may_spread=may_spread)
            if choose_start(rows, spec, weight, options, True)[0].spread:
                yield seed

    two = list(itertools.islice(chosen(uneven(n), range(5)), 2))
    assert len(two) == 2  # of five: of few rows, smaller codebooks may do as well
    assert not list(chosen(uneven(n), two, may_spread=False))
    assert not list(chosen(normal(n, 5), range(5)))


def test_a_stored_start_has_its_spreads(rows):
    spec = CategorySpec("a", torch.arange(5), [[16], [8]], [5, 5], spread=True)
    part = classical.fit_category(rows, spec, torch.ones(600), StartOptions(0), 0.0)
    again = unpack(pack(part), CategorySpec, CategoryCodec)
    assert isinstance(again.chain, Spreading)
    assert same(again.chain.spreads, part.chain.spreads)
    assert same(again.chain, part.chain)


# --- the network ---------------------------------------------------------------------------------


@pytest.fixture
def table():
    return torch.cat([uneven(600), normal(600, 2, seed=8)], 1)


@pytest.fixture
def module(table):
    """Category a with spreads and codebooks in all three levels, b without."""
    specs = [
        CategorySpec("a", torch.arange(5), [[16], [8], [8]], [5, 5, 5], spread=True),
        CategorySpec("b", torch.tensor([5, 6]), [[4], [4], []], [2, 2, 2]),
    ]
    weight = torch.ones(600)
    parts = [classical.fit_category(table, s, weight, StartOptions(0), 0.0) for s in specs]
    codec = Codec(7, 3, parts, _joint_tables.offset_of(parts, table.mean(0)))
    _joint_tables.fit_tables(codec, table, None, weight, (table, torch.ones(600, 7)), 8)
    layout = layout_of(codec, hidden=5, embedding=7, dropout=0.0)
    sizes = [len(book) for part in parts for book in part.chain]
    module = CodecModule(layout, sizes)
    module.start_from(codec, [torch.ones(size) for size in sizes])
    return module.eval()


def error(module, table, codes, n_levels=3):
    return float((table - module.decode(codes, n_levels)).square().sum())


def test_layouts_say_which_categories_have_spreads(module):
    assert module.layout.book_spreads == [True, True, True, False, False]
    values = module.layout.to_json()
    assert [category.get("spread", False) for category in values["categories"]] == [True, False]
    assert "spread" not in values["categories"][1]
    assert Layout.from_json(values) == module.layout
    assert module.spread_books(1) == []
    assert module.spread_books(3) == [1, 2]


def test_the_network_decodes_what_its_chains_say(module, table):
    codes = module.encode(table, 8)
    for j in range(5):
        for prefix in range(module.layout.book_levels[j] + 1, 4):
            getattr(module, f"delta_{prefix}_{j}").zero_()
    a, b = (encoder(table) for encoder in module.encoders)
    values = [
        quantize.decode(codes[:, :3], module.chain(0), a.shape[1]),
        quantize.decode(codes[:, 3:], module.chain(1), b.shape[1]),
    ]
    torch.testing.assert_close(module.embed(codes), torch.cat(values, 1), rtol=1e-4, atol=1e-4)
    rows = torch.cat(
        [v @ e.basis.T + e.mean for v, e in zip(values, module.encoders, strict=True)], 1
    )
    torch.testing.assert_close(module.decode(codes, 3), rows, rtol=1e-4, atol=1e-4)
    assert torch.equal(module.decode(codes[:10], 3), module.decode(codes, 3)[:10])
    short = codes.clone()
    short[:, [2]] = 0
    assert torch.equal(module.decode(short, 2), module.decode(codes, 2))


def test_joint_tables_do_not_raise_the_error_on_their_rows(module, table):
    codes = module.encode(table, 8)
    with_tables = error(module, table, codes)
    for j in range(5):
        getattr(module, f"delta_3_{j}").zero_()
    assert with_tables <= error(module, table, codes) * (1 + 1e-5)


@pytest.mark.parametrize("reach", [[], [1, 2, 2], [1, 1, 1], [0, 0, 0]])
def test_a_training_step_uses_what_the_network_decodes(module, table, reach):
    module.layout = replace(module.layout, spread_levels=reach)
    training = TrainingModule(module, 0.9).eval()
    out = training(table, torch.ones_like(table))[0]
    codes = module.quantize(table, 4, 600).codes
    torch.testing.assert_close(out, module.decode(codes, 3), rtol=1e-4, atol=1e-4)


def test_training_moves_codewords_towards_what_lowers_the_error(module, table):
    for book in module.codebooks[:3]:
        book.start(book.weight + 0.1 * normal(*book.weight.shape), book.count)
    training = TrainingModule(module, 0.5).train()

    @torch.no_grad()
    def own_error():
        codes = module.encode(table, 8)
        values = quantize.decode(codes[:, :3], module.chain(0), 5)
        return float((module.encoders[0](table) - values).square().sum())

    before = own_error()
    for _ in range(10):
        training(table, torch.ones_like(table))
    assert own_error() < 0.9 * before


def test_objectives_know_of_spreads(module, table):
    wanted = Objectives(partial_weight=0.5, perplexity_weight=0.1)
    terms = TrainingModule(module, 0.9, wanted).train()(table, torch.ones_like(table))
    assert len(terms) == 5
    assert all(bool(torch.isfinite(t).all()) for t in terms)
    found = module.quantize(table, 4, 600)
    words = [book.weight for book in module.codebooks]
    step = Step(table, torch.ones_like(table), found.latents, found.codes, words)
    values = dict(prefix_values(module, step, 0))
    torch.testing.assert_close(values[0], words[0][found.codes[:, 0]])
    torch.testing.assert_close(values[2], decoded(found.codes[:, :3], module.chain(0), 5))


@torch.no_grad()
def test_unevenness_is_that_of_what_each_codebook_would_have_to_say(module, table):
    found, weight = module.quantize(table, 4, 600), torch.rand(600, 7, generator=generator(9))
    words = [book.weight for book in module.codebooks]
    found_by_hand, mass = [], weight.amax(1) / weight.amax(1).sum()
    for (start, end), z, value in zip(
        module.layout.spans(), found.latents, found.values, strict=True
    ):
        factor = torch.ones(600)
        for j in range(start, end):
            book, code = module.codebooks[j], found.codes[:, j]
            needed = ((z - value) / factor[:, None])[:, : words[j].shape[1]] + words[j][code]
            distance = torch.cdist(needed, words[j]) ** 2
            use = mass @ torch.softmax(-distance / distance.amin(1).mean(), 1)
            entropy = torch.special.entr(use).sum()
            found_by_hand.append(1 - float(entropy) / math.log(len(words[j])))
            factor = factor * book.spread[code] if module.layout.book_spreads[j] else factor
    step = Step(table, weight, found.latents, found.codes, words)
    expected = sum(found_by_hand) / 5
    assert float(unevenness(module, step)) == pytest.approx(expected, rel=1e-3)


def test_absorbing_lowers_the_error_on_new_rows(module):
    new = torch.cat([uneven(600, seed=30) + 0.3, normal(600, 2, seed=31)], 1)
    before = error(module, new, module.encode(new, 8))
    module.absorb(new, torch.ones_like(new), 8)
    assert error(module, new, module.encode(new, 8)) < 0.9 * before


def test_idle_codewords_of_the_network_are_put_to_use(module, table):
    book = module.codebooks[1]
    book.weight[2] += 50.0
    codes = module.encode(table, 8)
    assert not (codes[:, 1] == 2).any()
    assert put_to_use(module, table, torch.ones(600), codes, from_afar=True)
    assert float(book.weight[2].abs().max()) < 40.0


@pytest.mark.parametrize("alone", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2], [4]])
def test_networks_without_unused_codewords_decode_the_same(module, table, alone):
    codes = module.encode(table, 8)
    for j in alone:
        codes[:, j] = 1
    codes = codes[codes[:, 0] != 2]
    expected = module.decode(codes, 3)
    smaller = without_unused(module, codes)
    assert len(smaller.codebooks) == 5 - len(alone)
    kept = [j for j in range(5) if j not in alone]
    renumbered = torch.stack([codes[:, j].unique(return_inverse=True)[1] for j in kept], 1)
    torch.testing.assert_close(smaller.decode(renumbered, 3), expected, rtol=1e-3, atol=1e-3)


def test_a_narrower_codebook_takes_over_all_coordinates(module, table):
    book = module.codebooks[0]
    book.weight, book.total = book.weight[:, :2].clone(), book.total[:, :2].clone()
    module.layout.categories[0].book_widths[0] = 2
    codes = module.encode(table, 8)
    codes[:, 1] = 3
    expected = module.decode(codes, 3)
    smaller = without_unused(module, codes)
    kept = [0, 2, 3, 4]
    renumbered = torch.stack([codes[:, j].unique(return_inverse=True)[1] for j in kept], 1)
    torch.testing.assert_close(smaller.decode(renumbered, 3), expected, rtol=1e-3, atol=1e-3)


def test_more_levels_are_never_worse(module, table):
    codes = torch.stack(
        [torch.randint(len(b.weight), (600,), generator=generator(7)) for b in module.codebooks], 1
    )
    settle_prefixes(module, Rows(table, torch.ones_like(table)), codes)
    assert module.layout.spread_levels == [0, 0, 0]
    errors = [error(module, table, codes, n) for n in (1, 2, 3)]
    mean = float((table - table.mean(0)).square().sum())
    assert all(a * (1 + 1e-4) >= b for a, b in itertools.pairwise([mean, *errors]))


# --- the estimator -------------------------------------------------------------------------------


SELECTOR = AdaptiveRatioSelector(
    bits=20, characterizer=FeatureCharacterizer(categories={"all": list(range(6))})
)


@pytest.fixture(scope="module")
def X():
    return np.asarray(uneven(3000, 6).double().numpy() * [1, 2, 3, 4, 5, 6] + 10)


@pytest.fixture(scope="module")
def fitted(X):
    return HierarchicalVQVAE(SELECTOR, max_epochs=2, random_state=0).fit(X)


def test_fits_choose_spreads(fitted, X):
    assert fitted.spreads_.keys() == fitted.codebooks_.keys()
    for name, spread in fitted.spreads_.items():
        assert spread.shape == (len(fitted.codebooks_[name]),)
        assert spread.dtype == np.float32
        assert (spread > 0).all()
    assert fitted.score(X) > 0.99


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "token", "embedding"])
def test_codes_decode_from_every_form(fitted, X, encode):
    expected = fitted.inverse_transform(fitted.transform(X))
    again = pickle.loads(pickle.dumps(fitted)).set_params(encode=encode)
    codes = again.transform(X)
    np.testing.assert_array_equal(again.inverse_transform(codes), expected)


def test_embedded_codes_add_up_to_the_latents(fitted, X):
    embedded = pickle.loads(pickle.dumps(fitted)).set_params(encode="embedding").transform(X)
    widths = [book.shape[1] for book in fitted.codebooks_.values()]
    total = np.zeros((len(X), max(widths)))
    for block, width in zip(np.split(embedded, np.cumsum(widths)[:-1], 1), widths, strict=True):
        total[:, :width] += block
    latents = working_module_of(fitted).embed(torch.from_numpy(fitted.transform(X)).long())
    np.testing.assert_allclose(total, latents.numpy(), rtol=1e-3, atol=1e-4)


def test_files_keep_spreads(fitted, X, tmp_path):
    path = tmp_path / "codec.safetensors"
    save(fitted, path)
    again = load(path)
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(
        again.inverse_transform(again.transform(X)), fitted.inverse_transform(fitted.transform(X))
    )
    assert all(np.array_equal(again.spreads_[n], s) for n, s in fitted.spreads_.items())


def test_later_chunks_are_learned(fitted, X):
    codec = pickle.loads(pickle.dumps(fitted))
    shifted = X + 0.5
    before = codec.score(shifted)
    codec.partial_fit(shifted)
    assert codec.score(shifted) >= before


def test_joint_context_does_without(X):
    codec = HierarchicalVQVAE(SELECTOR, max_epochs=1, context="joint", random_state=0).fit(X)
    assert codec.spreads_ == {}
