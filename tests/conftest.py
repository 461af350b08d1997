"""Settings and tables that the tests of every module share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Before the first import of a numerical library: results must not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import settings
from sklearn.utils import Bunch

# Fitting takes as long as the machine is busy; no test asserts a time.
settings.register_profile("default", deadline=None, derandomize=True)
# `pytest --hypothesis-profile long`: other examples every time, twenty times as many.
settings.register_profile("long", deadline=None, max_examples=2000)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    torch = sys.modules.get("torch")  # tests that do not need torch do not pay for its import
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cells() -> np.ndarray:
    """160 rows of two groups of three related columns."""
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(160, 2)), 3, axis=1) + 0.1 * rng.normal(size=(160, 6))


@pytest.fixture(scope="session")
def frame(cells: np.ndarray) -> pd.DataFrame:
    """`cells` with names."""
    return pd.DataFrame(cells, columns=list("abcdef"))


@pytest.fixture
def table() -> pd.DataFrame:
    """200 rows: four columns of one factor, three of noise, a flag and a constant."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(200, 1))
    return pd.DataFrame(
        np.hstack(
            [
                factor * [1, 10, -1, 1e-3] + 0.05 * rng.normal(size=(200, 4)) * [1, 10, 1, 1e-3],
                rng.normal(size=(200, 3)),
                rng.random((200, 1)) < 0.3,
                np.full((200, 1), 7.0),
            ]
        ),
        columns=[f"c{j}" for j in range(9)],
    )


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """``threads(n)``: torch's threads, until the test ends."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_table() -> Callable[[str], Bunch]:
    """``real_table(name)``: a table of the folder ADAPTIVE_VQ_DATA, or the test skips.

    The Bunch has `data` (DataFrame, missing cells NaN), `families` (one label per column, or None)
    and `target` (or None).
    """

    def load(name: str) -> Bunch:
        folder = os.environ.get("ADAPTIVE_VQ_DATA")
        if not folder:
            pytest.skip(f"ADAPTIVE_VQ_DATA is not set: no folder to read {name}.npz from")
        path = Path(folder) / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"{path} does not exist")
        with np.load(path, allow_pickle=False) as file:
            data = pd.DataFrame(file["X"], columns=[str(c) for c in file["feature_names"]])
            families = [str(f) for f in file["families"]] if "families" in file else None
            return Bunch(data=data, families=families, target=file.get("y"))

    return load


@pytest.fixture
def small_frame(make_small_frame: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """80 rows of 8 columns in two correlated groups: other scales, a constant, missing cells."""
    return make_small_frame()


@pytest.fixture(scope="session")
def make_small_frame() -> Callable[[], pd.DataFrame]:
    """``make_small_frame()``: a new `small_frame`, for what several tests share."""
    return _small_frame


def _small_frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((80, 2))
    frame = pd.DataFrame(
        {
            "a__0": factors[:, 0],
            "a__1": 1e6 * (factors[:, 0] + 0.1 * rng.standard_normal(80)),
            "a__2": 5.0 - factors[:, 0] + 0.1 * rng.standard_normal(80),
            "b__0": factors[:, 1],
            "b__1": 1e-6 * (factors[:, 1] + 0.1 * rng.standard_normal(80)),
            "b__2": np.exp(factors[:, 1]),
            "b__flag": (factors[:, 1] > 0.5).astype(float),
            "constant": 3.0,
        },
        index=pd.RangeIndex(100, 180),
    )
    frame.loc[[103, 110, 150], "a__1"] = np.nan
    frame.loc[120, ["b__0", "b__1", "b__2", "b__flag"]] = np.nan  # a whole group
    return frame


@pytest.fixture
def small_polars(small_frame: pd.DataFrame) -> pl.DataFrame:
    """`small_frame` in polars: no index, the missing cells still NaN."""
    return pl.DataFrame({name: small_frame[name].to_numpy() for name in small_frame})
