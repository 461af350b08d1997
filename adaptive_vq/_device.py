"""Where the network works: on the processor or on a GPU."""

from __future__ import annotations

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
