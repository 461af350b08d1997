"""Parquet to Parquet in pieces, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adaptive_vq._files import replacing, require_file
from adaptive_vq._partitions import is_dask_frame, refuse_no_table
from adaptive_vq.tables import CHUNK_ROWS, row_chunks

__all__ = ["can_stream", "dask_pieces", "map_parquet", "parquet_pieces", "parquet_rows"]


def can_stream(*paths: str | Path) -> bool:
    """Tell whether all of the files are Parquet.

    Parameters
    ----------
    *paths : str or path

    Returns
    -------
    bool
    """
    return all(Path(path).suffix.lower() == ".parquet" for path in paths)


def map_parquet(
    function: Callable[[pd.DataFrame], pd.DataFrame],
    source: str | Path,
    output: str | Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write what a function makes of the rows of a Parquet file to another, piece by piece.

    Parameters
    ----------
    function : callable
        From a DataFrame with some of the rows to a DataFrame with as many, which gets their index;
        the columns must be the same for every piece.
    source, output : str or path
        Parquet files. A file that is already there is replaced at the end or not at all.
    progress : callable (done, rows), default=None
        Called after every piece.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    OSError
        If a file can not be read or written.
    ValueError
        If `source` is no Parquet file or has no row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(source) as file, replacing(output) as place:
        done, writer, schema = 0, None, None
        try:
            for piece in _pieces(file, source):
                made, index = function(piece), _index_of(piece, file, done)
                if index is not None:
                    made.index = index
                # Pieces of an index may look like other types: the first one decides.
                table = pa.Table.from_pandas(made, schema, preserve_index=index is not None)
                schema = table.schema
                writer = writer or pq.ParquetWriter(place, schema)
                writer.write_table(table)
                done += len(piece)
                if progress is not None:
                    progress(done, file.metadata.num_rows)
        finally:
            if writer is not None:
                writer.close()
    return done


def parquet_pieces(source: str | Path) -> Iterator[pd.DataFrame]:
    """Read a Parquet file, or all of a folder in the order of their names, piece by piece.

    Parameters
    ----------
    source : str or path

    Yields
    ------
    DataFrame of shape (at most 32,768, n_columns)

    Raises
    ------
    OSError
        If a file can not be read.
    ValueError
        If it is no Parquet file or has no row, or the folder holds none.
    """
    folder, files, empty = Path(source).is_dir(), [Path(source)], 0
    if folder:
        files = sorted(files[0].glob("*.parquet"))
        if not files:
            raise ValueError(f"The folder {source} holds no file that ends in .parquet.")
    for path in files:
        with _opened(path, may_be_empty=folder) as file:
            empty += file.metadata.num_rows == 0
            yield from _pieces(file, path)
    if folder and empty == len(files):
        raise ValueError(f"No file in the folder {source} has a row.")


def dask_pieces(X: Any) -> Iterator[Any]:
    """Compute a Dask collection partition by partition, and cut what is large.

    Parameters
    ----------
    X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)

    Yields
    ------
    DataFrame or ndarray of shape (at most 32,768, n_features)

    Raises
    ------
    TypeError, ValueError
        If `X` is another collection, or an array that has not two dimensions.
    """
    refuse_no_table(X)
    if is_dask_frame(X):
        parts = (X.partitions[i] for i in range(X.npartitions))
    else:
        parts = (X.blocks[i] for i in range(X.numblocks[0]))
    for part in parts:
        yield from row_chunks(part.compute())


def parquet_rows(source: str | Path) -> int:
    """Return the number of rows of a Parquet file without reading them.

    Parameters
    ----------
    source : str or path

    Returns
    -------
    int

    Raises
    ------
    OSError
        If the file can not be read.
    ValueError
        If it is no Parquet file or has no row.
    """
    with _opened(source) as file:
        return int(file.metadata.num_rows)


_READ_BY = {
    ".npy": "as a memory map: numpy.load(path, mmap_mode='r')",
    ".npz": "as an array, which fits in memory: numpy.load(path)[name]",
    ".feather": "as a table, which fits in memory: pandas.read_feather(path)",
}
"""How other files than CSV are given."""


def _opened(source: str | Path, may_be_empty: bool = False) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(source)
    try:
        # What is read ahead would be kept until the end of the file.
        file = pq.ParquetFile(source, pre_buffer=False)
    except pa.ArrowInvalid as error:
        reason, suffix = " ".join(str(error).split()), Path(source).suffix.lower()
        if suffix not in (".parquet", ".pq"):
            how = _READ_BY.get(suffix, "as chunks, such as pandas.read_csv(path, chunksize=10_000)")
            reason += f" Only Parquet is read in parts; give the rows of other files {how}."
        raise ValueError(f"{source} can not be read as a table: {reason}") from error
    if file.metadata.num_rows == 0 and not may_be_empty:
        file.close()
        raise ValueError(f"{source} has no row.")
    return file


def _index_of(piece: pd.DataFrame, file: Any, done: int) -> pd.Index | None:
    """Index of a piece of a file after `done` rows; None where it only counts the rows."""
    if not isinstance(piece.index, pd.RangeIndex):
        return piece.index
    noted = (file.schema_arrow.pandas_metadata or {}).get("index_columns", [])
    counts = noted[0] if noted and isinstance(noted[0], dict) else {}
    start, step, name = counts.get("start", 0), counts.get("step", 1), counts.get("name")
    if (start, step, name) == (0, 1, None):
        return None
    first = start + step * done
    return pd.Index(np.arange(first, first + step * len(piece), step), name=name)


def _pieces(file: Any, source: str | Path) -> Iterator[pd.DataFrame]:
    import pyarrow as pa

    try:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            if len(batch):
                yield batch.to_pandas()
    except (pa.ArrowException, OSError) as error:  # of damaged pages, which opening does not see
        reason = " ".join(str(error).split())
        raise ValueError(f"{source} can not be read as a table: {reason}") from error
