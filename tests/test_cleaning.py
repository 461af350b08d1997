import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from adaptive_vq import AdaptiveRatioSelector, FeatureCleaner, HierarchicalVQVAE, diagnose
from adaptive_vq._twins import informativeness
from adaptive_vq.annotations import annotation, repeat_weights
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.units import CodecUnits


@parametrize_with_checks(
    [
        FeatureCleaner(),
        FeatureCleaner(caps="mad", fill="median", keep="informative", max_same=0.99),
        FeatureCleaner(caps="iqr", fill="mean", max_correlation=None, max_missing=0.5),
    ]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def make_dirty(n=600, seed=0):
    """A table with everything that goes wrong, from 1e-12 to 1e12."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, n))
    return pd.DataFrame(
        {
            "a": 1e-12 * a,
            "twin of a": 5e12 - 3e12 * a,
            "b": 1e12 * (1000 + b),
            "tails": np.exp(4 * c),  # kurtosis in the thousands
            "constant": 0.1,
            "never": np.nan,
            "holes": np.where(rng.random(n) < 0.4, np.nan, b + c),
            "flag": np.arange(n) == 7,
            "mostly zero": np.where(rng.random(n) < 0.9, 0.0, a + c),
            "once": np.where(rng.random(n) < 0.5, np.nan, 7e7),
        },
        index=pd.RangeIndex(50, 50 + n),
    )


def actions(cleaner, action):
    report = cleaner.report_
    return dict(report[report["action"] == action].set_index("column")["reason"])


def test_report_says_what_is_dropped_and_why():
    cleaner = FeatureCleaner().fit(make_dirty())
    assert list(cleaner.report_.columns) == ["column", "action", "reason", "value"]
    assert actions(cleaner, "dropped") == {
        "twin of a": "duplicate of 'a'",
        "constant": "constant",
        "never": "no observed cell",
        "once": "constant",
    }
    assert actions(cleaner, "not capped") == {"flag": "caps would leave a constant"}
    assert {"a", "b", "tails", "holes"} <= set(actions(cleaner, "capped"))
    values = cleaner.report_.set_index(["column", "action"])["value"]
    assert values["twin of a", "dropped"] == pytest.approx(-1.0)
    assert values["constant", "dropped"] == 0.1
    assert values["b", "capped"] == pytest.approx(0.01, abs=0.004)


def test_frame_in_frame_out():
    X = make_dirty()
    cleaner = FeatureCleaner().fit(X)
    X.attrs["source"] = "here"
    clean = cleaner.transform(X)
    kept = ["a", "b", "tails", "holes", "flag", "mostly zero"]
    assert list(clean.columns) == list(cleaner.get_feature_names_out()) == kept
    pd.testing.assert_index_equal(clean.index, X.index)
    assert clean.attrs["source"] == "here"
    assert (clean.dtypes == np.float64).all()
    table = pl.DataFrame({name: X[name].to_numpy() for name in X})
    from_polars = clone(cleaner).fit(table).transform(table)
    assert isinstance(from_polars, pl.DataFrame)
    assert from_polars.columns == kept
    np.testing.assert_array_equal(from_polars.to_numpy(), clean.to_numpy())
    from_arrow = clone(cleaner).fit(table.to_arrow()).transform(table.to_arrow())
    pd.testing.assert_frame_equal(from_arrow, clean.reset_index(drop=True))
    assert repeat_weights(from_arrow).tolist() == cleaner.repeats_.tolist()
    array = X.to_numpy(dtype=float)
    np.testing.assert_array_equal(clone(cleaner).fit(array).transform(array), clean)
    assert list(clone(cleaner).fit(array).get_feature_names_out()) == [
        "x0", "x2", "x3", "x6", "x7", "x8"
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:A polars table can carry no note")
@pytest.mark.parametrize(("output", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output(output, kind):
    X = make_dirty()
    for table in (X, X.to_numpy(dtype=float)):
        clean = FeatureCleaner().set_output(transform=output).fit_transform(table)
        assert isinstance(clean, kind)
        assert clean.shape == (600, 6)


def test_caps_are_kept_and_applied_to_new_rows():
    X = make_dirty()
    cleaner = FeatureCleaner().fit(X)
    low, high = np.percentile(X["tails"], [0.5, 99.5])
    wild = X.iloc[:2].copy()
    wild["tails"] = [-1e9, 1e9]
    np.testing.assert_allclose(cleaner.transform(wild)["tails"], [low, high])
    pd.testing.assert_frame_equal(cleaner.transform(X.iloc[:5]), cleaner.transform(X).iloc[:5])


@pytest.mark.parametrize(
    ("caps", "width", "edges"),
    [
        ("percentile", None, lambda x: np.percentile(x, [0.5, 99.5])),
        ("percentile", 5, lambda x: np.percentile(x, [5, 95])),
        ("iqr", None, lambda x: np.percentile(x, [25, 75]) + 1.5 * iqr(x) * np.array([-1, 1])),
        ("mad", None, lambda x: np.median(x) + np.array([-3, 3]) * 1.4826 * mad(x)),
        ("mad", 1.0, lambda x: np.median(x) + np.array([-1, 1]) * 1.4826 * mad(x)),
    ],
)
def test_caps_formulas(caps, width, edges):
    x = np.random.default_rng(0).lognormal(size=500)
    cleaner = FeatureCleaner(caps=caps, cap_width=width).fit(x[:, None])
    np.testing.assert_allclose([cleaner.lower_[0], cleaner.upper_[0]], edges(x))


def iqr(x):
    return np.subtract(*np.percentile(x, [75, 25]))


def mad(x):
    return np.median(np.abs(x - np.median(x)))


@pytest.mark.parametrize("caps", ["percentile", "iqr", "mad"])
def test_caps_never_flatten_a_column(caps):
    X = np.zeros((1000, 2))
    X[:3, 0] = [1e7, -2, 3]
    X[:, 1] = np.arange(1000)
    cleaner = FeatureCleaner(caps=caps).fit(X)
    np.testing.assert_array_equal(cleaner.transform(X)[:, 0], X[:, 0])
    assert "x0" in actions(cleaner, "not capped")


def test_inverse_restores_twins_constants_and_names():
    X = make_dirty()
    cleaner = FeatureCleaner(caps=None).fit(X)
    back = cleaner.inverse_transform(cleaner.transform(X))
    assert list(back.columns) == list(X.columns)
    pd.testing.assert_index_equal(back.index, X.index)
    for name in ["a", "b", "tails", "holes", "flag", "mostly zero"]:
        np.testing.assert_array_equal(back[name], X[name])
    np.testing.assert_allclose(back["twin of a"], X["twin of a"], rtol=1e-9)
    np.testing.assert_array_equal(back["constant"], 0.1)
    np.testing.assert_array_equal(back["once"], 7e7)
    assert back["never"].isna().all()
    assert isinstance(cleaner.inverse_transform(cleaner.transform(X).to_numpy()), pd.DataFrame)


def test_restored_twins_respect_their_caps():
    X = make_dirty()
    cleaner = FeatureCleaner().fit(X)
    far = cleaner.transform(X)
    far["a"] = np.where(np.arange(len(far)) % 2, 1.0, -1.0)  # 1e12 deviations out
    low, high = np.percentile(X["twin of a"], [0.5, 99.5])
    np.testing.assert_allclose(np.unique(cleaner.inverse_transform(far)["twin of a"]), [low, high])


@pytest.mark.parametrize("scale", [1e-12, 1.0, -1e9, 1e12])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_twins_at_any_scale_with_holes(scale, noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    twin = scale * (x + noise * rng.normal(size=500) + 7)
    X = np.column_stack([x, np.where(rng.random(500) < 0.4, np.nan, twin)])
    cleaner = FeatureCleaner(caps=None).fit(X)
    assert cleaner.kept_.tolist() == [0]
    back = cleaner.inverse_transform(cleaner.transform(X))
    error = np.abs(back[:, 1] - twin) / abs(scale)
    assert error.max() <= 5 * noise + 1e-7


def test_few_common_rows_prove_no_duplicate():
    X = np.full((40, 2), np.nan)
    X[:, 0] = np.arange(40)
    X[31:, 1] = np.arange(9)
    assert FeatureCleaner(max_correlation=0.5).fit(X).kept_.tolist() == [0, 1]
    X[30:, 1] = np.arange(10)
    assert FeatureCleaner(max_correlation=0.5).fit(X).kept_.tolist() == [0]


def test_a_chain_of_twins_always_ends_at_a_kept_column():
    rng = np.random.default_rng(0)
    X = np.cumsum(0.12 * rng.normal(size=(2000, 12)), axis=1) + rng.normal(size=(2000, 1))
    cleaner = FeatureCleaner(caps=None, max_correlation=0.98).fit(X)
    assert 1 < cleaner.kept_.size < 12
    assert {twin.partner for twin in cleaner.twins_.values()} <= set(cleaner.kept_.tolist())
    kept = np.abs(np.corrcoef(X[:, cleaner.kept_].T)) - np.eye(cleaner.kept_.size)
    assert kept.max() <= 0.98
    for column, twin in cleaner.twins_.items():
        assert abs(np.corrcoef(X[:, [column, twin.partner]].T)[0, 1]) > 0.98


def test_keep_informative_is_free_of_units():
    rng = np.random.default_rng(0)
    fine = rng.uniform(size=1000)
    coarse = np.round(fine * 12) / 12
    sparse = np.where(rng.random(1000) < 0.3, np.nan, fine)
    X = np.column_stack([coarse, sparse, fine])
    for scale in (1e-12, 1.0, 1e12):
        scaled = X * [scale, 1.0, 1 / scale]
        assert FeatureCleaner(keep="first").fit(scaled).kept_.tolist() == [0]
        assert FeatureCleaner(keep="informative").fit(scaled).kept_.tolist() == [2]


def test_informativeness_of_exact_twins_is_equal():
    x = np.random.default_rng(0).normal(size=300)
    z = CodecUnits(clip=None).fit(x[:, None]).to_codec(x[:, None])[:, 0].astype(float)
    assert informativeness(z) == informativeness(-z)
    assert informativeness(np.full(3, np.nan)) == 0.0


def test_optional_rules():
    rng = np.random.default_rng(0)
    n = 1000
    X = pd.DataFrame(
        {
            "fine": rng.normal(10, 1, size=n),
            "big": rng.normal(1e7, 1e5, size=n),  # large variance, small coefficient of variation
            "wild": 1e6 * rng.standard_cauchy(n),
            "gaps": np.where(rng.random(n) < 0.6, np.nan, rng.normal(size=n)),
            "flag": np.arange(n) < 3,
        }
    )
    X["wild"] -= X["wild"].mean()
    assert actions(FeatureCleaner(caps=None).fit(X), "dropped") == {}
    strict = FeatureCleaner(caps=None, max_missing=0.5, max_same=0.99, max_variance=1e4).fit(X)
    assert actions(strict, "dropped") == {
        "wild": "extreme variance",
        "gaps": "missing cells",
        "flag": "mostly one value",
    }
    back = strict.inverse_transform(strict.transform(X))
    np.testing.assert_allclose(back["wild"], X["wild"].median())
    np.testing.assert_array_equal(back["flag"], 0.0)
    alone = FeatureCleaner(caps=None, max_variance=1e4, max_cv=0.0).fit(X)
    assert set(actions(alone, "dropped")) == {"big", "wild"}


@pytest.mark.parametrize("missing", [1, 3, 6])
def test_a_share_of_missing_cells_at_the_limit_is_not_beyond_it(missing):
    X = np.random.default_rng(0).normal(size=(10, 2))
    X[:missing, 1] = np.nan
    assert FeatureCleaner(max_missing=missing / 10).fit(X).kept_.tolist() == [0, 1]
    assert FeatureCleaner(max_missing=(missing - 1) / 10).fit(X).kept_.tolist() == [0]


def test_near_constant_by_tolerance():
    X = np.column_stack([100 + 0.01 * np.arange(20), np.arange(20.0)])
    assert FeatureCleaner().fit(X.copy()).kept_.tolist() == [0]  # they are twins
    cleaner = FeatureCleaner(constant_tolerance=0.01).fit(X)
    assert actions(cleaner, "dropped") == {"x0": "constant"}
    np.testing.assert_allclose(cleaner.inverse_transform(cleaner.transform(X))[:, 0], 100.095)


@pytest.mark.parametrize("fill", ["median", "mean"])
def test_fill(fill):
    X = make_dirty()
    cleaner = FeatureCleaner(fill=fill).fit(X)
    clean = cleaner.transform(X)
    assert clean.notna().all().all()
    capped = X["holes"].clip(*X["holes"].quantile([0.005, 0.995]))
    holes = X["holes"].isna()
    np.testing.assert_allclose(clean.loc[holes, "holes"], getattr(capped, fill)())
    value = cleaner.report_.query("action == 'filled'").set_index("column")["value"]
    assert value["holes"] == pytest.approx(holes.mean())
    assert FeatureCleaner().fit_transform(X)["holes"].isna().equals(holes)


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 599), max_size=6), seed=st.integers(0, 5))
def test_any_chunking_is_one_fit(cuts, seed):
    X = make_dirty(seed=seed)
    X.loc[X.index[:300], "b"] = np.nan  # a chunk without a cell
    whole = FeatureCleaner(fill="mean").fit(X)
    parts = FeatureCleaner(fill="mean")
    edges = [0, *sorted(set(cuts)), 600]
    for start, end in itertools.pairwise(edges):
        parts.partial_fit(X.iloc[start:end])
    pd.testing.assert_frame_equal(parts.report_, whole.report_, check_exact=True)
    pd.testing.assert_frame_equal(parts.transform(X), whole.transform(X), check_exact=True)
    back = whole.inverse_transform(whole.transform(X))
    pd.testing.assert_frame_equal(parts.inverse_transform(parts.transform(X)), back)
    assert parts.n_samples_seen_ == 600


def test_rows_beyond_the_sample_still_count():
    rng = np.random.default_rng(0)
    X = np.zeros((70_000, 3))
    X[:, 0] = rng.normal(size=70_000)
    cleaner = FeatureCleaner().fit(X)
    outside = next(i for i in range(70_000) if not (cleaner._sample.rows[:, 0] == X[i, 0]).any())
    X[outside, 1] = 1.0
    cleaner.fit(X)
    assert cleaner.kept_.tolist() == [0, 1]
    np.testing.assert_array_equal(cleaner.transform(X)[:, 1], X[:, 1])
    chunked = FeatureCleaner()
    for chunk in np.array_split(X, 7):
        chunked.partial_fit(chunk)
    np.testing.assert_array_equal(chunked.lower_, cleaner.lower_)


def test_chunks_may_share_a_buffer():
    X = make_dirty().to_numpy(dtype=float)
    buffer = np.empty((200, 10))
    parts = FeatureCleaner()
    for chunk in np.split(X, 3):
        buffer[:] = chunk
        parts.partial_fit(buffer)
    np.testing.assert_array_equal(parts.upper_, FeatureCleaner().fit(X).upper_)


def test_pickle_after_fit_holds_no_rows():
    X = make_dirty(5000)
    cleaner = FeatureCleaner().fit(X)
    again = pickle.loads(pickle.dumps(cleaner))
    assert len(pickle.dumps(cleaner)) < 20_000
    pd.testing.assert_frame_equal(again.transform(X), cleaner.transform(X))
    with pytest.raises(ValueError, match="from a pickle, saved file or copy made after fit"):
        again.partial_fit(X)
    streaming = pickle.loads(pickle.dumps(FeatureCleaner().partial_fit(X[:2000])))
    streaming.partial_fit(X[2000:])
    np.testing.assert_array_equal(streaming.lower_, cleaner.lower_)


@settings(max_examples=80)
@given(
    X=arrays(
        np.float64,
        st.tuples(st.integers(2, 25), st.integers(1, 5)),
        elements=st.one_of(
            st.floats(-1e12, 1e12), st.floats(-1e-12, 1e-12), st.just(np.nan), st.just(0.0)
        ),
    ),
    caps=st.sampled_from(["percentile", "iqr", "mad", None]),
    fill=st.sampled_from([None, "median", "mean"]),
    keep=st.sampled_from(["first", "informative"]),
)
def test_any_table_is_cleaned_and_comes_back(X, caps, fill, keep):
    cleaner = FeatureCleaner(caps=caps, fill=fill, keep=keep)
    try:
        cleaner.fit(X)
    except ValueError as error:
        assert "No column is left" in str(error)  # noqa: PT017
        return
    clean = cleaner.transform(X)
    kept = cleaner.kept_
    assert clean.shape == (len(X), kept.size)
    assert kept.size + (cleaner.report_["action"] == "dropped").sum() == X.shape[1]
    if fill is not None:
        assert np.isfinite(clean).all()
    seen = ~np.isnan(X[:, kept])
    inside = np.clip(X[:, kept], cleaner.lower_[kept], cleaner.upper_[kept])
    np.testing.assert_array_equal(clean[seen], inside[seen])
    # What was cleaned once is clean: the caps hold and a second pass changes nothing.
    back = cleaner.inverse_transform(clean)
    np.testing.assert_array_equal(cleaner.transform(back), clean)
    assert not np.isinf(back).any()


@settings(max_examples=40)
@given(
    X=arrays(np.float64, (30, 4), elements=st.integers(-9, 9).map(float)),
    powers=st.lists(st.integers(-40, 40), min_size=4, max_size=4),
    keep=st.sampled_from(["first", "informative"]),
)
def test_decisions_are_free_of_units(X, powers, keep):
    X = X + np.random.default_rng(0).normal(size=X.shape) * [0, 0, 1, 1]
    X[:, 3] = X[:, 2]
    scale = 2.0 ** np.array(powers)
    plain, scaled = (FeatureCleaner(keep=keep, caps=None).fit(V) for V in (X, X * scale))
    assert plain.kept_.tolist() == scaled.kept_.tolist()
    assert plain.report_["reason"].tolist() == scaled.report_["reason"].tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_cv": 5}, "max_cv counts only together with max_variance"),
        ({"keep": "informative", "max_correlation": None}, "needs max_correlation"),
        ({"caps": None, "cap_width": 2}, "cap_width needs caps"),
        ({"cap_width": 50}, "below 50"),
        ({"caps": "iqd"}, "caps"),
        ({"fill": "zero"}, "fill"),
        ({"max_correlation": 1.5}, "max_correlation"),
    ],
)
def test_no_parameter_is_ignored(parameters, message):
    with pytest.raises(ValueError, match=message):
        FeatureCleaner(**parameters).fit(np.arange(20.0).reshape(10, 2))
    begun = FeatureCleaner().partial_fit(np.arange(20.0).reshape(10, 2))
    with pytest.raises(ValueError, match=message):
        begun.set_params(**parameters).partial_fit(np.arange(20.0).reshape(10, 2))


def test_bad_tables_name_the_culprit():
    X = make_dirty()
    cleaner = FeatureCleaner().fit(X)
    with pytest.raises(ValueError, match="missing:\n- never"):
        cleaner.transform(X.drop(columns="never"))
    with pytest.raises(ValueError, match="No column is left: all 2 are dropped"):
        FeatureCleaner().fit(np.ones((5, 2)))
    with pytest.raises(ValueError, match="No column is left"):
        FeatureCleaner().partial_fit([[1.0, 2.0]]).transform([[1.0, 2.0]])
    with pytest.raises(ValueError, match="'x1' has cells beyond 1e150"):
        FeatureCleaner().fit([[1.0, 1e200], [2.0, 3.0]])
    with pytest.raises(ValueError, match=r"X has 5 columns; transform returns the 6"):
        cleaner.inverse_transform(np.zeros((2, 5)))
    clean = cleaner.transform(X)
    with pytest.raises(ValueError, match="column 'b' where transform returns 'a'"):
        cleaner.inverse_transform(clean[clean.columns[[1, 0, 2, 3, 4, 5]]])
    with pytest.raises(ValueError, match="minimum of 2"):
        FeatureCleaner().fit([[1.0, 2.0]])


def test_inverse_sees_the_names_of_arrow_tables_and_names_bad_cells():
    pa = pytest.importorskip("pyarrow")
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["a", "b", "c"])
    cleaner = FeatureCleaner().fit(X)
    clean = cleaner.transform(X)
    assert cleaner.inverse_transform(pa.Table.from_pandas(clean)).equals(
        cleaner.inverse_transform(clean)
    )
    for kind in (pa.Table, pa.RecordBatch):
        with pytest.raises(ValueError, match="column 'c' where transform returns 'a'"):
            cleaner.inverse_transform(kind.from_pandas(clean[["c", "b", "a"]]))
    for cell in (np.inf, "x"):
        broken = clean.astype(object)
        broken.loc[3, "b"] = cell
        with pytest.raises(ValueError, match="olumn 'b'"):
            cleaner.inverse_transform(broken)


def test_composes_in_front_of_the_characterizer():
    X = make_dirty()
    pipe = make_pipeline(FeatureCleaner(), FeatureCharacterizer()).fit(X)
    table = pipe.transform(X)
    kept = pipe[0].get_feature_names_out()
    assert list(table.columns) == list(pipe[-1].feature_names_in_) == list(kept)
    assert list(pipe.get_feature_names_out()) == list(kept)
    back = pipe.inverse_transform(table)
    assert list(back.columns) == list(X.columns)


def test_refit_forgets():
    X = make_dirty()
    cleaner = FeatureCleaner().fit(X)
    cleaner.set_params(max_correlation=None).fit(X)
    assert cleaner.twins_ == {}
    assert "twin of a" in cleaner.get_feature_names_out()
    assert cleaner.n_samples_seen_ == 600


def _with_twins(n=400, seed=0):
    """Four noisy columns; three more repeat the last one in other units."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    return X.assign(e=3 - 1e6 * X["d"], f=2 * X["d"], g=1e-3 * X["d"])


def test_a_kept_column_counts_for_the_twins_dropped_for_it():
    X = _with_twins()
    cleaner = FeatureCleaner().fit(X)
    np.testing.assert_array_equal(cleaner.repeats_, [1, 1, 1, 4])
    small = cleaner.transform(X)
    ratios = AdaptiveRatioSelector(bits=12)
    noted = annotation(clone(ratios).fit(small).transform(small))["column_weights"]
    assert noted == [1, 1, 1, 4]
    # Columns may be reordered on the way; weights given by hand stand.
    turned = small[["d", "a", "b", "c"]]
    assert annotation(clone(ratios).fit(turned).transform(turned))["column_weights"] == [4, 1, 1, 1]
    once = ratios.set_params(column_weights={}).fit(small).transform(small)
    assert annotation(once)["column_weights"] == [1, 1, 1, 1]


@pytest.mark.parametrize("ratios", ["auto", [0.5, 1.0]])
@pytest.mark.parametrize("as_array", [False, True])
def test_cleaner_of_the_codec_weighs_like_a_cleaner_before_it(ratios, as_array):
    X = _with_twins()
    settings = {"bits": 10, "max_epochs": 0, "early_stopping": False}
    settings["compression_ratios"] = ratios
    table = X.to_numpy() if as_array else X
    inner = HierarchicalVQVAE(cleaner=FeatureCleaner(), **settings).fit(table).transform(table)
    outer = make_pipeline(FeatureCleaner(), HierarchicalVQVAE(**settings)).fit(X)
    np.testing.assert_array_equal(inner, outer.transform(X))
    # A weight given for a dropped column goes to its partner.
    ones = HierarchicalVQVAE(cleaner=FeatureCleaner(), column_weights={}, **settings).fit(X)
    np.testing.assert_array_equal(inner, ones.transform(X))
    once = HierarchicalVQVAE(**settings).fit(X[list("abcd")])
    rows = X[list("abcd")]
    loss = [
        np.var(np.asarray(X["d"] - e.inverse_transform(e.transform(x))["d"]))
        for e, x in ((outer, X), (once, rows))
    ]
    assert loss[0] < loss[1]


def test_rows_are_cleaned_once_to_be_judged(monkeypatch):
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(90, 2)), 3, axis=1) + 0.3 * rng.normal(size=(90, 6))
    fitted = HierarchicalVQVAE(cleaner=FeatureCleaner(), bits=8, max_epochs=0).fit(X)
    cleaned, clean = [], FeatureCleaner.transform
    monkeypatch.setattr(
        FeatureCleaner, "transform", lambda self, X: cleaned.append(len(X)) or clean(self, X)
    )
    for judge in (fitted.score, lambda rows: diagnose(fitted, rows, embedding=None)):
        cleaned.clear()
        judge(X[:60])
        assert cleaned == [60]


@pytest.mark.parametrize("caps", ["percentile", "iqr", "mad"])
def test_a_rare_flag_is_told_as_not_capped(caps):
    X = np.c_[np.arange(150.0), np.zeros(150)]
    X[0, 1] = 1.0
    cleaner = FeatureCleaner(caps=caps, max_same=None).fit(X)
    assert cleaner.report_.query("column == 'x1' and action == 'not capped'").shape[0] == 1
    np.testing.assert_array_equal(cleaner.transform(X)[:, 1], X[:, 1])


def test_what_the_limits_say_of_caps_in_front_of_the_codec():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd"))
    drifted = table.assign(a=table["a"] + 8)

    def quality(cleaner, inside):
        codec = HierarchicalVQVAE(bits=8, max_epochs=0, cleaner=cleaner if inside else None)
        model = codec if inside else make_pipeline(cleaner, codec)
        return model.fit(table).score(drifted)

    counted = quality(FeatureCleaner(), inside=True)
    assert quality(FeatureCleaner(caps=None), inside=False) == pytest.approx(counted, abs=0.05)
    assert quality(FeatureCleaner(), inside=False) > counted + 0.1
