"""Scorers for model selection: one number, or a dict of them, from one pass of a codec.

Private home of the scorers that :mod:`adaptive_vq.metrics` publishes. They see the codec only
through its ``_evaluate(X)``, which returns an :class:`~adaptive_vq.metrics.Evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from adaptive_vq._score_requests import Weighing, weighing
from adaptive_vq.weights import rows_that_count

if TYPE_CHECKING:
    from adaptive_vq.metrics import Evaluation


def chain_of(estimator: Any) -> list[Any]:
    """List the transformers in front of the last step, and the last step itself."""
    if isinstance(estimator, FrozenEstimator):
        return chain_of(estimator.estimator)
    if hasattr(estimator, "best_estimator_"):  # a search, itself judged in nested cross-validation
        return chain_of(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        before = [estimator[:-1]] if len(estimator) > 1 else []
        return before + chain_of(estimator[-1])
    return [estimator]


def is_search(estimator: Any) -> bool:
    """Whether an estimator is a search over parameters, such as GridSearchCV, fitted or not."""
    return hasattr(estimator, "estimator") and hasattr(estimator, "refit")


def without_best(last: Any) -> str:
    """Tell why a search has no best estimator, and what to do; nothing of what is no search.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq._scorers import without_best
    >>> without_best(GridSearchCV(HierarchicalVQVAE(), {"bits": [16, 32]}))
    ' A search has a best estimator once it is fitted: fit it first.'
    """
    if not is_search(last):
        return ""
    if hasattr(last, "cv_results_"):
        return (
            f" With refit={last.refit!r} a search fits no best estimator: fit one with the "
            "parameters that it has chosen, or search with refit=True, or the name of a score."
        )
    return " A search has a best estimator once it is fitted: fit it first."


def codec_of(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Find the codec an estimator ends in, and the table that reaches it.

    Parameters
    ----------
    estimator : fitted codec, or Pipeline ending in one
        Pipelines may be nested or frozen, and either may be the best one of a search.
    X : array-like of shape (n, d)
        Rows as the estimator takes them.

    Returns
    -------
    codec : estimator
        The last step, which has ``_evaluate``.
    X_t : array-like
        `X` after the steps before it.

    Raises
    ------
    TypeError
        If the last step is not a codec, naming its class.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from adaptive_vq.metrics import codec_of
    >>> codec_of(StandardScaler(), [[1.0]])
    Traceback (most recent call last):
    TypeError: this scorer needs a codec such as HierarchicalVQVAE, or a Pipeline ending in one; ...
    """
    *before, codec = chain_of(estimator)
    if not hasattr(codec, "_evaluate"):
        last = codec if isinstance(codec, str) else type(codec).__name__
        raise TypeError(
            "this scorer needs a codec such as HierarchicalVQVAE, or a Pipeline ending in one; "
            f"got {type(estimator).__name__}"
            + ("" if codec is estimator else f" ending in {last}")
            + "."
            + (without_best(codec) or " Score a downstream model with a metric for its own task.")
        )
    for step in before:
        X = step.transform(X)
    return codec, X


def _evaluation(estimator: Any, X: Any, sample_weight: Any) -> Evaluation:
    X, sample_weight = rows_that_count(X, sample_weight)
    codec, table = codec_of(estimator, X)
    run: Evaluation = codec._evaluate(table)
    return run if sample_weight is None else replace(run, sample_weight=sample_weight)


@weighing
def quality_scorer(estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Score by quality: 1 - NMSE over the observed cells.

    Parameters
    ----------
    estimator : fitted codec, or Pipeline ending in one
        What is judged; of a fitted search its best estimator.
    X : array-like of shape (n, d)
        Rows to judge it on, best rows it was not fitted on.
    y : None
        Not used; scorers are called with it.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows: 2 counts as the row twice, 0 as no row. Searches pass on those that
        they are given; with metadata routing, ``quality_scorer.set_score_request(
        sample_weight=True)`` is a scorer that asks for them.

    Returns
    -------
    float
        At most 1; 0 is as good as the training mean.

    Raises
    ------
    TypeError
        If the estimator does not end in a codec.
    ValueError
        If weights are negative, not finite, all 0, or not one per row.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.metrics import quality_scorer
    >>> search = GridSearchCV(HierarchicalVQVAE(), {"bits": [16, 32]}, scoring=quality_scorer)
    """
    return _evaluation(estimator, X, sample_weight).quality


@weighing
def worst_category_scorer(
    estimator: Any, X: Any, y: Any = None, sample_weight: Any = None
) -> float:
    """Score by the quality of the worst category: 1 - its NMSE.

    Parameters and errors are those of :func:`quality_scorer`.

    Returns
    -------
    float
        At most 1; ``-inf`` if a category that never leaves the training mean is not decoded to it.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.metrics import worst_category_scorer
    >>> search = GridSearchCV(
    ...     HierarchicalVQVAE(), {"bits": [16, 32]}, scoring=worst_category_scorer
    ... )
    """
    return _evaluation(estimator, X, sample_weight).worst_quality


@weighing
def balance_scorer(estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Score by balance: minus the ratio of the worst category's NMSE to the median one.

    Good balance can come from making good categories worse: read it beside
    :func:`quality_scorer`. Parameters and errors are those of :func:`quality_scorer`.

    Returns
    -------
    float
        At most -1, which is perfect balance.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.metrics import balance_scorer
    >>> search = GridSearchCV(HierarchicalVQVAE(), {"bits": [16, 32]}, scoring=balance_scorer)
    """
    return _evaluation(estimator, X, sample_weight).balance


@weighing
def utilization_scorer(estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Score by the share of all codewords (over all codebooks) that the rows use.

    n rows cannot use more than n codewords of a codebook, so small validation folds score low.
    Parameters and errors are those of :func:`quality_scorer`.

    Returns
    -------
    float
        In (0, 1]; ``nan`` for a codec without codebooks.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.metrics import utilization_scorer
    >>> search = GridSearchCV(HierarchicalVQVAE(), {"bits": [16, 32]}, scoring=utilization_scorer)
    """
    return _evaluation(estimator, X, sample_weight).used_share


@weighing
def perplexity_scorer(estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Score by how evenly codewords are used: mean over codebooks of perplexity / size.

    Parameters and errors are those of :func:`quality_scorer`.

    Returns
    -------
    float
        In (0, 1]; ``nan`` for a codec without codebooks.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.metrics import perplexity_scorer
    >>> search = GridSearchCV(HierarchicalVQVAE(), {"bits": [16, 32]}, scoring=perplexity_scorer)
    """
    return _evaluation(estimator, X, sample_weight).perplexity_share


@dataclass(frozen=True)
class _RateDistortionScorer(Weighing):
    """A class, not a closure, so that searches can send it to other processes."""

    lmbda: float

    def __call__(self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        run = _evaluation(estimator, X, sample_weight)
        return -(run.nmse + self.lmbda * run.bits)


def rate_distortion_scorer(lmbda: float) -> Callable[..., float]:
    """Make a scorer that trades distortion against rate: -(NMSE + lmbda * bits).

    Parameters
    ----------
    lmbda : float
        Price of one bit per row in NMSE, finite and not negative. 0 compares by quality alone.

    Returns
    -------
    callable
        Scorer ``(estimator, X, y=None, sample_weight=None) -> float``, at most 0; can be pickled.

    Raises
    ------
    ValueError
        If `lmbda` is negative, infinite, NaN or no number (True counts as none).

    Examples
    --------
    >>> from adaptive_vq.metrics import rate_distortion_scorer
    >>> scorer = rate_distortion_scorer(0.001)
    >>> scorer.lmbda
    0.001
    """
    known = isinstance(lmbda, Real) and not isinstance(lmbda, bool)
    if not known or not (math.isfinite(lmbda) and lmbda >= 0):
        raise ValueError(f"lmbda must be finite and not negative; got {lmbda!r}.")
    return _RateDistortionScorer(float(lmbda))


@weighing
def diagnostics_scorer(
    estimator: Any, X: Any, y: Any = None, sample_weight: Any = None
) -> dict[str, float]:
    """Compute every score in one pass, for a multi-metric search.

    Use as ``GridSearchCV(..., scoring=diagnostics_scorer, refit="quality")``. Parameters and errors
    are those of :func:`quality_scorer`.

    Returns
    -------
    dict of str to float
        ``quality``, ``worst_category``, ``balance``, ``utilization`` and ``perplexity``, equal to
        the scorers of these names, and ``bits``: the rate in bits per row, a figure to compare
        candidates at, not a score to select by.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.metrics import diagnostics_scorer
    >>> search = GridSearchCV(
    ...     HierarchicalVQVAE(), {"bits": [16, 32]}, scoring=diagnostics_scorer, refit="quality"
    ... )
    """
    run = _evaluation(estimator, X, sample_weight)
    return {
        "quality": run.quality,
        "worst_category": run.worst_quality,
        "balance": run.balance,
        "utilization": run.used_share,
        "perplexity": run.perplexity_share,
        "bits": run.bits,
    }
