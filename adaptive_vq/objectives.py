"""What training may ask for beside reconstruction and commitment (torch only).

Every term is a function of what one training step has found; none is on by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._spread import factors
from adaptive_vq.modules import CodecModule

_TINY = 1e-12


@dataclass(frozen=True)
class Objectives:
    """Weights of the terms, and how gradients reach encoders and codewords.

    Attributes
    ----------
    partial_weight, orthogonality_weight, topographic_weight, perplexity_weight : float
        0 leaves a term out.
    gradient : {"straight_through", "rotation"}
        How the gradient of a codeword becomes one of the latent.
    codebook_update : {"ema", "gradient"}
        Whether codewords follow moving averages or are trained.
    codebook_weight : float
        Weight of the distance that trains the codewords.
    """

    partial_weight: float = 0.0
    orthogonality_weight: float = 0.0
    topographic_weight: float = 0.0
    perplexity_weight: float = 0.0
    gradient: str = "straight_through"
    codebook_update: str = "ema"
    codebook_weight: float = 1.0

    @property
    def trains_codebooks(self) -> bool:
        """Whether codewords are parameters of the optimizer."""
        return self.codebook_update == "gradient"

    @property
    def adds_terms(self) -> bool:
        """Whether the loss holds more than reconstruction and commitment."""
        return self.trains_codebooks or any(
            (
                self.partial_weight,
                self.orthogonality_weight,
                self.topographic_weight,
                self.perplexity_weight,
            )
        )


def objectives_of(estimator: Any) -> Objectives:
    """Objectives that the parameters of an estimator ask for."""
    return Objectives(**{name: getattr(estimator, name) for name in Objectives.__annotations__})


def passed(latents: Tensor, values: Tensor, gradient: str) -> Tensor:
    """Values of the codewords with a gradient for the latents.

    Parameters
    ----------
    latents, values : Tensor of shape (n, width)
        Before and after quantization.
    gradient : {"straight_through", "rotation"}

    Returns
    -------
    Tensor of shape (n, width)
        Equal to `values`. The gradient goes to `latents` as it is (van den Oord et al., 2017), or
        turned and scaled by what maps a row's latents to its values (Fifty et al., 2024,
        "Restructuring vector quantization with the rotation trick", arXiv 2410.06424).
    """
    if gradient == "straight_through":
        return latents + (values - latents).detach()
    turned = _rotated(latents, values.detach())
    return turned + (values - turned).detach()


def _rotated(latents: Tensor, values: Tensor) -> Tensor:
    """``(|q| / |z|) R z``, R being the rotation of z onto q and a constant of the gradient."""
    fixed = latents.detach()
    length = fixed.norm(dim=1, keepdim=True).clamp_min(_TINY)
    reach = values.norm(dim=1, keepdim=True)
    source, aim = fixed / length, values / reach.clamp_min(_TINY)
    middle = source + aim
    middle = middle / middle.norm(dim=1, keepdim=True).clamp_min(_TINY)
    mirrored = latents - 2 * middle * (middle * latents).sum(1, keepdim=True)
    return reach / length * (mirrored + 2 * aim * (source * latents).sum(1, keepdim=True))


@dataclass(frozen=True)
class Step:
    """What one training step has found.

    Attributes
    ----------
    table, weight : Tensor of shape (n, n_features)
        Rows, and the weight of each cell.
    latents : list of Tensor of shape (n, width)
        Per category.
    codes : long Tensor of shape (n, n_codebooks)
    words : sequence of Tensor of shape (K, width)
        Codewords of every codebook, with a gradient where they are trained.
    """

    table: Tensor
    weight: Tensor
    latents: list[Tensor]
    codes: Tensor
    words: Sequence[Tensor]


def row_terms(codec: CodecModule, step: Step, objectives: Objectives) -> Tensor:
    """Weighted squared distances per row (n,): codebook term and partial reconstruction."""
    total = step.table.new_zeros(len(step.table))
    if objectives.trains_codebooks:
        distance = sum(
            ((z.detach() - _value(codec, step, g, end - start)) ** 2).sum(1)
            for g, ((start, end), z) in enumerate(
                zip(codec.layout.spans(), step.latents, strict=True)
            )
        )
        total = total + objectives.codebook_weight * step.weight.amax(1) * distance
    if objectives.partial_weight:
        total = total + objectives.partial_weight * partial_error(codec, step)
    return total


def penalties(codec: CodecModule, step: Step, objectives: Objectives) -> Tensor:
    """Weighted sum of the terms without a unit, a scalar."""
    total = step.table.new_zeros(())
    if objectives.orthogonality_weight:
        total = total + objectives.orthogonality_weight * overlap(step.words)
    if objectives.topographic_weight and step.latents:
        alike = similarity(step.table, torch.cat(step.latents, 1))
        total = total + objectives.topographic_weight * (1 - alike)
    if objectives.perplexity_weight:
        total = total + objectives.perplexity_weight * unevenness(codec, step)
    return total


def _value(codec: CodecModule, step: Step, category: int, n_books: int) -> Tensor:
    """Quantized latents of a category by its first codebooks."""
    start, _ = codec.layout.spans()[category]
    books = slice(start, start + n_books)
    chain = codec.with_spreads(category, step.words[books])
    return quantize.decode(step.codes[:, books], chain, codec.layout.categories[category].width)


def prefix_values(codec: CodecModule, step: Step, category: int) -> list[tuple[int, Tensor]]:
    """Quantized latents of a category after each of its levels: level, Tensor (n, width)."""
    layout = codec.layout.categories[category]
    n_books = {level: i + 1 for i, level in enumerate(layout.levels)}
    return [(level, _value(codec, step, category, n)) for level, n in n_books.items()]


def partial_error(codec: CodecModule, step: Step) -> Tensor:
    """Squared error per row of categories decoded alone, averaged over their prefixes of levels.

    Each category is decoded from its own codewords of the first levels, for every number of levels
    that adds any; missing cells have weight 0. The gradient is that of the codewords. Encoders get
    none: passed straight through a coarse codeword, which is far from the row, it would drive the
    latents away from the codewords.
    """
    total = step.table.new_zeros(len(step.table))
    for g, encoder in enumerate(codec.encoders):
        prefixes = prefix_values(codec, step, g)
        target = step.table[:, encoder.columns] - encoder.mean
        for _, value in prefixes:
            error = target - (value + encoder.shift) @ encoder.basis.T
            error = step.weight[:, encoder.columns] * error**2
            total = total + error.sum(1) / len(prefixes)
    return total


def partial_targets(codec: CodecModule, step: Step, category: int) -> dict[int, Tensor]:
    """What each prefix of levels leaves of the principal coordinates: level to Tensor (n, width).

    Minus half the gradient of `partial_error` at the prefix's quantized latents, times the number
    of prefixes: what moving averages have to follow.
    """
    encoder = codec.encoders[category]
    coordinates = (step.table[:, encoder.columns] - encoder.mean) @ encoder.basis - encoder.shift
    return {level: coordinates - value for level, value in prefix_values(codec, step, category)}


def overlap(words: Sequence[Tensor]) -> Tensor:
    """Mean squared cosine between two codewords of a codebook, averaged over codebooks."""
    found = [_mean_squared_cosine(book) for book in words if len(book) > 1]
    return torch.stack(found).mean() if found else torch.zeros(())


def _mean_squared_cosine(book: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(book, dim=1)
    cosines = unit @ unit.T
    pairs = len(book) * (len(book) - 1)
    return ((cosines**2).sum() - (cosines.diagonal() ** 2).sum()) / pairs


def similarity(rows: Tensor, latents: Tensor) -> Tensor:
    """Pearson correlation of the distances between rows with those between their latents.

    The topographic similarity of Brighton and Kirby (2006), within a batch; 0 where it is not
    defined (fewer than three rows, or all distances equal).
    """
    if len(rows) < 3:
        return rows.new_zeros(())
    before, after = (torch.pdist(part) for part in (rows, latents))
    before, after = before - before.mean(), after - after.mean()
    scale = before.norm() * after.norm()
    if float(scale.detach()) <= _TINY:
        return rows.new_zeros(())
    return (before * after).sum() / scale


def unevenness(codec: CodecModule, step: Step) -> Tensor:
    """1 - entropy of the soft use of a codebook / log of its size, averaged over codebooks.

    A row's share in a codeword falls off with its squared distance, in units of the batch's mean
    distance to the nearest codeword; 0 for codewords used alike.
    """
    found = []
    row_weight = step.weight.amax(1)
    row_weight = row_weight / row_weight.sum().clamp_min(_TINY)
    spans = codec.layout.spans()
    for g, ((start, end), z) in enumerate(zip(spans, step.latents, strict=True)):
        left = z - _value(codec, step, g, end - start).detach()
        factor = factors(step.codes[:, start:end], codec.chain(g))
        for j in range(start, end):
            words = step.words[j]
            if len(words) < 2:  # used as evenly as can be
                continue
            rest = left if factor is None else left / factor[:, j - start, None]
            target = rest[:, : words.shape[1]] + words.detach()[step.codes[:, j]]
            use = row_weight @ _shares(target, words)
            entropy = -(use * use.clamp_min(_TINY).log()).sum()
            found.append(1 - entropy / math.log(len(words)))
    return torch.stack(found).mean() if found else step.table.new_zeros(())


def _shares(rows: Tensor, words: Tensor) -> Tensor:
    distance = (rows**2).sum(1, keepdim=True) + (words**2).sum(1) - 2 * rows @ words.T
    with torch.no_grad():
        unit = distance.clamp_min(0).amin(1).mean()
        unit = torch.maximum(unit, 1e-6 * distance.abs().mean()).clamp_min(_TINY)
    return torch.softmax(-distance / unit, 1)
