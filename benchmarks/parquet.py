"""``parquet``: encoding from Parquet to Parquet on the command line, and the peak of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.measure import timed
from benchmarks.protocol import Matrix
from benchmarks.report import Results, Rows
from benchmarks.speed import generated, grown

GROUP_ROWS = 250_000
_COMPARED = 10_000

# The command itself, in a process of its own, which says at its end how much memory it has held.
_COMMAND = """
import atexit, runpy
from benchmarks.memory import peak_mb
atexit.register(lambda: print(peak_mb()))
runpy.run_module("adaptive_vq", run_name="__main__")
"""


def write(path: Path, first: Matrix, n_rows: int, seed: int) -> Matrix:
    """Write a table of so many rows, group by group, and return the last rows.

    Every group is the first one with a little noise, so that no two rows are the same.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"x{j}" for j in range(first.shape[1])]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for start in range(0, n_rows, len(first)):
            rows = grown(first, 2, seed + start)[len(first) :][: n_rows - start]
            writer.write_table(pa.table(list(rows.T.copy()), schema=schema), len(rows))
    return rows[-_COMPARED:]


def encode(model: Path, table: Path, codes: Path, threads: int) -> tuple[float, float]:
    """Seconds and peak of memory in MiB of ``adaptive-vq encode``."""
    command = [sys.executable, "-c", _COMMAND, "encode", model, table, "-o", codes, "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done, seconds = timed(
        lambda: subprocess.run(command, env=environment, capture_output=True, text=True)
    )
    if done.returncode:
        raise RuntimeError(f"adaptive-vq encode failed: {done.stderr.strip()}")
    return seconds, float(done.stdout)


def measure(
    first: Matrix, n_rows: int, bits: int, beam: int, seed: int, threads: int
) -> dict[str, Any]:
    """Fit on the first row group, write the table, encode it, compare the last codes."""
    import pandas as pd
    import pyarrow.parquet as pq

    from adaptive_vq import HierarchicalVQVAE, save

    codec = HierarchicalVQVAE(bits=bits, beam_width=beam, random_state=seed)
    frame = pd.DataFrame(first, columns=[f"x{j}" for j in range(first.shape[1])])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model, table, codes = folder / "model", folder / "table.parquet", folder / "codes.parquet"
        save(codec.fit(frame), model)
        last = write(table, first, n_rows, seed)
        seconds, peak = encode(model, table, codes, threads)
        file = pq.ParquetFile(codes)
        tail = file.read_row_group(file.num_row_groups - 1).to_pandas().to_numpy()
        some = min(len(tail), len(last))
        expected = codec.transform(pd.DataFrame(last[-some:], columns=frame.columns))
        return {
            "n_bits": codec.n_bits_,
            "file_mb": table.stat().st_size / 2**20,
            "table_mb": n_rows * first.shape[1] * first.itemsize / 2**20,
            "encode_seconds": seconds,
            "rows_per_second": n_rows / seconds,
            "peak_mb": peak,
            "all_rows": file.metadata.num_rows == n_rows,
            "same_codes": bool(np.array_equal(tail[-some:], expected)),
        }


def run(
    results: Results,
    rows: Sequence[int],
    columns: int,
    categories: int,
    bits: int,
    beam: int,
    seeds: Sequence[int],
    threads: int,
) -> None:
    """Encode generated tables of growing length."""
    for seed in seeds:
        for n_rows in rows:
            print(f"{n_rows} x {columns}, seed {seed}", file=sys.stderr)
            split = generated(f"{min(n_rows, GROUP_ROWS)}x{columns}x{categories}", seed)
            assert split is not None
            row = measure(split.train, n_rows, bits, beam, seed, threads)
            shape = {"n_rows": n_rows, "columns": columns, "beam": beam, "seed": seed}
            results.add(shape | row)


def summarize(rows: Rows) -> str:
    """One line per table, and whether all rows came out as in memory."""
    head = [
        "rows",
        "columns",
        "bits",
        "beam",
        "table MB",
        "file MB",
        "seconds",
        "rows/s",
        "peak MB",
    ]
    figures = [("n_bits", 1), ("beam", 0), ("table_mb", 0), ("file_mb", 0)]
    figures += [("encode_seconds", 1), ("rows_per_second", 0), ("peak_mb", 0)]
    lines = [
        [str(row["n_rows"]), str(row["columns"])]
        + [report.number(row[key], digits) for key, digits in figures]
        for row in rows
    ]
    right = sum(row["all_rows"] and row["same_codes"] for row in rows)
    end = f"{right} of {len(rows)} tables came out whole, with the codes of the rows in memory."
    return f"### Parquet to Parquet\n\n{report.table(head, lines, n_text=0)}\n\n{end}"
