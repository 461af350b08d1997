"""Weights of rows on their way to scorers: by metadata routing, or as searches pass them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sklearn.utils.metadata_routing import MetadataRequest

__all__ = ["Weighing", "weighing"]


@dataclass(frozen=True)
class Weighing:
    """Scorer that takes ``sample_weight`` where its caller has it.

    Attributes
    ----------
    request : bool, str or None
        Whether weights are asked for with metadata routing, or by which name; None: it has not been
        said, so that scikit-learn refuses weights that would be ignored.
    """

    request: bool | str | None = field(default=None, kw_only=True)

    def set_score_request(self, *, sample_weight: bool | str | None) -> Self:
        """Return a copy that asks for weights: what is imported stays as it is for others."""
        return replace(self, request=sample_weight)

    def get_metadata_routing(self) -> MetadataRequest:
        """Say what is asked for."""
        request = MetadataRequest(owner=self._name())
        request.score.add_request(param="sample_weight", alias=self.request)
        return request

    def _accept_sample_weight(self) -> bool:
        # What searches ask scorers without metadata routing.
        return True

    def _name(self) -> str:
        return repr(self)


@dataclass(frozen=True)
class _Function(Weighing):
    """A scorer that is a function, and what it asks for."""

    function: Callable[..., Any]

    def __call__(self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        return self.function(estimator, X, y, sample_weight=sample_weight)

    def _name(self) -> str:
        return self.function.__name__


def weighing(function: Callable[..., Any]) -> Any:
    """Decorate a function ``(estimator, X, y, sample_weight)`` as a scorer that takes weights.

    It stays a function, with the methods that scikit-learn asks scorers for weights by.
    """
    plain = _Function(function)
    for name in ("set_score_request", "get_metadata_routing", "_accept_sample_weight"):
        setattr(function, name, getattr(plain, name))
    return function
