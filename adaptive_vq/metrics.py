"""Figures and scorers: distortion, balance, codebook use and rate of a codec.

Plain functions take arrays. Scorers are callables ``(estimator, X, y=None, sample_weight=None)``
for ``GridSearchCV(scoring=...)`` and ``cross_val_score``; they accept the codec itself or a
:class:`~sklearn.pipeline.Pipeline` ending in it. Every score is higher-is-better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._distortion import (
    category_nmse,
    gaussian_distortion_rate,
    imbalance,
    reconstruction_nmse,
    row_weights,
)
from adaptive_vq._scorers import (
    balance_scorer,
    codec_of,
    diagnostics_scorer,
    perplexity_scorer,
    quality_scorer,
    rate_distortion_scorer,
    utilization_scorer,
    worst_category_scorer,
)
from adaptive_vq._usage import (
    code_entropy,
    codebook_perplexity,
    codebook_utilization,
    dead_codes,
    rate_bits,
    topographic_similarity,
)

__all__ = [
    "Evaluation",
    "balance_scorer",
    "category_nmse",
    "code_entropy",
    "codebook_perplexity",
    "codebook_utilization",
    "codec_of",
    "dead_codes",
    "diagnostics_scorer",
    "gaussian_distortion_rate",
    "imbalance",
    "perplexity_scorer",
    "quality_scorer",
    "rate_bits",
    "rate_distortion_scorer",
    "reconstruction_nmse",
    "topographic_similarity",
    "utilization_scorer",
    "worst_category_scorer",
]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One pass of a codec over some rows, and the figures that follow from it.

    Parameters
    ----------
    target : ndarray of shape (n, d)
        The rows in codec units, not capped; NaN where a cell is missing.
    output : ndarray of shape (n, d)
        Their reconstruction in codec units, every cell filled.
    reference : ndarray of shape (d,)
        Training mean of each column in codec units.
    codes : ndarray of int of shape (n, m)
        Ordinal codes, one column per codebook.
    categories : dict of str to ndarray of int
        Column indices of each category.
    codebooks : dict of str to (str, int, int)
        For each code column, in order: its name, and category, level and codebook size.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the rows in all figures.

    Raises
    ------
    ValueError
        If shapes do not fit each other, a codebook belongs to an unknown category, or weights are
        negative, not finite or all 0.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.metrics import Evaluation
    >>> run = Evaluation(
    ...     target=np.array([[0.0], [2.0]]),
    ...     output=np.array([[0.5], [2.0]]),
    ...     reference=np.array([1.0]),
    ...     codes=np.array([[0], [1]]),
    ...     categories={"all": np.array([0])},
    ...     codebooks={"all__L0": ("all", 0, 2)},
    ... )
    >>> run.quality, run.bits
    (0.875, 1.0)
    """

    target: Floats
    output: Floats
    reference: Floats
    codes: Ints
    categories: dict[str, Ints]
    codebooks: dict[str, tuple[str, int, int]]
    sample_weight: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        n_rows, n_books = len(self.target), len(self.codebooks)
        if np.shape(self.codes) != (n_rows, n_books):
            raise ValueError(
                f"codes must have one row per row of target and one column per codebook, shape "
                f"({n_rows}, {n_books}); got {np.shape(self.codes)}."
            )
        for name, (category, _, _) in self.codebooks.items():
            if category not in self.categories:
                raise ValueError(
                    f"codebook {name!r} belongs to {category!r}, which is no category; "
                    f"the categories are {list(self.categories)}."
                )
        if self.sample_weight is not None:
            row_weights(self.sample_weight, n_rows)

    @cached_property
    def nmse(self) -> float:
        """NMSE over all observed cells, against the training mean."""
        return reconstruction_nmse(
            self.target,
            self.output,
            reference=self.reference,
            sample_weight=self.sample_weight,
        )

    @property
    def quality(self) -> float:
        """1 - NMSE: 1 is perfect, 0 as good as the training mean."""
        return 1.0 - self.nmse

    @cached_property
    def per_category(self) -> dict[str, float]:
        """NMSE of each category (nan without an observed cell)."""
        return category_nmse(
            self.target,
            self.output,
            self.categories,
            reference=self.reference,
            sample_weight=self.sample_weight,
        )

    @property
    def worst_category(self) -> str:
        """Name of the category with the largest NMSE; of equal ones the first by name."""
        known = {name: error for name, error in self.per_category.items() if not math.isnan(error)}
        return min(known, key=lambda name: (-known[name], name))

    @property
    def worst_quality(self) -> float:
        """1 - NMSE of the worst category; may be far below 0."""
        return 1.0 - self.per_category[self.worst_category]

    @property
    def imbalance(self) -> dict[str, float]:
        """Spread of the NMSE over categories: ``max_min``, ``max_median``, ``gini``."""
        return imbalance(self.per_category)

    @property
    def balance(self) -> float:
        """Minus the worst category's NMSE over the median one: -1 when all are equal."""
        return -self.imbalance["max_median"]

    @property
    def sizes(self) -> Ints:
        """Codewords of each codebook, shape (m,)."""
        return np.array([size for _, _, size in self.codebooks.values()], dtype=np.int64)

    @property
    def bits(self) -> float:
        """Rate in bits per row: sum of log2 of the codebook sizes."""
        return rate_bits(self.sizes)

    @property
    def used_share(self) -> float:
        """Share of all codewords, over all codebooks, that these rows use; nan without codebook."""
        if not self.codebooks:
            return float("nan")
        used = np.rint(self._of_codebooks(codebook_utilization) * self.sizes)
        return 1.0 - float((self.sizes - used).sum() / self.sizes.sum())

    @property
    def perplexity_share(self) -> float:
        """Mean over codebooks of perplexity / size; nan without codebook."""
        if not self.codebooks:
            return float("nan")
        return float(np.mean(self._of_codebooks(codebook_perplexity) / self.sizes))

    @cached_property
    def utilization(self) -> dict[str, float]:
        """Share of used codewords of each codebook."""
        return self._by_codebook(self._of_codebooks(codebook_utilization))

    @cached_property
    def perplexity(self) -> dict[str, float]:
        """Effective number of codewords of each codebook."""
        return self._by_codebook(self._of_codebooks(codebook_perplexity))

    @cached_property
    def entropy(self) -> dict[str, float]:
        """Empirical entropy of each code column, in bits."""
        return self._by_codebook(code_entropy(self.codes, sample_weight=self.sample_weight))

    def _of_codebooks(self, figure: Callable[..., Floats]) -> Floats:
        return figure(self.codes, self.sizes, sample_weight=self.sample_weight)

    def _by_codebook(self, values: Floats) -> dict[str, float]:
        return dict(zip(self.codebooks, values.tolist(), strict=True))
