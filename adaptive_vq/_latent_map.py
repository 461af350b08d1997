"""Latents of a codec: what geometry quantization keeps, and a map of the codes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.utils import check_scalar

from adaptive_vq._diagnostic_tables import Judged
from adaptive_vq.metrics import topographic_similarity

_LARGEST_SEED = 2**32 - 1  # numpy's
_ROWS_FOR_TSNE = 30
"""Rows below which t-SNE has too few neighbors to place; PCA stands in."""


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A map of rows by their quantized latents, and how well coarse codes separate there.

    Attributes
    ----------
    points : pandas.DataFrame
        Index: row positions in the given table; columns ``x``, ``y`` and ``code``, the coarse code
        of `codebook`.
    method : {"tsne", "pca"}
        Embedding of scikit-learn that placed the points.
    codebook : str
        The coarse codebook with the most codewords, whose codes label the points.
    scores : pandas.DataFrame
        Index: coarse codebooks; columns ``silhouette`` and ``davies_bouldin`` of their codes as
        clusters, in the quantized latents of their category; NaN where they are not defined.
    notes : dict of str to str
        Why a figure is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE, diagnose
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> found = diagnose(HierarchicalVQVAE(bits=8, max_epochs=0).fit(X), X, embedding="pca")
    >>> found.latent_map.method, list(found.latent_map.points), len(found.latent_map.points)
    ('pca', ['x', 'y', 'code'], 60)
    """

    points: pd.DataFrame
    method: str
    codebook: str
    scores: pd.DataFrame
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents before and after quantization, side by side over categories."""

    rows: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    spans: dict[str, slice]


def check_map(embedding: str | None, n_rows: int, random_state: int | None) -> None:
    """Raise for parameters that no map can be made with; None for `embedding` makes none."""
    if embedding not in ("tsne", "pca", None):
        raise ValueError(f"embedding={embedding!r} is none of 'tsne', 'pca', None.")
    check_scalar(n_rows, "n_map_rows", Integral, min_val=3)
    if random_state is not None:
        check_scalar(random_state, "random_state", Integral, min_val=0, max_val=_LARGEST_SEED)


def latents_of(judged: Judged) -> Latents:
    """Compute the latents of the judged rows."""
    # Loads torch, which reports are imported and shown without.
    import torch

    from adaptive_vq._device import ordinary_torch
    from adaptive_vq.estimation import module_of

    filled = judged.codec._imputer.transform(judged.capped.astype(np.float32))
    with ordinary_torch(), torch.no_grad():
        module = module_of(judged.codec)
        rows = torch.from_numpy(np.ascontiguousarray(filled))
        parts = [torch.zeros(len(rows), 0), *(encoder(rows) for encoder in module.encoders)]
        before = torch.cat(parts, 1).numpy()
        after = module.embed(torch.from_numpy(judged.run.codes)).numpy()
    ends = np.cumsum([part.shape[1] for part in parts])
    spans = {
        category.name: slice(int(start), int(end))
        for category, start, end in zip(module.layout.categories, ends[:-1], ends[1:], strict=True)
    }
    return Latents(filled, before, after, spans)


def similarities(latents: Latents, random_state: int | None) -> dict[str, float]:
    """Topographic similarity between rows and latents, before and after quantization.

    NaN where there are fewer than three rows or no latents.
    """
    figures = {}
    for when in ("before", "after"):
        values = getattr(latents, when)
        known = len(values) >= 3 and values.shape[1] > 0
        figures[f"topographic_{when}"] = (
            topographic_similarity(latents.rows, values, random_state=random_state)
            if known
            else math.nan
        )
    return figures


def latent_map(
    judged: Judged, latents: Latents, embedding: str, n_rows: int, random_state: int | None
) -> LatentMap | str:
    """Place rows on a plane by their quantized latents, or say why that cannot be done."""
    coarse = {name: book for name, book in judged.run.codebooks.items() if book[1] == 0}
    if not coarse:
        return "the codec has no codebook at the coarsest level"
    chosen = _sample(len(judged.table), n_rows, random_state)
    values = latents.after[chosen].astype(np.float64)
    if len(np.unique(values, axis=0)) < 3:
        return "the rows have fewer than 3 different codes"
    notes, few = {}, len(chosen) < _ROWS_FOR_TSNE
    if embedding == "tsne" and (few or values.shape[1] < 2):
        embedding = "pca"
        why = f"{len(chosen)} rows are too few" if few else "latents of width 1 leave no plane"
        notes["latent_map"] = f"{why} for t-SNE; PCA stands in"
    book = max(coarse, key=lambda name: (coarse[name][2], name))
    codes = pd.DataFrame(judged.run.codes[chosen], columns=list(judged.run.codebooks))
    points = pd.DataFrame(_embed(values, embedding, random_state), columns=["x", "y"], index=chosen)
    points["code"] = codes[book].to_numpy()
    scores = {
        name: _cluster_scores(values[:, latents.spans[owner]], codes[name].to_numpy())
        for name, (owner, _, _) in coarse.items()
    }
    table = pd.DataFrame.from_dict(
        scores, orient="index", columns=["silhouette", "davies_bouldin"]
    ).rename_axis("codebook")
    undefined = table.index[table["silhouette"].isna()].tolist()
    if undefined:
        notes["cluster_scores"] = (
            f"not defined for {', '.join(undefined)}: they need at least 2 codes, and fewer codes "
            "than rows"
        )
    return LatentMap(points, embedding, book, table, notes)


def _sample(n: int, most: int, random_state: int | None) -> NDArray[np.int64]:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(random_state).permutation(n)[:most])


def _embed(values: NDArray[np.float64], embedding: str, seed: int | None) -> NDArray[np.float64]:
    if embedding == "pca":
        flat = np.column_stack([values, np.zeros(len(values))])
        return np.asarray(PCA(2, random_state=seed).fit_transform(flat), dtype=np.float64)
    perplexity = min(30.0, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=500, random_state=seed)
    with np.errstate(under="ignore"):
        return np.asarray(tsne.fit_transform(values), dtype=np.float64)


def _cluster_scores(values: NDArray[np.float64], codes: NDArray[np.int64]) -> tuple[float, float]:
    """Silhouette and Davies-Bouldin index; rows with equal latents all in one code score best."""
    if not 2 <= len(np.unique(codes)) < len(codes) or not values.shape[1]:
        return math.nan, math.nan
    return float(silhouette_score(values, codes)), float(davies_bouldin_score(values, codes))
