"""Advice is followed, and its figure gets better; what would not help is not named."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
)
from adaptive_vq.diagnosis import Diagnosis, compare, diagnose
from adaptive_vq.recommendations import Recommendation, recommend


def fit(X: pd.DataFrame, **parameters) -> HierarchicalVQVAE:
    return HierarchicalVQVAE(random_state=0, **{"max_epochs": 0, **parameters}).fit(X)


def report(codec: HierarchicalVQVAE, X: pd.DataFrame) -> Diagnosis:
    return diagnose(codec, X, embedding=None)


def found(diagnosis: Diagnosis, rule: str) -> list[Recommendation]:
    return [r for r in diagnosis.recommendations if r.rule == rule]


def heavy_tails(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, 2))
    cells = np.exp(1.5 * factors @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(n, 6)))
    return pd.DataFrame(cells, columns=list("abcdef"))


# ------------------------------------------------------------------------------ extremes
def test_extremes_that_matter_are_brought_back_by_clip_and_not_by_ranks():
    table = heavy_tails(900)
    train, unseen = table[:600], table[600:]
    base = fit(train, bits=12)
    own = report(base, unseen)
    (advice,) = found(own, "beyond_caps")
    assert advice.parameter == "clip, scaler"
    fits = {
        "base": base,
        "clip": fit(train, bits=12, clip=None),
        "ranks": fit(train, bits=12, scaler="quantile"),
    }
    nmse = compare(fits, unseen, n_bootstrap=0).table["nmse"]
    assert nmse["clip"] < 0.7 * nmse["base"]
    assert nmse["ranks"] > 0.9 * nmse["base"]  # its caps are the same
    messages = [advice.message, *(r.message for r in found(own, "dominant_column"))]
    assert len(messages) > 1
    for message in messages:
        if_they_matter, if_not = message.split("if not, ")
        assert "widen clip (None caps nothing)" in if_they_matter
        assert "scaler" not in if_they_matter
        assert "scaler='quantile', which leaves them capped" in if_not


def test_extremes_that_a_cleaner_caps_are_brought_back_by_its_caps_and_clip_together():
    table = heavy_tails(900)
    train, unseen = table[:600], table[600:]

    def cleaned(caps: str | None, **parameters) -> HierarchicalVQVAE:
        cleaner = FeatureCleaner(caps=caps, max_correlation=None)
        quick = {"bits": 24, "auto_compression_strategy": "water_filling"}
        return fit(train, cleaner=cleaner, **quick, **parameters)

    (advice,) = found(report(cleaned("percentile"), unseen), "beyond_caps")
    assert "widen clip (None caps nothing), and caps of a FeatureCleaner" in advice.message
    fits = {
        "base": cleaned("percentile"),
        "clip": cleaned("percentile", clip=None),
        "caps": cleaned(None),
        "both": cleaned(None, clip=None),
    }
    nmse = compare(fits, unseen, n_bootstrap=0).table["nmse"]
    assert nmse["both"] < 0.7 * nmse["base"]
    assert min(nmse["clip"], nmse["caps"]) > 0.9 * nmse["base"]


# ---------------------------------------------------------------------------- training rows
def test_rows_worse_than_training_rows_gain_by_rows_and_not_by_fewer_bits():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(1500, 8)), columns=list("abcdefgh"))
    unseen = table[1000:]
    own = report(fit(table[:100], bits=24), unseen)
    (advice,) = found(own, "above_training")
    fewer = report(fit(table[:100], bits=12), unseen).summary["nmse_capped"]
    more_rows = report(fit(table[:600], bits=24), unseen).summary["nmse_capped"]
    assert more_rows < 0.9 * own.summary["nmse_capped"] < 0.9 * fewer
    assert "bits" not in advice.parameter
    assert "lower bits" not in advice.message
    assert "fit on more rows" in advice.message
    assert "Fewer bits would bring" in advice.message
    (few,) = found(own, "few_rows")
    assert "codebook_sizes" not in few.parameter + few.message  # any size below takes bits away
    assert "min_rows_per_codeword=10 spends the same bits" in few.message
    split = fit(table[:100], bits=24, min_rows_per_codeword=10)
    assert split.n_bits_ > 22  # of 24
    assert not found(report(split, unseen), "few_rows")


# ------------------------------------------------------------------ categories that are given
def families() -> pd.DataFrame:
    """Families a to c of two columns and d and e of one."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(200, 5))[:, [0, 0, 1, 1, 2, 2, 3, 4]] + 0.3 * rng.normal(size=(200, 8))
    return pd.DataFrame(cells, columns=[f"{name}__{c}" for c, name in enumerate("aabbccde")])


def prefixed(X: pd.DataFrame, **parameters) -> HierarchicalVQVAE:
    """Categories that are given, and Gaussian predictions."""
    plan = AdaptiveRatioSelector("balanced", characterizer=FeatureCharacterizer("prefix"))
    return fit(X, compression_ratios=plan, bits=16, **parameters)


def test_given_categories_of_one_column_are_to_be_joined():
    X = families()
    (advice,) = found(report(prefixed(X), X), "single_column")
    with pytest.warns(UserWarning, match="min_category_size=3 .* has no effect"):
        FeatureCharacterizer("prefix", min_category_size=3).fit(X)
    assert "join it to another category where categories are given, else raise" in advice.message


def test_predictions_without_rows_kept_aside_are_told_as_the_plans():
    X = np.exp(1.5 * families())
    own = report(prefixed(X, early_stopping=False), X)
    same = report(prefixed(X, early_stopping=False, validation_fraction=0.4), X)
    (advice,) = found(own, "above_predicted")
    assert found(same, "above_predicted") == [advice]  # the fraction has no effect
    assert "early_stopping=False none were kept aside" in advice.message


# ----------------------------------------------------------------------- starved categories
def test_minimax_is_named_only_where_it_would_move_bits():
    rng = np.random.default_rng(0)
    flags = pd.DataFrame(rng.integers(0, 2, size=(600, 3))).add_prefix("flags__")
    X = flags.join(pd.DataFrame(rng.normal(size=(600, 6))).add_prefix("rest__"))
    given = FeatureCharacterizer("prefix")
    fits = {
        name: fit(
            X[:400], compression_ratios=AdaptiveRatioSelector(name, bits=12, characterizer=given)
        )
        for name in ("rate_distortion", "minimax")
    }
    own = report(fits["rate_distortion"], X[400:])
    (advice,) = found(own, "worst_category")
    # The flags need their three bits; without one of them they would be the worst.
    assert fits["rate_distortion"].bits_ == fits["minimax"].bits_
    assert advice.subject == "rest"
    assert "while the other category is coded exactly" in advice.message
    assert "minimax" not in advice.message
    assert "give more bits in total" in advice.message

    cheap = own.curves | {"flags": np.array([1.0, 0.01, 0.001, 0.0])}
    (advice,) = [r for r in recommend(replace(own, curves=cheap)) if r.rule == "worst_category"]
    assert "strategy='minimax'" in advice.message


# ---------------------------------------------------------------------- rows that have drifted
def test_columns_that_have_left_the_caps_are_not_to_be_capped_less():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(900, 6)), columns=list("abcdef"))
    train, moved = table[:600], table[600:].assign(b=table["b"] + 20)
    quick = {"auto_compression_strategy": "water_filling", "bits": 24}
    base = fit(train, **quick)
    own = report(base, moved)
    fits = {"base": base, "clip": fit(train, clip=None, **quick)}
    nmse = compare(fits, moved, n_bootstrap=0).table["nmse"]
    assert nmse["clip"] > 0.5 * nmse["base"]  # what was advised does not bring it back
    again = report(fit(pd.concat([train, moved[:150]]), **quick), moved[150:])
    assert again.summary["nmse"] < 0.1 * own.summary["nmse"]
    few = report(base, moved[:10])  # too few for means to be told as shifted, not for this
    told_of = [
        one
        for d in (own, few)
        for rule in ("beyond_caps", "dominant_column")
        for one in found(d, rule)
    ]
    assert len(told_of) == 4
    for told in told_of:
        assert "widen clip" not in told.message
        assert "quantile" not in told.message
        assert "100% of the cells" in told.message
        assert "fit again with them" in told.message
        assert told.parameter == "fit again, or the rows"


def test_extremes_beside_a_column_that_has_left_the_caps():
    table = heavy_tails(900)
    train, unseen = table[:600], table[600:]
    own = report(fit(train, auto_compression_strategy="water_filling", bits=12), unseen)
    columns = own.columns.assign(share=[0.4, 0.3, 0.3, 0.0, 0.0, 0.0], share_beyond_caps=1.0)
    columns["capped"] = [1.0, *[0.01] * 5]
    (advice,) = [r for r in recommend(replace(own, columns=columns)) if r.rule == "beyond_caps"]
    assert advice.parameter == "clip, scaler"
    assert "If these extremes matter, widen clip" in advice.message
    assert "'a' has left the caps" in advice.message
