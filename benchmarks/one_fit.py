"""One fit of a stored table, timed and its memory taken; run as a process that loads nothing else.

``python -m benchmarks.one_fit TABLE HELD SEED THREADS [BITS]`` prints a JSON object. Apart from
``scaling``, since other benchmarks load libraries of their own, which would count as memory of the
fit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_mb


def measure(
    table: Path, held: Path, seed: int, threads: int, bits: int | None = None
) -> dict[str, Any]:
    """Time a fit of a table in memory.

    Memory is the peak of the process over the size of the table: as a whole, and without what the
    process held before it read the table (Python and its libraries).
    """
    import torch

    from adaptive_vq import HierarchicalVQVAE, estimation

    torch.set_num_threads(threads)
    codec, before = HierarchicalVQVAE(bits=bits, random_state=seed), peak_mb()
    assert estimation  # loaded with torch before memory is looked at
    load, X = os.getloadavg()[0], np.load(table)
    start, busy = time.perf_counter(), time.process_time()
    codec.fit(X)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    megabytes, peak = X.nbytes / 2**20, peak_mb()
    return {
        "fit_seconds": seconds,
        "cpu_seconds": busy,
        "n_bits": codec.n_bits_,
        "table_mb": megabytes,
        "before_mb": before,
        "peak_mb": peak,
        "peak_per_table": peak / megabytes,
        "added_per_table": (peak - before) / megabytes,
        "nmse": 1.0 - codec.score(np.load(held)),
        "load_before": load,
    }


if __name__ == "__main__":
    table, held, *numbers = sys.argv[1:]
    print(json.dumps(measure(Path(table), Path(held), *map(int, numbers))))
