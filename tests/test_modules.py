"""The network: layout, codebooks with moving averages, revival, decoding, updates."""

import json

import pytest
import torch

from adaptive_vq import _joint_tables, classical, kmeans, quantize
from adaptive_vq._codebook import Codebook
from adaptive_vq._layout import Layout, layout_of
from adaptive_vq._prefixes import settle_prefixes
from adaptive_vq._pruning import put_to_use, without_unused
from adaptive_vq.classical import CategorySpec, StartOptions
from adaptive_vq.modules import CodecModule
from adaptive_vq.training import Rows


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def table():
    factors = normal(200, 2)
    return factors[:, [0, 0, 0, 1, 1, 1]] + 0.3 * normal(200, 6, seed=1)


@pytest.fixture
def codec(table):
    """Classical start of two categories, the second without its last level."""
    specs = [
        CategorySpec("a", torch.tensor([0, 1, 2]), [[4], [8]], [3, 3]),
        CategorySpec("b", torch.tensor([3, 4, 5]), [[4], []], [2, 3]),
    ]
    weight = torch.ones(200)
    parts = [classical.fit_category(table, s, weight, StartOptions(0), 0.0) for s in specs]
    codec = classical.Codec(6, 2, parts, _joint_tables.offset_of(parts, table.mean(0)))
    _joint_tables.fit_tables(codec, table, None, weight, None, 8)
    return codec


@pytest.fixture
def module(codec):
    layout = layout_of(codec, hidden=5, embedding=7, dropout=0.1)
    sizes = [len(book) for part in codec.parts for book in part.chain]
    module = CodecModule(layout, sizes)
    module.start_from(codec, [torch.ones(size) for size in sizes])
    return module.eval()


def error(module, table, codes, n_levels):
    return float(((table - module.decode(codes, n_levels)) ** 2).sum())


def own_error(module, table, codes):
    """Squared error of the latents of the first category, which has two codebooks."""
    latents = module.encoders[0](table).detach()
    decoded = quantize.decode(codes[:, :2], module.chain(0), latents.shape[1])
    return float((latents - decoded).square().sum())


# --- layout --------------------------------------------------------------------------------------


def test_layout_survives_json(module):
    layout = module.layout
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert layout.book_levels == [0, 1, 0]
    assert layout.books_of_prefix(1) == [0, 2]
    assert layout.spans() == [(0, 2), (2, 3)]


def test_category_without_codebooks_needs_no_part(table):
    specs = [
        CategorySpec("a", torch.tensor([0, 1, 2]), [[4]], [3]),
        CategorySpec("none", torch.tensor([3, 4, 5]), [[]], [3]),
    ]
    parts = [classical.fit_category(table, s, torch.ones(200), StartOptions(0), 0.0) for s in specs]
    codec = classical.Codec(6, 1, parts, _joint_tables.offset_of(parts, table.mean(0)))
    assert [c.name for c in layout_of(codec, 4, 4, 0.0).categories] == ["a"]


# --- the start -----------------------------------------------------------------------------------


def test_network_starts_as_the_classical_codec(codec, module, table):
    codes = module.encode(table, 4)
    assert torch.equal(codes, classical.encode(codec.parts, table, 4))
    for n_levels in (1, 2):
        books = module.layout.books_of_prefix(n_levels)
        expected = codec.offset + quantize.decode(codes[:, books], codec.tables[n_levels - 1], 6)
        torch.testing.assert_close(module.decode(codes, n_levels), expected, atol=1e-5, rtol=1e-5)


def test_learned_parts_start_at_zero(module, table):
    codes = module.encode(table, 4)
    before = module.decode(codes, 2)
    module.corrects.fill_(True)
    assert torch.equal(module.decode(codes, 2), before)
    module.train()
    latents = module.encoders[0](table)
    module.eval()
    torch.testing.assert_close(module.encoders[0](table), latents)


def test_correction_belongs_to_the_full_decode(module, table):
    codes = module.encode(table, 4)
    before = [module.decode(codes, n) for n in (1, 2)]
    module.correction[3].bias.data.fill_(1.0)
    assert torch.equal(module.decode(codes, 2), before[1])  # switched off
    module.corrects.fill_(True)
    assert torch.equal(module.decode(codes, 1), before[0])
    torch.testing.assert_close(module.decode(codes, 2), before[1] + 1.0)


def test_joint_codes_are_better_for_the_whole_row(module, table):
    local, joint = module.encode(table, 4), module.encode(table, 4, joint=True)
    assert error(module, table, joint, 2) <= error(module, table, local, 2)


def test_own_encoder_gets_its_columns(codec, table):
    seen = []

    class Body(torch.nn.Module):
        def forward(self, rows):
            seen.append(rows.shape[1])
            return torch.cat([rows, rows], 1)

    layout = layout_of(codec, 5, 7, 0.0)
    module = CodecModule(layout, [4, 8, 4], {"b": Body()})
    assert module.encoders[1].head.in_features == 6
    module.encoders[1].gate.data.fill_(1.0)
    module.eval().encoders[1](table)
    assert set(seen) == {3}


# --- codebooks -----------------------------------------------------------------------------------


@pytest.fixture
def book():
    book = Codebook(3, 2)
    weight = torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]])
    book.start(weight, torch.tensor([10.0, 10.0, 10.0]))
    return book


def test_counts_sums_and_vectors_agree_from_the_start(book):
    torch.testing.assert_close(book.total, book.weight * book.count[:, None])


def test_update_is_the_moving_average(book):
    rows, codes = torch.tensor([[2.0, 0.0], [4.0, 0.0]]), torch.tensor([1, 1])
    book.update(rows, codes, torch.ones(2), decay=0.9)
    count = 0.9 * 10 + 0.1 * 2
    expected = torch.tensor([(0.9 * 10 + 0.1 * 6) / count, 0.9 * 10 / count])
    torch.testing.assert_close(book.weight[1], expected)
    torch.testing.assert_close(book.weight[[0, 2]], torch.tensor([[0.0, 0.0], [5.0, 5.0]]))
    torch.testing.assert_close(book.total, book.weight * book.count[:, None])


def test_rows_without_weight_do_not_pull(book):
    before = book.weight.clone()
    book.update(torch.full((2, 2), 99.0), torch.tensor([0, 1]), torch.zeros(2), decay=0.5)
    torch.testing.assert_close(book.weight, before)


def test_untouched_codewords_do_not_drift(book):
    rows, codes = torch.tensor([[0.1, 0.1]]), torch.tensor([0])
    for _ in range(20):
        book.update(rows, codes, torch.ones(1), decay=0.9)
    torch.testing.assert_close(book.weight[2], torch.tensor([5.0, 5.0]))


def test_revived_codeword_survives_the_next_updates(book):
    book.count[2] = 1e-6  # as after many updates without a hit
    rows = torch.tensor([[0.0, 0.1], [1.0, 1.0], [9.0, -9.0], [0.0, 0.0]])
    codes = kmeans.nearest(rows, book.weight)[1]
    book.update(rows, codes, torch.ones(4), decay=0.99)
    worst = torch.tensor([9.0, -9.0])
    torch.testing.assert_close(book.weight[2], worst)
    assert float(book.count[2]) == 1.0
    torch.testing.assert_close(book.total[2], worst)
    for _ in range(5):  # hit or not, it stays where it was put
        codes = kmeans.nearest(rows, book.weight)[1]
        book.update(rows, codes, torch.ones(4), decay=0.99)
    torch.testing.assert_close(book.weight[2], worst)
    assert int(kmeans.nearest(worst[None], book.weight)[1]) == 2


def test_revival_puts_several_on_different_rows(book):
    book.count[:] = 1e-6
    rows = normal(10, 2)
    book.update(rows, torch.zeros(10, dtype=torch.long), torch.zeros(10), decay=1.0)
    assert len(torch.unique(book.weight, dim=0)) == 3


def test_revival_with_fewer_rows_than_dead_codewords(book):
    book.count[:] = 1e-6
    book.update(torch.ones(1, 2), torch.zeros(1, dtype=torch.long), torch.zeros(1), decay=1.0)
    assert torch.isfinite(book.weight).all()


# --- clean-up ------------------------------------------------------------------------------------


def test_unused_codewords_are_put_to_use(module, table):
    module.codebooks[1].weight[6:] += 3.0
    module.delta_2_1.fill_(0.1)
    codes, ones = module.encode(table, 4), torch.ones(200)
    assert len(codes[:, 1].unique()) == 6
    old = [book.weight.clone() for book in module.codebooks]
    before = own_error(module, table, codes)
    assert put_to_use(module, table, ones, codes, from_afar=False)
    assert torch.equal(old[1][:6], module.codebooks[1].weight[:6])
    assert (old[1][6:] != module.codebooks[1].weight[6:]).any(1).all()
    assert torch.equal(old[0], module.codebooks[0].weight)
    assert torch.equal(old[2], module.codebooks[2].weight)
    assert module.delta_2_1.all()  # they have hardly moved: what decoders know of them still holds
    book = module.codebooks[1]
    torch.testing.assert_close(book.total[6:], book.weight[6:] * book.count[6:, None])
    found = module.encode(table, 4)
    assert len(found[:, 1].unique()) == 8
    assert own_error(module, table, found) < before


def test_unused_codewords_are_moved_to_the_rows_served_worst(module, table):
    codes = module.encode(table, 4)
    codes[:, 1] = codes[:, 1].clamp_max(5)  # of 8
    module.delta_2_1.fill_(0.1)
    z, chain = module.encoders[0](table), module.chain(0)
    left = (z - quantize.decode(codes[:, :2], chain, 3)).square().sum(1)
    worst = left.topk(2).indices
    old = [book.weight.clone() for book in module.codebooks]
    assert put_to_use(module, table, torch.ones(200), codes, from_afar=True)
    codes[worst, 1] = torch.tensor([6, 7])
    decoded = quantize.decode(codes[worst, :2], module.chain(0), 3)
    torch.testing.assert_close(decoded, z[worst])
    assert torch.equal(old[1][:6], module.codebooks[1].weight[:6])
    assert torch.equal(old[0], module.codebooks[0].weight)
    assert torch.equal(old[2], module.codebooks[2].weight)
    assert not module.delta_2_1[6:].any()
    assert module.delta_2_1[:6].all()
    found = module.encode(table, 4)
    assert set(found[:, 1].tolist()) == set(range(8))
    assert error(module, table, found, 2) < error(module, table, codes.clamp_max(5), 2)


def test_codewords_move_to_different_rows_once_each_and_by_weight(module, table):
    table = table[:20].repeat(2, 1)
    codes = module.encode(table, 4)
    codes[:, 1] = 0
    weight = torch.ones(40)
    weight[:3] = weight[20:23] = 1e-12
    put_to_use(module, table, weight, codes, from_afar=True)
    moved = module.codebooks[1].weight[1:]
    assert len(moved.unique(dim=0)) == 7
    z = module.encoders[0](table)
    targets = z - module.chain(0)[0][codes[:, 0]]
    distance = torch.cdist(moved.double(), targets.double())
    assert distance.min(1).values.max() < 1e-5
    assert distance[:, [0, 1, 2]].min() > 1e-5


def test_nothing_moves_where_rows_are_coded_exactly_or_all_codewords_are_used(module, table):
    codes = module.encode(table, 4)
    for from_afar in (False, True):
        assert not put_to_use(module, table, torch.ones(200), codes, from_afar=from_afar)
    one, ones = table[:1].expand(10, -1), torch.ones(10)
    assert put_to_use(module, one, ones, module.encode(one, 4), from_afar=True)
    assert not put_to_use(module, one, ones, module.encode(one, 4), from_afar=True)


def test_unused_codewords_go_and_decoding_stays(module, table):
    module.corrects.fill_(True)
    module.correction[3].weight.data.normal_(generator=torch.Generator().manual_seed(0))
    codes = module.encode(table, 4)
    codes[:, 1] = codes[:, 1].clamp_max(3)
    decoded = [module.decode(codes, n) for n in (1, 2)]
    smaller = without_unused(module, codes)
    assert [len(b.weight) for b in smaller.codebooks] == [len(c.unique()) for c in codes.T]
    renumbered = torch.stack([torch.unique(c, return_inverse=True)[1] for c in codes.T], 1)
    for n in (1, 2):
        torch.testing.assert_close(smaller.decode(renumbered, n), decoded[n - 1])
    assert len(module.codebooks[1].weight) == 8  # the original is left alone


@pytest.mark.parametrize("constant", [[0], [1], [2], [0, 1], [0, 1, 2]])
def test_codebook_with_a_single_codeword_becomes_part_of_the_offset(module, table, constant):
    module.corrects.fill_(True)
    module.correction[3].weight.data.normal_(generator=torch.Generator().manual_seed(0))
    codes = module.encode(table, 4)
    codes[:, constant] = 2
    decoded = [module.decode(codes, n) for n in (1, 2)]
    smaller = without_unused(module, codes)
    left = [j for j in range(3) if j not in constant]
    assert smaller.layout.book_levels == [[0, 1, 0][j] for j in left]
    renumbered = [torch.unique(codes[:, j], return_inverse=True)[1] for j in left]
    new = torch.stack(renumbered, 1) if left else torch.zeros(200, 0, dtype=torch.long)
    for n in (1, 2):
        torch.testing.assert_close(smaller.decode(new, n), decoded[n - 1], atol=1e-4, rtol=1e-4)
    # What is left is searched where the shared codeword has already been taken off.
    shift = smaller.encoders[0](table) - module.encoders[0](table)
    own = [j for j in constant if j < 2]
    expected = -sum(module.codebooks[j].weight[2] for j in own) if own else torch.zeros(3)
    torch.testing.assert_close(shift, expected.expand_as(shift), atol=1e-5, rtol=0)


def test_prefix_decoder_is_never_worse_than_fewer_levels(module, table):
    rows, codes = Rows(table, torch.ones_like(table)), module.encode(table, 4)
    variance = float(((table - table.mean(0)) ** 2).sum())
    module.delta_1_0.add_(10.0)
    assert error(module, table, codes, 1) > variance
    full = error(module, table, codes, 2)
    settle_prefixes(module, rows, codes)
    assert full == error(module, table, codes, 2) < error(module, table, codes, 1) < variance


def test_full_decoder_is_refitted_as_well_where_it_is_worse(module, table):
    rows, codes = Rows(table, torch.ones_like(table)), module.encode(table, 4)
    module.correction[3].bias.data.fill_(50.0)
    module.corrects.fill_(True)
    settle_prefixes(module, rows, codes)
    assert error(module, table, codes, 2) < error(module, table, codes, 1)


# --- updates with later chunks -------------------------------------------------------------------


def test_absorbing_rows_lowers_their_error(module, table):
    new = table + 1.0
    weight = torch.ones_like(new)
    before = error(module, new, module.encode(new, 4), 2)
    module.absorb(new, weight, 4)
    assert error(module, new, module.encode(new, 4), 2) < 0.75 * before


def test_absorbing_does_not_count_the_correction_twice(module, table):
    module.corrects.fill_(True)
    module.correction[3].bias.data.fill_(0.5)
    module.offsets[1] -= 0.5  # so that nothing is left to learn
    before = error(module, table, module.encode(table, 4), 2)
    module.absorb(table, torch.ones_like(table), 4)
    assert error(module, table, module.encode(table, 4), 2) <= 1.01 * before


def test_missing_cells_do_not_pull(module, table):
    weight = torch.ones_like(table)
    weight[:, 5] = 0.0
    spoiled = table.clone()
    before = module.decode(module.encode(table, 4), 2)[:, 5]
    module.absorb(spoiled, weight, 4)
    after = module.decode(module.encode(table, 4), 2)[:, 5]
    assert float((after - before).abs().mean()) < 0.3
