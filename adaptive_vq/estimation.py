"""Between the estimator (numpy state) and the network (torch): fit, update, encode, decode."""

from __future__ import annotations

import copy
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from adaptive_vq._alerts import warn
from adaptive_vq._codebook_sizes import most_codewords, specs_of
from adaptive_vq._device import ordinary_torch, resolve_device
from adaptive_vq._foresight import Optimism
from adaptive_vq._layout import Layout
from adaptive_vq._networks import forget, kept_network
from adaptive_vq._own_encoders import (
    checked_encoders,
    fitted_encoders,
    not_finite,
    tie_again,
    warn_of_idle_encoders,
)
from adaptive_vq._parallel import one_thread_each
from adaptive_vq._reasons import moved
from adaptive_vq._rows import Rows
from adaptive_vq._training_record import remember
from adaptive_vq.checkpoints import Progress
from adaptive_vq.classical import CategorySpec
from adaptive_vq.fitting import FitOptions, Fitted, fit_codec
from adaptive_vq.modules import CodecModule
from adaptive_vq.objectives import objectives_of
from adaptive_vq.plan import Plan
from adaptive_vq.training import TrainingOptions

# torch has one generator for all threads; fits side by side would draw each other's numbers.
_ONE_SEED_AT_A_TIME = threading.RLock()


@ordinary_torch()
@np.errstate(under="ignore")
def fit_estimator(
    estimator: Any,
    plan: Plan,
    Z: NDArray[np.float32],
    observed: NDArray[np.bool_],
    context: Any,
    X: Any,
    progress: Progress,
    weight: NDArray[np.float64] | None,
) -> None:
    """Fit the network of a plan and store everything on the estimator as numpy arrays."""
    options = fit_options(estimator, plan, observed, weight)
    specs = specs_of(plan, estimator.codebook_sizes, options.most_codewords)
    before = None
    if estimator.warm_start and getattr(estimator, "_request", None) == _request(estimator, specs):
        before = module_of(estimator)
    # What is given may change after the fit; what has been fitted may not.
    estimator._encoders = options.encoders
    on_epoch = _Bridge(estimator, plan, context, X)
    with seeded(options):
        rows = rows_of(Z, observed, weight)
        fitted = fit_codec(rows, specs, plan.n_levels, options, on_epoch, before, progress)
    if before is not None:  # it has the bits that were moved then
        fitted.moves = getattr(estimator, "moves_", [])
    if options.may_move and fitted.history:
        fitted.history[0]["moves"] = fitted.moves
    coded = [category.name for category in fitted.module.layout.categories]
    warn_of_idle_encoders(options.encoders, coded)
    if plan.strategy == "learned" and before is None:
        _warn_if_nothing_may_move(estimator, fitted)
    store(estimator, plan, specs, fitted, Z, observed, weight)


@contextmanager
def seeded(options: FitOptions) -> Iterator[None]:
    """Draw from the seed of the fit, and leave torch's random numbers as they were.

    With one thread per operation, so that the same seed gives the same bits.
    """
    generators = range(torch.cuda.device_count() if options.training.device == "cuda" else 0)
    forked = torch.random.fork_rng(devices=list(generators))
    with _ONE_SEED_AT_A_TIME, forked, one_thread_each():
        torch.manual_seed(options.seed)
        yield


def store(
    estimator: Any,
    plan: Plan,
    specs: Sequence[CategorySpec],
    fitted: Fitted,
    Z: NDArray[np.float32],
    observed: NDArray[np.bool_],
    weight: NDArray[np.float64] | None,
) -> None:
    """Store a fitted network, and what is told about it, on the estimator."""
    for of_earlier_fit in ("training_", "curves_", "moves_"):
        estimator.__dict__.pop(of_earlier_fit, None)
    _warn_if_diverged(fitted, estimator, Z)
    estimator._request = _request(estimator, specs)
    given = not isinstance(estimator.codebook_sizes, str)
    estimator._keep_plan(_plan_as_fitted(plan, fitted, given))
    keep(estimator, fitted.module)
    if plan.strategy == "learned" or fitted.moves:
        estimator.moves_ = fitted.moves
    estimator.history_ = fitted.history
    estimator.n_iter_ = fitted.n_epochs
    estimator.budget_ = plan.budget
    if plan.curves is not None:
        estimator.curves_ = plan.curves
    remember(estimator, Z, observed, fitted.codes.numpy(), weight)
    _keep_predictions(estimator, fitted.optimism, plan)


def _keep_predictions(estimator: Any, optimism: Optimism | None, plan: Plan) -> None:
    """Put what the codec is expected to leave of unseen rows in place of what the plan predicts.

    The plan knows categories coded alone; the codec decodes all of them jointly. Of a category that
    has ended with other bits the plan says nothing.
    """
    record, decisions = estimator.training_, estimator.decisions_
    trained = {
        name: float(record["error"][columns].sum() / max(record["energy"][columns].sum(), 1e-30))
        for name, columns in estimator.categories_.items()
    }
    predicted = {} if optimism is None else optimism.predict(trained)
    for name, spent in decisions["bits_spent"].drop(list(predicted)).items():
        if spent == 0.0:
            predicted[name] = trained[name]  # no code: nothing that unseen rows could lack
        elif abs(spent - sum(plan.bits[name])) >= 1.0:
            predicted[name] = math.nan
    decisions["predicted_nmse"] = [
        predicted.get(name, planned) for name, planned in decisions["predicted_nmse"].items()
    ]


def rows_of(
    Z: NDArray[np.float32], observed: NDArray[np.bool_], weight: NDArray[np.float64] | None
) -> Rows:
    """Rows for the network, missing cells of weight 0."""
    table = torch.from_numpy(np.ascontiguousarray(Z))
    if weight is None and observed.all():  # a table of ones would be as large as that of the rows
        return Rows(table, torch.ones(1, 1).expand(table.shape))
    cells = observed.astype(np.float32)
    if weight is not None:
        cells *= weight.astype(np.float32)[:, None]
    return Rows(table, torch.from_numpy(cells))


def _request(estimator: Any, specs: Sequence[CategorySpec]) -> dict[str, Any]:
    """Return all that shapes the network; a warm start goes on where nothing of it has changed."""
    encoders = estimator.encoders or {}
    return {
        "columns": estimator._inner_names(),
        "context": estimator.context,
        "categories": [[s.name, s.columns.tolist(), s.sizes, s.widths] for s in specs],
        "hidden": [estimator.group_hidden_dim, estimator.group_embedding_dim, estimator.dropout],
        "activation": estimator.activation,
        "encoders": {name: repr(module) for name, module in encoders.items()},
    }


def fit_options(
    estimator: Any,
    plan: Plan,
    observed: NDArray[np.bool_],
    weight: NDArray[np.float64] | None = None,
) -> FitOptions:
    """What the parameters of an estimator ask of a fit on rows with these cells."""
    seed = 0
    if estimator.random_state is not None:
        seed = int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max))
    # Plain numbers: a numpy integer of 8 bits overflows where it is multiplied.
    training = TrainingOptions(
        max_epochs=estimator.max_epochs,
        batch_size=int(estimator.batch_size),
        lr=estimator.lr,
        commitment_weight=estimator.commitment_weight,
        ema_decay=estimator.ema_decay,
        patience=estimator.n_iter_no_change,
        beam=int(estimator.beam_width),
        seed=seed,
        device=str(resolve_device(estimator.device)),
        objectives=objectives_of(estimator),
    )
    return FitOptions(
        budget=float(plan.budget),
        may_grow=isinstance(estimator.codebook_sizes, str),
        may_move=plan.strategy == "learned" and isinstance(estimator.codebook_sizes, str),
        beam=int(estimator.beam_width),
        joint=estimator.context == "joint",
        hidden=int(estimator.group_hidden_dim),
        embedding=int(estimator.group_embedding_dim),
        dropout=estimator.dropout,
        validation_fraction=estimator.validation_fraction,
        early_stopping=estimator.early_stopping,
        training=training,
        encoders=checked_encoders(estimator.encoders, plan.categories),
        activation=estimator.activation,
        most_codewords=most_codewords(estimator, observed, weight),
    )


def plan_with_sizes(plan: Plan, specs: Sequence[CategorySpec]) -> Plan:
    """Return the plan with the bits of sizes that the user gives, before a fit."""
    bits = {
        s.name: [sum(math.ceil(math.log2(k)) for k in level) for level in s.sizes] for s in specs
    }
    spent = {s.name: sum(math.log2(k) for level in s.sizes for k in level) for s in specs}
    told = {
        name: moved(sum(planned), 0, sum(bits[name]), spent[name], True)
        for name, planned in plan.bits.items()
    }
    decisions = [
        {**entry, "predicted_nmse": math.nan} if told[entry["category"]] else entry
        for entry in plan.decisions
    ]
    return _retold(replace(plan, decisions=decisions), bits, told)


def _plan_as_fitted(plan: Plan, fitted: Fitted, given: bool) -> Plan:
    """Return the plan with the bits as they ended: whole bits that hold the final codebooks.

    `given` are sizes by the user.
    """
    module = fitted.module
    bits = {name: [0] * plan.n_levels for name in plan.bits}
    for (start, end), category in zip(module.layout.spans(), module.layout.categories, strict=True):
        for level, book in zip(category.levels, module.codebooks[start:end], strict=True):
            bits[category.name][level] += math.ceil(math.log2(len(book.weight)))
    learned, spent = Counter(move["taker"] for move in fitted.moves), _spent(module)
    learned.subtract(move["giver"] for move in fitted.moves)
    told = {
        name: moved(sum(planned), learned[name], sum(bits[name]), spent.get(name, 0.0), given)
        for name, planned in plan.bits.items()
    }
    return _retold(plan, bits, told)


def _retold(plan: Plan, bits: dict[str, list[int]], told: Mapping[str, str]) -> Plan:
    """Plan with other bits, and what is told of them after each reason."""
    decisions = [
        {**entry, "reason": entry["reason"] + told[entry["category"]]} for entry in plan.decisions
    ]
    return replace(plan, bits=bits, decisions=decisions)


def _spent(module: CodecModule) -> dict[str, float]:
    """Bits of the final codebooks per category that has any."""
    spans = zip(module.layout.spans(), module.layout.categories, strict=True)
    return {
        category.name: sum(math.log2(len(book.weight)) for book in module.codebooks[start:end])
        for (start, end), category in spans
    }


def _warn_if_nothing_may_move(estimator: Any, fitted: Fitted) -> None:
    """Tell that a strategy which is to learn where bits belong could not."""
    if not isinstance(estimator.codebook_sizes, str):
        why = "codebook_sizes say how many each codebook has. Leave them at 'auto'."
    elif not estimator.early_stopping:
        why = (
            "with early_stopping=False no rows are kept aside to judge by. Set early_stopping=True."
        )
    elif fitted.optimism is None:
        why = (
            f"validation_fraction={estimator.validation_fraction} keeps fewer than two of the rows "
            "aside to judge by. Raise it, or give more rows."
        )
    else:
        return
    warn(f"strategy='learned' has moved no bit: {why}")


def _warn_if_diverged(fitted: Fitted, estimator: Any, Z: NDArray[np.float32]) -> None:
    if fitted.history and fitted.history[-1].get("diverged"):
        advice = "Lower lr."
        if bad := not_finite(fitted.module, fitted_encoders(estimator) or {}, Z):
            advice = (
                f"encoders gives the categories {bad} networks that make NaN or infinity of some "
                "rows: mend these."
            )
        warn(
            "Training diverged (its error is beyond that of the column means, or not finite) and "
            f"was undone back to the best weights before that. {advice}",
            ConvergenceWarning,
        )


def keep(estimator: Any, module: CodecModule) -> None:
    """Store the network on the estimator: layout as JSON values, weights as numpy arrays."""
    from adaptive_vq.codes import code_names

    forget(estimator)
    estimator._layout = module.layout.to_json()
    estimator._state = {
        key: value.detach().cpu().numpy().copy() for key, value in module.state_dict().items()
    }
    names = code_names([(c.name, c.levels) for c in module.layout.categories])
    estimator.codebooks_ = {
        name: estimator._state[f"codebooks.{j}.weight"] for j, name in enumerate(names)
    }
    estimator.n_bits_ = float(sum(math.log2(len(book)) for book in estimator.codebooks_.values()))
    spent = _spent(module)
    estimator.decisions_["bits_spent"] = [
        spent.get(name, 0.0) for name in estimator.decisions_.index
    ]


@ordinary_torch()
def module_of(estimator: Any, copies: bool = True) -> CodecModule:
    """Rebuild the network from the estimator's numpy state, or on its memory."""
    layout = Layout.from_json(estimator._layout)
    sizes = [len(book) for book in estimator.codebooks_.values()]
    custom = {name: copy.deepcopy(m) for name, m in (fitted_encoders(estimator) or {}).items()}
    # Without storage nothing is drawn: a transform leaves torch's random numbers alone.
    with torch.device("meta"):
        module = CodecModule(layout, sizes, custom)
    state = {
        # torch takes no memory that it may not write to.
        key: torch.from_numpy(np.array(value) if copies or not value.flags.writeable else value)
        for key, value in estimator._state.items()
    }
    tie_again(module, state)
    module.load_state_dict(state, assign=True)
    return module.eval()


def working_module_of(estimator: Any) -> CodecModule:
    """Network on the device that the estimator works on, to be used as it is."""
    device = resolve_device(estimator.device)
    # Encoders of the user's own need not bear several threads, nor a GPU what nobody asks for.
    if fitted_encoders(estimator) or device.type != "cpu":
        return module_of(estimator).to(device)
    return kept_network(estimator, lambda fitted: module_of(fitted, copies=False))


@ordinary_torch()
def encode_rows(
    module: CodecModule, Z: NDArray[np.float32], beam: int, context: str
) -> NDArray[np.int64]:
    """Codes (n, m) of rows in codec units."""
    table = torch.from_numpy(np.ascontiguousarray(Z)).to(module.offsets.device)
    codes = module.encode(table, int(beam), joint=context == "joint")
    return np.asarray(codes.cpu().numpy(), dtype=np.int64)


@ordinary_torch()
def decode_rows(
    module: CodecModule, codes: NDArray[np.int64], n_levels: int
) -> NDArray[np.float32]:
    """Rows in codec units (n, n_features) from ordinal codes (n, m)."""
    on_device = torch.from_numpy(codes).to(module.offsets.device)
    return np.asarray(module.decode(on_device, n_levels).cpu().numpy())


class _Bridge:
    """Calls the scikit-learn callbacks once per epoch."""

    def __init__(self, estimator: Any, plan: Plan, context: Any, X: Any) -> None:
        self.estimator, self.plan, self.context, self.X = estimator, plan, context, X

    def __call__(self, record: dict[str, Any], module: CodecModule) -> bool:
        task = self.context.subcontext(task_name="epoch")
        # The table is its own target: without one sklearn.callback.ScoringMonitor scores nothing.
        task.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.X)
        return bool(
            task.call_on_fit_task_end(
                estimator=self.estimator,
                X=self.X,
                y=self.X,
                reconstruction_attributes=lambda: self._attributes(record, module),
            )
        )

    def _attributes(self, record: dict[str, Any], module: CodecModule) -> dict[str, Any]:
        """Fitted attributes as if training had stopped after this epoch."""
        snapshot = copy.copy(self.estimator)
        snapshot._keep_plan(self.plan)
        keep(snapshot, module)
        snapshot.history_, snapshot.n_iter_ = [dict(record)], record["epoch"]
        return dict(snapshot._fitted_attributes())


@ordinary_torch()
@np.errstate(under="ignore")
def update_estimator(
    estimator: Any,
    Z: NDArray[np.float32],
    observed: NDArray[np.bool_],
    weight: NDArray[np.float64] | None,
) -> None:
    """Move codewords and tables towards new rows; nothing else changes."""
    module = module_of(estimator)
    rows = rows_of(Z, observed, weight)
    joint = estimator.context == "joint"
    with one_thread_each():
        found = module.absorb(rows.table, rows.weight, int(estimator.beam_width), joint=joint)
    keep(estimator, module)
    # Tables that have moved change joint codes, and no others.
    codes = estimator._codes(Z) if joint else found.numpy()
    remember(estimator, Z, observed, codes, weight)
