"""Columns that stand still here and varied in training, and the other way round, are told."""

import numpy as np
import pandas as pd
import pytest

from adaptive_vq import FeatureCleaner, HierarchicalVQVAE, diagnose
from adaptive_vq._statistics import outside_limits
from adaptive_vq._stuck import equal_chance, off_constant
from adaptive_vq.diagnosis import Diagnosis
from adaptive_vq.recommendations import Recommendation
from adaptive_vq.units import CodecUnits


def make_table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cells = np.repeat(rng.normal(size=(n, 2)), 2, axis=1) + 0.1 * rng.normal(size=(n, 4))
    return pd.DataFrame(cells, columns=list("abcd")).assign(
        flag=(rng.random(n) < 0.01).astype(float), still=7.0
    )


def fit(X: pd.DataFrame, **parameters) -> HierarchicalVQVAE:
    return HierarchicalVQVAE(
        auto_compression_strategy="water_filling", bits=16, max_epochs=0, random_state=0,
        **parameters,
    ).fit(X)  # fmt: skip


@pytest.fixture(scope="module")
def vq() -> HierarchicalVQVAE:
    return fit(make_table(600))


def report(codec: HierarchicalVQVAE, X: pd.DataFrame) -> Diagnosis:
    return diagnose(codec, X, embedding=None)


def shifts(diagnosis: Diagnosis) -> list[Recommendation]:
    return [r for r in diagnosis.recommendations if r.rule.startswith("shift")]


@pytest.mark.parametrize("scaler", ["standard", "robust", "quantile", None])
def test_sensor_stuck_at_its_mean_is_told(scaler):
    table = make_table(600)
    codec = fit(table, scaler=scaler)
    (advice,) = shifts(report(codec, make_table(100, seed=1).assign(b=table["b"].mean())))
    assert (advice.rule, advice.subject) == ("shift_stuck", "b")
    assert advice.value < advice.threshold
    assert "1 column is constant here" in advice.message


def test_several_stuck_sensors_are_told_at_once_least_likely_first(vq):
    given = make_table(100, seed=1).assign(a=0.5, b=0.0)
    own = report(vq, given)
    (advice,) = [r for r in shifts(own) if r.rule == "shift_stuck"]
    assert advice.subject == own.columns["equal_chance"].idxmin()
    assert "2 columns are constant here, and varied in training: '" in advice.message
    assert f"the chance that {advice.subject!r} is constant is at most" in advice.message


def test_flag_that_is_rarely_set_is_not_stuck(vq):
    own = report(vq, make_table(100, seed=1).assign(flag=0.0))
    assert not shifts(own)
    assert own.columns["equal_chance"].notna().tolist() == [False] * 4 + [True, False]
    (advice,) = shifts(report(vq, make_table(3000, seed=1).assign(flag=0.0)))
    assert (advice.rule, advice.subject) == ("shift_stuck", "flag")


def test_few_rows_or_cells_are_not_told_to_be_stuck(vq):
    assert not shifts(report(vq, make_table(29, seed=2).assign(b=0.0)))
    gappy = make_table(200, seed=1).assign(b=0.0)
    gappy.loc[29:, "b"] = np.nan
    assert [r.rule for r in shifts(report(vq, gappy))] == ["shift_missing"]


@pytest.mark.parametrize(("clip", "rule"), [("auto", "shift_capped"), (None, "shift_constant")])
def test_column_constant_in_training_that_varies_is_told_once(clip, rule):
    given = make_table(100, seed=1).assign(still=np.arange(100) % 4)
    codec = fit(make_table(600), clip=clip)
    own = report(codec, given)
    assert own.columns["off_constant"].dropna().to_dict() == {"still": 1.0}
    (advice,) = shifts(own)
    assert (advice.rule, advice.subject) == (rule, "still")
    rare = make_table(100, seed=1)
    rare.loc[:3, "still"] = 8.0
    assert not shifts(report(codec, rare))


def test_column_without_a_cell_in_training_that_has_cells_is_told():
    with pytest.warns(UserWarning, match="'late'. have no observed cell"):
        codec = fit(make_table(600).assign(late=np.nan))
    given = make_table(100, seed=1).assign(late=np.nan)
    assert not shifts(report(codec, given))
    given.loc[:9, "late"] = 1.0
    assert not shifts(report(codec, given))
    given.loc[:49, "late"] = 1.0
    (advice,) = shifts(report(codec, given))
    assert (advice.rule, advice.subject, advice.value) == ("shift_observed", "late", 0.5)
    assert "(observed, and in training in no row; limit 0.2): 'late'" in advice.message


@pytest.mark.parametrize("scaler", ["standard", "robust"])
def test_rows_rounded_to_float32_have_not_left_the_caps(scaler):
    tenths = np.random.default_rng(1).choice([0.0, 0.1], 400)
    X = make_table(400).assign(still=0.1, flag=tenths, second=1.6e9 + 0.1 * np.arange(400))
    codec = fit(X, scaler=scaler, clip=(0, 100))
    rounded = X.assign(still=np.float32(0.1), flag=tenths.astype(np.float32))
    own = report(codec, rounded)
    assert own.columns["capped"].tolist() == [0.0] * 7
    assert not shifts(own)
    moved = X.assign(still=0.1001, flag=tenths * 1.01, second=X["second"] + 20)
    share = report(codec, moved).columns["capped"]
    assert share[["still", "flag", "second"]].round(9).tolist() == [1, np.mean(tenths > 0), 0.5]


def test_limits_of_any_size_tell_what_is_outside():
    limits = np.array([[-1e308, 5e-324, 0.1], [1e308, 1e-310, 0.1]])
    cells = np.array([[1.5e308, 0.0, np.float32(0.1)], [0.0, 1e-320, 0.1], [-2e307, 1e-300, 0.2]])
    with np.errstate(all="raise"):
        outside = outside_limits(cells, *limits)
    assert outside.tolist() == [[True, True, False], [False, False, False], [False, True, True]]


def test_rows_rounded_to_float32_have_not_left_the_caps_of_a_cleaner():
    tenths = np.random.default_rng(1).choice([0.0, 0.1], 400)
    X = make_table(400).assign(flag=tenths)
    codec = fit(X, cleaner=FeatureCleaner(caps="percentile"), clip=None)
    own = report(codec, X.assign(flag=tenths.astype(np.float32)))
    assert own.columns["capped"]["flag"] == 0
    assert own.columns["capped"]["a"] == own.columns["training_capped"]["a"] > 0
    moved = report(codec, X.assign(flag=tenths * 1.01))
    assert moved.columns["capped"]["flag"] == np.mean(tenths > 0)


def test_equal_chance_is_reached_by_two_values_and_no_less_by_others():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        units = CodecUnits(clip=(0, 100)).fit(
            np.repeat([0.0, 1.0], [1000 * share, 1000 - 1000 * share])[:, None]
        )
        found = equal_chance(units, np.zeros((4, 1)))
        assert found[0] == pytest.approx(share**4, rel=1e-3)
    training = rng.choice([0.0, 1.0, 5.0, -3.0], p=[0.6, 0.2, 0.1, 0.1], size=(1000, 1))
    found = equal_chance(CodecUnits(clip=(0, 100)).fit(training), np.zeros((4, 1)))
    assert np.mean(training == 0) ** 4 <= found[0] < 1.0


def test_nothing_is_made_up_where_caps_or_spread_are_unknown():
    X = np.column_stack([np.arange(10.0), np.full(10, 2.0), np.full(10, np.nan)])
    for clip in (None, (0.0, 100.0)):
        units = CodecUnits(clip=clip).fit(X)
        found = equal_chance(units, np.full((5, 3), 3.0))
        assert np.isfinite(found).tolist() == [clip is not None, False, False]
        target = units.targets(np.column_stack([np.arange(4.0), [2, 2, 9, np.nan], np.ones(4)]))
        assert off_constant(units, target)[1] == pytest.approx(1 / 3)
        assert np.isnan(off_constant(units, target)[[0, 2]]).all()


def test_one_cell_and_cells_that_nearly_agree_are_not_equal_by_chance():
    units = CodecUnits(clip=(0, 100)).fit(np.array([[-1.0], [1.0]]))
    gappy = np.array([[1.0], [np.nan], [np.nan]])
    assert np.isnan(equal_chance(units, gappy)).all()
    assert np.isnan(equal_chance(units, np.array([[1.0], [np.nextafter(1.0, 0.0)]]))).all()
    gappy[2] = 1.0
    assert equal_chance(units, gappy).tolist() == [0.25]
