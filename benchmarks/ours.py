"""adaptive-vq as a codec of the benchmarks."""

# ruff: noqa: D102 (measure.Codec documents the methods)
from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Codes
from benchmarks.protocol import Categories, Matrix


class Ours:
    """``HierarchicalVQVAE`` on the protocol's matrix, at its default settings.

    Parameters
    ----------
    bits, seed : int
        Budget and seed.
    strategy : str or None, default=None
        Strategy of the selector; None takes the estimator's own default.
    categories : dict of str to ndarray of int or None, default=None
        Given categories; None takes the default characterizer.
    cut_tolerance : float or None, default=None
        How much more error finer categories may cost; None takes the selector's default.
    **settings
        Further parameters of the estimator, such as ``context="joint"``.
    """

    def __init__(
        self,
        bits: int,
        seed: int,
        strategy: str | None = None,
        categories: Categories | None = None,
        cut_tolerance: float | None = None,
        **settings: Any,
    ) -> None:
        from adaptive_vq import estimation

        assert estimation  # torch and skorch are loaded before time is taken, as faiss is
        self.bits = bits
        self.seed = seed
        self.strategy = strategy
        self.categories = categories
        self.cut_tolerance = cut_tolerance
        self.settings = settings

    def fit(self, A: Matrix) -> Self:
        from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE

        strategy = self.strategy or HierarchicalVQVAE().auto_compression_strategy
        characterizer = None
        if self.categories is not None:
            listed = {name: columns.tolist() for name, columns in self.categories.items()}
            characterizer = FeatureCharacterizer(categories=listed)
        self.model = HierarchicalVQVAE(
            AdaptiveRatioSelector(
                strategy,
                bits=self.bits,
                cut_tolerance=self.cut_tolerance,
                characterizer=characterizer,
            ),
            # The matrix is in the protocol's units already.
            scaler=None,
            clip=None,
            random_state=self.seed,
            **self.settings,
        ).fit(A)
        return self

    @property
    def sizes(self) -> list[int]:
        return [len(codebook) for codebook in self.model.codebooks_.values()]

    def details(self) -> dict[str, Any]:
        return {
            "strategy": self.strategy or self.model.auto_compression_strategy,
            "n_bits": float(self.model.n_bits_),
            "n_epochs": int(self.model.n_iter_),
            "columns": {name: len(columns) for name, columns in self.model.categories_.items()},
            "bits": {name: [int(b) for b in bits] for name, bits in self.model.bits_.items()},
        }

    def encode(self, A: Matrix) -> Codes:
        return np.asarray(self.model.transform(A))

    def decode(self, codes: Codes) -> NDArray[np.floating]:
        return np.asarray(self.model.inverse_transform(codes))

    def embed(self, A: Matrix) -> NDArray[np.floating]:
        """Decoded latents, shape (n, width)."""
        before = self.model.encode
        try:
            return np.asarray(self.model.set_params(encode="embedding").transform(A))
        finally:
            self.model.set_params(encode=before)
