"""Notice that only some steps of a pipeline were given weights of rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

__all__ = ["warn_of_other_weights"]


def warn_of_other_weights(
    note: Mapping[str, Any] | None, weighted: bool, owner: str, stacklevel: int
) -> None:
    """Warn where an earlier step has counted rows alike and this one does not, or the reverse.

    A pipeline hands ``sample_weight`` to the steps that it is given for by name, and to no other.

    Parameters
    ----------
    note : mapping or None
        Of the earlier step; one that does not say (``weighted``) passes.
    weighted : bool
        Whether this step was given weights.
    owner : str
        Its class, for the message.
    stacklevel : int
        Of the warning, counted from the caller.
    """
    before = (note or {}).get("weighted")
    if note is None or before is None or before == weighted:
        return
    earlier = (note.get("by") or ["an earlier step"])[-1]
    given, lacks = (owner, earlier) if weighted else (earlier, owner)
    warnings.warn(
        f"sample_weight was given to {given}, but not to {lacks}, which counts all rows alike. "
        "Give it to every step, as fit(X, STEP__sample_weight=...) with the name of each, or to "
        "none.",
        UserWarning,
        stacklevel=stacklevel + 1,
    )
