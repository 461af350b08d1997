"""What the command line says: tables for people on one stream, JSON for programs on the other."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from adaptive_vq._json import plain
from adaptive_vq._wording import printable

__all__ = ["Talk"]

_WIDTH = 120


class Talk:
    """Where the words of a command go.

    Parameters
    ----------
    as_json : bool, default=False
        Print one JSON document on stdout instead of tables.
    quiet : bool, default=False
        No progress and no remarks.
    stdout_is_data : bool, default=False
        Stdout carries a table; everything else goes to stderr.
    """

    def __init__(
        self, as_json: bool = False, quiet: bool = False, stdout_is_data: bool = False
    ) -> None:
        import rich
        from rich.console import Console

        # scikit-learn's progress bars draw on rich's global console.
        rich.reconfigure(stderr=True)
        self.as_json, self.quiet = as_json, quiet
        self._result_stream = sys.stderr if stdout_is_data else sys.stdout
        # Names come from users: brackets in them are no markup.
        console = partial(Console, markup=False, highlight=False, soft_wrap=True)
        self._console = console(file=self._result_stream)
        # A narrow terminal folds the lines of a table; nothing is cut off.
        self._console.width = max(self._console.width, _WIDTH)
        self._remarks = console(stderr=True)

    def remark(self, text: str) -> None:
        """Say what is going on."""
        if not self.quiet:
            self._remarks.print(printable(text))

    def callbacks(self) -> list[Any]:
        """Return scikit-learn callbacks that show the progress of a fit on stderr."""
        if self.quiet or not sys.stderr.isatty():
            return []
        from sklearn.callback import ProgressBar

        return [ProgressBar()]

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None] | None]:
        """Give a function of rows done and all rows that draws a bar, for people only."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import Progress

        with Progress(console=self._remarks, transient=True) as bar:
            task = bar.add_task(what)
            yield lambda done, rows: bar.update(task, completed=done, total=rows)

    @contextmanager
    def warnings_as_remarks(self) -> Iterator[None]:
        """Say every warning in one line."""
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *_, **__: self.remark(
                f"warning: {' '.join(str(message).split())}"
            )
            yield

    def result(self, figures: Mapping[str, Any], show: Callable[[], None]) -> None:
        """Print the result: the figures as JSON, or what `show` prints of them."""
        if self.as_json:
            text = json.dumps(plain(figures), indent=2, allow_nan=False)
            print(text, file=self._result_stream)
        elif not self.quiet:
            show()

    def line(self, text: str = "") -> None:
        """Print a line of the result."""
        self._console.print(printable(text))

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: int = 0
    ) -> None:
        """Print a table; columns from `numbers` on are aligned to the right."""
        from rich import box
        from rich.table import Table

        table = Table(title=printable(title), title_justify="left", box=box.SIMPLE_HEAD)
        for j, column in enumerate(columns):
            table.add_column(
                printable(column), justify="right" if j >= numbers else "left", no_wrap=True
            )
        for row in rows:
            table.add_row(*[_text(cell) for cell in row])
        self._console.print(table)


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 1 else f"{cell:.2f}"
    return printable(str(cell))
