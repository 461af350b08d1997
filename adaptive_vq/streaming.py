"""Training rows for a codec out of a table that is larger than memory."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar

from adaptive_vq._chunks import alike, named_in_errors
from adaptive_vq._fit_rows import draw_seed
from adaptive_vq._reservoir import Gathered, Reservoir, blocks_of, rows_at
from adaptive_vq._rollback import unchanged_on_failure
from adaptive_vq._scorers import is_search
from adaptive_vq._streams import dask_pieces, parquet_pieces
from adaptive_vq.tables import CHUNK_ROWS, check_table, row_chunks

__all__ = ["fit_chunks", "sample_rows"]


_MOST_ASIDE = 20_000
_MOST_SHARE = 0.1


def fit_chunks(estimator: Any, chunks: Any, *, n_passes: int = 0) -> Any:
    """Fit a codec on a table larger than memory, read once from beginning to end.

    Every row is checked, and ``fit_rows`` of them are drawn and learned from. The result does not
    depend on the chunks; that of a codec which is no part of a pipeline is the result of `fit` on
    the whole table.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
        Fitted in place. Its ``fit_rows`` (None: all rows are kept) and ``random_state`` decide
        which rows are drawn.
    chunks : str, path, array, memory map, DataFrame, or iterable of arrays or DataFrames
        A Parquet file or a folder of them, the whole table, or chunks of one kind with the same
        columns. A Dask DataFrame or array is computed one partition after the other. A pyarrow
        Table or RecordBatch counts as a pandas DataFrame, a tensor as an array.
    n_passes : int, default=0
        So many times at most all rows are read again, and move codewords and decoder as
        ``partial_fit`` does, 32,768 at a time. A tenth of the rows, at most 20,000, takes no part:
        a pass that does not lower their error is undone and the last one. Units, plan and sizes
        stay those of the rows drawn; ``training_`` adds what every pass has seen.

    Returns
    -------
    HierarchicalVQVAE or Pipeline
        The estimator.

    Raises
    ------
    TypeError, ValueError
        As in `fit`, for any chunk; if chunks have different columns, or there is no row; if
        `n_passes` asks to read again what can be read only once.
    OSError
        If a file can not be read.

    See Also
    --------
    sample_rows : Draws the rows only.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.streaming import fit_chunks
    >>> X = np.random.default_rng(0).normal(size=(900, 4))
    >>> vq = HierarchicalVQVAE(bits=8, max_epochs=0, fit_rows=300)
    >>> codes = fit_chunks(vq, np.array_split(X, 7)).transform(X)
    >>> bool((codes == vq.fit(X).transform(X)).all())
    True
    """
    check_scalar(n_passes, "n_passes", Integral, min_val=0)
    if n_passes and isinstance(chunks, Iterator):
        raise ValueError(
            "n_passes reads the chunks again, which an iterator does not allow: give a list, a "
            "memory map, a path or a Dask collection, or n_passes=0."
        )
    # A generator of random numbers moves on with every draw; the passes need the same numbers.
    codec, lengths = _codec_of(estimator), list[int]()
    seed = copy.deepcopy(draw_seed(codec))
    with unchanged_on_failure(codec):
        estimator.fit(_drawn(estimator, chunks, lengths))
    quality: float | None = None
    for _ in range(n_passes):
        with unchanged_on_failure(codec):
            before = copy.copy(codec)
            aside = _move_by_all(estimator, chunks, sum(lengths), copy.deepcopy(seed))
            if aside is None:  # so few rows that none judge
                continue
            quality = before.score(aside) if quality is None else quality
            after = codec.score(aside)
            if not after > quality:
                vars(codec).clear()
                vars(codec).update(vars(before))
                break
            quality = after
    return estimator


def _move_by_all(estimator: Any, chunks: Any, n_rows: int, seed: Any) -> Any:
    """Let all rows but those kept aside move the codec; return these as it gets them, or None."""
    codec = _codec_of(estimator)
    # The draw took the smallest numbers, so the largest belong to rows that it has not seen.
    least = 1.0 - min(_MOST_SHARE, _MOST_ASIDE / n_rows)
    rng, aside = check_random_state(seed), Gathered()
    for block in blocks_of(_checked(_pieces(chunks)), CHUNK_ROWS):
        kept = rng.random_sample(block.shape[0]) >= least
        aside.add(rows_at(block, np.flatnonzero(kept)))
        rest = rows_at(block, np.flatnonzero(~kept))
        if rest.shape[0]:
            codec.partial_fit(_as_the_codec_gets_it(estimator, rest))
    return _as_the_codec_gets_it(estimator, aside.joined()) if aside.n_rows else None


def _codec_of(estimator: Any) -> Any:
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    if not hasattr(estimator, "fit_rows"):
        raise TypeError(
            "chunks are fitted by a HierarchicalVQVAE, or a Pipeline that ends in one; got "
            f"{type(estimator).__name__}{_instead(estimator)}."
        )
    return estimator


def _instead(estimator: Any) -> str:
    """What to do with an estimator that does not take chunks, where there is anything to do."""
    if is_search(estimator):
        return (
            ": let the search fit sample_rows(chunks), and give its best_estimator_ here to fit "
            "that to all chunks"
        )
    if hasattr(estimator, "partial_fit") and not isinstance(estimator, type):
        return ", whose partial_fit takes one after the other"
    return ""


def _as_the_codec_gets_it(estimator: Any, rows: Any) -> Any:
    while hasattr(estimator, "steps"):
        if len(estimator.steps) > 1:
            rows = estimator[:-1].transform(rows)
        estimator = estimator.steps[-1][1]
    return rows


def _opened(chunks: Any) -> Any:
    return parquet_pieces(chunks) if isinstance(chunks, str | Path) else chunks


def drawn_rows(estimator: Any, chunks: Any) -> Any:
    """Check every row, and draw those that `fit_chunks` of the same arguments learns from.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
    chunks : str, path, array, memory map, DataFrame, or iterable of arrays or DataFrames

    Returns
    -------
    array or DataFrame of shape (at most fit_rows, n_features)
        Of the kind of the chunks, in the order of the table.

    Raises
    ------
    TypeError, ValueError, OSError
        As `fit_chunks`.
    """
    return _drawn(estimator, chunks, [])


def _drawn(estimator: Any, chunks: Any, lengths: list[int]) -> Any:
    """Rows to learn from; how many rows each chunk had is added to `lengths`."""
    codec, pieces = _codec_of(estimator), _pieces(chunks)
    given = draw_seed(codec)
    used = copy.deepcopy(given)
    rows = _sample(_checked(pieces, lengths), codec.fit_rows, used)
    if rows.shape[0] < sum(lengths) and isinstance(given, np.random.RandomState):
        given.set_state(used.get_state())  # where `fit` would draw as well
    return rows


def _pieces(table: Any) -> Iterator[tuple[str, Any]]:
    """Pieces of a table, or its chunks, that are alike, and which each one is."""
    table = _opened(table)
    if hasattr(table, "__dask_graph__"):
        return alike(dask_pieces(table))
    if not hasattr(table, "shape") and not isinstance(table, Iterable):
        raise TypeError(
            f"A {type(table).__name__} is no table: give an array, a DataFrame, a path, or chunks."
        )
    return alike(row_chunks(table) if hasattr(table, "shape") else table)


def _checked(pieces: Iterable[tuple[str, Any]], lengths: list[int] | None = None) -> Iterator[Any]:
    """Chunks, each checked as `fit` checks a table."""
    probe = BaseEstimator()
    for where, chunk in pieces:
        with named_in_errors(where):
            check_table(probe, chunk, reset=not hasattr(probe, "n_features_in_"))
        if lengths is not None:
            lengths.append(chunk.shape[0])
        yield chunk


def sample_rows(
    table: Any,
    n_rows: int | None = 100_000,
    *,
    random_state: int | np.random.RandomState | None = 0,
) -> Any:
    """Draw rows without replacement in one pass, holding no more than sample and chunk.

    Every row gets a random number, and those with the smallest stay (reservoir sampling with random
    keys; Efraimidis and Spirakis, 2006, "Weighted random sampling with a reservoir", with equal
    weights). The numbers are drawn row by row, so that the sample depends on neither the size of
    the chunks nor what they are kept in.

    Parameters
    ----------
    table : array, memory map, pandas, polars or Dask DataFrame, Dask array, path, or iterable
        The whole table, which is read chunk by chunk (a path is of a Parquet file, or of a folder
        of such), or its chunks, all of one kind and with the same columns. A pyarrow Table or
        RecordBatch counts as a pandas DataFrame, a tensor as an array.
    n_rows : int, default=100_000
        Rows to draw; all are returned where there are fewer. None: all.
    random_state : int, RandomState or None, default=0
        Seed of the draw.

    Returns
    -------
    array or DataFrame of shape (at most n_rows, n_features)
        Of the kind of the chunks, in the order of the table.

    Raises
    ------
    TypeError
        If a chunk is no table, sparse, or of another kind than the first.
    ValueError
        If there is no row, or chunks have different columns, or numbers and text in one column.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.streaming import sample_rows
    >>> X = np.arange(20.0).reshape(10, 2)
    >>> few = sample_rows(X, 3)
    >>> few.shape
    (3, 2)
    >>> bool((sample_rows([X[:4], X[4:]], 3) == few).all())
    True
    """
    return _sample((chunk for _, chunk in _pieces(table)), n_rows, random_state)


def _sample(chunks: Iterable[Any], n_rows: int | None, random_state: Any) -> Any:
    if n_rows is not None:
        check_scalar(n_rows, "n_rows", Integral, min_val=1)
    rng, kept = check_random_state(random_state), Reservoir(n_rows)
    for chunk in chunks:
        kept.add(chunk, rng.random_sample(chunk.shape[0]))
    if len(kept) == 0:
        raise ValueError("The table has no row to draw.")
    return kept.rows()
