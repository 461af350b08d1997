"""What a codec is to the benchmarks, and one measurement of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from adaptive_vq.metrics import codebook_perplexity, codebook_utilization, dead_codes, rate_bits
from benchmarks.protocol import Matrix, distortion

Codes = NDArray[np.integer]
T = TypeVar("T")


class Codec(Protocol):
    """Anything that turns rows into codes and codes into rows."""

    def fit(self, A: Matrix) -> Self:
        """Learn from training rows of shape (n, d)."""

    def encode(self, A: Matrix) -> Codes:
        """Turn rows into codes of shape (n, m)."""

    def decode(self, codes: Codes) -> NDArray[np.floating]:
        """Turn codes into rows of shape (n, d)."""

    @property
    def sizes(self) -> list[int]:
        """Number of codewords of each of the m codebooks."""

    def details(self) -> dict[str, Any]:
        """What else is worth keeping in the results; JSON values."""


def timed(function: Callable[[], T], repeats: int = 1) -> tuple[T, float]:
    """Run a function and say how many seconds the fastest of `repeats` runs took."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def codebook_use(codes: Codes, sizes: list[int]) -> dict[str, Any]:
    """How well codebooks are used by all of the given rows.

    Returns
    -------
    dict
        Per codebook: ``utilization``, ``perplexity_share`` (perplexity over size) and ``dead``.
    """
    return {
        "utilization": codebook_utilization(codes, sizes).tolist(),
        "perplexity_share": (codebook_perplexity(codes, sizes) / np.asarray(sizes)).tolist(),
        "dead": dead_codes(codes, sizes).tolist(),
    }


def evaluate(
    codec: Codec,
    train: Matrix,
    held: Matrix,
    categories: Mapping[str, NDArray[np.int64]],
    repeats: int = 2,
) -> dict[str, Any]:
    """Score a fitted codec on rows kept aside.

    Parameters
    ----------
    codec : Codec
        A fitted codec.
    train, held : ndarray of shape (n, d)
        Training rows (for the use of codebooks and the training error only) and rows kept aside.
    categories : mapping of str to ndarray of int
        Categories for the errors, the same for every codec.
    repeats : int, default=2
        Encoding and decoding are timed as the fastest of so many runs.

    Returns
    -------
    dict
        One row of results.
    """
    train_codes = codec.encode(train)
    codes, encode_seconds = timed(lambda: codec.encode(held), repeats)
    output, decode_seconds = timed(lambda: codec.decode(codes), repeats)
    use = codebook_use(train_codes, codec.sizes)
    return {
        **distortion(held, output, categories),
        "train_nmse": distortion(train, codec.decode(train_codes), categories)["nmse"],
        "bits": rate_bits(codec.sizes),
        "n_codebooks": len(codec.sizes),
        "sizes": list(codec.sizes),
        "utilization": float(np.mean(use["utilization"])),
        "perplexity_share": float(np.mean(use["perplexity_share"])),
        "dead_codes": int(np.sum(use["dead"])),
        "use_train": use,
        "use_held": codebook_use(codes, codec.sizes),
        "encode_rows_per_second": len(held) / max(encode_seconds, 1e-9),
        "decode_rows_per_second": len(held) / max(decode_seconds, 1e-9),
        "details": codec.details(),
    }
