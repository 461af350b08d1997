"""Cleaners as a parameter of codecs: what they drop, cap and give back."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from adaptive_vq import FeatureCleaner, HierarchicalVQVAE, diagnose
from quick import X, codec


@pytest.mark.parametrize("keep", ["first", "informative"])
def test_no_column_is_dropped_for_one_that_lacks_its_cells(keep):
    rng = np.random.default_rng(0)
    full = rng.normal(size=1000)
    thin = np.where(np.arange(1000) < 20, full, np.nan)
    table = pd.DataFrame({"a": thin, "b": full, "c": rng.normal(size=1000)})
    assert "b" in FeatureCleaner(keep=keep).fit(table).get_feature_names_out()
    # The other way round nothing is lost.
    turned = FeatureCleaner(keep=keep).fit(table[["b", "a", "c"]])
    assert list(turned.get_feature_names_out()) == ["b", "c"]


def test_a_failed_fit_leaves_the_cleaner_as_it_was(frame):
    cleaner = FeatureCleaner().fit(frame)
    before = cleaner.transform(frame)
    for wrong in (frame.assign(g=1e200), 0 * frame):
        with pytest.raises(ValueError, match=r"beyond 1e150|No column is left"):
            cleaner.fit(wrong)
    pd.testing.assert_frame_equal(cleaner.transform(frame), before)


def test_score_counts_what_a_cleaner_inside_caps(frame):
    wild = pd.concat([frame] * 8, ignore_index=True)
    wild.iloc[:3, 0] = 1e4
    inside = codec(cleaner=FeatureCleaner(max_correlation=None)).fit(wild)
    assert inside.score(wild) < 0.1
    found = diagnose(inside, wild, embedding=None)
    assert found.columns.loc["a", "nmse"] > 0.9
    assert found.columns.loc["a", "nmse_capped"] < 0.2
    assert found.columns.loc["a", "capped"] > 0


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


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


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
