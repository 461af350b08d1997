"""What a third review of the command line, files and reports found."""

import json

import numpy as np
import pandas as pd
import pytest

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    cli,
    comparison,
    load,
    save,
)
from adaptive_vq._tables_io import read_table
from adaptive_vq.comparison import compare
from adaptive_vq.diagnosis import diagnose
from adaptive_vq.metrics import category_nmse, reconstruction_nmse
from adaptive_vq.streaming import fit_chunks


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cells = np.repeat(rng.normal(size=(400, 2)), 3, axis=1) + 0.3 * rng.normal(size=(400, 6))
    return pd.DataFrame(cells, columns=list("abcdef"))


def codec(**parameters) -> HierarchicalVQVAE:
    settings = {"bits": 12, "max_epochs": 0, "random_state": 0}
    settings["auto_compression_strategy"] = "water_filling"
    return HierarchicalVQVAE(**settings | parameters)


def run(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    assert end.value.code == 0
    said = capsys.readouterr()
    return said.out + said.err


# ------------------------------------------------------------------------------- command line
def test_brackets_in_names_are_printed(frame, tmp_path, capsys):
    pytest.importorskip("typer")
    names = [f"v[/s]__{c}" if c < "d" else f"temp[kg]__{c}" for c in frame]
    frame.set_axis(names, axis=1).to_csv(tmp_path / "t.csv", index=False)
    options = ("--bits", 12, "--epochs", 0, "--categories", "prefix")
    said = run(capsys, "fit", tmp_path / "t.csv", "-o", tmp_path / "m.safetensors", *options)
    said += run(capsys, "inspect", tmp_path / "m.safetensors")
    assert said.count("v[/s]") > 2
    assert said.count("temp[kg]") > 2


def test_names_that_a_terminal_would_obey_are_printed(frame, tmp_path, capsys, monkeypatch):
    pytest.importorskip("typer")
    monkeypatch.chdir(tmp_path)
    names = [f"\x1b[3{'12'[c > 'c']}mred__{c}\x9b2J\x07" for c in frame]
    frame.set_axis(names, axis=1).to_csv("t.csv", index=False)
    options = ("--bits", 12, "--epochs", 0, "--categories", "prefix")
    said = run(capsys, "fit", "t.csv", "-o", "m", *options) + run(capsys, "inspect", "m")
    said += run(capsys, "fit", "t.csv", "--dry-run", *options)
    with pytest.raises(SystemExit):
        cli.main(["fit", "\x1b[2J.csv", "--dry-run"])
    said += capsys.readouterr().err
    assert r"\x1b[31mred" in said
    assert r"__a\x9b2J\x07" in said
    assert r"\x1b[2J.csv" in said
    assert not set(said) & set("\x1b\x9b\x07")


def test_row_ids_pass_from_parquet_to_parquet(frame, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    pytest.importorskip("typer")
    ids = pd.Index([f"id{i}" for i in range(len(frame))], name="row_id")
    frame.set_index(ids).to_parquet(tmp_path / "t.parquet")
    save(codec().fit(frame), tmp_path / "m.safetensors")
    codes = tmp_path / "codes.parquet"
    run(capsys, "encode", tmp_path / "m.safetensors", tmp_path / "t.parquet", "-o", codes)
    pd.testing.assert_index_equal(pd.read_parquet(codes).index, ids)
    rows = tmp_path / "rows.parquet"
    run(capsys, "decode", tmp_path / "m.safetensors", codes, "-o", rows)
    pd.testing.assert_index_equal(pd.read_parquet(rows).index, ids)
    codes = tmp_path / "codes.csv"
    said = run(capsys, "encode", tmp_path / "m.safetensors", tmp_path / "t.parquet", "-o", codes)
    assert "index 'row_id' of the rows is not written" in said


def test_infinity_is_told_from_what_is_not_known(frame, tmp_path, capsys):
    pytest.importorskip("typer")
    table = frame.add_prefix("x__").assign(c__0=np.arange(400) % 2)
    table.to_csv(tmp_path / "t.csv", index=False)
    said = run(
        *(capsys, "fit", tmp_path / "t.csv", "-o", tmp_path / "m.safetensors", "--json", "-q"),
        *("--bits", 12, "--epochs", 0, "--categories", "prefix"),
    )
    assert json.loads(said)["max_min"] == "inf"


@pytest.mark.parametrize("lines", [["0.512", "1.5"], ["-3.7071", "4"], ["1.5,NA,0.3", "1,2,3"]])
def test_first_lines_of_data_are_no_names(tmp_path, lines):
    (tmp_path / "t.csv").write_text("\n".join(lines * 5) + "\n")
    with pytest.raises(ValueError, match="first line holds numbers only"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("names", ["2020", "x", "a,NA", "2019,2020"])
def test_names_that_are_names(tmp_path, names):
    cells = ",".join("1" for _ in names.split(","))
    (tmp_path / "t.csv").write_text(f"{names}\n{cells}\n{cells}\n")
    assert len(read_table(tmp_path / "t.csv")) == 2


def test_folders_with_an_empty_part(frame, tmp_path):
    pytest.importorskip("pyarrow")
    for i, part in enumerate((frame[:200], frame[:0], frame[200:])):
        part.to_parquet(tmp_path / f"part.{i}.parquet")
    # Unlike one frame, chunks have no index that counts on.
    whole = fit_chunks(codec(fit_rows=300), (part for part in (frame[:200], frame[200:])))
    found = fit_chunks(codec(fit_rows=300), tmp_path)
    np.testing.assert_array_equal(found.transform(frame), whole.transform(frame))
    for i in (0, 2):
        frame[:0].to_parquet(tmp_path / f"part.{i}.parquet")
    with pytest.raises(ValueError, match=r"No file in the folder .* has a row"):
        fit_chunks(codec(fit_rows=300), tmp_path)


# ---------------------------------------------------------------------------------- comparing
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


# ---------------------------------------------------------------------------------- diagnosing
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


# ----------------------------------------------------------------------------------- the rest
def test_a_refused_fit_leaves_a_checkpoint_that_blocks_none(frame, tmp_path):
    path = tmp_path / "fit.safetensors"
    with pytest.raises(ValueError, match="watter_filling"):
        codec(checkpoint=path, auto_compression_strategy="watter_filling").fit(frame)
    fitted = codec(checkpoint=path).fit(frame)
    np.testing.assert_array_equal(fitted.transform(frame), codec().fit(frame).transform(frame))
    with pytest.raises(ValueError, match="is no file"):
        codec(checkpoint=tmp_path).fit(frame)


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


@pytest.mark.parametrize(
    "estimator",
    [
        codec(column_weights=pd.Series([1.0, 2, 1, 1, 1, 1], index=list("abcdef"))),
        codec(column_weights=pd.Series([1.0, 2, 1, 1, 1, 1])),
        FeatureCharacterizer({"x": range(3), "y": slice(3, 6)}),
        FeatureCharacterizer({"x": pd.Index(["a", "b"]), "y": {"c", "d", "e", "f"}}),
        FeatureCharacterizer(pd.Series(list("xxxyyy"), index=list("fedcba"))),
    ],
)
def test_plain_parameters_can_be_saved(estimator, frame, tmp_path):
    fitted = estimator.fit(frame)
    save(fitted, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors").fit(frame)
    assert {n: list(c) for n, c in again.categories_.items()} == {
        n: list(c) for n, c in fitted.categories_.items()
    }
    if hasattr(fitted, "codebooks_"):
        np.testing.assert_array_equal(again.transform(frame), fitted.transform(frame))
