"""Between the estimator (numpy state) and the network (torch): fit, update, encode, decode."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from adaptive_vq import quantize
from adaptive_vq.classical import CategorySpec
from adaptive_vq.fitting import Fitted, FitOptions, fit_codec
from adaptive_vq.modules import CodecModule, Layout
from adaptive_vq.plan import Plan
from adaptive_vq.sharing import latent_width
from adaptive_vq.training import TrainingOptions

JOINT_SWEEPS = 2


def fit_estimator(
    estimator: Any,
    plan: Plan,
    Z: NDArray[np.float32],
    observed: NDArray[np.bool_],
    context: Any,
    X: Any,
) -> None:
    """Fit the network of a plan and store everything on the estimator as numpy arrays."""
    seed = 0
    if estimator.random_state is not None:
        seed = int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max))
    specs = specs_of(plan, estimator.codebook_sizes)
    table = torch.from_numpy(np.ascontiguousarray(Z))
    weight = torch.from_numpy(observed.astype(np.float32))
    on_epoch = _Bridge(estimator, plan, context, X)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fitted = fit_codec(
            table, weight, specs, plan.n_levels, _options(estimator, plan, seed), on_epoch
        )
    _warn_if_diverged(fitted.history)
    estimator._keep_plan(_plan_as_fitted(plan, fitted))
    keep(estimator, fitted.module)
    estimator.history_ = fitted.history
    estimator.n_iter_ = fitted.n_epochs


def _options(estimator: Any, plan: Plan, seed: int) -> FitOptions:
    training = TrainingOptions(
        max_epochs=estimator.max_epochs,
        batch_size=estimator.batch_size,
        lr=estimator.lr,
        commitment_weight=estimator.commitment_weight,
        ema_decay=estimator.ema_decay,
        patience=estimator.n_iter_no_change,
        beam=estimator.beam_width,
        seed=seed,
    )
    return FitOptions(
        budget=float(plan.budget),
        may_grow=isinstance(estimator.codebook_sizes, str),
        beam=estimator.beam_width,
        hidden=estimator.group_hidden_dim,
        embedding=estimator.group_embedding_dim,
        dropout=estimator.dropout,
        validation_fraction=estimator.validation_fraction,
        early_stopping=estimator.early_stopping,
        training=training,
        encoders=_own_encoders(estimator, plan),
    )


def _own_encoders(estimator: Any, plan: Plan) -> dict[str, Any] | None:
    if not estimator.encoders:
        return None
    unknown = [name for name in estimator.encoders if name not in plan.categories]
    if unknown:
        raise ValueError(
            f"encoders names the unknown category {unknown[0]!r}; there are {list(plan.categories)}."
        )
    return {name: copy.deepcopy(module) for name, module in estimator.encoders.items()}


def specs_of(plan: Plan, codebook_sizes: Any) -> list[CategorySpec]:
    """What each category with any bits is to have; sizes given by the user must fit the budget."""
    specs = []
    for name, columns in plan.categories.items():
        widths = [
            min(len(columns), latent_width(len(columns), ratio)) for ratio in plan.ratios[name]
        ]
        if isinstance(codebook_sizes, str):
            sizes = [[2**b for b in quantize.split_bits(bits)] for bits in plan.bits[name]]
        else:
            sizes = [
                [size] if size > 1 else [] for size in _given_sizes(codebook_sizes, name, plan)
            ]
        specs.append(CategorySpec(name, torch.as_tensor(columns), sizes, widths))
    asked = sum(math.log2(size) for spec in specs for level in spec.sizes for size in level)
    if asked > plan.budget + 1e-6:
        raise ValueError(
            f"codebook_sizes={codebook_sizes!r} take {asked:.1f} bits per row, the budget is {plan.budget}."
        )
    return specs


def _given_sizes(codebook_sizes: Any, name: str, plan: Plan) -> list[int]:
    given = codebook_sizes
    if isinstance(given, Mapping):
        unknown = [key for key in given if key not in plan.categories]
        if unknown:
            raise ValueError(
                f"codebook_sizes names the unknown category {unknown[0]!r}; there are {list(plan.categories)}."
            )
        if name not in given:
            raise ValueError(f"codebook_sizes has no entry for category {name!r}.")
        given = given[name]
    levels = list(given) if isinstance(given, Sequence) else [given] * plan.n_levels
    whole = all(isinstance(size, (int, np.integer)) and size >= 1 for size in levels)
    if len(levels) != plan.n_levels or not whole:
        raise ValueError(
            f"codebook_sizes={codebook_sizes!r}: give one whole number per level ({plan.n_levels}), at least 1."
        )
    return [int(size) for size in levels]


def _plan_as_fitted(plan: Plan, fitted: Fitted) -> Plan:
    """The plan with the bits as they ended: a growth moves bits to categories that can use them."""
    bits = {
        spec.name: [sum(math.ceil(math.log2(size)) for size in level) for level in spec.sizes]
        for spec in fitted.specs
    }
    moved = {name for name in bits if bits[name] != list(plan.bits[name])}
    decisions = [
        {**entry, "reason": entry["reason"] + " Bits freed elsewhere were added."}
        if entry["category"] in moved
        and sum(bits[entry["category"]]) > sum(plan.bits[entry["category"]])
        else dict(entry)
        for entry in plan.decisions
    ]
    return Plan(
        plan.strategy,
        plan.budget,
        plan.n_levels,
        plan.categories,
        plan.ratios,
        {name: bits.get(name, list(plan.bits[name])) for name in plan.bits},
        decisions,
        plan.curves,
        plan.explicit_budget,
    )


def _warn_if_diverged(history: list[dict[str, Any]]) -> None:
    if history and history[-1].get("diverged"):
        warnings.warn(
            "Training diverged (the loss is not finite) and was undone; the classical start is kept. Lower lr.",
            ConvergenceWarning,
            stacklevel=2,
        )


def keep(estimator: Any, module: CodecModule) -> None:
    """Store the network on the estimator: layout as JSON values, weights as numpy arrays."""
    from adaptive_vq.codes import code_names

    estimator._layout = module.layout.to_json()
    estimator._state = {
        key: value.detach().cpu().numpy().copy() for key, value in module.state_dict().items()
    }
    names = code_names([(c.name, c.levels) for c in module.layout.categories])
    estimator.codebooks_ = {
        name: estimator._state[f"codebooks.{j}.weight"] for j, name in enumerate(names)
    }
    estimator.n_bits_ = float(sum(math.log2(len(book)) for book in estimator.codebooks_.values()))
    spent = {c.name: 0.0 for c in module.layout.categories}
    for (start, end), category in zip(module.layout.spans(), module.layout.categories, strict=True):
        spent[category.name] = sum(
            math.log2(len(module.codebooks[j].weight)) for j in range(start, end)
        )
    estimator.decisions_["bits_spent"] = [
        spent.get(name, 0.0) for name in estimator.decisions_.index
    ]


def module_of(estimator: Any) -> CodecModule:
    """Rebuild the network from the estimator's numpy state."""
    layout = Layout.from_json(estimator._layout)
    sizes = [len(book) for book in estimator.codebooks_.values()]
    custom = {name: copy.deepcopy(m) for name, m in (estimator.encoders or {}).items()}
    with torch.random.fork_rng(devices=[]):
        module = CodecModule(layout, sizes, custom)
    module.load_state_dict(
        {key: torch.from_numpy(np.array(value)) for key, value in estimator._state.items()}
    )
    return module.eval()


def encode_rows(
    module: CodecModule, Z: NDArray[np.float32], beam: int, context: str
) -> NDArray[np.int64]:
    """Codes (n, m) of rows in codec units."""
    table = torch.from_numpy(np.ascontiguousarray(Z))
    codes = module.encode(table, beam)
    if context == "joint" and codes.shape[1]:
        _, tables = module.tables(module.layout.n_levels)
        codes = quantize.refine(
            table - module.offset, codes, [t.detach() for t in tables], JOINT_SWEEPS
        )
    return np.asarray(codes.numpy(), dtype=np.int64)


def decode_rows(
    module: CodecModule, codes: NDArray[np.int64], n_levels: int
) -> NDArray[np.float32]:
    """Rows in codec units (n, n_features) from ordinal codes (n, m)."""
    return np.asarray(module.decode(torch.from_numpy(codes), n_levels).numpy())


class _Bridge:
    """Calls the scikit-learn callbacks once per epoch."""

    def __init__(self, estimator: Any, plan: Plan, context: Any, X: Any) -> None:
        self.estimator, self.plan, self.context, self.X = estimator, plan, context, X

    def __call__(self, record: dict[str, Any], module: CodecModule) -> bool:
        task = self.context.subcontext(task_name="epoch")
        task.call_on_fit_task_begin(estimator=self.estimator, X=self.X)
        return bool(
            task.call_on_fit_task_end(
                estimator=self.estimator,
                X=self.X,
                metadata={"epoch": record},
                reconstruction_attributes=lambda: self._attributes(record, module),
            )
        )

    def _attributes(self, record: dict[str, Any], module: CodecModule) -> dict[str, Any]:
        """Fitted attributes as if training had stopped after this epoch."""
        snapshot = copy.copy(self.estimator)
        snapshot._keep_plan(self.plan)
        keep(snapshot, module)
        snapshot.history_, snapshot.n_iter_ = [dict(record)], record["epoch"]
        return {
            key: value
            for key, value in vars(snapshot).items()
            if not key.startswith("_skl")
            and key not in self.estimator.get_params(deep=False)
            and not key.startswith("_callback")
        }


def update_estimator(estimator: Any, Z: NDArray[np.float32], observed: NDArray[np.bool_]) -> None:
    """Move codewords and tables towards new rows; nothing else changes."""
    module = module_of(estimator)
    table = torch.from_numpy(np.ascontiguousarray(Z))
    weight = torch.from_numpy(observed.astype(np.float32))
    module.absorb(table, weight, estimator.beam_width)
    keep(estimator, module)
