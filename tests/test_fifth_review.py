"""Corners of the public surface that a fifth review found wanting."""

import io

import numpy as np
import pytest

from adaptive_vq import HierarchicalVQVAE, compare, diagnose, load, save
from adaptive_vq.persistence import read_document

RNG = np.random.default_rng(0)
X = np.repeat(RNG.normal(size=(120, 3)), 3, axis=1) + 0.2 * RNG.normal(size=(120, 9))


def codec(**parameters) -> HierarchicalVQVAE:
    return HierarchicalVQVAE(**{"bits": 12, "max_epochs": 0, "random_state": 0} | parameters)


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


@pytest.mark.parametrize("path", [io.BytesIO(), None, 3])
def test_what_is_no_path_is_named(fitted, path):
    report, found = diagnose(fitted, X, embedding=None), compare({"a": fitted, "b": fitted}, X)
    uses = [lambda p: save(fitted, p), load, read_document]
    if path is not None:  # these return the text alone
        uses += [report.to_json, report.to_html, found.to_html]
    for use in uses:
        with pytest.raises(TypeError, match=r"^path=.* is no path: give the name of a file, as"):
            use(path)
