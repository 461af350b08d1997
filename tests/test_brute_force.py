"""Formulas and fits against brute force and other implementations."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import RobustScaler

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    diagnose,
    fitting,
)
from adaptive_vq._moved_network import _with_settled_tables
from adaptive_vq._statistics import column_quantiles
from adaptive_vq.estimation import module_of, rows_of
from adaptive_vq.spectra import exact_bits
from adaptive_vq.units import CodecUnits


def codec(*args, **parameters) -> HierarchicalVQVAE:
    return HierarchicalVQVAE(*args, **{"max_epochs": 0, "random_state": 0, **parameters})


# --------------------------------------------------------------------------------------- plans
@pytest.mark.parametrize("strategy", ["water_filling", "uniform"])
def test_no_error_is_predicted_that_one_codebook_cannot_keep(strategy):
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(490, 8))[rng.integers(0, 490, size=10_000)]
    table = np.hstack([patterns, rng.normal(size=(10_000, 4)) @ rng.normal(size=(4, 4))])
    given = FeatureCharacterizer({"d": [*range(8)], "c": [8, 9, 10, 11]}, clip=None)
    plan = AdaptiveRatioSelector(strategy, bits=24, clip=None, characterizer=given).fit(table)
    assert sum(plan.bits_["d"]) > 9
    assert plan.decisions_.loc["d", "predicted_nmse"] > 0


@pytest.mark.parametrize(("n_values", "bits"), [(200, 8), (256, 8), (300, None)])
def test_few_values_are_told_in_any_order(n_values, bits):
    values = np.arange(50_000, dtype=np.float32)[:, None] % n_values
    assert exact_bits(values, 50_000) == bits
    assert exact_bits(np.sort(values, axis=0), 50_000) == bits


def test_a_target_counts_rows_by_their_weight():
    rng = np.random.default_rng(0)
    table = np.zeros((600, 6))
    table[:300, :3] = rng.normal(size=(300, 1)) + 0.1 * rng.normal(size=(300, 3))
    table[300:, 3:] = rng.normal(size=(300, 1)) + 0.1 * rng.normal(size=(300, 3))
    weight = np.where(np.arange(600) < 300, 20.0, 1.0)
    given = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]}, scaler=None, clip=None)
    settings = {"max_nmse": 0.05, "scaler": None, "clip": None, "characterizer": given}
    plan = AdaptiveRatioSelector("rate_distortion", random_state=0, **settings)
    plan.fit(table, sample_weight=weight)
    predicted = plan.decisions_["predicted_nmse"]
    centered = table - np.average(table, axis=0, weights=weight)
    of_column = weight @ centered**2
    shares = {"a": of_column[:3].sum(), "b": of_column[3:].sum()}
    total = sum(shares[n] * predicted[n] for n in shares) / sum(shares.values())
    assert 0.02 < total <= 0.05  # reached, and not by far too many bits


# -------------------------------------------------------------------------------------- weights
def test_quantiles_of_fractional_weights_reach_the_extremes():
    values = np.sort(np.random.default_rng(0).normal(size=(1000, 1)), axis=0)
    for weight in (
        np.where(np.arange(1000) < 500, 1.98, 0.02),
        np.random.default_rng(1).lognormal(size=1000),
    ):
        levels = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
        found = column_quantiles(values, weight, levels)[:, 0]
        assert (found[0], found[-1]) == (values[0, 0], values[-1, 0])
        turned = column_quantiles(-values, weight, 1 - levels)[:, 0]
        np.testing.assert_allclose(found, -turned, atol=1e-9)
        heights = np.cumsum(weight) / weight.sum()
        share = np.interp(found[1:-1], values[:, 0], heights)
        np.testing.assert_allclose(share, levels[1:-1], atol=0.005)


def test_quantiles_of_whole_weights_are_those_of_repeated_cells():
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=(50, 1)), rng.integers(1, 5, 50)
    levels = np.linspace(0, 1, 23)
    found = column_quantiles(values, weight.astype(float), levels)
    np.testing.assert_allclose(found, np.quantile(values.repeat(weight, 0), levels, axis=0))


@pytest.mark.parametrize("weight", [2.0**60, 1e14])
def test_rows_of_any_weight(weight):
    table = np.random.default_rng(0).normal(size=(300, 6))
    few = np.where(np.arange(300) % 3 == 0, weight, 1.0)
    for given in (few, np.full(300, weight)):
        fitted = codec(bits=24, auto_compression_strategy="water_filling")
        assert np.isfinite(fitted.fit(table, sample_weight=given).score(table))


# -------------------------------------------------------------------------------- missing cells
def related(n_rows, sign=1.0):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n_rows, 2))
    own = factors @ rng.normal(size=(2, 6)) + 0.05 * rng.normal(size=(n_rows, 6))
    other = sign * factors @ rng.normal(size=(2, 1)) + 0.05 * rng.normal(size=(n_rows, 1))
    return np.hstack([own, other])


PAIR = FeatureCharacterizer({"a": list(range(6)), "b": [6]}, clip=None)


def of_pair(**parameters):
    plan = AdaptiveRatioSelector("water_filling", bits=16, characterizer=PAIR, clip=None)
    sizes = {"a": [16, 16, 16], "b": 1}
    return codec(plan, clip=None, codebook_sizes=sizes, **parameters)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_missing_cells_have_no_weight_in_joint_tables(share):
    table = related(3000)
    holes = np.random.default_rng(1).random(3000) < share
    seen = table.copy()
    seen[holes, 6] = np.nan
    fitted = of_pair().fit(seen)
    error = (fitted.reconstruct(seen)[~holes, 6] - table[~holes, 6]) ** 2
    assert error.mean() < {0.5: 0.1, 0.9: 0.3}[share] * table[:, 6].var()
    # The same decoder as where only the rows with the cell are there to fit it.
    for n_levels in (1, 2):
        codes = fitted.transform(seen)
        of_level = codes[:, : len([n for n in fitted.codebooks_ if int(n[4]) < n_levels])]
        rows = fitted.inverse_transform(of_level, n_levels)
        assert ((rows[~holes, 6] - table[~holes, 6]) ** 2).mean() < 0.6 * table[:, 6].var()


def test_missing_cells_have_no_weight_in_partial_fit():
    turned, holes = related(3000, sign=-1.0), np.random.default_rng(1).random(3000) < 0.5
    seen = turned.copy()
    seen[holes, 6] = np.nan

    def error_after(rows):
        learned = of_pair().fit(related(3000)).partial_fit(rows)
        error = (learned.reconstruct(seen)[~holes, 6] - turned[~holes, 6]) ** 2
        return error.mean() / turned[:, 6].var()

    assert error_after(seen) < 1.2 * error_after(turned[~holes]) < 1.0


def test_missing_cells_have_no_weight_in_tables_of_moved_networks():
    table, holes = related(1500), np.random.default_rng(1).random(1500) < 0.7
    table[holes, 6] = np.nan
    fitted = of_pair().fit(table)
    module, rows = module_of(fitted), rows_of(*fitted._codec_rows(table), None)
    noise = torch.Generator().manual_seed(0)
    for name, entries in module.named_buffers():
        if name.startswith("delta_3_"):
            entries[:, 6] += 0.5 * torch.randn(len(entries), generator=noise)
    codes = module.encode(rows.table, 8)

    def error(network):
        left = (rows.table - network.decode(codes, 3))[:, 6].square()
        return float((left * rows.weight[:, 6]).sum() / rows.weight[:, 6].sum())

    assert error(_with_settled_tables(module, rows, codes, 30.0)) < 0.3 * error(module)


# ------------------------------------------------------------------------------------- training
def test_the_unit_of_the_loss_does_not_depend_on_where_the_table_is():
    table = np.random.default_rng(0).normal(size=(600, 2)) @ np.ones((2, 8))
    table += 0.3 * np.random.default_rng(1).normal(size=table.shape)
    losses = []
    for offset in (0.0, 300.0):
        fitted = codec(bits=8, scaler=None, clip=None, max_epochs=1).fit(table + offset)
        losses.append(fitted.history_[0]["train_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.fixture(scope="module")
def heavy() -> np.ndarray:
    rng = np.random.default_rng(0)
    scale = np.exp(1.5 * rng.normal(size=(2000, 1)))
    return scale * (rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 6)))


def test_joint_codes_of_a_codec_with_spreads_are_refused(heavy):
    fitted = codec(bits=24, auto_compression_strategy="water_filling").fit(heavy)
    assert fitted.spreads_
    with pytest.raises(ValueError, match="fit it again with context='joint'"):
        fitted.set_params(context="joint").transform(heavy)
    warm = fitted.set_params(warm_start=True).fit(heavy)
    cold = codec(bits=24, auto_compression_strategy="water_filling", context="joint").fit(heavy)
    np.testing.assert_array_equal(warm.transform(heavy), cold.transform(heavy))


def test_joint_codes_are_searched_again_after_their_decoder_has_changed(monkeypatch):
    table = np.random.default_rng(0).normal(size=(60, 6))
    asked = []

    def refitted_once(module, rows, codes):
        asked.append(codes)
        if len(asked) > 1:
            return False
        for name, buffer in module.named_buffers():
            if name.startswith("delta_"):
                buffer += 0.1 * torch.sign(torch.arange(buffer.numel()) % 2 - 0.5).view_as(buffer)
        return True

    monkeypatch.setattr(fitting, "settle_prefixes", refitted_once)
    joint = codec(bits=20, context="joint", auto_compression_strategy="uniform").fit(table)
    assert len(asked) == 2
    assert not torch.equal(asked[0], asked[1])  # what is settled now are the codes of the new one
    codes = joint.transform(table)
    for j, words in enumerate(joint.codebooks_.values()):
        assert len(np.unique(codes[:, j])) == len(words)


def test_units_of_few_fractional_cells():
    table = np.full((30, 2), np.nan)
    table[:, 1] = np.arange(30)
    table[:3, 0] = [0.0, 10.0, 4.0]
    weight = np.where(np.arange(30) < 3, 0.2, 1.1)
    units = CodecUnits("quantile", None).fit(table, weight)
    back = units.from_codec(units.to_codec(table))[:3, 0]
    np.testing.assert_allclose(back, [0.0, 10.0, 4.0], atol=1e-3)


def test_torch_is_seeded_apart():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    codec(bits=8, auto_compression_strategy="water_filling").fit(related(100))
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------- cells beyond float32
@pytest.mark.parametrize("scaler", ["standard", None, RobustScaler()])
@pytest.mark.parametrize("cleaner", [None, FeatureCleaner()])
def test_what_is_capped_for_coding_is_scored_as_it_is(scaler, cleaner):
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(150, 2)), 3, axis=1) + 0.3 * rng.normal(size=(150, 6))
    Y = X.copy()
    Y[3, 2] = 1e60  # float32 ends at 3e38
    fitted = codec(bits=8, cleaner=cleaner, scaler=scaler).fit(X)
    assert fitted.transform(Y).shape[0] == 150
    assert fitted.score(Y) == pytest.approx(0.0, abs=1e-12)  # all error, and all variance, is its
    report = diagnose(fitted, Y, embedding=None)
    assert report.summary["quality"] == fitted.score(Y)
    assert report.categories["nmse"].max() == pytest.approx(1.0)
    Y[3, 2] = 1e151
    with pytest.raises(ValueError, match="Column 'x2' has cells beyond 1e150 in codec units"):
        fitted.score(Y)


def test_targets_are_those_of_float32_where_it_can_hold_them():
    X = np.random.default_rng(0).normal(size=(50, 3))
    units = CodecUnits(clip=None).fit(X)
    Y = X.copy()
    Y[7, 1], expected = -1e60, units.to_codec(X).astype(np.float64)
    expected[7, 1] = (-1e60 - units.center_[1]) / units.scale_[1]
    np.testing.assert_array_equal(units.targets(Y), expected)
    with pytest.raises(ValueError, match="'x1' has cells too large for float32"):
        units.to_codec(Y)


def test_cells_of_a_column_that_was_empty_may_be_anything():
    X = np.random.default_rng(0).normal(size=(50, 3))
    X[:, 1] = np.nan
    units = CodecUnits(clip=None).fit(X)
    X[7, 1] = 1e60
    assert np.isnan(units.to_codec(X)[:, 1]).all()
    assert np.isnan(units.targets(X)[:, 1]).all()
