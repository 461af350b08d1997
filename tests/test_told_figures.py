"""Figures that comparisons and diagnoses tell."""

import numpy as np
import pandas as pd
import pytest

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    comparison,
    load,
    save,
)
from adaptive_vq.comparison import compare
from adaptive_vq.diagnosis import diagnose
from adaptive_vq.metrics import category_nmse, reconstruction_nmse
from quick import coupled
from quick import judged as codec


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return coupled()


@pytest.fixture(scope="module")
def still(frame) -> tuple[dict[str, HierarchicalVQVAE], pd.DataFrame]:
    table = frame.assign(g=3.7)
    categories = {"a": [0, 1, 2], "b": [3, 4, 5], "const": [6]}
    codecs = {}
    for name in ("uniform", "water_filling"):
        plan = AdaptiveRatioSelector(name, bits=12, characterizer=FeatureCharacterizer(categories))
        fitted = HierarchicalVQVAE(plan, max_epochs=0, random_state=0)
        codecs[name] = fitted.fit(table[:300])
    return codecs, table[300:]


def test_intervals_hold_categories_that_never_vary(still):
    table = compare(*still).table
    assert (table["max_median_low"] <= table["max_median"]).all()
    assert (table["max_median"] <= table["max_median_high"]).all()


def test_draws_do_not_depend_on_how_many_are_held(still, monkeypatch):
    before = compare(*still, n_bootstrap=50).table
    monkeypatch.setattr(comparison, "_COUNTS_AT_ONCE", 700)
    assert max(map(len, comparison._draws(100, 50, 0))) == 7
    after = compare(*still, n_bootstrap=50).table
    pd.testing.assert_frame_equal(before, after, rtol=1e-12)


def test_arguments_of_compare(still):
    codecs, rows = still
    with pytest.raises(ValueError, match=r"two of .* are the same"):
        compare({1: codecs["uniform"], "1": codecs["water_filling"]}, rows)
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="max_bits_difference"):
            compare(codecs, rows, max_bits_difference=wrong)


def test_a_constant_column_is_not_advised_to_share(still):
    codecs, rows = still
    rules = [r.rule for r in diagnose(codecs["uniform"], rows, embedding=None).recommendations]
    assert "single_column" not in rules


def test_error_beyond_caps_is_where_it_is_said_to_be():
    rng = np.random.default_rng(0)
    smooth = np.repeat(rng.normal(size=(800, 1)), 12, axis=1) + 0.05 * rng.normal(size=(800, 12))
    table = pd.DataFrame(smooth, columns=[f"smooth{j}" for j in range(12)])
    table[["noise0", "noise1", "noise2"]] = rng.normal(size=(800, 3))
    given = FeatureCharacterizer({"s": list(range(12)), "n": [12, 13, 14]})
    plan = AdaptiveRatioSelector("uniform", bits=8, characterizer=given)
    fitted = HierarchicalVQVAE(plan, max_epochs=0, random_state=0).fit(table[:400])
    rows = table[400:].copy()
    rows.iloc[:40, :12] *= 3
    found = diagnose(fitted, rows, embedding=None)
    (advice,) = [r for r in found.recommendations if r.rule == "beyond_caps"]
    listed = advice.message.partition("Half of it or more is in ")[2].partition(". If")[0]
    assert "smooth" in listed
    assert "noise" not in listed


@pytest.mark.parametrize("scaler", ["quantile", "standard", "robust"])
def test_own_units_are_judged_against_the_training_mean(scaler, tmp_path):
    rows = np.exp(2 * np.random.default_rng(0).normal(size=(800, 3)))
    train, unseen = rows[:600], rows[600:]
    fitted = codec(scaler=scaler, clip=None).fit(train)
    save(fitted, tmp_path / "m.safetensors")
    expected = category_nmse(
        unseen,
        fitted.reconstruct(unseen),
        {str(j): [j] for j in range(3)},
        reference=train.mean(axis=0),
    )
    for one in (fitted, load(tmp_path / "m.safetensors")):
        found = diagnose(one, unseen, embedding=None).columns["nmse_original"]
        np.testing.assert_allclose(found, list(expected.values()), rtol=1e-3)


def test_rows_with_other_codes_are_not_called_all(frame):
    columns = np.where(np.arange(4000) % 2000 == 0, 5.0, 0.0)[:, None] * np.ones(2)
    rng = np.random.default_rng(0)
    flat = np.column_stack([columns, rng.normal(size=(4000, 2))])
    plan = AdaptiveRatioSelector(
        "uniform", bits=6, characterizer=FeatureCharacterizer({"still": [0, 1], "x": [2, 3]})
    )
    fitted = HierarchicalVQVAE(plan, max_epochs=0, random_state=0, clip=None).fit(flat)
    advice = [
        r.message
        for r in diagnose(fitted, flat, embedding=None).recommendations
        if r.rule == "one_code"
    ]
    assert len(advice) == 1
    assert advice[0].startswith("99.95% of the rows have the same code")


def test_the_method_of_a_map_is_the_one_that_placed_the_points():
    rows = np.random.default_rng(0).normal(size=(300, 1))
    found = diagnose(HierarchicalVQVAE(bits=4, max_epochs=0, random_state=0).fit(rows), rows)
    assert found.latent_map.method == "pca"
    assert "PCA stands in" in found.notes["latent_map"]


def test_tables_with_other_names_are_not_compared(frame):
    turned = frame[frame.columns[::-1]]
    for figure in (reconstruction_nmse, lambda X, Y: category_nmse(X, Y, {"a": [0]})):
        with pytest.raises(ValueError, match="'a' against 'f'"):
            figure(frame, turned)


def test_a_reference_with_other_names_is_not_compared(frame):
    decoded, mean = frame + 0.1, frame.mean() + 1.0
    wanted = reconstruction_nmse(frame, decoded, reference=mean.to_numpy())
    for reference in (mean, mean.reset_index(drop=True)):
        assert reconstruction_nmse(frame, decoded, reference=reference) == wanted
    with pytest.raises(ValueError, match=r"'a' against 'f'.*select reference\[X.columns\]"):
        reconstruction_nmse(frame, decoded, reference=mean[::-1])
