"""What rows cost that are like none before."""

import numpy as np
import pytest
import torch

from adaptive_vq import HierarchicalVQVAE
from adaptive_vq._bench import Bench
from adaptive_vq._foresight import Optimism
from adaptive_vq._novelty import are_known, novel_error, surprise_error
from adaptive_vq.curves import measure


def rare(n, seed=0):
    """Two columns whose large values are rare, and rarer still together."""
    values = np.minimum(np.random.default_rng(seed).geometric(0.5, size=(n, 2)), 6)
    return (values.astype(np.float32) ** 2) / 4.0


@pytest.mark.parametrize("unit", [1, 1.5])  # numbers of rows, and fractions, which are none
def test_rows_that_came_once_stand_for_those_that_did_not_come(unit):
    rows, weight = rare(600), np.arange(2.0, 602.0) % 3
    repeats = weight.astype(int) if unit == 1 else weight > 0
    counted = np.repeat(rows, repeats, axis=0)
    away = ((counted[:, None] - counted[None]) ** 2).sum(2)
    np.fill_diagonal(away, np.inf)
    mass = None if unit == 1 else weight[weight > 0]
    expected = np.average(away.min(1), weights=mass)
    assert expected > 0
    assert novel_error(rows, unit * weight) == pytest.approx(expected)


def test_a_table_of_frequencies_holds_no_row_that_came_once():
    values = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    often = np.random.default_rng(0).integers(20, 40, size=100)
    assert novel_error(values.astype(np.float32), often.astype(float)) == 0.0
    vq = HierarchicalVQVAE(auto_compression_strategy="uniform", bits=8, max_epochs=0)
    told = vq.fit(values, sample_weight=often).decisions_["predicted_nmse"]
    assert told.to_numpy() == pytest.approx(
        vq.training_["error"].sum() / vq.training_["energy"].sum()
    )


def test_the_estimate_is_right_on_average():
    estimates, true = [], []
    for seed in range(60):
        rows, new = rare(800, seed), rare(4_000, 1_000 + seed)
        estimates.append(novel_error(rows, np.ones(800)))
        away = (((new[:, None] - np.unique(rows, axis=0)[None]) ** 2).sum(2)).min(1)
        true.append(away.mean())
    assert np.mean(estimates) == pytest.approx(np.mean(true), rel=0.2)


@pytest.mark.parametrize("unit", [1, 1.5])
def test_a_row_is_lost_more_rarely_the_more_new_ones_were_not(unit):
    rows, weight = rare(600), unit * (np.arange(2.0, 602.0) % 3)
    seen = rows[weight > 0]
    distinct, first, count = np.unique(seen, axis=0, return_index=True, return_counts=True)
    if unit == 1:
        count = [weight[weight > 0][(seen == row).all(1)].sum() for row in distinct]
    away = ((distinct[:, None] - distinct) ** 2).sum(2)
    np.fill_diagonal(away, np.inf)
    once = np.array(count) == 1
    mass = weight[weight > 0][first][once]
    share, cost = mass.sum() / weight.sum(), np.average(away.min(1)[once], weights=mass)
    for n_judged in (10, 1_000):
        found = surprise_error(rows, weight, n_judged)
        assert found == pytest.approx(share * cost * 0.1 / (share * n_judged + 1.1), rel=1e-5)


@pytest.mark.parametrize(
    "rows",
    [np.zeros((0, 2)), np.ones((1, 2)), np.ones((90, 2)), [[0, 1]] * 4 + [[1, 1]] * 4, np.eye(50)],
)
def test_no_row_is_a_surprise_where_all_repeat_or_most_are_like_no_other(rows):
    rows = np.array(rows, dtype=np.float32)
    assert surprise_error(rows, np.ones(len(rows)), 10) == 0.0


def test_of_many_rows_some_tell_what_a_surprise_costs():
    rows = np.concatenate([np.zeros(1_000), 1.0 + np.arange(700)]).astype(np.float32)[:, None]
    rows[-300:] *= 1_000  # not among those compared
    found = surprise_error(rows, np.ones(1_700), 0)
    assert found == pytest.approx(700 / 1_700 * 0.1 / 1.1)


def test_columns_that_tell_all_apart_alone_are_not_coded_together():
    # Together most flags repeat others, and next to nothing is left of those kept aside. Alone no
    # flag can be lost, and the value of many can be told as well.
    rng = np.random.default_rng(0)
    share, value = rng.uniform(0.05, 0.4, size=9), np.round(rng.normal(size=900), 2)
    rows = np.column_stack([rng.random((900, 9)) < share, value]).astype(np.float32)
    together = {"flags": np.arange(9), "value": np.array([9])}
    assert novel_error(rows[:, :9], np.ones(900)) is None
    found = measure(rows, [{"all": np.arange(10)}, together], 32, "total", 1, 0, most_alone=25)
    assert len(found.categories) == 10


def test_known_rows_are_those_with_an_equal():
    rows = np.float32([[-0.0, 1], [2, 3], [0, 3], [2, 1]])
    assert are_known(rows, np.float32([[0, 1], [2, 3]])).tolist() == [True, True, False, False]


def test_nothing_is_said_of_rows_that_seldom_repeat_and_of_what_never_varies():
    seldom = np.arange(80, dtype=np.float32).repeat(19).reshape(-1, 1)
    assert novel_error(seldom, np.ones(len(seldom))) is None
    often = np.vstack([seldom, seldom[::19]])  # every value 20 times on average
    assert novel_error(often, np.ones(len(often))) == 0.0
    assert novel_error(np.ones((9, 2), np.float32), np.ones(9)) == 0.0
    assert novel_error(seldom, np.zeros(len(seldom))) is None


def bench_and_node(rows):
    bench = Bench(rows, 0)
    (node,) = bench.nodes([np.arange(2)])
    return bench, node


def test_a_single_row_says_nothing_of_what_others_would_cost():
    rows = np.float32([[1.0], [5.0]])
    assert novel_error(rows[:1], np.ones(1)) == 0.0
    assert novel_error(rows, np.array([1.0, 0.0])) == 0.0


def test_curves_end_at_what_new_rows_cost_on_average():
    bench, node = bench_and_node(rare(3_000))
    (fold,) = bench.folds
    rows, weight = fold.every(torch.arange(2))
    assert len(rows) == 3_000
    expected, known = novel_error(rows, weight), are_known(fold.valid.numpy(), fold.train.numpy())
    assert 0 < (~known).sum() < 20
    assert expected > 0.0
    assert node.curve(16)[-1] == pytest.approx(expected, abs=1e-6)
    # Without bits, all that is known of rows, and what new ones cost beyond that.
    mean = fold.train.mean(0)
    energy = (fold.valid[torch.from_numpy(known)] - mean).square().sum(1).mean()
    assert node.curve(16)[0] == pytest.approx(float(energy) + expected, rel=1e-5)


def test_where_all_rows_kept_aside_are_new_they_count():
    rows = np.repeat(np.arange(8, dtype=np.float32), 2).reshape(8, 2)
    rows[1::2] += np.float32(0.5)
    bench, node = bench_and_node(rows)
    assert all(fold.weight_of_known(torch.arange(2)).all() for fold in bench.folds)
    assert np.isfinite(node.curve(2)).all()
    assert node.curve(2)[0] > 0.0


def test_columns_that_are_rarely_large_together_are_told_apart():
    # Both cuts code the training rows without error; together they may meet what they never saw.
    rows = rare(900)
    together, apart = {"both": np.array([0, 1])}, {"a": np.array([0]), "b": np.array([1])}
    found = measure(rows, [together, apart], 8, "total", 1, 0)
    assert set(found.categories) == {"a", "b"}
    energy = rows.var(axis=0).sum()
    alone = sum(novel_error(rows[:, [column]], np.ones(900)) for column in (0, 1))
    assert found.cuts[1] * energy == pytest.approx(novel_error(rows, np.ones(900)), rel=0.1)
    assert found.cuts[2] * energy == pytest.approx(alone, rel=0.1, abs=1e-5)


def test_predictions_of_few_values_are_what_is_left_of_known_rows_and_what_new_ones_cost():
    optimism = Optimism(
        {"a": None, "b": 2.0, "c": 2.0}, dict.fromkeys("abc", 0.5), {"a": 0.1, "b": 0.2}
    )
    predicted = optimism.predict({"a": 0.0, "b": 0.1, "c": 0.1})
    assert predicted == {"a": 0.1, "b": pytest.approx(0.3), "c": 0.2}
    X = rare(800)
    codec = HierarchicalVQVAE(bits=16, max_epochs=0, scaler=None, clip=None, random_state=0).fit(X)
    assert codec.score(X) == pytest.approx(1.0, abs=1e-5)
    for name, columns in codec.categories_.items():
        cells = X[:, columns]
        expected = novel_error(cells, np.ones(800)) / cells.var(0).sum()
        assert codec.decisions_.loc[name, "predicted_nmse"] == pytest.approx(expected, rel=0.01)
