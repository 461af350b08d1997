"""Corners of the public surface that a fifth review found wanting."""

import io

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    compare,
    diagnose,
    load,
    save,
    tune_categories,
)
from adaptive_vq.displays import (
    CategoryErrorDisplay,
    RatioDecisionDisplay,
    TrainingHistoryDisplay,
)
from adaptive_vq.metrics import (
    category_nmse,
    diagnostics_scorer,
    quality_scorer,
    reconstruction_nmse,
    utilization_scorer,
    worst_category_scorer,
)
from adaptive_vq.persistence import read_document

RNG = np.random.default_rng(0)
X = np.repeat(RNG.normal(size=(120, 3)), 3, axis=1) + 0.2 * RNG.normal(size=(120, 9))
NAMES = list("abcdefghi")


def codec(**parameters) -> HierarchicalVQVAE:
    quick = {"bits": 12, "max_epochs": 0, "early_stopping": False, "random_state": 0}
    if "compression_ratios" not in parameters:
        quick["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(**quick | parameters)


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


@pytest.fixture(scope="module")
def named() -> HierarchicalVQVAE:
    return codec().fit(pd.DataFrame(X, columns=NAMES))


@pytest.mark.parametrize("path", [io.BytesIO(), None, 3])
def test_what_is_no_path_is_named(fitted, path):
    report, found = diagnose(fitted, X, embedding=None), compare({"a": fitted, "b": fitted}, X)
    uses = [lambda p: save(fitted, p), load, read_document]
    if path is not None:  # these return the text alone
        uses += [report.to_json, report.to_html, found.to_html]
    for use in uses:
        with pytest.raises(TypeError, match=r"^path=.* is no path: give the name of a file, as"):
            use(path)


def grid(**settings) -> GridSearchCV:
    return GridSearchCV(codec(), {"bits": [4]}, cv=2, **settings)


@pytest.mark.parametrize("inside", [False, True])
def test_a_search_without_best_estimator_says_what_to_do(fitted, inside):
    for search, advice in [
        (grid(), "got .*GridSearchCV.* fit it first"),
        (grid(refit=False).fit(X), "got .*GridSearchCV.* With refit=False .* refit=True"),
    ]:
        given = make_pipeline("passthrough", search) if inside else search
        uses = [
            lambda e: diagnose(e, X),
            lambda e: compare({"a": fitted, "b": e}, X),
            lambda e: quality_scorer(e, X),
            lambda e: CategoryErrorDisplay.from_estimator(e, X),
            RatioDecisionDisplay.from_estimator,
            TrainingHistoryDisplay.from_estimator,
        ]
        for use in uses:
            with pytest.raises(TypeError, match=advice):
                use(given)


def test_tuning_says_what_to_give_of_a_search():
    with pytest.raises(TypeError, match=r"got GridSearchCV\. .* best_estimator_"):
        tune_categories(grid().fit(X), X)


@pytest.mark.parametrize("refit", ["no", None, 1, []])
def test_tuning_refuses_a_refit_that_is_neither_true_nor_false(refit):
    with pytest.raises(ValueError, match=r"refit=.* must be True or False"):
        tune_categories(codec(), X, refit=refit, max_rounds=0)


def test_tuning_takes_truth_of_numpy():
    assert len(tune_categories(codec(), X, refit=np.False_, max_rounds=0).report) == 1


@pytest.mark.parametrize(
    "inverse",
    [
        lambda z: z[:, :2],
        lambda z: np.hstack([z, z]),
        lambda z: z[:, 0],
        lambda z: z[:50],
        lambda z: None,
        lambda z: z.astype(str),
    ],
)
@pytest.mark.parametrize("checked", [True, False])  # by scikit-learn
def test_a_scaler_that_gives_another_table_back_is_named(inverse, checked):
    scaler = FunctionTransformer(lambda z: z, inverse, check_inverse=checked)
    with pytest.raises(ValueError, match=r"(?s)^scaler=FunctionTransformer\(.* must .*keep"):
        codec(scaler=scaler).fit(X)


def with_flags(table: np.ndarray) -> np.ndarray:
    return np.hstack([np.nan_to_num(table), np.isnan(table)])


def without_flags(table: np.ndarray) -> np.ndarray:
    cells, flags = np.hsplit(table, 2)
    return np.where(flags != 0, np.nan, cells)  # which of decoded flags holds


@pytest.mark.parametrize(
    "cleaner",
    [
        SimpleImputer(add_indicator=True),
        FunctionTransformer(
            with_flags,
            without_flags,
            check_inverse=False,
            feature_names_out=lambda _, names: [*names, *(f"no_{name}" for name in names)],
        ),
    ],
)
def test_a_cleaner_that_undoes_only_rows_of_its_own_is_refused(cleaner):
    table = X.copy()
    table[5:20, :4] = np.nan  # the first row has all cells
    with pytest.raises(ValueError, match=r"(?s)cleaner=.* could decode no row"):
        codec(cleaner=cleaner).fit(table)


def test_a_column_that_is_missing_throughout_does_not_speak_against_a_cleaner():
    table = np.hstack([X, np.full((len(X), 1), np.nan)])
    assert np.isfinite(codec(cleaner=FeatureCleaner()).fit(table).reconstruct(table)).all()


def test_a_cleaner_that_returns_sparse_tables_is_told_so():
    cleaner = OneHotEncoder(handle_unknown="ignore")
    with pytest.raises(ValueError, match=r"cleaner=OneHotEncoder.* sparse .*sparse_output=False"):
        codec(cleaner=cleaner).fit(np.round(X))
    fitted = codec(cleaner=cleaner.set_params(sparse_output=False)).fit(np.round(X))
    assert fitted.reconstruct(np.round(X)).shape == X.shape


def arrow(table):
    return pa.Table.from_pandas(table, preserve_index=False) if hasattr(table, "columns") else table


CONTAINERS = [np.asarray, pd.DataFrame, pl.DataFrame, arrow, list]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("cell", [np.inf, np.nan, 1e300])
def test_a_row_of_weight_0_is_judged_as_no_row(fitted, named, cell, container):
    table, weight = pd.DataFrame(X, columns=NAMES), np.ones(len(X))
    fitted = fitted if container in (list, np.asarray) else named
    for place in (3, 50):
        weight[place] = 0
        table.iloc[place, 2] = cell
    kept = table[weight > 0]
    if container in (list, np.asarray):
        table, kept = table.to_numpy(), kept.to_numpy()
    given, expected = container(table), container(kept)
    for kind in (list, pd.Series, pl.Series):
        assert fitted.score(given, sample_weight=kind(weight)) == fitted.score(expected)
    for scorer in (quality_scorer, worst_category_scorer, utilization_scorer, diagnostics_scorer):
        assert scorer(fitted, given, sample_weight=weight) == pytest.approx(
            scorer(fitted, expected), rel=1e-12
        )


@pytest.mark.parametrize("cell", [np.inf, np.nan, 1e300])
def test_figures_leave_out_rows_of_weight_0(cell):
    given = {"X": [[1.0], [2.0], [cell]], "X_hat": [[1.1], [2.0], [cell]]}
    figure = reconstruction_nmse(**given, sample_weight=[1, 1, 0])
    assert figure == pytest.approx(0.02)
    per_category = category_nmse(**given, categories={"a": [0]}, sample_weight=[1, 1, 0])
    assert per_category == {"a": figure}
    if cell == np.inf:
        with pytest.raises(ValueError, match="Input X contains infinity"):
            reconstruction_nmse(**given, sample_weight=[1, 1, 1])


def test_weights_that_are_none_are_refused_as_before(fitted):
    for wrong in ([1, 0], [0] * len(X), ["a"] * len(X), [-1, *[0] * (len(X) - 1)]):
        for judge in (fitted.score, lambda X, **w: quality_scorer(fitted, X, **w)):
            with pytest.raises(ValueError, match=r"^sample_weight"):
                judge(X, sample_weight=wrong)


@pytest.mark.parametrize("factor", [1e-120, 1e-150, 1e-160, 1e-170, 1e-300])
def test_categories_of_any_scale_have_the_error_they_have_alone(factor):
    scale = np.array([1.0, factor, factor])
    table, decoded = X[:, :3] * scale, (0.9 * X[:, :3] + 0.01) * scale
    found = category_nmse(table, decoded, {"large": [0], "small": [1, 2]})
    for name, columns in [("large", [0]), ("small", [1, 2])]:
        alone = reconstruction_nmse(table[:, columns], decoded[:, columns])
        assert found[name] == pytest.approx(alone, rel=1e-12)
    still = np.c_[X[:, :1], np.full(len(X), 3e-200)]
    assert category_nmse(still, still, {"large": [0], "still": [1]})["still"] == 0


@pytest.mark.parametrize("scaler", ["standard", "robust", None])
def test_errors_are_no_share_of_rounding(scaler):
    fitted = codec(scaler=scaler).fit(X + 3.0)
    mean = np.tile(fitted.units_.own_mean(), (5, 1))
    for still in (mean, mean.astype(np.float32), mean * (1 + 1e-15)):
        assert fitted.score(still) == -np.inf
        report = diagnose(fitted, still, embedding=None)
        assert report.summary["nmse"] == report.summary["nmse_original"] == np.inf
        assert "never leave the training mean" in report.notes["quality"]
        found = compare({"a": fitted, "b": fitted}, still, n_bootstrap=5).to_frame()
        assert np.isinf(found["nmse"]).all()
        assert found["nmse_over_best"].isna().all()
        found, _ = found.to_numpy(), report.to_html()
    some = X + 3.0
    some[:, :3] = mean[0, :3]  # a family of columns that was filled
    errors = diagnose(fitted, some, embedding=None).columns["nmse"]
    assert set(errors[:3]) <= {0.0, np.inf}
    assert (errors[3:] < 1).all()
    assert fitted.score(some) < 1


@pytest.mark.parametrize("ratios", ["auto", AdaptiveRatioSelector("uniform")])
def test_weights_are_told_by_the_steps_that_there_are(ratios):
    steps = [("plan", FeatureCharacterizer()), ("vq", codec(compression_ratios=ratios))]
    weight = np.r_[np.full(10, 2.0), np.ones(len(X) - 10)]
    for step, given, lacks in [
        ("vq", "HierarchicalVQVAE", "FeatureCharacterizer"),
        ("plan", "FeatureCharacterizer", "HierarchicalVQVAE"),
    ]:
        told = f"^sample_weight was given to {given}, but not to {lacks}, which"
        with pytest.warns(UserWarning, match=told):
            Pipeline(steps).fit(X, **{f"{step}__sample_weight": weight})


@pytest.mark.parametrize("cleaner", [None, FeatureCleaner(), MinMaxScaler()])
@pytest.mark.parametrize("name", [None, "patient"])
def test_the_index_of_a_pandas_table_is_no_column_of_its_pyarrow_table(name, cleaner):
    frame = pd.DataFrame(X, columns=NAMES).sample(frac=0.9, random_state=0)
    frame.index = pd.Index(3 * frame.index, name=name)
    table = pa.Table.from_pandas(frame)
    assert len(table.column_names) == 10
    fitted, expected = codec(cleaner=cleaner).fit(table), codec(cleaner=cleaner).fit(frame)
    assert list(fitted.feature_names_in_) == NAMES
    assert (fitted.transform(table) == expected.transform(frame)).all()
    assert expected.score(table) == fitted.score(frame)
    assert (np.asarray(fitted.reconstruct(table)) == expected.reconstruct(frame).to_numpy()).all()
    for step in (FeatureCleaner(), FeatureCharacterizer()):
        assert list(step.fit(table).transform(table).columns) == NAMES
    planned = make_pipeline(FeatureCharacterizer(), codec(cleaner=None)).fit(table)
    assert planned.score(frame) == planned.score(table)
    again = table.select([*table.column_names[::-1]])  # the index first
    assert list(FeatureCleaner().fit(again).transform(again).columns) == NAMES[::-1]
