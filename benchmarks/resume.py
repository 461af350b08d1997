"""``resume``: fits killed at random moments, and whether the codes come out the same."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.measure import timed
from benchmarks.protocol import Matrix, load_table, prepare
from benchmarks.report import Results, Rows, use_threads

_STAGES = ("note", "start", "training", "start_on_all", "training_on_all")


def fit(table: Path, checkpoint: Path | None, codes: Path, seed: int, threads: int) -> None:
    """Fit the codec and write the codes of its rows; run in a process of its own."""
    from adaptive_vq import HierarchicalVQVAE

    use_threads(threads)
    X = np.load(table)
    codec = HierarchicalVQVAE(bits=64, checkpoint=checkpoint, random_state=seed)
    found = codec.fit(X).transform(X)
    with codes.open("wb") as file:
        np.save(file, found)


def reached(checkpoint: Path) -> str:
    """Last stage that a checkpoint holds; empty if there is none."""
    if not checkpoint.exists():
        return ""
    content = checkpoint.read_bytes()
    head = content[8 : 8 + int.from_bytes(content[:8], "little")].decode()
    return next((s for s in reversed(_STAGES) if f'\\"{s}\\": {{' in head), "begun")


def kill_and_resume(
    X: Matrix, folder: Path, after: float, seed: int, threads: int
) -> dict[str, Any] | None:
    """Kill a fit after some seconds, fit again, and give the codes of the second.

    None if the fit was complete before.
    """
    table, checkpoint, codes = folder / "X.npy", folder / "fit.ckpt", folder / "codes.npy"
    codes.unlink(missing_ok=True)
    np.save(table, X)
    arguments = (table, checkpoint, codes, seed, threads)
    context = multiprocessing.get_context("spawn")
    victim = context.Process(target=fit, args=arguments)
    victim.start()
    time.sleep(after)
    victim.kill()
    victim.join()
    if codes.exists():
        return None
    stage = reached(checkpoint)
    second = context.Process(target=fit, args=arguments)
    _, seconds = timed(lambda: (second.start(), second.join()))
    return {
        "killed_after": after,
        "stage": stage,
        "second_fit_seconds": seconds,
        "codes": np.load(codes).tobytes(),
        "left_over": [p.name for p in folder.iterdir() if p.name not in ("X.npy", "codes.npy")],
    }


def run(
    results: Results,
    sets: Sequence[str],
    seeds: Sequence[int],
    n_kills: int,
    n_rows: int,
    threads: int,
) -> None:
    """Fit once undisturbed, then kill and resume fits at random moments of that time."""
    for name in sets:
        for seed in seeds:
            X = prepare(load_table(name), seed, max_train=n_rows).train
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                np.save(folder / "X.npy", X)
                arguments = (folder / "X.npy", None, folder / "whole.npy", seed, threads)
                process = multiprocessing.get_context("spawn").Process(target=fit, args=arguments)
                _, whole = timed(lambda process=process: (process.start(), process.join()))
                expected = np.load(folder / "whole.npy").tobytes()
                (folder / "whole.npy").unlink()
                rng, longest = np.random.default_rng(seed), whole
                done = 0
                while done < n_kills:
                    after = float(rng.uniform(0, longest))
                    row = kill_and_resume(X, folder, after, seed, threads)
                    if row is None:  # on a busy machine the first fit may have taken longer
                        longest = min(longest, after)
                        continue
                    done += 1
                    row["same_codes"] = row.pop("codes") == expected
                    results.add({"set": name, "seed": seed, "fit_seconds": whole, **row})


def summarize(rows: Rows) -> str:
    """One line per kill, and how many fits ended with the same codes."""
    lines = [
        f"{row['set']}: killed after {row['killed_after']:.1f} s of {row['fit_seconds']:.1f} s "
        f"(reached: {row['stage'] or 'nothing'}), "
        f"{'same' if row['same_codes'] else 'OTHER'} codes after {row['second_fit_seconds']:.1f} s"
        for row in rows
    ]
    same = len(report.pick(rows, same_codes=True))
    return "\n".join([*lines, f"{same} of {len(rows)} resumed fits gave the same codes."])
