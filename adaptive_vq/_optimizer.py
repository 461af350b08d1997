"""Adam for training that is not compiled: without the compiler that torch would load for it."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch.optim import Adam

__all__ = ["PlainAdam"]


class PlainAdam(Adam):
    """torch's Adam, called past the wrappers that ready it for ``torch.compile``.

    They do nothing without a compiled program, but load the compiler on the first call: more than a
    second, and some 100 MB that the process keeps.
    """

    add_param_group = unwrap(Adam.add_param_group)
    zero_grad = unwrap(Adam.zero_grad)
    state_dict = unwrap(Adam.state_dict)
    load_state_dict = unwrap(Adam.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step; a closure computes the loss, with gradients, first."""
        return unwrap(Adam.step)(self, closure)
