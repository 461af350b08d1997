"""Warnings point to the line of the user's, whatever calls stand in between."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    HierarchicalVQVAE,
    diagnose,
    scale,
)
from adaptive_vq._alerts import warn

GIVEN = FeatureCharacterizer([0, 0, 0, 1, 1, 1], max_categories=2)


def make_table() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(120, 6)), columns=list("abcdef"))


def codec(**parameters) -> HierarchicalVQVAE:
    quick = {"auto_compression_strategy": "water_filling", "bits": 8, "max_epochs": 0}
    return HierarchicalVQVAE(**quick | parameters)


def selector(**parameters) -> AdaptiveRatioSelector:
    return AdaptiveRatioSelector("uniform", bits=8, **parameters)


X = make_table()
EMPTY = X.assign(a=np.nan)
UNCAPPED = codec(clip=None).fit(X)
FAR = X.assign(a=X["a"].where(X.index > 0, 1e9))

CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "fit": (lambda: codec().fit(EMPTY), "no observed cell"),
    "fit_transform": (lambda: codec().fit_transform(EMPTY), "no observed cell"),
    "partial_fit": (lambda: codec().partial_fit(EMPTY), "no observed cell"),
    "pipeline": (lambda: make_pipeline(codec()).fit(EMPTY), "no observed cell"),
    "folds": (lambda: cross_val_score(codec(), EMPTY, cv=2), "no observed cell"),
    "limits": (lambda: GIVEN.fit_transform(X), "max_categories=2"),
    "nested": (lambda: selector(characterizer=GIVEN).fit(X), "max_categories=2"),
    "nested twice": (
        lambda: codec(
            compression_ratios=selector(characterizer=GIVEN),
            bits=None,
            auto_compression_strategy="uniform",
        ).fit(X),
        "max_categories=2",
    ),
    "categories": (
        lambda: make_pipeline(
            FeatureCharacterizer(), selector(characterizer=FeatureCharacterizer([0] * 6))
        ).fit(X),
        "replaces the categories",
    ),
    "sizes": (lambda: codec(codebook_sizes=1, bits=None).fit(X), "leaves no code"),
    "learned": (
        lambda: codec(auto_compression_strategy="learned", early_stopping=False).fit(X),
        "moved no bit",
    ),
    "encoders": (
        lambda: codec(
            compression_ratios={"p": [1.0], "q": [1.0]},
            auto_compression_strategy="rate_distortion",
            n_levels=1,
            bits=1,
            encoders={name: torch.nn.Linear(3, 3) for name in "pq"},
        ).fit(FeatureCharacterizer({"p": [0, 1, 2], "q": [3, 4, 5]}).fit_transform(X)),
        "encoders has no effect",
    ),
    "transform": (lambda: UNCAPPED.transform(FAR), "more than 1,000,000"),
    "score in a pipeline": (lambda: make_pipeline(UNCAPPED).score(FAR), "more than 1,000,000"),
    "diagnose": (lambda: diagnose(UNCAPPED, FAR, embedding=None), "more than 1,000,000"),
    "diverged": (lambda: codec(max_epochs=1, lr=1e9, early_stopping=False).fit(X), "diverged"),
}


def test_the_line_of_the_user_is_named_behind_dask():
    dask = pytest.importorskip("dask", reason="extra 'scale'")
    frame = pytest.importorskip("dask.dataframe", reason="extra 'scale'")
    codes = scale.transform(UNCAPPED, frame.from_pandas(FAR, npartitions=1))
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.warns(match="more than 1,000,000") as told,
    ):
        codes.compute()
    assert [w.filename for w in told] == [__file__]


@pytest.mark.parametrize("case", CASES)
def test_the_line_of_the_user_is_named(case):
    call, told = CASES[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    ours = [w for w in caught if told in str(w.message)]
    assert ours
    assert {w.filename for w in ours} == {__file__}


@contextmanager
def _nothing():
    yield


@pytest.mark.parametrize("decorate", [torch.no_grad(), np.errstate(all="ignore"), _nothing()])
def test_the_line_of_the_user_is_named_behind_decorators(decorate):
    with pytest.warns(UserWarning, match="told") as caught:
        decorate(warn)("told")
    assert [w.filename for w in caught] == [__file__]


def test_a_thread_in_which_no_line_is_the_users_may_warn():
    with ThreadPoolExecutor(1) as pool, pytest.warns(UserWarning, match="told"):
        pool.submit(warn, "told").result()
