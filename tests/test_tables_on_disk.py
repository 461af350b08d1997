"""Command line and files: names, indices, empty parts."""

import json

import numpy as np
import pandas as pd
import pytest

from adaptive_vq import FeatureCharacterizer, cli, load, save
from adaptive_vq._tables_io import read_table
from adaptive_vq.streaming import fit_chunks
from quick import coupled
from quick import judged as codec


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return coupled()


def run(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    assert end.value.code == 0
    said = capsys.readouterr()
    return said.out + said.err


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


def test_a_refused_fit_leaves_a_checkpoint_that_blocks_none(frame, tmp_path):
    path = tmp_path / "fit.safetensors"
    with pytest.raises(ValueError, match="watter_filling"):
        codec(checkpoint=path, auto_compression_strategy="watter_filling").fit(frame)
    fitted = codec(checkpoint=path).fit(frame)
    np.testing.assert_array_equal(fitted.transform(frame), codec().fit(frame).transform(frame))
    with pytest.raises(ValueError, match="is no file"):
        codec(checkpoint=tmp_path).fit(frame)


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
