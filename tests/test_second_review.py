"""What a second reading by strangers to the code has found."""

import re

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
    cli,
    compare,
    diagnose,
    load,
    save,
    tables,
)
from adaptive_vq._reports import plan_figures
from adaptive_vq._tables_io import read_table
from adaptive_vq.displays import CodebookUsageDisplay
from adaptive_vq.streaming import drawn_rows, fit_chunks, sample_rows

rng = np.random.default_rng(0)
X = np.repeat(rng.normal(size=(160, 2)), 3, axis=1) + 0.1 * rng.normal(size=(160, 6))
F = pd.DataFrame(X, columns=list("abcdef"))
HALVES = FeatureCharacterizer({"a": [0, 1, 2], "b": [3, 4, 5]})
PLAN = AdaptiveRatioSelector("water_filling", bits=12, characterizer=HALVES)


def codec(*args, **parameters):
    quick = {"max_epochs": 0, "early_stopping": False, "random_state": 0}
    return HierarchicalVQVAE(*args, **{**quick, **parameters})


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
    given = {"bits": 6, "early_stopping": True, "fit_rows": fit_rows}
    whole = codec(random_state=ours, **given).fit(F)
    parts = fit_chunks(codec(random_state=theirs, **given), [F[:50], F[50:]])
    assert (whole.transform(F) == parts.transform(F)).all(axis=None)
    assert ours.randint(1000) == theirs.randint(1000)


def test_chunks_that_are_no_tables_are_refused():
    with pytest.raises(TypeError, match=r"a list of rows: give np\.asarray"):
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


# --- reports, files and the command line ---------------------------------------------------------


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


@pytest.mark.parametrize(("n", "weight"), [(160, 0.01), (160, 1 / 3), (150, 0.1), (150, 0.3)])
def test_equal_weights_count_rows_as_none_would(n, weight):
    vq = codec(PLAN).fit(F[:n], sample_weight=np.full(n, weight))
    assert vq.training_["n_rows"] == n
    assert {int(hits.sum()) for hits in vq.training_["codes"].values()} == {n}
    assert (vq.training_["observed"] == n).all()


def test_a_column_empty_in_training_is_told_apart():
    empty = F.assign(b=np.nan)
    with pytest.warns(UserWarning, match="no observed cell"):
        vq = codec(bits=8).fit(empty)
    assert "here or in training" in diagnose(vq, F, embedding=None).notes["nmse"]


def test_many_codebooks_of_a_level_stay_in_order():
    plan = AdaptiveRatioSelector(
        "uniform", bits=60, n_levels=2, characterizer=FeatureCharacterizer(1)
    )
    vq = codec(plan, min_rows_per_codeword=40, early_stopping=False).fit(F)
    shown = list(CodebookUsageDisplay.from_estimator(vq, F).shares.columns)
    assert shown == [name.rsplit("__", 1)[1] for name in vq.codebooks_]
    assert len(shown) > 24


def test_empty_lines_of_a_single_column_are_missing_cells(tmp_path):
    (tmp_path / "one.csv").write_text("a\n" + "1\n2\n\n4\n" * 3)
    table = read_table(tmp_path / "one.csv")
    assert len(table) == 12
    assert table["a"].isna().sum() == 3
    (tmp_path / "two.csv").write_text("a,b\n1,2\n\n3,\n")
    assert read_table(tmp_path / "two.csv").shape == (2, 2)


def test_lines_cut_short_are_refused(tmp_path):
    (tmp_path / "short.csv").write_text("a,b,c\n1,2,3\n4,5\n2,1,3\n")
    with pytest.raises(ValueError, match="line 3 has 2 cells, its first line 3 names"):
        read_table(tmp_path / "short.csv")


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


def test_files_without_a_codec_are_not_encoded_with(tmp_path, capsys):
    F.to_csv(tmp_path / "t.csv", index=False)
    save(FeatureCleaner().fit(F), tmp_path / "cleaner")
    with pytest.warns(UserWarning, match="No column of X varies"):
        still = codec(bits=4).fit(F * 0.0 + 1.0)
    save(still, tmp_path / "still")
    for model, message in (("cleaner", "FeatureCleaner"), ("still", "no column varied")):
        for command in ("encode", "decode"):
            arguments = [command, str(tmp_path / model), str(tmp_path / "t.csv")]
            with pytest.raises(SystemExit) as stopped:
                cli.main([*arguments, "-o", str(tmp_path / "codes.csv")])
            assert stopped.value.code != 0
            assert message in " ".join(capsys.readouterr().err.split())


def test_chunks_are_for_codecs_and_samples_for_paths(tmp_path):
    with pytest.raises(TypeError, match="FeatureCleaner, whose partial_fit"):
        fit_chunks(FeatureCleaner(), [F])
    F.to_parquet(tmp_path / "t.parquet")
    assert len(sample_rows(tmp_path / "t.parquet", 7)) == 7
    with pytest.raises(ValueError, match="n_map_rows == 2, must be >= 3"):
        diagnose(codec(bits=4).fit(F), F, n_map_rows=2)
    with pytest.raises(TypeError, match="n_bootstrap"):
        compare({"a": codec(bits=4).fit(F), "b": codec(bits=4).fit(F)}, F, n_bootstrap=1.5)


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
