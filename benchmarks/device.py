"""``device``: the same codec fitted, encoding and decoding on a processor and on a GPU."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.measure import timed
from benchmarks.ours import Ours
from benchmarks.protocol import Matrix, Split, load_table, prepare
from benchmarks.report import Results, Rows
from benchmarks.speed import generated, grown

_REPEATS = 3
_TIMED = ("encode", "decode")


def devices() -> list[str]:
    """Name what a codec can work on here."""
    return ["cpu", *["cuda"] * torch.cuda.is_available()]


def measure(split: Split, device: str, bits: int, seed: int, rows: Matrix) -> dict[str, Any]:
    """Fit on a device, then encode and decode there, and again on the processor.

    ``same_codes`` is the share of the codes of rows held out that both agree on.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    codec, fit = timed(lambda: Ours(bits, seed, device=device).fit(split.train))
    codec.encode(rows[:1000])  # what is made ready once is not timed
    codes, encode = timed(lambda: codec.encode(rows), _REPEATS)
    _, decode = timed(lambda: codec.decode(codes), _REPEATS)
    output = codec.decode(codec.encode(split.held))
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    codec.model.set_params(device="cpu")
    again = codes[: len(split.held)], codec.encode(rows[: len(split.held)])
    return {
        "fit_seconds": fit,
        "encode_rows_per_second": len(rows) / encode,
        "decode_rows_per_second": len(rows) / decode,
        "nmse": float(np.square(split.held - output).sum() / np.square(split.held).sum()),
        "epochs": int(codec.model.n_iter_),
        "same_codes": float((again[0] == again[1]).mean()),
        "device_mb": peak,
    }


def run(
    results: Results, sets: Sequence[str], bits: Sequence[int], seeds: Sequence[int], n_rows: int
) -> None:
    """Measure every set on every device there is; so many rows are encoded, or a few more."""
    if "cuda" in devices():
        results.head["environment"]["gpu"] = torch.cuda.get_device_name()
    else:
        print("torch finds no GPU here: only the processor is measured", file=sys.stderr)
    for name in sets:
        for seed in seeds:
            split = generated(name, seed) or prepare(load_table(name), seed)
            rows = grown(split.held, math.ceil(n_rows / len(split.held)), seed)
            for budget in bits:
                for device in devices():
                    print(f"{name} {budget} bits: {device}", file=sys.stderr)
                    cell = {"set": name, "budget": budget, "seed": seed, "device": device}
                    results.add(cell | measure(split, device, budget, seed, rows))


def summarize(rows: Rows) -> str:
    """Tables of one run."""
    head = ["set", "device", "bits", "fit s", "encode rows/s", "decode rows/s", "NMSE"]
    head += ["same codes on a processor", "GPU memory MB"]
    keys = ("set", "device", "budget")
    lines = []
    for where in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        cell = report.pick(rows, **dict(zip(keys, where, strict=True)))
        lines.append(
            [where[0], where[1], str(where[2])]
            + [report.number(report.mean(cell, "fit_seconds"), 2)]
            + [report.number(report.mean(cell, f"{key}_rows_per_second"), 0) for key in _TIMED]
            + [report.number(report.mean(cell, "nmse"))]
            + [report.number(report.mean(cell, "same_codes"), 5)]
            + [report.number(report.mean(cell, "device_mb"), 0)]
        )
    return "### Processor and GPU\n\n" + report.table(head, lines, n_text=2)
