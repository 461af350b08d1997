"""Training of the network: a private skorch net, whole-tensor batches, best weights restored."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor, nn

from adaptive_vq import _distributed
from adaptive_vq._moments import column_variances
from adaptive_vq._optimizer import PlainAdam
from adaptive_vq._rows import Rows, TensorBatches
from adaptive_vq._spread import factors, least_factors
from adaptive_vq.checkpoints import NoCheckpoint, Progress, pack, unpack
from adaptive_vq.modules import CodecModule
from adaptive_vq.objectives import Objectives, Step, partial_targets, passed, penalties, row_terms

TRAIN_BEAM = 4
"""Candidates kept by the search during training; encoding uses the estimator's `beam_width`."""

MOST_REGAINED = 0.1
"""What one epoch may be expected to make good of what others have lost, by the least error."""

_WITNESSES = 500  # most training rows, evenly spread, that tell whether training has run off
_RANDOM_ON_GPU = "random_on_gpu"
_STILL = 1e-12  # variance below which a column of float32 is constant up to rounding


class TrainingModule(nn.Module):
    """One training step's forward pass around the codec; updates the codebooks as it goes."""

    codec: CodecModule

    def __init__(
        self, codec: CodecModule, decay: float, objectives: Objectives | None = None
    ) -> None:
        super().__init__()
        self.codec = codec
        self.decay = decay
        self.objectives = objectives or Objectives()
        self.usage = [book.count.new_zeros(len(book.weight)) for book in codec.codebooks]
        # Parameters that share their memory with the codebooks: a step of the optimizer moves both.
        trained = codec.codebooks if self.objectives.trains_codebooks else []
        self.words = nn.ParameterList(nn.Parameter(book.weight) for book in trained)

    def forward(self, table: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Reconstruction, squared distance of latents to codewords per row, and the weights.

        With further objectives also their terms: squared distances per row, and a scalar.
        """
        codec = self.codec
        found = codec.quantize(table, TRAIN_BEAM, max(len(table), 1))
        commitment = table.new_zeros(len(table))
        out = codec.shared_part(found.codes)
        straight = [table.new_zeros(len(table), 0)]
        for encoder, z, value in zip(codec.encoders, found.latents, found.values, strict=True):
            commitment = commitment + ((z - value) ** 2).sum(1)
            # The value of the codeword, the gradient of the latent.
            through = passed(z, value, self.objectives.gradient)
            straight.append(through + encoder.shift)
            out = out.index_add(1, encoder.columns, through @ encoder.basis.T)
        joined = torch.cat(straight, 1)
        if joined.shape[1] == 0:
            joined = table.new_zeros(len(table), 1)
        out = out + codec.correction(joined)
        # Copies: averages move the codewords before the gradient has been taken.
        words = list(self.words) or [book.weight.clone() for book in codec.codebooks]
        step = Step(table, weight, found.latents, found.codes, words)
        terms: tuple[Tensor, ...] = ()
        if self.objectives.adds_terms:
            terms = (
                row_terms(codec, step, self.objectives),
                penalties(codec, step, self.objectives),
            )
        if self.training:
            self._update_codebooks(step, found.values)
        return out, commitment, weight, *terms

    @torch.no_grad()
    def _update_codebooks(self, step: Step, values: list[Tensor]) -> None:
        row_weight = step.weight.amax(1)
        for g, (start, end) in enumerate(self.codec.layout.spans()):
            left = step.latents[g] - values[g]
            partial = self._partial_targets(step, g)
            chain = self.codec.chain(g)
            factor, least = factors(step.codes[:, start:end], chain), least_factors(chain)
            for j in range(start, end):
                book, codes = self.codec.codebooks[j], step.codes[:, j]
                self.usage[j].index_add_(0, codes, self.usage[j].new_ones(len(codes)))
                if self.objectives.trains_codebooks:
                    continue
                # What this codebook would have to say, given what all others say.
                rest = self._rest(left, partial, self.codec.layout.book_levels[j])
                rest = rest[:, : book.weight.shape[1]]
                if factor is None:
                    book.update(rest + book.weight[codes], codes, row_weight, self.decay)
                    continue
                # In units of the factor, with whose square errors there count.
                share = factor[:, j - start]
                target = rest / share[:, None] + book.weight[codes]
                mass, floor = row_weight * share.square(), least[j - start].square()
                book.update(target, codes, mass, self.decay, floor)

    def _partial_targets(self, step: Step, category: int) -> dict[int, Tensor]:
        if not self.objectives.partial_weight or self.objectives.trains_codebooks:
            return {}
        return partial_targets(self.codec, step, category)

    def _rest(self, left: Tensor, partial: dict[int, Tensor], level: int) -> Tensor:
        """What all levels leave; with partial reconstruction, averaged with what prefixes leave."""
        parts = [rest for upto, rest in partial.items() if upto >= level]
        if not parts:
            return left
        share = self.objectives.partial_weight / len(partial)
        return (left + share * torch.stack(parts).sum(0)) / (1 + share * len(parts))

    @torch.no_grad()
    def settle(self) -> None:
        """Let counts and sums of trained codebooks agree with the codewords again."""
        for book in self.codec.codebooks if self.objectives.trains_codebooks else []:
            book.start(book.weight.clone(), book.count)

    def take_usage(self) -> list[Tensor]:
        """Hits per codeword since the last call: after an epoch, over the whole training set."""
        usage = [_distributed.total(hits) for hits in self.usage]
        self.usage = [torch.zeros_like(hits) for hits in usage]
        return usage


class CodecLoss(nn.Module):
    """Weighted reconstruction error plus commitment, both in units of the data's variance.

    ``(sum w (x - x_hat)^2 + commitment_weight * sum w ||z - sg(q)||^2) / (n * variance)``; a row
    has the largest weight of its cells. Codebooks have no term, they follow by moving averages (van
    den Oord et al., 2017, "Neural discrete representation learning"). Terms of further objectives
    are added: those per row in the same units, those without a unit as they are.

    Parameters
    ----------
    commitment_weight : float
    variance : float
        Summed variance of all columns.
    """

    def __init__(self, commitment_weight: float, variance: float) -> None:
        super().__init__()
        self.commitment_weight = commitment_weight
        self.variance = max(variance, 1e-12)

    def forward(self, output: tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Scalar loss of a batch."""
        reconstruction, commitment, weight, *terms = output
        error = (weight * (target - reconstruction) ** 2).sum()
        rows = weight.amax(1)
        total = error + self.commitment_weight * (rows * commitment).sum()
        if not terms:
            return total / (len(target) * self.variance)
        per_row, penalty = terms
        return (total + per_row.sum()) / (len(target) * self.variance) + penalty


@dataclass(frozen=True)
class TrainingOptions:
    """What the estimator passes on."""

    max_epochs: int
    batch_size: int
    lr: float
    commitment_weight: float
    ema_decay: float
    patience: int
    beam: int
    seed: int
    device: str = "cpu"
    objectives: Objectives = field(default_factory=Objectives)


def valid_error(codec: CodecModule, rows: Rows, beam: int) -> tuple[float, Tensor]:
    """Weighted summed squared error of all rows, and per column."""
    codes = codec.encode(rows.table, beam)
    per_column = (rows.weight * (rows.table - codec.decode(codes, codec.layout.n_levels)) ** 2).sum(
        0
    )
    return float(per_column.sum()), per_column


class _Net(NeuralNet):  # type: ignore[misc]
    """A net that leaves the losses of an epoch where they are.

    skorch asks for every single one, and on an accelerator each question waits for all that is
    under way.
    """

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Take a step per batch; there are none of rows kept aside."""
        if iterator is None:
            return
        self.losses, self.sizes = [], []
        for batch in iterator:
            self.losses.append(step_fn(batch, **fit_params)["loss"].detach())
            self.sizes.append(len(batch[1]))

    def on_grad_computed(self, net: Any, named_parameters: Any, **kwargs: Any) -> None:
        """Let the gradients be those of the whole batch, whoever has which part of it."""
        _distributed.average_gradients([p for _, p in named_parameters], len(kwargs["batch"][1]))


def _net(module: TrainingModule, options: TrainingOptions, variance: float) -> _Net:
    return _Net(
        module,
        criterion=CodecLoss(options.commitment_weight, variance),
        optimizer=PlainAdam,
        lr=options.lr,
        batch_size=options.batch_size,
        iterator_train=TensorBatches,
        iterator_train__generator=torch.Generator().manual_seed(options.seed),
        train_split=None,
        callbacks="disable",
        verbose=0,
        device=None,
    ).initialize()


def train(
    codec: CodecModule,
    rows: Rows,
    valid: Rows | None,
    options: TrainingOptions,
    on_epoch: Callable[[dict[str, Any], CodecModule], bool],
    progress: Progress | None = None,
    stage: str = "training",
) -> tuple[list[dict[str, Any]], bool]:
    """Train in place; at the end the weights are the best seen on the rows kept aside.

    The weights that it starts with count too: training can only lower the error on these rows.
    Where torch.distributed has been initialized, all processes have to be given the same arguments:
    each takes its part of every batch, and they end with the same weights.

    Parameters
    ----------
    codec : CodecModule
        The classical start.
    rows, valid : Rows
        Training rows, and rows kept aside (None: every epoch counts as better).
    options : TrainingOptions
    on_epoch : callable (record, codec) -> bool
        Called after every epoch; True stops.
    progress : Progress, default=None
        Keeps every epoch; a training that was interrupted goes on after its last one.
    stage : str, default="training"
        Name of this training in `progress`.

    Returns
    -------
    history : list of dict
        One record per epoch.
    improved : bool
        Whether training beat the start.
    """
    device = torch.device(options.device)
    codec.to(device)
    _distributed.from_first(codec.state_dict().values())
    rows, valid = rows.to(device), None if valid is None else valid.to(device)
    module = TrainingModule(codec, options.ema_decay, options.objectives)
    energy = float((rows.weight * (rows.table - codec.offset) ** 2).sum())
    net = _net(module, options, energy / max(len(rows), 1))
    judge = _Judge(codec, rows, valid, options.beam)
    codec.corrects.fill_(True)
    _keep_still(codec, rows)
    progress = progress or NoCheckpoint()
    history, stopped = _resumed(progress.get(stage), module, net, judge, device)
    for epoch in range(len(history) + 1, options.max_epochs + 1):
        if stopped:
            break
        net.fit_loop(rows, epochs=1)
        module.settle()
        record = {
            "epoch": epoch,
            "start_nmse": judge.start_nmse,
            "train_loss": _distributed.mean(net.losses, net.sizes),
        }
        record |= _usage_figures(module.take_usage())
        judge.look(record)
        history.append(record)
        stopped = on_epoch(record, codec) or "diverged" in record
        stopped = stopped or judge.gives_up(record, options.patience)
        progress.put(stage, _state(module, net, judge, history, stopped, device))
    codec.load_state_dict(judge.kept)
    codec.to("cpu")
    return history, judge.improved


def _state(
    module: TrainingModule,
    net: NeuralNet,
    judge: _Judge,
    history: list[Any],
    stopped: bool,
    device: torch.device,
) -> dict[str, Any]:
    """Everything that the next epoch depends on."""
    state = {
        "module": pack(module.state_dict()),
        "optimizer": pack(net.optimizer_.state_dict()),
        "batches": pack(net.iterator_train__generator.get_state()),
        "random": pack(torch.get_rng_state()),
        "judge": pack(judge.state()),
        "history": history,
        "stopped": bool(stopped),
    }
    if device.type == "cuda":  # dropout draws where the network is
        state[_RANDOM_ON_GPU] = pack(torch.cuda.get_rng_state(device))
    return state


def _resumed(
    state: dict[str, Any] | None,
    module: TrainingModule,
    net: NeuralNet,
    judge: _Judge,
    device: torch.device,
) -> tuple[list[dict[str, Any]], bool]:
    """Take up a training where `_state` was written: its history, and whether it had ended."""
    if state is None:
        return [], False
    module.load_state_dict(unpack(state["module"]))
    net.optimizer_.load_state_dict(unpack(state["optimizer"]))
    net.iterator_train__generator.set_state(unpack(state["batches"]))
    torch.set_rng_state(unpack(state["random"]))
    if device.type == "cuda" and _RANDOM_ON_GPU in state:
        torch.cuda.set_rng_state(unpack(state[_RANDOM_ON_GPU]), device)
    judge.resume(unpack(state["judge"]))
    return state["history"], state["stopped"]


def _keep_still(codec: CodecModule, rows: Rows) -> None:
    """Give columns without spread no correction: Adam would turn rounding into steps of size lr."""
    moving = column_variances(rows.table, rows.weight) > _STILL
    for parameter in codec.correction[-1].parameters():
        mask = moving.float().reshape(-1, *[1] * (parameter.dim() - 1))
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask)


class _Judge:
    """Judges every epoch on the rows kept aside and keeps the best weights.

    Where there are none, some training rows tell only whether training has run off.
    """

    def __init__(self, codec: CodecModule, rows: Rows, valid: Rows | None, beam: int) -> None:
        self.codec, self.judges = codec, valid is not None
        # As wide as it will encode: a narrow search likes what it was trained with better.
        self.beam = beam if self.judges else min(beam, TRAIN_BEAM)
        some = slice(None, None, -(-len(rows) // _WITNESSES) or None)
        self.seen = valid or Rows(rows.table[some], rows.weight[some])
        self.kept = copy.deepcopy(codec.state_dict())
        self.improved, self.waited = False, 0
        energy = float((self.seen.weight * (self.seen.table - codec.offset) ** 2).sum())
        self.scale = max(energy, 1e-30)
        start = valid_error(codec, self.seen, self.beam)[0]
        self.best = start if self.judges else math.inf
        self.start_nmse = start / self.scale if self.judges else None
        self.limit = max(self.scale, 2.0 * start)  # beyond: worse than saying nothing

    def state(self) -> dict[str, Any]:
        """What was best so far; the rest follows from the weights that training starts with."""
        return {name: getattr(self, name) for name in ("kept", "improved", "waited", "best")}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        vars(self).update(state)

    def look(self, record: dict[str, Any]) -> None:
        """Complete the record of an epoch; keep its weights if it is the best so far."""
        error = self._error(record)
        record["best"] = error < self.best
        self.waited += not record["best"]
        if record["best"]:
            self.best, self.improved, self.waited = error, True, 0
            self.kept = copy.deepcopy(self.codec.state_dict())

    def gives_up(self, record: dict[str, Any], patience: int) -> bool:
        """Whether patience has ended, or the epochs left of it would have to make good too much.

        Adam's first steps undo a start that leaves little error, beyond what later ones mend.
        """
        if self.waited == 0:  # without rows that judge, every epoch counts as better
            return False
        allowed = (1.0 + MOST_REGAINED * (patience - self.waited)) * self.best / self.scale
        return self.waited >= patience or bool(record["valid_nmse"] > allowed)

    def _error(self, record: dict[str, Any]) -> float:
        error, per_column = math.inf, self.codec.offset
        if math.isfinite(record["train_loss"]):
            error, per_column = valid_error(self.codec, self.seen, self.beam)
        if not error <= self.limit:
            record["diverged"] = True
            return math.inf
        if not self.judges:
            return -float(record["epoch"])  # nothing to judge on: a later epoch counts as better
        record["valid_nmse"] = error / self.scale
        record["valid_error_per_category"] = _per_category(self.codec, per_column, self.seen)
        return error


def _per_category(codec: CodecModule, per_column: Tensor, valid: Rows) -> dict[str, float]:
    energy = (valid.weight * (valid.table - codec.offset) ** 2).sum(0)
    return {
        c.name: float(per_column[c.columns].sum() / energy[c.columns].sum().clamp_min(1e-30))
        for c in codec.layout.categories
    }


def _usage_figures(usage: list[Tensor]) -> dict[str, float]:
    """Share of codewords used, and mean perplexity / size, over an epoch: all training rows."""
    if not usage:
        return {"utilization": 1.0, "perplexity_share": 1.0}
    used = sum(int((hits > 0).sum()) for hits in usage) / sum(len(hits) for hits in usage)
    shares = []
    for hits in usage:
        p = hits[hits > 0] / hits.sum()
        shares.append(float(torch.exp(-(p * p.log()).sum())) / len(hits))
    return {"utilization": used, "perplexity_share": float(np.mean(shares))}
