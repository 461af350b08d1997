"""FeatureCharacterizer: the first step, which finds categories of columns and measures them."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from adaptive_vq._category_rules import warn_of_idle_limits
from adaptive_vq._codec_constraints import UNITS
from adaptive_vq._kept_sample import KeepsSample
from adaptive_vq._overlap import warn_of_overlap
from adaptive_vq._partitions import Partitions
from adaptive_vq._pass_through import PassesThrough
from adaptive_vq._rollback import undone_on_error
from adaptive_vq._weighted_sample import Weighted, rows_and_weights, with_weights
from adaptive_vq.annotations import ROLES, annotate, annotation
from adaptive_vq.categories import CategorySet, resolve_categories
from adaptive_vq.column_specs import without_callables
from adaptive_vq.sampling import RowSample
from adaptive_vq.scores import category_profile, category_scores, separation_of
from adaptive_vq.tables import as_frame, check_table, column_names
from adaptive_vq.units import CodecUnits, resolve_units
from adaptive_vq.weights import refuse_single_row

__all__ = ["FeatureCharacterizer", "category_scores"]

#: Clustering and the figures beside the scores look at this many rows of the sample.
PROFILE_ROWS = 10_000


class FeatureCharacterizer(KeepsSample, CallbackSupportMixin, PassesThrough, BaseEstimator):
    """Find categories of columns and measure how compressible each one is.

    The table itself passes through unchanged, as a :class:`pandas.DataFrame` with a note for the
    steps that follow.

    Parameters
    ----------
    categories : str, int, path, dict, list or clusterer, default="auto"
        - ``"auto"``: cluster the columns (Ward on ``1 - |r|``, best silhouette) and hand on nested
          candidate cuts, among which a measuring strategy may choose another;
        - ``"silhouette"``: the same, as a fixed choice; an int: that many clusters;
        - ``"prefix"``: the families of columns called ``family__feature``; ``"prefix_auto"``:
          clusters within each family;
        - a dict from category name to any column specification of
          :class:`~sklearn.compose.ColumnTransformer` (names, ints, slice, mask, callable), or the
          path of a JSON file with one; with `partial_fit`, callables see the first chunk;
        - a list with one label per column (None: unlisted);
        - a scikit-learn clusterer: with ``metric="precomputed"`` it gets ``1 - |r|``, otherwise
          the rows of ``|r|`` as points (a :class:`~sklearn.cluster.FeatureAgglomeration`: the
          table).

        Names of categories are strings without a double underscore.
    scaler : {"auto", "standard", "robust", "quantile"}, None or transformer, default="auto"
        How columns become comparable. ``"auto"`` follows an earlier step, else ``"standard"``.
    clip : tuple of (float, float), None or "auto", default="auto"
        Percentiles at which columns are capped. ``"auto"`` follows an earlier step, else
        ``(0.5, 99.5)``.
    remainder : {"own category", "nearest", "error"}, default="own category"
        What becomes of columns that given categories do not list: a category named
        ``"remainder"``, the most correlated category, or an error naming them.
    min_category_size : int, default=2
        Least number of columns in a category found by clustering; smaller groups join the nearest.
        Up to 2, a measuring strategy may yet code every column alone where they take few values,
        and any column of a table with up to 50, into at most `max_categories`.
    max_categories : int, default=25
        Largest number of categories found by clustering (by ``"prefix_auto"``: within a family), or
        by coding every column alone. Beside categories that are given, or a number of them, it has
        no effect, as `min_category_size` has none beside given ones; a warning says so.
    correlation : {"pearson", "spearman", "mutual_information"}, default="pearson"
        What columns are compared by; mutual information up to 300 columns. The figures in
        `characteristics_` are Pearson's.
    isolate : sequence of str, default=()
        Families of columns that stay categories of their own while the rest is clustered.
    random_state : int, RandomState instance or None, default=None
        Chooses the rows that are looked at when there are more than fit the sample, and seeds a
        clusterer without a seed. None means a fixed choice: results are reproducible either way.

    Attributes
    ----------
    categories_ : dict of str to ndarray of int64
        Sorted column positions per category; every column is in exactly one.
    characteristics_ : pandas.DataFrame of shape (n_categories, 14)
        One row per category: the scores ``variance`` (in the units given), ``dimensionality``,
        ``information`` and ``correlation`` (see `category_scores`); ``n_columns``,
        ``effective_dimension``, ``spectral_entropy``, ``tail_weight``, ``discreteness``,
        ``missing_share`` and ``gaussian_bits`` (see `adaptive_vq.scores.category_profile`);
        ``within``, ``between`` and ``separation`` (see `adaptive_vq.scores.category_separation`).
    cuts_ : list of dict
        Nested candidate categories, coarse to fine, the chosen ones among them; empty if the
        categories were given.
    n_samples_seen_ : int
        Number of rows seen, without those of weight 0.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names, if the table had any.

    See Also
    --------
    AdaptiveRatioSelector : Divides a budget of bits over the categories.

    Notes
    -----
    Everything is computed from a sample of at most 65,536 rows (fewer beyond 512 columns) that is a
    function of row numbers and seed, so `partial_fit` over any chunks gives the result of one
    `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import FeatureCharacterizer
    >>> rng = np.random.default_rng(0)
    >>> factors = rng.normal(size=(500, 2))
    >>> X = np.repeat(factors, 3, axis=1) + 0.1 * rng.normal(size=(500, 6))
    >>> characterizer = FeatureCharacterizer().fit(X)
    >>> {name: columns.tolist() for name, columns in sorted(characterizer.categories_.items())}
    {'cluster_1': [0, 1, 2], 'cluster_2': [3, 4, 5]}
    >>> int(characterizer.characteristics_["n_columns"].sum())
    6
    """

    _parameter_constraints: dict[str, Any] = {
        "categories": "no_validation",
        **UNITS,
        "remainder": [StrOptions({"own category", "nearest", "error"})],
        "min_category_size": [Interval(Integral, 1, None, closed="left")],
        "max_categories": [Interval(Integral, 1, None, closed="left")],
        "correlation": [StrOptions({"pearson", "spearman", "mutual_information"})],
        "isolate": ["array-like", str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        categories: Any = "auto",
        *,
        scaler: Any = "auto",
        clip: Any = "auto",
        remainder: str = "own category",
        min_category_size: int = 2,
        max_categories: int = 25,
        correlation: str = "pearson",
        isolate: Any = (),
        random_state: Any = None,
    ) -> None:
        self.categories = categories
        self.scaler = scaler
        self.clip = clip
        self.remainder = remainder
        self.min_category_size = min_category_size
        self.max_categories = max_categories
        self.correlation = correlation
        self.isolate = isolate
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @undone_on_error
    def fit(
        self, X: npt.ArrayLike, y: Any = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Find and measure the categories of a table.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            At least two rows; NaN marks a missing cell.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative; 2 is the same as the row twice, 0 as no row.

        Returns
        -------
        FeatureCharacterizer
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table is unusable, fewer than two rows have a weight, categories do not fit it,
            or `scaler` or `clip` contradicts an earlier step.
        """
        # Steps after this one see through the callback context that it ran in their pipeline.
        context = self._init_callback_context()
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        array = check_table(self, X, reset=True, ensure_min_samples=2)
        refuse_single_row(len(array), sample_weight)
        self._streams = False
        self._begin(X, array, self._no_rows(array.shape[1]))
        self._learn(array, sample_weight)
        assert self._sample is not None
        # Rows to add to later, whatever becomes of the table. An array of another dtype has been
        # copied already, and rows chosen from many are copies.
        own = isinstance(X, np.ndarray) and X.dtype != array.dtype
        if not own and np.may_share_memory(self._sample.rows, array):
            self._sample = replace(self._sample, rows=self._sample.rows.copy())
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @undone_on_error
    def partial_fit(
        self, X: npt.ArrayLike, y: Any = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Take more rows into account.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            The next rows. Units and column specifications are settled by the first ones.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative; 2 is the same as the row twice, 0 as no row.

        Returns
        -------
        FeatureCharacterizer
            The estimator as if fitted on all rows so far.

        Raises
        ------
        ValueError
            After `fit` and a pickle, saved file or copy, which do not hold the rows to add to
            (they do after `partial_fit`).
        """
        first = not hasattr(self, "categories_")
        if not first:
            self._refuse_lost_sample()
        array = check_table(self, X, reset=first)
        if first:
            self._begin(X, array, self._no_rows(array.shape[1]))
        else:  # scikit-learn looks at parameters before the first chunk only
            self._validate_params()
        # A reader may fill the same buffer with its next chunk.
        self._streams = True
        self._learn(array.copy(), sample_weight)
        return self

    def transform(self, X: npt.ArrayLike) -> pd.DataFrame:
        """Pass a table through, with a note of what was found.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            A table with the training columns.

        Returns
        -------
        pandas.DataFrame of shape (n_samples, n_features)
            The same cells and, for a DataFrame, the same index, columns and dtypes.
        """
        check_is_fitted(self)
        frame = as_frame(X, check_table(self, X, reset=False))
        earlier = annotation(frame) or {}
        # With an earlier plan its writer goes as well: who looks for it is told that it was lost.
        writers = [name for name in earlier.get("by", []) if ROLES.get(name) != "selector"]
        return annotate(frame, {**self._note(), "by": [*writers, type(self).__name__]})

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @undone_on_error
    def _fit_drawn(self, partitions: Partitions) -> Self:
        """Fit as on all rows, from those that the sample keeps of them."""
        empty = self._no_rows(partitions.n_features)
        drawn = partitions.draw(empty)
        array = check_table(self, drawn.rows, reset=True, ensure_min_samples=2)
        self._begin(drawn.rows, array, drawn.sample(empty, array))
        self._streams = False
        self._settle()
        return self

    def _no_rows(self, n_features: int) -> RowSample:
        seed = 0
        if self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return RowSample.empty(n_features, seed)

    def _begin(self, X: Any, array: npt.NDArray[np.float64], sample: RowSample) -> None:
        """Settle what the first rows decide: units and column specifications."""
        frame = as_frame(X, array, copy=False)
        earlier = annotation(frame) or {}
        self._scaler, self._clip, self._units = resolve_units(
            self.scaler, self.clip, earlier.get("units"), type(self).__name__
        )
        self._spec = without_callables(self.categories, frame)
        self._header = frame.iloc[:0].copy()  # a view would keep the whole table
        self._sample, self._weighted = sample, False

    def _learn(self, array: npt.NDArray[np.float64], sample_weight: npt.ArrayLike | None) -> None:
        assert self._sample is not None
        self._sample = with_weights(self._sample, array, sample_weight)
        # Older files that partial_fit goes on from do not say.
        self._weighted = getattr(self, "_weighted", False) or sample_weight is not None
        self._settle()

    def _settle(self) -> None:
        """Find and measure the categories of the rows that have come so far."""
        assert self._sample is not None
        sample, n_features = self._sample, self.n_features_in_
        rows, mass = rows_and_weights(sample.rows, n_features)
        X, weight = rows_and_weights(sample.subset(PROFILE_ROWS), n_features)
        units = CodecUnits(self._scaler, self._clip).fit(rows, mass, names=column_names(self))
        Z = units.to_codec(X).astype(np.float64)
        found = resolve_categories(
            self._spec,
            self._header,
            Z,
            column_names(self),
            remainder=self.remainder,
            min_category_size=self.min_category_size,
            max_categories=self.max_categories,
            random_state=sample.seed,
            correlation=self.correlation,
            isolate=self.isolate,
            sample_weight=weight,
            at_most=self._streams,
        )
        self._measure((rows, mass), (X, weight), Z, found)
        self.n_samples_seen_ = sample.n_seen
        warn_of_idle_limits(self)

    def _measure(
        self,
        rows: Weighted,
        profiled: Weighted,
        Z: npt.NDArray[np.float64],
        found: CategorySet,
    ) -> None:
        self.categories_ = found.categories
        self.cuts_ = found.cuts
        self._given = found.given
        X, weight = profiled
        self._scores = category_scores(rows[0], found.categories, rows[1])
        profile = category_profile(X, Z, found.categories, weight)
        separation = separation_of(Z, found.categories, weight)
        silhouette = isinstance(self.categories, str) and self.categories == "silhouette"
        if found.given and not silhouette:
            warn_of_overlap(separation, self._scores)
        figures = {n: self._scores[n] | profile[n] | separation[n] for n in found.categories}
        table = pd.DataFrame.from_dict(figures, orient="index").drop(columns="neighbor")
        self.characteristics_ = table.rename_axis("category")

    def _note(self) -> dict[str, Any]:
        asked = self.categories if self._streams else None
        if isinstance(asked, Integral) and len(self.categories_) < int(asked):
            raise ValueError(
                f"categories={asked} can not be formed from the {self.n_samples_seen_} rows so "
                f"far, which tell {len(self.categories_)} apart: give more rows to partial_fit."
            )
        # A plan made for other categories would not fit these.
        return {
            "units": self._units,
            "categories": _as_lists(self.categories_),
            "given": self._given,
            "cuts": [_as_lists(cut) for cut in self.cuts_],
            "most_alone": self.max_categories if self.min_category_size <= 2 else 0,
            "scores": self._scores,
            "weighted": getattr(self, "_weighted", None),
            "plan": None,
        }


def _as_lists(categories: dict[str, npt.NDArray[np.int64]]) -> dict[str, list[int]]:
    return {name: columns.tolist() for name, columns in categories.items()}
