"""Notice that only some steps of a pipeline were given weights of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptive_vq._alerts import warn

__all__ = ["warn_of_other_weights"]


def warn_of_other_weights(note: Mapping[str, Any] | None, weighted: bool, owner: str) -> None:
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
    """
    before = (note or {}).get("weighted")
    if note is None or before is None or before == weighted:
        return
    earlier = (note.get("by") or ["an earlier step"])[-1]
    given, lacks = (owner, earlier) if weighted else (earlier, owner)
    warn(
        f"sample_weight was given to {given}, but not to {lacks}, which counts all rows alike. "
        "Give it to every step, as fit(X, STEP__sample_weight=...) with the name of each, or to "
        "none."
    )
