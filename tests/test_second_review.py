"""What a second reading by strangers to the code has found."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    compare,
    diagnose,
    load,
    save,
    tables,
)
from adaptive_vq.streaming import drawn_rows, fit_chunks

rng = np.random.default_rng(0)
X = np.repeat(rng.normal(size=(160, 2)), 3, axis=1) + 0.1 * rng.normal(size=(160, 6))
F = pd.DataFrame(X, columns=list("abcdef"))
HALVES = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
PLAN = AdaptiveRatioSelector("water_filling", bits=12, characterizer=HALVES)


def codec(*args, **parameters):
    return HierarchicalVQVAE(*args, **{"max_epochs": 0, "random_state": 0, **parameters})


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
    table = np.c_[X[:, :3], rng.normal(size=(160, 3)), rng.exponential(size=(160, 3)) ** 2]
    thirds = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5], "c": [6, 7, 8]})
    vq = codec(AdaptiveRatioSelector("learned", bits=6, characterizer=thirds)).fit(table)
    assert vq.history_ == []
    assert vq.moves_
    for name, reason in vq.decisions_["reason"].items():
        moved = [move[key] == name for move in vq.moves_ for key in ("taker", "giver")]
        net = sum(moved[::2]) - sum(moved[1::2])
        assert ("Learning moved" in reason) == (net != 0)
        assert "freed elsewhere" not in reason
    assert not hasattr(vq.set_params(compression_ratios=PLAN).fit(F), "moves_")


def test_bits_do_not_come_from_elsewhere_where_there_is_nothing_else():
    table = np.random.default_rng(4).normal(size=(40, 4))
    vq = codec(bits=20, auto_compression_strategy="water_filling").fit(table)
    assert len(vq.categories_) == 1
    assert "freed elsewhere" not in vq.decisions_["reason"].iloc[0]


def test_equal_weights_of_later_chunks_change_nothing():
    first, second = X[:80], X[80:] + np.r_[2, 2, 2, -2, -2, -2]

    def after(weight):
        vq = codec(PLAN).partial_fit(first, sample_weight=weight)
        return vq.partial_fit(second, sample_weight=weight)

    plain, ones = after(None), np.ones(80)
    for share in (0.001, 0.5):
        weighted = after(share * ones)
        assert weighted.training_["n_rows"] == plain.training_["n_rows"] == 160
        for name, book in plain.codebooks_.items():
            np.testing.assert_allclose(weighted.codebooks_[name], book, atol=1e-5)
    twice = after(2.0 * ones)
    assert twice.training_["n_rows"] == 320
    half = (
        codec(PLAN)
        .partial_fit(first)
        .partial_fit(second, sample_weight=np.r_[ones[:40], 0 * ones[40:]])
    )
    assert half.training_["n_rows"] == 120
    with pytest.raises(ValueError, match="sample_weight"):
        plain.partial_fit(second, sample_weight=-ones)


def test_what_metadata_were_asked_for_is_saved(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        vq = codec(bits=8).set_fit_request(sample_weight=True).fit(F)
        save(vq, tmp_path / "codec")
        again = load(tmp_path / "codec")
        assert again.get_metadata_routing().fit.requests == {"sample_weight": True}
    assert (again.transform(F) == vq.transform(F)).all(axis=None)
    plain = codec(bits=8).fit(F)
    save(plain, tmp_path / "plain")
    assert not hasattr(load(tmp_path / "plain"), "_metadata_request")


@pytest.mark.parametrize("fit_rows", [None, 60, 160, 1000])
def test_chunks_are_drawn_from_a_generator_as_fit_draws(fit_rows):
    ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
    whole = codec(bits=10, random_state=ours, fit_rows=fit_rows).fit(F)
    parts = fit_chunks(codec(bits=10, random_state=theirs, fit_rows=fit_rows), [F[:50], F[50:]])
    assert (whole.transform(F) == parts.transform(F)).all(axis=None)
    assert ours.randint(1000) == theirs.randint(1000)


def test_chunks_that_are_no_tables_are_refused():
    with pytest.raises(TypeError, match="give arrays or DataFrames"):
        drawn_rows(codec(bits=4), [X[:80].tolist(), X[80:].tolist()])


@pytest.mark.parametrize("kind", [list, tuple, pd.Index])
def test_labels_that_a_callable_gives_are_labels(kind):
    table = pd.DataFrame(X, columns=[5, 4, 3, 2, 1, 0])
    spec = {"first": lambda frame: kind(frame.columns[:2])}
    assert FeatureCharacterizer(spec).fit(table).categories_["first"].tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore:Constructing a DIA")
@pytest.mark.parametrize("kind", ["coo", "bsr", "dia", "csc", "lil", "dok"])
def test_sparse_codes_of_any_kind_and_length_are_decoded(kind, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 37)
    vq = codec(PLAN).fit(F)
    codes = np.asarray(vq.transform(F))
    sparse = sp.coo_matrix(codes).asformat(kind)
    np.testing.assert_array_equal(vq.inverse_transform(sparse), vq.inverse_transform(codes))


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Index, pd.Categorical, "polars"])
def test_labels_come_in_any_container(kind):
    labels = ["x", "x", "x", "y", "y", "y"]
    given = pytest.importorskip("polars").Series(labels) if kind == "polars" else kind(labels)
    found = FeatureCharacterizer(given).fit(F).categories_
    assert {name: columns.tolist() for name, columns in found.items()} == {
        "x": [0, 1, 2],
        "y": [3, 4, 5],
    }


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


@pytest.mark.filterwarnings("ignore:X ")
def test_names_alone_make_tables_differ():
    with pytest.raises(ValueError, match="other names"):
        compare({"a": codec(bits=4).fit(F), "b": codec(bits=4).fit(X)}, X)


def test_encoders_given_may_change_after_the_fit():
    encoders = {"a": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())}
    vq = codec(PLAN, max_epochs=1, encoders=encoders).fit(F)
    codes = np.asarray(vq.transform(F))
    encoders["a"] = torch.nn.Linear(3, 9)
    np.testing.assert_array_equal(vq.transform(F), codes)
    np.testing.assert_array_equal(vq.set_params(encoders=None).transform(F), codes)


def test_tables_that_are_not_there_yet_are_refused():
    pl = pytest.importorskip("polars")
    dd = pytest.importorskip("dask.dataframe")
    vq = codec(PLAN).fit(F)
    for act in (codec(bits=8).fit, vq.transform, FeatureCharacterizer(2).fit, FeatureCleaner().fit):
        with pytest.raises(TypeError, match=r"give X.collect\(\)"):
            act(pl.LazyFrame(F.to_dict("list")))
    for act in (codec(bits=8).fit, vq.transform):
        with pytest.raises(TypeError, match="fit_chunks"):
            act(dd.from_pandas(F, npartitions=2))
