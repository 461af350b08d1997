"""An estimator is fitted or as it was before: nothing half done stays after an interruption."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
Result = TypeVar("Result")

_OF_CALLBACKS = ("_callback", "_skl", "_parent")  # scikit-learn's own, which it clears up itself


@contextmanager
def unchanged_on_failure(estimator: Any) -> Iterator[None]:
    """Give an estimator its attributes back if the block fails or is interrupted.

    Parameters
    ----------
    estimator : object
        Its attributes are replaced in the block, not changed in place; but for a generator of
        random numbers as ``random_state``, which then gives the same numbers again: a checkpoint
        would not know the fit otherwise.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from adaptive_vq._rollback import unchanged_on_failure
    >>> thing = SimpleNamespace(size=1)
    >>> try:
    ...     with unchanged_on_failure(thing):
    ...         thing.size, thing.name = 2, "new"
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     thing
    namespace(size=1)
    """
    before = dict(vars(estimator))
    rng = before.get("random_state")
    drawn = rng.get_state() if isinstance(rng, np.random.RandomState) else None
    try:
        yield
    except BaseException:
        kept = {k: v for k, v in vars(estimator).items() if k.startswith(_OF_CALLBACKS)}
        own = {k: v for k, v in before.items() if not k.startswith(_OF_CALLBACKS)}
        vars(estimator).clear()
        vars(estimator).update(own | kept)
        if isinstance(rng, np.random.RandomState) and drawn is not None:
            rng.set_state(drawn)
        raise


def undone_on_error(
    method: Callable[Concatenate[Any, P], Result],
) -> Callable[Concatenate[Any, P], Result]:
    """Decorate a whole method with `unchanged_on_failure`.

    Parameters
    ----------
    method : callable

    Returns
    -------
    callable
        The same method.

    Examples
    --------
    >>> from adaptive_vq._rollback import undone_on_error
    >>> class Interrupted:
    ...     n_features_in_ = 3
    ...
    ...     @undone_on_error
    ...     def fit(self, X):
    ...         self.n_features_in_ = X
    ...         raise KeyboardInterrupt
    >>> estimator = Interrupted()
    >>> try:
    ...     estimator.fit(4)
    ... except KeyboardInterrupt:
    ...     estimator.n_features_in_
    3
    """

    @functools.wraps(method)
    def undoing(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        with unchanged_on_failure(self):
            return method(self, *args, **kwargs)

    return undoing
