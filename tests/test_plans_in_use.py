"""Plans handed on, given and told: what is in use is what is predicted and said."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    diagnose,
)
from adaptive_vq._reports import plan_figures
from adaptive_vq.displays import CodebookUsageDisplay
from quick import HALF_BY_HALF as X
from quick import HALVES, PLAN
from quick import untrained as codec

rng = np.random.default_rng(0)
F = pd.DataFrame(X, columns=list("abcdef"))


class MySelector(AdaptiveRatioSelector):
    pass


class MyCharacterizer(FeatureCharacterizer):
    pass


class MyCodec(HierarchicalVQVAE):
    pass


def test_polars_says_that_it_carries_no_repeats():
    pl = pytest.importorskip("polars")
    twins = pd.DataFrame({"a": X[:, 0], "b": 2.0 * X[:, 0], "c": X[:, 3]})
    with pytest.warns(UserWarning, match="can carry no note"):
        FeatureCleaner().fit_transform(pl.DataFrame(twins.to_dict("list")))
    with pytest.warns(UserWarning, match="column_weights"):
        FeatureCleaner().set_output(transform="polars").fit_transform(twins)
    FeatureCleaner().fit_transform(twins)
    FeatureCleaner().fit_transform(pl.DataFrame({"a": X[:, 0], "c": X[:, 3]}))
    codec(bits=8, cleaner=FeatureCleaner()).fit(pl.DataFrame(twins.to_dict("list")))


@pytest.mark.parametrize("first", [MySelector("uniform", bits=8), MyCharacterizer(1)])
def test_notes_of_subclasses_are_missed_as_well(first):
    with pytest.raises(ValueError, match=f"The note of {type(first).__name__} was lost"):
        make_pipeline(first, StandardScaler(), codec()).fit(F)


def test_a_characterizer_after_a_selector_of_a_subclass_is_noticed():
    with pytest.raises(ValueError, match="MySelector"):
        make_pipeline(MySelector("uniform", bits=8), FeatureCharacterizer(1), codec()).fit(F)


@pytest.mark.parametrize("first", [codec(encode="embedding"), MyCodec(max_epochs=0)])
def test_a_codec_uses_the_plan_for_those_behind_it(first):
    pipe = make_pipeline(AdaptiveRatioSelector("uniform", bits=8), first, codec(bits=4)).fit(F)
    assert (pipe[1].budget_, pipe[2].budget_) == (8, 4)


@pytest.mark.filterwarnings("ignore:Categories overlap")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_predictions_are_those_of_the_bits_in_use(early_stopping):
    loose = pd.DataFrame(np.c_[X[:, :3], rng.normal(size=(160, 3))], columns=list("abcdef"))
    plan = AdaptiveRatioSelector("uniform", bits=16, characterizer=HALVES)
    sizes = {"a": (16, 2, 2), "b": np.array([1, 1, 1])}
    vq = codec(plan, codebook_sizes=sizes, early_stopping=early_stopping).fit(loose)
    found = diagnose(vq, loose, embedding=None).categories["nmse"]
    assert vq.decisions_.loc["b", "predicted_nmse"] == pytest.approx(found["b"], rel=0.05)
    assert vq.decisions_.loc["b", "reason"].endswith("codebook_sizes gives it 0 bits.")
    if not early_stopping:
        assert np.isnan(vq.decisions_.loc["a", "predicted_nmse"])


def test_moves_of_learning_are_kept_and_told_without_epochs():
    own = np.random.default_rng(1)  # the one of the module depends on the tests before
    table = np.c_[X[:, :3], own.normal(size=(160, 3)), own.exponential(size=(160, 3)) ** 2]
    thirds = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5], "c": [6, 7, 8]})
    learned = AdaptiveRatioSelector("learned", bits=6, characterizer=thirds)
    vq = codec(learned, early_stopping=True).fit(table)
    assert vq.history_ == []
    assert vq.moves_
    for name, reason in vq.decisions_["reason"].items():
        moved = [move[key] == name for move in vq.moves_ for key in ("taker", "giver")]
        net = sum(moved[::2]) - sum(moved[1::2])
        assert ("Learning moved" in reason) == (net != 0)
        assert "freed elsewhere" not in reason
    moves, reasons = vq.moves_, list(vq.decisions_["reason"])
    vq.set_params(warm_start=True).fit(table)  # goes on with the bits as moved
    assert vq.moves_ == moves
    assert list(vq.decisions_["reason"]) == reasons
    assert vq.set_params(max_epochs=1).fit(table).history_[0]["moves"] == moves
    assert not hasattr(vq.set_params(compression_ratios=PLAN).fit(F), "moves_")


def test_learning_says_that_it_had_no_rows_to_judge_by():
    learned = AdaptiveRatioSelector("learned", bits=6, characterizer=HALVES)
    for parameters, named in (
        ({"early_stopping": False}, "Set early_stopping=True"),
        ({"validation_fraction": 0.001}, "validation_fraction=0.001 keeps fewer than two"),
        ({"codebook_sizes": 2}, "codebook_sizes"),
    ):
        with pytest.warns(UserWarning, match=f"'learned' has moved no bit.*{named}"):
            vq = codec(learned, **{"early_stopping": True} | parameters).fit(F)
        assert vq.moves_ == []


def test_bits_do_not_come_from_elsewhere_where_there_is_nothing_else():
    table = np.random.default_rng(4).normal(size=(40, 4))
    vq = codec(bits=20, auto_compression_strategy="water_filling").fit(table)
    assert len(vq.categories_) == 1
    assert "freed elsewhere" not in vq.decisions_["reason"].iloc[0]


class _Network(torch.nn.Module):
    def forward(self, rows):
        return rows.sum()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: codec({"cluster_1": 0.5, "cluster_2": 1}, bits=8),
            ValueError,
            "one positive, finite number",
        ),
        (lambda: codec(StandardScaler()), ValueError, "compression_ratios"),
        (lambda: codec(PLAN, encoders={"a": torch.nn.Linear(4, 4)}), ValueError, "'a'.* 3 columns"),
        (lambda: codec(PLAN, encoders={"a": 3}), TypeError, "'a' 3: give a torch.nn.Module"),
        (lambda: codec(PLAN, encoders={"a": _Network()}), ValueError, r"'a'.*\(2, width\)"),
        (lambda: FeatureCharacterizer({"a": float}), ValueError, "Category 'a'.*DataFrame"),
        (lambda: FeatureCharacterizer({"a": [True, False]}), ValueError, "mask of 2 .* 6 columns"),
        (lambda: AdaptiveRatioSelector([]), ValueError, r"one strategy per level \(3\)"),
        (lambda: codec(bits=8, column_weights={10: 2}), ValueError, "names are strings"),
        (
            lambda: codec(
                AdaptiveRatioSelector("water_filling", bits=8, column_weights={"b": 7}),
                cleaner=FeatureCleaner(max_correlation=0.9),
            ),
            ValueError,
            "'b', which is no column of X.* cleaner",
        ),
        (
            lambda: codec(PLAN, codebook_sizes={"a": [4, 4, 4], "b": [4, 2.5, 1]}),
            ValueError,
            r"'b' \[4, 2.5, 1\]: give one whole number per level",
        ),
        (
            lambda: codec(PLAN, codebook_sizes={"a": [[2, 2], 4, 4], "b": [4, 2, 1]}),
            ValueError,
            r"'a' \[\[2, 2\], 4, 4\]: give one whole number per level",
        ),
    ],
)
def test_errors_name_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make().fit(F)


def test_columns_dropped_before_are_named_with_what_drops_them():
    pipe = make_pipeline(FeatureCleaner(max_correlation=0.9), FeatureCharacterizer({"x": ["b"]}))
    with pytest.raises(ValueError, match=r"'x' names column 'b'.*report_"):
        pipe.fit(F)


def test_equal_weights_do_not_contradict_a_plan_without_any():
    plan = AdaptiveRatioSelector("water_filling", bits=8)
    ones = make_pipeline(plan, codec(column_weights={})).fit(F)
    assert (ones.transform(F) == make_pipeline(plan, codec()).fit(F).transform(F)).all(axis=None)
    with pytest.raises(ValueError, match="other weights"):
        make_pipeline(plan, codec(column_weights={"a": 2})).fit(F)


def test_weights_go_with_the_columns_that_any_cleaner_keeps():
    flat = F.assign(g=1.0)[["g", *"abcdef"]]
    parameters = {"bits": 8, "auto_compression_strategy": "water_filling"}
    cleaned = codec(cleaner=VarianceThreshold(), column_weights={"a": 4}, **parameters).fit(flat)
    plain = codec(column_weights={"a": 4}, **parameters).fit(F)
    np.testing.assert_array_equal(cleaned.units_.scale_, plain.units_.scale_)


def test_encoders_given_may_change_after_the_fit():
    encoders = {"a": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())}
    vq = codec(PLAN, max_epochs=1, encoders=encoders).fit(F)
    codes = np.asarray(vq.transform(F))
    encoders["a"] = torch.nn.Linear(3, 9)
    np.testing.assert_array_equal(vq.transform(F), codes)
    np.testing.assert_array_equal(vq.set_params(encoders=None).transform(F), codes)


def test_reports_are_drawn_where_bits_go_beyond_the_curves():
    flags = F.assign(g=rng.integers(0, 2, 160), h=rng.integers(0, 2, 160))
    halves = FeatureCharacterizer({"a": list("abcdef"), "b": ["g", "h"]})
    plan = AdaptiveRatioSelector(bits=12, characterizer=halves)
    vq = codec(plan).fit(flags)
    vq.curves_ = {name: curve[:3] for name, curve in vq.curves_.items()}
    diagnosis = diagnose(vq, flags, embedding=None)
    assert "<svg" in diagnosis.to_html()
    assert np.isnan(diagnosis.frontier["predicted_nmse"].iloc[-1])


def test_nothing_is_predicted_beyond_measured_curves():
    plan = AdaptiveRatioSelector(bits=4, characterizer=FeatureCharacterizer(1))
    predicted = diagnose(codec(plan).fit(F), F, embedding=None).frontier["predicted_nmse"]
    assert np.isnan(predicted.iloc[-1])
    assert predicted.iloc[:-1].notna().all()


def test_given_sizes_get_no_advice_from_a_plan_that_is_not_in_use():
    plan = AdaptiveRatioSelector(bits=8, characterizer=HALVES)
    vq = codec(plan, codebook_sizes={"a": (16, 8, 1), "b": (2, 1, 1)}, early_stopping=False).fit(F)
    found = diagnose(vq, F, embedding=None)
    assert found.frontier is None
    assert "codebook_sizes were given" in found.notes["frontier"]
    assert not {r.rule for r in found.recommendations} & {"budget_too_small", "budget_too_large"}
    assert "kept aside" in found.notes["predicted_nmse"]
    assert "nan" not in found.to_html().lower().replace("nano", "")


def test_constant_columns_have_no_error_in_reports():
    same = FeatureCharacterizer({"a": [0, 1, 2, 6], "b": [3, 4, 5]})
    still = F.assign(still=3.0)
    vq = codec(AdaptiveRatioSelector("water_filling", bits=8, characterizer=same))
    found = diagnose(vq.fit(still), still, embedding=None).columns.loc["still"]
    assert found[["nmse", "nmse_capped", "nmse_original", "mae"]].tolist() == [0.0] * 4


def test_many_codebooks_of_a_level_stay_in_order():
    plan = AdaptiveRatioSelector(
        "uniform", bits=60, n_levels=2, characterizer=FeatureCharacterizer(1)
    )
    vq = codec(plan, min_rows_per_codeword=40, early_stopping=False).fit(F)
    shown = list(CodebookUsageDisplay.from_estimator(vq, F).shares.columns)
    assert shown == [name.rsplit("__", 1)[1] for name in vq.codebooks_]
    assert len(shown) > 24


def test_a_dry_run_tells_of_the_sizes_given():
    pipe = make_pipeline(
        AdaptiveRatioSelector("uniform", bits=12, characterizer=HALVES),
        codec(codebook_sizes={"a": [16, 16, 4], "b": [2, 1, 1]}),
    )
    figures = plan_figures(pipe, F)
    assert figures["bits"] == {"a": [4, 4, 2], "b": [1, 0, 0]}
    assert "codebook_sizes gives it 10 bits" in figures["decisions"].loc["a", "reason"]
    assert figures["decisions"]["predicted_nmse"].isna().all()
    few = make_pipeline(
        AdaptiveRatioSelector("uniform", bits=30, characterizer=HALVES),
        codec(min_rows_per_codeword=40),
    )
    assert (
        max(
            size
            for sizes in plan_figures(few, F)["codebook_sizes"].values()
            for level in sizes
            for size in level
        )
        == 4
    )


def test_reasons_agree_with_the_bits_beside_them():
    rng = np.random.default_rng(0)
    table = np.c_[rng.normal(size=(80, 3)), rng.integers(0, 3, size=(80, 2)), rng.normal(size=80)]
    thirds = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4], "c": [5]})
    plan = AdaptiveRatioSelector("uniform", bits=32, characterizer=thirds)
    planned = plan.fit(table).decisions_["bits"]
    decisions = codec(plan, early_stopping=True).fit(table).decisions_
    told = set()
    for name, row in decisions.iterrows():
        sizes = re.findall(r"([\d.]+)(?: bits?)? (freed elsewhere|of its bits)", row["reason"])
        change = sum(float(n) * (1 if where[0] == "f" else -1) for n, where in sizes)
        whole = re.findall(r"; (\d+) whole ones hold", row["reason"])
        if sizes:
            assert round(planned[name] + change - row["bits_spent"], 1) == 0
            assert row["bits"] == (int(whole[0]) if whole else planned[name] + change)
        else:
            assert row["bits"] == planned[name]
        told |= {bool(whole)} if sizes else set()
    assert True in told


def test_sizes_given_are_told_with_the_whole_bits_that_hold_them():
    decisions = codec(PLAN, codebook_sizes={"a": [5, 5, 5], "b": 1}).fit(F).decisions_
    assert decisions.loc["a", "bits"] == 9
    assert "gives it 6.97 bits; 9 whole ones hold" in decisions.loc["a", "reason"]
