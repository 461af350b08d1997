"""The worst categories get bits where rows kept aside show that it helps."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import Pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    load,
    save,
    tune_categories,
)
from adaptive_vq._moved_network import moved_network
from adaptive_vq._tuning_bench import Bench
from adaptive_vq.tuning import CRITERIA, _Tuner, worst_categories
from adaptive_vq.units import CodecUnits

QUICK = {"max_epochs": 1, "beam_width": 2, "random_state": 0}
BLOCKS = {"line": slice(0, 4), "cloud": slice(4, 8), "flag": slice(8, 10)}


@pytest.fixture(scope="module")
def X():
    """A category of one direction, one of noise, one of two values."""
    rng = np.random.default_rng(0)
    line = np.repeat(rng.normal(size=(400, 1)), 4, axis=1) + 0.01 * rng.normal(size=(400, 4))
    flag = np.repeat(rng.integers(0, 2, size=(400, 1)), 2, axis=1)
    table = pd.DataFrame(np.hstack([line, rng.normal(size=(400, 4)), flag]))
    table.columns = [f"x{j}" for j in range(10)]
    table.iloc[3, 1] = np.nan
    return table


def codec(**parameters):
    selector = AdaptiveRatioSelector("uniform", bits=16, characterizer=FeatureCharacterizer(BLOCKS))
    return HierarchicalVQVAE(selector, **{**QUICK, **parameters})


@pytest.fixture(scope="module")
def tuned(X):
    return tune_categories(codec(random_state=3), X.iloc[:300], max_epochs=1)


def test_bits_move_to_where_they_help_and_their_sum_stays(X, tuned):
    plain = codec(random_state=3).fit(X.iloc[:300])
    best, report = tuned
    assert report["kept"].any()
    assert sum(best.bits_["cloud"]) > sum(plain.bits_["cloud"])
    assert best.n_bits_ <= best.budget_ == 16
    assert best.training_["n_rows"] == 300  # also those kept aside
    assert best.score(X.iloc[300:]) > plain.score(X.iloc[300:]) + 0.01


def test_the_report_tells_of_every_try(tuned):
    report = tuned.report
    assert report.loc[0, "criterion"] == "control"
    tries = report.iloc[1:]
    assert (tries["bits_after"] - tries["bits_before"]).isin([1, 2, 4]).all()
    given = tries["giver_bits_before"] - tries["giver_bits_after"]
    assert (given == tries["bits_after"] - tries["bits_before"]).all()
    assert report["why"].str.len().min() > 10
    assert report[report["round"] > 0].groupby("round")["kept"].sum().max() == 1
    kept = tries[tries["kept"]]
    assert (kept["total_after"] < kept["total_before"] * (1 - 0.002)).all()
    assert kept["why"].str.startswith("total NMSE falls by").all()
    # Every round goes on from what the one before it has kept.
    for before, after in zip(kept.index[:-1], kept.index[1:], strict=True):
        assert report.loc[before, "total_after"] == report.loc[after, "total_before"]


def test_decisions_say_what_was_tuned(tuned):
    best = tuned.estimator
    reasons = best.decisions_["reason"]
    assert reasons["cloud"].endswith("bits.")
    assert "Tuning of categories has added" in reasons["cloud"]
    assert best.decisions_["bits"].tolist() == [sum(b) for b in best.bits_.values()]


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": False}])
def test_no_prediction_of_other_bits_is_left(X, parameters):
    given, refit = codec(**parameters), not parameters.get("early_stopping", True)
    best, report = tune_categories(given, X, max_epochs=0, max_rounds=1, refit=refit)
    moved = set(report.loc[report["kept"], ["category", "giver"]].to_numpy().ravel())
    unknown = best.decisions_.index[best.decisions_["predicted_nmse"].isna()]
    assert moved == set(unknown)
    assert len(moved) == 2


def test_the_same_seed_gives_the_same_bytes_and_the_input_stays(X):
    given = codec()
    one, two = (tune_categories(given, X, max_rounds=1, max_epochs=0) for _ in range(2))
    assert not hasattr(given, "codebooks_")
    pd.testing.assert_frame_equal(one.report, two.report)
    assert all(np.array_equal(one.estimator._state[k], v) for k, v in two.estimator._state.items())


def test_without_refit_the_result_is_the_best_try(X):
    best, report = tune_categories(codec(), X, max_rounds=1, refit=False, random_state=1)
    units = CodecUnits().fit(X.iloc[_train_rows(X)].to_numpy())
    np.testing.assert_array_equal(best.units_.lower_, units.lower_)  # of rows not kept aside
    aside = X.iloc[np.setdiff1d(np.arange(400), _train_rows(X))]
    expected = report.loc[report["kept"], "total_after"].iloc[-1]
    assert [record["epoch"] for record in best.history_] == [1, 2]  # `max_epochs` of a try
    assert 1 - best.score(aside) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.filterwarnings("ignore:Categories overlap")  # noise does, a little
def test_rows_are_drawn_as_in_a_fit_whose_checkpoint_stays_as_it_is(X, refit, tmp_path):
    other = tmp_path / "of_another_fit"
    other.write_text("to go on from")
    given = codec(fit_rows=100, checkpoint=other)
    best = tune_categories(given, X, max_epochs=0, max_rounds=0, refit=refit).estimator
    assert best.training_["n_rows"] == 100
    assert other.read_text() == "to go on from"


def _train_rows(X):
    from sklearn.model_selection import train_test_split

    return train_test_split(np.arange(len(X)), test_size=0.2, random_state=1)[0]


def test_objective_worst_lowers_the_worst_category(X):
    _, report = tune_categories(codec(), X, objective="worst", max_rounds=1, max_epochs=0)
    kept = report[report["kept"]].iloc[-1]
    assert kept["why"].startswith("worst NMSE")
    assert kept["nmse_after"] < kept["nmse_before"]


def test_each_criterion_names_its_category():
    records = [
        {"epoch": 1, "valid_error_per_category": {"a": 0.5, "b": 0.4, "c": 0.3}},
        {"epoch": 2, "valid_error_per_category": {"a": 0.4, "b": 0.3, "c": 0.299}},
    ]
    state = SimpleNamespace(
        summed={"a": 9.0, "b": 2.0, "c": 1.0},
        nmse={"a": 0.4, "b": 0.9, "c": float("nan")},
        history=records,
    )
    assert worst_categories(("absolute",), state) == {"a": "absolute"}
    assert worst_categories(("relative",), state) == {"b": "relative"}
    assert worst_categories(("stagnating",), state) == {"c": "stagnating"}
    state.history = records[:1]  # of one epoch nothing can be said
    assert worst_categories(("stagnating", "relative"), state) == {"b": "relative"}
    state.summed, state.nmse = {"b": 2.0, "a": 2.0}, {"a": 0.0, "b": 0.0}
    assert worst_categories(CRITERIA, state) == {"a": "absolute"}  # nothing to gain has no worst
    state.nmse = {"a": 0.2, "b": 0.1}
    assert worst_categories(CRITERIA, state) == {"a": "absolute + relative"}


class Tries:
    """Stands in for the bench: codecs come with the errors given, one after the other."""

    def __init__(self, *errors):
        self.errors = iter(errors)

    def start(self, *_):
        nmse = next(self.errors)
        total = float(np.nanmean(list(nmse.values())))
        bits = dict.fromkeys(nmse, 4)
        summed = {name: 100 * error for name, error in nmse.items()}
        return SimpleNamespace(total=total, nmse=nmse, summed=summed, history=[], bits=bits)

    attempt = start

    def proposal(self, state, taker, n_bits):
        return {taker: 4 + n_bits, next(name for name in state.nmse if name != taker): 4 - n_bits}


@pytest.mark.parametrize(
    ("objective", "control", "tried", "kept", "why"),
    [
        ("total", {"a": 0.6, "b": 0.1}, {"a": 0.49, "b": 0.1}, [1], "total NMSE falls by 1.67%"),
        ("total", {"a": 0.4, "b": 0.1}, {"a": 0.39, "b": 0.1}, [0, 1], "total NMSE falls by 2.00%"),
        ("total", {"a": 0.4, "b": 0.1}, {"a": 0.396, "b": 0.1}, [0], "less than min_gain=0.01"),
        ("worst", {"a": 0.4, "b": np.nan}, {"a": 0.3, "b": np.nan}, [0, 1], "falls by 25.00%"),
    ],
)
def test_what_is_kept_gains_its_share_over_the_best_so_far(objective, control, tried, kept, why):
    start = {"a": 0.5, "b": control["b"]}
    bench = Tries(start, control, tried)
    report, state = _Tuner(bench, ("absolute",), objective, (1,), 0.01).run(1)
    best = min(start["a"], control["a"])
    assert (report[1]["nmse_before"], report[1]["nmse_after"]) == (best, tried["a"])
    assert [place for place, row in enumerate(report) if row["kept"]] == kept
    assert why in report[1]["why"]
    assert state.nmse == (tried if 1 in kept else control)


def test_of_several_good_tries_the_best_is_kept():
    bench = Tries(*({"a": error, "b": 0.1} for error in (0.5, 0.5, 0.4, 0.3, 0.45)))
    report, state = _Tuner(bench, ("relative",), "total", (1, 2, 3), 0.01).run(1)
    assert [row["kept"] for row in report] == [False, False, True, False]
    assert ["another try" in row["why"] for row in report] == [False, True, False, True]
    assert state.nmse["a"] == 0.3


def test_untouched_categories_go_on_where_they_were(X):
    fitted = codec().fit(X)
    bench = Bench(fitted, X.iloc[:300], X.iloc[300:], 0)
    state = bench.start()
    assert torch.equal(
        state.module.encode(bench.aside, 2), bench.attempt(state, {}).module.encode(bench.aside, 2)
    )
    move = bench.proposal(state, "cloud", 2)
    assert set(move) == {"cloud", "line"}
    parts = {name: bench._started(bench.judge.spec(name, b)) for name, b in move.items()}
    moved = moved_network(
        state.module, parts, list(state.specs), bench.fit_rows, bench.judges, 256, 2
    )
    flag = list(BLOCKS).index("flag")
    for old, new in zip(state.module.chain(flag), moved.chain(flag), strict=True):
        assert torch.equal(old, new)
    assert [c.name for c in moved.layout.categories] == list(BLOCKS)
    sizes = {
        n: sum((len(b) - 1).bit_length() for b in moved.chain(g)) for g, n in enumerate(BLOCKS)
    }
    assert sizes["cloud"] == move["cloud"]


def test_a_category_may_give_its_last_bit(X):
    fitted = codec().fit(X)
    bench = Bench(fitted, X.iloc[:300], X.iloc[300:], 1)
    state = bench.start()
    after = bench.attempt(state, {"flag": 0, "cloud": state.bits["cloud"] + state.bits["flag"]})
    assert after.bits["flag"] == 0
    assert [c.name for c in after.module.layout.categories] == ["line", "cloud"]
    assert after.nmse["flag"] > 0.5
    again = bench.attempt(after, {"flag": 1, "cloud": after.bits["cloud"] - 1})
    assert again.nmse["flag"] < 0.1


def test_pipelines_cleaners_encoders_and_joint_codes_are_tuned_too(X, tmp_path):
    body = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
    steps = [
        ("characterize", FeatureCharacterizer(BLOCKS)),
        ("ratios", AdaptiveRatioSelector("uniform", bits=16)),
        ("vq", HierarchicalVQVAE(context="joint", encoders={"cloud": body}, **QUICK)),
    ]
    pipe = Pipeline(steps)
    best, report = tune_categories(pipe, X, max_rounds=1, max_epochs=1)
    assert report["kept"].any()
    codes = best.transform(X)
    assert list(best.inverse_transform(codes).columns) == list(X.columns)
    with_cleaner = HierarchicalVQVAE(
        cleaner=FeatureCleaner(), bits=12, max_epochs=0, auto_compression_strategy="uniform"
    )
    best, _ = tune_categories(with_cleaner, X, max_rounds=1, max_epochs=0)
    save(best, tmp_path / "tuned")
    assert np.array_equal(load(tmp_path / "tuned").transform(X), best.transform(X))


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.filterwarnings("ignore:Categories overlap")  # noise does, a little
def test_what_learning_has_moved_before_is_kept(refit):
    rng = np.random.default_rng(1)
    line = np.repeat(rng.normal(size=(200, 1)), 3, axis=1) + 0.1 * rng.normal(size=(200, 3))
    table = np.c_[line, rng.normal(size=(200, 3)), rng.exponential(size=(200, 3)) ** 2]
    thirds = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5], "c": [6, 7, 8]})
    learned = AdaptiveRatioSelector("learned", bits=6, characterizer=thirds)
    vq = HierarchicalVQVAE(learned, **{**QUICK, "max_epochs": 0})
    best = tune_categories(vq, table, max_epochs=0, max_rounds=0, refit=refit).estimator
    assert best.moves_
    assert any("Learning moved" in reason for reason in best.decisions_["reason"])
    assert set(best.curves_) == {"a", "b", "c"}


def test_too_few_rows_are_counted(X):
    with pytest.raises(ValueError, match=r"validation_fraction=0\.2 keeps 1 of 2 rows aside"):
        tune_categories(codec(), X.iloc[:2])


def test_one_category_has_nowhere_to_get_bits_from(X):
    one = HierarchicalVQVAE(
        AdaptiveRatioSelector(
            "uniform", bits=8, characterizer=FeatureCharacterizer({"a": X.columns})
        ),
        max_epochs=0,
    )
    best, report = tune_categories(one, X, max_rounds=2, steps=(4, 1, 4))
    assert report["step"].tolist() == [0, 1, 4]
    assert report["total_after"].isna().tolist() == [False, True, True]
    assert report["why"].iloc[-1].startswith("no other category has")
    assert best.n_bits_ <= 8


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"criteria": "absolute"}, "criteria='absolute'"),
        ({"criteria": ["worst"]}, "criteria="),
        ({"criteria": []}, "criteria="),
        ({"objective": "mean"}, "objective='mean'"),
        ({"criteria": 1.5}, "criteria=1.5"),
        ({"criteria": [["worst"]]}, "criteria="),
        ({"steps": []}, "steps="),
        ({"steps": 1.5}, "steps=1.5"),
        ({"steps": None}, "steps=None"),
        ({"min_gain": "a"}, "min_gain='a'"),
        ({"min_gain": None}, "min_gain=None"),
        ({"validation_fraction": [0.2]}, "validation_fraction="),
        ({"steps": [0]}, "steps="),
        ({"steps": [1.5]}, "steps="),
        ({"max_rounds": -1}, "max_rounds=-1"),
        ({"max_epochs": 1.5}, r"max_epochs=1\.5"),
        ({"min_gain": 1.0}, r"min_gain=1\.0"),
        ({"validation_fraction": 0.0}, r"validation_fraction=0\.0"),
    ],
)
def test_bad_parameters_are_named(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        tune_categories(codec(), X, **parameters)


def test_what_can_not_be_tuned_is_refused(X):
    with pytest.raises(ValueError, match="codebook_sizes=4 fixes the bits"):
        tune_categories(codec(codebook_sizes=4), X)
    with pytest.raises(TypeError, match=r"needs a HierarchicalVQVAE.*got FeatureCharacterizer"):
        tune_categories(FeatureCharacterizer(), X)
