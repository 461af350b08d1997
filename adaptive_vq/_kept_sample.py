"""Training rows that an estimator keeps to add others to, but does not take on its way."""

from __future__ import annotations

from typing import Any

from adaptive_vq.sampling import RowSample

__all__ = ["KeepsSample"]


class KeepsSample:
    """What estimators share that learn from a sample of rows, which ``partial_fit`` adds to.

    ``_streams`` says whether ``partial_fit`` was the last to learn; only then do copies, pickles
    and files hold the rows.
    """

    _sample: RowSample | None
    _streams: bool

    def _refuse_lost_sample(self) -> None:
        if self._sample is None:
            raise ValueError(
                "partial_fit can not continue from a pickle, saved file or copy made after fit, "
                "which hold no rows to add to. Use it from the first chunk on: then they do."
            )

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        # A fitted pipeline is sent around; it should not carry its training rows.
        if not state.get("_streams", True):
            state["_sample"] = None
        return state
