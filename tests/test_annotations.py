"""The note on the table: written, merged, kept by pandas, refused once columns changed."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
)
from adaptive_vq.annotations import (
    annotate,
    annotation,
    note_repeats,
    repeat_weights,
    warn_of_lost_repeats,
)
from adaptive_vq.streaming import fit_chunks


@pytest.fixture
def frame() -> pd.DataFrame:
    table = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=["a", "b", "c"])
    table.attrs["unit"] = "m"
    return table


def test_nothing_to_read(frame):
    assert annotation(frame) is None
    assert annotation(frame.to_numpy()) is None
    assert annotation(None) is None


def test_annotate_leaves_the_input_alone_and_keeps_other_attrs(frame):
    noted = annotate(frame, {"by": ["First"], "given": True})
    assert frame.attrs == {"unit": "m"}
    assert noted.attrs["unit"] == "m"
    pd.testing.assert_frame_equal(pd.DataFrame(noted), pd.DataFrame(frame), check_flags=False)
    assert annotation(noted)["given"] is True


def test_a_later_note_replaces_its_keys_only(frame):
    first = annotate(frame, {"by": ["First"], "given": True})
    second = annotate(first, {"by": ["First", "Second"]})
    assert annotation(second)["by"] == ["First", "Second"]
    assert annotation(second)["given"] is True
    assert annotation(first)["by"] == ["First"]


def test_the_note_survives_rows_pickle_and_json(frame):
    noted = annotate(frame, {"by": ["First"]})
    assert annotation(noted.iloc[1:3])["by"] == ["First"]
    assert annotation(pickle.loads(pickle.dumps(noted)))["by"] == ["First"]
    assert json.loads(json.dumps(annotation(noted))) == annotation(noted)


def test_numbered_columns(frame):
    noted = annotate(pd.DataFrame(frame.to_numpy()), {"by": ["First"]})
    assert annotation(noted)["by"] == ["First"]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.drop(columns="b"),
        lambda f: f.rename(columns={"b": "z"}),
        lambda f: f[["b", "a", "c"]],
        lambda f: f.assign(d=0.0),
    ],
)
def test_changed_columns_are_refused(frame, change):
    noted = annotate(frame, {"by": ["First", "Second"]})
    with pytest.raises(ValueError, match="changed after Second"):
        annotation(change(noted))


@pytest.mark.parametrize("foreign", [None, 3, "mine", [1], {}, {"by": ["First"]}])
def test_what_is_no_note_is_refused(frame, foreign):
    frame.attrs["adaptive_vq"] = foreign
    with pytest.raises(ValueError, match=r"attrs\['adaptive_vq'\].*Delete it"):
        annotation(frame)


@pytest.mark.parametrize("kind", ["Table", "RecordBatch"])
def test_notes_stay_with_a_pyarrow_table(kind):
    made = getattr(pytest.importorskip("pyarrow"), kind).from_pandas
    rows = np.repeat(np.random.default_rng(0).normal(size=(60, 2)), 2, axis=1)
    rows += 0.3 * np.random.default_rng(1).normal(size=rows.shape)
    X = pd.DataFrame(rows, columns=list("abcd"))
    cleaned = FeatureCleaner().fit_transform(X.assign(e=2 * X["a"]))
    np.testing.assert_array_equal(repeat_weights(made(cleaned)), [2, 1, 1, 1])
    halves = FeatureCharacterizer({"one": ["a", "b"], "two": ["c", "d"]})
    selector = AdaptiveRatioSelector("uniform", bits=8, n_levels=2, characterizer=halves)
    noted = selector.fit(cleaned).transform(cleaned)
    table = made(noted)
    assert annotation(table) == annotation(noted)
    codec = HierarchicalVQVAE(max_epochs=0, random_state=0)
    expected = fit_chunks(clone(codec), [table]).transform(noted)
    np.testing.assert_array_equal(codec.fit(table).transform(noted), expected)
    assert list(codec.categories_) == ["one", "two"]
    # Who hands rows on as pandas tables hands their notes on as well.
    again = FeatureCharacterizer(halves.categories).fit_transform(table)
    np.testing.assert_array_equal(repeat_weights(again), [2, 1, 1, 1])
    kept = FeatureCleaner(max_correlation=None).fit_transform(table)
    assert annotation(kept) == annotation(noted)
    with pytest.raises(ValueError, match="saw 4 columns, X now has 3"):
        codec.fit(table.select(["a", "b", "c"]))


def test_repeats_are_noted_anew_and_are_those_of_the_columns_that_are_left(frame):
    noted = note_repeats(frame, np.array([3, 1, 1]))
    np.testing.assert_array_equal(repeat_weights(noted), [3, 1, 1])
    assert repeat_weights(noted[["b", "c"]]) is None
    again = note_repeats(noted, np.ones(3, dtype=int))
    assert repeat_weights(again) is None
    assert again.attrs == {"unit": "m"}
    assert repeat_weights(noted) is not None


def test_lost_repeats_are_told_where_there_are_any():
    table = pl.DataFrame({"a": [1.0]})
    assert warn_of_lost_repeats(table, np.array([1])) is table
    with pytest.warns(UserWarning, match="can carry no note"):
        warn_of_lost_repeats(table, np.array([2]))
