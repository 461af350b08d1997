"""Who decides the units: the first estimator of a pipeline that runs, or the user."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from adaptive_vq._wording import counted

AUTO_SCALER = "standard"
AUTO_CLIP = (0.5, 99.5)

Clip = tuple[float, float] | None

_PROBED = 100  # rows that an inverse is tried on
_SCALERS = ("standard", "robust", "quantile")


def resolve_units(
    scaler: Any, clip: Any, note_units: dict[str, Any] | None, owner: str
) -> tuple[Any, Clip, dict[str, Any]]:
    """Settle `scaler` and `clip` between an estimator and the steps before it.

    Parameters
    ----------
    scaler : {"auto", "standard", "robust", "quantile"}, None or transformer
        The owner's parameter.
    clip : "auto", (low, high) or None
        The owner's parameter: training percentiles to cap at.
    note_units : dict or None
        What an earlier step settled (the third value returned there).
    owner : str
        Class name of the estimator that asks, for messages.

    Returns
    -------
    scaler : str, None or transformer
        The note's value for ``"auto"``, or :data:`AUTO_SCALER` without a note.
    clip : tuple of two floats, or None
        Likewise, or :data:`AUTO_CLIP`.
    note : dict
        JSON values: ``scaler``, ``clip``, ``explicit`` (was either set by a user), ``given`` (which
        was set by which class) and ``by``. A transformer is noted as ``"custom"`` and its ``repr``.

    Raises
    ------
    ValueError
        If a value is no scaler or no pair of percentiles, if it differs from one set explicitly in
        an earlier step, or if it is ``"auto"`` after a transformer, which a note cannot carry.

    Examples
    --------
    >>> from adaptive_vq.units import resolve_units
    >>> scaler, clip, note = resolve_units("robust", "auto", None, "AdaptiveRatioSelector")
    >>> resolve_units("auto", "auto", note, "HierarchicalVQVAE")[:2]
    ('robust', (0.5, 99.5))
    """
    note = dict(note_units or {})
    given = dict(note.get("given") or {})
    if note.get("explicit") and not given:
        given = dict.fromkeys(("scaler", "clip"), note["by"])
    owned = [key for key, value in (("scaler", scaler), ("clip", clip)) if not is_auto(value)]
    scaler, portable, text = _settle_scaler(scaler, note, given, owner)
    clip = _settle_clip(clip, note, given, owner)
    given |= {key: given.get(key, owner) for key in owned}
    settled = {
        "scaler": portable,
        "clip": None if clip is None else list(clip),
        "explicit": bool(given),
        "given": given,
        "by": owner if owned or not note else note["by"],
    }
    return scaler, clip, settled if text is None else {**settled, "repr": text}


def is_auto(value: Any) -> bool:
    """Whether a parameter, which may be an array, is ``"auto"``."""
    return isinstance(value, str) and value == "auto"


def follow_units(nested: Any, around: Any) -> list[str]:
    """Let what is automatic of a nested estimator's units be that of the one around it.

    Returns the parameters that follow.
    """
    follows = [key for key in ("scaler", "clip") if is_auto(getattr(nested, key, None))]
    # A subclass need not have all of its parameters in its own signature, as set_params asks for.
    for key in follows:
        setattr(nested, key, getattr(around, key))
    return follows


def _settle_scaler(
    scaler: Any, note: dict[str, Any], given: dict[str, str], owner: str
) -> tuple[Any, str | None, str | None]:
    """Return the scaler, what a note can carry of it, and the repr of a transformer."""
    if is_auto(scaler):
        if note.get("scaler") == "custom":
            raise ValueError(
                f"{note['by']} uses scaler={note['repr']}, a transformer, which does "
                f"not travel to later steps: set the same scaler on {owner} too."
            )
        value = note.get("scaler", AUTO_SCALER)
        return value, value, None
    check_scaler(scaler)
    custom = not (scaler is None or isinstance(scaler, str))
    text = _stable_repr(scaler) if custom else None
    portable = "custom" if custom else scaler
    if "scaler" in given and (portable, text) != (note.get("scaler"), note.get("repr")):
        before = note.get("repr", repr(note.get("scaler")))
        _refuse_conflict("scaler", owner, text or repr(scaler), given["scaler"], before)
    return scaler, portable, text


def _settle_clip(clip: Any, note: dict[str, Any], given: dict[str, str], owner: str) -> Clip:
    before = note.get("clip", AUTO_CLIP)
    if is_auto(clip):
        return check_clip(before)
    settled = check_clip(clip)
    if "clip" in given and settled != check_clip(before):
        _refuse_conflict("clip", owner, settled, given["clip"], before)
    return settled


def _refuse_conflict(key: str, owner: str, value: Any, earlier: str, before: Any) -> None:
    raise ValueError(
        f"{owner} has {key}={value}, but {earlier} before it has {key}={before}: figures in "
        f"different units cannot be compared. Set {key} in one of the two and leave the other "
        "at 'auto'."
    )


def _stable_repr(scaler: Any) -> str:
    """Return a repr without memory addresses, so that a clone counts as the same."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(scaler))


def check_scaler(scaler: Any) -> None:
    """Refuse what is neither the name of a scaler, None nor a transformer."""
    if scaler is None or (isinstance(scaler, str) and scaler in _SCALERS):
        return
    if isinstance(scaler, str):
        near = get_close_matches(scaler, (*_SCALERS, "auto"), n=1, cutoff=0.0)
        raise ValueError(
            f"scaler={scaler!r} is not known; did you mean {near[0]!r}? Use 'auto', 'standard', "
            "'robust', 'quantile', None or a transformer."
        )
    missing = [
        name for name in ("fit", "transform", "inverse_transform") if not hasattr(scaler, name)
    ]
    if missing or isinstance(scaler, type):
        raise ValueError(
            f"scaler={scaler!r} is no instance with fit, transform and inverse_transform; use one, "
            "or 'auto', 'standard', 'robust', 'quantile' or None."
        )


def check_clip(clip: Any) -> Clip:
    """Return two percentiles as floats, or None."""
    if clip is None:
        return None
    try:
        low, high = (float(edge) for edge in clip)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not 0.0 <= low < high <= 100.0:
        raise ValueError(
            f"clip={clip!r} must be two percentiles 0 <= low < high <= 100, None or 'auto'."
        )
    if high <= 1.0:
        raise ValueError(
            f"clip={clip!r} caps nearly all cells at the lowest percent. Percentiles go from 0 to "
            f"100: did you mean ({100 * low:g}, {100 * high:g})?"
        )
    return low, high


def refuse_other_columns(X: Any, names: list[str]) -> None:
    """Refuse rows that have more or fewer columns than the units, or a frame in another order."""
    if X.shape[1] != len(names):
        raise ValueError(f"X has {counted(X.shape[1], 'column')}; these units are of {len(names)}.")
    given = [str(name) for name in getattr(X, "columns", ())]
    # Other names may be those of a table that was fitted without any.
    if given and given != names and sorted(given) == sorted(names):
        raise ValueError("X has the columns of these units in another order than in the fit.")


def fit_transformer(
    scaler: Any, X: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[Any, NDArray[Any]]:
    """Fit a copy of a transformer given as scaler; return it, and what it makes of the rows.

    Raises
    ------
    ValueError
        If it fails, takes no weights where there are some, or does not keep the columns, also on
        the way back.
    """
    fitted, arguments = clone(scaler), {}
    if weight is not None:
        if not has_fit_parameter(fitted, "sample_weight"):
            raise ValueError(f"scaler={scaler!r} takes no sample_weight; use another scaler.")
        arguments = {"sample_weight": weight}
    # Arrays in, arrays out, whatever the global output setting says.
    if hasattr(fitted, "set_output"):
        fitted.set_output(transform="default")
    try:
        Z = np.asarray(fitted.fit(X, **arguments).transform(X))
    except Exception as error:  # whatever a foreign object raises
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"scaler={scaler!r} fails on the capped training rows, or on the way back from them "
            f"({reason}). It must let NaN through, keep rows and columns, and have an inverse."
        ) from error
    if Z.shape != X.shape or Z.dtype.kind not in "biuf":
        raise ValueError(
            f"scaler={scaler!r} turned {X.shape[1]} columns into an array of shape {Z.shape}, "
            f"{Z.dtype}; it must keep the columns and return real numbers."
        )
    _refuse_other_way_back(scaler, fitted, Z[:_PROBED])
    return fitted, Z


def _refuse_other_way_back(scaler: Any, fitted: Any, Z: NDArray[Any]) -> None:
    """Refuse an inverse that gives another table, which only decoding would come upon."""
    try:
        # What is decoded has no missing cell.
        undone = np.asarray(fitted.inverse_transform(np.nan_to_num(Z)))
    except Exception:  # of some rows there may be none, which those that are decoded tell
        return
    if undone.shape != Z.shape or undone.dtype.kind not in "biufO":
        raise ValueError(
            f"scaler={scaler!r} turned {Z.shape[1]} columns back into an array of shape "
            f"{undone.shape}, {undone.dtype}, of {len(Z)} rows: its inverse_transform must keep "
            "rows and columns, and return real numbers."
        )
