"""What a review of the mends of the third one found."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    tune_categories,
)
from adaptive_vq._statistics import column_quantiles
from adaptive_vq._streams import map_parquet
from adaptive_vq._tables_io import read_table
from adaptive_vq.diagnosis import diagnose
from adaptive_vq.metrics import reconstruction_nmse
from adaptive_vq.streaming import fit_chunks, sample_rows
from adaptive_vq.tables import check_table


def codec(*args, **parameters) -> HierarchicalVQVAE:
    settings = {"max_epochs": 0, "early_stopping": False, "random_state": 0}
    if not args:
        settings["bits"] = 12
        settings["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(*args, **settings | parameters)


@pytest.mark.parametrize("constant", [123456789.0, 20231107.0, 1e-9])
def test_large_constants_have_no_error_without_a_scaler(cells, constant):
    table = cells.copy()
    table[:, 0] = constant
    fitted = codec(scaler=None).fit(table)
    assert fitted.score(table) > 0.98
    assert diagnose(fitted, table, embedding=None).columns["nmse"].iloc[0] == 0


def test_labels_go_by_the_header_of_the_table(cells):
    turned = pd.DataFrame(cells)[[3, 4, 5, 0, 1, 2]]
    for table in (turned, pd.DataFrame(cells, columns=[10, 20, 30, 40, 50, 60])):
        labels = pd.Series(list("xxxyyy"), index=table.columns)
        found = FeatureCharacterizer(labels).fit(table).categories_
        assert found["x"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="7 labels"):
        FeatureCharacterizer(pd.Series(list("xxxyyyy"), index=[0, 0, 1, 2, 3, 4, 5])).fit(cells)


def test_what_a_cleaner_caps_is_capped(frame):
    wild = pd.concat([frame] * 8, ignore_index=True)
    wild.iloc[:3, 0] = 1e4
    fitted = codec(cleaner=FeatureCleaner(max_correlation=None), clip=None).fit(wild)
    found = diagnose(fitted, wild, embedding=None)
    assert found.columns.loc["a", "nmse"] > 0.9
    assert found.columns.loc["a", "nmse_capped"] < 0.1
    assert 0 < found.columns.loc["a", "capped"] < 0.03


@pytest.mark.parametrize("clip", ["auto", None])
def test_what_a_cleaner_caps_counts_in_training_too(cells, clip):
    table = pd.DataFrame(np.exp(1.5 * cells)).rename(columns=str)
    fitted = codec(cleaner=FeatureCleaner(caps="iqr", max_correlation=None), clip=clip).fit(table)
    found = diagnose(fitted, table, embedding=None)
    columns = found.columns
    assert (columns["training_capped"] > 0.03).all()
    np.testing.assert_allclose(columns["training_capped"], columns["capped"])
    np.testing.assert_allclose(fitted.n_capped_ / len(table), columns["capped"])
    assert "shift_capped" not in [advice.rule for advice in found.recommendations]
    twice = clone(fitted).fit(table, sample_weight=np.full(len(table), 2.0))
    np.testing.assert_array_equal(twice.n_capped_, 2 * fitted.n_capped_)


class Rescaling(FeatureCleaner):
    def transform(self, X):
        return 1000 * super().transform(X)

    def inverse_transform(self, X):
        return super().inverse_transform(X / 1000)


def test_a_cleaner_of_another_class_is_taken_as_it_is(frame):
    assert codec(cleaner=Rescaling(max_correlation=None)).fit(frame).score(frame) > 0.9


def test_duplicates_with_holes_are_still_duplicates(cells):
    table = pd.DataFrame({"a": cells[:, 0], "b": 2 * cells[:, 0], "c": cells[:, 3]})
    holes = table.copy()
    holes.loc[:5, "a"] = np.nan
    assert list(FeatureCleaner().fit(holes).get_feature_names_out()) == ["b", "c"]
    scattered = table.mask(np.random.default_rng(0).random(table.shape) < 0.02)
    assert FeatureCleaner().fit(scattered).kept_.size == 2


def test_a_weight_next_to_nothing(cells):
    weight = np.ones(160)
    weight[3] = 1e-310
    for scaler in ("standard", "quantile"):
        fitted = codec(scaler=scaler).fit(cells, sample_weight=weight)
        assert np.isfinite(fitted.reconstruct(cells)).all()
        assert fitted.score(cells) > 0.9
    weight[3] = 1e-20
    ends = column_quantiles(cells, weight, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(ends, [cells.min(axis=0), cells.max(axis=0)])


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(pd.array([*range(35_000)] + [None] * 5_000, dtype="Int64"), name="id"),
        pd.RangeIndex(500, 40_500),
        pd.RangeIndex(0, 120_000, 3),
        pd.RangeIndex(40_000, name="id"),
    ],
)
def test_every_index_passes_from_parquet_to_parquet(tmp_path, index):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"a": np.arange(40_000.0)}, index=index)
    table.to_parquet(tmp_path / "in.parquet")
    map_parquet(lambda piece: 2 * piece, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found.index.name == index.name
    np.testing.assert_array_equal(
        found.index.to_numpy(dtype=float, na_value=np.nan),
        index.to_numpy(dtype=float, na_value=np.nan),
    )


def test_a_number_of_categories_beyond_the_columns_is_refused_at_once(frame):
    with pytest.raises(ValueError, match="categories=99 can not be formed from 6 columns"):
        FeatureCharacterizer(99).partial_fit(frame)
    families = frame.set_axis(["a__1", "a__2", "a__3", "b__1", "b__2", "b__3"], axis=1)
    fitted = FeatureCharacterizer(5, isolate=["a", "b"]).fit(families)
    assert len(fitted.transform(families)) == 160


def test_masks_and_text_at_other_doors(cells):
    masked = np.ma.masked_array(cells.copy(), np.random.default_rng(0).random(cells.shape) < 0.2)
    masked.data[masked.mask] = 1e6
    holes = np.ma.filled(masked, np.nan)
    fitted = codec().fit(holes)
    found = reconstruction_nmse(masked, fitted.reconstruct(masked))
    assert found == reconstruction_nmse(holes, fitted.reconstruct(holes))
    for other in (codec().fit(masked.astype(object)), fit_chunks(codec(), masked)):
        np.testing.assert_array_equal(other.transform(holes), fitted.transform(holes))
    np.testing.assert_array_equal(sample_rows(masked, 9), sample_rows(holes, 9))
    with pytest.raises(ValueError, match=r"not numeric: it holds .*02139"):
        check_table(HierarchicalVQVAE(), [["02139", "2"], ["3", "4"]], reset=True)
    with pytest.raises(ValueError, match="'x1' of X is not numeric: it holds '2'"):
        check_table(HierarchicalVQVAE(), [[1.0, "2"], [3.0, "4"]], reset=True)
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="'zip' of X is not numeric"):
        check_table(
            HierarchicalVQVAE(), pa.table({"zip": ["02139", "1"], "b": [1.0, 2.0]}), reset=True
        )


@pytest.mark.parametrize("name", ["400.5", "0.5", "1e5", "-1", "inf", "1_0"])
def test_numbers_may_be_names_of_a_column(tmp_path, name):
    pd.DataFrame({name: [1.0, 2, 3]}).to_csv(tmp_path / "t.csv", index=False)
    assert list(read_table(tmp_path / "t.csv").columns) == [name]
    (tmp_path / "years.csv").write_text("1990,1991,NA\n1,2,3\n")
    assert len(read_table(tmp_path / "years.csv")) == 1


def test_frames_with_a_column_called_nan_are_compared(cells):
    table = pd.DataFrame(cells[:, :2], columns=["a", np.nan])
    assert reconstruction_nmse(table, table) == 0


# --------------------------------------------------------------------------- tuning, encoders
def test_tuning_learns_from_the_rows_that_a_fit_draws():
    rng = np.random.default_rng(0)
    table = np.repeat(rng.normal(size=(500, 2)), 3, axis=1) + 0.3 * rng.normal(size=(500, 6))
    given = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
    few = codec(AdaptiveRatioSelector("uniform", bits=8, characterizer=given), fit_rows=100)
    for refit in (True, False):
        tuned, _ = tune_categories(few, table, max_epochs=0, max_rounds=1, refit=refit)
        assert tuned.training_["n_rows"] == 100


class Positions(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)

    def forward(self, rows):
        return self.linear(rows + torch.arange(3))


def test_encoders_may_make_tensors(cells):
    given = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
    plan = AdaptiveRatioSelector("uniform", bits=10, characterizer=given)
    fitted = codec(plan, encoders={"a": Positions()}, max_epochs=1).fit(cells)
    assert fitted.score(cells) > 0.5


def test_a_warm_start_predicts_nothing_from_rows_it_has_learned_from(cells):
    fitted = codec(warm_start=True, early_stopping=True).fit(cells).fit(cells)
    cold = codec(early_stopping=True).fit(cells)
    np.testing.assert_array_equal(fitted.transform(cells), cold.transform(cells))
    unjudged = codec(early_stopping=False).fit(cells)  # says what the plan does
    before, after, plan = (c.decisions_["predicted_nmse"] for c in (cold, fitted, unjudged))
    np.testing.assert_array_equal(after, plan)
    assert (before != plan).all()
