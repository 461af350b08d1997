"""``beams``: encoding and decoding at the same beam and at equal error, against faiss RQ.

Both are fitted once per set; then their encoders are timed in turn, on the same rows and threads,
the fastest of several rounds counting. faiss encodes in two ways: by distances, which is its
default, and by tables of inner products (``use_beam_LUT``).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.methods import build
from benchmarks.ours import Ours
from benchmarks.peers import ResidualQuantizer
from benchmarks.protocol import Matrix, Split, load_table, prepare
from benchmarks.report import Results, Rows

BEAMS = (1, 2, 4, 8, 16, 32)
WIDEST = 32
_ROUNDS = 3
_ROWS = 20_000


def rates(tasks: Mapping[str, Callable[[], Any]], n_rows: int) -> dict[str, float]:
    """Rows per second of tasks that take turns, so that a busy moment hits them all."""
    best = dict.fromkeys(tasks, math.inf)
    for _ in range(_ROUNDS):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: n_rows / seconds for name, seconds in best.items()}


def measure(split: Split, bits: int, seed: int, beams: Sequence[int]) -> Rows:
    """Error and speed of both at every beam, and the speed of decoding."""
    ours, rival = Ours(bits, seed).fit(split.train), build("rq_beam5", bits, seed)
    assert isinstance(rival, ResidualQuantizer)
    rival.fit(split.train)
    held = np.tile(split.held, (math.ceil(_ROWS / len(split.held)), 1))[:_ROWS]
    cells = [_at_beam(ours, rival, beam, split.held, held) for beam in beams]
    codes = ours.model.transform(held)
    decoded = rates({"decode": lambda: ours.model.inverse_transform(codes)}, len(held))
    corrected = bool(ours.model._state["corrects"])
    return [cell | decoded | {"corrected": corrected} for cell in cells]


def _at_beam(
    ours: Ours, rival: ResidualQuantizer, beam: int, judged: Matrix, rows: Matrix
) -> dict[str, Any]:
    ours.model.set_params(beam_width=beam)
    by_distance, by_table = rival.with_beam(beam), rival.with_beam(beam)

    def encode_by_table() -> Any:
        by_table.quantizer.use_beam_LUT = 1
        try:
            return by_table.encode(rows)
        finally:
            by_table.quantizer.use_beam_LUT = 0

    speed = rates(
        {
            "ours": lambda: ours.encode(rows),
            "rq": lambda: by_distance.encode(rows),
            "rq_lut": encode_by_table,
        },
        len(rows),
    )
    energy = float(np.square(judged).sum())
    errors = {
        f"nmse_{name}": float(np.square(judged - codec.decode(codec.encode(judged))).sum()) / energy
        for name, codec in (("ours", ours), ("rq", by_distance))
    }
    return {"beam": beam, **speed, **errors}


def run(
    results: Results,
    sets: Sequence[str],
    bits: Sequence[int],
    seeds: Sequence[int],
    beams: Sequence[int],
) -> None:
    """Measure every set; the widest beam is always among the beams."""
    for name in sets:
        for seed in seeds:
            split = prepare(load_table(name), seed)
            for budget in bits:
                print(f"{name} {budget} bits", file=sys.stderr)
                for cell in measure(split, budget, seed, sorted({*beams, WIDEST})):
                    results.add({"set": name, "budget": budget, "seed": seed, **cell})


def equal_error(rows: Rows) -> dict[str, Any] | None:
    """Row of our smallest beam that is no worse than RQ with the widest; None if there is none."""
    widest = report.pick(rows, beam=WIDEST)[0]
    good = [row for row in rows if row["nmse_ours"] <= widest["nmse_rq"]]
    return min(good, key=lambda row: row["beam"]) if good else None


def summarize(rows: Rows) -> str:
    """Tables of one run: the same beam, then equal error, then decoding."""
    head = ["set", "bits", "beam", "ours rows/s", "RQ rows/s", "RQ by table", "ours / RQ"]
    head += ["ours / by table", "NMSE ours", "NMSE RQ"]
    lines = [
        [row["set"], str(row["budget"]), str(row["beam"])]
        + [report.number(row[key], 0) for key in ("ours", "rq", "rq_lut")]
        + [report.number(row["ours"] / row[key], 2) for key in ("rq", "rq_lut")]
        + [report.number(row[key]) for key in ("nmse_ours", "nmse_rq")]
        for row in rows
    ]
    parts = ["### Encoding at the same beam", report.table(head, lines)]
    keys = ("set", "budget", "seed")
    runs = [
        report.pick(rows, **dict(zip(keys, run, strict=True)))
        for run in dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    ]
    head = ["set", "bits", "our beam", f"times RQ beam {WIDEST}", "times RQ by table"]
    head += ["decode rows/s", "learned correction"]
    parts += [f"### Encoding at the error of RQ with beam {WIDEST}, and decoding"]
    parts += [report.table(head, [_line(run) for run in runs])]
    return "\n\n".join(parts)


def _line(run: Rows) -> list[str]:
    widest, equal = report.pick(run, beam=WIDEST)[0], equal_error(run)
    ratios = ["", "", ""]
    if equal is not None:
        ratios = [str(equal["beam"])]
        ratios += [report.number(equal["ours"] / widest[key], 2) for key in ("rq", "rq_lut")]
    decoding = report.number(max(row["decode"] for row in run), 0)
    return [
        run[0]["set"],
        str(run[0]["budget"]),
        *ratios,
        decoding,
        "yes" if run[0]["corrected"] else "no",
    ]
