"""Numbers with their nouns."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str, many: str | None = None) -> str:
    """Write a number and what it counts, thousands apart; `many` is the plural if not with an s.

    Examples
    --------
    >>> from adaptive_vq._wording import counted
    >>> counted(1, "bit"), counted(1200, "row"), counted(0, "category", "categories")
    ('1 bit', '1,200 rows', '0 categories')
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"
