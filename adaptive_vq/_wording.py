"""Numbers with their nouns, lists of names, and values as they are shown in a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["counted", "listed", "more_than", "printable", "shortened", "shown"]

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\n")}


def counted(number: int, noun: str, many: str | None = None) -> str:
    """Write a number and what it counts, thousands apart; `many` is the plural if not with an s.

    Examples
    --------
    >>> from adaptive_vq._wording import counted
    >>> counted(1, "bit"), counted(1200, "row"), counted(0, "category", "categories")
    ('1 bit', '1,200 rows', '0 categories')
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def listed(names: Iterable[object], most: int) -> str:
    """Write names in quotes, the first few of many.

    Examples
    --------
    >>> from adaptive_vq._wording import listed
    >>> listed(["rain", "wind"], 2), listed(["rain", "wind", "sun"], 2)
    ("'rain', 'wind'", "'rain', 'wind' and 1 more")
    """
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most]) + more_than(most, len(quoted))


def more_than(most: int, number: int) -> str:
    """Write how many names of a number are left out where at most so many are shown.

    Examples
    --------
    >>> from adaptive_vq._wording import more_than
    >>> more_than(5, 7), more_than(5, 5)
    (' and 2 more', '')
    """
    return f" and {number - most} more" if number > most else ""


def printable(text: str) -> str:
    r"""Write control characters other than ends of lines as Python does, for a terminal.

    Names come from files: to a terminal they could be colors, another title, or a clear screen.

    Examples
    --------
    >>> from adaptive_vq._wording import printable
    >>> print(printable("\x1b[31mred"))
    \x1b[31mred
    """
    return text.translate(_CONTROLS)


def shortened(name: object, most: int, gap: str = "...") -> str:
    """Write a name in one line of at most so many characters, cut in the middle.

    Names that are long mostly differ at their ends.

    Examples
    --------
    >>> from adaptive_vq._wording import shortened
    >>> shortened("pressure_of_the_north_station", 16), shortened("rain", 16)
    ('pressur...tation', 'rain')
    """
    text = " ".join(str(name).split())
    if len(text) <= most:
        return text
    last = (most - len(gap)) // 2
    return text[: most - len(gap) - last] + gap + text[len(text) - last :]


def shown(value: Any, most: int) -> str:
    """Write a value in one line of at most so many characters, and dots where more are left out.

    Examples
    --------
    >>> from adaptive_vq._wording import shown
    >>> shown([1, 2], 60), shown("a" * 9, 4)
    ('[1, 2]', "'aaa...")
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[:most]}..."
