"""What search and refit gain over greedy chains, as far as some have been measured (numpy only)."""

from __future__ import annotations

import math

import numpy as np

from adaptive_vq._arrays import Floats

__all__ = ["UsualGains"]

_MOST_LONGER = 2.5
"""Log gain expected of chains longer than any measured, at most so many times that of the longest:
too much has it measured for nothing, too little not at all."""
_LEAST = 0.02
"""A gain counts as no better than this: chains that come to code nearly all rows, since columns
take few values, say nothing of others, and one of them would have all others measured."""
_FIRST_GUESS = -0.3
"""Log gain of two codebooks over one while none has been measured; too little, and no chain is."""


class UsualGains:
    """Gains of chains by the number of their codebooks.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._usual_gains import UsualGains
    >>> gains = UsualGains()
    >>> gains.note(0.8, 2.0)
    >>> np.exp(gains.usual(np.array([1.0, 2.0]))).round(3).tolist()
    [1.0, 0.8]
    """

    def __init__(self) -> None:
        self._measured: list[tuple[float, float]] = []

    def note(self, gain: float, books: float) -> None:
        """Remember the gain of a chain of so many codebooks: its error over the greedy one's."""
        self._measured.append((books - 1.0, math.log(max(gain, _LEAST))))

    def usual(self, books: Floats) -> Floats:
        """Log of what search and refit do to the error of chains of so many codebooks.

        Interpolated between the chains measured so far, over the root of the number of codebooks
        after the first: the gain of a chain grows ever less with its length.
        """
        gains: dict[float, list[float]] = {0.0: [0.0]}
        for further, gain in self._measured or [(1.0, _FIRST_GUESS)]:
            gains.setdefault(math.sqrt(further), []).append(gain)
        places = sorted(gains)
        usual = [float(np.mean(gains[place])) for place in places]
        reach = np.sqrt(np.maximum(books - 1.0, 0.0))
        beyond = usual[-1] * np.minimum(reach / places[-1], _MOST_LONGER)
        # What short chains have not gained long ones may: until one is measured, the guess stands.
        beyond = np.minimum(beyond, _FIRST_GUESS * np.minimum(reach, _MOST_LONGER))
        return np.where(reach > places[-1], beyond, np.interp(reach, places, usual))
