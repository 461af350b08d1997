"""HierarchicalVQVAE: the main job, every parameter, warm start, updates, callbacks."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
)
from adaptive_vq.metrics import quality_scorer, reconstruction_nmse

QUICK = {
    "auto_compression_strategy": "balanced",
    "bits": 12,
    "max_epochs": 2,
    "early_stopping": False,
    "beam_width": 2,
    "group_hidden_dim": 8,
    "group_embedding_dim": 8,
    "random_state": 0,
}


def codec(**parameters):
    settings = {**QUICK, **parameters}
    if "compression_ratios" in settings:
        del settings["auto_compression_strategy"]  # idle beside these, which is told
    return HierarchicalVQVAE(**settings)


def make_rows(n=150, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.repeat(rng.normal(size=(n, 2)), 4, axis=1)
    return factors + 0.3 * rng.normal(size=(n, 8)) + 5.0


@pytest.fixture(scope="module")
def X():
    return make_rows()


@pytest.fixture(scope="module")
def fitted(X):
    return codec().fit(X)


@pytest.fixture(scope="module")
def again(X, fitted):
    return clone(fitted).fit(X)


def weights(estimator):
    return {key: value.tobytes() for key, value in estimator._state.items()}


# --- the main job --------------------------------------------------------------------------------


def test_codes_are_small_unsigned_integers(X, fitted):
    codes = fitted.transform(X)
    assert codes.dtype == np.uint8
    assert codes.shape == (150, 6)
    names = ["cluster_1__L0", "cluster_1__L1", "cluster_1__L2"]
    assert fitted.get_feature_names_out().tolist()[:3] == names
    assert list(fitted.codebooks_) == fitted.get_feature_names_out().tolist()
    assert all(book.dtype == np.float32 for book in fitted.codebooks_.values())


def test_quality_on_new_rows(X):
    assert codec(early_stopping=True).fit(X).score(make_rows(200, seed=1)) > 0.85


def test_score_is_one_minus_nmse_of_the_rows_as_they_are(X):
    fitted = codec(scaler=None).fit(X)
    new = make_rows(50, seed=1)
    new[0, 0] = 100.0  # far outside the caps
    new[3, 2:5] = np.nan
    capped = np.clip(X, *np.percentile(X, [0.5, 99.5], axis=0))
    expected = reconstruction_nmse(new, fitted.reconstruct(new), reference=capped.mean(axis=0))
    assert fitted.score(new) == pytest.approx(1 - expected, rel=1e-4)
    assert fitted.score(new) < fitted.score(new[1:])


def test_score_in_codec_units_does_not_depend_on_scales(X):
    # A power of two scales without rounding.
    units = 2.0 ** np.arange(-20, 20, 5)
    assert codec().fit(X * units).score(X * units) == pytest.approx(codec().fit(X).score(X))


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_frames_come_back_as_frames(X, container):
    names = [f"f{j}" for j in range(8)]
    frame = container({name: X[:, j] for j, name in enumerate(names)})
    halves = AdaptiveRatioSelector(
        characterizer=FeatureCharacterizer({"a": range(4), "b": range(4, 8)})
    )
    out = codec(compression_ratios=halves).fit(frame).reconstruct(frame)
    assert isinstance(out, pd.DataFrame)
    assert out.columns.tolist() == names
    from_array = codec(compression_ratios=halves).fit(X).reconstruct(X)
    np.testing.assert_array_equal(out.to_numpy(), from_array)


def test_float32_and_integers_are_accepted(X):
    assert codec().fit(X.astype(np.float32)).score(X) > 0.85
    assert codec().fit(np.round(X).astype(np.int16)).score(np.round(X)) > 0.7


def test_training_never_loses_to_its_start(X):
    start, trained = (codec(max_epochs=e, early_stopping=True).fit(X) for e in (0, 2))
    record = trained.history_[-1]
    best = min([r["valid_nmse"] for r in trained.history_] + [record["start_nmse"]])
    if trained.n_iter_:
        assert best < record["start_nmse"]
    else:
        assert weights(trained) == weights(start)


# --- every parameter does something --------------------------------------------------------------


def differs_in(get):
    return lambda one, two: get(one) != get(two)


HISTORY = differs_in(lambda e: [r["train_loss"] for r in e.history_])
BITS = differs_in(lambda e: e.bits_)


@pytest.mark.parametrize(
    ("parameters", "differs"),
    [
        ({"compression_ratios": [0.2, 1, 4]}, differs_in(lambda e: e.ratios_)),
        ({"auto_compression_strategy": "dimensionality"}, differs_in(lambda e: e.ratios_)),
        ({"bits": 20}, BITS),
        ({"codebook_sizes": 2}, BITS),
        ({"n_levels": 2}, BITS),
        ({"group_hidden_dim": 9}, differs_in(lambda e: e._state["encoders.0.head.weight"].shape)),
        ({"group_embedding_dim": 9}, differs_in(lambda e: e._state["correction.0.weight"].shape)),
        ({"dropout": 0.5}, HISTORY),
        ({"commitment_weight": 2.0}, HISTORY),
        ({"ema_decay": 0.5}, HISTORY),
        ({"batch_size": 32}, HISTORY),
        ({"lr": 0.05}, HISTORY),
        ({"random_state": 7}, HISTORY),
        ({"clip": (10, 90)}, differs_in(lambda e: e.n_capped_.sum())),
        ({"scaler": "robust"}, differs_in(lambda e: e.units_.scaler)),
        ({"validation_fraction": 0.3}, differs_in(lambda e: e.history_[0]["start_nmse"])),
        ({"max_epochs": 1}, differs_in(lambda e: len(e.history_))),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parameter_changes_the_fit(X, fitted, again, parameters, differs):
    if "validation_fraction" in parameters:  # of use where rows are kept aside
        fitted, again = (codec(early_stopping=True).fit(X) for _ in range(2))
        parameters = {"early_stopping": True, **parameters}
    assert not differs(fitted, again)
    assert differs(fitted, codec(**parameters).fit(X))


def test_beam_finds_better_codes(X):
    narrow, wide = (codec(beam_width=b, max_epochs=0, early_stopping=False) for b in (1, 32))
    narrow.fit(X)
    wide.fit(X)
    assert (narrow.transform(X) != wide.transform(X)).any()
    wide_search = clone(narrow).fit(X).set_params(beam_width=32)
    assert wide_search.score(X) >= narrow.score(X)


def test_joint_context_lowers_the_error():
    """Of the same codebooks; those of a fit with it differ, since its codes say which are used."""
    # So much in common, and so many rows, that some get other codes with any processor's rounding.
    X = np.random.default_rng(1).normal(size=(1500, 1)) + make_rows(1500, seed=1)
    for context in ("local", "joint"):
        fitted = codec(context=context, max_epochs=0, bits=10, early_stopping=True).fit(X)
        scores, codes = [], []
        for asked in ("local", "joint"):
            fitted.set_params(context=asked)
            scores.append(fitted.score(X))
            codes.append(fitted.transform(X))
        assert scores[1] > scores[0]
        assert (codes[1] != codes[0]).any()


def test_without_early_stopping_all_rows_train(X):
    fitted = codec(early_stopping=False).fit(X)
    assert "valid_nmse" not in fitted.history_[0]
    assert fitted.n_iter_ == len(fitted.history_) == 2


@pytest.mark.parametrize("patience", [1, 3])
def test_patience(X, patience):
    slow = {"lr": 1e-12, "max_epochs": 5, "ema_decay": 1.0}
    fitted = codec(n_iter_no_change=patience, early_stopping=True, **slow).fit(X)
    best = [r["epoch"] for r in fitted.history_ if r["best"]]
    assert len(fitted.history_) == max(best, default=0) + patience


def test_divergence_is_undone_and_told(X):
    with pytest.warns(ConvergenceWarning, match="Lower lr"):
        fitted = codec(lr=1e30, max_epochs=4, batch_size=16, early_stopping=True).fit(X)
    assert np.isfinite(fitted.reconstruct(X)).all()
    assert fitted.score(X) > 0.8


def test_own_encoder_is_used_and_not_changed(X):
    body = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh())
    before = {key: value.clone() for key, value in body.state_dict().items()}
    fitted = codec(encoders={"cluster_1": body}, lr=0.05).fit(X)
    assert fitted._state["encoders.0.head.weight"].shape[1] == 5
    assert all(torch.equal(before[key], value) for key, value in body.state_dict().items())
    np.testing.assert_array_equal(clone(fitted).fit(X).transform(X), fitted.transform(X))


def test_cleaner_is_fitted_inside(X):
    table = pd.DataFrame(np.c_[X, np.full(150, 3.0)], columns=[f"f{j}" for j in range(9)])
    fitted = codec(cleaner=FeatureCleaner()).fit(table)
    assert sum(len(c) for c in fitted.categories_.values()) == 8
    out = fitted.reconstruct(table)
    assert out.columns.tolist() == table.columns.tolist()
    assert (out["f8"] == 3.0).all()
    assert not hasattr(fitted.set_params(cleaner=None).fit(table), "cleaner_")
    with pytest.raises(ValueError, match="in front of FeatureCharacterizer"):
        make_pipeline(FeatureCharacterizer(), codec(cleaner=FeatureCleaner())).fit(table)


def test_names_go_through_cleaners_that_return_arrays(X):
    table = pd.DataFrame(X, columns=[f"{'ab'[j // 4]}__{j}" for j in range(8)])
    by_name = AdaptiveRatioSelector("uniform", characterizer=FeatureCharacterizer("prefix"))
    for cleaner in (MinMaxScaler(), make_pipeline(FeatureCleaner(), MinMaxScaler())):
        fitted = codec(compression_ratios=by_name, cleaner=cleaner).fit(table)
        assert list(fitted.categories_) == ["a", "b"]


def test_own_scaler_is_cloned_and_inverted(X):
    scaler = MinMaxScaler()
    fitted = codec(scaler=scaler).fit(X)
    assert not hasattr(scaler, "scale_")
    assert reconstruction_nmse(X, fitted.reconstruct(X)) < 0.2


@pytest.mark.parametrize(
    ("sizes", "bits"),
    [
        (2, {"cluster_1": [1, 1, 1], "cluster_2": [1, 1, 1]}),
        ([4, 2, 1], {"cluster_1": [2, 1, 0], "cluster_2": [2, 1, 0]}),
        (
            {"cluster_1": 2, "cluster_2": [1, 4, 8]},
            {"cluster_1": [1, 1, 1], "cluster_2": [0, 2, 3]},
        ),
    ],
)
def test_codebook_sizes(X, sizes, bits):
    fitted = codec(codebook_sizes=sizes, max_epochs=0).fit(X)
    assert fitted.bits_ == bits
    for name, book in fitted.codebooks_.items():
        category, level = name.split("__L")
        assert 2 <= len(book) <= 2 ** bits[category][int(level)]


def test_bits_that_hold_the_codebooks_may_sum_above_the_budget_but_those_spent_never_do():
    X = np.random.default_rng(0).integers(0, 5, size=(60, 3)).astype(float)
    single = AdaptiveRatioSelector(
        "uniform", bits=8, n_levels=1, characterizer=FeatureCharacterizer(["a", "b", "c"])
    )
    vq = HierarchicalVQVAE(single, max_epochs=0, random_state=0).fit(X)
    sizes = [len(book) for book in vq.codebooks_.values()]
    assert [sum(bits) for bits in vq.bits_.values()] == [3, 3, 3]  # 5 codewords each
    assert vq.n_bits_ == pytest.approx(np.log2(sizes).sum())
    assert vq.n_bits_ < vq.budget_ == 8
    assert vq.decisions_["bits_spent"].sum() == pytest.approx(vq.n_bits_)


def test_ratios_per_category(X):
    ratios = {"cluster_1": "1:2:3", "cluster_2": [3.0, 2.0, 1.0]}
    fitted = codec(compression_ratios=ratios).fit(X)
    assert fitted.ratios_ == {"cluster_1": [1.0, 2.0, 3.0], "cluster_2": [3.0, 2.0, 1.0]}
    reason = fitted.decisions_.loc["cluster_1", "reason"]
    assert reason.startswith("compression_ratios gives it the ratios 1:2:3; with 4 columns")


# --- warm start ----------------------------------------------------------------------------------


def test_warm_start_goes_on_from_the_last_fit(X):
    warm = codec(max_epochs=1, early_stopping=False, warm_start=True).fit(X)
    before = weights(warm)
    warm.set_params(max_epochs=0, random_state=9).fit(X)
    assert weights(warm) == before  # nothing to learn, nothing forgotten
    assert weights(codec(max_epochs=0, random_state=9).fit(X)) != before
    warm.set_params(max_epochs=2).fit(X)
    assert weights(warm) != before
    assert warm.n_iter_ == 2


def test_warm_start_keeps_lowering_the_loss(X):
    warm = codec(max_epochs=6, early_stopping=False, warm_start=True, dropout=0.0, lr=0.01).fit(X)
    first = warm.history_[0]["train_loss"]
    assert warm.fit(X).history_[0]["train_loss"] < first


@pytest.mark.parametrize(
    "change",
    [{"bits": 9}, {"n_levels": 2}, {"group_hidden_dim": 4}, {"encoders": {"cluster_1": None}}],
    ids=lambda change: next(iter(change)),
)
def test_warm_start_begins_anew_where_the_plan_changes(X, change):
    if "encoders" in change:
        change = {"encoders": {"cluster_1": torch.nn.Linear(4, 3)}}
    warm = codec(warm_start=True).fit(X).set_params(**change).fit(X)
    assert weights(warm) == weights(codec(**change).fit(X))


def test_warm_start_on_other_columns_begins_anew(X):
    warm = codec(warm_start=True).fit(X).fit(X[:, :5])
    np.testing.assert_array_equal(warm.transform(X[:, :5]), codec().fit_transform(X[:, :5]))


def test_cold_fit_forgets(X, fitted):
    again = codec().fit(make_rows(80, seed=4)[:, :6]).fit(X)
    assert weights(again) == weights(fitted)


@pytest.fixture(scope="module")
def holed(X):
    holed = X.copy()
    rng = np.random.default_rng(1)
    holed[rng.random(X.shape) < 0.15] = np.nan
    holed[7] = np.nan  # a row without any cell
    holed[8, :4] = np.nan  # a category without any cell
    return holed


# --- partial_fit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["local", "joint"])
def test_updates_count_the_codes_that_rows_have_after_them(cells, context):
    rows = np.random.default_rng(1).normal(size=cells.shape)
    vq = codec(bits=24, max_epochs=0, context=context).fit(cells)
    before = vq.training_["codes"]
    codes = vq.partial_fit(rows).transform(rows)
    for column, (name, hits) in zip(codes.T, vq.training_["codes"].items(), strict=True):
        assert (hits - before[name] == np.bincount(column, minlength=len(hits))).all()


def test_first_partial_fit_is_a_fit(X, fitted):
    assert weights(codec().partial_fit(X)) == weights(fitted)


def test_later_chunks_move_codewords_and_decoder_only(X):
    fitted = codec().fit(X)
    shifted = 0.5 * (make_rows(300, seed=3) - 5.0) + 6.0
    before, old = fitted.score(shifted), weights(fitted)
    bits, sizes = fitted.n_bits_, [len(b) for b in fitted.codebooks_.values()]
    lower = fitted.units_.lower_.copy()
    for _ in range(3):
        fitted.partial_fit(shifted)
    assert 1 - fitted.score(shifted) < 0.7 * (1 - before)
    assert fitted.n_bits_ == bits
    assert [len(b) for b in fitted.codebooks_.values()] == sizes
    np.testing.assert_array_equal(fitted.units_.lower_, lower)
    moved = {key for key, value in weights(fitted).items() if value != old[key]}
    assert all("codebooks" in key or "delta" in key for key in moved)


def test_chunk_of_known_rows_does_no_harm(X, holed):
    for rows in (X, holed):
        fitted = codec(lr=0.01, early_stopping=False, max_epochs=8).fit(rows)
        before = fitted.score(rows)
        assert fitted.partial_fit(rows).score(rows) > before - 0.01


def test_partial_fit_of_a_single_row(X):
    fitted = codec().fit(X)
    assert fitted.partial_fit(X[:1]).score(X) == pytest.approx(codec().fit(X).score(X), abs=0.05)


def test_partial_fit_refuses_other_columns(X):
    with pytest.raises(ValueError, match="5 features"):
        codec().fit(X).partial_fit(X[:, :5])


# --- callbacks -----------------------------------------------------------------------------------


class Recorder:
    """Minimal callback: remembers fit tasks, may stop the fit."""

    def __init__(self, stop_after=None):
        self.seen, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch":
            score = fitted_estimator.score(make_rows(40, seed=1))
            self.seen.append((fitted_estimator.history_[-1], score))
        return len(self.seen) == self.stop_after


def test_callbacks_see_every_epoch(X):
    recorder = Recorder()
    fitted = codec(early_stopping=True).set_callbacks(recorder).fit(X)
    assert [record["epoch"] for record, _ in recorder.seen] == [1, 2]
    assert [record["train_loss"] for record, _ in recorder.seen] == [
        record["train_loss"] for record in fitted.history_
    ]
    assert all(score > 0.8 for _, score in recorder.seen)
    assert weights(fitted) == weights(codec(early_stopping=True).fit(X))  # watching changes nothing


def test_callback_stops_the_fit(X):
    fitted = codec(early_stopping=True).set_callbacks(Recorder(stop_after=1)).fit(X)
    assert len(fitted.history_) == 1


def test_progress_bar_and_scoring_monitor(X, capsys):
    monitor = ScoringMonitor(scoring={"quality": quality_scorer})
    fitted = codec().set_callbacks(ProgressBar(), monitor).fit(X)
    log = monitor.get_logs().data_as_pandas
    of_epochs = log[log["task_name"] == "epoch"]
    assert len(of_epochs) == len(fitted.history_)
    assert log["quality"].notna().all()
    of_fit = log[log["task_name"] != "epoch"]["quality"]
    assert of_fit.tolist() == pytest.approx([fitted.score(X)])
    # rich has one console per process, which the command line points at stderr.
    shown = capsys.readouterr()
    assert "HierarchicalVQVAE" in shown.out + shown.err


def test_monitor_on_pipeline_and_search(X):
    monitor = ScoringMonitor(scoring={"quality": quality_scorer})
    pipe = make_pipeline(AdaptiveRatioSelector("balanced", bits=12), codec(bits=None))
    pipe[-1].set_callbacks(monitor)
    pipe.fit(X)
    assert len(monitor.get_logs().data) >= 2
    assert monitor.get_logs().data_as_pandas["quality"].between(0.5, 1.0).all()
    search = GridSearchCV(pipe, {"hierarchicalvqvae__max_epochs": [1]}, cv=2)
    search.set_callbacks(ProgressBar())
    assert search.fit(X).best_score_ > 0.7
