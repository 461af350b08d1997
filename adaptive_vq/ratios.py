"""AdaptiveRatioSelector: the second step, which divides the bit budget over the categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from adaptive_vq import _budgets, _reasons
from adaptive_vq._codec_constraints import BITS, LEVELS, UNITS
from adaptive_vq._lost_notes import refuse_lost_note
from adaptive_vq._memory import return_freed
from adaptive_vq._pass_through import PassesThrough
from adaptive_vq._profile import profile_of
from adaptive_vq._rollback import undone_on_error
from adaptive_vq._weight_notes import warn_of_other_weights
from adaptive_vq.annotations import annotate, annotation
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.plan import Goal, Plan, default_budget
from adaptive_vq.planning import plan_from_bits, plan_from_ratios, plan_water_filling
from adaptive_vq.scores import category_scores
from adaptive_vq.sharing import latent_width, parse_ratios, share_bits
from adaptive_vq.strategies import (
    CUTTING,
    MEASURING,
    STRATEGIES,
    check_strategy,
    resample_levels,
    strategy_label,
    strategy_ratios,
)
from adaptive_vq.tables import as_frame, check_table, column_names
from adaptive_vq.units import CodecUnits, resolve_units
from adaptive_vq.weights import (
    check_column_weights,
    learning_rows,
    refuse_single_row,
    settle_column_weights,
)

__all__ = [
    "STRATEGIES",
    "AdaptiveRatioSelector",
    "Plan",
    "default_budget",
    "latent_width",
    "parse_ratios",
    "resample_levels",
    "share_bits",
]

Categories = dict[str, NDArray[np.int64]]

_WIDEST_FILLED = 512
"""Columns of a category beyond which equations for each pattern of missing cells take too long."""


class AdaptiveRatioSelector(CallbackSupportMixin, PassesThrough, BaseEstimator):
    """Divide a budget of bits per row over categories of columns and over levels.

    The table itself passes through unchanged, as a :class:`pandas.DataFrame` with a note that
    carries the plan to the next step.

    Parameters
    ----------
    strategy : str, list or callable, default="rate_distortion"
        Formula strategies turn a category's scores into one compression ratio per level, and the
        ratios into bits, in proportion to latent widths:

        - ``"uniform"``, ``"variance"``, ``"dimensionality"``, ``"information"``, ``"balanced"``;
        - a list with one of these (or a callable) per level;
        - a callable ``(scores, level) -> ratio``.

        The others decide on bits first, the ratios follow:

        - ``"rate_distortion"``: least total error on curves measured on rows kept aside;
        - ``"minimax"``: least error of the worst category on such curves;
        - ``"learned"``: starts as ``"rate_distortion"``; `HierarchicalVQVAE` moves bits between
          categories when it fits;
        - ``"water_filling"``: in closed form, as if every category were Gaussian.
    bits : int, default=None
        Bits per row to spend at most. None means one per column, at least 16, at most 128.
    max_nmse : float, default=None
        Instead of `bits`: spend the least bits predicted to bring the normalized mean squared
        error of the table to this value, between 0 and 1. Strategies that measure plan anew for
        every budget they try, up to 32 bits per column before a value is out of reach.
    n_levels : int, default=3
        Number of levels, coarse to fine.
    scaler : {"auto", "standard", "robust", "quantile"}, None or transformer, default="auto"
        How columns become comparable. ``"auto"`` follows an earlier step, else ``"standard"``.
    clip : tuple of (float, float), None or "auto", default="auto"
        Percentiles at which columns are capped. ``"auto"`` follows an earlier step, else
        ``(0.5, 99.5)``.
    characterizer : FeatureCharacterizer, default=None
        Finds the categories. None takes those of an earlier step, or a default characterizer where
        there is none. A given one replaces these, with a warning, and takes over this estimator's
        `scaler` and `clip` where its own are ``"auto"``.
    column_weights : array-like of shape (n_features,), dict or None, default=None
        How much the squared error of each column counts, in codec units, in the curves and so in
        the bits; a dict holds those that are not 1, by column name. `HierarchicalVQVAE` follows.
        None counts a column as often as a `FeatureCleaner` before it says it stands for, else once.
    cut_tolerance : float or None, default=None
        How much more error than the best cut a finer one may cost and still be taken, as a share;
        None means 0.02. For `rate_distortion`, `minimax` and `learned`, and without effect where
        categories are given. Codes of more categories say more about single columns, to linear
        models above all; 0.25 is a start for these. `cut_errors_` holds what each cut would cost.
    random_state : int, RandomState instance or None, default=None
        Chooses the rows kept aside for measuring; also seeds a default characterizer. None means a
        fixed choice: results are reproducible either way.

    Attributes
    ----------
    categories_ : dict of str to ndarray of int64
        Column positions per category. A measuring strategy may have chosen another of the
        characterizer's candidate cuts.
    ratios_ : dict of str to list of float
        Compression ratio per level, all positive.
    bits_ : dict of str to list of int
        Whole bits per level; their sum is at most `budget_`. A category or level may get none.
    budget_ : int
        Bits per row that may be spent.
    decisions_ : pandas.DataFrame
        One row per category: its scores, ratios, bits, predicted NMSE and a reason in one
        sentence. Predictions are Gaussian for the formula strategies and ``"water_filling"``.
    curves_ : dict of str to ndarray
        NMSE of each category per number of bits; only where it was measured.
    cut_errors_ : dict of int to float
        Predicted NMSE for each number of categories that was measured; only where curves were. Cuts
        much worse than others are left out. Bits are divided for the least total error here, of
        ``"minimax"`` as well: a single category would trivially be its own worst.
    plan_ : Plan
        All of these in one object.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names, if the table had any.

    See Also
    --------
    FeatureCharacterizer : Finds and measures the categories.
    HierarchicalVQVAE : Carries out the plan.

    Notes
    -----
    With fewer than 50 training rows nothing is measured; ``"water_filling"`` stands in and
    `decisions_` says so. A category that takes few distinct values gets no more bits than it takes
    to tell them apart; bits that no category can take stay unspent.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import AdaptiveRatioSelector
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(rng.normal(size=(500, 2)), [5, 3], axis=1) + 0.1 * rng.normal(size=(500, 8))
    >>> selector = AdaptiveRatioSelector("uniform", bits=16).fit(X)
    >>> selector.bits_
    {'cluster_1': [2, 3, 5], 'cluster_2': [1, 2, 3]}
    """

    _parameter_constraints: dict[str, Any] = {
        "strategy": [str, list, tuple, callable],
        "bits": [BITS, None],
        "max_nmse": [Interval(Real, 0, 1, closed="neither"), None],
        "n_levels": [LEVELS],
        **UNITS,
        "characterizer": [HasMethods(["fit", "transform"]), None],
        "column_weights": ["array-like", dict, None],
        "cut_tolerance": [Interval(Real, 0, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        strategy: str | Sequence[Any] | Callable[..., float] = "rate_distortion",
        *,
        bits: int | None = None,
        max_nmse: float | None = None,
        n_levels: int = 3,
        scaler: Any = "auto",
        clip: Any = "auto",
        characterizer: FeatureCharacterizer | None = None,
        column_weights: Any = None,
        cut_tolerance: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.strategy = strategy
        self.bits = bits
        self.max_nmse = max_nmse
        self.n_levels = n_levels
        self.scaler = scaler
        self.clip = clip
        self.characterizer = characterizer
        self.column_weights = column_weights
        self.cut_tolerance = cut_tolerance
        self.random_state = random_state

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    @undone_on_error
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Plan ratios and bits for a table.

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
        AdaptiveRatioSelector
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table is unusable, fewer than two rows have a weight, a parameter is out of
            range, `bits` and `max_nmse` are both given, `max_nmse` is out of reach, a callable
            returns something else than a positive number, or `scaler` or `clip` contradicts an
            earlier step.
        """
        # Steps after this one see through the callback context that it ran in their pipeline.
        context = self._init_callback_context()
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        table = check_table(self, X, reset=True, ensure_min_samples=2)
        refuse_single_row(len(table), sample_weight)
        self._check_parameters()
        if self.characterizer is None:
            refuse_lost_note(context, annotation(X), type(self).__name__)
        note = profile_of(self, X, sample_weight)
        weighted = sample_weight is not None
        # Inside a codec it is that which weights were given to.
        owner = getattr(self, "_told_as", type(self).__name__)
        warn_of_other_weights(note, weighted, owner)
        scaler, clip, units = resolve_units(
            self.scaler, self.clip, note.get("units"), type(self).__name__
        )
        categories = _as_arrays(note["categories"])
        importance = check_column_weights(self.column_weights, column_names(self))
        importance = settle_column_weights(importance, note, type(self).__name__, X)
        table, weight = learning_rows(table, sample_weight)
        units_here = CodecUnits(scaler, clip).fit(
            table, weight, names=column_names(self), column_weights=importance
        )
        Z = units_here.to_codec(table)
        together = _coarsest(self._cuts(note, categories), categories)
        Z = ConditionalMeanImputer().fit(Z, together, weight).transform(Z)
        plan, scores = self._plan(table, Z, categories, note, weight)
        listed = None if importance is None else importance.tolist()
        own = {"units": units, "scores": scores, "column_weights": listed, "weighted": weighted}
        self._keep(plan, {**note, **own})
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        return self

    def transform(self, X: ArrayLike) -> pd.DataFrame:
        """Pass a table through, with a note of the plan.

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
        return annotate(as_frame(X, check_table(self, X, reset=False)), self._note)

    def _check_parameters(self) -> None:
        check_strategy(self.strategy, self.n_levels)
        if self.bits is not None and self.max_nmse is not None:
            raise ValueError(
                f"bits={self.bits} and max_nmse={self.max_nmse:g} both set the budget: give one."
            )
        if self.cut_tolerance is not None and self.strategy not in CUTTING:
            raise ValueError(
                f"cut_tolerance={self.cut_tolerance:g} needs a strategy that measures cuts "
                f"({', '.join(CUTTING)}), not strategy={self.strategy!r}. Leave it None."
            )

    def _plan(
        self,
        table: NDArray[np.float64],
        Z: NDArray[np.float32],
        categories: Categories,
        note: Any,
        weight: NDArray[np.float64] | None,
    ) -> tuple[Plan, dict[str, dict[str, float]]]:
        """Plan, and the scores of its categories, which may be others than those of the note."""
        goal = Goal(self.n_levels, self.bits, self.max_nmse)
        label = strategy_label(self.strategy)
        scores = note["scores"]
        if self.strategy not in MEASURING:
            ratios = {
                name: strategy_ratios(self.strategy, scores[name], self.n_levels, name)
                for name in categories
            }
            return plan_from_ratios(label, ratios, Z, categories, scores, goal, weight), scores
        if self.strategy == "water_filling":
            return plan_water_filling(label, Z, categories, scores, goal, weight=weight), scores
        n_rows = len(Z) if weight is None else int(weight.sum().round())
        if because := _reasons.not_measured(label, Z, n_rows):
            plan = plan_water_filling(label, Z, categories, scores, goal, because, weight)
            return plan, scores
        budget, measured = self._measure(Z, categories, note, goal, weight)
        return_freed()  # measuring leaves holes, which what follows may not fit in
        self.cut_errors_ = measured.cuts
        scores = category_scores(table, measured.categories, weight)
        return plan_from_bits(label, measured, budget, Z, scores, goal, weight), scores

    def _cuts(self, note: Any, categories: Categories) -> list[Categories]:
        """Candidates for categories, the coarsest first; one where they are not to be chosen."""
        if self.strategy not in CUTTING or not _may_cut(note):
            return [categories]
        return [_as_arrays(cut) for cut in note["cuts"]]

    def _measure(
        self,
        Z: NDArray[np.float32],
        categories: Categories,
        note: Any,
        goal: Goal,
        weight: NDArray[np.float64] | None,
    ) -> tuple[int, Any]:
        """Measure curves at the budget, or at the smallest one predicted to reach the target."""
        # Loads torch, which the formula strategies do without.
        from adaptive_vq.curves import CUT_TOLERANCE, measure

        cuts = self._cuts(note, categories)
        most = note.get("most_alone", 0) if _may_cut(note) else 0
        objective = "minimax" if self.strategy == "minimax" else "total"
        seed = 0
        if self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

        tolerance = CUT_TOLERANCE if self.cut_tolerance is None else self.cut_tolerance

        def at(budget: int) -> Any:
            own = budget, objective, self.n_levels, seed
            return measure(Z, cuts, *own, weight, tolerance, most)

        if goal.max_nmse is None:
            budget = goal.budget(Z.shape[1])
            return budget, at(budget)
        return _budgets.smallest_measured(at, Z, weight, goal, objective == "minimax")

    def _keep(self, plan: Plan, note: dict[str, Any]) -> None:
        self.plan_ = plan
        self.categories_ = plan.categories
        self.ratios_ = plan.ratios
        self.bits_ = plan.bits
        self.budget_ = plan.budget
        self.decisions_ = plan.decisions_frame()
        if plan.curves is not None:
            self.curves_ = plan.curves
        else:
            for of_earlier_fit in ("curves_", "cut_errors_"):
                self.__dict__.pop(of_earlier_fit, None)
        self._note = {
            **note,
            "by": [*note.get("by", []), type(self).__name__],
            "categories": {name: c.tolist() for name, c in plan.categories.items()},
            "plan": plan.to_note(),
        }


def _coarsest(cuts: list[Categories], otherwise: Categories) -> Categories:
    """Coarsest cut to fill missing cells by, of categories that are not too wide for that.

    What finer ones know less of would count as error where their columns are coded together.
    """
    widths = (max(map(len, cut.values())) for cut in cuts)
    narrow = (cut for cut, width in zip(cuts, widths, strict=True) if width <= _WIDEST_FILLED)
    return next(narrow, otherwise)


def _may_cut(note: Any) -> bool:
    """Whether categories are still to be chosen among candidates."""
    return bool(not note.get("given") and note.get("cuts"))


def _as_arrays(categories: dict[str, list[int]]) -> Categories:
    return {name: np.asarray(columns, dtype=np.int64) for name, columns in categories.items()}
