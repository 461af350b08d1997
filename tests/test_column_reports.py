"""Columns that can not be coded as they are: what is told of them."""

import warnings

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler

from adaptive_vq import HierarchicalVQVAE, diagnose
from adaptive_vq._column_reports import report_training_columns
from adaptive_vq.units import CodecUnits

FAR = "more than 1,000,000 standard deviations.*no cap holds back"


def codec(**parameters):
    settings = {"bits": 12, "max_epochs": 0, "random_state": 0, "clip": None}
    settings["early_stopping"] = False
    return HierarchicalVQVAE(
        **{**settings, "auto_compression_strategy": "water_filling", **parameters}
    )


def _logs(X):
    """Logarithms of one column, without a way back."""
    return np.column_stack([X[:, :1], np.log1p(X[:, 1:2]), X[:, 2:]])


@pytest.fixture
def wild(cells):
    table = cells.copy()
    table[3, 1] = 1e8
    return table


def test_new_rows_far_out_are_told_where_no_cap_holds_them_back(cells, wild):
    fitted = codec().fit(cells)
    for use in (fitted.transform, fitted.reconstruct, fitted.score):
        with pytest.warns(UserWarning, match=rf"\['x1'\].*{FAR}"):
            use(wild)
    with pytest.warns(UserWarning, match=FAR):
        diagnose(fitted, wild, embedding=None)
    codec(clip=(0.5, 99.5)).fit(cells).transform(wild)  # where there is one, nothing is told
    missing = np.where(wild > 1e7, np.nan, wild)
    fitted.transform(missing)
    fitted.transform(1e5 * cells)


def test_columns_that_are_not_listed_are_counted(cells):
    empty = np.column_stack([cells[:, :1], np.full((len(cells), 7), np.nan)])
    with pytest.warns(UserWarning, match=r"\['x1', .*'x5'\] and 2 more have no observed cell"):
        codec().fit(empty)
    with pytest.warns(UserWarning, match=r"\['x1', .*'x5'\] have no observed cell"):
        codec().fit(empty[:, :6])


def test_rows_far_out_are_no_rows_to_learn_from(cells, wild):
    fitted = codec().fit(cells)
    before = fitted.transform(cells)
    with pytest.raises(ValueError, match=rf"\['x1'\].*{FAR}.*drop such rows"):
        fitted.partial_fit(wild)
    np.testing.assert_array_equal(fitted.transform(cells), before)
    codec(clip=(0.5, 99.5)).fit(cells).partial_fit(wild)


@pytest.mark.parametrize(("far", "told"), [(150.0, True), (90.0, False)])
def test_rows_that_draw_codewords_away_are_told(cells, far, told):
    fitted, rows = codec().fit(cells), cells.copy()
    rows[0, 1] = cells[:, 1].mean() + far * cells[:, 1].std()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted.partial_fit(rows)
    assert [w.filename for w in caught] == [__file__] * told
    assert all("['x1'] have cells more than 100 standard" in str(w.message) for w in caught)
    codec(clip=(0.5, 99.5)).fit(cells).partial_fit(rows)


def test_advice_on_columns_without_caps_fits_the_caps_that_there_are(cells):
    rare = np.repeat(cells, 4, axis=0)
    rare[:, 1] = 0.0
    rare[0, 1] = 1.0  # of 640 rows: percentiles would make it constant
    fitted, far = codec(clip=(0.5, 99.5)).fit(rare), rare.copy()
    far[0, 1] = 1e9
    advice = r"\['x1'\].*Drop such rows: clip=\(0\.5, 99\.5\) would leave"
    with pytest.warns(UserWarning, match=advice):
        fitted.transform(far)
    with pytest.raises(ValueError, match=advice):
        fitted.partial_fit(far)


def test_rare_flags_draw_no_codewords_away_under_caps(cells):
    flags = np.repeat(cells, 200, axis=0)
    flags[:, 1] = 0.0
    flags[:1, 1] = 1.0
    codec(clip=(0.5, 99.5)).fit(flags).partial_fit(flags)


def test_columns_constant_in_training_are_measured_in_their_own_units(cells):
    constant = np.c_[cells, np.full(len(cells), 5.0)]
    fitted = codec().fit(constant)
    fitted.transform(constant + 1e3)
    with pytest.warns(UserWarning, match=rf"\['x6'\].*{FAR}"):
        fitted.transform(np.c_[cells, np.full(len(cells), 1e9)])


def test_a_constant_level_rounded_in_codec_units_is_not_far_out(cells):
    table = np.c_[cells, np.full(len(cells), 1.7e15 + 1)]  # one moment, in microseconds
    fitted = codec(scaler=None).fit(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(table)
        fitted.partial_fit(table)
    table[3, -1] *= 1.001
    with pytest.warns(UserWarning, match=rf"\['x{cells.shape[1]}'\].*{FAR}"):
        fitted.transform(table)


@pytest.mark.parametrize("scaler", ["standard", "quantile", None])
def test_a_table_without_spread_is_told_to_have_no_codes(cells, scaler):
    still = np.tile(cells[:1], (50, 1))
    with pytest.warns(UserWarning, match="No column of X varies.*0 bits.*Give rows") as caught:
        fitted = codec(scaler=scaler).fit(still)
    assert [w.filename for w in caught] == [__file__]
    assert fitted.n_bits_ == 0.0
    assert fitted.transform(still).shape == (50, 0)
    np.testing.assert_allclose(fitted.reconstruct(still), still, rtol=1e-6)
    still[:25, 0] += 1.0  # one column is enough
    assert codec(scaler=scaler).fit(still).n_bits_ == 1.0


@pytest.mark.parametrize("scaler", ["standard", "robust"])
def test_columns_lost_beside_their_extremes_are_told(cells, wild, scaler):
    wild[3, 1] = 1e12
    with pytest.warns(UserWarning, match=r"\['x1'\] have cells so far out.*Set clip") as caught:
        codec(scaler=scaler).fit(wild)
    assert [w.filename for w in caught] == [__file__]
    codec(scaler=scaler, clip=(0.5, 99.5)).fit(wild)


def test_cells_far_below_are_told_like_those_far_above(cells):
    fitted, low = codec().fit(cells), cells.copy()
    low[3, 1] = -1e12
    with pytest.warns(UserWarning, match=rf"\['x1'\].*{FAR}"):
        fitted.transform(low)


def test_columns_of_one_value_and_few_others_are_not_lost(cells):
    table = cells.copy()
    table[:, 2] = 0.0
    table[7, 2] = 1e12
    heavy = np.exp(4.0 * cells)  # all orders of magnitude, but no two that are alike
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (table, heavy, cells * 1e-200):
            report_training_columns(CodecUnits(clip=None).fit(rows), rows)


@pytest.mark.parametrize("scaler", ["standard", "robust", None])
def test_columns_whose_spread_counts_as_rounding_are_told(cells, scaler):
    table = cells.copy()
    table[:, 1] = 1.7e15 + np.rint(1e3 * table[:, 1])  # a few milliseconds, in microseconds
    table[5, 1] = np.nan
    table[:, 2] += 3e10
    table[:, 4] *= 1e-300
    with pytest.warns(
        UserWarning, match=r"\['x1', 'x2', 'x4'\].*decode to a constant.*Subtract"
    ) as caught:
        back = codec(scaler=scaler, clip=(0.5, 99.5)).fit(table).reconstruct(table)
    assert [w.filename for w in caught] == [__file__]
    assert len(np.unique(back[:, 1])) == 1
    ranks = codec(scaler="quantile").fit(table).reconstruct(table)  # without a warning
    assert len(np.unique(ranks[:, 1])) > 5


def test_rounding_of_computed_constants_is_not_told(cells):
    rng = np.random.default_rng(0)
    table = np.c_[cells, np.full(len(cells), 1e12), np.full(len(cells), np.nan)]
    table[:, 5] = 1 + 1e-12 * table[:, 5]
    # Sums of the same numbers in another order.
    table[:, 6] = [rng.permutation(np.linspace(0.1, 1e6, 200)).cumsum()[-1] for _ in table]
    table[0, 7] = 3.0
    table = np.c_[table, 1e17 + 16.0 * (np.arange(len(cells)) % 3)]  # has no digits after the point
    assert len(np.unique(table[:, 6])) > 1
    codec().fit(table)


@pytest.mark.parametrize(("level", "told"), [(1e7, False), (5e7, True)])
def test_a_way_back_may_be_off_by_a_tenth_of_the_spread(cells, level, told):
    table = level + 10 * cells[:, :1]  # float32 holds whole numbers here, or every fourth
    units = CodecUnits(scaler=None, clip=None).fit(table)
    off = np.sqrt(np.mean((units.from_codec(units.to_codec(table)) - table) ** 2)) / table.std()
    assert (off > 0.1) == told
    assert off < 0.25
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report_training_columns(units, table)
    assert len(caught) == told


@pytest.mark.parametrize(("far", "told"), [(3e7, False), (1e8, True)])
def test_columns_are_lost_beyond_a_million_ranges_to_a_deviation(cells, far, told):
    table = cells[:, :1].copy()
    table[3] = far
    units = CodecUnits(clip=None).fit(table)
    low, high = np.quantile(table, [0.01, 0.99])
    assert 0.1 < (high - low) * 1e6 / table.std() < 10
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report_training_columns(units, table)
    assert ["so far out" in str(w.message) for w in caught] == [True] * told


NO_WAY_BACK = r"\['x1'\] do not come back with scaler={}: .*score, .*does not count it"


@pytest.mark.parametrize(
    ("scaler", "level"),
    [
        (None, 1e9),
        (FunctionTransformer(), 1e9),
        (FunctionTransformer(_logs, check_inverse=False), 0),
    ],
)
def test_columns_that_scaling_loses_are_told(cells, scaler, level):
    table = cells.copy()
    table[:, 1] = level + 10 * np.abs(table[:, 1])
    name = "None" if scaler is None else r"FunctionTransformer\(.*\)"
    with pytest.warns(UserWarning, match=NO_WAY_BACK.format(name)) as caught:
        fitted = codec(scaler=scaler).fit(table)
    assert [w.filename for w in caught] == [__file__]
    off = fitted.reconstruct(table)[:, 1] - table[:, 1]
    assert np.abs(off).mean() > 0.3 * table[:, 1].std()


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        PowerTransformer(),
        FunctionTransformer(np.sinh, np.arcsinh, check_inverse=False),
    ],
)
def test_scalers_that_lead_back_are_not_told(cells, scaler):
    holed = np.where(np.abs(cells) < 0.1, np.nan, cells)
    codec(scaler=scaler).fit(holed)
