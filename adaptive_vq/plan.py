"""The plan: one decision on ratios and bits, stored, printed and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Goal", "Plan", "default_budget"]


def default_budget(n_columns: int) -> int:
    """Return the bits per row spent where the user names no budget.

    Parameters
    ----------
    n_columns : int
        Columns of the table.

    Returns
    -------
    int
        One bit per column, at least 16, at most 128.

    Examples
    --------
    >>> from adaptive_vq.plan import default_budget
    >>> [default_budget(k) for k in (3, 58, 1000)]
    [16, 58, 128]
    """
    return min(max(n_columns, 16), 128)


# Beyond this many bits per column a float32 has nothing left to tell.
_MOST_BITS_PER_COLUMN = 32


@dataclass(frozen=True)
class Goal:
    """What a plan has to respect.

    Parameters
    ----------
    n_levels : int
        Levels, coarse to fine.
    bits : int or None
        Budget in bits per row; None for one bit per column (at least 16, at most 128).
    max_nmse : float or None
        Or: total NMSE to be reached with the smallest budget.

    Examples
    --------
    >>> from adaptive_vq.plan import Goal
    >>> Goal(3, None, None).budget(n_columns=58)
    58
    """

    n_levels: int
    bits: int | None = None
    max_nmse: float | None = None

    @property
    def explicit(self) -> bool:
        """Whether the user asked for a budget."""
        return self.bits is not None or self.max_nmse is not None

    def budget(self, n_columns: int) -> int:
        """Return the budget, where it does not depend on a prediction.

        Parameters
        ----------
        n_columns : int
            Columns of the table.

        Returns
        -------
        int
            Bits per row.
        """
        return default_budget(n_columns) if self.bits is None else int(self.bits)

    def limits(self, n_columns: int) -> list[int]:
        """Return budgets within which to look for the smallest one, each twice the one before.

        Parameters
        ----------
        n_columns : int
            Columns of the table.

        Returns
        -------
        list of int
            Bits per row, up to 32 per column.
        """
        last = _MOST_BITS_PER_COLUMN * max(n_columns, 1)
        first = min(default_budget(n_columns), last)
        doublings = int(np.ceil(np.log2(last / first)))
        return [min(first * 2**i, last) for i in range(doublings + 1)]

    def out_of_reach(self, best: float, bits: int) -> ValueError:
        """Return the error for a target that no budget reaches.

        Parameters
        ----------
        best : float
            The least NMSE predicted.
        bits : int
            The budget it takes.

        Returns
        -------
        ValueError
            Naming the parameter.
        """
        return ValueError(
            f"max_nmse={self.max_nmse:g} is out of reach: {bits} bits per row are predicted to "
            f"bring the error to {best:.3g}. Raise max_nmse or give bits."
        )


@dataclass
class Plan:
    """How a bit budget is divided over categories and levels, and why.

    Parameters
    ----------
    strategy : str
        Label of the strategy that made the plan.
    budget : int
        Bits per row that may be spent.
    n_levels : int
        Levels, coarse to fine.
    categories : dict of str to ndarray of int64
        Column indices of each category.
    ratios : dict of str to list of float
        Ratio per level, all positive.
    bits : dict of str to list of int
        Whole bits per level.
    decisions : list of dict
        One per category: ``category``, ``n_columns``, its scores, ``predicted_nmse`` and a
        ``reason``. Ratios and bits are not repeated here, so that they can move.
    curves : dict of str to ndarray or None, default=None
        Where measured: NMSE of the category (its error over its variance) per number of bits.
    explicit_budget : bool, default=False
        Whether the user asked for this budget.
    codebook_bits : dict of str to int, default={}
        Bits of the largest codebook of categories in which larger ones were found to memorize.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.plan import Plan
    >>> plan = Plan(
    ...     "uniform",
    ...     budget=4,
    ...     n_levels=1,
    ...     categories={"a": np.array([0, 1])},
    ...     ratios={"a": [1.0]},
    ...     bits={"a": [4]},
    ...     decisions=[{"category": "a", "n_columns": 2, "predicted_nmse": 0.1, "reason": "..."}],
    ... )
    >>> Plan.from_note(plan.to_note()).bits
    {'a': [4]}
    >>> plan.unspent
    0
    """

    strategy: str
    budget: int
    n_levels: int
    categories: dict[str, NDArray[np.int64]]
    ratios: dict[str, list[float]]
    bits: dict[str, list[int]]
    decisions: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, NDArray[np.float64]] | None = None
    explicit_budget: bool = False
    codebook_bits: dict[str, int] = field(default_factory=dict)

    @property
    def unspent(self) -> int:
        """Bits of the budget that no category can take."""
        return self.budget - sum(sum(levels) for levels in self.bits.values())

    def to_note(self) -> dict[str, Any]:
        """Return the plan as JSON values.

        Returns
        -------
        dict
            What :meth:`from_note` reads.
        """
        return {
            "strategy": self.strategy,
            "budget": int(self.budget),
            "n_levels": int(self.n_levels),
            "categories": {name: _numbers(cols, int) for name, cols in self.categories.items()},
            "ratios": {name: _numbers(levels, float) for name, levels in self.ratios.items()},
            "bits": {name: _numbers(levels, int) for name, levels in self.bits.items()},
            "decisions": [dict(entry) for entry in self.decisions],
            "curves": None
            if self.curves is None
            else {name: _numbers(curve, float) for name, curve in self.curves.items()},
            "explicit_budget": bool(self.explicit_budget),
            "codebook_bits": {name: int(bits) for name, bits in self.codebook_bits.items()},
        }

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Plan:
        """Rebuild a plan from what :meth:`to_note` returned.

        Parameters
        ----------
        note : mapping
            JSON values.

        Returns
        -------
        Plan
            An equal plan that shares nothing with the note.
        """
        curves = note["curves"]
        return cls(
            strategy=note["strategy"],
            budget=note["budget"],
            n_levels=note["n_levels"],
            categories={
                name: np.array(cols, dtype=np.int64) for name, cols in note["categories"].items()
            },
            ratios={name: list(levels) for name, levels in note["ratios"].items()},
            bits={name: list(levels) for name, levels in note["bits"].items()},
            decisions=[dict(entry) for entry in note["decisions"]],
            curves=None
            if curves is None
            else {name: np.array(curve, dtype=np.float64) for name, curve in curves.items()},
            explicit_budget=note["explicit_budget"],
            codebook_bits=dict(note.get("codebook_bits", {})),
        )

    def decisions_frame(self) -> pd.DataFrame:
        """Return the decisions as a table.

        Returns
        -------
        pandas.DataFrame of shape (n_categories, n_scores + 2 * n_levels + 4)
            Index ``category``; columns ``n_columns``, the scores, ``ratio_L0`` .., ``bits_L0`` ..,
            ``bits`` (their sum), ``predicted_nmse`` (of the category, 1 means no better than its
            mean) and ``reason``.
        """
        rows = [self._row(entry) for entry in self.decisions]
        return pd.DataFrame(rows).set_index("category")

    def _row(self, entry: dict[str, Any]) -> dict[str, Any]:
        name = entry["category"]
        last = ("predicted_nmse", "reason")
        row = {key: value for key, value in entry.items() if key not in last}
        row |= {f"ratio_L{level}": ratio for level, ratio in enumerate(self.ratios[name])}
        row |= {f"bits_L{level}": bits for level, bits in enumerate(self.bits[name])}
        row["bits"] = sum(self.bits[name])
        return row | {key: entry[key] for key in last}


def _numbers(values: Any, kind: type) -> list[Any]:
    return [kind(value) for value in values]
