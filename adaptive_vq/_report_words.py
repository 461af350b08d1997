"""Words of the reports: headings of columns, and what they mean."""

from __future__ import annotations

from typing import Any

_HEADINGS = {
    "n_columns": "columns",
    "n_levels": "levels decoded",
    "nmse": "NMSE",
    "nmse_capped": "NMSE, capped",
    "predicted_nmse": "NMSE, predicted",
    "measured_nmse": "NMSE, measured",
    "training_nmse": "NMSE, training",
    "nmse_original": "NMSE, own units",
    "nmse_over_best": "NMSE over best",
    "worst_nmse": "NMSE, worst category",
    "max_median": "max / median",
    "max_min": "max / min",
    "gini": "Gini",
    "mae": "MAE",
    "mae_original": "MAE, own units",
    "share": "share of error",
    "share_of_category": "share of its category",
    "share_beyond_caps": "error beyond caps",
    "missing": "cells missing",
    "capped": "cells beyond caps",
    "training_missing": "cells missing, training",
    "training_capped": "cells beyond caps, training",
    "equal_chance": "chance of equal cells",
    "off_constant": "cells off training's constant",
    "training_utilization": "utilization, training",
    "training_perplexity": "perplexity, training",
    "training_entropy": "entropy, training",
    "training_dead": "dead, training",
    "training_rare": "rare, training",
    "training_top_share": "top share, training",
    "unseen": "rows with new codes",
    "perplexity_share": "perplexity / size",
    "davies_bouldin": "Davies-Bouldin",
}
_SHARES = (
    "missing",
    "capped",
    "utilization",
    "top_share",
    "unseen",
    "training_missing",
    "training_capped",
    "off_constant",
    "training_utilization",
    "training_top_share",
)

GLOSSARY = {
    "NMSE": "Squared error over squared deviation from the training mean: 0 is perfect, 1 no "
    "better than the mean. Quality is 1 - NMSE.",
    "codec units": "The columns scaled as in training, so that all count alike. Errors are in "
    "these units unless they are named own units.",
    "capped": "The codec caps each cell at limits (caps) found in training. Errors named capped "
    "are those of the capped cells; the others are those of the rows as they are.",
    "training, predicted, measured": "On the rows the codec was fitted on; on rows kept aside "
    "while fitting, where there were any; on the rows given here.",
    "category": "Columns that are coded together.",
    "level": "A category is coded coarse to fine: L0 is the coarsest, each next level codes what "
    "is left.",
    "codeword, codebook": "A code is the number of a codeword in the codebook of its category and "
    "level. K codewords cost log2 K bits per row. Letters (L2a, L2b) mark a level of several "
    "codebooks.",
    "ratio": "Width of a level over the number of columns of its category.",
    "entropy": "Bits per row that the codes would need at their real frequencies.",
    "utilization": "Share of the codewords that at least one row has.",
    "perplexity": "Number of equally frequent codewords with the same entropy; perplexity / size "
    "is 1 where all are equally frequent.",
    "max / median, max / min": "NMSE of the worst category over that of the median and of the best "
    "one.",
    "topographic similarity": "Correlation of the distances between rows with those between their "
    "latents: 1 where near rows stay near.",
}


def heading(key: Any) -> str:
    """Word a column or a rule for readers.

    Examples
    --------
    >>> from adaptive_vq._report_words import heading
    >>> heading("nmse_capped"), heading("bits_L0")
    ('NMSE, capped', 'bits L0')
    """
    return _HEADINGS.get(str(key), str(key).replace("_", " "))


def is_share(key: str) -> bool:
    """Tell whether a column is a share, to be written in percent."""
    return key in _SHARES or key.startswith("share")
