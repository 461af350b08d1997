"""Figures of the commands, and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from adaptive_vq._console import Talk
from adaptive_vq._files import check_replaceable
from adaptive_vq._scorers import chain_of
from adaptive_vq._wording import counted
from adaptive_vq.annotations import annotation
from adaptive_vq.metrics import Evaluation, codec_of
from adaptive_vq.persistence import read_document
from adaptive_vq.strategies import SCORES

if TYPE_CHECKING:
    from adaptive_vq._demo import Demo
    from adaptive_vq.classical import CategorySpec
    from adaptive_vq.plan import Plan


# ------------------------------------------------------------------------------ figures
def judged(estimator: Any, X: Any) -> dict[str, Any]:
    """Return error, rate and use of codebooks of a fitted codec on rows."""
    codec, reached = codec_of(estimator, X)
    found = codec._evaluate(reached)
    return {
        "rows": len(found.target),
        **error_figures(found),
        "utilization": found.used_share,
        "perplexity_share": found.perplexity_share,
        "category_nmse": found.per_category,
        "category_bits": {name: sum(bits) for name, bits in codec.bits_.items()},
    }


def error_figures(found: Evaluation) -> dict[str, Any]:
    """Return rate and errors of one pass over rows, and the number of codewords."""
    return {
        "bits": found.bits,
        "quality": found.quality,
        "nmse": found.nmse,
        "worst_category": found.worst_category,
        "worst_category_nmse": found.per_category[found.worst_category],
        **found.imbalance,
        "codewords": int(found.sizes.sum()),
    }


def fit_figures(pipeline: Pipeline, X: Any) -> dict[str, Any]:
    """Return what was decided, and the error on the training rows as they are."""
    codec = pipeline[-1]
    return {
        "columns": int(pipeline[0].n_features_in_),
        "cells_capped": int(codec.n_capped_.sum()),
        "epochs": int(codec.n_iter_),
        "decisions": codec.decisions_,
        **judged(pipeline, X),
    }


def plan_figures(pipeline: Pipeline, X: Any) -> dict[str, Any]:
    """Return categories, ratios, bits and codebook sizes without training.

    What a fit refuses or warns of before its training is refused, or warned of, here as well.
    """
    from adaptive_vq._fit_rows import rows_to_learn_from
    from adaptive_vq._training_rules import refuse_idle_parameters
    from adaptive_vq.tables import column_names

    reached = pipeline[:-1].fit_transform(X)
    codec = pipeline[-1]
    codec._validate_params()
    refuse_idle_parameters(codec)
    if codec.checkpoint is not None:
        check_replaceable(codec.checkpoint)
    # The rows that a fit draws: their number decides how large codebooks may be.
    reached, table, _ = rows_to_learn_from(codec, reached, None, codec.fit_rows)
    names = column_names(codec)
    plan, specs = _plan_to_train(codec, reached, table, names)
    return {
        "rows": len(table),
        "columns": table.shape[1],
        "budget": plan.budget,
        "strategy": plan.strategy,
        "categories": {k: [names[j] for j in columns] for k, columns in plan.categories.items()},
        "ratios": plan.ratios,
        "bits": plan.bits,
        "codebook_sizes": {spec.name: spec.sizes for spec in specs},
        "decisions": plan.decisions_frame(),
    }


def _plan_to_train(
    codec: Any, reached: Any, table: NDArray[np.float64], names: list[str]
) -> tuple[Plan, list[CategorySpec]]:
    """Plan that a fit of the codec would train, and its codebooks."""
    from adaptive_vq._codebook_sizes import specs_of
    from adaptive_vq._column_reports import report_training_columns
    from adaptive_vq.estimation import fit_options, plan_with_sizes, rows_of
    from adaptive_vq.fitting import split_rows
    from adaptive_vq.resolution import resolve_plan
    from adaptive_vq.units import CodecUnits
    from adaptive_vq.weights import check_column_weights

    importance = check_column_weights(codec.column_weights, names)
    plan, scaler, clip, note = resolve_plan(
        codec, reached, table, annotation(reached), column_weights=importance
    )
    units = CodecUnits(scaler, clip)
    units.fit(table, None, names=names, column_weights=note["column_weights"])
    report_training_columns(units, table)
    observed = ~np.isnan(table)
    options = fit_options(codec, plan, observed)
    # Which rows would be kept aside: for its refusal, where too few are left to fit on.
    seen = np.asarray(observed.any(axis=1))[:, None]
    split_rows(rows_of(seen.astype(np.float32), seen, None).observed(), options)
    specs = specs_of(plan, codec.codebook_sizes, options.most_codewords)
    if not isinstance(codec.codebook_sizes, str):
        plan = plan_with_sizes(plan, specs)
    return plan, specs


def file_figures(path: Path, estimator: Any) -> dict[str, Any]:
    """Return what a model file holds."""
    document = read_document(path)
    last = chain_of(estimator)[-1]
    figures = {
        "model": str(path),
        "schema": document["schema"],
        "versions": document["versions"],
        "columns": document["columns"],
        "steps": [type(s).__name__ for _, s in getattr(estimator, "steps", [(None, estimator)])],
    }
    for name in ("categories_", "ratios_", "bits_"):
        if hasattr(last, name):
            figures[name.removesuffix("_")] = getattr(last, name)
    if hasattr(last, "codebooks_"):
        figures["n_bits"] = last.n_bits_
        figures["codebooks"] = {name: len(book) for name, book in last.codebooks_.items()}
        figures["epochs"] = last.n_iter_
    if hasattr(last, "decisions_"):
        figures["decisions"] = last.decisions_
    return figures


def decoded(estimator: Any, codes: Any, levels: int | None) -> Any:
    """Decode codes through all steps, the first levels only if asked for."""
    if levels is None:
        return estimator.inverse_transform(codes)
    if not isinstance(estimator, Pipeline):
        return estimator.inverse_transform(codes, n_levels=levels)
    rows = decoded(estimator[-1], codes, levels)  # which may be a pipeline in turn
    return estimator[:-1].inverse_transform(rows) if len(estimator) > 1 else rows


# ------------------------------------------------------------------------------ printing
def show_decisions(talk: Talk, decisions: Any) -> None:
    """Print one line per category and the reasons below."""
    levels = [name.removeprefix("bits_") for name in decisions.columns if _is_level(name)]
    scores = [name for name in SCORES if name in decisions.columns]
    rows = []
    for name, row in decisions.iterrows():
        ratios = " ".join(f"{row[f'ratio_{level}']:.2f}" for level in levels)
        bits = " + ".join(str(row[f"bits_{level}"]) for level in levels)
        figures = [f"{row[score]:.2f}" for score in scores]
        predicted = "-" if math.isnan(row["predicted_nmse"]) else f"{row['predicted_nmse']:.3f}"
        rows.append([name, row["n_columns"], *figures, ratios, bits, row["bits"], predicted])
    heads = [score[:4] + "." for score in scores]
    columns = ["category", "cols", *heads, f"ratios {' '.join(levels)}"]
    columns += [f"bits {' + '.join(levels)}", "sum", "pred. NMSE"]
    talk.table("Decisions per category", columns, rows, numbers=1)
    for name, row in decisions.iterrows():
        talk.line(f"  {name}: {row['reason']}")
    talk.line()


def _is_level(column: str) -> bool:
    return column.startswith("bits_L") and column.removeprefix("bits_L").isdigit()


def show_plan(talk: Talk, plan: Mapping[str, Any]) -> None:
    """Print a plan that was not trained."""
    talk.line(
        f"{counted(plan['rows'], 'row')} x {counted(plan['columns'], 'column')}, "
        f"{counted(plan['budget'], 'bit')} per row, "
        f"strategy {plan['strategy']} (nothing was trained)"
    )
    show_decisions(talk, plan["decisions"])
    for name, columns in plan["categories"].items():
        sizes = plan["codebook_sizes"].get(name, [])
        text = ", ".join(
            f"L{level}: {' x '.join(map(str, of_level)) or '-'}"
            for level, of_level in enumerate(sizes)
        )
        talk.line(f"  {name}: codewords {text or '-'}; columns {', '.join(columns)}")


def show_fit(talk: Talk, figures: Mapping[str, Any]) -> None:
    """Print what a fit decided and reached."""
    show_decisions(talk, figures["decisions"])
    talk.line(
        "pred. NMSE is that of the codec on rows kept aside while fitting, where there were any; "
        "the sentences quote the curves of the plan."
    )
    talk.line(
        f"Training rows, not capped: quality {figures['quality']:.4f}, NMSE {figures['nmse']:.4f} "
        f"at {figures['bits']:.1f} bits per row; worst category {figures['worst_category']} "
        f"({figures['worst_category_nmse']:.4f})"
    )
    talk.line(f"Model: {figures['model']}")


def show_compared(talk: Talk, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Print figures side by side, then error and bits per category."""
    names = list(runs)
    lines = [
        ("bits per row", "bits"),
        ("quality (1 - NMSE)", "quality"),
        ("NMSE", "nmse"),
        ("worst category", "worst_category"),
        ("NMSE of worst category", "worst_category_nmse"),
        ("max / min category", "max_min"),
        ("max / median category", "max_median"),
        ("Gini of category errors", "gini"),
        ("codewords", "codewords"),
        ("codewords used", "utilization"),
        ("perplexity / size", "perplexity_share"),
    ]
    rows = [[label, *(runs[name][key] for name in names)] for label, key in lines]
    talk.table("Same rows", ["", *names], rows, numbers=1)
    categories = list(dict.fromkeys(c for name in names for c in runs[name]["category_nmse"]))
    rows = [[c, *(cell for name in names for cell in _cells(runs[name], c))] for c in categories]
    heads = [head for name in names for head in (f"NMSE {name}", f"bits {name}")]
    talk.table("Per category", ["category", *heads], rows, numbers=1)


def _cells(run: Mapping[str, Any], category: str) -> tuple[Any, Any]:
    if category not in run["category_nmse"]:
        return "-", "-"
    return run["category_nmse"][category], run["category_bits"][category]


def show_file(talk: Talk, figures: Mapping[str, Any]) -> None:
    """Print what a model file holds."""
    columns = figures["columns"]
    talk.line(f"{figures['model']}: {' > '.join(figures['steps'])}, schema {figures['schema']}")
    talk.line("versions: " + ", ".join(f"{k} {v}" for k, v in figures["versions"].items()))
    if columns is None:
        talk.line("not fitted")
        return
    named = "named" if columns["named"] else "without names"
    talk.line(f"columns: {columns['n']} {named}, digest {columns['digest'][:16]}")
    if "decisions" in figures:
        show_decisions(talk, figures["decisions"])
    if "codebooks" in figures:
        books = ", ".join(f"{name} {size}" for name, size in figures["codebooks"].items())
        talk.line(f"{figures['n_bits']:.1f} bits per row; codewords: {books}")


def show_demo(talk: Talk, demo: Demo, files: Mapping[str, Path]) -> None:
    """Print the demo: decisions, comparison, files."""
    before, after = demo.before.figures(), demo.after.figures()
    talk.line()
    talk.line(
        f"Generated table: {len(demo.table):,} rows x {demo.table.shape[1]} columns in "
        f"{len(after['category_bits'])} categories; {demo.n_train:,} rows to fit on, "
        f"{len(demo.held_out):,} kept aside. All errors are on the rows kept aside."
    )
    show_decisions(talk, demo.after.codec.decisions_)
    show_compared(talk, {before["strategy"]: before, after["strategy"]: after})
    change = 100 * (1 - after["nmse"] / before["nmse"])
    word = "less" if change >= 0 else "more"
    talk.line(
        f"{after['strategy']} leaves {abs(change):.0f} % {word} error than {before['strategy']} "
        f"with the same rows, categories, seed and budget "
        f"({before['fit_seconds']} s and {after['fit_seconds']} s to fit)."
    )
    for name, path in files.items():
        talk.line(f"{name}: {path}")
    talk.line(f"Next: adaptive-vq inspect {files['model']}")
