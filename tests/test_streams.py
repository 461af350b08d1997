"""Parquet to Parquet in pieces."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyarrow")

from adaptive_vq import HierarchicalVQVAE, _console, _streams
from adaptive_vq._streams import can_stream, map_parquet
from adaptive_vq.streaming import fit_chunks


@pytest.fixture
def source(tmp_path):
    table = pd.DataFrame({"a": np.arange(95.0), "b": np.arange(95) % 7})
    table.to_parquet(tmp_path / "in.parquet", row_group_size=40)
    return tmp_path / "in.parquet"


def test_can_stream():
    assert can_stream("a.parquet", "b.PARQUET")
    assert not can_stream("a.parquet", "-")


def test_pieces_are_written_as_they_come(source, tmp_path, monkeypatch):
    monkeypatch.setattr(_streams, "CHUNK_ROWS", 30)
    sizes, calls = [], []

    def double(piece):
        sizes.append(len(piece))
        return 2 * piece

    done = map_parquet(
        double, source, tmp_path / "out.parquet", lambda done, rows: calls.append((done, rows))
    )
    assert done == 95
    assert max(sizes) <= 30
    assert sum(sizes) == 95
    assert calls[-1] == (95, 95)
    assert len(calls) == len(sizes)
    expected = 2 * pd.read_parquet(source)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), expected)


def test_nothing_is_left_of_what_failed(source, tmp_path, monkeypatch):
    monkeypatch.setattr(_streams, "CHUNK_ROWS", 30)

    def fail(piece):
        if piece["a"].iloc[0] > 0:
            raise ZeroDivisionError
        return piece

    with pytest.raises(ZeroDivisionError):
        map_parquet(fail, source, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_other_files_are_referred_to_chunks(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"rows\.csv can not be read .* as chunks"):
        map_parquet(lambda x: x, tmp_path / "rows.csv", tmp_path / "o.parquet", lambda *_: None)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.parquet"):
        map_parquet(lambda piece: piece, tmp_path / "absent.parquet", tmp_path / "o.parquet")
    (tmp_path / "text.parquet").write_text("a,b\n")
    with pytest.raises(ValueError, match=r"text\.parquet can not be read"):
        map_parquet(lambda piece: piece, tmp_path / "text.parquet", tmp_path / "o.parquet")
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"empty\.parquet has no row"):
        map_parquet(lambda piece: piece, tmp_path / "empty.parquet", tmp_path / "o.parquet")


def test_a_bar_is_drawn_for_people_only(monkeypatch, capsys):
    with _console.Talk(quiet=True).progress("Encoding") as none:
        assert none is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with _console.Talk().progress("Encoding") as progress:
        progress(3, 4)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_streams, "CHUNK_ROWS", 4_000)
    import pyarrow as pa

    cells = np.random.default_rng(0).normal(size=(80_000, 8))
    table = pd.DataFrame(cells, columns=[f"c{j}" for j in range(8)])
    table.to_parquet(tmp_path / "in.parquet", row_group_size=4_000, compression="none")
    held = []
    before = pa.total_allocated_bytes()
    map_parquet(
        lambda piece: piece[["c0"]],
        tmp_path / "in.parquet",
        tmp_path / "out.parquet",
        lambda *_: held.append(pa.total_allocated_bytes() - before),
    )
    assert max(held) < cells.nbytes / 2


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".csv", "as chunks, such as pandas.read_csv(path, chunksize=10_000)."),
        (".npy", "as a memory map: numpy.load(path, mmap_mode='r')."),
        (".NPZ", "as an array, which fits in memory: numpy.load(path)[name]."),
        (".feather", "as a table, which fits in memory: pandas.read_feather(path)."),
    ],
)
def test_files_that_are_not_read_in_parts_are_told_how_to_be_given(tmp_path, suffix, how):
    path = tmp_path / f"table{suffix}"
    path.write_bytes(b"no Parquet, whatever else")
    with pytest.raises(ValueError, match="Only Parquet is read in parts") as told:
        fit_chunks(HierarchicalVQVAE(max_epochs=0), path)
    assert str(told.value).endswith(f"give the rows of other files {how}")
