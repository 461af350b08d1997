"""Codewords that no training row uses: put to use, or removed with codebooks that say nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from adaptive_vq._idle import nudged, replaced
from adaptive_vq._spread import spreads_of
from adaptive_vq.modules import CodecModule


@torch.no_grad()
def put_to_use(
    module: CodecModule, table: Tensor, weight: Tensor, codes: Tensor, *, from_afar: bool
) -> list[int]:
    """Move, in place, codewords that no code uses to where a row does.

    A wide search does without some codewords that a narrow one needed while they were fitted.
    Removed, they would be missed by unseen rows.

    Parameters
    ----------
    module : CodecModule
    table : Tensor of shape (n, n_features)
        Training rows.
    weight : Tensor of shape (n,)
        Their weights.
    codes : long Tensor of shape (n, n_codebooks)
        Their codes.
    from_afar : bool
        Whether codewords go to where rows are served worst. If not, they move by as little as it
        takes for a row to use them, and stay where no row comes into question.

    Returns
    -------
    list of int
        Categories of which a codeword has moved; their codes are to be searched again.
    """
    moved = []
    for g, (start, end) in enumerate(module.layout.spans()):
        chain, own = module.chain(g), codes[:, start:end]
        if all(bool(_used(own[:, j], len(book)).all()) for j, book in enumerate(chain)):
            continue
        move = replaced if from_afar else nudged
        new = move(module.encoders[g](table), chain, weight, own)
        words = [(old != now).any(1) for old, now in zip(chain, new, strict=True)]
        for j, (some, book) in enumerate(zip(words, new, strict=True), start):
            _set(module, j, some, book[some])
            if from_afar:
                _forget(module, j, some)
        for j, spread in enumerate(spreads_of(new) or [], start):
            module.codebooks[j].spread.copy_(spread)
        if any(bool(some.any()) for some in words):
            moved.append(g)
    return moved


def _set(module: CodecModule, j: int, words: Tensor, values: Tensor) -> None:
    book = module.codebooks[j]
    book.weight[words] = values
    book.total[words] = values * book.count[words, None]


def _forget(module: CodecModule, j: int, words: Tensor) -> None:
    """Let decoders know no more of codewords than their place."""
    for n_levels in range(module.layout.book_levels[j] + 1, module.layout.n_levels + 1):
        module.delta(n_levels, j)[words] = 0.0


def _used(codes: Tensor, size: int) -> Tensor:
    """Whether any code is each codeword of a codebook, shape (size,)."""
    return torch.bincount(codes, minlength=size) > 0


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
    used = [_used(codes[:, j], len(book.weight)) for j, book in enumerate(module.codebooks)]
    if module.layout.has_spreads:
        module = copy.deepcopy(module)
        for j in reversed(range(len(used))):
            if int(used[j].sum()) == 1:
                _fold_into_neighbours(module, used, j)
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


def _fold_into_neighbours(module: CodecModule, used: Sequence[Tensor], j: int) -> None:
    """Leave a codeword that all rows share nothing to say but what is said whatever comes before.

    Codewords before it say what it says times their spreads, which take over its own; of a first
    codebook, the codewords after it are multiplied by its spread. Decoders of fewer levels than its
    own hear of it too.
    """
    layout = module.layout
    owner = layout.owners()[j]
    if not layout.categories[owner].spread:
        return
    (start, end), book = layout.spans()[owner], module.codebooks[j]
    word = int(used[j].long().argmax())
    common, spread = book.weight[word].clone(), float(book.spread[word])
    if j > start:
        before = module.codebooks[j - 1]
        widths = layout.categories[owner].book_widths
        widths[j - 1 - start] = max(widths[j - 1 - start], len(common))
        before.widen(len(common))
        before.weight[:, : len(common)] += before.spread[:, None] * common
        before.spread *= spread
        book.weight[word] = 0.0
    else:
        several = (i for i in range(j + 1, end) if int(used[i].sum()) > 1)
        for i in list(several)[:1]:
            module.codebooks[i].weight *= spread
            module.codebooks[i].spread *= spread


def _fold_into_offset(smaller: CodecModule, module: CodecModule, j: int, word: int) -> None:
    """Make the codeword that all rows share part of what is decoded without any code."""
    layout = module.layout
    owner = layout.owners()[j]
    codeword = module.codebooks[j].weight[word]
    smaller.encoders[owner].shift[: len(codeword)] += codeword
    for n_levels in range(layout.book_levels[j] + 1, layout.n_levels + 1):
        books, tables = module.tables(n_levels)
        smaller.offsets[n_levels - 1] += tables[books.index(j)][word]
