import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    QuantileTransformer,
    StandardScaler,
)

from adaptive_vq import HierarchicalVQVAE
from adaptive_vq.diagnosis import diagnose
from adaptive_vq.units import AUTO_CLIP, AUTO_SCALER, CodecUnits, resolve_units

SCALERS = ["standard", "robust", "quantile", None]
NAMED = ["standard", "robust", "quantile"]


def make_hard_table(n=400, seed=0):
    """Columns that break naive scaling; the last one is missing throughout."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=n)
    return np.column_stack(
        [
            1e-12 * normal,
            1e12 * (1000 + normal),
            np.exp(4 * normal),  # kurtosis in the thousands
            np.full(n, 0.1),
            np.arange(n) == 7,
            np.where(rng.random(n) < 0.9, 0.0, normal),
            np.where(rng.random(n) < 0.4, np.nan, normal),
            np.full(n, np.nan),
        ]
    )


# ---------------------------------------------------------------------------- resolve_units
def test_auto_takes_the_default_then_the_note():
    scaler, clip, note = resolve_units("auto", "auto", None, "A")
    assert (scaler, clip) == (AUTO_SCALER, AUTO_CLIP)
    assert note["explicit"] is False
    assert note["by"] == "A"
    _, _, note = resolve_units("robust", (1, 99), None, "A")
    assert json.loads(json.dumps(note)) == note
    scaler, clip, later = resolve_units("auto", "auto", note, "B")
    assert (scaler, clip) == ("robust", (1.0, 99.0))
    assert later == note


def test_none_is_a_value_and_travels():
    _, _, note = resolve_units(None, None, None, "A")
    assert resolve_units("auto", "auto", note, "B")[:2] == (None, None)


def test_explicit_replaces_a_default():
    _, _, note = resolve_units("auto", "auto", None, "A")
    scaler, _, note = resolve_units("robust", "auto", note, "B")
    assert scaler == "robust"
    assert note["by"] == "B"
    assert note["explicit"] is True


def test_equal_explicit_values_agree():
    _, _, note = resolve_units("robust", [0.5, 99.5], None, "A")
    assert resolve_units("robust", (0.5, 99.5), note, "B")[0] == "robust"


@pytest.mark.parametrize(
    ("scaler", "clip", "message"),
    [
        ("standard", "auto", "B has scaler='standard', but A before it has scaler='robust'"),
        (None, "auto", "B has scaler=None, but A"),
        (MinMaxScaler(), "auto", r"B has scaler=MinMaxScaler\(\), but A"),
        ("auto", (2, 98), r"B has clip=\(2.0, 98.0\), but A before it has clip=\[1.0, 99.0\]"),
        ("auto", None, "B has clip=None, but A"),
    ],
)
def test_conflicts_name_both_classes_and_values(scaler, clip, message):
    _, _, note = resolve_units("robust", (1, 99), None, "A")
    with pytest.raises(ValueError, match=message):
        resolve_units(scaler, clip, note, "B")


def test_conflicts_are_judged_per_parameter():
    _, _, note = resolve_units("robust", "auto", None, "A")
    _, clip, note = resolve_units("auto", (1, 99), note, "B")
    assert clip == (1.0, 99.0)
    with pytest.raises(ValueError, match="but B before it has clip"):
        resolve_units("auto", None, note, "C")
    with pytest.raises(ValueError, match="but A before it has scaler"):
        resolve_units("standard", "auto", note, "C")
    # A table serves several codecs: what one of them sets is no earlier step of the next.
    _, _, note = resolve_units("robust", "auto", None, "A")
    resolve_units("auto", (1, 99), note, "B")
    assert resolve_units("auto", (2, 98), note, "C")[1] == (2.0, 98.0)


def test_a_note_without_details_counts_as_explicit_in_both():
    note = {"scaler": "robust", "clip": None, "explicit": True, "by": "A"}
    assert resolve_units("auto", "auto", note, "B")[:2] == ("robust", None)
    with pytest.raises(ValueError, match="A before it"):
        resolve_units("standard", "auto", note, "B")


def test_a_transformer_does_not_travel_but_agrees_with_itself():
    _, _, note = resolve_units(MinMaxScaler(), "auto", None, "A")
    with pytest.raises(ValueError, match=r"A uses scaler=MinMaxScaler.*on B too"):
        resolve_units("auto", "auto", note, "B")
    assert isinstance(resolve_units(MinMaxScaler(), "auto", note, "B")[0], MinMaxScaler)
    with pytest.raises(ValueError, match="StandardScaler"):
        resolve_units(StandardScaler(), "auto", note, "B")

    class Plain:  # its repr is where it stands in memory
        fit = transform = inverse_transform = None

    _, _, note = resolve_units(Plain(), "auto", None, "A")
    assert isinstance(resolve_units(Plain(), "auto", note, "B")[0], Plain)


@pytest.mark.parametrize("scaler", ["standrad", 3, StandardScaler, object()])
def test_what_is_no_scaler_is_refused(scaler):
    with pytest.raises(ValueError, match="standard"):
        resolve_units(scaler, "auto", None, "A")
    with pytest.raises(ValueError, match="standard"):
        CodecUnits(scaler).fit(np.ones((3, 1)))


@pytest.mark.parametrize("clip", [(5, 5), (-1, 99), (1, 101), (1,), 3, "both", (np.nan, 99)])
def test_what_is_no_pair_of_percentiles_is_refused(clip):
    with pytest.raises(ValueError, match="clip="):
        resolve_units("auto", clip, None, "A")


def test_percentiles_may_be_the_ends_and_are_no_fractions():
    assert resolve_units("auto", (0, 100), None, "A")[1] == (0.0, 100.0)
    with pytest.raises(ValueError, match=r"did you mean \(0, 100\)"):
        resolve_units("auto", (0, 1), None, "A")


# ------------------------------------------------------------------------------- CodecUnits
@pytest.mark.parametrize("scaler", SCALERS[:3])
def test_hard_columns_survive(scaler):
    X = make_hard_table()
    units = CodecUnits(scaler).fit(X)
    Z = units.to_codec(X)
    assert Z.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(Z), np.isnan(X))
    back = units.from_codec(units.to_codec(X))
    capped = np.clip(X, units.lower_, units.upper_)
    seen = ~np.isnan(X)
    tolerance = np.broadcast_to(
        1e-5 * np.nan_to_num(np.nanmax(np.abs(capped[:, :7]), axis=0)), (400, 7)
    )
    error = np.abs(back - capped)[:, :7]
    assert (error <= tolerance)[seen[:, :7]].all()
    np.testing.assert_array_equal(back[:, 7], 0.0)
    assert units.variance_[3] == pytest.approx(0.0, abs=1e-20)
    assert units.uncapped_.tolist() == [False] * 4 + [True] + [False] * 3
    assert units.empty_.tolist() == [False] * 7 + [True]
    assert np.isinf(units.upper_[[4, 7]]).all()
    if scaler != "robust":
        np.testing.assert_allclose(units.variance_[[0, 1, 2, 4, 5, 6]], 1.0)


def test_standard_is_mean_and_deviation_of_the_capped_column():
    X = np.random.default_rng(0).standard_t(2, size=(1000, 3))
    units = CodecUnits().fit(X)
    low, high = np.percentile(X, [0.5, 99.5], axis=0)
    capped = np.clip(X, low, high)
    np.testing.assert_allclose(units.lower_, low)
    expected = (capped - capped.mean(axis=0)) / capped.std(axis=0)
    np.testing.assert_allclose(units.to_codec(X), expected, rtol=1e-5, atol=1e-6)
    outside = np.not_equal(X, capped).sum(axis=0)
    np.testing.assert_array_equal(units.count_capped(X), outside)
    assert np.abs(units.to_codec(X, cap=False)).max() > np.abs(units.to_codec(X)).max()


def test_robust_is_median_and_mad_with_the_deviation_as_fallback():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(500, 3))
    X[:, 1] = np.where(rng.random(500) < 0.8, 7.0, X[:, 1])
    X[:, 2] = np.where(rng.random(500) < 0.8, 1e-9 * X[:, 2], 1e6 * X[:, 2])
    units = CodecUnits("robust", clip=None).fit(X)
    median = np.median(X, axis=0)
    np.testing.assert_allclose(units.center_, median)
    mad = 1.4826 * np.median(np.abs(X - median), axis=0)
    np.testing.assert_allclose(units.scale_, [mad[0], *X[:, 1:].std(axis=0)])


def test_quantile_follows_scikit_learn_up_to_standardizing():
    X = np.random.default_rng(0).lognormal(size=(700, 2))
    Z = CodecUnits("quantile", clip=None).fit(X).to_codec(X)
    peer = QuantileTransformer(n_quantiles=700, output_distribution="normal").fit_transform(X)
    inner = (np.abs(peer) < 2.5).all(axis=1)
    np.testing.assert_allclose(Z[inner], peer[inner], atol=0.05)
    assert np.abs(Z).max() < 3.5
    many = CodecUnits("quantile").fit(np.random.default_rng(0).normal(size=(1500, 1)))
    assert len(many.state()["quantiles"]) == 1000


def test_quantile_puts_ties_at_their_middle_rank():
    X = np.repeat([[0.0], [1.0], [5.0]], [500, 300, 200], axis=0)
    units = CodecUnits("quantile", clip=None).fit(X)
    ranks = norm.cdf(units._scaled(X) * units.scale_ + units.center_)
    np.testing.assert_allclose(np.unique(ranks), [0.25, 0.65, 0.9], atol=1e-3)
    np.testing.assert_array_equal(units.from_codec(units.to_codec(X)), X)


@pytest.mark.parametrize("scaler", NAMED)
def test_missing_cells_count_nowhere(scaler):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    holes = rng.random(300) < 0.4
    with_holes = np.where(holes[:, None], np.nan, X)
    units, dense = CodecUnits(scaler).fit(with_holes), CodecUnits(scaler).fit(X[~holes])
    atol = 0.3 if scaler == "quantile" else 1e-6  # its number of quantiles follows the rows
    np.testing.assert_allclose(units.to_codec(X), dense.to_codec(X), rtol=1e-5, atol=atol)
    np.testing.assert_allclose(units.reference_, dense.reference_, atol=1e-9)


@pytest.mark.parametrize("scaler", SCALERS)
def test_weights_are_repetitions(scaler):
    X = make_hard_table(200)
    weight = np.random.default_rng(1).integers(0, 4, size=200)
    weighted = CodecUnits(scaler).fit(X, weight)
    repeated = CodecUnits(scaler).fit(np.repeat(X, weight, axis=0))
    for name in ["lower_", "upper_", "reference_", "variance_"]:
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), atol=1e-9)
    fractions = CodecUnits("standard").fit(X, weight / 1e4)
    assert np.isfinite(fractions.scale_).all()
    assert (fractions.variance_[:3] > 0.9).all()


@pytest.mark.parametrize("weight", [[1.0], [1, -1, 1], [1, np.nan, 1], [0, 0, 0]])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="sample_weight"):
        CodecUnits().fit(np.ones((3, 1)), weight)


@pytest.mark.parametrize("scaler", NAMED)
@settings(max_examples=25, deadline=None)
@given(
    X=arrays(np.float64, (12, 1), elements=st.integers(-50, 50).map(float)),
    power=st.integers(-100, 100),
)
def test_units_are_free_of_scale(scaler, X, power):
    factor = 2.0**power
    Z, scaled = (CodecUnits(scaler).fit(V).to_codec(V) for V in (X, X * factor))
    np.testing.assert_allclose(Z, scaled, rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    X=arrays(np.float64, (9, 3), elements=st.floats(-1e12, 1e12, allow_subnormal=False)),
    scaler=st.sampled_from(SCALERS),
)
@example(X=5e-218 * np.eye(9, 3), scaler=None)  # found where other modules were loaded
def test_anything_finite_maps_to_finite_and_back(X, scaler):
    tiny = (np.ptp(X, axis=0) > 0) & (X.std(axis=0) < 1e-15)
    try:
        units = CodecUnits(scaler, clip=None).fit(X)
    except ValueError as error:  # as they are, some spreads are too small for float32
        if scaler is not None or not tiny.any() or "float32 cannot square" not in str(error):
            raise
        return
    Z = units.to_codec(X)
    assert np.isfinite(Z).all()
    back = units.from_codec(Z)
    reach = np.abs(X).max(axis=0)
    assert (np.abs(back - X) <= 1e-4 * reach + 1e-30).all()


@pytest.mark.parametrize("scaler", [*SCALERS, StandardScaler()])
def test_the_own_mean_is_that_of_the_capped_rows(scaler):
    X = np.random.default_rng(0).lognormal(size=(300, 2))
    weight = np.arange(300) % 3
    units = CodecUnits(scaler, clip=(5, 95)).fit(X, weight)
    capped = np.clip(X, units.lower_, units.upper_)
    np.testing.assert_allclose(units.own_mean(), np.average(capped, axis=0, weights=weight))
    if isinstance(scaler, str):
        again = CodecUnits.from_state(units.state())
        np.testing.assert_array_equal(again.own_mean(), units.own_mean())


def test_too_large_cells_name_the_column():
    X = np.array([[1.0, 1e200], [2.0, -1e200]])
    with pytest.raises(ValueError, match="'big' has cells beyond 1e150"):
        CodecUnits().fit(X, names=["a", "big"])
    units = CodecUnits(None).fit(np.array([[1.0], [2.0]]), names=["a"])
    with pytest.raises(ValueError, match="'a' has cells too large for float32"):
        units.to_codec(np.array([[1e60]]), cap=False)
    assert units.to_codec(np.array([[1e60]]))[0, 0] == np.float32(1.995)
    wide = CodecUnits().fit(np.array([[1e149], [-1e149]]))
    np.testing.assert_array_equal(
        wide.to_codec(np.array([[1e308]])), [[wide.to_codec(np.array([[1e149]]))[0, 0]]]
    )


@pytest.mark.parametrize("n_rows", [3, 20, 120, 200, 201, 401])
@pytest.mark.parametrize("flag", [1.0, -1.0])
def test_a_rare_flag_is_not_capped_to_a_fraction(n_rows, flag):
    X = np.zeros((n_rows, 2))
    X[0, 0], X[:, 1] = flag, np.arange(n_rows)
    units = CodecUnits().fit(X)
    assert units.uncapped_.tolist() == [True, False]
    np.testing.assert_allclose(units.from_codec(units.to_codec(X))[:, 0], X[:, 0], atol=1e-6)
    twice = CodecUnits().fit(X, sample_weight=np.r_[2.0, np.ones(n_rows - 1)])
    repeated = CodecUnits().fit(np.r_[X[:1], X])
    np.testing.assert_array_equal(twice.uncapped_, repeated.uncapped_)
    np.testing.assert_allclose([twice.lower_, twice.upper_], [repeated.lower_, repeated.upper_])


def test_cells_that_float32_can_not_hold_are_targets_and_stay_as_given():
    X = np.array([[1e60], [1.5]])
    units = CodecUnits(clip=None).fit(np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(units.targets(X), [[2e60], [0.0]])
    assert X.tolist() == [[1e60], [1.5]]


def test_cells_beyond_a_cap_are_counted_by_their_weights_and_those_at_it_are_not():
    X = np.repeat([[0.0], [1.0], [9.0]], [50, 49, 1], axis=0)
    units = CodecUnits(clip=(1, 98)).fit(X)
    assert (units.lower_, units.upper_) == (0.0, 1.0)
    assert units.count_capped(X).tolist() == [1]
    assert units.count_capped(X, np.full(100, 1.8)).tolist() == [2]  # rounded


def test_columns_in_another_order_are_refused():
    # The guide compares rows in codec units: a frame read back in another order was scaled by the
    # units of other columns, without a word.
    frame = pd.DataFrame({"small": [1.0, 2.0, 4.0], "large": [1e6, 3e6, 2e6]})
    units = CodecUnits().fit(frame.to_numpy(), names=list(frame))
    np.testing.assert_array_equal(units.to_codec(frame), units.to_codec(frame.to_numpy()))
    for mapped in (units.to_codec, units.targets):
        with pytest.raises(ValueError, match="another order"):
            mapped(frame[["large", "small"]])
        with pytest.raises(ValueError, match="3 columns; these units are of 2"):
            mapped(frame.assign(more=1.0))
    unnamed = CodecUnits().fit(frame.to_numpy())
    np.testing.assert_array_equal(unnamed.to_codec(frame), units.to_codec(frame))


def test_caps_of_two_rows_hold_later_ones():
    units = CodecUnits().fit(np.array([[1.0], [2.0]]))
    assert units.uncapped_.tolist() == [False]
    assert units.upper_ == pytest.approx([1.995])
    twice = CodecUnits().fit(np.array([[1.0], [2.0]]), sample_weight=[2.0, 1.0])
    assert twice.uncapped_.tolist() == [True]  # as of 1, 1 and 2


def test_a_column_never_seen_stays_missing():
    units = CodecUnits().fit(np.array([[1.0, np.nan], [2.0, np.nan]]))
    Z = units.to_codec(np.array([[1.5, 3e6]]))
    assert np.isnan(Z[0, 1])
    assert units.reference_[1] == units.variance_[1] == 0.0
    assert units.from_codec(np.array([[0.0, 5.0]]))[0, 1] == 0.0
    whole = FunctionTransformer(validate=True)  # takes no missing cell
    units = CodecUnits(whole).fit(np.array([[1.0, np.nan], [2.0, np.nan]]))
    np.testing.assert_array_equal(np.isnan(units.to_codec(np.ones((1, 2)))), [[False, True]])
    np.testing.assert_array_equal(units.to_codec(np.array([[1.5, np.nan]])), [[1.5, np.nan]])


def test_a_transformer_is_cloned_and_used():
    scaler = MinMaxScaler()
    X = make_hard_table()
    with config_context(transform_output="pandas"):
        units = CodecUnits(scaler, clip=None).fit(X)
        Z = units.to_codec(X)
    assert not hasattr(scaler, "scale_")
    assert np.nanmin(Z) == 0.0
    assert np.nanmax(Z) == 1.0
    np.testing.assert_allclose(units.from_codec(Z)[:, 2], X[:, 2], rtol=1e-5, atol=1e-2)
    # The decoder fills missing cells, in columns that had some in training too.
    assert np.isfinite(units.from_codec(np.nan_to_num(Z))).all()
    with pytest.raises(ValueError, match="MinMaxScaler"):
        units.state()
    weighted = CodecUnits(StandardScaler()).fit(X, np.arange(400))
    assert weighted.reference_[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("scaler", "weight", "message"),
    [
        (PCA(1), None, "turned 2 columns into"),
        (FunctionTransformer(lambda X: X[:2]), None, r"an array of shape \(2, 2\), float64"),
        (FunctionTransformer(lambda X: X.astype(object)), None, r"shape \(3, 2\), object"),
        (MinMaxScaler(), [1, 2, 3], "takes no sample_weight"),
        (FunctionTransformer(np.nan_to_num, check_inverse=False), None, "missing cells"),
        (FunctionTransformer(lambda X: X / 0.0, check_inverse=False), None, "no finite value"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_unfit_transformers_are_refused(scaler, weight, message):
    X = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]])
    if isinstance(scaler, FunctionTransformer) and scaler.func is np.nan_to_num:
        X[0, 0] = np.nan
    with pytest.raises(ValueError, match=message):
        CodecUnits(scaler).fit(X, weight)


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("clip", [None, (1, 99)])
def test_state_round_trip_is_exact(scaler, clip):
    X = make_hard_table()
    units = CodecUnits(scaler, clip).fit(X)
    again = CodecUnits.from_state(units.state())
    assert (again.scaler, again.clip) == (units.scaler, units.clip)
    for name, value in vars(units).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), value, strict=True, err_msg=name)
    np.testing.assert_array_equal(again.to_codec(X), units.to_codec(X))
    np.testing.assert_array_equal(again.to_codec(X, cap=False), units.to_codec(X, cap=False))
    Z = np.random.default_rng(0).normal(size=(20, 8))
    np.testing.assert_array_equal(again.from_codec(Z), units.from_codec(Z))
    np.testing.assert_array_equal(again.count_capped(X), units.count_capped(X))


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_row_is_mapped_alone(scaler):
    X = make_hard_table()
    units = CodecUnits(scaler).fit(X)
    Z = units.to_codec(X)
    for i in (0, 7, 399):
        np.testing.assert_array_equal(units.to_codec(X[i : i + 1])[0], Z[i])


def test_refit_forgets_the_transformer():
    X = np.random.default_rng(0).normal(size=(50, 2))
    units = CodecUnits("quantile").fit(X)
    units.scaler = "standard"
    units.fit(X)
    np.testing.assert_array_equal(units.to_codec(X), CodecUnits().fit(X).to_codec(X))


# ---------------------------------------------------------------------------- large tables
@pytest.mark.parametrize("scaler", [*SCALERS, StandardScaler()])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_table_is_copied_a_little_at_a_time(scaler, weighted, monkeypatch):
    X = make_hard_table()
    weight = np.arange(len(X)) % 4 if weighted else None
    column_weights = np.linspace(0.5, 2.0, X.shape[1])
    whole = CodecUnits(scaler).fit(X, weight, column_weights=column_weights)
    Z = whole.to_codec(X)
    monkeypatch.setattr("adaptive_vq.units._CELLS_AT_ONCE", 900)
    parts = CodecUnits(scaler).fit(X, weight, column_weights=column_weights)
    for name, value in vars(whole).items():
        if name.endswith("_") and name != "transformer_":
            np.testing.assert_array_equal(getattr(parts, name), value, err_msg=name)
    np.testing.assert_array_equal(parts.to_codec(X), Z)


def test_a_large_table_is_copied_no_more_than_by_half(monkeypatch):
    monkeypatch.setattr("adaptive_vq.units._CELLS_AT_ONCE", 1 << 14)
    X = np.random.default_rng(0).normal(size=(4096, 64))
    tracemalloc.start()
    try:
        units = CodecUnits().fit(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 2
    assert units.center_.shape == (64,)


def test_the_column_at_fault_is_named_in_a_large_table_too(monkeypatch):
    monkeypatch.setattr("adaptive_vq.units._CELLS_AT_ONCE", 10)
    X = np.ones((5, 6))
    X[2, 4] = 1e200
    with pytest.raises(ValueError, match="x4"):
        CodecUnits().fit(X)


def test_rounding_at_a_large_level_is_no_spread():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=50), 1e13 + 100 * rng.normal(size=50)]
    units = CodecUnits(clip=None).fit(X)
    assert units.variance_[0] == pytest.approx(1.0)
    assert units.variance_[1] < 1e-20
    np.testing.assert_allclose(units.from_codec(units.to_codec(X))[:, 1], X[:, 1], rtol=1e-9)


@pytest.mark.parametrize("scaler", ["standard", "robust", "quantile", None])
def test_a_constant_comes_back_without_the_rounding_of_its_neighbors(scaler):
    X = np.c_[np.arange(40.0), np.full(40, 1e-12), np.full(40, 3e11)]
    units = CodecUnits(scaler).fit(X)
    Z = units.to_codec(X) + np.float32(1e-6)
    back = units.from_codec(Z)
    np.testing.assert_allclose(back[:, 1:], X[:, 1:], rtol=1e-7)
    if scaler in ("standard", "robust"):
        moved = units.from_codec(Z + 0.5)  # by later chunks
        assert (moved[:, 1:] > back[:, 1:]).all()


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_constant_that_float32_can_not_hold_comes_back(scaler):
    X = np.full((40, 2), 2.0**24 + 1) * [1.0, -1.0]
    units = CodecUnits(scaler).fit(X)
    np.testing.assert_array_equal(units.from_codec(units.to_codec(X)), X)


def test_quantile_ranks_of_cells_next_to_each_other():
    tiny = np.random.default_rng(0).normal(size=(400, 1)) * 1e-308
    Z = CodecUnits("quantile").fit(np.vstack([tiny, np.ones((400, 1))])).to_codec(tiny)
    assert np.isfinite(Z).all()
    assert (np.diff(Z[np.argsort(tiny, axis=0).ravel(), 0]) >= 0).all()


@pytest.mark.parametrize("scaler", ["standard", "robust"])
def test_what_counts_as_rounding_does_not_vary(scaler):
    noise = np.random.default_rng(0).normal(size=(200, 2))
    units = CodecUnits(scaler).fit(1e12 + noise)
    assert not units.variance_.any()
    for cap in (True, False):
        assert not np.ptp(units.to_codec(1e12 + noise, cap), axis=0).any()
    assert (units.to_codec(np.full((1, 2), 1.001e12), cap=False) > 5e-4).all()


def test_units_show_their_parameters():
    assert repr(CodecUnits("robust", None)) == "CodecUnits(scaler='robust', clip=None)"
    fitted = CodecUnits().fit(np.arange(4.0)[:, None])
    assert repr(fitted) == "CodecUnits(scaler='standard', clip=(0.5, 99.5))"


@pytest.mark.parametrize("scaler", ["standard", "robust", "quantile"])
def test_a_column_of_next_to_no_weight_is_its_mean_when_decoded_and_not_before(scaler):
    # Its units are so small that what decodes to it would be rounding of other columns.
    X = np.random.default_rng(0).normal(3.0, 1.0, size=(600, 3))
    codec = HierarchicalVQVAE(
        bits=16, scaler=scaler, column_weights=[1, 1, 1e-22], max_epochs=0, random_state=0
    ).fit(X)
    units = codec.units_
    assert 0.0 < units.variance_[2] < 1e-20
    assert np.ptp(units.targets(X)[:, 2]) > 0.0
    decoded = codec.reconstruct(X)[:, 2]
    assert decoded == pytest.approx(np.full(600, decoded[0]), rel=1e-12)
    # So all of it is lost, and reports say so.
    errors = diagnose(codec, X).columns["nmse"]
    assert errors.iloc[2] == pytest.approx(1.0)
    assert (errors.iloc[:2] < 0.5).all()
