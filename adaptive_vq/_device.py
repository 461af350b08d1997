"""Where the network works: on the processor or on a GPU; and torch as it is by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


def resolve_device(device: str) -> torch.device:
    """Device that a name stands for on this machine.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``"auto"`` is a GPU where torch can use one, else the processor.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        For ``"cuda"`` where torch finds no GPU.
    """
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError(
            "device='cuda', but torch finds no GPU that it can use (torch.cuda.is_available() is "
            "False). Set device='auto', which takes a GPU only where there is one, or 'cpu': a "
            "codec fitted on a GPU works on a processor too."
        )
    return torch.device("cuda" if device != "cpu" and found else "cpu")


@contextmanager
def ordinary_torch() -> Iterator[None]:
    """Let torch learn, and make tensors on the processor, whatever has been set outside.

    Inside of ``torch.inference_mode()`` nothing can be trained, and with another default device
    (``torch.set_default_device("meta")``) new tensors would not meet those of the rows.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._device import ordinary_torch
    >>> with torch.device("meta"), torch.inference_mode(), ordinary_torch():
    ...     torch.zeros(1).device, torch.is_grad_enabled()
    (device(type='cpu'), True)
    """
    # A default device costs every call of torch some time, also where it is the usual one.
    usual = torch.get_default_device().type == "cpu"
    processor = nullcontext() if usual else torch.device("cpu")
    with torch.inference_mode(False), torch.enable_grad(), processor:
        yield
