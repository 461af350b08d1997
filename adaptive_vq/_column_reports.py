"""What is told of columns that can not be coded as they are: empty, still, or with wild cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from adaptive_vq._alerts import warn
from adaptive_vq._arrays import Bools, Floats
from adaptive_vq._statistics import column_moments, column_quantiles
from adaptive_vq._wording import more_than
from adaptive_vq.units import CodecUnits

__all__ = ["judge_rows_to_learn_from", "report_training_columns", "warn_of_far_cells"]

FAR = 1e6
"""Standard deviations beyond which a cell is told of where no cap holds it back."""
PULLING = 100.0
"""And beyond which a single cell of a chunk moves codewords so far that other rows show it."""
_OWN_ROUNDING = 1e-11
"""Range, as a share of the largest cell, that computing a constant may leave it."""
_EXACT = 2.0**53
"""Up to here whole numbers have no rounding."""
_SINGLE = float(np.finfo(np.float32).eps)
_SHIFTING = ("standard", "robust", None)
_OFF = 0.1
"""Standard deviations that cells may be off after the way to codec units and back."""
_CENTRAL = np.array([0.01, 0.99])
_MOST_ROWS = 10_000
_SHOWN = 5


def report_training_columns(units: CodecUnits, table: Floats) -> None:
    """Warn of training columns that are empty, all constant, or lost on the way to codec units.

    Parameters
    ----------
    units : CodecUnits
        Fitted on the table.
    table : ndarray of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        If no column has an observed cell.
    """
    if units.empty_.all():
        raise ValueError("X has no observed cell: every column is missing in every row.")
    for told in _columns_told(units, table):
        warn(told)


def _columns_told(units: CodecUnits, table: Floats) -> Iterator[str]:
    if units.empty_.any():
        yield (
            f"Columns {_named(units, units.empty_)} have no observed cell in the training rows: "
            "they spend no bits and decode to 0."
        )
    still = _still(units, table)
    if still.any():
        yield (
            f"Columns {_named(units, still)} vary by less than 1e-10 of their level, or have no "
            "cell beyond 1e-290: that counts as rounding, and they decode to a constant. Subtract "
            "their mean, or rescale them, before."
        )
    elif not units.variance_.any() and not _ranks_differ(units):
        low, high = np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0)
        differ = units.scaler in _SHIFTING and bool((low < high).any())
        how = "differ by more than rounding: subtract the mean before" if differ else "differ"
        yield (
            "No column of X varies in the training rows: the codec has no codes and spends 0 bits, "
            f"and every row decodes to the same one. Give rows that {how}."
        )
    turned = _not_led_back(units, table)
    if turned.any():
        scaler = " ".join(repr(units.scaler).split())
        yield (
            f"Columns {_named(units, turned)} do not come back with scaler={scaler}: on "
            "the way to codec units (float32) and back alone, cells move by more than a tenth of a "
            "standard deviation. Decoded rows have that error, and score, which compares in codec "
            "units, does not count it. Use a scaler that centers, and whose inverse_transform "
            "undoes its transform."
        )
    lost = _lost(units, table)
    if lost.any():
        yield (
            f"Columns {_named(units, lost)} have cells so far out that all others are alike beside "
            f"them: without caps (clip=None), 98 % lie within 1/{FAR:,.0f} of a standard "
            "deviation, which float32 hardly tells apart. Set clip=(0.5, 99.5), or drop such rows."
        )


def warn_of_far_cells(units: CodecUnits, Z: NDArray[np.float32]) -> None:
    """Warn of rows to be coded that no codeword can be near to.

    Parameters
    ----------
    units : CodecUnits
    Z : ndarray of shape (n_samples, n_features)
        Rows in its units.
    """
    far = _far(units, Z, FAR)
    if far.any():
        warn(
            f"{_far_told(units, far, FAR)}: their codes say no more than that, and they carry all "
            f"of an error. {_way_out(units)}"
        )


def judge_rows_to_learn_from(units: CodecUnits, Z: NDArray[np.float32]) -> None:
    """Refuse rows that would draw codewords away from all others, and tell of those that draw some.

    Of columns that the caps would make constant, such as rare flags, nothing is told: they are as
    far out by what they are, and no other caps would help.

    Parameters
    ----------
    units : CodecUnits
    Z : ndarray of shape (n_samples, n_features)
        Rows in its units.

    Raises
    ------
    ValueError
        Naming the columns.
    """
    far = _far(units, Z, FAR)
    if far.any():
        raise ValueError(
            f"{_far_told(units, far, FAR)}: partial_fit would draw codewords away from all other "
            f"rows. {_way_out(units)}"
        )
    if units.clip is not None:
        return
    pulling = _far(units, Z, PULLING)
    if pulling.any():
        warn(
            f"{_far_told(units, pulling, PULLING)}: partial_fit draws codewords to them, and other "
            f"rows are coded worse. {_way_out(units)}"
        )


@np.errstate(under="ignore")
def _still(units: CodecUnits, table: Floats) -> Bools:
    """Columns that count as constant, but whose cells differ by more than rounding of their own."""
    if units.scaler not in _SHIFTING:  # others look at ranks, or at what they like
        return np.zeros(table.shape[1], dtype=bool)
    still = np.flatnonzero((units.variance_ == 0) & ~units.empty_)
    cells = table[:, still]
    low, high = np.fmin.reduce(cells, axis=0), np.fmax.reduce(cells, axis=0)
    level = np.maximum(np.abs(low), np.abs(high))
    whole = ((cells == np.rint(cells)) | np.isnan(cells)).all(axis=0) & (level < _EXACT)
    found = np.zeros(table.shape[1], dtype=bool)
    found[still] = (high > low) & (whole | (high - low > _OWN_ROUNDING * level))
    return found


def _ranks_differ(units: CodecUnits) -> bool:
    """Whether ranks tell cells apart that differ by no more than rounding of their level."""
    return units.scaler == "quantile" and bool((units.quantiles_[0] < units.quantiles_[-1]).any())


@np.errstate(under="ignore")
def _not_led_back(units: CodecUnits, table: Floats) -> Bools:
    """Columns that the way to codec units and back changes, without any code in between."""
    if isinstance(units.scaler, str):  # our own center in float64, and have an inverse
        return np.zeros(table.shape[1], dtype=bool)
    capped = np.clip(_some(table), units.lower_, units.upper_)
    try:
        off = units.from_codec(units.to_codec(capped)) - capped
    except ValueError:  # there is no inverse at all, which decoding tells
        return np.zeros(table.shape[1], dtype=bool)
    _, spread, _ = column_moments(capped, None)
    error = np.sqrt(np.nan_to_num(column_moments(off**2, None)[0]))
    return np.asarray(error > _OFF * spread) & (spread > 0.0)


def _some(table: Floats) -> Floats:
    """Rows that stand for all."""
    return table[:: max(1, -(-len(table) // _MOST_ROWS))]


@np.errstate(under="ignore")
def _lost(units: CodecUnits, table: Floats) -> Bools:
    """Columns of which most cells vary, but next to nothing beside their standard deviation."""
    if units.clip is not None or units.scaler not in _SHIFTING:
        return np.zeros(table.shape[1], dtype=bool)
    low, high = np.nan_to_num(column_quantiles(_some(table), None, _CENTRAL))
    spread = np.sqrt(units.variance_) * units.scale_
    return (high > low) & ((high - low) * FAR < spread)


def _far(units: CodecUnits, Z: NDArray[np.float32], limit: float) -> Bools:
    """Columns with cells that are far out and not capped."""
    if units.clip is not None and not units.uncapped_.any():
        return np.zeros(Z.shape[1], dtype=bool)
    spread = np.where(units.variance_ > 0, np.sqrt(units.variance_), 1.0)
    # A large level is rounded in float32, by more than 1e6 beyond 1e13.
    room = limit * spread + _SINGLE * np.abs(units.reference_)
    low, high = units.reference_ - room, units.reference_ + room
    with np.errstate(invalid="ignore"):  # missing cells are nowhere
        beyond = ((low > Z) | (high < Z)).any(axis=0)
    return np.asarray(beyond & (units.uncapped_ | (units.clip is None)))


def _far_told(units: CodecUnits, columns: Bools, limit: float) -> str:
    return (
        f"Columns {_named(units, columns)} have cells more than {limit:,.0f} standard deviations "
        "from their training mean, which no cap holds back"
    )


def _way_out(units: CodecUnits) -> str:
    if units.clip is None:
        return "Set clip=(0.5, 99.5) and fit anew, or drop such rows."
    return f"Drop such rows: clip={units.clip} would leave these columns constant in training."


def _named(units: CodecUnits, columns: Bools) -> str:
    names = [units.names_[j] for j in np.flatnonzero(columns)]
    return f"{names[:_SHOWN]}{more_than(_SHOWN, len(names))}"
