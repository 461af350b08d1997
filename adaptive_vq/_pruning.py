"""Removal of codewords that no training row uses, and of codebooks that then say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from adaptive_vq.modules import CodecModule


@torch.no_grad()
def without_unused(module: CodecModule, codes: Tensor) -> CodecModule:
    """Copy of a network without the codewords that no code uses.

    A codebook of which a single codeword is left tells rows apart no more: it goes as well, and its
    codeword becomes part of what is decoded anyway.

    Parameters
    ----------
    module : CodecModule
    codes : long Tensor of shape (n, n_codebooks)
        Codes of the training rows.

    Returns
    -------
    CodecModule
        Decodes the codes, renumbered, to what they were decoded to.
    """
    used = [
        torch.bincount(codes[:, j], minlength=len(book.weight)) > 0
        for j, book in enumerate(module.codebooks)
    ]
    kept = [j for j, u in enumerate(used) if int(u.sum()) > 1]
    smaller = _shell(module, kept, [int(used[j].sum()) for j in kept])
    smaller.load_state_dict(_state(module, used, kept))
    for j, u in enumerate(used):
        if j not in kept:
            _fold_into_offset(smaller, module, j, int(u.long().argmax()))
    return smaller.eval()


def _shell(module: CodecModule, kept: Sequence[int], sizes: Sequence[int]) -> CodecModule:
    """Network of the smaller layout, its weights not yet set."""
    layout = module.layout
    categories = [
        replace(
            category,
            levels=[category.levels[j - start] for j in kept if start <= j < end],
            book_widths=[category.book_widths[j - start] for j in kept if start <= j < end],
        )
        for (start, end), category in zip(layout.spans(), layout.categories, strict=True)
    ]
    custom = {
        category.name: encoder.body
        for category, encoder in zip(layout.categories, module.encoders, strict=True)
    }
    return CodecModule(replace(layout, categories=categories), sizes, custom)


def _state(module: CodecModule, used: Sequence[Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    """Weights of the smaller network: codebooks renumbered, rows of unused codewords left out."""
    place = {j: i for i, j in enumerate(kept)}
    state = {}
    for key, value in module.state_dict().items():
        j = _book_of(key)
        if j is None:
            state[key] = value
        elif j in place:
            state[_renamed(key, place[j])] = value[used[j]]
    return state


def _book_of(key: str) -> int | None:
    """Codebook that a weight of the network belongs to, by its name."""
    if key.startswith("codebooks."):
        return int(key.split(".")[1])
    return int(key.rsplit("_", 1)[1]) if key.startswith("delta_") else None


def _renamed(key: str, j: int) -> str:
    if key.startswith("delta_"):
        return f"{key.rsplit('_', 1)[0]}_{j}"
    return ".".join(["codebooks", str(j), *key.split(".")[2:]])


def _fold_into_offset(smaller: CodecModule, module: CodecModule, j: int, word: int) -> None:
    """Make the codeword that all rows share part of what is decoded without any code."""
    layout = module.layout
    owner = next(g for g, (start, end) in enumerate(layout.spans()) if start <= j < end)
    codeword = module.codebooks[j].weight[word]
    smaller.encoders[owner].shift[: len(codeword)] += codeword
    for n_levels in range(layout.book_levels[j] + 1, layout.n_levels + 1):
        books, tables = module.tables(n_levels)
        smaller.offsets[n_levels - 1] += tables[books.index(j)][word]
