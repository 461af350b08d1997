"""The command ``adaptive-vq``: what it needs, and what becomes of errors.

The commands themselves are in :mod:`adaptive_vq._commands`, which is imported late, so that a
missing extra is one clear line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from adaptive_vq._wording import printable

__all__ = ["main"]

USAGE, INTERRUPTED = 2, 130
_NEEDED = ("typer", "rich")
_ENDING = ("SIGTERM", "SIGHUP")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, default=None
        None takes those of the process.

    Raises
    ------
    SystemExit
        Code 0 when all went well; 2 with one line on stderr for bad input, bad settings or a
        missing library; 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP.

    Examples
    --------
    >>> from adaptive_vq.cli import main
    >>> main(["--version"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    _have_stderr()
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        _fail(
            f"the command line needs {' and '.join(missing)}: pip install 'adaptive-vq[cli,plot]'"
        )
    try:
        # Imports take seconds, in which people press Ctrl-C too.
        with _ended_in_order():
            from adaptive_vq._commands import app

            code = app(args=arguments, prog_name="adaptive-vq", standalone_mode=False)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, TypeError, OSError, ImportError) as error:
        _fail(_one_line(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail(f"out of memory; lower bits, widths or the number of rows. {_one_line(error)}")
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own errors of usage have it
            raise
        _fail(error.format_message())
    if code == INTERRUPTED:  # typer has caught Ctrl-C and says nothing
        _fail("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let what ends a process by default end it as Ctrl-C does, so that half a file is removed.

    Schedulers send SIGTERM, terminals that close SIGHUP. What is ignored, as by nohup, stays so.
    """
    found = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    in_main = threading.current_thread() is threading.main_thread()  # no other one may ask for them
    ours = [number for number in found if in_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(
            number, lambda got, _: _fail(f"ended by {signal.Signals(got).name}", 128 + got)
        )
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _have_stderr() -> None:
    """Let remarks and bars go nowhere if whoever started this has closed stderr."""
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell errors of allocation, of which torch's have no type of their own on a processor."""
    told = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        return f"{name}: {error.strerror}" if name else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _fail(reason: str, code: int = USAGE) -> None:
    print(f"adaptive-vq: error: {printable(reason)}", file=sys.stderr)
    sys.exit(code)
