"""Rows, chunks, labels and codes that come from files, generators and other containers."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn

from adaptive_vq import (
    FeatureCharacterizer,
    FeatureCleaner,
    cli,
    compare,
    diagnose,
    load,
    save,
    tables,
)
from adaptive_vq._tables_io import read_table
from adaptive_vq.streaming import drawn_rows, fit_chunks, sample_rows
from quick import HALF_BY_HALF as X
from quick import PLAN
from quick import untrained as codec

F = pd.DataFrame(X, columns=list("abcdef"))


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


@pytest.mark.filterwarnings("ignore:X ")
def test_names_alone_make_tables_differ():
    with pytest.raises(ValueError, match="other names"):
        compare({"a": codec(bits=4).fit(F), "b": codec(bits=4).fit(X)}, X)


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
