"""Parquet to Parquet in pieces, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from adaptive_vq._files import replacing
from adaptive_vq.tables import CHUNK_ROWS

__all__ = ["can_stream", "map_parquet"]


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
        From a DataFrame with some of the rows to a DataFrame with as many; the columns must be the
        same for every piece.
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

    if not Path(source).is_file():
        raise FileNotFoundError(f"There is no file {source}.")
    try:
        # What is read ahead would be kept until the end of the file.
        file = pq.ParquetFile(source, pre_buffer=False)
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{source} can not be read as a table: {reason}") from error
    with file, replacing(output) as place:
        if file.metadata.num_rows == 0:
            raise ValueError(f"{source} has no row.")
        done, writer = 0, None
        try:
            for piece in _pieces(file):
                table = pa.Table.from_pandas(function(piece), preserve_index=False)
                writer = writer or pq.ParquetWriter(place, table.schema)
                writer.write_table(table)
                done += len(piece)
                if progress is not None:
                    progress(done, file.metadata.num_rows)
        finally:
            if writer is not None:
                writer.close()
    return done


def _pieces(file: Any) -> Iterator[pd.DataFrame]:
    for batch in file.iter_batches(batch_size=CHUNK_ROWS):
        if len(batch):
            yield batch.to_pandas()
