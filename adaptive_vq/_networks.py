"""Networks of fitted estimators, kept between calls: to build one takes longer than to code a row.

They stand beside the estimators, not in them, so that copies, clones and pickles know nothing of
them, and go when their estimator goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

if TYPE_CHECKING:
    from adaptive_vq.modules import CodecModule

__all__ = ["forget", "kept_network"]


@dataclass(frozen=True)
class _Kept:
    """A network, and the arrays that it shares its memory with."""

    module: CodecModule
    layout: Any
    arrays: dict[str, NDArray[Any]]

    def is_of(self, estimator: Any) -> bool:
        """Whether the estimator still has this layout and these arrays."""
        state = estimator._state
        return (
            estimator._layout is self.layout
            and state.keys() == self.arrays.keys()
            and all(state[name] is array for name, array in self.arrays.items())
        )


_lock = threading.Lock()
_networks: WeakKeyDictionary[Any, _Kept] = WeakKeyDictionary()


def kept_network(estimator: Any, build: Callable[[Any], CodecModule]) -> CodecModule:
    """Return the network of an estimator, built where there is none of its present state.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
        Fitted.
    build : callable (estimator) -> CodecModule
        Builds a network on the memory of the estimator's arrays, so that it follows what happens
        to their cells.

    Returns
    -------
    CodecModule
        Shared between calls and threads: not to be changed.
    """
    with _lock:
        found = _networks.get(estimator)
    if found is None or not found.is_of(estimator):
        found = _Kept(build(estimator), estimator._layout, dict(estimator._state))
        with _lock:
            _networks[estimator] = found
    return found.module


def forget(estimator: Any) -> None:
    """Drop the network of an estimator, whose state changes.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
    """
    with _lock:
        _networks.pop(estimator, None)
