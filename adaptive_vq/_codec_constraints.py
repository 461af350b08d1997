"""Values that parameters may have: those of `HierarchicalVQVAE`, and what others share with it."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

#: Far beyond what any table can use, and still a matter of seconds: a slip of the keyboard is
#: refused instead of keeping a machine busy for hours.
BITS = Interval(Integral, 1, 2**16, closed="both")
LEVELS = Interval(Integral, 1, 2**10, closed="both")

UNITS: dict[str, Any] = {
    "scaler": [
        StrOptions({"auto", "standard", "robust", "quantile"}),
        HasMethods(["fit", "transform", "inverse_transform"]),
        None,
    ],
    "clip": [StrOptions({"auto"}), "array-like", None],
}

CODEC_CONSTRAINTS: dict[str, Any] = {
    "compression_ratios": [str, "array-like", dict, HasMethods(["fit", "transform"])],
    "auto_compression_strategy": [str, list, tuple, callable],
    "bits": [BITS, None],
    "codebook_sizes": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
        list,
        tuple,
        dict,
    ],
    "n_levels": [LEVELS, None],
    "context": [StrOptions({"local", "joint"})],
    "cleaner": [
        HasMethods(["fit", "transform", "inverse_transform", "get_feature_names_out"]),
        None,
    ],
    "encoders": [dict, None],
    **UNITS,
    "column_weights": ["array-like", dict, None],
    "encode": [StrOptions({"ordinal", "onehot", "token", "embedding"})],
    "sparse_output": ["boolean"],
    "group_embedding_dim": [Interval(Integral, 1, None, closed="left")],
    "group_hidden_dim": [Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({"elu", "gelu", "relu", "silu", "tanh"})],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "commitment_weight": [Interval(Real, 0, None, closed="left")],
    "gradient": [StrOptions({"straight_through", "rotation"})],
    "codebook_update": [StrOptions({"ema", "gradient"})],
    "ema_decay": [Interval(Real, 0, 1, closed="both")],
    "codebook_weight": [Interval(Real, 0, None, closed="left")],
    "partial_weight": [Interval(Real, 0, None, closed="left")],
    "orthogonality_weight": [Interval(Real, 0, None, closed="left")],
    "topographic_weight": [Interval(Real, 0, None, closed="left")],
    "perplexity_weight": [Interval(Real, 0, None, closed="left")],
    "min_rows_per_codeword": [Interval(Real, 1, None, closed="left"), None],
    "beam_width": [Interval(Integral, 1, None, closed="left")],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "lr": [Interval(Real, 0, None, closed="neither")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "fit_rows": [Interval(Integral, 2, None, closed="left"), None],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "warm_start": ["boolean"],
    "device": [StrOptions({"auto", "cpu", "cuda"})],
    "checkpoint": [str, os.PathLike, None],
    "random_state": ["random_state"],
}
