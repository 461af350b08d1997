"""AdaptiveRatioSelector: plans from tables, alone and behind a characterizer."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from adaptive_vq.annotations import annotation
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.plan import Plan
from adaptive_vq.ratios import STRATEGIES, AdaptiveRatioSelector
from adaptive_vq.scores import category_scores

FORMULAS = sorted(STRATEGIES)
MEASURED = ["rate_distortion", "minimax", "learned"]
CATEGORIES = {"shapes": [0, 1, 2, 3], "noise": [4, 5, 6], "flag": [7], "still": [8]}


def selector(strategy="balanced", **parameters):
    characterizer = FeatureCharacterizer(categories=CATEGORIES)
    return AdaptiveRatioSelector(strategy, characterizer=characterizer, **parameters)


def totals(fitted):
    return {name: sum(levels) for name, levels in fitted.bits_.items()}


# --- contract ------------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        AdaptiveRatioSelector(),
        AdaptiveRatioSelector("water_filling", bits=5, n_levels=2),
        AdaptiveRatioSelector("uniform", max_nmse=0.5),
        AdaptiveRatioSelector(["variance", "uniform"], n_levels=2, scaler="robust", clip=None),
        AdaptiveRatioSelector(characterizer=FeatureCharacterizer(max_categories=2)),
    ]
)
def test_estimator_contract(estimator, check):
    check(estimator)


# What scikit-learn's Pipeline fails whatever its steps are.
PIPELINE = {
    "check_estimators_overwrite_params": "Pipeline fits its steps in place",
    "check_dont_overwrite_parameters": "Pipeline fits its steps in place",
    "check_estimators_nan_inf": "Pipeline does not pass on that its steps allow NaN",
}


@parametrize_with_checks(
    [Pipeline([("characterize", FeatureCharacterizer()), ("ratios", AdaptiveRatioSelector())])],
    expected_failed_checks=lambda estimator: PIPELINE,
)
def test_estimator_contract_in_a_pipeline(estimator, check):
    check(estimator)


@pytest.mark.parametrize("strategy", [*FORMULAS, "water_filling"])
def test_alone_equals_behind_a_characterizer(table, strategy):
    alone = AdaptiveRatioSelector(strategy, bits=20).fit(table)
    pipe = make_pipeline(FeatureCharacterizer(), AdaptiveRatioSelector(strategy, bits=20))
    after = pipe.fit(table)[-1]
    assert alone.bits_ == after.bits_
    assert alone.ratios_ == after.ratios_
    pd.testing.assert_frame_equal(alone.decisions_, after.decisions_)


def test_table_passes_through_with_the_plan(table):
    fitted = selector(bits=12).fit(table)
    out = fitted.transform(table)
    pd.testing.assert_frame_equal(out, table)
    note = annotation(out)
    json.dumps(note)
    assert note["by"] == ["FeatureCharacterizer", "AdaptiveRatioSelector"]
    plan = Plan.from_note(note["plan"])
    assert plan.bits == fitted.bits_
    assert plan.ratios == fitted.ratios_
    assert plan.explicit_budget
    assert list(note["scores"]) == list(fitted.categories_)
    assert fitted.inverse_transform(table) is table
    assert annotation(table) is None


def test_containers_agree(table):
    frames = [table, table.to_numpy(), pl.DataFrame(table.to_dict("list"))]
    plans = [selector(bits=12).fit(X).plan_.to_note() for X in frames]
    assert plans[0] == plans[1] == plans[2]


def test_output_settings_do_not_lose_the_note(table):
    class Sub(AdaptiveRatioSelector):
        pass

    for estimator in (selector(), Sub()):
        out = estimator.set_output(transform="polars").fit(table).transform(table)
        assert annotation(out)["by"][-1] == type(estimator).__name__


def test_pickle_and_clone(table):
    fitted = selector("water_filling", bits=9).fit(table)
    assert pickle.loads(pickle.dumps(fitted)).plan_.to_note() == fitted.plan_.to_note()
    assert not hasattr(clone(fitted), "plan_")


# --- strategies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", FORMULAS)
def test_ratios_are_the_pure_functions_of_the_scores(table, strategy):
    fitted = selector(strategy, bits=30).fit(table)
    scores = category_scores(table, fitted.categories_)
    for name in CATEGORIES:
        assert fitted.ratios_[name] == STRATEGIES[strategy](scores[name])
    variances = {name: values["variance"] for name, values in scores.items()}
    assert fitted.decisions_["variance"].to_dict() == pytest.approx(variances)


@pytest.mark.parametrize("n_levels", [1, 2, 4])
@pytest.mark.parametrize("strategy", ["balanced", "water_filling", lambda scores, level: 1 + level])
def test_any_number_of_levels(table, strategy, n_levels):
    fitted = selector(strategy, bits=30, n_levels=n_levels).fit(table)
    for name in CATEGORIES:
        assert len(fitted.bits_[name]) == len(fitted.ratios_[name]) == n_levels
        assert all(np.isfinite(r) and r > 0 for r in fitted.ratios_[name])
    assert f"bits_L{n_levels - 1}" in fitted.decisions_


def test_one_strategy_per_level(table):
    mixed = ["variance", "balanced", "information"]
    fitted = selector(mixed, bits=30).fit(table)
    parts = [selector(one, bits=30).fit(table).ratios_ for one in mixed]
    for name in CATEGORIES:
        assert fitted.ratios_[name] == [part[name][level] for level, part in enumerate(parts)]
    assert fitted.plan_.strategy == "variance, balanced, information"


def test_callable_sees_scores_and_level(table):
    def steep(scores, level):
        assert set(scores) == {"variance", "dimensionality", "information", "correlation"}
        return 1 + level * scores["dimensionality"]

    fitted = selector(steep, bits=30).fit(table)
    assert fitted.ratios_["flag"] == [1, *(1 + k * np.log(2) / np.log(101) for k in (1, 2))]
    assert fitted.decisions_["reason"]["noise"].startswith("steep turns")


def test_units_of_columns_do_not_move_water_filling(table):
    scaled = table * 10.0 ** np.arange(-4, 5)
    plain, other = (selector("water_filling", bits=30).fit(X) for X in (table, scaled))
    assert plain.bits_ == other.bits_


def test_water_filling_gives_bits_to_what_varies_independently(table):
    fitted = selector("water_filling", bits=14).fit(table)
    assert totals(fitted)["noise"] > totals(fitted)["shapes"]
    assert fitted.ratios_["shapes"][0] == 0.25
    assert fitted.ratios_["noise"][-1] == 1.0


def test_permuting_categories_and_columns_changes_only_the_order(table):
    order = np.random.default_rng(3).permutation(9)
    places = {
        name: [int(np.flatnonzero(order == j)[0]) for j in c] for name, c in CATEGORIES.items()
    }
    moved = FeatureCharacterizer(categories=dict(reversed(places.items())))
    for strategy in ("balanced", "water_filling"):
        plain = selector(strategy, bits=23).fit(table)
        other = AdaptiveRatioSelector(strategy, bits=23, characterizer=moved)
        other.fit(table.iloc[:, order])
        assert other.bits_ == plain.bits_
        assert other.ratios_ == plain.ratios_
        assert list(other.bits_) == list(reversed(plain.bits_))


@pytest.mark.filterwarnings("ignore:Categories overlap")  # so many cells are missing
def test_missing_cells(table):
    table = table.mask(np.random.default_rng(0).random(table.shape) < 0.2)
    table["c5"] = np.nan
    for strategy in ("balanced", "water_filling"):
        fitted = selector(strategy, bits=20).fit(table)
        assert sum(totals(fitted).values()) == 20
        assert fitted.decisions_["predicted_nmse"].between(0, 1).all()


# --- who decides what ----------------------------------------------------------------------------


def test_given_characterizer_wins_over_the_note(table):
    noted = FeatureCharacterizer().fit(table).transform(table)
    with pytest.warns(UserWarning, match="characterizer=.*replaces the categories") as told:
        assert list(selector().fit(noted).categories_) == list(CATEGORIES)
    assert told[0].filename == __file__


def test_nested_characterizer_takes_the_units_over(table):
    fitted = selector(scaler="robust", clip=(1, 99)).fit(table)
    units = annotation(fitted.transform(table))["units"]
    assert units["scaler"] == "robust"
    assert units["clip"] == [1, 99]
    assert fitted.characterizer.scaler == "auto"  # the parameter itself stays as it was


def test_units_follow_the_characterizer(table):
    for clip in [(5, 95), None]:
        pipe = make_pipeline(
            FeatureCharacterizer(CATEGORIES, scaler="robust", clip=clip),
            AdaptiveRatioSelector("water_filling", bits=20),
        )
        other = selector("water_filling", bits=20, scaler="robust", clip=clip).fit(table)
        assert pipe.fit(table)[-1].plan_.to_note() == other.plan_.to_note()


def test_a_transformer_as_scaler(table):
    fitted = selector("water_filling", bits=20, scaler=StandardScaler(), clip=None).fit(table)
    same = selector("water_filling", bits=20, scaler="standard", clip=None).fit(table)
    assert fitted.bits_ == same.bits_


def test_different_units_in_two_places_are_refused(table):
    pipe = make_pipeline(
        FeatureCharacterizer(scaler="robust"), AdaptiveRatioSelector(scaler="quantile")
    )
    with pytest.raises(ValueError, match=r"AdaptiveRatioSelector.*quantile.*robust"):
        pipe.fit(table)


def test_changed_columns_are_refused(table):
    noted = FeatureCharacterizer().fit(table).transform(table)
    with pytest.raises(ValueError, match="columns of X were changed after FeatureCharacterizer"):
        AdaptiveRatioSelector().fit(noted.drop(columns="c3"))


def test_changed_columns_are_told_as_they_were_changed_and_how_to_go_on(table):
    noted = FeatureCharacterizer().fit(table).transform(table)
    d, last = table.shape[1], table.columns[-1]
    for changed, how in (
        (noted.drop(columns=last), f"it saw {d} columns, X now has {d - 1}. Put"),
        (noted.rename(columns={last: "other"}), "has these under other names or in another order."),
    ):
        with pytest.raises(ValueError, match=r"X\.attrs\.clear\(\)\.$") as told:
            AdaptiveRatioSelector().fit(changed)
        assert how in str(told.value)
        changed.attrs.clear()
        assert AdaptiveRatioSelector("water_filling").fit(changed).bits_


def test_a_foreign_characterizer_is_refused(table):
    with pytest.raises(TypeError, match=r"characterizer=StandardScaler.* FeatureCharacterizer"):
        AdaptiveRatioSelector(characterizer=StandardScaler()).fit(table)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bits": 0}, "'bits' parameter"),
        ({"bits": 2.5}, "'bits' parameter"),
        ({"n_levels": 0}, "'n_levels' parameter"),
        ({"max_nmse": 1.5}, "'max_nmse' parameter"),
        ({"bits": 8, "max_nmse": 0.1}, "bits=8 and max_nmse=0.1 both"),
        ({"strategy": "balance"}, "strategy='balance' .* 'balanced'"),
        ({"strategy": ["uniform"]}, "strategy lists 1"),
        ({"strategy": ["uniform", "minimax"], "n_levels": 2}, r"strategy\[1\]='minimax'"),
        ({"strategy": 3}, "'strategy' parameter"),
        ({"strategy": lambda scores, level: -1}, "returned -1 for category 'shapes' at level 0"),
        ({"scaler": "standart"}, "'scaler' parameter"),
        ({"clip": (99, 1)}, "clip="),
        ({"characterizer": 3}, "'characterizer' parameter"),
    ],
)
def test_bad_parameters_are_named(table, parameters, message):
    with pytest.raises(ValueError, match=message):
        selector().set_params(**parameters).fit(table)


def test_unusable_tables(table):
    with pytest.raises(ValueError, match="minimum of 2"):
        selector().fit(table[:1])
    with pytest.raises(ValueError, match=r"c2.*infinity|infinity.*c2"):
        selector().fit(table.assign(c2=np.inf))
    with pytest.raises(ValueError, match="features"):
        selector().fit(table.to_numpy()).transform(table.to_numpy()[:, :4])


@pytest.mark.parametrize("strategy", [*FORMULAS, "water_filling"])
@pytest.mark.parametrize(
    "X",
    [
        np.arange(30.0)[:, None],
        np.ones((30, 3)),
        np.column_stack([np.arange(30.0), np.full(30, np.nan)]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
    ],
    ids=["one column", "constant", "all missing", "two rows"],
)
def test_thin_tables_get_a_plan(strategy, X):
    fitted = AdaptiveRatioSelector(strategy).fit(X)
    assert fitted.decisions_["predicted_nmse"].between(0, 1).all()
    assert sum(totals(fitted).values()) <= 16


def test_callbacks_see_that_it_ran(table):
    seen = []

    class Recorder:
        def setup(self, estimator, context):
            seen.append("setup")

        def on_fit_task_begin(self, estimator, context):
            seen.append(context.estimator_name)

        def on_fit_task_end(self, estimator, context):
            seen.append(type(estimator).__name__)

        def teardown(self, estimator, context):
            seen.append("teardown")

    fitted = selector().set_callbacks(Recorder()).fit(table)
    name = "AdaptiveRatioSelector"
    assert seen == ["setup", name, name, "teardown"]
    assert not hasattr(fitted, "_callback_fit_ctx")


@pytest.mark.parametrize("name", ["online_news", "credit_default", "spambase"])
@pytest.mark.filterwarnings("ignore:Categories overlap")
def test_real_tables(real_table, name):
    data = real_table(name).data
    pipe = make_pipeline(FeatureCharacterizer(), AdaptiveRatioSelector(bits=64))
    plans = {}
    for strategy in [*FORMULAS, "water_filling"]:
        pipe.set_params(adaptiveratioselector__strategy=strategy)
        fitted = pipe.fit(data)[-1]
        plans[strategy] = tuple(sum(levels) for levels in fitted.bits_.values())
        assert sum(plans[strategy]) == 64
        assert fitted.decisions_["predicted_nmse"].between(0, 1).all()
    assert plans["water_filling"] != plans["uniform"]


def test_a_larger_cut_tolerance_takes_finer_categories():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(700, 1))
    X = shared + 0.7 * rng.normal(size=(700, 12))
    chosen = {}
    for tolerance in (0.02, 0.0, 3.0):
        selector = AdaptiveRatioSelector(bits=12, cut_tolerance=tolerance).fit(X)
        errors, chosen[tolerance] = selector.cut_errors_, len(selector.categories_)
        least = min(errors.values())
        assert chosen[tolerance] == max(k for k in errors if errors[k] <= (1 + tolerance) * least)
    assert chosen[0.0] <= chosen[0.02] < chosen[3.0]
    assert len(AdaptiveRatioSelector(bits=12).fit(X).categories_) == chosen[0.02]  # the default


def test_cut_tolerance_without_cuts_to_measure_is_refused():
    X = np.random.default_rng(0).normal(size=(40, 4))
    with pytest.raises(ValueError, match=r"cut_tolerance=0\.1 needs a strategy that measures cuts"):
        AdaptiveRatioSelector("balanced", cut_tolerance=0.1).fit(X)
    selector = AdaptiveRatioSelector(bits=8).fit(np.random.default_rng(0).normal(size=(300, 4)))
    assert selector.cut_errors_
    assert not hasattr(selector.set_params(strategy="uniform").fit(X), "cut_errors_")


def test_missing_cells_are_filled_by_all_columns_that_may_be_coded_together(monkeypatch):
    rng = np.random.default_rng(8)
    X = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(200, 12))
    holes = rng.random(X.shape) < 0.1
    seen = []

    def look(Z, cuts, *_):
        seen.extend((Z, cuts))
        raise InterruptedError

    monkeypatch.setattr("adaptive_vq.curves.measure", look)
    characterizer = FeatureCharacterizer(clip=None, scaler=None)
    with pytest.raises(InterruptedError):
        AdaptiveRatioSelector(bits=8, characterizer=characterizer).fit(np.where(holes, np.nan, X))
    Z, cuts = seen
    assert [len(cut) for cut in cuts][:2] == [1, 2]
    # The spread of what four factors leave is .3; a category of few columns knows not all four.
    assert np.sqrt(np.mean((Z - X)[holes] ** 2)) < 0.5
