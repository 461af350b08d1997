"""Encoders of the user's own: checked before a fit, and kept as they were given."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adaptive_vq._alerts import warn

__all__ = [
    "checked_encoders",
    "fitted_encoders",
    "not_finite",
    "output_shape",
    "tie_again",
    "warn_of_idle_encoders",
]

_PROBED = 2
_ROWS_AT_ONCE = 4096


def checked_encoders(
    encoders: Mapping[str, Any] | None, categories: Mapping[str, NDArray[Any]]
) -> dict[str, Any] | None:
    """Return copies of encoders that fit their categories, None where there are none.

    Raises
    ------
    TypeError, ValueError
        If one is no network, is for an unknown category, or does not take its columns.
    """
    if not encoders:
        return None
    for name in encoders:
        if name not in categories:
            raise ValueError(
                f"encoders names the unknown category {name!r}; there are {list(categories)}."
            )
    own = {name: copy.deepcopy(module) for name, module in encoders.items()}
    for name, module in own.items():
        _check(name, module, len(categories[name]))
    return own


def output_shape(module: torch.nn.Module, n_columns: int) -> tuple[int, ...]:
    """Shape that a network makes of two rows of so many columns."""
    return tuple(_output(module, n_columns).shape)


def _output(module: torch.nn.Module, n_columns: int) -> Any:
    was_training = module.training
    with torch.device("cpu"), torch.no_grad():
        output = module.eval()(torch.zeros(_PROBED, n_columns, device="cpu"))
    module.train(was_training)
    return output


def _check(name: str, module: Any, n_columns: int) -> None:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"encoders gives category {name!r} {module!r}: give a torch.nn.Module.")
    try:
        output = _output(module, n_columns)
    except Exception as error:
        raise ValueError(
            f"encoders gives category {name!r} a network that does not take rows of its "
            f"{n_columns} columns, shape (n, {n_columns}) in float32: {error}"
        ) from error
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"encoders gives category {name!r} a network that returns a {type(output).__name__}: "
            "it has to return one tensor."
        )
    shape = tuple(output.shape)
    if len(shape) != 2 or shape[0] != _PROBED or shape[1] == 0:
        raise ValueError(
            f"encoders gives category {name!r} a network that makes shape {shape} of {_PROBED} "
            f"rows: it has to be ({_PROBED}, width), of any width but 0."
        )
    if not output.dtype.is_floating_point:
        raise ValueError(
            f"encoders gives category {name!r} a network that returns {output.dtype}, which can "
            "not be trained: return floating-point numbers, such as output.float()."
        )
    _check_weights(name, module)


def _check_weights(name: str, module: torch.nn.Module) -> None:
    """Refuse weights that a fitted estimator, whose state is numpy, could not hold."""
    for key, value in module.state_dict().items():
        try:
            value.detach().cpu().numpy()
        except (TypeError, AttributeError) as error:
            raise ValueError(
                f"encoders gives category {name!r} a network whose {key!r} no numpy array can hold "
                f"({error}): give module.float()."
            ) from error


def warn_of_idle_encoders(encoders: Mapping[str, Any] | None, coded: Collection[str]) -> None:
    """Warn of networks for categories that have ended without a code: nothing asks them.

    Parameters
    ----------
    encoders : mapping of str to torch.nn.Module or None
    coded : collection of str
        Categories that have codebooks.
    """
    idle = [name for name in encoders or {} if name not in coded]
    if idle:
        warn(
            f"encoders has no effect on the categories {idle}, which got no bit and so have no "
            "code. Raise bits or their ratios, or give no encoders for them."
        )


@torch.no_grad()
def not_finite(module: Any, encoders: Collection[str], Z: NDArray[np.float32]) -> list[str]:
    """Categories whose own networks, as they have been fitted, make no finite numbers of rows.

    Parameters
    ----------
    module : CodecModule
    encoders : collection of str
        Categories that have networks of the user's own.
    Z : ndarray of shape (n_rows, n_features)
        Rows in codec units.

    Returns
    -------
    list of str
    """
    found = []
    for category, encoder in zip(module.layout.categories, module.encoders, strict=True):
        if category.name not in encoders:
            continue
        was_training = encoder.body.training
        encoder.body.eval()
        for rows in torch.from_numpy(Z).split(_ROWS_AT_ONCE):
            if not encoder.body(rows[:, encoder.columns] - encoder.mean).isfinite().all():
                found.append(category.name)
                break
        encoder.body.train(was_training)
    return found


def fitted_encoders(estimator: Any) -> dict[str, Any] | None:
    """Own encoders that an estimator has been fitted with, whatever its parameter says by now."""
    found: dict[str, Any] | None = getattr(estimator, "_encoders", estimator.encoders)
    return found


def tie_again(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Let weights that are one in a network be one in its state, where each has its own copy.

    Parameters
    ----------
    module : torch.nn.Module
        Whose weights are tied as they are to be.
    state : dict of str to Tensor
        By name, as in its ``state_dict``; changed in place, for ``load_state_dict(assign=True)``.
    """
    first: dict[int, str] = {}
    for name, own in module.state_dict(keep_vars=True).items():
        shared = first.setdefault(id(own), name)
        if shared == name:
            continue
        if isinstance(own, torch.nn.Parameter) and not isinstance(state[shared], type(own)):
            state[shared] = torch.nn.Parameter(state[shared], own.requires_grad)
        state[name] = state[shared]
