"""Draws beside rows, and codebooks that are grown: what is tried, and what is chosen."""

from dataclasses import replace

import pytest
import torch

from adaptive_vq import _smoothing, classical
from adaptive_vq.classical import CategorySpec, StartOptions


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def spec(columns=(0, 1, 2), sizes=((8,), (8,)), widths=(2, 3)):
    return CategorySpec("a", torch.tensor(columns), [list(s) for s in sizes], list(widths))


def test_as_many_codewords_as_rows_are_smoothed():
    few = (normal(250, 1) + 0.2 * normal(250, 3, 1))[:60]
    wide = spec(sizes=((32,), (32,)))

    def chosen(asked, seed=0):
        return _smoothing.choose_bootstrap(few, asked, torch.ones(60), StartOptions(seed))

    # As many codewords as rows: memorizing loses, but for one time in six by chance.
    smoothed = [chosen(wide, seed)[1] >= _smoothing.BOOTSTRAP_WIDTH for seed in range(6)]
    assert sum(smoothed) >= 5


def test_a_single_codebook_is_smoothed_where_rows_are_sparse_for_it(monkeypatch):
    rows = normal(600, 6)

    def chosen(table, size):
        single = spec(columns=range(6), sizes=((size,), ()), widths=(6, 6))
        kept, width = _smoothing.choose_bootstrap(table, single, torch.ones(600), StartOptions(0))
        assert kept == single  # neither grown nor with spreads
        return width

    assert chosen(rows, 128) != 0.0
    assert chosen(rows, 16) == 0.0
    few = rows[torch.arange(600) % 100]
    assert chosen(few, 64) != 0.0
    # A codebook that tells all rows apart has nothing to learn from draws: none is tried.
    monkeypatch.setattr(_smoothing.classical, "fit_category", None)
    assert chosen(few, 128) == 0.0


def test_rows_are_sparse_below_some_per_codeword():
    sparse = spec(sizes=((32,), (32,)))
    assert _smoothing.are_sparse(639, sparse)
    assert not _smoothing.are_sparse(640, sparse)


def test_only_what_is_nearly_gaussian_is_drawn_from_a_gaussian():
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(900, 12, generator=generator)
    centers = 4.0 * torch.randn(60, 12, generator=generator)
    clustered = centers[torch.arange(900) % 60] + 0.3 * torch.randn(900, 12, generator=generator)
    wide = spec(columns=range(12), sizes=((64,), (64,)), widths=(12, 12))
    widths = [
        _smoothing.choose_bootstrap(rows, wide, torch.ones(900), StartOptions(0))[1]
        for rows in (gaussian, clustered)
    ]
    assert widths[0] == classical.NEARLY_GAUSSIAN > widths[1]


NEAR = classical.TOWARDS_NEIGHBOURS


@pytest.mark.parametrize(
    ("narrow", "wide", "between", "chosen", "of_plenty"),
    [
        (0.99, 0.995, 1.02, 0.0, 0.0),  # nothing gains enough
        (0.99, 0.995, 1.005, NEAR, 0.0),  # does no harm where rows are sparse
        (1.0, 0.5, 1.02, 0.0, 0.0),  # a little noise does not help: no Gaussian
        (0.99, 0.98, 0.99, 2.0, 2.0),
        (0.8, 0.795, 0.89, 0.5, 0.5),
        (0.9, 0.8, 0.79, NEAR, 2.0),
        (0.9, 0.8, 0.85, 2.0, 2.0),
        (2.0, 3.0, 0.9, NEAR, 0.0),
    ],
)
def test_smoothing_is_chosen_by_its_error(narrow, wide, between, chosen, of_plenty):
    errors = {0.0: 1.0, 0.5: narrow, 2.0: wide, NEAR: between}
    assert _smoothing.smoothing(errors.__getitem__, sparse=True) == chosen
    del errors[NEAR]
    assert _smoothing.smoothing(errors.__getitem__) == of_plenty


@pytest.mark.parametrize(
    ("grown", "grown_from_draws", "chosen"),
    [
        (0.9, 0.9, (0.5, False)),  # no better than draws
        (0.885, 0.95, (0.5, False)),
        (0.87, 0.95, (0.0, True)),
        (0.95, 0.87, (0.5, True)),
        (0.88, 0.87, (0.5, True)),
    ],
)
def test_codebooks_are_grown_where_that_is_clearly_better(grown, grown_from_draws, chosen):
    errors = {(0.0, False): 1.0, (0.5, False): 0.9, (0.0, True): grown}
    errors[0.5, True] = grown_from_draws

    def error(width, grown):
        return errors[width, grown]

    assert _smoothing.start_and_smoothing(error, sparse=False, gaussian=False) == chosen
    errors[0.5, False] = 0.99  # no draws then
    assert _smoothing.start_and_smoothing(error, False, False) == (0.0, grown < 0.98)


def test_on_draws_from_a_gaussian_grown_codebooks_need_to_gain_less():
    for width, grown in ((classical.NEARLY_GAUSSIAN, True), (0.5, False)):
        errors = {0.0: 1.0, 0.5: 0.9, classical.NEARLY_GAUSSIAN: 1.5}
        errors[width] = 0.5
        found = _smoothing.start_and_smoothing(
            lambda width, grown, errors=errors: errors[width] * (0.985 if grown else 1.0),
            sparse=False,
            gaussian=True,
        )
        assert found == (width, grown)


@pytest.mark.parametrize("better", [True, False])
def test_whether_codebooks_are_grown_is_part_of_the_category(monkeypatch, better):
    def error(part, *_):
        return torch.full((20,), 0.9 if part.spec.grown is better else 1.0)

    monkeypatch.setattr(classical, "row_errors", error)
    table, ones = normal(250, 3), torch.ones(250)
    wanted = spec(sizes=((8,), (8,)))
    chosen, width = _smoothing.choose_bootstrap(table, wanted, ones, StartOptions(0))
    assert (chosen.grown, width) == (better, 0.0)
    assert chosen.sizes == wanted.sizes
    chains = [
        classical.fit_category(
            table, replace(wanted, grown=grown), ones, StartOptions(0), 0.0
        ).chain
        for grown in (True, False)
    ]
    assert not torch.equal(chains[0][0], chains[1][0])


def test_draws_from_a_gaussian_are_tried_only_where_tails_allow():
    errors = {0.0: 1.0, 0.5: 0.9, classical.TOWARDS_NEIGHBOURS: 0.95}
    assert _smoothing.smoothing(errors.__getitem__, sparse=True, gaussian=False) == 0.5
    errors[classical.NEARLY_GAUSSIAN] = 0.8
    assert _smoothing.smoothing(errors.__getitem__) == classical.NEARLY_GAUSSIAN


def test_tails_of_a_gaussian_are_told_from_heavier_ones():
    rows = normal(4000, 3) @ torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.1]])
    ones = torch.ones(len(rows))

    def may_be(table, weight=ones):
        columns = tuple(range(table.shape[1]))
        return _smoothing.may_be_gaussian(table, spec(columns=columns), weight)

    assert may_be(rows)
    assert not may_be(rows * (1.0 + normal(4000, 1, 1).abs()))
    outlying = rows.clone()
    outlying[:5] *= 30.0
    assert not may_be(outlying)
    weight = ones.clone()
    weight[:5] = 0.0
    assert may_be(outlying, weight)
    # Directions that carry next to nothing, or nothing, make no difference.
    copied = rows[:, :1].clone()
    copied[:3] += 0.3
    constant = torch.ones(len(rows), 3)
    assert may_be(torch.cat([rows, copied, constant], 1))
    laplace = torch.distributions.Exponential(1.0).icdf(torch.linspace(0, 0.9999, 4000))[:, None]
    laplace *= torch.tensor([1.0, -1.0]).repeat(2000)[:, None]
    assert not may_be(laplace)
    assert not may_be(torch.cat([laplace, constant], 1))
    assert may_be(constant)


@pytest.mark.parametrize(("n", "share"), [(3_000, 2), (6_000, 3), (9_000, 4), (90_000, 7.5)])
def test_smoothing_is_tried_in_proportion(monkeypatch, n, share):
    rows, seen, judged = normal(n, 3), [], []

    def noted(table, tried, weight, options, width, earlier):
        seen.append((len(table), len(weight), tried.sizes, options.standing_for))
        return table

    def judge(fitted_on, table, _, weight):
        assert not torch.isin(table[:, 0], fitted_on[:, 0]).any()
        judged.append((len(table), len(weight)))
        return weight

    monkeypatch.setattr(classical, "fit_category", noted)
    monkeypatch.setattr(classical, "row_errors", judge)
    wanted = spec(sizes=((256, 2), (64,)))
    _smoothing.choose_bootstrap(rows, wanted, torch.ones(n), StartOptions(0))
    smaller = min(share, _smoothing.MOST_SHRUNKEN)
    sizes = [[256 // smaller, 2], [64 // smaller]]
    most = min(n - int(n / share), _smoothing.JUDGED_ROWS)
    assert set(judged) == {(most, most)}
    assert set(map(str, seen)) == {str((int(n / share), int(n / share), sizes, n))}


@pytest.mark.parametrize("heavy", [False, True])
def test_tails_of_few_rows_are_judged_without_a_square_of_their_columns(monkeypatch, heavy):
    table, weight = normal(40, 5) @ normal(5, 300, 1), torch.linspace(0.0, 2.0, 40)
    table[20:] = table[:20]
    if heavy:
        table[[19, 39]] *= 10.0
    shapes, own = [], torch.Tensor.trace
    monkeypatch.setattr(torch.Tensor, "trace", lambda m: shapes.append(len(m)) or own(m))
    wanted = spec(columns=tuple(range(300)))
    assert _smoothing.may_be_gaussian(table, wanted, weight) is not heavy
    monkeypatch.setattr(_smoothing, "wide", lambda rows: False)
    assert _smoothing.may_be_gaussian(table, wanted, weight) is not heavy
    assert shapes == [40, 300]
