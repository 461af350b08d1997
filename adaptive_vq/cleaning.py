"""FeatureCleaner: drop what carries nothing, cap what reaches too far, and be able to go back."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from adaptive_vq._arrays import Bools, Floats, Ints
from adaptive_vq._cleaning_rules import (
    CAP_WIDTH,
    Extent,
    Limits,
    beyond_share,
    choose_caps,
    report,
    useless_columns,
)
from adaptive_vq._kept_sample import KeepsSample
from adaptive_vq._partitions import Partitions
from adaptive_vq._rollback import undone_on_error
from adaptive_vq._statistics import column_moments, column_quantiles
from adaptive_vq._twins import Twin, find_twins, pooled
from adaptive_vq.annotations import note_repeats, warn_of_lost_repeats
from adaptive_vq.sampling import RowSample
from adaptive_vq.tables import check_table, column_names, like_input, like_training

__all__ = ["FeatureCleaner"]

_TWIN_ROWS = 10_000
_MAX_CV = 100.0


class FeatureCleaner(KeepsSample, TransformerMixin, BaseEstimator):
    """Drop useless columns, cap outliers and fill missing cells, as learned from training rows.

    A column is dropped for the first of these reasons that holds: no observed cell, constant, too
    many missing cells, mostly one value, extreme variance, near-duplicate of a column that is kept.
    Every default is free of units: multiplying a column changes nothing.

    Parameters
    ----------
    constant_tolerance : float, default=1e-10
        A column is constant if its cells differ by at most this, relative to the largest of them.
    max_same : float or None, default=None
        Drop columns with a larger share of observed cells equal to one value. None: none.
    max_missing : float or None, default=None
        Drop columns with a larger share of missing cells. None: only those without any other.
    max_variance : float or None, default=None
        Drop columns whose variance, in the units given, exceeds this and whose coefficient of
        variation exceeds `max_cv`. None: none.
    max_cv : float or None, default=None
        Limit for standard deviation / |mean|, used with `max_variance` only; None means 100.
    max_correlation : float or None, default=0.99
        Of two columns with a larger absolute correlation (of the capped cells, over at least ten
        rows where both are observed) one is dropped, if the other has its cells. None: none.
    keep : {"first", "informative"}, default="first"
        Which of two such columns stays: the first (of those with as many cells, to a hundredth of
        the rows), or the one with the larger entropy x interquartile range (in standard deviations)
        x share of observed cells x share of cells that are no outliers.
    caps : {"percentile", "iqr", "mad"} or None, default="percentile"
        How columns are capped, in training and later: at percentiles; at the quartiles minus and
        plus `cap_width` interquartile ranges; at the median minus and plus `cap_width` times
        1.4826 x the median absolute deviation.
    cap_width : float or None, default=None
        Percent cut off on each side, or the factor. None means 0.5, 1.5 or 3.0.
    fill : {"median", "mean"} or None, default=None
        What missing cells get (statistics of the capped training column). None: they stay missing;
        `HierarchicalVQVAE` then fills them from the other columns and leaves them out of its error.

    Attributes
    ----------
    report_ : pandas.DataFrame with columns column, action, reason, value
        What is done to which column and why: ``"dropped"``; ``"capped"`` with the share of training
        cells beyond the caps; ``"not capped"`` where caps would leave a constant; ``"filled"`` with
        the share of missing training cells.
    kept_ : ndarray of int64 of shape (n_features_out,)
        Positions of the columns that stay.
    lower_, upper_ : ndarray of shape (n_features,)
        Caps, -inf and inf where there are none.
    fill_ : ndarray of shape (n_features,)
        Median, or mean for ``fill="mean"``, of the capped training column; NaN without a cell.
    twins_ : dict of int to Twin
        For every dropped near-duplicate its partner and the affine map from it.
    repeats_ : ndarray of int64 of shape (n_features_out,)
        How many training columns each kept one stands for: itself and its dropped near-duplicates.
    n_samples_seen_ : int
        Number of training rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names, if the table had any.

    See Also
    --------
    FeatureCharacterizer : Usually the next step.

    Notes
    -----
    Smallest and largest cell and the number of missing ones are exact over all rows. Quantiles,
    variances, shares of equal cells and correlations come from a sample of at most 65,536 rows
    (fewer beyond 512 columns; correlations: 10,000) that depends on row numbers only. So
    `partial_fit` over any chunks gives the result of one `fit`.

    An error in a column that stands for several comes back in all of them. So `transform` of a
    DataFrame notes `repeats_` on the table it returns, and `AdaptiveRatioSelector` and
    `HierarchicalVQVAE` take them as ``column_weights`` unless others are given (``{}`` counts every
    column once). An array or polars table can carry no note: give ``column_weights=repeats_``.

    Examples
    --------
    >>> import pandas as pd
    >>> from adaptive_vq import FeatureCleaner
    >>> X = pd.DataFrame({"a": [float(i * i) for i in range(20)], "three": 3.0})
    >>> X["twice"] = 2 * X["a"]
    >>> cleaner = FeatureCleaner(caps=None).fit(X)
    >>> cleaner.report_[["column", "action", "reason"]]
      column   action            reason
    0  three  dropped          constant
    1  twice  dropped  duplicate of 'a'
    >>> list(cleaner.transform(X).columns)
    ['a']
    >>> bool((cleaner.inverse_transform(cleaner.transform(X)) - X).abs().max().max() < 1e-9)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        "constant_tolerance": [Interval(Real, 0, 1, closed="left")],
        "max_same": [Interval(Real, 0, 1, closed="both"), None],
        "max_missing": [Interval(Real, 0, 1, closed="both"), None],
        "max_variance": [Interval(Real, 0, None, closed="left"), None],
        "max_cv": [Interval(Real, 0, None, closed="left"), None],
        "max_correlation": [Interval(Real, 0, 1, closed="both"), None],
        "keep": [StrOptions({"first", "informative"})],
        "caps": [StrOptions(set(CAP_WIDTH)), None],
        "cap_width": [Interval(Real, 0, None, closed="left"), None],
        "fill": [StrOptions({"median", "mean"}), None],
    }

    def __init__(
        self,
        *,
        constant_tolerance: float = 1e-10,
        max_same: float | None = None,
        max_missing: float | None = None,
        max_variance: float | None = None,
        max_cv: float | None = None,
        max_correlation: float | None = 0.99,
        keep: str = "first",
        caps: str | None = "percentile",
        cap_width: float | None = None,
        fill: str | None = None,
    ) -> None:
        self.constant_tolerance = constant_tolerance
        self.max_same = max_same
        self.max_missing = max_missing
        self.max_variance = max_variance
        self.max_cv = max_cv
        self.max_correlation = max_correlation
        self.keep = keep
        self.caps = caps
        self.cap_width = cap_width
        self.fill = fill

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @undone_on_error
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn from training rows what to drop, cap and fill.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            At least two rows; NaN marks a missing cell.
        y : None
            Ignored.

        Returns
        -------
        FeatureCleaner
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table is unusable, a cell exceeds 1e150, parameters exclude each other, or no
            column is left.
        """
        array = check_table(self, X, reset=True, ensure_min_samples=2)
        self._begin(array.shape[1])
        self._learn(array)
        self._streams = False
        self._require_columns()
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @undone_on_error
    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Take more rows into account.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            The next rows.
        y : None
            Ignored.

        Returns
        -------
        FeatureCleaner
            The estimator as if fitted on all rows so far.

        Raises
        ------
        ValueError
            As for `fit`; and after `fit` and a pickle, saved file or copy, which do not hold
            the rows to add to (they do after `partial_fit`).
        """
        first = not hasattr(self, "kept_")
        if not first:
            self._refuse_lost_sample()
        array = check_table(self, X, reset=first)
        if first:
            self._begin(array.shape[1])
        else:  # scikit-learn looks at parameters before the first chunk only
            self._validate_params()
            self._check_combinations()
        self._learn(array)
        self._streams = True
        return self

    @property
    def repeats_(self) -> Ints:
        """How many training columns each kept one stands for."""
        check_is_fitted(self)
        return pooled(np.ones(self.n_features_in_, dtype=np.int64), self.kept_, self.twins_)

    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any:
        """Fit, then `transform` the same table.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        ndarray, pandas or polars DataFrame of shape (n_samples, n_features_out), float64
        """
        return warn_of_lost_repeats(self.fit(X).transform(X), self.repeats_)

    def transform(self, X: ArrayLike) -> Any:
        """Drop, cap and fill as learned.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            A table with the training columns.

        Returns
        -------
        ndarray, pandas or polars DataFrame of shape (n_samples, n_features_out), float64
            The same kind of table, with the names (and index) of what is kept; a pyarrow table
            comes back as a pandas DataFrame.
        """
        check_is_fitted(self)
        array = check_table(self, X, reset=False)
        self._require_columns()
        kept = self.kept_
        cells = np.clip(array[:, kept], self.lower_[kept], self.upper_[kept])
        if self.fill is not None:
            cells = np.where(np.isnan(cells), self.fill_[kept], cells)
        output = like_input(X, cells, kept)
        return note_repeats(output, self.repeats_) if isinstance(output, pd.DataFrame) else output

    def inverse_transform(self, X: ArrayLike) -> Any:
        """Give back all training columns.

        Kept columns stay as they are (what was capped or filled stays so). A near-duplicate is
        computed from its partner and capped with its own caps; a column without an observed
        training cell is missing; any other dropped column is its training median, which for a
        constant is its value.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features_out)
            What `transform` returned, or a later step's reconstruction of it.

        Returns
        -------
        ndarray or pandas.DataFrame of shape (n_samples, n_features), float64
            A DataFrame if the training table had names.

        Raises
        ------
        ValueError
            If the columns are not those that `transform` returns.
        """
        check_is_fitted(self)
        cells = self._check_output(X)
        full = np.tile(self._median, (len(cells), 1))
        full[:, self.kept_] = cells
        for column, twin in self.twins_.items():
            restored = twin.restore(full[:, twin.partner])
            full[:, column] = np.clip(restored, self.lower_[column], self.upper_[column])
        return like_training(self, full, X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the names of the columns that are kept.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the training columns; None takes those of `fit`, or ``x0``, ``x1``, ...

        Returns
        -------
        ndarray of str of shape (n_features_out,)
        """
        check_is_fitted(self)
        return np.asarray(_check_feature_names_in(self, input_features))[self.kept_]

    # ------------------------------------------------------------------------------ learning
    def _begin(self, n_features: int) -> None:
        self._check_combinations()
        self._sample = RowSample.empty(n_features, seed=0)
        self._extent = Extent.empty(n_features)

    def _check_combinations(self) -> None:
        """Refuse a parameter that another one makes meaningless."""
        if self.max_cv is not None and self.max_variance is None:
            raise ValueError("max_cv counts only together with max_variance; set both or neither.")
        if self.keep == "informative" and self.max_correlation is None:
            raise ValueError("keep='informative' needs max_correlation; None drops no duplicates.")
        if self.cap_width is not None and self.caps is None:
            raise ValueError("cap_width needs caps; set it to 'percentile', 'iqr' or 'mad'.")
        if self.caps == "percentile" and not 0 <= (self.cap_width or 0) < 50:
            raise ValueError(f"cap_width={self.cap_width} is percent on each side: below 50.")

    def _learn(self, array: Floats) -> None:
        assert self._sample is not None
        extent = Extent.empty(array.shape[1]).add(array)
        extent.refuse_wild(column_names(self))
        self._extent += extent
        sample = self._sample.add(array)
        if np.may_share_memory(sample.rows, array):
            # A reader may fill the same buffer with its next chunk.
            sample = replace(sample, rows=sample.rows.copy())
        self._sample = sample
        self._decide(column_names(self))
        self.n_samples_seen_ = sample.n_seen

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @undone_on_error
    def _fit_drawn(self, partitions: Partitions) -> Self:
        """Fit as on all rows, from those that the sample keeps of them."""
        self._begin(partitions.n_features)
        assert self._sample is not None
        drawn = partitions.draw(self._sample)
        array = check_table(self, drawn.rows, reset=True, ensure_min_samples=2)
        drawn.extent.refuse_wild(column_names(self))
        self._sample, self._extent = drawn.sample(self._sample, array), drawn.extent
        self._decide(column_names(self))
        self.n_samples_seen_ = drawn.n_seen
        self._streams = False
        self._require_columns()
        return self

    def _decide(self, names: list[str]) -> None:
        assert self._sample is not None
        rows = self._sample.rows
        constant = self._extent.constant(self.constant_tolerance)
        self.lower_, self.upper_, flat = choose_caps(rows, constant, self.caps, self.cap_width)
        capped = np.clip(rows, self.lower_, self.upper_)
        self.fill_ = self._typical(capped, constant)
        max_cv = _MAX_CV if self.max_cv is None else self.max_cv
        limits = Limits(self.max_same, self.max_missing, self.max_variance, max_cv)
        dropped = useless_columns(capped, self._median, constant, self._extent, limits)
        rest = np.array([j for j in range(len(names)) if j not in dropped], dtype=np.int64)
        self.twins_: dict[int, Twin] = {}
        if self.max_correlation is not None and rest.size:
            some = np.clip(self._sample.subset(_TWIN_ROWS), self.lower_, self.upper_)
            self.twins_ = find_twins(some, rest, self.max_correlation, self.keep)
        for column, twin in self.twins_.items():
            dropped[column] = (f"duplicate of {names[twin.partner]!r}", twin.correlation)
        self.kept_ = np.array([j for j in rest if j not in self.twins_], dtype=np.int64)
        share = beyond_share(rows, self.lower_, self.upper_)
        missing = self._extent.missing_share()
        self.report_ = report(names, dropped, flat, share, missing, self.caps, self.fill)

    def _typical(self, capped: Floats, constant: Bools) -> Floats:
        """Return what missing cells get; the median also stands for dropped columns."""
        self._median = column_quantiles(capped, None, np.array([0.5]))[0]
        if self.fill != "mean":
            return self._median
        return np.where(constant, self._median, column_moments(capped, None)[0])

    # ---------------------------------------------------------------------------- checking
    def _require_columns(self) -> None:
        if not self.kept_.size:
            reasons = self.report_["reason"].value_counts().to_dict()
            raise ValueError(
                f"No column is left: all {self.n_features_in_} are dropped ({reasons}). "
                "Loosen the limits or give more rows."
            )

    def _check_output(self, X: ArrayLike) -> Floats:
        expected = self.get_feature_names_out()
        probe = BaseEstimator()  # takes the names of any kind of table
        cells = check_table(probe, X, reset=True)
        if cells.shape[1] != len(expected):
            raise ValueError(
                f"X has {cells.shape[1]} columns; transform returns the {len(expected)} columns of "
                "get_feature_names_out()."
            )
        given = getattr(probe, "feature_names_in_", expected)
        if hasattr(self, "feature_names_in_"):
            wrong = [(a, b) for a, b in zip(given, expected, strict=True) if a != b]
            if wrong:
                raise ValueError(
                    f"X has column {wrong[0][0]!r} where transform returns {wrong[0][1]!r}; keep "
                    "the columns of get_feature_names_out() in their order."
                )
        return cells

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
