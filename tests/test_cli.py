"""The command line: same codes as in Python, one clear line for bad input, nothing overwritten."""

import errno
import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from sklearn.callback import ProgressBar
from sklearn.pipeline import Pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    _commands,
    _config,
    _console,
    _demo,
    cli,
    load,
    save,
)
from adaptive_vq._config import build_pipeline, read_config, settings_of
from adaptive_vq._tables_io import read_table, write_table
from adaptive_vq.streaming import fit_chunks

FORMS = ["csv", "tsv", "parquet", "feather", "npz", "npy"]
CONFIG = """
model: {levels: 2, bits: 12, auto_compression_strategy: uniform, group_hidden_dim: 4,
        group_embedding_dim: 4, beam_width: 2}
training: {epochs: 1, seed: 0}
"""


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    factors = rng.standard_normal((70, 2))
    names = [f"{family}__{j}" for family in "ab" for j in range(3)]
    X = pd.DataFrame(
        np.repeat(factors, 3, axis=1) + 0.3 * rng.standard_normal((70, 6)), None, names
    )
    X["a__1"] *= 1e-7
    X.iloc[3, 2] = np.nan
    return X


@pytest.fixture(scope="module")
def model(table, tmp_path_factory):
    """Folder with a table, a config and a model fitted by the command."""
    folder = tmp_path_factory.mktemp("model")
    table.to_csv(folder / "table.csv", index=False)
    (folder / "config.yaml").write_text(CONFIG)
    arguments = ["fit", "table.csv", "-o", "model.safetensors", "--config", "config.yaml", "-q"]
    here = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.raises(SystemExit) as done:
            cli.main(arguments)
    finally:
        os.chdir(here)
    assert done.value.code == 0
    return folder


@pytest.fixture
def folder(model, tmp_path, monkeypatch):
    """A copy of that folder to work in."""
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            cli.main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return done.value.code, found.out, found.err

    return run


def refused(found, *words):
    """Exit code 2, nothing on stdout, one line on stderr that says all the words."""
    code, out, err = found
    lines = [line for line in err.splitlines() if not line.startswith(("Fitting", "warning"))]
    assert (code, out, len(lines)) == (2, "", 1), found
    assert lines[0].startswith("adaptive-vq: error: ")
    for word in words:
        assert word in lines[0]


# ------------------------------------------------------------------------------ the way through
def test_codes_and_rows_are_those_of_python(folder, run, table):
    pipeline = load("model.safetensors")
    assert run("encode", "model.safetensors", "table.csv", "-o", "codes.parquet")[0] == 0
    codes = pd.read_parquet("codes.parquet")
    expected = pipeline.transform(table)
    assert list(codes.columns) == list(pipeline[-1].get_feature_names_out())
    assert codes.to_numpy().tobytes() == np.asarray(expected).tobytes()
    assert set(codes.dtypes.astype(str)) == {str(expected.dtype)}
    assert run("decode", "model.safetensors", "codes.parquet", "-o", "rows.npz")[0] == 0
    rows = read_table("rows.npz")
    pd.testing.assert_frame_equal(rows, pipeline.inverse_transform(expected))


def test_a_fit_in_python_gives_the_same_model(folder, table):
    fitted = build_pipeline(read_config("config.yaml")).fit(read_table("table.csv"))
    stored = load("model.safetensors")
    assert fitted.transform(table).tobytes() == stored.transform(table).tobytes()


def test_a_large_parquet_file_is_drawn_from(folder, run, table):
    table.to_parquet("table.parquet")
    Path("few.yaml").write_text(CONFIG.replace("epochs: 1", "epochs: 1, fit_rows: 60"))
    fit = ["fit", "table.parquet", "--config", "few.yaml", "-o"]
    assert "Drawing 60 of 70 rows" in run(*fit, "few.safetensors")[2]
    expected = fit_chunks(build_pipeline(read_config("few.yaml")), "table.parquet")
    assert expected[-1].training_["n_rows"] == 60
    stored = load("few.safetensors")
    assert stored.transform(table).tobytes() == expected.transform(table).tobytes()


def test_a_new_process_gives_the_same_codes(folder, table):
    command = [sys.executable, "-m", "adaptive_vq", "encode", "model.safetensors", "-", "-o", "-"]
    done = subprocess.run(
        command, input=Path("table.csv").read_bytes(), capture_output=True, check=True
    )
    codes = pd.read_csv(io.BytesIO(done.stdout)).to_numpy()
    np.testing.assert_array_equal(codes, load("model.safetensors").transform(table))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_table_and_codes(form, folder, run, table):
    X = table.to_numpy() if form == "npy" else table
    write_table(X, f"t.{form}")
    if form == "npy":  # a table without names needs a model fitted without
        arguments = ["--config", "config.yaml", "-o", "model.safetensors", "--overwrite"]
        assert run("fit", "t.npy", *arguments, "--categories", 2)[0] == 0
    assert run("encode", "model.safetensors", f"t.{form}", "-o", f"codes.{form}")[0] == 0
    assert run("decode", "model.safetensors", f"codes.{form}", "-o", f"back.{form}")[0] == 0
    pipeline = load("model.safetensors")
    expected = pipeline.inverse_transform(pipeline.transform(X))
    np.testing.assert_array_equal(np.asarray(read_table(f"back.{form}")), np.asarray(expected))


def test_names_in_npz_files(tmp_path):
    X, path = np.ones((9, 2)), tmp_path / "t.npz"
    np.savez(path, X=X, feature_names=np.array([b"a", "é".encode()]))
    assert list(read_table(path).columns) == ["a", "é"]  # and not "b'a'"
    np.savez(path, cells=X, feature_names=np.array(["a", "b"]))
    assert list(read_table(path).columns) == ["a", "b"]
    for words, arrays in {
        "name the table 'X'": {"feature_names": np.array(["a", "b"])},
        "the shape ()": {"X": X, "feature_names": np.array("a")},
        "0 feature_names for 2 columns": {"X": X, "feature_names": np.array([], dtype=str)},
        "2-D is needed": {"X": X[:, 0], "feature_names": np.array(["a"])},
    }.items():
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=re.escape(words)):
            read_table(path)


@pytest.mark.parametrize("form", ["NPZ", "Npy", "CSV", "PARQUET"])
def test_suffixes_may_be_in_capitals(form, folder, run):
    run("encode", "model.safetensors", "table.csv", "-o", "codes.csv")
    before = sorted(Path().iterdir())
    assert run("encode", "model.safetensors", "table.csv", "-o", f"c.{form}")[0] == 0
    assert sorted(Path().iterdir()) == sorted([*before, Path(f"c.{form}")])
    assert np.array_equal(np.asarray(read_table(f"c.{form}")), read_table("codes.csv"))


@pytest.mark.parametrize("name", ["m" * 255, "é" * 125 + ".csv", "m." + "s" * 253])
def test_names_may_be_as_long_as_any(name, folder, run):
    before = sorted(Path().iterdir())
    if name.endswith(".csv"):
        assert run("encode", "model.safetensors", "table.csv", "-o", name)[0] == 0
    else:
        assert run("fit", "table.csv", "-o", name, "--config", "config.yaml")[0] == 0
    assert sorted(Path().iterdir()) == sorted([*before, Path(name)])
    refused(run("fit", "table.csv", "-o", "m" * 256), "File name too long")


def test_streams(folder, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(Path("table.csv").read_text()))
    code, out, err = run("encode", "model.safetensors", "-", "-o", "-")
    assert code == 0
    codes = pd.read_csv(io.StringIO(out))
    assert len(codes) == 70
    assert "70 rows" in err  # not among the codes
    monkeypatch.setattr(sys, "stdin", io.StringIO(out))
    code, out, _ = run("decode", "model.safetensors", "-", "-o", "-", "-q")
    assert pd.read_csv(io.StringIO(out)).shape == (70, 6)


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_streams_that_are_closed_are_told(name, folder):
    """Python has None for a stream that the shell has closed: <&- or >&-."""
    table, redirect = {"stdin": ("-", "<&-"), "stdout": ("table.csv", ">&-")}[name]
    output = "-" if name == "stdout" else "codes.csv"
    command = f"{sys.executable} -m adaptive_vq encode model.safetensors {table} -o {output}"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} {redirect}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"adaptive-vq: error: {name}: it is closed; give the name of a file\n"


def test_a_closed_stderr_is_no_obstacle(folder, table):
    table.to_parquet("table.parquet")
    fit = "fit table.parquet -o m --config config.yaml"
    for arguments in (fit, "encode m table.parquet -o codes.parquet"):
        command = f"{sys.executable} -m adaptive_vq {arguments} 2>&-"
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
        assert done.returncode == 0
    assert len(pd.read_parquet("codes.parquet")) == 70


def test_decoding_the_first_levels(folder, run, table):
    run("encode", "model.safetensors", "table.csv", "-o", "codes.csv")
    assert run("decode", "model.safetensors", "codes.csv", "-o", "r.npz", "--levels", 1)[0] == 0
    pipeline = load("model.safetensors")
    expected = pipeline[-1].inverse_transform(pipeline.transform(table), n_levels=1)
    pd.testing.assert_frame_equal(read_table("r.npz"), expected)


def test_onehot_codes_go_there_and_back(folder, run, table):
    Path("c.yaml").write_text(CONFIG.replace("levels: 2", "levels: 2, encode: onehot"))
    assert run("fit", "table.csv", "-o", "m", "--config", "c.yaml")[0] == 0
    assert run("encode", "m", "table.csv", "-o", "codes.parquet")[0] == 0
    assert run("decode", "m", "codes.parquet", "-o", "r.csv")[0] == 0
    pipeline = load("m")
    expected = pipeline.inverse_transform(pipeline.transform(table))
    pd.testing.assert_frame_equal(read_table("r.csv"), expected)


def test_the_error_is_the_same_at_fit_and_diagnosed(folder, run, table):
    fit = run("fit", "table.csv", "-o", "m", "--config", "config.yaml", "--json", "-q")
    at_fit = json.loads(fit[1])
    found = run("diagnose", "m", "table.csv", "--json")
    diagnosed = json.loads(found[1])
    assert at_fit["nmse"] == pytest.approx(diagnosed["summary"]["nmse"], rel=1e-12)
    assert at_fit["quality"] == pytest.approx(load("m").score(table), rel=1e-12)
    assert at_fit["bits"] <= 12
    assert [row["category"] for row in at_fit["decisions"]] == list(at_fit["category_nmse"])


def test_reports(folder, run):
    assert run("diagnose", "model.safetensors", "table.csv", "-o", "r.json")[0] == 0
    assert json.loads(Path("r.json").read_text())["summary"]["n_rows"] == 70
    code, out, _ = run("diagnose", "model.safetensors", "table.csv", "-o", "r.html")
    assert code == 0
    assert "r.html" in out
    assert Path("r.html").read_text().count("<svg") + Path("r.html").read_text().count("<img") >= 4


def test_compare(folder, run):
    arguments = ["--config", "config.yaml", "--strategy", "balanced", "-q"]
    assert run("fit", "table.csv", "-o", "other.safetensors", *arguments)[0] == 0
    models = ["model.safetensors", "other.safetensors"]
    code, out, _ = run("compare", *models, "table.csv", "--json", "-o", "c.json")
    assert code == 0
    assert {row["codec"] for row in json.loads(out)["codecs"]} == {"model", "other"}
    assert json.loads(Path("c.json").read_text()) == json.loads(out)
    assert run("fit", "table.csv", "-o", "more", *arguments, "--bits", 18)[0] == 0
    refused(run("compare", "model.safetensors", "more", "table.csv"), "bits per row")
    found = run("compare", "model.safetensors", "more", "table.csv", "--max-bits-difference", 50)
    assert found[0] == 0


def test_compare_tells_files_of_one_name_apart(folder, run):
    Path("again").mkdir()
    Path("again/model.safetensors").write_bytes(Path("model.safetensors").read_bytes())
    models = ["model.safetensors", str(Path("again/model.safetensors"))]
    code, out, _ = run("compare", *models, "table.csv", "--json")
    assert code == 0
    assert [row["codec"] for row in json.loads(out)["codecs"]] == models


def test_a_reader_that_goes_away_ends_the_command_quietly(folder):
    command = [sys.executable, "-m", "adaptive_vq", "inspect", "model.safetensors"]
    env = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_inspect_of_what_is_not_fitted(folder, run):
    save(HierarchicalVQVAE(bits=8), "blank.safetensors")
    code, out, _ = run("inspect", "blank.safetensors")
    assert code == 0
    assert "not fitted" in out


def test_inspect(folder, run):
    code, out, _ = run("inspect", "model.safetensors")
    assert code == 0
    for word in ("HierarchicalVQVAE", "schema 1", "torch", "6 named", "cluster_1", "bits per row"):
        assert word in out
    figures = json.loads(run("inspect", "model.safetensors", "--json")[1])
    fitted = load("model.safetensors")[-1]
    assert figures["bits"] == fitted.bits_
    assert figures["codebooks"] == {name: len(book) for name, book in fitted.codebooks_.items()}


def test_pipelines_inside_of_a_pipeline(folder, run, table):
    inner = load("model.safetensors")
    nested = Pipeline([("first", FeatureCleaner()), ("second", inner)]).fit(table)
    save(nested, "nested")
    assert json.loads(run("inspect", "nested", "--json")[1])["bits"] == inner[-1].bits_
    run("encode", "nested", "table.csv", "-o", "codes.csv")
    assert run("decode", "nested", "codes.csv", "-o", "r.npz", "--levels", 1)[0] == 0
    coarse = nested[-1][-1].inverse_transform(nested.transform(table), n_levels=1)
    pd.testing.assert_frame_equal(read_table("r.npz"), nested[0].inverse_transform(coarse))


def test_dry_run_prints_the_plan_and_trains_nothing(folder, run, monkeypatch):
    def never(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr("adaptive_vq.estimation.fit_codec", never)
    before = sorted(Path().iterdir())
    found = run("fit", "table.csv", "--config", "config.yaml", "--dry-run", "--json")
    plan = json.loads(found[1])
    assert sorted(Path().iterdir()) == before
    assert plan["budget"] == 12
    assert sum(sum(levels) for levels in plan["bits"].values()) <= 12
    names = [name for columns in plan["categories"].values() for name in columns]
    assert sorted(names) == sorted(read_table("table.csv").columns)
    for name, levels in plan["codebook_sizes"].items():
        assert [int(np.log2(np.prod(sizes))) for sizes in levels] == plan["bits"][name]
    code, out, _ = run("fit", "table.csv", "--config", "config.yaml", "--dry-run")
    assert code == 0
    assert "nothing was trained" in out
    Path("given.yaml").write_text("model: {compression_ratios: '0.5:1', bits: 10}")
    plan = json.loads(run("fit", "table.csv", "--config", "given.yaml", "--dry-run", "--json")[1])
    assert plan["strategy"] == "given"
    assert set(map(tuple, plan["ratios"].values())) == {(0.5, 1.0)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("training: {device: cuda}", "torch finds no GPU"),
        ("model: {ema_decay: 0.5, codebook_update: gradient}", "ema_decay=0.5 has no effect"),
        ("model: {compression_ratios: [1], column_weights: {z: 2}}", "'z'"),
        ("training: {validation_fraction: 0.99}", "leaves 1 of 70 rows to fit on"),
        ("training: {checkpoint: no/where}", "no does not exist; create it first"),
        ("training: {checkpoint: table.csv/c}", "table.csv is a file, and no folder"),
    ],
)
def test_dry_run_refuses_what_a_fit_refuses(settings, words, folder, run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Path("c.yaml").write_text(settings)
    before = sorted(Path().iterdir())
    for command in (["--dry-run"], ["-o", "m"]):
        refused(run("fit", "table.csv", "--config", "c.yaml", *command), words)
    assert sorted(Path().iterdir()) == before


def test_dry_run_tells_of_columns_as_a_fit_does(folder, run, table):
    table.assign(a__0=np.nan).to_csv("hole.csv", index=False)
    code, _, err = run("fit", "hole.csv", "--bits", 6, "--dry-run")
    assert (code, "['a__0'] have no observed cell in the training rows" in err) == (0, True)
    (table * np.nan).to_csv("none.csv", index=False)
    for command in (["--dry-run"], ["-o", "m"]):
        refused(run("fit", "none.csv", *command), "no observed cell")


def test_dry_run_plans_for_the_rows_that_a_fit_draws(folder, run):
    settings = "model: {compression_ratios: [1], min_rows_per_codeword: 5}\ntraining: {epochs: 0,"
    Path("c.yaml").write_text(f"{settings} fit_rows: 40}}")
    arguments = ["fit", "table.csv", "--config", "c.yaml", "--bits", 12, "--seed", 3]
    plan = json.loads(run(*arguments, "--dry-run", "--json")[1])
    assert plan["rows"] == 40
    largest = max(k for sizes in plan["codebook_sizes"].values() for level in sizes for k in level)
    assert largest == 8
    assert run(*arguments, "-o", "m")[0] == 0
    assert plan["bits"] == load("m").named_steps["vq"].bits_


def test_options_override_the_file(folder, run):
    plan = json.loads(
        run("fit", "table.csv", "--config", "config.yaml", "--bits", 9, "--levels", 1,
            "--categories", "prefix", "--strategy", "variance", "--dry-run", "--json")[1]
    )  # fmt: skip
    assert (plan["budget"], plan["strategy"], list(plan["categories"])) == (
        9,
        "variance",
        ["a", "b"],
    )
    assert {len(levels) for levels in plan["bits"].values()} == {1}


def test_progress_is_shown_on_a_terminal_only(folder, run, monkeypatch):
    talk = _console.Talk()
    assert talk.callbacks() == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(talk.callbacks()[0], ProgressBar)
    assert _console.Talk(quiet=True).callbacks() == []
    code, out, err = run("fit", "table.csv", "-o", "m", "--config", "config.yaml", "--json")
    assert code == 0
    json.loads(out)  # the bars are on stderr
    assert "Pipeline" in err


# ------------------------------------------------------------------------------ settings
@pytest.mark.parametrize(
    ("text", "parameter", "value"),
    [
        ("model: {compression_ratios: auto}", "vq__compression_ratios", "auto"),
        ("model: {compression_ratios: [0.5, 1.0, 1.5]}", "vq__compression_ratios", [0.5, 1.0, 1.5]),
        ("model: {compression_ratios: '0.5:1:1.5'}", "vq__compression_ratios", "0.5:1:1.5"),
        ("model: {compression_ratios: 1:2:3}", "vq__compression_ratios", "1:2:3"),
        ("model: {compression_ratios: 1:30.5}", "vq__compression_ratios", "1:30.5"),
        ("model: {compression_ratios: {a: [1, 2]}}", "vq__compression_ratios", {"a": [1, 2]}),
        ("model: {auto_compression_strategy: minimax}", "ratios__strategy", "minimax"),
        (
            "model: {auto_compression_strategy: [variance, uniform], levels: 2}",
            "ratios__n_levels",
            2,
        ),
        ("model: {bits: 64}", "ratios__bits", 64),
        ("model: {max_nmse: 0.1}", "ratios__max_nmse", 0.1),
        ("model: {compression_ratios: [1.0, 2.0], bits: 64}", "vq__bits", 64),
        ("model: {compression_ratios: [1.0, 2.0], levels: 2}", "vq__n_levels", 2),
        ("model: {group_embedding_dim: 64}", "vq__group_embedding_dim", 64),
        ("model: {group_hidden_dim: 32}", "vq__group_hidden_dim", 32),
        ("model: {commitment_cost: 0.3}", "vq__commitment_weight", 0.3),
        ("model: {use_ema: true, decay: 0.9}", "vq__ema_decay", 0.9),
        ("model: {use_ema: true}", "vq__codebook_update", "ema"),
        ("model: {use_ema: false}", "vq__codebook_update", "gradient"),
        ("model: {orthogonality_weight: 0.1}", "vq__orthogonality_weight", 0.1),
        ("model: {activation: relu}", "vq__activation", "relu"),
        ("model: {min_rows_per_codeword: 20}", "vq__min_rows_per_codeword", 20),
        ("training: {orthogonality_weight: 0.1}", "vq__orthogonality_weight", 0.1),
        ("training: {informativeness_weight: 0.1}", "vq__partial_weight", 0.1),
        ("training: {topo_weight: 0.3}", "vq__topographic_weight", 0.3),
        ("model: {dropout: 0.2}", "vq__dropout", 0.2),
        ("model: {scaler: robust}", "characterize__scaler", "robust"),
        ("model: {clip: [1, 99]}", "characterize__clip", [1, 99]),
        ("model: {codebook_sizes: 16}", "vq__codebook_sizes", 16),
        ("training: {epochs: 7}", "vq__max_epochs", 7),
        ("training: {batch_size: 512}", "vq__batch_size", 512),
        ("training: {learning_rate: 1e-4}", "vq__lr", 1e-4),
        ("training: {patience: 4}", "vq__n_iter_no_change", 4),
        ("training: {val_split: 0.2}", "vq__validation_fraction", 0.2),
        ("training: {early_stopping: false}", "vq__early_stopping", False),
        ("training: {seed: 5}", "ratios__random_state", 5),
        ("cleaning: {}", "clean__max_correlation", 0.99),
        ("cleaning: {caps: mad, cap_width: 3}", "clean__caps", "mad"),
        ("cleaning: {max_missing: .5}", "clean__max_missing", 0.5),
        ("categories: {categories: prefix}", "characterize__categories", "prefix"),
        ("categories: {max_categories: 5}", "characterize__max_categories", 5),
        ("", "vq__bits", None),
        ("model:", "vq__bits", None),
    ],
)
def test_every_key_is_honored(text, parameter, value, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    assert build_pipeline(read_config(tmp_path / "c.yaml")).get_params()[parameter] == value


def test_every_parameter_of_the_codec_has_a_key_or_a_reason():
    """So that a new parameter is not forgotten here."""
    keys = {name for s in ("model", "training") for _, name in _config._valid(s).values()}
    keys |= set(_config._NOT_IN_FILES) | {"auto_compression_strategy", "sample_weight"}
    assert set(_config.HierarchicalVQVAE._get_param_names()) <= keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {comitment_cost: 0.3}", ["model.comitment_cost", "'commitment_cost'"]),
        ("training: {epoch: 3}", ["training.epoch", "'epochs'"]),
        ("training: {dropout: 0.1}", ["training.dropout", "belongs to section 'model'"]),
        ("model: {max_epochs: 3}", ["model.max_epochs", "belongs to section 'training'"]),
        ("categories: {scaler: robust}", ["categories.scaler", "belongs to section 'model'"]),
        ("bits: 16", ["section 'bits'", "belongs to section 'model'"]),
        ("cleaning: {max_corelation: 0.9}", ["cleaning.max_corelation", "'max_correlation'"]),
        ("modle: {bits: 3}", ["section 'modle'", "'model'"]),
        ("model: {use_ema: maybe}", ["model.use_ema='maybe'", "true or false"]),
        ("model: {use_ema: false, decay: 0.9}", ["ema_decay=0.9", "codebook_update='ema'"]),
        ("model: {use_ema: true, codebook_update: ema}", ["codebook_update", "second time"]),
        ("model: {orthogonality_weight: 0.1}", ["orthogonality_weight", "'gradient'"]),
        ("model: {levels: [{num_tokens: 8}]}", ["model.levels", "number of levels"]),
        ("model: {levels: 2, n_levels: 3}", ["n_levels", "second time"]),
        ("model: {bits: 3, bits: 4}", ["'bits'", "twice"]),
        ("model: {encoders: {}}", ["model.encoders"]),
        ("model: {bits: true}", ["model.bits=True", "no values of it"]),
        ("training: {seed: false}", ["training.seed=False"]),
        ("model: {bits: 1000000000}", ["model.bits=1000000000", "range [1, 65536]"]),
        ("model: {levels: 100000}", ["model.levels=100000", "must be"]),
        ("model: [1, 2]", ["section 'model'"]),
        ("- 1", ["keys and values"]),
        ("model: {", ["no YAML"]),
        ("model: !!python/object/apply:os.getcwd []", ["no YAML"]),
        ("model: {compression_ratios: [1, 2], max_nmse: 0.1}", ["max_nmse has no effect"]),
        ("model: {compression_ratios: [1, 2], strategy: minimax}", ["strategy has no effect"]),
        ("model: {dropout: much}", ["model.dropout='much'", "must be a float"]),
        ("model: {commitment_cost: -1}", ["model.commitment_cost=-1", "must be a float"]),
        ("training: {learning_rate: 0}", ["training.learning_rate=0", "must be a float"]),
        ("training: {seed: x}", ["training.seed='x'", "whole number"]),
        ("categories: {max_categories: 0}", ["categories.max_categories=0", "must be"]),
        ("model: {auto_compression_strategy: balanced_}", ["balanced_"]),
    ],
)
def test_bad_settings_are_refused_by_name(text, words, folder, run):
    Path("bad.yaml").write_text(text)
    refused(run("fit", "table.csv", "-o", "m", "--config", "bad.yaml"), *words)
    assert not Path("m").exists()


def test_a_file_that_is_no_text_is_named(folder, run):
    Path("latin.yaml").write_bytes(b"model: {strategy: caf\xe9}")
    refused(run("fit", "table.csv", "-o", "m", "--config", "latin.yaml"), "latin.yaml")


def test_settings_may_be_merged(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {<<: {bits: 5, levels: 2}, bits: 6}")
    assert read_config(tmp_path / "c.yaml") == {"ratios__bits": 6, "ratios__n_levels": 2}


def test_nothing_is_set_twice_in_silence():
    with pytest.raises(ValueError, match="second time"):
        settings_of({"training": {"lr": 1e-3, "learning_rate": 1e-3}})


# ------------------------------------------------------------------------------ bad input
def test_bad_tables_are_refused(folder, run):
    Path("binary.csv").write_bytes(bytes(range(256)))
    for encoding in ("utf-16", "utf-16-le", "latin-1"):
        Path(f"{encoding}.csv").write_text("ä,b\n1,2\n3,4\n", encoding=encoding)
    names = np.array(["a", "b"], dtype=object)
    np.savez("object.npz", X=np.ones((9, 2)), feature_names=names)
    Path("ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    Path("text.csv").write_text("a,b\n1,x\n2,y\n")
    Path("empty.csv").write_text("")
    Path("no.parquet").write_text("a,b\n")
    np.save("object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save("cube.npy", np.zeros((2, 2, 2)))
    np.savez("two.npz", a=np.zeros(2), b=np.zeros(2))
    Path("no.npz").write_bytes(b"PK no archive")
    Path("no.npy").write_text("a,b\n1,2\n")
    np.save("array.npy", np.ones((9, 2)))
    Path("array.npy").rename("array.npz")
    np.savez("arrays.npz", X=np.ones((9, 2)))
    Path("arrays.npz").rename("arrays.npy")
    Path("headless.csv").write_text("1,0,0\n2,1,0\n3,1,1\n")
    Path("unnamed.csv").write_text("a,,c\n1,2,3\n")
    Path("semicolons.csv").write_text("a;b\n1.5;2.5\n1;2\n")
    Path("commas.csv").write_text("a;b\n1,5;2,5\n1,0;2,0\n")  # one name, more cells
    Path("longer.csv").write_text("a,b\n\n0,2,3\n1,5,6\n")  # pandas takes the first for an index
    Path("tabs.csv").write_text("a\tb\n1\t2\n")
    Path("commas.tsv").write_text("a,b\n1,2\n")
    Path("twice.csv").write_text("a,b,a\n1,2,3\n4,5,6\n")
    Path("names.csv").write_text("a,b\n")
    Path("folder.csv").mkdir()
    np.save("none.npy", np.zeros((9, 0)))
    np.save("complex.npy", np.ones((9, 2)) * 1j)
    np.savez("names.npz", X=np.ones((9, 2)), feature_names=np.array(["a"]))
    for name, word in {
        "nowhere.csv": "There is no file",
        "table.xls": "suffix",
        "binary.csv": "binary.csv",
        "ragged.csv": "ragged.csv",
        "text.csv": "'b'",
        "empty.csv": "empty.csv",
        "no.parquet": "no.parquet",
        "utf-16.csv": "it is not UTF-8, but perhaps UTF-16",
        "utf-16-le.csv": "it is not UTF-8, but perhaps UTF-16",
        "latin-1.csv": "it is not UTF-8, but perhaps Latin-1",
        "object.npy": "holds Python objects, which are not loaded. Save numbers",
        "object.npz": "names as text: np.array(names, dtype=str)",
        "cube.npy": "2-D",
        "two.npz": "'X'",
        "no.npz": "is that of no NPY or NPZ file",
        "no.npy": "is that of no NPY or NPZ file",
        "array.npz": "let its name end in .npy",
        "arrays.npy": "let its name end in .npz",
        "headless.csv": "its first line holds numbers only ('1', '0', ...)",
        "unnamed.csv": "no name in the first line",
        "semicolons.csv": "holds ';'",
        "commas.csv": "holds ';'",
        "longer.csv": "rows have 3 cells, its first line 2 names",
        "tabs.csv": "holds '\\t'",
        "commas.tsv": "holds ','",
        "twice.csv": "'a' stands twice",
        "names.csv": "has no row",
        "folder.csv": "is a folder",
        "none.npy": "has no column",
        "complex.npy": "complex",
        "names.npz": "1 feature_names for 2 columns",
    }.items():
        refused(run("fit", name, "-o", "m"), word)
    assert not Path("m").exists()


def test_text_late_in_a_long_file_is_no_warning(tmp_path):
    path, cells = tmp_path / "long.csv", ",".join("1" * 64)
    lines = [",".join(f"a{j}" for j in range(64)), *[cells] * 17_000, "x" + cells[1:]]
    path.write_text("\n".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of pandas, on mixed types
        assert read_table(path)["a0"].iloc[-1] == "x"


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_damaged_npz_file_is_told_as_damaged(write, tmp_path, table):
    path = tmp_path / "t.npz"
    write(path, X=table.to_numpy())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    middle = bytearray(whole)
    middle[150:-200] = bytes(len(whole) - 350)
    for damaged in (whole[: len(whole) // 2], whole[:-5], bytes(flipped), bytes(middle)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"t\.npz can not be read .* the NPZ file is damaged"):
            read_table(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match="that of no NPY or NPZ file"):
        read_table(path)


@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_a_name_that_stands_twice_is_told_alike_however_a_table_is_read(form, folder, run, table):
    twice = pa.table([table["a__0"], table["a__1"], table["a__0"]], names=["a", "b", "a"])
    name = f"twice.{form}"
    pq.write_table(twice, name) if form == "parquet" else feather.write_feather(twice, name)
    told = "has duplicate column names: 'a'. Rename or drop the repeated columns."
    refused(run("fit", name, "--dry-run"), told)
    refused(run("encode", "model.safetensors", name, "-o", "c.csv"), told)
    refused(run("encode", "model.safetensors", name, "-o", "c.parquet"), told)
    refused(run("diagnose", "model.safetensors", name), told)


@pytest.mark.parametrize("output", ["c.parquet", "c.csv"])
def test_damaged_pages_are_told_with_the_file(output, folder, run, table):
    pd.concat([table] * 20).to_parquet("t.parquet", compression="zstd", index=False)
    content = bytearray(Path("t.parquet").read_bytes())
    end = pq.ParquetFile("t.parquet").metadata.serialized_size + 8
    content[200:-end] = bytes(len(content) - 200 - end)  # opening reads the end alone
    Path("t.parquet").write_bytes(content)
    found = run("encode", "model.safetensors", "t.parquet", "-o", output)
    refused(found, "error: t.parquet can not be read as a table: ")
    assert not Path(output).exists()


def test_a_model_does_not_go_to_stdout(folder, run):
    refused(run("fit", "table.csv", "-o", "-"), "give -o the name of a file")
    assert not Path("-").exists()


def test_seeds_out_of_range_are_refused_by_their_own_name(folder, run):
    for command in (["fit", "table.csv", "-o", "m"], ["demo", "-o", "d"]):
        refused(run(*command, "--seed", 2**32), "--seed")
    assert not Path("m").exists()
    assert not Path("d").exists()


def test_other_columns_and_codes_are_refused(folder, run, table):
    table.drop(columns="b__0").to_csv("fewer.csv", index=False)
    table.rename(columns={"b__0": "b__9"}).to_csv("other.csv", index=False)
    for name in ("fewer.csv", "other.csv"):
        refused(run("encode", "model.safetensors", name, "-o", "x.csv"), "b__0")
    run("encode", "model.safetensors", "table.csv", "-o", "codes.csv")
    codes = pd.read_csv("codes.csv")
    codes.assign(**{codes.columns[0]: 9999}).to_csv("large.csv", index=False)
    codes.rename(columns={codes.columns[0]: "z"}).to_csv("named.csv", index=False)
    refused(run("decode", "model.safetensors", "large.csv", "-o", "x.csv"), "must lie between")
    refused(run("decode", "model.safetensors", "named.csv", "-o", "x.csv"), "'z'")
    refused(run("decode", "model.safetensors", "codes.csv", "-o", "x.csv", "--levels", 9), "9")
    assert not Path("x.csv").exists()


def test_bad_models_are_refused(folder, run):
    content = Path("model.safetensors").read_bytes()
    Path("cut").write_bytes(content[: len(content) // 2])
    for name in ("cut", "table.csv"):
        refused(run("encode", name, "table.csv", "-o", "x.csv"), name, "can not be loaded")
        refused(run("inspect", name), name)
    refused(run("inspect", "nowhere"), "nowhere")


def test_nothing_is_overwritten_unless_asked_for(folder, run):
    before = Path("model.safetensors").read_bytes()
    refused(run("fit", "table.csv", "-o", "model.safetensors"), "already exists", "--overwrite")
    Path("codes.csv").write_text("mine")
    refused(run("encode", "model.safetensors", "table.csv", "-o", "codes.csv"), "already exists")
    refused(run("decode", "model.safetensors", "codes.csv", "-o", "table.csv"), "already exists")
    refused(run("diagnose", "model.safetensors", "table.csv", "-o", "r.txt"), ".html")
    refused(run("encode", "model.safetensors", "table.csv", "-o", "no/x.csv"), "folder")
    refused(run("encode", "model.safetensors", "table.csv", "-o", "x.xls"), "suffix")
    Path("taken").mkdir()
    refused(run("fit", "table.csv", "-o", "taken", "--overwrite"), "no regular file")
    assert Path("codes.csv").read_text() == "mine"
    assert Path("model.safetensors").read_bytes() == before
    found = run("encode", "model.safetensors", "table.csv", "-o", "codes.csv", "--overwrite")
    assert found[0] == 0
    assert len(pd.read_csv("codes.csv")) == 70


@pytest.mark.parametrize(
    "arguments",
    [
        "fit table.csv -o table.csv",
        "fit table.csv --config config.yaml -o link.yaml",
        "encode model.safetensors table.csv -o ./table.csv",
        "decode model.safetensors codes.csv -o codes.csv",
        "diagnose model.json table.csv -o model.json",
        "compare model.json model.safetensors table.csv -o model.json",
    ],
)
def test_what_is_read_is_not_overwritten(arguments, folder, run):
    Path("codes.csv").write_text("mine")
    Path("model.json").write_bytes(Path("model.safetensors").read_bytes())
    Path("link.yaml").symlink_to("config.yaml")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(run(*arguments.split(), "--overwrite"), "is read here", "another -o")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_takes_no_file_is_refused_before_the_work(folder, run, monkeypatch):
    def locked(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def never(*_):
        raise AssertionError("the table was read")

    monkeypatch.setattr("adaptive_vq._files.tempfile.TemporaryFile", locked)
    monkeypatch.setattr(_commands, "read_table", never)
    here = str(Path.cwd().resolve())
    refused(run("fit", "table.csv", "-o", "m"), here, "no file can be written")
    refused(run("encode", "model.safetensors", "table.csv", "-o", "x.csv"), here)
    refused(run("diagnose", "model.safetensors", "table.csv", "-o", "r.json"), here)
    refused(run("demo", "-o", "new/folder"), here)
    assert not Path("new").exists()


def test_a_full_disk_leaves_the_old_files(folder, run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = Path("model.safetensors").read_bytes()
    Path("codes.csv").write_text("mine")
    monkeypatch.setattr(os, "fsync", full)
    arguments = ["--config", "config.yaml", "--overwrite"]
    refused(run("fit", "table.csv", "-o", "model.safetensors", *arguments), "No space left")
    found = run("encode", "model.safetensors", "table.csv", "-o", "codes.csv", "--overwrite")
    refused(found, "No space left")
    assert Path("model.safetensors").read_bytes() == before
    assert Path("codes.csv").read_text() == "mine"
    assert not [file for file in Path().iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("form", ["npy", "npz", "parquet", "csv"])
def test_what_a_full_disk_stops_is_named(form, folder, run, table):
    resource = pytest.importorskip("resource")
    pd.concat([table] * 20).to_parquet("long.parquet")
    before, limits = sorted(Path().iterdir()), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        found = run("encode", "model.safetensors", "long.parquet", "-o", f"c.{form}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines = found[2].splitlines()[-1:]
    refused((*found[:2], *lines), f"error: c.{form}: it could not be written (")
    assert sorted(Path().iterdir()) == before


def test_a_file_in_place_of_a_folder_is_told(folder, run):
    for command in (["fit", "table.csv", "-o", "table.csv/m"], ["demo", "-o", "table.csv/d"]):
        refused(run(*command), "table.csv is a file, and no folder")


def test_names_of_folders_are_not_taken_for_files(folder, run):
    before = sorted(Path().iterdir())
    report = ["model.safetensors", "table.csv", "-o", "report.html/"]
    refused(run("fit", "table.csv", "--epochs", 0, "-o", "sub/"), "sub/ is the name of a folder")
    refused(run("encode", "model.safetensors", "table.csv", "-o", "x.csv/"), "x.csv/ is the name")
    refused(run("decode", "model.safetensors", "table.csv", "-o", "x.csv/"), "x.csv/ is the name")
    refused(run("diagnose", *report), "report.html/ is the name")
    refused(run("compare", "model.safetensors", *report), "report.html/ is the name")
    assert sorted(Path().iterdir()) == before


def test_a_demo_is_not_written_to_stdout(folder, run, quick):
    refused(run("demo", "--rows", 120, "-o", "-"), "give -o its name")
    assert not Path("-").exists()


def test_bad_usage_is_one_line(folder, run):
    refused(
        run("fit", "table.csv", "--dry-run", "--categories", "\N{SUPERSCRIPT TWO}"), "categories"
    )
    refused(run("frobnicate"), "frobnicate")
    refused(run("fit", "table.csv"), "-o MODEL")
    refused(run("fit", "table.csv", "-o", "m", "--bits", 0), "--bits")
    refused(run("fit", "table.csv", "-o", "m", "--config", "nowhere.yaml"), "nowhere.yaml")
    refused(run("demo", "--rows", 3), "--rows")
    refused(run("compare", "model.safetensors", "table.csv"), "two")
    refused(run("compare", "model.safetensors", "m2"), "m2 for the table")  # the table is forgotten
    twice = ["model.safetensors", "model.safetensors"]
    refused(run("compare", *twice, "table.csv"), "model.safetensors is given twice")
    refused(run("encode", "model.safetensors", "table.csv"), "--output")


def test_help_and_version(run):
    assert run("--version")[0] == 0
    code, out, _ = run()
    assert code == 0
    for command in ("demo", "fit", "encode", "decode", "diagnose", "compare", "inspect"):
        assert command in out
        assert run(command, "--help")[0] == 0


def test_missing_libraries_are_named(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def without(name):
        return lambda wanted: None if wanted == name else object()

    monkeypatch.setattr(_commands, "find_spec", without("matplotlib"))
    refused(run("demo"), "matplotlib", "adaptive-vq[cli,plot]")
    monkeypatch.setattr(cli, "find_spec", without("typer"))
    refused(run("demo"), "typer", "adaptive-vq[cli,plot]")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "yaml", None)
    refused(run("fit", "t.csv", "-o", tmp_path / "m", "--config", "c.yaml"), "PyYAML")


def test_ctrl_c(folder, run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(_commands, "read_table", interrupted)
    code, out, err = run("fit", "table.csv", "-o", "m")
    assert (code, out, err) == (130, "", "adaptive-vq: error: interrupted\n")
    assert not Path("m").exists()


def test_ctrl_c_while_libraries_are_loaded(run, monkeypatch):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "adaptive_vq._commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "adaptive_vq._commands")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    code, _, err = run("inspect", "m")
    assert (code, err) == (130, "adaptive-vq: error: interrupted\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 2399999999976 bytes"),
    ],
)
def test_out_of_memory_is_one_line(error, folder, run, monkeypatch):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(_commands, "read_table", full)
    refused(run("fit", "table.csv", "-o", "m"), "out of memory", "lower bits")
    assert not Path("m").exists()


def test_errors_of_the_library_itself_are_not_hidden(folder, run, monkeypatch):
    for bug in (ZeroDivisionError("a bug"), RuntimeError("a bug")):

        def broken(*_, bug=bug, **__):
            raise bug

        monkeypatch.setattr(_commands, "read_table", broken)
        with pytest.raises(type(bug), match="a bug"):
            cli.main(["fit", "table.csv", "-o", "m"])


# ------------------------------------------------------------------------------ demo
@pytest.fixture
def quick(monkeypatch):
    """The demo with a codec that trains for one epoch only."""
    whole = _demo.HierarchicalVQVAE
    monkeypatch.setattr(
        _demo, "HierarchicalVQVAE", lambda **given: whole(max_epochs=1, beam_width=2, **given)
    )


def test_demo(run, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("demo", "--rows", 120, "--bits", 24, "--strategy", "water_filling")
    assert code == 0
    for word in ("120 rows x 121 columns", "uniform", "water_filling", "temporal", "kept aside"):
        assert word in out
    assert "Fitting" in err
    folder = Path("adaptive-vq-demo")
    codes = pd.read_parquet(folder / "codes.parquet")
    assert len(codes) == 120
    assert (folder / "demo.png").read_bytes()[:4] == b"\x89PNG"
    fitted = load(folder / "model.safetensors")
    assert list(codes.columns) == list(fitted[-1].get_feature_names_out())


def test_demo_compares_equal_budgets_on_rows_kept_aside(run, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("adaptive-vq-demo").mkdir()
    arguments = ["demo", "--rows", 120, "--bits", 24, "--strategy", "water_filling", "--json"]
    found = json.loads(run(*arguments)[1])
    before, after = found["before"], found["after"]
    assert (before["strategy"], after["strategy"]) == ("uniform", "water_filling")
    assert max(before["bits"], after["bits"]) <= 24
    assert list(before["category_nmse"]) == list(after["category_nmse"])
    assert found["n_train"] + found["n_held_out"] == 120
    assert before["category_bits"] != after["category_bits"]
    for run_ in (before, after):
        assert 0 < run_["nmse"] <= run_["worst_category_nmse"]
        assert run_["quality"] == pytest.approx(1 - run_["nmse"])
    # The default folder was there already: a new one is made, nothing is overwritten.
    assert all(path.startswith("adaptive-vq-demo-2") for path in found["files"].values())
    assert list(Path("adaptive-vq-demo").iterdir()) == []
    refused(run(*arguments[:-1], "-o", "adaptive-vq-demo"), "already exists")


def test_demo_refuses_a_strategy_before_it_fits(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_demo, "run_demo", lambda *_, **__: pytest.fail("fitted"))
    refused(run("demo", "--strategy", "rate_distorsion"), "did you mean 'rate_distortion'?")
    assert list(tmp_path.iterdir()) == []


def test_demo_without_pyarrow_writes_csv(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("adaptive_vq._tables_io.find_spec", lambda name: None)
    demo = _demo.run_demo(80, 16, "water_filling")
    assert len(pd.read_csv(_demo.write_codes(demo, tmp_path))) == 80


# ------------------------------------------------------------------------------ new processes
# Commands that are to run one after the other, as one process hears of them.
IN_TURN = """
import contextlib, io, json, sys
from adaptive_vq import cli
printed = []
for arguments in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            cli.main(arguments)
        except SystemExit as done:
            assert done.code == 0, (arguments, done.code)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


def run_apart(commands, folder, n_processes):
    """What commands print that run in this many processes, one for each or one for all of them."""
    env = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent.parent)}

    def python(*arguments, said=None):
        line = [sys.executable, *arguments]
        done = subprocess.run(line, cwd=folder, env=env, input=said, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    if n_processes == 1:
        return json.loads(python("-c", IN_TURN, said=json.dumps(commands)))
    return [python("-m", "adaptive_vq", *arguments) for arguments in commands]


def through_new_processes(X, form, folder, bits, n_processes):
    """Fit, encode, decode and diagnose in new processes: what fit and diagnose print."""
    path = folder / f"t.{form}"
    write_table(X, path)
    (folder / "c.yaml").write_text(
        f"model: {{bits: {bits}, levels: 2, beam_width: 2}}\ntraining: {{epochs: 1, seed: 5}}"
    )

    commands = [
        ["fit", path.name, "-o", "m", "--config", "c.yaml", "--json"],
        ["encode", "m", path.name, "-o", f"codes.{form}"],
        ["decode", "m", f"codes.{form}", "-o", f"back.{form}"],
        ["diagnose", "m", path.name, "--json"],
    ]
    fit, _, _, diagnosed = run_apart(commands, folder, n_processes)
    return json.loads(fit), json.loads(diagnosed)


def pipeline_in_python(bits):
    """What the settings above mean, written by hand."""
    seed = {"random_state": 5}
    return Pipeline(
        [
            ("characterize", FeatureCharacterizer(**seed)),
            ("ratios", AdaptiveRatioSelector(bits=bits, n_levels=2, **seed)),
            ("vq", HierarchicalVQVAE(max_epochs=1, beam_width=2, **seed)),
        ]
    )


def assert_processes_agree_with_python(X, form, folder, bits, n_processes=1):
    fit, diagnosed = through_new_processes(X, form, folder, bits, n_processes)
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[form]
    X = read(folder / f"t.{form}")
    pipeline = pipeline_in_python(bits)
    codes = pipeline.fit_transform(X)
    expected = pd.DataFrame(codes, columns=pipeline[-1].get_feature_names_out())
    # A CSV file has no types of its own: there the bytes of the text are compared.
    written = folder / f"codes.{form}"
    if form == "csv":
        assert written.read_text() == expected.to_csv(index=False)
    else:
        pd.testing.assert_frame_equal(read(written), expected, check_exact=True)
    back = pipeline.inverse_transform(codes)
    pd.testing.assert_frame_equal(read(folder / f"back.{form}"), back, check_exact=True)
    assert diagnosed["summary"]["nmse"] == fit["nmse"]
    assert fit["nmse"] == pytest.approx(1 - pipeline.score(X), rel=1e-12)
    assert {c["category"]: c["nmse"] for c in diagnosed["categories"]} == fit["category_nmse"]


# A process takes seconds to start: one table goes through four of them, every other through one.
@pytest.mark.parametrize(("form", "n_processes"), [("csv", 4), ("parquet", 1)])
def test_new_processes_agree_with_python(form, n_processes, table, tmp_path):
    assert_processes_agree_with_python(table, form, tmp_path, 12, n_processes)


@pytest.mark.parametrize(("name", "bits"), [("online_news", 16), ("credit_default", 8)])
def test_new_processes_agree_with_python_on_real_tables(name, bits, real_table, tmp_path):
    X = real_table(name).data[:200].astype(np.float64)  # what a CSV file holds
    assert_processes_agree_with_python(X, "csv", tmp_path, bits)


# ------------------------------------------------------------------------------ in pieces
def test_encode_streams_from_parquet_to_parquet(folder, table, run, monkeypatch):
    monkeypatch.setattr("adaptive_vq._streams.CHUNK_ROWS", 16)
    monkeypatch.setattr(_commands, "read_table", None)  # the table is never read as a whole
    table.to_parquet("table.parquet")
    code, out, _ = run("encode", "model.safetensors", "table.parquet", "-o", "c.parquet", "--json")
    assert code == 0
    codes, expected = pd.read_parquet("c.parquet"), load("model.safetensors").transform(table)
    np.testing.assert_array_equal(codes.to_numpy(), expected)
    assert json.loads(out) == {"codes": "c.parquet", "rows": 70, "columns": list(codes.columns)}


@pytest.mark.parametrize("levels", [None, 1])
def test_decode_streams_from_parquet_to_parquet(folder, table, run, monkeypatch, levels):
    codec = load("model.safetensors")
    codes = codec.transform(table)
    pd.DataFrame(codes, columns=codec[-1].get_feature_names_out()).to_parquet("c.parquet")
    monkeypatch.setattr("adaptive_vq._streams.CHUNK_ROWS", 16)
    monkeypatch.setattr(_commands, "read_table", None)  # the codes are never read as a whole
    more = [] if levels is None else ["--levels", levels]
    code, out, _ = run(
        "decode", "model.safetensors", "c.parquet", "-o", "r.parquet", "--json", *more
    )
    assert code == 0
    expected = codec[-1].inverse_transform(codes, n_levels=levels)
    pd.testing.assert_frame_equal(pd.read_parquet("r.parquet"), expected)
    assert json.loads(out) == {"table": "r.parquet", "rows": 70, "columns": table.shape[1]}
