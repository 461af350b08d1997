"""Warnings that point to the line of the user's that led to them."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

# What stands between a user's line and the warning. A fixed number of frames holds for one way
# only: a pipeline, fit_transform and a nested estimator each put others in between.
_INSIDE = frozenset(
    [
        "adaptive_vq",
        "concurrent",
        "contextlib",
        "dask",
        "distributed",
        "joblib",
        "numpy",
        "sklearn",
        "threading",
        "torch",
    ]
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line that belongs neither to this library nor to what calls it.

    Parameters
    ----------
    message : str
    category : type of Warning, default=UserWarning
    """
    warnings.warn(message, category, stacklevel=_level())


def _level() -> int:
    """Frames from the one that called, 1, to that of the user, or the outermost one."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in _INSIDE
