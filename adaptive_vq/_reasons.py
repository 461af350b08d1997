"""One sentence per decision, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from adaptive_vq._wording import counted
from adaptive_vq.spectra import CategoryStatistics

_ROWS_TO_MEASURE = 50
"""With fewer training rows the part kept aside says too little about a distortion."""
_CONSTANT = "It does not vary in the training rows, so it gets no bit and decodes to its mean."
_EXACT = "enough for each of its distinct training rows, so no error is predicted"


def shared(
    label: str,
    ratios: Sequence[float],
    scores: Mapping[str, float],
    statistics: CategoryStatistics,
    share: float,
    bits: int,
    budget: int,
    predicted: float,
) -> str:
    """Explain bits that follow from ratios."""
    if statistics.variance == 0:
        return _CONSTANT
    text = ":".join(f"{ratio:.3g}" for ratio in ratios)
    columns = counted(statistics.n_columns, "column")
    return (
        f"{_origin(label, scores)} ratios {text}; with {columns} it holds {share:.1%} of all "
        f"latent width and gets {bits} of {counted(budget, 'bit')}, "
        f"{_outcome(statistics, bits, predicted)}."
    )


def bought(
    bits: int,
    budget: int,
    curve: NDArray[np.float64],
    share: float,
    statistics: CategoryStatistics,
    source: str,
    because: str,
) -> str:
    """Explain bits that were spent where they buy most."""
    if statistics.variance == 0:
        return _joined(because, _CONSTANT)
    exact = bits > 0 and curve[bits] == 0
    gain = share * (curve[bits] - curve[bits + 1]) if bits + 1 < len(curve) else None
    tail = (
        "" if exact or gain is None else f"; one more would take {max(gain, 0):.2g} off the total"
    )
    if bits == 0:
        return _joined(
            because, f"It gets no bit and is decoded from other categories or as its mean{tail}."
        )
    outcome = _EXACT if exact else f"for an NMSE of {curve[bits]:.3g} ({source})"
    return _joined(because, f"It gets {bits} of {counted(budget, 'bit')}, {outcome}{tail}.")


def not_measured(strategy: str, Z: NDArray[np.float32], n_rows: int) -> str:
    """Say why water-filling replaces a measuring strategy; nothing where it does not."""
    if n_rows < _ROWS_TO_MEASURE:
        why = f"{n_rows} training rows are too few to measure ({_ROWS_TO_MEASURE} are needed)"
    elif not (Z[0] != Z).any():
        why = "all training rows are equal"
    else:
        return ""
    return f"Since {why}, water_filling stands in for {strategy}: "


def _origin(label: str, scores: Mapping[str, float]) -> str:
    if label == "given":  # by the user, whatever the scores are
        return "compression_ratios gives it the"
    if label == "uniform" or not scores:
        return f"{label} gives it the"
    listed = [f"{key} {value:.3f}" for key, value in scores.items()]
    text = " and ".join(filter(None, [", ".join(listed[:-1]), listed[-1]]))
    return f"{label} turns {text} into the"


def _outcome(statistics: CategoryStatistics, bits: int, predicted: float) -> str:
    if bits == statistics.exact_at:
        return _EXACT
    if bits == 0:
        return "so it is decoded from other categories or as its mean"
    return f"for an NMSE of {predicted:.3g} (Gaussian)"


def _joined(because: str, text: str) -> str:
    """Put a reason in front of a sentence and keep it one sentence."""
    return because + text[0].lower() + text[1:] if because else text


def moved(planned: int, learned: int, held: int, spent: float, given: bool) -> str:
    """Explain bits that have moved after planning, if any have.

    Parameters
    ----------
    planned, learned : int
        Bits of a category, and what learning has added to them.
    held : int
        Whole bits that hold its final codebooks, as the table of decisions lists them.
    spent : float
        Sum of log2 of the sizes of these.
    given : bool
        Whether the user has set these sizes.

    Examples
    --------
    >>> from adaptive_vq._reasons import moved
    >>> moved(8, 0, 8, 7.2, False), moved(8, 0, 6, 6.0, False)
    ('', ' 2 of its bits found nothing more to tell apart.')
    >>> moved(8, 1, 9, 9.0, False), moved(8, 0, 3, 3.0, True)
    (' Learning moved 1 bit here.', ' codebook_sizes gives it 3 bits.')
    >>> moved(8, 0, 6, 4.64, False)
    ' 3.4 of its bits found nothing more to tell apart; 6 whole ones hold its codebooks.'
    """
    # Codebooks of 5 codewords each take 2.32 bits, and 3 whole ones each to hold them.
    whole = "" if abs(held - spent) < 0.005 else f"; {held} whole ones hold its codebooks"
    if given:
        as_planned = held == planned and abs(spent - planned) < 0.5
        size = f"{spent:.3g} {'bit' if spent == 1 else 'bits'}"
        return "" if as_planned else f" codebook_sizes gives it {size}{whole}."
    told = f" Learning moved {counted(abs(learned), 'bit')} {'here' if learned > 0 else 'away'}."
    told = told if learned else ""
    change = spent - planned - learned
    if held == planned + learned and abs(change) < 1.0:  # parts of bits go with pruned codewords
        return told
    size = f"{abs(change):{'.2g' if abs(change) < 10 else '.3g'}}"
    if change > 0:
        noun = "bit" if size == "1" else "bits"
        return f"{told} {size} {noun} freed elsewhere came on top{whole}."
    return f"{told} {size} of its bits found nothing more to tell apart{whole}."
