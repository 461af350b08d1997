"""Save and load: one safetensors file of arrays, with JSON beside them; no pickle, no code.

The JSON document holds schema version, versions of the libraries, a digest of the training columns,
and the estimator (class, parameters, fitted attributes); arrays are named after the attribute they
belong to. A digest tells a damaged file from a whole one (`_sealed`). Against somebody who means
harm it is the reader that protects: it builds nothing but this library's estimators from plain
data, and compares every shape with every other before use.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.metadata import version
from typing import Any

import adaptive_vq
from adaptive_vq._encoding import Decoder, Encoder
from adaptive_vq._file_checks import check_fitted
from adaptive_vq._files import file_content, file_path, replacing
from adaptive_vq._sealed import SCHEMA, seal, unseal

__all__ = ["SCHEMA", "load", "read_document", "save"]

_LIBRARIES = ("numpy", "pandas", "scikit-learn", "torch", "safetensors")
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    RuntimeError,
    MemoryError,
)


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write an estimator, or a pipeline of them, to one file.

    Parameters
    ----------
    estimator : FeatureCleaner, FeatureCharacterizer, AdaptiveRatioSelector or HierarchicalVQVAE
        Or a scikit-learn Pipeline of these; fitted or not. Callbacks are not stored.
    path : str or path
        Usually ``something.safetensors``. A file that is there already is replaced at the end, or
        not at all if anything fails on the way.

    Raises
    ------
    ValueError
        If a parameter or an attribute is code (a function, a transformer, a network) or a step
        belongs to another library; the message names it and says what to do.
    TypeError
        If `path` is no path, such as an open file.
    OSError
        If the file can not be written, or `path` ends in a separator.

    See Also
    --------
    load : Read it back.

    Notes
    -----
    Training rows are not stored, except after ``partial_fit`` of a `FeatureCleaner` or
    `FeatureCharacterizer`, which needs its sample of rows to go on.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from adaptive_vq import FeatureCharacterizer, load, save
    >>> characterizer = FeatureCharacterizer().fit(np.random.default_rng(0).normal(size=(50, 4)))
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save(characterizer, path)
    >>> list(load(path).categories_) == list(characterizer.categories_)
    True
    """
    path = file_path(path)
    encoder = Encoder()
    document = {
        "schema": SCHEMA,
        "versions": {
            "adaptive-vq": adaptive_vq.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "columns": _columns(estimator),
        "estimator": encoder.estimator(estimator, type(estimator).__name__),
    }
    content = seal(document, encoder.tensors)
    with replacing(path) as place:
        place.write_bytes(content)


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    estimator or Pipeline
        As it was saved, with all state in numpy arrays; gives the same codes.

    Raises
    ------
    ValueError
        If the file is truncated, altered, of a newer format, or holds anything else than an
        estimator of this library.
    TypeError
        If `path` is no path, such as an open file.
    OSError
        If the file can not be read, is a device, or `path` ends in a separator.

    See Also
    --------
    save : Write the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from adaptive_vq import HierarchicalVQVAE, load, save
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save(HierarchicalVQVAE(bits=32), path)
    >>> load(path)
    HierarchicalVQVAE(bits=32)
    """
    content = file_content(path)
    try:
        document, tensors = unseal(content)
        estimator = Decoder(tensors).estimator(document["estimator"])
        check_fitted(estimator)
        if document["columns"] != _columns(estimator):
            raise ValueError("the digest of its training columns is another one")
    except _BROKEN as error:
        raise _unusable(path, error) from error
    return estimator


def read_document(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON document of a file: schema, versions, training columns and estimator.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        Keys ``schema``, ``versions``, ``columns`` (``n``, ``named``, ``digest``), ``estimator``.

    Raises
    ------
    ValueError, TypeError, OSError
        As for `load`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from adaptive_vq import FeatureCleaner, save
    >>> from adaptive_vq.persistence import read_document
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save(FeatureCleaner(), path)
    >>> read_document(path)["estimator"]["class"]
    'FeatureCleaner'
    """
    content = file_content(path)
    try:
        return unseal(content)[0]
    except _BROKEN as error:
        raise _unusable(path, error) from error


def _columns(estimator: Any) -> dict[str, Any] | None:
    """Return number and digest of the training columns; None before fit."""
    first = estimator
    while hasattr(first, "steps"):
        own = [step for _, step in first.steps if step not in (None, "passthrough")]
        if not own:
            return None
        first = own[0]
    n = getattr(first, "n_features_in_", None)
    if n is None:
        return None
    names = getattr(first, "feature_names_in_", None)
    text = json.dumps(None if names is None else [str(name) for name in names])
    return {
        "n": int(n),
        "named": names is not None,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
    }


def _unusable(path: Any, error: BaseException) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        reason = f"{reason} is missing"
    return ValueError(
        f"{os.fspath(path)} can not be loaded as a model: {reason}. It may be damaged or altered; "
        "save the model again."
    )
