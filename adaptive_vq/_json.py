"""JSON values of figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return JSON values: numbers of numpy become those of Python, NaN null, infinity "inf".

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._json import plain
    >>> plain({"a": np.float64(0.5), "b": [float("nan"), np.int64(2), np.inf]})
    {'a': 0.5, 'b': [None, 2, 'inf']}
    """
    if isinstance(value, pd.DataFrame):
        return plain(value.reset_index().to_dict("records"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
