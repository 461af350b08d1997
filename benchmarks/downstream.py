"""``downstream``: what a linear classifier still knows from the codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import OneHotEncoder

from benchmarks import report
from benchmarks.measure import Codec
from benchmarks.methods import fitted
from benchmarks.ours import Ours
from benchmarks.protocol import Split, load_table, prepare
from benchmarks.report import Results, Rows

MAX_TRAIN, MAX_HELD = 4_000, 2_000
C = 0.1
Features = Any


def accuracy(train: Features, held: Features, split: Split) -> float:
    """Balanced accuracy of logistic regression on rows kept aside."""
    model = LogisticRegression(C=C, max_iter=2_000).fit(train, split.y_train)
    return float(balanced_accuracy_score(split.y_held, model.predict(held)))


def one_hot(codec: Codec, split: Split) -> tuple[sparse.csr_array, sparse.csr_array]:
    """One indicator per codeword."""
    encoder = OneHotEncoder(
        categories=[np.arange(size) for size in codec.sizes], handle_unknown="error"
    )
    train = encoder.fit_transform(codec.encode(split.train))
    return train, encoder.transform(codec.encode(split.held))


def features(codec: Codec, split: Split) -> Iterator[tuple[str, Features, Features]]:
    """What a classifier can be given of a codec.

    Yields
    ------
    kind : str
        ``"one-hot"`` codes, ``"decoded"`` columns or, of ours, the ``"embedding"``.
    train, held : matrix
        Rows of features.
    """
    yield "one-hot", *one_hot(codec, split)
    decoded = [codec.decode(codec.encode(part)) for part in (split.train, split.held)]
    yield "decoded", decoded[0], decoded[1]
    if isinstance(codec, Ours):
        yield "embedding", codec.embed(split.train), codec.embed(split.held)


def run(
    results: Results,
    sets: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    seeds: Sequence[int],
) -> None:
    """Measure raw columns and every method on every set with labels."""
    for name in sets:
        table = load_table(name)
        if table.y is None:
            print(f"{name} has no labels: left out", file=sys.stderr)
            continue
        for seed in seeds:
            split = prepare(table, seed, max_train=MAX_TRAIN, max_held=MAX_HELD)
            raw = accuracy(split.train, split.held, split)
            for budget in bits:
                cell = {"set": name, "budget": budget, "seed": seed}
                cell["n_train"] = len(split.train)
                results.add(cell | {"features": "raw columns", "accuracy": raw})
                for method, codec, _ in fitted(methods, split, budget, seed):
                    for kind, train, held in features(codec, split):
                        score = accuracy(train, held, split)
                        results.add(cell | {"features": f"{method} {kind}", "accuracy": score})


def summarize(rows: Rows) -> str:
    """Tables of one run."""
    return "\n\n".join(
        f"### Balanced accuracy at {budget} bits: mean over seeds\n\n"
        + report.grid(
            report.pick(rows, budget=budget),
            "features",
            "set",
            lambda cell: report.number(report.mean(cell, "accuracy"), 3),
        )
        for budget in report.values(rows, "budget")
    )
