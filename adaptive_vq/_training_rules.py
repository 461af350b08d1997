"""Parameters of the training that would do nothing beside another one."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_idle_parameters", "refuse_small_batches"]

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


def refuse_small_batches(estimator: Any) -> None:
    """Raise if processes that train together are more than the rows of a batch.

    Parameters
    ----------
    estimator : HierarchicalVQVAE

    Raises
    ------
    ValueError
        Naming both numbers: each process needs a row of every batch.
    """
    from adaptive_vq._distributed import n_ranks

    if estimator.max_epochs and estimator.batch_size < n_ranks():
        raise ValueError(
            f"batch_size={estimator.batch_size} leaves processes without a row: "
            f"torch.distributed has {n_ranks()} train together, and each takes its part of every "
            f"batch. Give a batch_size of at least {n_ranks()}, or train on fewer processes."
        )
