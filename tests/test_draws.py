"""Rows drawn beside those to fit on."""

import pytest
import torch

from adaptive_vq import _draws


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, k, seed=0):
    return torch.randn(n, k, generator=generator(seed))


def test_bootstrap_keeps_rows_mean_and_covariance():
    rows = normal(4000, 3) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]])
    more, weight = _draws.smoothed_bootstrap(rows, 0.5, 3, generator())
    assert weight.tolist() == [1.0] * len(more)
    assert more.shape == (16_000, 3)
    assert torch.equal(more[:4000], rows)
    torch.testing.assert_close(more[4000:].mean(0), rows.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(more[4000:].T.cov(), rows.T.cov(), atol=0.15, rtol=0.05)


def test_bootstrap_keeps_weighted_mean_and_covariance_at_any_level_and_scale():
    few = normal(4000, 2, seed=3)
    weight = torch.where(few[:, 0] > 0, 6.0, 2.0)
    for scale, level in ((1e-3, 0.0), (1.0, 5.0), (1e3, -2e3)):
        rows = scale * few + level
        more, weights = _draws.smoothed_bootstrap(rows, 1.0, 4, generator(), weight)
        assert torch.equal(weights[:4000], weight)
        share = (weight / weight.sum())[:, None].double()
        mean = (rows.double() * share).sum(0)
        covariance = ((rows - mean).T * share[:, 0]) @ (rows - mean)
        drawn, w = more[4000:].double(), weights[4000:, None].double() / weights[4000:].sum()
        # A draw keeps its row's weight, so that the weighted draws have the weighted moments, but
        # for the noise, whose covariance is that of all.
        found = (drawn * w).sum(0)
        torch.testing.assert_close(found, mean, atol=0.06 * scale, rtol=0)
        spread = ((drawn - found).T * w[:, 0]) @ (drawn - found)
        torch.testing.assert_close(spread, covariance, atol=0.15 * scale**2, rtol=0)


def test_bootstrap_without_width_repeats_rows():
    rows = normal(50, 2).exp() + 3  # skewed, away from zero
    more, _ = _draws.smoothed_bootstrap(rows, 0.0, 2, generator())
    assert float(torch.cdist(more[50:].double(), rows.double()).amin(1).max()) < 1e-5
    assert len(more[50:].round(decimals=3).unique(dim=0)) > 20


def test_bootstrap_of_columns_that_depend_on_each_other():
    rows = normal(100, 1).repeat(1, 3) * torch.tensor([1.0, 2.0, 0.0])
    more, _ = _draws.smoothed_bootstrap(rows, 0.5, 1, generator())
    assert torch.isfinite(more).all()
    assert float((more[:, 1] - 2 * more[:, 0]).abs().max()) < 0.05


def test_bootstrap_is_fixed_by_its_generator_alone():
    rows, drawn = normal(300, 4), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        drawn.append(_draws.smoothed_bootstrap(rows, 0.5, 1, generator())[0])
    assert torch.equal(*drawn)


def test_draws_lie_between_a_row_and_a_neighbour_with_weight():
    clusters = torch.cat([normal(40, 2), 100 + normal(40, 2)])
    weight = torch.cat([torch.ones(30), torch.zeros(10), 2 * torch.ones(40)])
    clusters[30:40] += 50.0
    rows, mass = _draws.between_neighbours(clusters, 3, generator(), weight)
    assert torch.equal(rows[:80], clusters)
    assert torch.equal(mass, weight.repeat(4))
    drawn = rows[80:][mass[80:] > 0]
    assert not bool(((drawn > 10) & (drawn < 90)).any())  # between no two clusters, nor at weight 0
    assert len(drawn.unique(dim=0)) == len(drawn)
    step = rows[80:].view(3, 80, 2) - clusters
    other = clusters[_draws._neighbours(clusters, weight, 20)] - clusters[:, None]
    for draw in step:
        share = (draw[:, None] * other).sum(2) / other.square().sum(2).clamp_min(1e-9)
        away = (draw[:, None] - share[:, :, None] * other).square().sum(2)
        place = away.argmin(1, keepdim=True)
        assert float(away.gather(1, place).amax()) < 1e-6
        assert float(share.gather(1, place).amin()) >= 0.0
        assert float(share.gather(1, place).amax()) <= 0.8 + 1e-4


def test_neighbours_are_the_nearest_others_with_weight():
    rows, weight = normal(1500, 4), torch.ones(1500)
    weight[::3] = 0.0
    distance = torch.cdist(rows.double(), rows.double())
    distance.fill_diagonal_(torch.inf)
    distance[:, ::3] = torch.inf
    nearest = distance.topk(5, largest=False).indices.sort(1).values
    found = _draws._neighbours(rows, weight, 5).sort(1).values
    assert float((found == nearest).float().mean()) > 0.999  # ties of rounding


@pytest.mark.parametrize("n", [0, 1, 2])
def test_draws_of_hardly_any_rows(n):
    rows, mass = _draws.between_neighbours(normal(3, 2)[:n], 2, generator(), torch.ones(n))
    assert len(rows) == len(mass) == (6 if n == 2 else n)
