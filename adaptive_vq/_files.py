"""Files as wholes: read to their end, and written so that nobody sees half of one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adaptive_vq._wording import shown

__all__ = [
    "check_replaceable",
    "file_content",
    "file_path",
    "is_of_folder",
    "refuse_existing",
    "replacing",
    "require_file",
    "torn_files",
    "written",
]


def file_path(path: Any) -> Path:
    """Return the path of a file that a user gives as `path`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError
        For anything else, such as an open file.
    IsADirectoryError
        If it ends in a separator, which pathlib drops: a file would stand where a folder was meant.

    Examples
    --------
    >>> from adaptive_vq._files import file_path
    >>> file_path(None)
    Traceback (most recent call last):
    TypeError: path=None is no path: give the name of a file, as str or pathlib.Path.
    """
    try:
        place = Path(path)
    except TypeError as error:
        raise TypeError(
            f"path={shown(path, 60)} is no path: give the name of a file, as str or pathlib.Path."
        ) from error
    if is_of_folder(path):
        raise IsADirectoryError(f"{os.fspath(path)} is the name of a folder: give that of a file.")
    return place


def written(text: str, path: Any) -> str:
    """Return a text, written to the file that a user gives as `path` unless that is None."""
    if path is not None:
        file_path(path).write_text(text, encoding="utf-8")
    return text


def is_of_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path ends in a separator, as only those of folders do.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    bool
    """
    return os.fspath(path).endswith((os.sep, os.altsep or os.sep))


def file_content(path: Any) -> bytes:
    """Read a file, or a pipe, to its end.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    bytes

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If it can not be read, or is a device: some, such as ``/dev/zero``, have no end.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from adaptive_vq._files import file_content
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> _ = path.write_text("whole")
    >>> file_content(path)
    b'whole'
    """
    place = file_path(path)
    kind = place.stat().st_mode
    if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
        raise OSError(f"{os.fspath(path)} is a device: give a file.")
    return place.read_bytes()


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise if there is no file at `path`.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    OSError
        Telling a folder from nothing at all.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a file.")
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")


_MOST_KEPT = 20
"""Characters of a name that a temporary file keeps, of at most 4 of 255 bytes each."""


def refuse_existing(path: str | os.PathLike[str]) -> None:
    """Raise if there is already something at `path`.

    Parameters
    ----------
    path : str or path
        Where a file is to be written.

    Raises
    ------
    FileExistsError
        Naming the path.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"{os.fspath(path)} already exists and is left as it is.")


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise if no file could be written at `path`, before the work that is to end there.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    OSError
        If the folder does not exist or can not be written to, or `path` is no regular file.
    """
    folder = _target(path).parent
    try:
        # Rights do not tell all: a file system may be read-only, or hold no files.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"no file can be written there ({error.strerror})"
        raise OSError(error.errno, reason, str(folder)) from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; at the end it takes the place of `path`.

    If anything fails on the way (a full disk, an error in the block), the temporary file is removed
    and what was at `path` stays untouched.

    Parameters
    ----------
    path : str or path
        Where the file is to be. A symbolic link is followed.

    Yields
    ------
    pathlib.Path
        In the same folder, with the same suffix (unless that has more than 20 characters).

    Raises
    ------
    OSError
        If the folder does not exist or can not be written to, or `path` is no regular file. What
        fails on the way names `path`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from adaptive_vq._files import replacing
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as place:
    ...     _ = place.write_text("whole")
    >>> target.read_text(), [found.name for found in target.parent.iterdir()]
    ('whole', ['note.txt'])
    """
    target = _target(path)
    place = target.with_name(_hidden_name(target))
    try:
        yield place
        _flush(place)
        place.replace(target)
    except OSError as error:
        if error.filename not in (None, str(place)):
            raise
        # Of a full disk nobody says on which file, and the hidden one means nothing to a user.
        reason = f"it could not be written ({error.strerror or error})"
        raise OSError(error.errno, reason, os.fspath(path)) from error
    finally:
        place.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not every system can flush a folder
        _flush(target.parent)


def torn_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return what processes that were killed while they wrote to `path` have left beside it.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    list of pathlib.Path
    """
    target = Path(os.path.realpath(path))
    start, end = map(re.escape, _hidden_around(target))
    torn = re.compile(f"{start}[0-9a-f]{{12}}{end}")
    return [found for found in target.parent.iterdir() if torn.fullmatch(found.name)]


def _hidden_name(target: Path) -> str:
    """Return a name for beside a target that is short enough where the target's own just is."""
    return secrets.token_hex(6).join(_hidden_around(target))


def _hidden_around(target: Path) -> tuple[str, str]:
    """Return what such names begin and end with.

    A digest tells targets apart whose own names are alike as far as they are kept.
    """
    stem, suffix = target.stem[:_MOST_KEPT], target.suffix
    suffix = suffix if len(suffix) <= _MOST_KEPT else ""
    if stem + suffix != target.name:
        stem += f"-{hashlib.blake2b(os.fsencode(target.name), digest_size=4).hexdigest()}"
    return f".{stem}.", suffix


def _target(path: str | os.PathLike[str]) -> Path:
    """Return where a file is to be, or raise if that is a folder or device, or in no folder."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        # Also devices: replacing /dev/null by a file would be a nuisance.
        raise OSError(f"{os.fspath(path)} is no regular file.")
    if target.parent.is_file():
        raise NotADirectoryError(f"{target.parent} is a file, and no folder to write to.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist; create it first.")
    return target


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
