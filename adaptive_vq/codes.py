"""The forms codes take: ordinal, one-hot, token, embedding - and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from adaptive_vq._arrays import Ints
from adaptive_vq._foreign_cells import is_arrow, unmasked
from adaptive_vq._wording import counted


def smallest_dtype(largest: int) -> np.dtype[Any]:
    """Smallest unsigned integer type that holds `largest`.

    Examples
    --------
    >>> from adaptive_vq.codes import smallest_dtype
    >>> smallest_dtype(255), smallest_dtype(256)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.min_scalar_type(max(int(largest), 0)))


class CodeTable:
    """Names, sizes and levels of the code columns, and the conversions between the forms of codes.

    Parameters
    ----------
    names : list of str
        One per codebook, in coding order.
    levels : list of int
        Level of each codebook.
    codebooks : list of ndarray of shape (K, width)
        Codewords of each codebook.
    spreads : list of ndarray of shape (K,) or None, default=()
        What later codewords of the same category are multiplied by; None for a codebook of a
        category without spreads, and for the last of each category. None given is None for all.
    """

    def __init__(
        self,
        names: Sequence[str],
        levels: Sequence[int],
        codebooks: Sequence[NDArray[np.float32]],
        spreads: Sequence[NDArray[np.float32] | None] = (),
    ) -> None:
        self.names, self.levels, self.codebooks = list(names), list(levels), list(codebooks)
        self.spreads = list(spreads) or [None] * len(self.codebooks)
        self.sizes = [len(codebook) for codebook in codebooks]

    def prefix(self, n_levels: int) -> list[int]:
        """Positions of the codebooks of the first `n_levels` levels."""
        return [j for j, level in enumerate(self.levels) if level < n_levels]

    def columns(self, encode: str) -> list[str]:
        """Names of the output columns of a form."""
        return [name for j in range(len(self.names)) for name in self._columns_of(j, encode)]

    def _columns_of(self, j: int, encode: str) -> list[str]:
        if encode == "onehot":
            return [f"{self.names[j]}_{k}" for k in range(self.sizes[j])]
        if encode == "embedding":
            return [f"{self.names[j]}_z{i}" for i in range(self.codebooks[j].shape[1])]
        return [self.names[j]]

    def _offsets(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def encode(self, codes: Ints, encode: str, sparse_output: bool) -> Any:
        """Turn ordinal codes (n, m) into a form."""
        if encode == "ordinal":
            return codes.astype(smallest_dtype(max(self.sizes, default=1) - 1))
        if encode == "token":
            return (codes + self._offsets()[:-1]).astype(
                smallest_dtype(max(sum(self.sizes) - 1, 0))
            )
        if encode == "embedding":
            blocks = [
                codebook[codes[:, j]] * self._factor(codes, j)
                for j, codebook in enumerate(self.codebooks)
            ]
            return np.concatenate([np.zeros((len(codes), 0), np.float32), *blocks], axis=1)
        onehot = self._one_hot(codes)
        return onehot if sparse_output else onehot.toarray()

    def _factor(self, codes: Ints, j: int) -> NDArray[np.float32]:
        """What codewords of a codebook are multiplied by, given the codes before (n, 1)."""
        factor = np.ones((len(codes), 1), dtype=np.float32)
        while j > 0 and (spread := self.spreads[j - 1]) is not None:
            j -= 1
            factor *= spread[codes[:, j], None]
        return factor

    def _one_hot(self, codes: Ints) -> sp.csr_matrix:
        n, m = codes.shape
        columns = (codes + self._offsets()[:-1]).ravel()
        starts = np.arange(0, n * m + 1, m) if m else np.zeros(n + 1, dtype=np.int64)
        ones = np.ones(n * m, dtype=np.float32)
        return sp.csr_matrix((ones, columns, starts), shape=(n, int(self._offsets()[-1])))

    def decode(self, given: Any, encode: str, n_levels: int | None, n_all: int) -> tuple[Ints, int]:
        """Ordinal codes (n, m), later levels 0, and the number of levels they cover.

        Raises
        ------
        ValueError
            For a wrong width, other column names, codes out of range, missing or not whole, cells
            that are no numbers, or rows that are not one-hot.
        """
        values = self._cells(given, encode, n_all)
        books, levels = self._covered(values.shape[1], encode, n_levels, n_all)
        codes = np.zeros((values.shape[0], len(self.names)), dtype=np.int64)
        if encode in ("ordinal", "token") and values.dtype.kind in "ui":
            whole = self._plain(values, books, encode)
            if whole is not None:
                codes[:, books] = whole
                codes[:, [j for j in books if self.levels[j] >= levels]] = 0
                return codes, levels
        start = 0
        wanted = set(self.prefix(levels))
        for j in books:
            end = start + len(self._columns_of(j, encode))
            if j in wanted:
                block = values[:, start:end]
                if encode == "embedding":
                    codes[:, j] = self._nearest(block, j, self._factor(codes, j))
                else:
                    codes[:, j] = self._column(block, j, encode)
            start = end
        return codes, levels

    def _cells(self, given: Any, encode: str, n_all: int) -> Any:
        """Columns in coding order, as an array or sparse matrix."""
        if is_arrow(given):
            given = given.to_pandas()
        if isinstance(given, pd.DataFrame) and given.columns.equals(pd.RangeIndex(given.shape[1])):
            given = given.to_numpy()  # numbered only: not named
        elif isinstance(given, pd.DataFrame) or hasattr(given, "get_columns"):  # pandas, polars
            given = self._by_name(given, encode, n_all)
        values: Any = unmasked(given)
        if sp.issparse(given):
            values = sp.csr_matrix(values)  # of which every kind can be cut
            values = values if encode == "onehot" else values.toarray()
        else:
            values = np.asarray(values)
        if values.ndim != 2:
            raise ValueError(f"Codes must be a table of 2 dimensions, got {values.ndim}.")
        if values.dtype.kind not in "biufOSU":  # numpy makes numbers of dates as well
            raise ValueError(f"Codes must be numbers, not {values.dtype}.")
        return values

    def _plain(self, values: NDArray[Any], books: list[int], encode: str) -> Ints | None:
        """Whole numbers of several codebooks at once; None if any is out of range."""
        codes = values.astype(np.int64)
        if encode == "token":
            codes -= self._offsets()[books]
        sizes = np.array([self.sizes[j] for j in books], dtype=np.int64)
        fine = (codes >= 0).all() and (codes < sizes).all()
        return codes if fine else None

    def _by_name(self, given: Any, encode: str, n_all: int) -> NDArray[Any]:
        """Columns in coding order; they must be all those of the first levels."""
        names = [str(name) for name in given.columns]
        known, present = self.columns(encode), set(names)
        if len(present) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"Codes have column {twice!r} more than once; give each once.")
        unknown = [name for name in names if name not in set(known)]
        if unknown:
            raise ValueError(
                f"Column {unknown[0]!r} is no code column of this codec; its columns begin "
                f"{known[:3]}."
            )
        for n_levels in range(n_all, 0, -1):
            wanted = [c for j in self.prefix(n_levels) for c in self._columns_of(j, encode)]
            if present.issuperset(wanted):
                break
        absent, why = [c for c in wanted if c not in present], ""
        spare = [c for c in known if c in present and c not in set(wanted)]
        if spare and not absent:  # the next level is not whole, or it would have been taken
            whole = [c for j in self.prefix(n_levels + 1) for c in self._columns_of(j, encode)]
            absent = [c for c in whole if c not in present]
            why = f", and {spare[0]!r} belongs to a later one: give both or neither"
        if absent:
            raise ValueError(
                f"Codes must hold every column of the first levels: {absent[0]!r} is missing{why}."
            )
        return np.asarray(given[wanted].to_numpy())

    def _covered(
        self, width: int, encode: str, n_levels: int | None, n_all: int
    ) -> tuple[list[int], int]:
        """Codebooks that `width` columns hold, and the levels to decode."""
        widths = {
            p: sum(len(self._columns_of(j, encode)) for j in self.prefix(p))
            for p in range(n_all, 0, -1)
        }
        matching = [p for p, w in widths.items() if w == width]
        whole = n_levels is None or isinstance(n_levels, (int, np.integer))
        whole = whole and not isinstance(n_levels, bool)
        if not whole or (n_levels is not None and not 1 <= n_levels <= n_all):
            raise ValueError(
                f"n_levels={n_levels!r} must be None or a whole number from 1 to {n_all}."
            )
        if not matching:
            raise ValueError(
                f"Codes have {counted(width, 'column')}; with encode={encode!r} this codec has "
                + ", ".join(f"{w} for {counted(p, 'level')}" for p, w in widths.items())
                + "."
            )
        if n_levels is not None and n_levels > matching[0]:
            raise ValueError(
                f"n_levels={n_levels}, but codes hold {counted(matching[0], 'level')} only."
            )
        return self.prefix(matching[0]), matching[0] if n_levels is None else n_levels

    def _column(self, block: Any, j: int, encode: str) -> Ints:
        if encode == "onehot":
            return self._from_one_hot(block, j)
        return self._whole(block[:, 0], j, self._offsets()[j] if encode == "token" else 0)

    def _numbers(self, block: NDArray[Any], j: int) -> NDArray[Any]:
        """Cells as numbers, also those of text and of columns with NA, which are objects."""
        if block.dtype.kind not in "OSU":
            return block
        try:
            return block.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"Codes in column {self.names[j]!r} are no numbers.") from None

    def _whole(self, column: NDArray[Any], j: int, offset: int) -> Ints:
        number = self._numbers(column, j).astype(np.float64)
        if not np.isfinite(number).all() or (number != np.floor(number)).any():
            raise ValueError(f"Codes in column {self.names[j]!r} must be whole numbers.")
        # Before they become int64, which does not hold every whole number that float64 holds.
        if len(number) and (number.min() < offset or number.max() >= offset + self.sizes[j]):
            raise ValueError(
                f"Codes in column {self.names[j]!r} must lie between {offset} and "
                f"{offset + self.sizes[j] - 1}; found {int(number.min())} to {int(number.max())}."
            )
        return number.astype(np.int64) - offset

    def _from_one_hot(self, block: Any, j: int) -> Ints:
        cells: Any = block if sp.issparse(block) else self._numbers(block, j)
        if cells.dtype == np.float16:  # of which scipy makes no sparse matrix
            cells = cells.astype(np.float32)
        ones = sp.csr_matrix(cells)
        if (ones.data == 0).any():
            ones = ones.copy()  # the caller's table may be behind it
            ones.eliminate_zeros()
        good = (np.diff(ones.indptr) == 1).all() and (ones.data == 1).all()
        if not good:
            raise ValueError(
                f"Rows of {self.names[j]!r} must hold a single 1 each (one-hot codes)."
            )
        return ones.indices.astype(np.int64)

    def _nearest(self, given: Any, j: int, factor: NDArray[np.float32]) -> Ints:
        book, found = self.codebooks[j], []
        with np.errstate(over="ignore"):  # of what is too large, no codeword is nearest
            block = self._numbers(given, j).astype(np.float32) / factor
            for rows in np.array_split(block, len(block) // 256 + 1):
                apart = ((rows[:, None, :] - book) ** 2).sum(2)
                if not np.isfinite(apart.min(1)).all():
                    raise ValueError(
                        f"Embedded codes of {self.names[j]!r} must be finite, and small enough for "
                        "float32 to hold their squared distance to a codeword."
                    )
                found.append(apart.argmin(1))
        return np.concatenate(found).astype(np.int64)


def code_names(categories: Sequence[tuple[str, Sequence[int]]]) -> list[str]:
    """Column names ``category__L0``; ``category__L2a``, ``..L2b`` where a level has several.

    Examples
    --------
    >>> from adaptive_vq.codes import code_names
    >>> code_names([("a", [0, 1, 1])])
    ['a__L0', 'a__L1a', 'a__L1b']
    """
    names = []
    for category, levels in categories:
        seen: dict[int, int] = {}
        for level in levels:
            suffix = _letters(seen.get(level, 0)) if list(levels).count(level) > 1 else ""
            seen[level] = seen.get(level, 0) + 1
            names.append(f"{category}__L{level}{suffix}")
    return names


def _letters(place: int) -> str:
    text = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
