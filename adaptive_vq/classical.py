"""The classical start of the codec: principal axes and residual codebooks (torch only).

With the tables of `_joint_tables` it is a complete codec already; training may only improve it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from adaptive_vq import _draws, quantize
from adaptive_vq._axes import principal_directions
from adaptive_vq._idle import nudged
from adaptive_vq._parallel import each
from adaptive_vq._spread import Chain, Spreading, selected, spreads_of

BOOTSTRAP_ROWS = 14_000
NEARLY_GAUSSIAN = 2.0
"""Kernel width for columns that are close to Gaussian: draws then come from the Gaussian of the
rows' covariance, of which any number of rows can be had."""
GAUSSIAN_ROWS = 50_000
TOWARDS_NEIGHBOURS = -1.0
"""Stands in for a kernel width: rows are drawn between rows and their neighbours instead."""
CHAIN_RIDGE = 1.0
REFIT_MUST_GAIN = 0.05
"""Refits of a chain end where they have lowered the training error by no more than this share."""
MEMORIZING = 10
STRONG_RIDGE = 5.0
MUCH = 0.3
"""Of fewer rows per codeword than `MEMORIZING`, refits memorize: ridge and share are larger."""
GENTLE_RIDGE = 20.0
"""Ridge of refits of any number of rows where those kept aside tell that others memorize."""
SEARCH_BEAM_IN_FIT = 8
_WIDE_BEAM = 32
"""Beam by which codewords of few rows are told to be idle: narrower ones overlook what rows would
use in their final search, and unseen rows even more so."""
MOST_CANDIDATES = 400_000
"""Candidates of all rows while a chain grows: of many rows each can have few, since a stage is
trained on no more than `quantize.MOST_RESIDUALS` of them."""
CROWDED = 5
"""Rows per codeword below which many codewords may be used by no row: they go, and others take
their bits. Of more rows few are unused, and to find others would take as long as the fit."""


@dataclass(frozen=True)
class CategorySpec:
    """What the plan says of one category.

    Attributes
    ----------
    name : str
    columns : Tensor of int64, shape (k,)
    sizes : list of list of int
        Codewords asked for, per level and codebook of the level.
    widths : list of int
        Latent width per level: how many principal directions a level codes.
    grown : bool
        Whether codebooks start from codewords placed in ever more directions, not from rows.
    spread : bool
        Whether codewords multiply what later ones add.
    gentle : bool
        Whether codewords follow their rows less in refits, and for less long.
    """

    name: str
    columns: Tensor
    sizes: list[list[int]]
    widths: list[int]
    grown: bool = False
    spread: bool = False
    gentle: bool = False

    def flat(self) -> tuple[list[int], list[int], list[int]]:
        """Sizes, widths and levels of all codebooks; widths never shrink from level to level."""
        reach = [max(self.widths[: i + 1]) for i in range(len(self.widths))]
        books = [
            (size, reach[level], level) for level, sizes in enumerate(self.sizes) for size in sizes
        ]
        return [b[0] for b in books], [b[1] for b in books], [b[2] for b in books]

    @property
    def latent_width(self) -> int:
        """Number of principal directions that any level codes."""
        used = [w for w, sizes in zip(self.widths, self.sizes, strict=True) if sizes]
        return max(used, default=0)


@dataclass
class CategoryCodec:
    """Fitted start of one category."""

    spec: CategorySpec
    mean: Tensor
    basis: Tensor
    chain: Chain
    levels: list[int]
    bootstrap: float = 0.0
    spreads: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep spreads beside the chain, which is a plain list where a start is stored."""
        own = spreads_of(self.chain)
        if own:
            self.spreads = own
        elif self.spreads:
            self.chain = Spreading(self.chain, self.spreads)

    def latents(self, table: Tensor) -> Tensor:
        """Principal coordinates of rows of the whole table, shape (n, latent width)."""
        return (table[:, self.spec.columns] - self.mean) @ self.basis


@dataclass
class Codec:
    """Fitted start: all categories and the joint tables of every prefix of levels."""

    n_features: int
    n_levels: int
    parts: list[CategoryCodec]
    offset: Tensor
    tables: list[Chain] = field(default_factory=list)
    ridges: list[float] = field(default_factory=list)


def seed_of(seed: int, name: str) -> torch.Generator:
    """Generator of a category: depends on its name, never on its place."""
    return torch.Generator().manual_seed(
        (seed * 1_000_003 + zlib.crc32(name.encode())) % (2**63 - 1)
    )


Axes = tuple[Tensor, Tensor]
Stages = dict[float, quantize.Known]
"""Codebooks fitted to rows of one category, by the draws beside them."""


def principal_axes(rows: Tensor, width: int, weight: Tensor) -> Axes:
    """Mean and leading principal directions (k, width) of rows, signs fixed by content."""
    double = rows.double()
    mean = (weight.double() @ double) / weight.double().sum()
    centered = (double - mean) * weight.double().sqrt()[:, None]
    basis = principal_directions(centered, width)
    peak = basis.abs().argmax(0)
    basis = basis * torch.sign(basis[peak, torch.arange(basis.shape[1])])
    return mean.float(), basis.float().contiguous()


def axes_of(table: Tensor, spec: CategorySpec, weight: Tensor) -> Axes:
    """Principal axes of a category, as many as its levels code."""
    return principal_axes(table[:, spec.columns], spec.latent_width, weight)


@dataclass(frozen=True)
class StartOptions:
    """How the start is fitted; the defaults were chosen on rows kept aside.

    Refits are `n_refits` at most, and end before where they no longer pay. A `quick_start` looks at
    fewer of the rows drawn from a Gaussian, which has no outliers to miss. `may_spread` is whether
    codewords may get spreads, `prunes` whether idle ones go however many rows there are. Draws per
    row are those of a table of `standing_for` rows; None: of as many as there are.
    """

    seed: int
    train_beam: int = 16
    n_iter: int = 10
    n_refits: int = 8
    beam: int = SEARCH_BEAM_IN_FIT
    quick_start: bool = False
    may_spread: bool = True
    prunes: bool = False
    standing_for: int | None = None


@dataclass(frozen=True)
class Earlier:
    """What is known of rows by earlier fits to them: their axes, and codebooks that serve again."""

    axes: Axes
    stages: Stages


def fit_category(
    table: Tensor,
    spec: CategorySpec,
    weight: Tensor,
    options: StartOptions,
    bootstrap: float,
    earlier: Earlier | None = None,
) -> CategoryCodec:
    """Principal axes, residual k-means with a beam, alternating search and refit."""
    return fit_rivals(table, [spec], weight, options, bootstrap, earlier)[0]


def fit_rivals(
    table: Tensor,
    specs: Sequence[CategorySpec],
    weight: Tensor,
    options: StartOptions,
    bootstrap: float,
    earlier: Earlier | None = None,
) -> list[CategoryCodec]:
    """As `fit_category`, for specs of a category that only its refits tell apart."""
    spec = specs[0]
    earlier = earlier or Earlier(axes_of(table, spec, weight), {})
    mean, basis = earlier.axes
    latents = (table[:, spec.columns] - mean) @ basis
    n_rows, generator = options.standing_for or len(table), seed_of(options.seed, spec.name)
    latents, weight = _enlarged(latents, weight, bootstrap, n_rows, generator)
    sizes, widths, levels = spec.flat()
    chain, codes = quantize.fit_chain(
        latents,
        sizes,
        widths,
        generator,
        weight=weight,
        beam=min(options.train_beam, max(options.beam, MOST_CANDIDATES // len(latents))),
        n_iter=options.n_iter,
        grown=spec.grown,
        quick_start=options.quick_start and bootstrap >= NEARLY_GAUSSIAN,
        spread=spec.spread,
        known=earlier.stages.setdefault(bootstrap, {}),
    )

    def settled(spec: CategorySpec) -> CategoryCodec:
        refitted = _settled(latents, chain, weight, options, len(table), spec.gentle, codes)
        return CategoryCodec(spec, mean, basis, refitted, levels[: len(refitted)], bootstrap)

    return each(settled, specs, split=True)


def refit_category(
    table: Tensor, part: CategoryCodec, weight: Tensor, options: StartOptions
) -> CategoryCodec:
    """Let the codewords of a category follow other rows, from where they stand."""
    latents, n_rows = part.latents(table), options.standing_for or len(table)
    generator = seed_of(options.seed, part.spec.name)
    latents, weight = _enlarged(latents, weight, part.bootstrap, n_rows, generator)
    chain = _settled(latents, part.chain, weight, options, len(table), part.spec.gentle)
    return replace(part, chain=chain)


def _settled(
    latents: Tensor,
    chain: Chain,
    weight: Tensor,
    options: StartOptions,
    n_rows: int,
    gentle: bool,
    codes: Tensor | None = None,
) -> Chain:
    """Chain refitted to latents, of which the first `n_rows` are rows; of few, no codeword is idle.

    `codes` of the latents are searched for where they are not known.
    """
    if len(chain) > 1:
        ridge = GENTLE_RIDGE if gentle else STRONG_RIDGE
        memorizes = gentle or n_rows < MEMORIZING * max(map(len, chain))
        chain = _refitted(latents, chain, weight, options, ridge if memorizes else None, codes)
    few = n_rows < CROWDED * max(map(len, chain), default=0)
    if few or options.prunes:
        count, beam = weight[:n_rows] > 0, _WIDE_BEAM if few else options.beam
        chain = _used(latents[:n_rows][count], chain, weight[:n_rows][count], beam)
    return chain


def _refitted(
    latents: Tensor,
    chain: Chain,
    weight: Tensor,
    options: StartOptions,
    strong_ridge: float | None,
    codes: Tensor | None = None,
) -> Chain:
    """Alternate search, of which `codes` may be the first result, and refit while that pays.

    The search that says that it no longer does is not for nothing: its codes are refitted to once
    more, unless that would only memorize: refits with a strong ridge also have to gain much.
    """
    memorizes = strong_ridge is not None
    ridge = CHAIN_RIDGE if strong_ridge is None else strong_ridge
    must_gain = MUCH if memorizes else REFIT_MUST_GAIN
    error, pays = math.inf, True
    for _ in range(options.n_refits):
        if codes is None:
            codes = quantize.codes_in_fit(latents, chain, options.beam)
        left = latents - quantize.decode(codes, chain, latents.shape[1])
        before, error = error, float((left.square().sum(1) * weight).sum())
        pays = error <= (1.0 - must_gain) * before
        if pays or not memorizes:
            chain = quantize.refit(latents, codes, chain, ridge, weight)
        if not pays:
            break
        codes = None
    return chain


def _used(latents: Tensor, chain: Chain, weight: Tensor, beam: int) -> Chain:
    """Chain of which each codeword is some row's choice: others are moved a little, or go.

    They would cost bits and serve none.
    """
    codes = quantize.codes_in_fit(latents, chain, beam)
    moved = nudged(latents, chain, weight, codes)
    if moved is not chain:
        codes = quantize.codes_in_fit(latents, moved, beam)
    return selected(moved, [codes[:, j].unique() for j in range(len(moved))])


def _copies(width: float, n_rows: int) -> int:
    """Draws per row: fewer, the more rows there are."""
    wanted, most = (GAUSSIAN_ROWS, 25) if width >= NEARLY_GAUSSIAN else (BOOTSTRAP_ROWS, 5)
    return max(1, min(most, round(wanted / n_rows) - 1))


def _enlarged(
    latents: Tensor, weight: Tensor, width: float, n_rows: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Latents, and draws after them where `width` asks for any, as many a row as of `n_rows`."""
    if not width:
        return latents, weight
    copies = _copies(width, n_rows)
    if width == TOWARDS_NEIGHBOURS:
        return _draws.between_neighbours(latents, copies, generator, weight)
    return _draws.smoothed_bootstrap(latents, width, copies, generator, weight)


def category_error(
    part: CategoryCodec, table: Tensor, beam: int, weight: Tensor | None = None
) -> float:
    """Summed squared error of a category's own reconstruction, weighted by row."""
    return float(row_errors(part, table, beam, weight).sum())


def row_errors(
    part: CategoryCodec, table: Tensor, beam: int, weight: Tensor | None = None
) -> Tensor:
    """Squared error of a category's own reconstruction per row (n,), weighted."""
    latents = part.latents(table)
    codes = quantize.codes_in_fit(latents, part.chain, beam)
    own = quantize.decode(codes, part.chain, latents.shape[1]) @ part.basis.T + part.mean
    error = ((table[:, part.spec.columns] - own) ** 2).sum(1)
    return error if weight is None else error * weight


def encode(parts: Sequence[CategoryCodec], table: Tensor, beam: int) -> Tensor:
    """Codes of every category, side by side (n, number of codebooks)."""
    codes = [quantize.codes_in_fit(part.latents(table), part.chain, beam) for part in parts]
    return torch.cat([torch.zeros(len(table), 0, dtype=torch.long), *codes], 1)
