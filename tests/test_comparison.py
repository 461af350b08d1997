"""compare: the same rows, units and rate; intervals against a direct bootstrap."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adaptive_vq import FeatureCleaner, HierarchicalVQVAE
from adaptive_vq.comparison import _drawn_nmse, _refuse_other_rate, compare
from adaptive_vq.diagnosis import diagnose
from adaptive_vq.metrics import Evaluation, category_nmse


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(500, 3))
    X = 3 * factors[:, np.arange(9) // 3] + 0.5 * rng.normal(size=(500, 9))
    return pd.DataFrame(X, columns=[f"c{j}" for j in range(9)])


def codec(strategy: str = "uniform", **parameters) -> HierarchicalVQVAE:
    quick = {"bits": 18, "max_epochs": 0, "early_stopping": False, "beam_width": 4}
    return HierarchicalVQVAE(auto_compression_strategy=strategy, **quick | parameters)


def fit(X: pd.DataFrame, strategy: str = "uniform", **parameters) -> HierarchicalVQVAE:
    return codec(strategy, **parameters).fit(X)


@pytest.fixture(scope="module")
def codecs(table: pd.DataFrame) -> dict[str, HierarchicalVQVAE]:
    return {
        "uniform": fit(table.iloc[:400]),
        "water": fit(table.iloc[:400], "water_filling"),
        "robust": fit(table.iloc[:400], scaler="robust"),
    }


@pytest.fixture(scope="module")
def given(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[400:]


def test_figures_are_those_of_the_diagnosis(codecs, given):
    found = compare({k: codecs[k] for k in ("water", "uniform")}, given, n_bootstrap=20)
    for name in ("uniform", "water"):
        own = diagnose(codecs[name], given, embedding=None)
        row = found.table.loc[name]
        assert row["nmse"] == own.summary["nmse"]
        assert row["worst_nmse"] == own.categories["nmse"].max()
        for figure in ("bits", "max_median", "max_min", "gini", "entropy", "utilization"):
            assert row[figure] == own.summary[figure]
        assert row["perplexity_share"] == own.summary["perplexity_share"]
    assert found.units == "water" != found.best
    assert found.table["nmse"].is_monotonic_increasing
    assert found.best == found.table.index[0]
    assert found.table["nmse_over_best"].iloc[0] == 0.0


def test_other_units_are_turned_into_those_of_the_first(codecs, given):
    found = compare(codecs, given, n_bootstrap=0)
    units = codecs["uniform"].units_
    Z = (given.to_numpy() - units.center_) / units.scale_
    rows = codecs["robust"].reconstruct(given).to_numpy()
    Z_hat = (rows - units.center_) / units.scale_
    expected = ((Z - Z_hat) ** 2).sum() / ((Z - units.reference_) ** 2).sum()
    assert found.table.loc["robust", "nmse"] == pytest.approx(expected, rel=1e-4)
    assert found.units == "uniform"


def test_errors_are_shares_against_the_mean_of_the_first(table, given):
    # Without a scaler rows are the same to both, and only the training means differ.
    first, second = (
        fit(rows, scaler=None, clip=None) for rows in (table.iloc[:200], table.iloc[200:400] + 3)
    )
    found = compare({"first": first, "second": second}, given, n_bootstrap=0)
    away = given.to_numpy() - first.units_.reference_
    error = (given - second.reconstruct(given)).to_numpy()
    expected = (error**2).sum() / (away**2).sum()
    assert found.table.loc["second", "nmse"] == pytest.approx(expected, rel=1e-4)


def test_intervals_are_those_of_redrawn_rows(codecs, given):
    pair = {k: codecs[k] for k in ("uniform", "water")}
    found = compare(pair, given, n_bootstrap=40, random_state=3)
    counts = np.random.default_rng(3).multinomial(100, np.full(100, 0.01), size=40)
    drawn = {}
    for name, own in pair.items():
        run = own._evaluate(given)
        rows = [np.repeat(np.arange(100), c) for c in counts]
        drawn[name] = [
            ((run.target - run.output)[r] ** 2).sum() / ((run.target - run.reference)[r] ** 2).sum()
            for r in rows
        ]
        each = [
            category_nmse(run.target[r], run.output[r], run.categories, reference=run.reference)
            for r in rows
        ]
        worst = [max(errors.values()) for errors in each]
        ratios = np.divide(worst, [np.median(list(errors.values())) for errors in each])
        row = found.table.loc[name]
        for figure, values in (("worst_nmse", worst), ("max_median", ratios)):
            low, high = np.percentile(values, [2.5, 97.5])
            assert (row[f"{figure}_low"], row[f"{figure}_high"]) == pytest.approx((low, high))
    for name in pair:
        low, high = np.percentile(drawn[name], [2.5, 97.5])
        row = found.table.loc[name]
        assert (row["nmse_low"], row["nmse_high"]) == pytest.approx((low, high))
        assert row["quality_low"] == pytest.approx(1 - high)
        over = np.subtract(drawn[name], drawn[found.best])
        low, high = np.percentile(over, [2.5, 97.5])
        assert (row["nmse_over_best_low"], row["nmse_over_best_high"]) == pytest.approx((low, high))


def test_missing_cells_count_nowhere(table):
    """In units whose zero is not the mean, too."""
    holes = (table + 3).mask(np.random.default_rng(1).random(table.shape) < 0.2)
    pair = {
        strategy: fit(holes[:400], strategy, scaler=None)
        for strategy in ("uniform", "water_filling")
    }
    found = compare(pair, holes[400:], n_bootstrap=100).table
    for name, one in pair.items():
        own = diagnose(one, holes[400:], embedding=None).summary
        assert found.loc[name, ["nmse", "worst_nmse"]].tolist() == [own["nmse"], own["worst_nmse"]]
    for figure in ("nmse", "worst_nmse", "quality"):
        assert (found[f"{figure}_low"] < found[figure]).all()
        assert (found[figure] < found[f"{figure}_high"]).all()


def test_equal_codecs_cannot_be_told_apart(codecs, given):
    found = compare({"a": codecs["water"], "b": codecs["water"]}, given, n_bootstrap=50)
    assert (found.table["nmse_over_best"] == 0).all()
    assert (found.table["nmse_over_best_high"] == 0).all()
    assert str(found).endswith("\n\n'a', 'b' have the same NMSE.")


def test_different_rates_are_refused_unless_asked_for(codecs, table, given):
    pair = {"small": fit(table.iloc[:400], bits=16), "large": fit(table.iloc[:400], bits=24)}
    with pytest.raises(ValueError, match=r"'small' takes 1\d\.\d\d bits .* max_bits_difference=8"):
        compare(pair, given)
    found = compare(pair, given, max_bits_difference=8.0, n_bootstrap=200)
    assert found.best == "large"
    assert "tell it from all others" in str(found)
    assert found.table.loc["small", "nmse_over_best_low"] > 0


def test_the_difference_told_is_enough_and_codecs_without_a_budget_have_no_equal_one():
    judged = {
        name: SimpleNamespace(codec=None, run=SimpleNamespace(bits=bits))
        for name, bits in {"small": 8.0, "large": 10.4}.items()
    }
    with pytest.raises(ValueError, match=r"or set max_bits_difference=3\.$"):
        _refuse_other_rate(judged, 1.0)
    _refuse_other_rate(judged, 3.0)


def test_same_budget_may_be_spent_differently(codecs, given, table):
    X = table.iloc[:400].round(0).clip(-1, 1)
    pair = {"full": fit(X), "poor": fit(X, codebook_sizes=2)}
    assert pair["full"].n_bits_ - pair["poor"].n_bits_ > 1
    assert len(compare(pair, X, n_bootstrap=0).table) == 2


def test_codecs_with_the_same_errors_are_told_to_be_the_same(codecs, given):
    same = {"a": codecs["uniform"], "b": codecs["uniform"]}
    assert str(compare(same, given, n_bootstrap=20)).endswith("'a', 'b' have the same NMSE.")
    worst = compare({**same, "worse": fit(given, bits=2)}, given, max_bits_difference=np.inf)
    told = "'a', 'b' have the same, least NMSE; the rows tell them from all others."
    assert str(worst).replace("\n  ", " ").endswith(told)
    assert repr(compare(same, given, n_bootstrap=0)).endswith(" of 'a', 'b'>")
    assert "95 % intervals of 1 draw of rows" in str(compare(same, given, n_bootstrap=1))


def test_output(codecs, given, tmp_path):
    found = compare({"<b>": codecs["uniform"], "water": codecs["water"]}, given, n_bootstrap=30)
    text = found.to_html(tmp_path / "comparison.html")
    assert (tmp_path / "comparison.html").read_text(encoding="utf-8") == text
    assert "&lt;b&gt;" in text
    assert "<b>'" not in text
    assert "prefers-color-scheme:dark" in text
    assert "95&nbsp;% intervals of 30 draws" in text
    assert "<table>" in found._repr_html_()
    least = f"{found.table['nmse'].min():.4f} of {found.best!r}>"
    assert repr(found) == f"<Comparison of 2 codecs on {len(given):,} rows: least NMSE {least}"
    frame = found.to_frame()
    frame["nmse"] = 0.0
    assert (found.table["nmse"] > 0).all()


def test_without_draws_there_are_no_intervals(codecs, given):
    found = compare({"a": codecs["uniform"], "b": codecs["water"]}, given, n_bootstrap=0)
    assert found.table["nmse_low"].isna().all()
    assert "no intervals" in str(found)
    assert "[" not in str(found).split("\n\n")[1]


def test_rows_that_never_leave_the_mean_have_one_error_in_all_draws():
    X = pd.DataFrame({"a": 20 * [2.0]})
    with pytest.warns(UserWarning, match="No column of X varies"):
        still = {name: fit(X) for name in "ab"}
    found = compare(still, X, n_bootstrap=5).table
    assert (found[["nmse", "nmse_low", "nmse_high", "nmse_over_best_high"]] == 0.0).all(axis=None)


def test_an_error_beyond_all_shares_is_so_in_all_draws():
    target = np.array([[0.0], [0.0], [0.0], [0.0]])
    output = np.array([[1.0], [0.0], [0.0], [0.0]])  # many draws have none of the first row
    codes, books = np.zeros((4, 1), int), {"a__L0": ("a", 0, 2)}
    run = Evaluation(target, output, np.zeros(1), codes, {"a": [0]}, books)
    assert np.isposinf(_drawn_nmse({"it": run}, 20, 0)["it"]).all()


def test_pipelines_that_see_the_same_rows(codecs, given, table):
    piped = make_pipeline(codec())
    found = compare({"a": codecs["uniform"], "b": piped.fit(table.iloc[:400])}, given)
    assert len(found.table) == 2


@pytest.mark.parametrize(
    "step", [StandardScaler().set_output(transform="pandas"), FeatureCleaner()]
)
def test_other_cells_are_refused(codecs, given, table, step):
    model = make_pipeline(step, codec())
    with pytest.raises(ValueError, match="'b' and 'a' see different tables"):
        compare({"a": codecs["uniform"], "b": model.fit(table.iloc[:400])}, given)


def test_errors_of_one_codec_name_it(codecs, given, table):
    first, X = codecs["uniform"], given.to_numpy()
    fewer = fit(table.iloc[:400, :4].to_numpy())
    with pytest.raises(ValueError, match=r"compare \('b'\): X has 9 features.* expecting 4"):
        compare({"a": fit(table.iloc[:400].to_numpy()), "b": fewer}, X)
    with pytest.raises(ValueError, match=r"^compare \('b'\): The feature names"):
        compare({"a": first, "b": fit(table.iloc[:400, :4])}, given)
    with pytest.raises(NotFittedError, match=r"compare \('b'\): This HierarchicalVQVAE"):
        compare({"a": first, "b": HierarchicalVQVAE()}, given)
    with pytest.raises(TypeError, match=r"^compare \('b'\) needs a fitted"):  # and once only
        compare({"a": first, "b": LinearRegression()}, given)


def test_bad_input(codecs, given):
    with pytest.raises(ValueError, match="at least two"):
        compare({"a": codecs["uniform"]}, given)
    with pytest.raises(ValueError, match="mapping of names"):
        compare(list(codecs.values()), given)
    with pytest.raises(TypeError, match=r"compare \('b'\) needs a fitted HierarchicalVQVAE"):
        compare({"a": codecs["uniform"], "b": LinearRegression()}, given)
    with pytest.raises(NotFittedError):
        compare({"a": codecs["uniform"], "b": HierarchicalVQVAE()}, given)
    with pytest.raises(ValueError, match="at least 2 rows"):
        compare(codecs, given.iloc[:1])
    with pytest.raises(TypeError, match="random_state"):
        compare(codecs, given, random_state="a")
    with pytest.raises(ValueError, match="n_bootstrap=-1"):
        compare(codecs, given, n_bootstrap=-1)
    with pytest.raises(ValueError, match="max_bits_difference=nan must not be negative"):
        compare(codecs, given, max_bits_difference=float("nan"))
    with pytest.raises(ValueError, match=r"two of \[1, '1'\] are the same"):
        compare({1: codecs["uniform"], "1": codecs["water"]}, given)


def test_scores_in_other_units_may_order_codecs_otherwise(table):
    heavy = table.assign(c0=np.exp(table["c0"]))
    train, rows = heavy.iloc[:400], heavy.iloc[400:]
    codecs = {scaler: fit(train, scaler=scaler) for scaler in ("standard", "quantile")}
    assert codecs["quantile"].score(rows) > codecs["standard"].score(rows)
    found = compare(codecs, rows, n_bootstrap=0)
    decoded = {name: own.reconstruct(rows) for name, own in codecs.items()}
    by_hand = {
        name: float((((back - rows) / train.std()) ** 2).to_numpy().sum())
        for name, back in decoded.items()
    }
    assert found.best == min(by_hand, key=by_hand.get) == "standard"
