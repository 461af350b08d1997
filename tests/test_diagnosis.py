"""diagnose: every figure against a direct computation, bad input, searches, public tables."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq._knee import frontier
from adaptive_vq.diagnosis import Diagnosis, diagnose
from adaptive_vq.metrics import diagnostics_scorer

mpl.use("Agg")

FAMILIES = ("wave", "level", "price in US$ <b>", "flag")


def make_table(n: int, seed: int = 0) -> pd.DataFrame:
    """Four families of four columns with one or two factors each, and a few missing cells."""
    rng = np.random.default_rng(seed)
    columns = {}
    for i, family in enumerate(FAMILIES):
        factors = rng.normal(size=(n, 2)) * [1.0, 0.3 * i]
        for c in range(4):
            mix = factors @ [1.0, c - 1.5] + 0.2 * rng.normal(size=n)
            columns[f"{family}__{c}"] = (10.0**i) * (np.exp(mix) if i == 2 else mix) + c
    frame = pd.DataFrame(columns)
    frame.iloc[rng.integers(0, n, 10), rng.integers(0, 16, 10)] = np.nan
    return frame


@pytest.fixture(scope="module")
def split() -> tuple[pd.DataFrame, pd.DataFrame]:
    table = make_table(700)
    return table.iloc[:500], table.iloc[500:]


@pytest.fixture(scope="module")
def pipe(split: tuple[pd.DataFrame, pd.DataFrame]) -> Pipeline:
    return Pipeline(
        [
            ("characterize", FeatureCharacterizer(categories="prefix")),
            ("ratios", AdaptiveRatioSelector("rate_distortion", bits=32)),
            ("vq", HierarchicalVQVAE(max_epochs=1, random_state=0)),
        ]
    ).fit(split[0])


@pytest.fixture(scope="module")
def report(pipe: Pipeline, split: tuple[pd.DataFrame, pd.DataFrame]) -> Diagnosis:
    return diagnose(pipe, split[1], n_map_rows=60)


class Direct:
    """The same figures by another way: public methods and plain numpy."""

    def __init__(self, pipe: Pipeline, X: pd.DataFrame) -> None:
        vq = pipe[-1]
        self.codes = np.asarray(pipe.transform(X), dtype=np.int64)
        self.X = X.to_numpy()
        self.X_hat = pipe.inverse_transform(pipe.transform(X)).to_numpy()
        units = vq.units_
        self.Z = (self.X - units.center_) / units.scale_
        self.capped = (np.clip(self.X, units.lower_, units.upper_) - units.center_) / units.scale_
        self.Z_hat = (self.X_hat - units.center_) / units.scale_
        self.mean = units.reference_

    def nmse(self, columns, target=None, output=None) -> float:
        target = self.Z if target is None else target
        output = self.Z_hat if output is None else output
        error = np.nansum((target - output)[:, columns] ** 2)
        return error / np.nansum((target - self.mean)[:, columns] ** 2)


@pytest.fixture(scope="module")
def direct(pipe: Pipeline, split: tuple[pd.DataFrame, pd.DataFrame]) -> Direct:
    return Direct(pipe, split[1])


# ------------------------------------------------------------------------------- figures
def test_categories_are_direct_computations(report, direct, pipe):
    total = np.nansum((direct.Z - direct.Z_hat) ** 2)
    assert list(report.categories.index) == list(pipe[-1].categories_)
    for name, columns in pipe[-1].categories_.items():
        row = report.categories.loc[name]
        error = (direct.Z - direct.Z_hat)[:, columns]
        capped = (direct.capped - direct.Z_hat)[:, columns]
        assert row["n_columns"] == len(columns)
        assert row["nmse"] == pytest.approx(direct.nmse(columns), rel=1e-4)
        assert row["nmse_capped"] == pytest.approx(direct.nmse(columns, direct.capped), rel=1e-4)
        assert row["mae"] == pytest.approx(np.nanmean(np.abs(error)), rel=1e-4)
        assert row["share"] == pytest.approx(np.nansum(error**2) / total, rel=1e-4)
        assert row["share_beyond_caps"] == pytest.approx(
            1 - np.nansum(capped**2) / np.nansum(error**2), abs=1e-3
        )
        assert row["predicted_nmse"] == pipe[-1].decisions_.loc[name, "predicted_nmse"]
        assert row["bits"] == pytest.approx(pipe[-1].decisions_.loc[name, "bits_spent"])
    assert report.categories["share"].sum() == pytest.approx(1.0)


def test_own_units_weigh_columns_by_their_numbers(report, direct, pipe):
    own = pipe[-1].units_.from_codec(direct.mean[None])[0]
    for name, columns in pipe[-1].categories_.items():
        error = np.nansum((direct.X - direct.X_hat)[:, columns] ** 2)
        energy = np.nansum((direct.X - own)[:, columns] ** 2)
        found = report.categories.loc[name, "nmse_original"]
        assert found == pytest.approx(error / energy, rel=1e-4)
    # A single column has the same NMSE in any affine units.
    columns = report.columns
    assert np.allclose(columns["nmse"], columns["nmse_original"], rtol=1e-4)


def test_columns_are_direct_computations(report, direct, split):
    error = direct.Z - direct.Z_hat
    table = report.columns
    assert list(table.index) == list(split[1].columns)
    for j in range(len(table)):
        assert table["nmse"].iloc[j] == pytest.approx(direct.nmse([j]), rel=1e-4)
    assert np.allclose(table["mae"], np.nanmean(np.abs(error), axis=0), rtol=1e-4)
    own = np.nanmean(np.abs(direct.X - direct.X_hat), axis=0)
    assert np.allclose(table["mae_original"], own, rtol=1e-5)
    assert table["share"].sum() == pytest.approx(1.0)
    assert np.allclose(table.groupby("category")["share_of_category"].sum(), 1.0)
    assert np.allclose(table["missing"], np.isnan(direct.X).mean(axis=0))


def test_shift_compares_with_the_training_rows(report, pipe, split):
    units, (train, given) = pipe[-1].units_, split
    outside = (given.to_numpy() < units.lower_) | (given.to_numpy() > units.upper_)
    cells = (~given.isna()).sum().to_numpy()
    assert np.allclose(report.columns["capped"], outside.sum(axis=0) / cells)
    outside = (train.to_numpy() < units.lower_) | (train.to_numpy() > units.upper_)
    cells = (~train.isna()).sum().to_numpy()
    assert np.allclose(report.columns["training_capped"], outside.sum(axis=0) / cells)
    assert np.allclose(report.columns["training_missing"], train.isna().mean())
    capped = (np.clip(given, units.lower_, units.upper_) - units.center_) / units.scale_
    sd = np.sqrt(units.variance_)
    assert np.allclose(report.columns["mean_shift"], (capped.mean() - units.reference_) / sd)
    assert np.allclose(report.columns["spread_ratio"], capped.std(ddof=0) / sd)


def test_codebooks_are_direct_computations(report, direct, pipe, split):
    before = np.asarray(pipe.transform(split[0]), dtype=np.int64)
    assert list(report.codebooks.index) == list(pipe.get_feature_names_out())
    for j, (name, row) in enumerate(report.codebooks.iterrows()):
        size = len(pipe[-1].codebooks_[name])
        assert (row["size"], row["bits"]) == (size, pytest.approx(math.log2(size)))
        assert row["rows_per_codeword"] == pytest.approx(500 / size)
        for prefix, codes in (("", direct.codes[:, j]), ("training_", before[:, j])):
            values, hits = np.unique(codes, return_counts=True)
            p = hits / hits.sum()
            assert row[f"{prefix}utilization"] == pytest.approx(len(values) / size)
            assert row[f"{prefix}dead"] == size - len(values)
            assert row[f"{prefix}rare"] == (hits < 5).sum()
            assert row[f"{prefix}entropy"] == pytest.approx(-(p * np.log2(p)).sum())
            assert row[f"{prefix}perplexity"] == pytest.approx(2 ** -(p * np.log2(p)).sum())
            assert row[f"{prefix}top_share"] == pytest.approx(p.max())
        assert row["unseen"] == np.isin(direct.codes[:, j], before[:, j], invert=True).mean()


def test_levels_decode_prefixes(report, direct, pipe, split):
    everything = slice(None)
    assert report.levels.loc[0, ["bits", "nmse"]].tolist() == [0.0, 1.0]
    codes = pipe.transform(split[1])
    units = pipe[-1].units_
    for n in (1, 2, 3):
        rows = pipe[-1].inverse_transform(codes, n_levels=n).to_numpy()
        output = (rows - units.center_) / units.scale_
        expected = direct.nmse(everything, output=output)
        assert report.levels.loc[n, "nmse"] == pytest.approx(expected, rel=1e-4)
        expected = direct.nmse(everything, direct.capped, output)
        assert report.levels.loc[n, "nmse_capped"] == pytest.approx(expected, rel=1e-4)
        sizes = report.codebooks.loc[report.codebooks["level"] < n, "size"].astype(float)
        assert report.levels.loc[n, "bits"] == pytest.approx(np.log2(sizes).sum())
    assert report.levels.loc[3, "quality"] == pipe.score(split[1])


def test_summary(report, direct, pipe, split):
    s = report.summary
    errors = report.categories["nmse"]
    assert s["quality"] == pipe.score(split[1])
    assert s["nmse_capped"] == pytest.approx(direct.nmse(slice(None), direct.capped), rel=1e-4)
    assert s["mae"] == pytest.approx(np.nanmean(np.abs(direct.Z - direct.Z_hat)), rel=1e-4)
    assert s["worst_category"] == errors.idxmax()
    assert s["max_min"] == pytest.approx(errors.max() / errors.min())
    assert s["max_median"] == pytest.approx(errors.max() / errors.median())
    used = sum(len(np.unique(c)) for c in direct.codes.T)
    assert s["utilization"] == pytest.approx(used / report.codebooks["size"].sum())
    assert s["bits"] == pytest.approx(pipe[-1].n_bits_)
    assert s["entropy"] == pytest.approx(report.codebooks["entropy"].sum())
    assert (s["budget"], s["n_rows"], s["n_training_rows"]) == (32, 200, 500)
    assert (s["n_columns"], s["n_categories"]) == (16, 4)
    assert s["n_codebooks"] == len(report.codebooks)
    assert s["missing"] == pytest.approx(np.isnan(direct.X).mean())
    assert s["training_missing"] == pytest.approx(split[0].isna().to_numpy().mean())
    energy = np.nansum((direct.X - pipe[-1].units_.own_mean()) ** 2)
    error = np.nansum((direct.X - direct.X_hat) ** 2)
    assert s["nmse_original"] == pytest.approx(error / energy, rel=1e-4)
    outside = report.columns["capped"] * (1 - report.columns["missing"]) * 200
    assert s["capped"] == pytest.approx(outside.sum() / (~np.isnan(direct.X)).sum())


def test_training_figures_are_those_of_the_training_rows(report, pipe, split):
    own = diagnose(pipe, split[0], embedding=None)
    assert own.summary["nmse_capped"] == pytest.approx(report.summary["training_nmse"], rel=1e-5)
    pd.testing.assert_series_equal(
        own.categories["nmse_capped"],
        report.categories["training_nmse"],
        check_names=False,
        rtol=1e-5,
    )
    books = own.codebooks
    assert np.array_equal(books["utilization"], report.codebooks["training_utilization"])
    assert own.summary["new_code_rows"] == 0.0


def test_decisions_have_a_reason_and_the_measured_error(report, pipe):
    table = report.decisions
    assert np.array_equal(table["measured_nmse"], report.categories["nmse_capped"])
    for name, row in table.iterrows():
        assert f"{sum(pipe[-1].bits_[name])} of 32 bits" in row["reason"]
        assert row["reason"].endswith(".")


def test_topographic_similarity(report):
    assert 0.5 < report.summary["topographic_after"] < report.summary["topographic_before"] <= 1.0


def test_map_places_a_sample_by_code(report, direct):
    found = report.latent_map
    assert len(found.points) == 60
    assert found.method == "tsne"
    j = list(report.codebooks.index).index(found.codebook)
    assert np.array_equal(found.points["code"], direct.codes[found.points.index, j])
    coarse = report.codebooks.index[report.codebooks["level"] == 0]
    assert list(found.scores.index) == list(coarse)


def test_frontier_falls_and_meets_the_plan(report, pipe):
    predicted = report.frontier["predicted_nmse"]
    assert list(report.curves) == list(report.categories.index)
    assert predicted[0] == pytest.approx(1.0, abs=0.01)
    assert predicted.is_monotonic_decreasing
    weights = pipe[-1].units_.variance_
    parts = [
        weights[columns].sum() * pipe[1].decisions_.loc[name, "predicted_nmse"]
        for name, columns in pipe[-1].categories_.items()
    ]
    assert predicted[32] == pytest.approx(sum(parts) / weights.sum(), rel=0.02)


def test_frontier_counts_cells_that_are_there():
    # Of equal spreads: with nine of ten cells goes as much of a column's part of the error.
    codec = SimpleNamespace(
        curves_={"all": np.array([1.0, 0.0]), "gappy": np.array([1.0, 1.0])},
        categories_={"all": np.array([0]), "gappy": np.array([1])},
        units_=SimpleNamespace(variance_=np.ones(2)),
        training_={"observed": np.array([100, 10]), "n_rows": 100},
        codebook_sizes="auto",
        budget_=1,
        n_bits_=1.0,
    )
    predicted = frontier(SimpleNamespace(codec=codec))["predicted_nmse"]
    assert predicted[1] == pytest.approx(10 / 110)


def test_worst_columns(report):
    worst = report.worst_columns(2)
    assert len(worst) == 8
    turned = replace(report, categories=report.categories.iloc[::-1]).worst_columns(1)
    assert turned["category"].tolist() == list(report.categories.index)[::-1]
    for _, group in worst.groupby("category"):
        rest = report.columns[report.columns["category"] == group["category"].iloc[0]]
        largest = rest["share_of_category"].nlargest(2)
        assert group["share_of_category"].tolist() == largest.tolist()


def test_polars_and_arrays_give_the_same_figures(pipe, split, report):
    given = diagnose(pipe, pl.from_pandas(split[1]), embedding=None)
    pd.testing.assert_frame_equal(given.categories, report.categories)


def test_same_seed_same_report(pipe, split, report):
    again = diagnose(pipe, split[1], n_map_rows=60)
    assert again.to_json() == report.to_json()
    assert again.to_html() == report.to_html()  # also the pictures are drawn alike


# ------------------------------------------------------------------------ what is not known
def test_plan_that_was_not_measured_has_no_frontier(split):
    quick = {"bits": 24, "max_epochs": 0, "early_stopping": False}
    vq = HierarchicalVQVAE(auto_compression_strategy="uniform", **quick)
    found = diagnose(vq.fit(split[0]), split[1].iloc[:40], embedding="pca")
    assert found.frontier is None
    assert "not measured" in found.notes["frontier"]
    with pytest.raises(ValueError, match="not measured"):
        found.to_frame("frontier")
    assert "no epoch" in found.notes["history"]
    assert json.loads(found.to_json())["frontier"] is None


def test_missing_record_of_training_is_said(pipe, split):
    vq = pipe[-1]
    kept = vq.__dict__.pop("training_")
    try:
        found = diagnose(pipe, split[1], embedding=None)
    finally:
        vq.training_ = kept
    assert math.isnan(found.summary["training_nmse"])
    assert "training rows" in found.notes["training"]
    assert found.codebooks["training_utilization"].isna().all()
    assert "fitted on rows not on record" in found.to_html()


def test_constant_table_has_no_codebook():
    X = np.tile([1.0, 2.0, 3.0], (40, 1))
    with pytest.warns(UserWarning, match="No column of X varies"):
        vq = HierarchicalVQVAE(max_epochs=0).fit(X)
    found = diagnose(vq, X)
    assert found.codebooks.empty
    assert "no codebook" in found.notes["codebooks"]
    assert found.latent_map is None
    assert math.isnan(found.summary["topographic_after"])
    assert found.to_html().count("<svg") >= 4
    json.loads(found.to_json())


def test_sizes_that_leave_no_codebook_are_said():
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.warns(UserWarning, match="leaves no code"):
        vq = HierarchicalVQVAE(codebook_sizes=1, max_epochs=0).fit(X)
    found = diagnose(vq, X, embedding=None)
    assert "codebook_sizes gives no category more" in found.notes["codebooks"]


def test_missing_column_is_said(pipe, split):
    given = split[1].copy()
    given["wave__0"] = np.nan
    found = diagnose(pipe, given, embedding=None)
    assert math.isnan(found.columns.loc["wave__0", "nmse"])
    assert "1 column, such as 'wave__0'" in found.notes["nmse"]
    assert "mean_shift" not in found.notes  # which is of columns without spread in training
    assert json.loads(found.to_json())["columns"][0]["nmse"] is None


def test_a_category_without_a_cell_is_not_the_worst(pipe, split):
    given = split[1].copy()
    first = given.columns[next(iter(pipe[-1].categories_.values()))]
    given[first] = np.nan
    found = diagnose(pipe, given, embedding=None)
    assert found.categories["nmse"].isna().tolist() == [True, False, False, False]
    assert found.summary["worst_nmse"] == found.categories["nmse"].max()
    assert f"{len(first)} columns, such as" in found.notes["nmse"]


def test_nothing_is_made_up_of_a_column_empty_in_training():
    X = np.random.default_rng(0).normal(size=(80, 4))
    X[:60, 3] = np.nan
    with pytest.warns(UserWarning, match="no observed cell"):
        vq = HierarchicalVQVAE(bits=8, max_epochs=0, random_state=0).fit(X[:60])
    table = diagnose(vq, X[60:], embedding=None).columns
    assert table["training_capped"].isna().tolist() == [False, False, False, True]
    assert table["training_missing"].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_shift_of_a_constant_column_is_said_to_be_unknown():
    X = np.random.default_rng(0).normal(size=(80, 4))
    X[:, 3] = 5.0
    vq = HierarchicalVQVAE(bits=8, max_epochs=0, random_state=0).fit(X[:60])
    found = diagnose(vq, X[60:], embedding=None)
    assert found.columns["mean_shift"].isna().tolist() == [False, False, False, True]
    assert "'x3'" in found.notes["mean_shift"]


def test_partial_fit_adds_to_the_record(split):
    train, given = split
    quick = {"bits": 24, "max_epochs": 0, "early_stopping": False}
    vq = HierarchicalVQVAE(auto_compression_strategy="uniform", **quick).partial_fit(train)
    vq.partial_fit(given)
    found = diagnose(vq, given, embedding=None)
    assert found.summary["n_training_rows"] == 700
    hits = next(iter(vq.training_["codes"].values()))
    assert hits.sum() == 700


# ------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize("wrong", [LinearRegression(), StandardScaler(), "vq", None])
def test_foreign_estimator(wrong, split):
    with pytest.raises(TypeError, match="diagnose needs a fitted HierarchicalVQVAE"):
        diagnose(wrong, split[1])


def test_pipeline_that_does_not_end_in_the_codec(split):
    model = make_pipeline(HierarchicalVQVAE(), LinearRegression())
    with pytest.raises(TypeError, match="ending in LinearRegression"):
        diagnose(model, split[1])


def test_unfitted(split):
    for estimator in (HierarchicalVQVAE(), make_pipeline(HierarchicalVQVAE())):
        with pytest.raises(NotFittedError):
            diagnose(estimator, split[1])


def test_other_columns(pipe, split):
    with pytest.raises(ValueError, match="feature names"):
        diagnose(pipe, split[1].rename(columns={"wave__0": "other"}))
    with pytest.raises(ValueError, match="feature names"):
        diagnose(pipe, split[1].iloc[:, :5])


def test_too_few_rows_or_cells(pipe, split):
    with pytest.raises(ValueError, match="at least 2 rows; X has 1"):
        diagnose(pipe, split[1].iloc[:1])
    with pytest.raises(ValueError, match="every cell of X is missing"):
        diagnose(pipe, split[1] * np.nan)


def test_two_rows_are_enough(pipe, split):
    found = diagnose(pipe, split[1].iloc[:2])
    assert "topographic_after" in found.notes
    assert "latent_map" in found.notes
    assert "-" in str(found)


def test_unknown_choices(pipe, split, report):
    with pytest.raises(ValueError, match="embedding='umap'"):
        diagnose(pipe, split[1], embedding="umap")
    with pytest.raises(ValueError, match="table='rows'"):
        report.to_frame("rows")
    with pytest.raises(ValueError, match="n == -1"):
        report.worst_columns(-1)
    with pytest.raises(TypeError, match="n must be"):
        report.worst_columns(1.5)


@pytest.mark.parametrize("embedding", [None, "pca", "tsne"])
def test_seed_that_is_none_is_refused_by_name(pipe, split, embedding):
    with pytest.raises(ValueError, match=r"^random_state == -1, must be >= 0"):
        diagnose(pipe, split[1], embedding=embedding, random_state=-1)
    with pytest.raises(TypeError, match=r"^random_state must be"):
        diagnose(pipe, split[1], embedding=embedding, random_state="one")


def test_frames_and_records_are_copies(report, pipe):
    table = report.to_frame("columns")
    table.iloc[0, 1] = -1.0
    assert report.columns.iloc[0, 1] != -1.0
    assert report.to_frame("summary").loc["n_rows", "value"] == 200
    assert len(report.to_frame("recommendations")) == len(report.recommendations)
    assert report.history == pipe[-1].history_
    assert report.history[0] is not pipe[-1].history_[0]


def test_the_seed_chooses_the_pairs_of_rows(pipe, split, report):
    other, again = (diagnose(pipe, split[1], embedding=None, random_state=1) for _ in range(2))
    for figure in ("topographic_before", "topographic_after"):
        assert other.summary[figure] == again.summary[figure] != report.summary[figure]
        assert other.summary[figure] == pytest.approx(report.summary[figure], abs=0.05)


# ------------------------------------------------------------- searches and public tables
def search_strategies(X: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, bits: int) -> GridSearchCV:
    """Multi-metric search over strategies, checked to take one pass per candidate and fold."""
    passes = []
    evaluate = HierarchicalVQVAE._evaluate

    def counted(self, X):
        passes.append(1)
        return evaluate(self, X)

    monkeypatch.setattr(HierarchicalVQVAE, "_evaluate", counted)
    model = Pipeline(
        [
            ("ratios", AdaptiveRatioSelector(bits=bits)),
            ("vq", HierarchicalVQVAE(max_epochs=0, beam_width=4, early_stopping=False)),
        ]
    )
    strategies = ["uniform", "balanced", "water_filling"]
    search = GridSearchCV(
        model, {"ratios__strategy": strategies}, scoring=diagnostics_scorer, refit="quality", cv=2
    ).fit(X)
    assert len(passes) == len(strategies) * 2
    for metric in ("quality", "worst_category", "balance", "utilization", "perplexity", "bits"):
        assert np.isfinite(search.cv_results_[f"mean_test_{metric}"]).all()
    assert len(set(search.cv_results_["mean_test_quality"])) > 1
    return search


def test_search_over_strategies_takes_one_pass_per_candidate(split, monkeypatch):
    search = search_strategies(split[0], monkeypatch, bits=24)
    assert diagnose(search.best_estimator_, split[1], embedding=None).summary["bits"] <= 24


def test_search_over_strategies_on_news(real_table, monkeypatch):
    search_strategies(real_table("online_news").data.iloc[:800], monkeypatch, bits=32)


@pytest.mark.parametrize(
    ("name", "n", "bits"), [("online_news", 3000, 24), ("glove50_small", 1500, 16)]
)
def test_public_tables_are_coded_as_predicted(real_table, name, n, bits):
    X = real_table(name).data
    rows = np.random.default_rng(0).permutation(len(X))
    vq = HierarchicalVQVAE(bits=bits, max_epochs=0, random_state=0).fit(X.iloc[rows[:n]])
    found = diagnose(vq, X.iloc[rows[n : n + 3000]], embedding="pca")
    total = found.frontier["predicted_nmse"][bits]
    assert found.summary["nmse_capped"] == pytest.approx(total, rel=0.15)
    notable = found.categories[found.categories["predicted_nmse"] > 0.01]
    assert np.allclose(notable["nmse_capped"], notable["predicted_nmse"], rtol=0.15)
    assert len(found.to_html().encode()) < 3_000_000
