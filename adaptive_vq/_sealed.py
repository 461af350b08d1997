"""Files of models and checkpoints: arrays, with one JSON document beside them, and a seal.

A valid safetensors file. The document stands in its metadata, and beside it a digest of document
and arrays, which tells a damaged file from a whole one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as read_safetensors
from safetensors.numpy import save as to_safetensors

__all__ = ["ENTRY", "SCHEMA", "seal", "unseal"]

SCHEMA = 1
"""Version of the file format; files of older versions stay readable."""

ENTRY = "adaptive_vq"  # one entry: several would be written in any order


def seal(document: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> bytes:
    """Return the content of a file; the document has its version as ``schema``."""
    entry = {"digest": _digest(document, tensors), "document": document}
    return to_safetensors(tensors, {ENTRY: json.dumps(entry, allow_nan=False)})


def unseal(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return document and arrays of a whole and unaltered file."""
    try:
        tensors = read_safetensors(content)  # compares shapes, types and offsets with the length
    except Exception as error:
        raise ValueError(f"it is no whole safetensors file ({error})") from error
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    if ENTRY not in metadata:
        raise ValueError("it was not written by adaptive_vq.save")
    entry = json.loads(metadata[ENTRY])
    document = entry["document"]
    schema = document["schema"]
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ValueError(
            f"its format has version {schema!r}, this library reads versions 1 to {SCHEMA}: "
            "install a newer adaptive-vq"
        )
    if entry["digest"] != _digest(document, tensors):
        raise ValueError("its content does not match its digest")
    return document, tensors


def _digest(document: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return a hash of document and arrays, with names, types and shapes."""
    found = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(json.dumps([name, tensors[name].dtype.str, tensors[name].shape]).encode())
        found.update(np.ascontiguousarray(tensors[name]).tobytes())
    return found.hexdigest()
