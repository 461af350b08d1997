"""Codecs by name, and one cell of a benchmark: every method on one set at one rate and seed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.autoencoder import ResidualAutoencoder
from benchmarks.measure import Codec, evaluate, timed
from benchmarks.ours import Ours
from benchmarks.peers import (
    BinnedColumns,
    CategoryKMeans,
    LocalSearchQuantizer,
    OptimizedProductQuantizer,
    ProductQuantizer,
    ResidualQuantizer,
)
from benchmarks.prior import PriorSystem
from benchmarks.protocol import Categories, Split

OURS = "ours"
#: Peers by name: what to call with bits and seed.
PEERS: dict[str, Callable[[int, int], Codec]] = {
    "pq": ProductQuantizer,
    "opq": OptimizedProductQuantizer,
    "rq_beam1": lambda bits, seed: ResidualQuantizer(bits, seed, beam=1),
    "rq_beam5": ResidualQuantizer,
    "rq_beam32": lambda bits, seed: ResidualQuantizer(bits, seed, beam=32),
    "lsq": LocalSearchQuantizer,
    "residual_vq": ResidualAutoencoder,
    "kbins": BinnedColumns,
    "category_kmeans": CategoryKMeans,
    "prior": PriorSystem,
}
#: Peers that a figure "against the best peer" looks at.
CLASSICAL = ("pq", "opq", "rq_beam5", "rq_beam32", "lsq")
DEFAULT = (OURS, "ours:rate_distortion", "pq", "opq", "rq_beam5", "rq_beam32", "residual_vq")


def is_ours(method: str) -> bool:
    """Whether a method's name is ``ours`` or ``ours:...``."""
    return method.split(":")[0] == OURS


def check_methods(names: Sequence[str]) -> None:
    """Refuse names that are no method.

    Raises
    ------
    ValueError
        If a name is neither a peer nor ``ours[:STRATEGY[:CONTEXT[:CUT_TOLERANCE]]]``; the message
        lists all.
    """
    unknown = [name for name in names if not is_ours(name) and name not in PEERS]
    if unknown:
        raise ValueError(
            f"There is no method {unknown[0]!r}; there are {sorted(PEERS)}, 'ours', "
            "'ours:STRATEGY', 'ours:STRATEGY:joint' and 'ours:STRATEGY:CONTEXT:CUT_TOLERANCE'."
        )


def build(method: str, bits: int, seed: int, categories: Categories | None = None) -> Codec:
    """Make an unfitted codec.

    Parameters
    ----------
    method : str
        A peer's name, or ``ours``, ``ours:STRATEGY``, ``ours:STRATEGY:CONTEXT`` or
        ``ours:STRATEGY:CONTEXT:CUT_TOLERANCE``.
    bits, seed : int
        Rate and seed.
    categories : dict or None, default=None
        Categories given to ours; peers have none.

    Returns
    -------
    Codec
        A codec to fit.
    """
    check_methods([method])
    if not is_ours(method):
        return PEERS[method](bits, seed)
    _, strategy, context, tolerance, *_ = [*method.split(":"), "", "", ""]
    settings = {"context": context} if context else {}
    cut_tolerance = float(tolerance) if tolerance else None
    return Ours(bits, seed, strategy or None, categories, cut_tolerance, **settings)


def fitted(
    methods: Sequence[str], split: Split, bits: int, seed: int, given: Categories | None = None
) -> Iterator[tuple[str, Codec, float]]:
    """Fit methods one after the other.

    Residual quantizers that differ in the encoder's beam only share one fit.

    Yields
    ------
    method : str
        Its name.
    codec : Codec
        The fitted codec.
    seconds : float
        What the fit took.
    """
    residual: tuple[ResidualQuantizer, float] | None = None
    for method in methods:
        codec = build(method, bits, seed, given)
        print(f"{split.name} {bits} bits seed {seed}: {method}", file=sys.stderr, flush=True)
        if isinstance(codec, ResidualQuantizer) and residual is not None:
            yield method, residual[0].with_beam(codec.beam), residual[1]
            continue
        _, seconds = timed(lambda codec=codec: codec.fit(split.train))  # type: ignore[misc]
        if isinstance(codec, ResidualQuantizer):
            residual = codec, seconds
        yield method, codec, seconds


def rows_of(
    methods: Sequence[str],
    split: Split,
    bits: int,
    seed: int,
    categories: Categories,
    *,
    given: Categories | None = None,
) -> Iterator[dict[str, Any]]:
    """Fit and score methods on one set.

    Parameters
    ----------
    methods : sequence of str
        Names.
    split : Split
        Training rows and rows kept aside.
    bits, seed : int
        Rate and seed.
    categories : dict of str to ndarray of int
        Categories for the errors, the same for every method.
    given : dict or None, default=None
        Categories given to ours.

    Yields
    ------
    dict
        One row of results per method.
    """
    for method, codec, seconds in fitted(methods, split, bits, seed, given):
        yield {
            "set": split.name,
            "method": method,
            "budget": bits,
            "seed": seed,
            "n_train": len(split.train),
            "n_columns": split.train.shape[1],
            "fit_seconds": seconds,
            **evaluate(codec, split.train, split.held, categories),
        }
