"""The classical start: principal axes, residual codebooks, joint tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from adaptive_vq import _joint_tables, classical, quantize
from adaptive_vq.classical import CategorySpec, Codec, StartOptions

ONES = torch.ones(250)


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def table():
    shared = normal(250, 1)
    return torch.cat([shared + 0.2 * normal(250, 3, 1), shared + 0.2 * normal(250, 4, 2)], 1)


def spec(name="a", columns=(0, 1, 2), sizes=((8,), (8,)), widths=(2, 3)):
    return CategorySpec(name, torch.tensor(columns), [list(s) for s in sizes], list(widths))


def fit(table, *specs, bootstrap=0.0):
    return [classical.fit_category(table, s, ONES, StartOptions(0), bootstrap) for s in specs]


def codec_of(table, parts, n_levels=2):
    return Codec(table.shape[1], n_levels, parts, _joint_tables.offset_of(parts, table.mean(0)))


BOTH = (spec(), spec("b", (3, 4, 5, 6)))


def joint_error(codec, table, codes, n_levels):
    books = [
        j for j, level in enumerate(_joint_tables.level_of_books(codec.parts)) if level < n_levels
    ]
    decoded = quantize.decode(codes[:, books], codec.tables[n_levels - 1], table.shape[1])
    return float(((table - codec.offset - decoded) ** 2).sum())


def test_spec_flattens_levels_and_widths_never_shrink():
    sizes, widths, levels = spec(sizes=((4, 4), (), (2,)), widths=(3, 1, 2)).flat()
    assert sizes == [4, 4, 2]
    assert widths == [3, 3, 3]
    assert levels == [0, 0, 2]
    assert spec(sizes=((), (), ()), widths=(3, 1, 2)).latent_width == 0


def test_principal_axes_are_those_of_scikit_learn(table):
    mean, basis = (t.numpy() for t in classical.principal_axes(table, 3, ONES))
    pca = PCA(3).fit(table.double().numpy())
    np.testing.assert_allclose(mean, pca.mean_, atol=1e-5)
    np.testing.assert_allclose(np.abs(basis.T), np.abs(pca.components_), atol=1e-4)
    peak = np.abs(basis).argmax(axis=0)
    assert (basis[peak, np.arange(3)] > 0).all()


def test_rows_of_weight_zero_do_not_count(table):
    weight = ONES.clone()
    weight[100:] = 0.0
    spoiled = table.clone()
    spoiled[100:] = 1e3
    for got, expected in zip(
        classical.principal_axes(spoiled, 2, weight),
        classical.principal_axes(table[:100], 2, torch.ones(100)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_category_depends_on_its_name_and_columns_only(table):
    alone = fit(table, spec())[0]
    other = table.clone()
    other[:, 3:] = normal(250, 4, 9)
    beside = fit(other, spec("b", (3, 4)), spec())[1]
    for one, two in zip(alone.chain, beside.chain, strict=True):
        assert torch.equal(one, two)
    renamed = fit(table, spec("z"))[0]
    assert not torch.equal(alone.chain[1], renamed.chain[1])


def test_more_bits_leave_less_error(table):
    errors = [
        classical.category_error(fit(table, spec(sizes=((k,), (k,))))[0], table, 8)
        for k in (2, 4, 8, 16)
    ]
    assert errors == sorted(errors, reverse=True)


def test_no_bits_code_nothing(table):
    part = fit(table, spec(sizes=((), ())))[0]
    assert part.chain == []
    assert classical.encode([part], table, 2).shape == (250, 0)
    deviation = float(((table[:, :3] - table[:, :3].mean(0)) ** 2).sum())
    assert classical.category_error(part, table, 2) == pytest.approx(deviation, rel=1e-4)


def test_bootstrap_smooths(table):
    plain, smooth = (fit(table, spec(), bootstrap=b)[0] for b in (0.0, 0.5))
    assert not torch.equal(plain.chain[0], smooth.chain[0])


def test_draws_per_row_are_those_of_the_table_stood_for(table, monkeypatch):
    drawn, bootstrap = [], classical._draws.smoothed_bootstrap

    def noted(latents, width, copies, *others):
        drawn.append(copies)
        return bootstrap(latents, width, copies, *others)

    monkeypatch.setattr(classical._draws, "smoothed_bootstrap", noted)
    for standing_for in (None, 3_500, 14_000):
        options = StartOptions(0, standing_for=standing_for)
        classical.fit_category(table, spec(), ONES, options, 0.5)
    assert drawn == [5, 3, 1]


def test_codewords_follow_other_rows_from_where_they_stand(table):
    (part,) = fit(table, spec())
    moved = 1.1 * table
    after = classical.refit_category(moved, part, ONES, StartOptions(0))
    assert [len(c) for c in after.chain] == [len(c) for c in part.chain]
    assert torch.equal(after.basis, part.basis)
    errors = [classical.category_error(p, moved, 8) for p in (part, after)]
    assert errors[1] < errors[0]
    again = classical.refit_category(moved, part, ONES, StartOptions(0))
    assert all(map(torch.equal, after.chain, again.chain))


@pytest.mark.parametrize("width", [0.5, classical.TOWARDS_NEIGHBOURS])
def test_codewords_follow_draws_too_where_they_were_fitted_on_some(table, monkeypatch, width):
    (part,) = fit(table, spec(), bootstrap=width)
    drawn, enlarged = [], classical._enlarged

    def noted(latents, weight, *how):
        more, mass = enlarged(latents, weight, *how)
        drawn.append((len(latents), *how[:2], len(more)))
        return more, mass

    monkeypatch.setattr(classical, "_enlarged", noted)
    classical.refit_category(table[:240], part, ONES[:240], StartOptions(0))
    assert drawn == [(240, width, 240, 6 * 240)]


def test_draws_between_neighbours_enter_the_fit(table):
    sparse = spec(sizes=((32,), (32,)))
    widths = (0.0, classical.TOWARDS_NEIGHBOURS)
    plain, drawn = (fit(table, sparse, bootstrap=width)[0] for width in widths)
    assert not torch.equal(plain.chain[0], drawn.chain[0])
    assert drawn.bootstrap == classical.TOWARDS_NEIGHBOURS
    # Between rows of one cluster, where noise of the covariance of all would fill the space.
    clusters = table[:, :1].sign() * 50.0 + table[:, :3]
    more, _ = classical._enlarged(  # of 4,700 rows two draws each
        clusters, torch.ones(len(table)), widths[1], 4_700, classical.seed_of(0, "x")
    )
    assert len(more) == 3 * len(table)
    assert float(more.abs().amin()) > 40.0


def test_refits_end_when_they_no_longer_pay(table, monkeypatch):
    latents, ones = table[:, :3], torch.ones(len(table))
    start, _ = quantize.fit_chain(latents, [8, 8], [3, 3], classical.seed_of(0, "x"))
    done, refit = [], quantize.refit

    def noted(*arguments):
        done.append(arguments[3])
        return refit(*arguments)

    monkeypatch.setattr(quantize, "refit", noted)
    counts = {}
    for memorizes in (True, False):
        done.clear()
        ridge = classical.STRONG_RIDGE if memorizes else None
        chain = classical._refitted(latents, start, ones, StartOptions(0, n_refits=50), ridge)
        counts[memorizes] = len(done)
        assert set(done) == {classical.STRONG_RIDGE if memorizes else classical.CHAIN_RIDGE}
        before, after = (
            (latents - quantize.decode(quantize.codes_of(latents, c, 8), c, latents.shape[1]))
            .square()
            .sum()
            for c in (start, chain)
        )
        assert after < before
    assert 1 <= counts[True] <= counts[False] < 50


@pytest.mark.parametrize(
    ("gentle", "n_rows", "ridge"),
    [
        (True, 10**6, classical.GENTLE_RIDGE),
        (True, 20, classical.GENTLE_RIDGE),
        (False, 20, classical.STRONG_RIDGE),
        (False, 10**6, classical.CHAIN_RIDGE),
    ],
)
def test_the_ridge_of_refits_follows_rows_and_what_was_chosen(
    table, monkeypatch, gentle, n_rows, ridge
):
    latents, ones, ridges = table[:, :3], torch.ones(len(table)), []
    start, _ = quantize.fit_chain(latents, [8, 8], [3, 3], classical.seed_of(0, "x"))
    refit = quantize.refit
    monkeypatch.setattr(quantize, "refit", lambda *a: ridges.append(a[3]) or refit(*a))
    classical._settled(latents, start, ones, StartOptions(0), n_rows, gentle)
    assert set(ridges) == {ridge}


def test_codewords_follow_further_rows_as_gently_as_the_first(table, monkeypatch):
    (part,), ridges, refit = fit(table, spec()), [], quantize.refit
    monkeypatch.setattr(quantize, "refit", lambda *a: ridges.append(a[3]) or refit(*a))
    gentle = replace(part, spec=replace(part.spec, gentle=True))
    classical.refit_category(table, gentle, torch.ones(len(table)), StartOptions(0))
    assert set(ridges) == {classical.GENTLE_RIDGE}


def test_each_of_many_rows_has_fewer_candidates_while_a_chain_grows(table, monkeypatch):
    beams, plain = [], quantize.fit_chain

    def noted(*arguments, beam, **options):
        beams.append(beam)
        return plain(*arguments, beam=beam, **options)

    monkeypatch.setattr(quantize, "fit_chain", noted)
    for most in (16 * len(table), 10 * len(table), len(table)):
        monkeypatch.setattr(classical, "MOST_CANDIDATES", most)
        fit(table, spec())
    assert beams == [16, 10, classical.SEARCH_BEAM_IN_FIT]


def test_of_few_rows_a_codeword_is_idle_only_if_a_wide_search_has_no_use_for_it(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 8, generator=generator) / torch.rand(300, 1, generator=generator)
    asked, kept = CategorySpec("all", torch.arange(8), [[64] * 4], [8]), []
    for beam in (classical.SEARCH_BEAM_IN_FIT, classical._WIDE_BEAM):
        monkeypatch.setattr(classical, "_WIDE_BEAM", beam)
        part = classical.fit_category(rows, asked, torch.ones(300), StartOptions(0), 0.0)
        kept.append(sum(map(len, part.chain)))
    assert kept[0] + 10 < kept[1] <= 256


@pytest.mark.parametrize(("memorizes", "n_refits"), [(True, 1), (False, 2)])
def test_codes_of_the_last_search_are_refitted_to_unless_rows_are_few(
    table, monkeypatch, memorizes, n_refits
):
    latents, chain = table[:, :3], [table[:8, :3]]
    codes = torch.zeros(len(table), 1, dtype=torch.long)
    done = []
    monkeypatch.setattr(quantize, "codes_of", lambda *arguments: codes)
    monkeypatch.setattr(quantize, "refit", lambda *arguments: done.append(arguments[1]) or chain)
    ones = torch.ones(len(table))
    ridge = classical.STRONG_RIDGE if memorizes else None
    classical._refitted(latents, chain, ones, StartOptions(0), ridge)
    assert len(done) == n_refits


def test_codes_that_growing_ends_with_are_refitted_to_first(table, monkeypatch):
    grown, refitted_to = [], []
    fit_chain, refit = quantize.fit_chain, quantize.refit
    monkeypatch.setattr(
        quantize, "fit_chain", lambda *a, **k: grown.append(fit_chain(*a, **k)) or grown[-1]
    )
    monkeypatch.setattr(quantize, "refit", lambda *a: refitted_to.append(a[1:3]) or refit(*a))
    fit(table, spec())
    ((chain, codes),) = grown
    assert refitted_to[0][0] is codes
    assert refitted_to[0][1] is chain
    assert len(refitted_to) > 1
    assert refitted_to[1][0] is not codes


def test_own_tables_are_zero_outside_their_category(table):
    parts = fit(table, *BOTH)
    tables = _joint_tables.own_tables(parts, 7)
    assert [t.shape for t in tables] == [(8, 7)] * 4
    assert all((t[:, 3:] == 0).all() for t in tables[:2])
    codes = classical.encode(parts, table, 4)
    total = _joint_tables.offset_of(parts, table.mean(0)) + quantize.decode(codes, tables, 7)
    own = sum(classical.category_error(part, table, 4) for part in parts)
    assert float(((table - total) ** 2).sum()) == pytest.approx(own, rel=1e-3)


def test_joint_decoding_pays_for_shared_factors_once(table):
    codec = codec_of(table, fit(table, *BOTH))
    _joint_tables.fit_tables(codec, table, None, ONES, None, 8)
    codes = classical.encode(codec.parts, table, 8)
    separate = sum(classical.category_error(part, table, 8) for part in codec.parts)
    valid = (table, torch.ones_like(table))
    judged = codec_of(table, codec.parts)
    _joint_tables.fit_tables(judged, table, None, ONES, valid, 8)
    assert judged.ridges[-1] == min(_joint_tables.JOINT_RIDGES)  # judged on its own rows
    assert joint_error(judged, table, codes, 2) < 0.95 * separate
    assert codec.ridges == [np.inf, np.inf]  # nobody to judge: the own tables stay


def test_ridges_as_set_are_used(table):
    codec = codec_of(table, fit(table, *BOTH))
    codec.ridges = [np.inf, 30.0]
    _joint_tables.fit_tables(codec, table, None, ONES, None, 8)
    assert codec.ridges == [np.inf, 30.0]
    own = _joint_tables.own_tables(codec.parts, 7)
    assert torch.equal(codec.tables[0][0], own[0])
    assert not torch.equal(codec.tables[1][0], own[0])


def test_missing_cells_pull_nothing(table):
    missing = torch.zeros_like(table, dtype=torch.bool)
    missing[::2, 6] = True
    spoiled = torch.where(missing, torch.tensor(50.0), table)
    parts = fit(table, *BOTH)
    ridges = [10.0, 10.0]
    found = []
    for rows in (table, spoiled):
        codec = codec_of(table, parts)
        codec.ridges = list(ridges)
        codes = classical.encode(parts, table, 8)
        # Codes as of the true rows, so that only the fit of the tables differs.
        target = _joint_tables._with_decoded_holes(
            rows - codec.offset, codes, _joint_tables.own_tables(parts, 7), missing
        )
        found.append(target)
    torch.testing.assert_close(found[0], found[1])


def test_seeds_differ_by_name_and_number():
    draws = {
        float(torch.rand(1, generator=classical.seed_of(seed, name)))
        for seed in (0, 1, 2**31 - 1)
        for name in ("a", "b")
    }
    assert len(draws) == 6
