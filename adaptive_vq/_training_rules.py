"""Parameters of the training that would do nothing beside another one."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_idle_parameters"]

_NEEDS = (
    ("orthogonality_weight", 0.0, "gradient"),
    ("codebook_weight", 1.0, "gradient"),
    ("ema_decay", 0.99, "ema"),
)
"""Parameter, its default, and the `codebook_update` without which it does nothing."""

_HOW = {
    "gradient": "codewords are trained by the loss",
    "ema": "codewords follow moving averages",
}


def refuse_idle_parameters(estimator: Any) -> None:
    """Raise if a parameter is set that the way codewords are updated leaves without effect.

    Parameters
    ----------
    estimator : HierarchicalVQVAE

    Raises
    ------
    ValueError
        Naming the parameter and what to set.
    """
    update = estimator.codebook_update
    for name, default, needed in _NEEDS:
        value = getattr(estimator, name)
        if value != default and update != needed:
            raise ValueError(
                f"{name}={value!r} has no effect (no gradient reaches it, or nothing reads it) "
                f"while {_HOW[update]}: set codebook_update={needed!r}, or leave {name} at "
                f"{default!r}."
            )
