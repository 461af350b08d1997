"""Caps and scaling: a table in its own units <-> codec units.

Every score, curve, error and loss of the library is measured in codec units. Two things live here:
who decides them (:func:`resolve_units`) and the map itself (:class:`CodecUnits`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptive_vq._arrays import Bools, Floats, Ints
from adaptive_vq._normal_quantiles import from_normal, to_normal
from adaptive_vq._statistics import (
    center_and_scale,
    column_moments,
    column_quantiles,
    flattened,
    outside_limits,
    roots_of,
    weighted_rows,
)
from adaptive_vq._unit_choice import (
    AUTO_CLIP,
    AUTO_SCALER,
    Clip,
    check_clip,
    check_scaler,
    fit_transformer,
    refuse_other_columns,
    resolve_units,
)

__all__ = ["AUTO_CLIP", "AUTO_SCALER", "CodecUnits", "resolve_units"]

_ARRAYS = ("lower", "upper", "center", "scale", "reference", "variance", "empty", "uncapped")
_N_QUANTILES = 1000
_CELLS_AT_ONCE = 1 << 20  # cells of a large table that are copied at a time
_STILL = 1e-20  # variance in codec units, as by next to no weight, that rounding hides when decoded
_ROUNDING = 1e-3  # what a network of float32 may add to such a column, or to a constant one
_OF_FLOAT32 = 1e-6
OWN_SCALES = ("standard", "robust", "quantile")
_WIDEST = 1e15  # spread in codec units, and smallest one inverse
_LARGEST = 1e150  # the square of more does not fit into float64


class CodecUnits:
    """Map between a table's own units and codec units: cap, then scale, each column for itself.

    Parameters
    ----------
    scaler : {"standard", "robust", "quantile"}, None or transformer, default="standard"
        ``"standard"``: mean and standard deviation of the capped column. ``"robust"``: median and
        1.4826 x median absolute deviation (MAD); the standard deviation where that is below a
        thousandth of it, as in a column that is mostly one value. ``"quantile"``: ranks
        to normal quantiles (at most 1000 training quantiles, the middle rank for ties), then
        standardized, so that columns with many ties count no more than others. None: as they are. A
        transformer is cloned; it must keep the number of columns and let NaN through.
    clip : (low, high) or None, default=(0.5, 99.5)
        Percentiles of the training rows that cells are capped at.

    Attributes
    ----------
    lower_, upper_ : ndarray of shape (n_features,)
        Caps in the table's units; -inf and inf where there are none.
    reference_, variance_ : ndarray of shape (n_features,)
        Mean and variance of the capped training column in codec units over observed cells.
    empty_ : ndarray of bool of shape (n_features,)
        Columns without an observed training cell. They have no units: their cells count as missing
        later too, and they decode to 0.
    uncapped_ : ndarray of bool of shape (n_features,)
        Columns that the caps would have left one value, so theirs are not applied.

    Notes
    -----
    Statistics are in float64 and free of units: a column multiplied by any factor that keeps it
    between 1e-290 and 1e150 has the same codec units (which is why ``"quantile"`` is not built on
    :class:`~sklearn.preprocessing.QuantileTransformer`: it takes cells within 1e-7 of the ends for
    the ends). A column whose spread is below 1e-10 of its level is constant up to rounding: it is
    centered, divided by its level where that is above 1, and decodes to its mean unless later rows
    (``partial_fit``) have moved it.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.units import CodecUnits
    >>> X = np.array([[1e-9, 1e9], [3e-9, 3e9]])
    >>> units = CodecUnits(clip=None).fit(X)
    >>> units.to_codec(X)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    >>> bool(np.allclose(units.from_codec(units.to_codec(X)), X))
    True
    """

    lower_: Floats
    upper_: Floats
    center_: Floats
    scale_: Floats
    reference_: Floats
    variance_: Floats
    empty_: Bools
    uncapped_: Bools

    def __init__(self, scaler: Any = AUTO_SCALER, clip: Clip = AUTO_CLIP) -> None:
        self.scaler = scaler
        self.clip = clip

    def __repr__(self) -> str:
        return f"{type(self).__name__}(scaler={self.scaler!r}, clip={self.clip})"

    def fit(
        self,
        X: Floats,
        sample_weight: ArrayLike | None = None,
        *,
        names: list[str] | None = None,
        column_weights: Floats | None = None,
    ) -> CodecUnits:
        """Learn caps and scales from training rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features), float64
            NaN marks missing cells.
        sample_weight : array-like of shape (n_samples,), optional
            Whole numbers count rows exactly; others are first rescaled to a mean of one.
        names : list of str, optional
            Column names for messages.
        column_weights : ndarray of shape (n_features,), optional
            Weight of each column's squared error, relative to their mean; codec units are scaled by
            the square roots, so that all that is measured in codec units follows.

        Returns
        -------
        CodecUnits
            This object.

        Raises
        ------
        ValueError
            For cells beyond 1e150, bad weights, or a transformer that takes no weights, changes the
            number of columns or returns other than finite numbers.
        """
        check_scaler(self.scaler)
        clip = check_clip(self.clip)
        self.names_ = list(names) if names else [f"x{j}" for j in range(X.shape[1])]
        X, weight = weighted_rows(np.asarray(X, dtype=np.float64), sample_weight)
        roots = np.ones(X.shape[1]) if column_weights is None else roots_of(column_weights)
        n_blocks = math.ceil(X.size / _CELLS_AT_ONCE)
        if self._kind() == "custom" or n_blocks < 2 or X.shape[1] < 2:
            self._fit_columns(X, weight, clip, roots)
        else:
            self._fit_blocks(X, weight, clip, roots, n_blocks)
        return self

    def _fit_blocks(
        self, X: Floats, weight: Floats | None, clip: Clip, roots: Floats, n_blocks: int
    ) -> None:
        """Fit columns block by block: copies of a large table would be as large."""
        blocks = []
        for columns in np.array_split(np.arange(X.shape[1]), min(n_blocks, X.shape[1])):
            block = CodecUnits(self.scaler, self.clip)
            block.names_ = [self.names_[j] for j in columns]
            block._fit_columns(X[:, columns], weight, clip, roots[columns])
            blocks.append(block)
        for name in (*_ARRAYS, *(["quantiles", "mean"] if self._kind() == "quantile" else [])):
            parts = [getattr(block, f"{name}_") for block in blocks]
            setattr(self, f"{name}_", np.concatenate(parts, axis=-1))

    def _fit_columns(self, X: Floats, weight: Floats | None, clip: Clip, roots: Floats) -> None:
        self._refuse(np.abs(X) > _LARGEST, "cells beyond 1e150; their squares overflow. Rescale it")
        self.empty_ = np.asarray(np.isnan(X).all(axis=0))
        self._fit_caps(X, weight, clip)
        self._fit_scaler(self._cap(X), weight)
        self.scale_ = self.scale_ / roots
        Z = self._scaled(self._cap(X))
        self._refuse(np.isinf(Z), "no finite value after scaling. Rescale it")
        self.reference_, spread, _ = column_moments(Z, weight)
        # What does not vary has no spread, also where its units leave it some rounding.
        mean, _, constant = column_moments(self._cap(X), weight)
        spread[constant] = 0.0
        if self._kind() in ("quantile", "custom"):  # of others it follows from the one above
            self.mean_ = mean
        wild = (spread > 0.0) & ((spread < 1.0 / _WIDEST) | (spread > _WIDEST))
        what = "a spread that float32 cannot square. Use scaler='standard', or other column_weights"
        self._refuse(wild[None], what)
        self.variance_ = spread**2

    def to_codec(self, X: Floats, cap: bool = True) -> NDArray[np.float32]:
        """Map rows to codec units.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features), float64
            Rows in the table's units; NaN stays NaN.
        cap : bool, default=True
            Whether to cap the cells first.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            NaN in missing cells and in columns that were empty in training.

        Raises
        ------
        ValueError
            If a cell is too large for float32 in codec units, or X has other columns.
        """
        Z = self._as_float32(X, cap)
        self._refuse(np.isinf(Z), "cells too large for float32 in codec units. Cap or rescale it")
        if self._kind() in ("standard", "robust"):  # no bit is to be spent on rounding
            self._flatten(Z, 0.0, _OF_FLOAT32)
        return Z

    def _as_float32(self, X: Floats, cap: bool) -> NDArray[np.float32]:
        """Rows in codec units, infinite where float32 can not hold a cell."""
        refuse_other_columns(X, self.names_)
        Z = np.empty(X.shape, dtype=np.float32)
        step = max(1, _CELLS_AT_ONCE // max(1, X.shape[1]))
        if self._kind() == "custom":  # what it does to a row may depend on the others
            step = max(1, len(X))
        with np.errstate(over="ignore", under="ignore"):
            for start in range(0, len(X), step):
                rows = X[start : start + step]
                Z[start : start + step] = self._scaled(self._cap(rows) if cap else rows.copy())
        Z[:, self.empty_] = np.nan
        return Z

    def targets(self, X: Floats, cap: bool = False) -> Floats:
        """Map rows to what errors in codec units are taken of: as `to_codec`, in float64.

        A cell of a column constant in training is that constant up to rounding of float32. One that
        float32 can not hold, since it was not capped, is what it is; its square must fit.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features), float64
            Rows in the table's units; NaN stays NaN.
        cap : bool, default=False
            Whether to cap the cells first.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64

        Raises
        ------
        ValueError
            For cells beyond 1e150 in codec units, or other columns.
        """
        Z = self._as_float32(X, cap).astype(np.float64)
        beyond = np.isinf(Z)
        if beyond.any():
            exact = self._scaled(self._cap(X) if cap else X.copy())
            Z[beyond] = exact[beyond]
            what = "cells beyond 1e150 in codec units; their squares overflow. Cap or rescale it"
            self._refuse(np.abs(Z) > _LARGEST, what)
        self._flatten(Z, 0.0, _OF_FLOAT32)
        return Z

    def without_rounding(self, Z: ArrayLike) -> Floats:
        """Copy of decoded rows with columns constant in training exactly constant.

        A constant of 1e-12 comes back as such, not as the rounding of the columns beside it; a
        column of next to no weight comes back as its mean.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            Rows in codec units.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
        """
        values = np.array(Z, dtype=np.float64)
        # Of other units all may be small.
        self._flatten(values, _STILL if self._kind() in OWN_SCALES else 0.0, _ROUNDING)
        return values

    def _flatten(self, values: NDArray[Any], still: float, share: float) -> None:
        """Set columns of variance up to `still` to their means where a `share` is all between."""
        for j in np.flatnonzero(self.variance_ <= still):
            level = max(1.0, abs(self.reference_[j]))
            rounding = np.abs(values[:, j] - self.reference_[j]) <= share * level
            values[rounding, j] = self.reference_[j]

    def from_codec(self, Z: ArrayLike) -> Floats:
        """Map rows back to the table's units; empty training columns give 0.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            Rows in codec units.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
        """
        values = self.without_rounding(Z)
        values *= self.scale_
        values += self.center_
        if self._kind() == "custom":
            # Beyond what it has made of training rows it need not have an inverse.
            known = np.clip(values, *getattr(self, "reach_", (-np.inf, np.inf)))  # older pickles
            values = np.array(self.transformer_.inverse_transform(known), dtype=np.float64)
            lost = np.isfinite(known) & ~np.isfinite(values)
            self._refuse(lost, f"no inverse under {self.scaler!r}; use another one")
        elif self._kind() == "quantile":
            values = from_normal(values, self.quantiles_)
        values[:, self.empty_] = 0.0
        return values

    def own_mean(self) -> Floats:
        """Mean of the capped training column over observed cells, in the table's own units.

        Returns
        -------
        ndarray of shape (n_features,), float64
        """
        # Scales that only shift and stretch take the mean with them.
        known = getattr(self, "mean_", None)
        return self.from_codec(self.reference_[None])[0] if known is None else known

    def count_capped(self, X: Floats, weight: Floats | None = None) -> Ints:
        """Count the cells outside the caps, by more than rounding to float32 does.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows in the table's units.
        weight : ndarray of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        ndarray of shape (n_features,), int64
            Sum of the weights, rounded, where there are any.
        """
        outside = outside_limits(X, self.lower_, self.upper_)
        count = outside.sum(axis=0) if weight is None else np.rint(weight @ outside)
        return np.asarray(count, dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """Return the fitted state as JSON values and arrays.

        Returns
        -------
        dict
            For :meth:`from_state`.

        Raises
        ------
        ValueError
            If the scaler is a transformer.
        """
        if self._kind() == "custom":
            raise ValueError(
                f"scaler={self.scaler!r} is a transformer and cannot be stored without pickle. Use "
                "'standard', 'robust', 'quantile' or None, or put it before the codec."
            )
        clip = None if self.clip is None else [float(edge) for edge in self.clip]
        state = {"scaler": self.scaler, "clip": clip, "names": list(self.names_)}
        state |= {name: getattr(self, f"{name}_") for name in _ARRAYS}
        if self._kind() == "quantile":
            state |= {"quantiles": self.quantiles_, "mean": self.own_mean()}
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CodecUnits:
        """Rebuild a fitted object.

        Parameters
        ----------
        state : dict
            What :meth:`state` returned.

        Returns
        -------
        CodecUnits
            Maps exactly like the object that was stored.
        """
        units = cls(state["scaler"], check_clip(state["clip"]))
        units.names_ = [str(name) for name in state["names"]]
        for name in _ARRAYS:
            dtype = np.bool_ if name in ("empty", "uncapped") else np.float64
            setattr(units, f"{name}_", np.asarray(state[name], dtype=dtype))
        for name in {"quantiles", "mean"} & set(state):
            setattr(units, f"{name}_", np.asarray(state[name], dtype=np.float64))
        return units

    def _kind(self) -> str:
        if self.scaler is None:
            return "none"
        return self.scaler if isinstance(self.scaler, str) else "custom"

    def _cap(self, X: Floats) -> Floats:
        return np.clip(X, self.lower_, self.upper_)

    def _scaled(self, X: Floats) -> Floats:
        """Scaled cells; may write into `X`, a table of its own would take as long again."""
        if self._kind() == "custom":
            filled = np.where(self.empty_, 0.0, X)
            X = np.asarray(self.transformer_.transform(filled), dtype=np.float64)
        elif self._kind() == "quantile":
            X = to_normal(X, self.quantiles_)
        with np.errstate(over="ignore", under="ignore"):
            X -= self.center_
            X /= self.scale_
        return X

    def _fit_caps(self, X: Floats, weight: Floats | None, clip: Clip) -> None:
        self.lower_, self.upper_ = np.full((2, X.shape[1]), [[-np.inf], [np.inf]])
        self.uncapped_ = np.zeros(X.shape[1], dtype=bool)
        if clip is None:
            return
        edges = column_quantiles(X, weight, np.array(clip) / 100.0)
        self.uncapped_ = flattened(X, weight, *edges) & ~column_moments(X, weight)[2]
        kept = ~self.uncapped_ & ~self.empty_
        self.lower_[kept], self.upper_[kept] = edges[:, kept]

    def _fit_scaler(self, X: Floats, weight: Floats | None) -> None:
        n_features = X.shape[1]
        self.center_, self.scale_ = np.zeros(n_features), np.ones(n_features)
        kind = self._kind()
        if kind == "custom":
            filled = np.where(self.empty_, 0.0, X)
            self.transformer_, Z = fit_transformer(self.scaler, filled, weight)
            what = f"other missing cells after {self.transformer_!r}"
            self._refuse(np.isnan(Z) != np.isnan(filled), what)
            self.reach_ = np.fmin.reduce(Z, axis=0), np.fmax.reduce(Z, axis=0)
        elif kind == "quantile":
            # A row of weight 2 counts as two rows; weights below 1 do not make rows fewer.
            n_rows = len(X) if weight is None else max(len(X), int(weight.sum()))
            levels = np.linspace(0.0, 1.0, min(_N_QUANTILES, max(2, n_rows)))
            self.quantiles_ = np.where(self.empty_, 0.0, column_quantiles(X, weight, levels))
            self.center_, self.scale_ = center_and_scale("standard", self._scaled(X), weight)
        elif kind != "none":
            self.center_, self.scale_ = center_and_scale(kind, X, weight)

    def _refuse(self, wrong: Bools, what: str) -> None:
        if wrong.any():
            column = self.names_[int(np.flatnonzero(wrong.any(axis=0))[0])]
            raise ValueError(f"Column {column!r} has {what}.")
