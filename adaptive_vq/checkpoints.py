"""Checkpoints of a running fit: what has been decided and learned so far, in one file.

The file is replaced as a whole after every stage (plan, start, every epoch), so that a reader finds
the old or the new one. It is a safetensors file with JSON, as models are; nothing in it can run.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

import adaptive_vq
from adaptive_vq import _distributed
from adaptive_vq._encoding import Decoder, Encoder
from adaptive_vq._files import is_of_folder, replacing, torn_files
from adaptive_vq._sealed import SCHEMA, seal, unseal

__all__ = ["Checkpoint", "NoCheckpoint", "Progress", "open_checkpoint", "pack", "unpack"]

_LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch")
_OF_CLASS = "a dataclass"
#: Parameters that do not change what is learned.
_WITHOUT_EFFECT = ("checkpoint", "encode", "sparse_output")


class Progress(Protocol):
    """What has been done of a fit, stage by stage."""

    def recall(self, stage: str, compute: Callable[[], Any]) -> Any:
        """Return what a stage gave; compute and keep it where it has not been reached yet."""

    def get(self, stage: str) -> Any:
        """Return what was last put for a stage, or None."""

    def put(self, stage: str, value: Any) -> None:
        """Keep the value of a stage."""

    def finish(self) -> None:
        """Forget everything: the fit is complete."""


class NoCheckpoint:
    """Progress of a fit that keeps none."""

    def recall(self, stage: str, compute: Callable[[], Any]) -> Any:
        """Compute the value."""
        return compute()

    def get(self, stage: str) -> None:
        """Return None."""

    def put(self, stage: str, value: Any) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class Checkpoint:
    """Progress of a fit in a file.

    Parameters
    ----------
    path : str or path
        Where the file is, or is to be.
    fingerprint : dict of str to str
        What the result depends on; a file with another one is refused.

    Raises
    ------
    ValueError
        If the file belongs to another fit, is damaged, or is something else.
    OSError
        If it can not be read or written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from adaptive_vq.checkpoints import Checkpoint
    >>> path = Path(tempfile.mkdtemp()) / "fit.safetensors"
    >>> Checkpoint(path, {"table": "a"}).recall("start", lambda: {"error": 0.5})
    {'error': 0.5}
    >>> Checkpoint(path, {"table": "a"}).recall("start", lambda: "not computed again")
    {'error': 0.5}
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: Mapping[str, str]) -> None:
        self.path = Path(os.path.realpath(path))
        self._fingerprint = dict(fingerprint)
        self._nodes: dict[str, Any] = {}
        self._tensors: dict[str, dict[str, NDArray[Any]]] = {}
        self._one_at_a_time = threading.Lock()
        if is_of_folder(path) or (self.path.exists() and not self.path.is_file()):
            raise ValueError(f"checkpoint={str(path)!r} is no file: give the path of one.")
        if not (self.path.exists() and self._read()):
            self._write()  # a folder that can not be written to shows now, not after hours

    def recall(self, stage: str, compute: Callable[[], Any]) -> Any:
        """Return what a stage gave; compute and write it where it has not been reached yet."""
        if stage not in self._nodes:
            self.put(stage, compute())
        return self.get(stage)

    def get(self, stage: str) -> Any:
        """Return what was last put for a stage, or None."""
        if stage not in self._nodes:
            return None
        return Decoder(self._tensors[stage]).value(self._nodes[stage])

    def put(self, stage: str, value: Any) -> None:
        """Write the value of a stage: plain values, lists, dicts and numpy arrays."""
        encoder = Encoder()
        node = encoder.value(value, stage)
        with self._one_at_a_time:  # there may be a fit on all rows beside the training
            self._nodes[stage], self._tensors[stage] = node, encoder.tensors
            self._write()

    def finish(self) -> None:
        """Remove the file, and what processes that were killed while writing have left of it."""
        self.path.unlink(missing_ok=True)
        for torn in torn_files(self.path):
            torn.unlink(missing_ok=True)

    def _write(self) -> None:
        document = {"schema": SCHEMA, "checkpoint": self._fingerprint, "stages": self._nodes}
        tensors = {
            f"{stage}/{name}": value
            for stage, of_stage in self._tensors.items()
            for name, value in of_stage.items()
        }
        content = seal(document, tensors)
        with replacing(self.path) as place:
            place.write_bytes(content)

    def _read(self) -> bool:
        """Whether the file holds anything; a fit that was refused leaves none to go on from."""
        try:
            document, tensors = unseal(self.path.read_bytes())
            if "checkpoint" not in document:
                raise ValueError("it holds a model")
            found = document["checkpoint"]
        except (ValueError, KeyError, TypeError) as error:
            # It may be anything, such as the table itself: nothing that one should delete.
            raise ValueError(
                f"{self.path} is no usable checkpoint ({' '.join(str(error).split())}), and stays "
                "as it is: give checkpoint=... another path."
            ) from error
        if not document["stages"]:
            return False
        self._refuse_other(found)
        self._nodes = document["stages"]
        self._tensors = {stage: {} for stage in self._nodes}
        for name, value in tensors.items():
            stage, own = name.split("/", 1)
            self._tensors[stage][own] = value
        return True

    def _refuse_other(self, found: Mapping[str, str]) -> None:
        keys = [*self._fingerprint, *(key for key in found if key not in self._fingerprint)]
        other = [key for key in keys if found.get(key) != self._fingerprint.get(key)]
        if other:
            moved = " (a RandomState moves on as earlier steps draw from it: give an int)"
            raise ValueError(
                f"The checkpoint {self.path} belongs to another fit: it differs in "
                f"{', '.join(other[:3])}{moved if 'random_state' in other else ''}. Delete it to "
                "fit anew, or give another path."
            )


def open_checkpoint(
    estimator: Any,
    table: NDArray[np.float64],
    names: list[str],
    note: Any,
    sample_weight: Any,
) -> Progress:
    """Progress of a fit of this table: that of an interrupted one, a new one, or none kept.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
    table : ndarray of shape (n_samples, n_features)
        Training rows.
    names : list of str
        Their columns.
    note : dict or None
        What an earlier step has decided.
    sample_weight : array-like of shape (n_samples,) or None

    Returns
    -------
    Progress

    Raises
    ------
    ValueError
        If the checkpoint belongs to another fit, several processes train together, or a parameter
        has no value that another process could recognize.
    """
    if estimator.checkpoint is None:
        return NoCheckpoint()
    if _distributed.n_ranks() > 1:
        raise ValueError(
            "checkpoint=... is for one process, and torch.distributed has several train together: "
            "leave checkpoint at None."
        )
    fingerprint = {
        "the table": _digest([np.shape(table), np.ascontiguousarray(table), names]),
        "sample_weight": _digest(None if sample_weight is None else np.asarray(sample_weight)),
        "what an earlier step decided": _digest(note),
        "the version of adaptive-vq": adaptive_vq.__version__,
        **{f"the version of {name}": version(name) for name in _LIBRARIES},
    }
    for name, value in sorted(estimator.get_params(deep=False).items()):
        if name not in _WITHOUT_EFFECT:
            fingerprint[name] = _recognized(value, name)
    if estimator.warm_start and hasattr(estimator, "_state"):
        fingerprint["the fit to go on from"] = _digest([estimator._state, estimator._request])
    return Checkpoint(estimator.checkpoint, fingerprint)


def _recognized(value: Any, name: str) -> str:
    try:
        return _digest(_plain(value))
    except Exception as error:  # whatever a foreign object raises when it is pickled
        raise ValueError(
            f"checkpoint=... can not tell whether {name}={value!r} is the same in another process "
            f"({error}). Use an object that can be pickled, such as a function of a module."
        ) from error


def _plain(value: Any) -> Any:
    """Values of which equal ones have equal pickles, in any process."""
    if isinstance(value, torch.nn.Module):
        return [repr(value), {k: v.detach().cpu().numpy() for k, v in value.state_dict().items()}]
    if hasattr(value, "get_params") and not isinstance(value, type):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return [kind, _plain(value.get_params(deep=False))]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(str(joblib.hash(value, hash_name="sha1")).encode()).hexdigest()[:32]


def pack(value: Any) -> Any:
    """Return a value with its tensors as arrays and its dataclasses as dicts, for `Progress.put`.

    Parameters
    ----------
    value : object
        Plain values, tensors and dataclasses in lists, tuples and dicts.

    Returns
    -------
    object

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq.checkpoints import pack, unpack
    >>> unpack(pack({"at": torch.tensor([1.0, 2.0])}))
    {'at': tensor([1., 2.])}
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: pack(getattr(value, f.name)) for f in fields(value)}
        return {_OF_CLASS: type(value).__name__, **own}
    if isinstance(value, Mapping):
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(pack(item) for item in value)
    return value


def unpack(value: Any, *classes: type) -> Any:
    """Return what `pack` was given.

    Parameters
    ----------
    value : object
        What `pack` returned.
    *classes : type
        Dataclasses that may occur in it.

    Returns
    -------
    object
    """
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    if isinstance(value, Mapping):
        own = {key: unpack(item, *classes) for key, item in value.items() if key != _OF_CLASS}
        if _OF_CLASS not in value:
            return own
        return {c.__name__: c for c in classes}[value[_OF_CLASS]](**own)
    if isinstance(value, list | tuple):
        return type(value)(unpack(item, *classes) for item in value)
    return value
