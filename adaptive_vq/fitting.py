"""From a plan and rows to a fitted network (torch only).

Start, freed bits, joint tables, training, and the clean-up at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import ge
from typing import Any

import torch
from torch import Tensor, nn

from adaptive_vq import _joint_tables, classical, quantize
from adaptive_vq._foresight import Optimism, category_errors, measure_optimism, novel_errors
from adaptive_vq._freed_bits import offer_freed_bits, spent
from adaptive_vq._layout import layout_of
from adaptive_vq._moments import column_means
from adaptive_vq._parallel import beside, each
from adaptive_vq._prefixes import settle_prefixes
from adaptive_vq._pruning import put_to_use, without_unused
from adaptive_vq._rows import Rows, holes_of
from adaptive_vq._small_tables import choose_start
from adaptive_vq._smoothing import clearly_better
from adaptive_vq.checkpoints import NoCheckpoint, Progress, pack, unpack
from adaptive_vq.classical import CategoryCodec, CategorySpec, Codec, StartOptions
from adaptive_vq.learning import move_bits
from adaptive_vq.modules import CodecModule
from adaptive_vq.training import TrainingOptions, train

FOLD_IN_ROWS = 20_000
"""Up to this many training rows, those kept aside are folded back in once all is decided."""

FEW_MORE = 0.2
"""Of all rows at most this share may be new to codewords that follow from where they stand."""

_MOST_SETTLED = 4

MIN_GAIN = 0.002
"""Relative gain on the rows kept aside below which training counts as not having helped."""


@dataclass(frozen=True)
class FitOptions:
    """What the estimator passes on."""

    budget: float
    may_grow: bool
    beam: int
    joint: bool
    hidden: int
    embedding: int
    dropout: float
    validation_fraction: float
    early_stopping: bool
    training: TrainingOptions
    encoders: Mapping[str, nn.Module] | None = None
    may_move: bool = False
    activation: str = "gelu"
    most_codewords: int = 2**quantize.MAX_CODEBOOK_BITS

    @property
    def seed(self) -> int:
        """Seed of everything random in the fit."""
        return self.training.seed


@dataclass
class Fitted:
    """A fitted network, the codes (n, m) of its training rows, and how it came about.

    `optimism` says by how much rows that it has not seen are worse; None if none were kept aside.
    `moves` are those of bits between categories, where the strategy learns.
    """

    module: CodecModule
    codes: Tensor
    history: list[dict[str, Any]]
    n_epochs: int
    optimism: Optimism | None
    moves: list[dict[str, Any]]


@dataclass(frozen=True)
class Decided:
    """What the rows kept aside have decided, so that a refit on all rows can repeat it."""

    specs: list[CategorySpec]
    bootstraps: dict[str, float]
    ridges: list[float]
    moves: list[dict[str, Any]]


class ClassicalStart:
    """Networks that start as the classical codec of some rows.

    Parameters
    ----------
    rows : Rows
        Rows to fit on.
    valid : Rows or None
        Rows kept aside, which choose smoothing and ridges.
    specs : list of CategorySpec
        What the plan says of every category.
    n_levels : int
    options : FitOptions
    progress : Progress
        Keeps what is fitted here.
    """

    corrects = False

    def __init__(
        self,
        rows: Rows,
        valid: Rows | None,
        specs: list[CategorySpec],
        n_levels: int,
        options: FitOptions,
        progress: Progress,
    ) -> None:
        self.rows, self.n_levels, self.options, self.progress = rows, n_levels, options, progress
        self.decided, self.codec = _recall(
            progress, "start", lambda: _start(rows, valid, specs, n_levels, options)
        )
        self._on_all: Codec | None = None

    def network(self) -> CodecModule:
        """Network on the rows to fit on."""
        return _network(self.codec, self.rows, self.options)

    def prepare_on_all(self, rows: Rows) -> None:
        """Fit what `network_on_all` starts from; no matter what is trained in the meantime."""
        self._on_all = _recall(
            self.progress,
            "start_on_all",
            lambda: _codec_on_all(
                rows, len(self.rows), self.decided, self.codec.parts, self.n_levels, self.options
            ),
        )

    def network_on_all(self, rows: Rows) -> CodecModule:
        """Network on all rows, with everything as decided on those to fit on."""
        assert self._on_all is not None
        return _network(self._on_all, rows, self.options)


def _recall(progress: Progress, stage: str, compute: Callable[[], Any]) -> Any:
    """Recall what is made of tensors and of the dataclasses of a start."""
    found = progress.recall(stage, lambda: pack(compute()))
    return unpack(found, CategorySpec, CategoryCodec, Codec, Decided)


class WarmStart:
    """Networks that start from an earlier fit.

    Parameters
    ----------
    module : CodecModule
        The fitted network; it is not changed.
    """

    def __init__(self, module: CodecModule) -> None:
        self.module = module
        self.corrects = bool(module.corrects)

    def network(self) -> CodecModule:
        """Copy of the earlier network."""
        return copy.deepcopy(self.module)

    def prepare_on_all(self, rows: Rows) -> None:
        """Do nothing: no rows have to decide on a network that is fitted already."""

    def network_on_all(self, rows: Rows) -> CodecModule:
        """Copy of the earlier network."""
        return self.network()


def fit_codec(
    rows: Rows,
    specs: list[CategorySpec],
    n_levels: int,
    options: FitOptions,
    on_epoch: Callable[[dict[str, Any], CodecModule], bool],
    before: CodecModule | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Start, train, restore the best weights, fold the rows kept aside back in, clean up.

    Parameters
    ----------
    rows : Rows
        Training rows in codec units, missing cells filled and of weight 0.
    specs : list of CategorySpec
        What the plan says of every category.
    n_levels : int
    options : FitOptions
    on_epoch : callable
        Called after every epoch; True stops the training.
    before : CodecModule, default=None
        Network of an earlier fit to go on from, instead of a classical start.
    progress : Progress, default=None
        Keeps what has been done, so that a fit that was interrupted can go on.

    Returns
    -------
    Fitted
    """
    progress = progress or NoCheckpoint()
    observed = rows.observed()
    fit_rows, valid = split_rows(observed, options)
    start: ClassicalStart | WarmStart
    if before is None:
        start = ClassicalStart(fit_rows, valid, specs, n_levels, options, progress)
    else:
        start = WarmStart(before)
    module = start.network()
    folds_in = valid is not None and len(observed) <= FOLD_IN_ROWS
    history, _ = beside(
        lambda: start.prepare_on_all(observed) if folds_in else None,
        lambda: train(module, fit_rows.even(), valid, options.training, on_epoch, progress),
    )
    n_epochs = max((r["epoch"] for r in history if r["best"]), default=0)
    if valid is not None and not _worthwhile(history):
        n_epochs = 0
    # Of an earlier fit no rows are left that it has not learned from.
    unseen = None if valid is None or before is not None else category_errors(module, valid)
    if folds_in:
        module = start.network_on_all(observed)
        if n_epochs:
            again = replace(options.training, max_epochs=n_epochs)
            train(
                module, observed.even(), None, again, lambda *_: False, progress, "training_on_all"
            )
    elif n_epochs == 0:
        module = start.network()
    module.corrects.fill_(n_epochs > 0 or start.corrects)
    module, codes = _cleaned_up(module, rows, options)
    moves = start.decided.moves if isinstance(start, ClassicalStart) else []
    optimism = None
    if unseen is not None:
        seen_errors = category_errors(module, fit_rows)
        optimism = measure_optimism(unseen, seen_errors, novel_errors(module, observed))
    return Fitted(module, codes, history, n_epochs, optimism, moves)


def _cleaned_up(module: CodecModule, rows: Rows, options: FitOptions) -> tuple[CodecModule, Tensor]:
    """As `_without_idle`, and no decoder of first levels is worse than the one before it."""
    observed, seen = rows.observed(), rows.weight.amax(1) > 0
    module, codes = _without_idle(module, rows, seen, options)
    for _ in range(_MOST_SETTLED):
        if not settle_prefixes(module, observed, codes[seen]) or not options.joint:
            break
        # Codes that follow the decoder of all levels are other ones now.
        module, codes = _without_idle(module, rows, seen, options)
    return module, codes


def _without_idle(
    module: CodecModule, rows: Rows, seen: Tensor, options: FitOptions
) -> tuple[CodecModule, Tensor]:
    """Network without unused codewords, and the final codes of the rows, of which `seen` count."""

    def codes_of_rows() -> Tensor:
        return module.encode(rows.table, options.beam, joint=options.joint)

    codes, observed = codes_of_rows(), rows.observed()
    weight, spans = observed.weight.amax(1), module.layout.spans()
    for from_afar in (False, True):
        moved = put_to_use(module, observed.table, weight, codes[seen], from_afar=from_afar)
        if moved and options.joint:
            codes = codes_of_rows()
        elif moved:  # the codes of other categories cannot have changed
            books = [j for g in moved for j in range(*spans[g])]
            codes[:, books] = module.search(rows.table, options.beam, moved)
    while True:
        n_codewords = sum(len(book.weight) for book in module.codebooks)
        smaller = without_unused(module, codes)
        if sum(len(book.weight) for book in smaller.codebooks) == n_codewords:
            return module, codes
        # The beam met codewords that have gone: the codes are searched again.
        module = smaller
        codes = codes_of_rows()


def split_rows(rows: Rows, options: FitOptions) -> tuple[Rows, Rows | None]:
    """Rows to fit on, and rows kept aside (None: too few rows, or not wanted)."""
    n_valid = int(options.validation_fraction * len(rows))
    if not options.early_stopping or n_valid < 2:
        return rows, None
    if len(rows) - n_valid < 2:
        raise ValueError(
            f"validation_fraction={options.validation_fraction} leaves {len(rows) - n_valid} of "
            f"{len(rows)} rows to fit on. Lower it, or set early_stopping=False."
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(options.seed))
    aside, fit = order[:n_valid], order[n_valid:]
    return rows.take(fit), rows.take(aside)


def _start(
    rows: Rows, valid: Rows | None, specs: list[CategorySpec], n_levels: int, options: FitOptions
) -> tuple[Decided, Codec]:
    """Classical start, as rows kept aside decide where there are any."""
    start, weight = StartOptions(options.seed, may_spread=not options.joint), rows.weight.amax(1)
    moves: list[dict[str, Any]] = []
    if options.may_move and valid is not None:
        specs, moves = move_bits(
            rows.table,
            weight,
            valid.table,
            specs,
            options.seed,
            valid.weight.amax(1),
            options.most_codewords,
        )

    def fit(spec: CategorySpec) -> CategoryCodec:
        if valid is None:
            return classical.fit_category(rows.table, spec, weight, start, 0.0)
        return _fit_judged(rows.table, weight, valid, spec, start, options.may_grow)

    parts = each(fit, specs, split=True)
    specs = [part.spec for part in parts]
    bootstraps = {part.spec.name: part.bootstrap for part in parts}
    codec = _codec(rows, parts, n_levels, options, valid)
    return Decided(specs, bootstraps, codec.ridges, moves), codec


def _fit_judged(
    table: Tensor,
    weight: Tensor,
    valid: Rows,
    spec: CategorySpec,
    start: StartOptions,
    may_split: bool,
) -> CategoryCodec:
    """Codebooks of a category whose sizes, starts, draws and refits are chosen by rows."""
    spec, width = choose_start(table, spec, weight, start, may_split)
    rivals = [spec]
    # Of draws without end nothing is memorized, and refits to them take long.
    if len(spec.flat()[0]) > 1 and width < classical.NEARLY_GAUSSIAN:
        rivals += [replace(spec, gentle=True)]
    fitted = classical.fit_rivals(table, rivals, weight, start, width)
    if len(fitted) == 1:
        return fitted[0]
    judged = valid.table, start.beam, valid.weight.amax(1)
    errors = each(lambda part: classical.row_errors(part, *judged), fitted, split=True)
    return fitted[int(clearly_better(*errors))]


def _codec(
    rows: Rows,
    parts: list[CategoryCodec],
    n_levels: int,
    options: FitOptions,
    valid: Rows | None = None,
    ridges: Sequence[float] = (),
) -> Codec:
    """Codec of fitted categories: bits that these have freed offered again, and joint tables.

    Rows kept aside choose the ridges of the tables where none are given.
    """
    if options.may_grow:
        parts = offer_freed_bits(rows, parts, options.budget, options.most_codewords, options.seed)
    offset = _joint_tables.offset_of(parts, column_means(rows.table, rows.weight).float())
    codec = Codec(rows.table.shape[1], n_levels, parts, offset, ridges=list(ridges))
    judged = None if valid is None else (valid.table, valid.weight)
    holes, weight = holes_of(rows.weight), rows.weight.amax(1)
    beam = classical.SEARCH_BEAM_IN_FIT
    _joint_tables.fit_tables(codec, rows.table, holes, weight, judged, beam)
    return codec


def _is_full_chain(part: CategoryCodec, asked: CategorySpec) -> bool:
    """Whether there are several codebooks, none smaller than asked (bits freed may have grown it).

    A single codebook is fitted anew in no time.
    """
    sizes, wanted = [len(book) for book in part.chain], asked.flat()[0]
    return len(sizes) > 1 and len(sizes) >= len(wanted) and all(map(ge, sizes, wanted))


def _network(codec: Codec, rows: Rows, options: FitOptions) -> CodecModule:
    """Network that starts as the classical codec; running counts are rows per batch."""
    layout = layout_of(
        codec, options.hidden, options.embedding, options.dropout, options.activation
    )
    sizes = [len(codebook) for part in codec.parts for codebook in part.chain]
    codes = classical.encode(codec.parts, rows.table, 1)
    share = min(1.0, options.training.batch_size / max(len(rows), 1))
    mass = rows.even().weight.amax(1)
    counts = [
        torch.bincount(codes[:, j], mass, size).clamp_min(0.5) * share
        for j, size in enumerate(sizes)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        # Copies: the refit on all rows starts from the encoders as given, not as trained before.
        module = CodecModule(layout, sizes, copy.deepcopy(options.encoders))
    module.start_from(codec, counts)
    return module


def _worthwhile(history: list[dict[str, Any]]) -> bool:
    errors = [r["valid_nmse"] for r in history if r["best"]]
    return bool(errors) and errors[-1] <= (1 - MIN_GAIN) * history[0]["start_nmse"]


def _codec_on_all(
    rows: Rows,
    n_before: int,
    decided: Decided,
    before: list[CategoryCodec],
    n_levels: int,
    options: FitOptions,
) -> Codec:
    """Repeat the start on all rows, `n_before` of them known, with everything as decided.

    Few more rows hardly change a chain of codebooks: its codewords follow from where they stand.
    Codebooks fitted on draws from a Gaussian stay as they are. Anew are fitted single codebooks,
    and those that came out smaller than asked, since rows had no more values: all rows may have.
    """
    start, weight = StartOptions(options.seed), rows.weight.amax(1)
    few_more = n_before >= (1.0 - FEW_MORE) * len(rows)

    def fit(spec: CategorySpec) -> CategoryCodec:
        width = decided.bootstraps[spec.name]
        return classical.fit_category(rows.table, spec, weight, start, width)

    def follow(part: CategoryCodec, spec: CategorySpec) -> CategoryCodec:
        if few_more and part.bootstrap >= classical.NEARLY_GAUSSIAN:
            return part
        if few_more and _is_full_chain(part, spec):
            return classical.refit_category(rows.table, part, weight, start)
        return fit(spec)

    parts = each(follow, before, decided.specs, split=True)
    if spent(parts) > options.budget + 1e-6:  # bits that had been freed are in use now
        parts = each(fit, decided.specs, split=True)
    return _codec(rows, parts, n_levels, options, ridges=decided.ridges)
