"""Classical peers: faiss product and residual quantizers, binned columns, k-means per category.

Every faiss quantizer has codebooks of 256 codewords, so its rate is a multiple of 8 bits.
"""

# ruff: noqa: D102 (measure.Codec documents the methods)
from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.preprocessing import KBinsDiscretizer

from benchmarks.measure import Codes
from benchmarks.protocol import Categories, Matrix, ward_categories

_WORD = 8
_MAX_BIN_BITS = 6


def n_codebooks(bits: int) -> int:
    """Codebooks of 256 codewords that `bits` pay for.

    Raises
    ------
    ValueError
        If `bits` is not a positive multiple of 8.
    """
    if bits < _WORD or bits % _WORD:
        raise ValueError(
            f"A quantizer of 256-word codebooks needs a multiple of 8 bits; got {bits}."
        )
    return bits // _WORD


class _Faiss:
    """What the faiss quantizers share."""

    quantizer: Any

    def __init__(self, bits: int, seed: int) -> None:
        self.n_codebooks = n_codebooks(bits)
        self.seed = seed
        self.width = 0

    @property
    def sizes(self) -> list[int]:
        return [2**_WORD] * self.n_codebooks

    def details(self) -> dict[str, Any]:
        return {}

    def encode(self, A: Matrix) -> Codes:
        return np.asarray(self.quantizer.compute_codes(self._in(A)))

    def decode(self, codes: Codes) -> NDArray[np.floating]:
        return np.asarray(self.quantizer.decode(np.ascontiguousarray(codes)))[:, : self.width]

    def _in(self, A: Matrix) -> Matrix:
        return np.ascontiguousarray(A, dtype=np.float32)

    def _pad(self, A: Matrix) -> Matrix:
        # A product quantizer cuts rows into parts of equal width.
        self.width = A.shape[1]
        return np.ascontiguousarray(np.pad(A, ((0, 0), (0, -self.width % self.n_codebooks))))

    def _settle(self, clustering: Any) -> None:
        clustering.seed = self.seed
        clustering.min_points_per_centroid = 1  # small tables are meant: no warning


class ProductQuantizer(_Faiss):
    """faiss ``ProductQuantizer``: columns in order, cut into parts of equal width."""

    def fit(self, A: Matrix) -> Self:
        import faiss

        padded = self._pad(A)
        self.quantizer = faiss.ProductQuantizer(padded.shape[1], self.n_codebooks, _WORD)
        self._settle(self.quantizer.cp)
        self.quantizer.train(padded)
        return self

    def _in(self, A: Matrix) -> Matrix:
        return self._pad(A)


class OptimizedProductQuantizer(ProductQuantizer):
    """faiss ``OPQMatrix`` before a product quantizer."""

    def fit(self, A: Matrix) -> Self:
        import faiss

        padded = self._pad(A)
        width = padded.shape[1]
        self.rotation = faiss.OPQMatrix(width, self.n_codebooks)
        self.rotation.pq = faiss.ProductQuantizer(width, self.n_codebooks, _WORD)
        self._settle(self.rotation.pq.cp)
        self.rotation.train(padded)
        self.quantizer = faiss.ProductQuantizer(width, self.n_codebooks, _WORD)
        self._settle(self.quantizer.cp)
        self.quantizer.train(self.rotation.apply(padded))
        return self

    def _in(self, A: Matrix) -> Matrix:
        return np.ascontiguousarray(self.rotation.apply(self._pad(A)))

    def decode(self, codes: Codes) -> NDArray[np.floating]:
        rotated = self.quantizer.decode(np.ascontiguousarray(codes))
        return np.asarray(self.rotation.reverse_transform(rotated))[:, : self.width]


class ResidualQuantizer(_Faiss):
    """faiss ``ResidualQuantizer``, trained with beam 5.

    Parameters
    ----------
    bits, seed : int
        Rate and seed.
    beam : int, default=5
        Beam of the encoder.
    """

    def __init__(self, bits: int, seed: int, beam: int = 5) -> None:
        super().__init__(bits, seed)
        self.beam = beam

    def fit(self, A: Matrix) -> Self:
        import faiss

        self.width = A.shape[1]
        self.quantizer = faiss.ResidualQuantizer(self.width, self.n_codebooks, _WORD)
        self._settle(self.quantizer.cp)
        self.quantizer.max_beam_size = 5
        self.quantizer.train(self._in(A))
        return self

    def encode(self, A: Matrix) -> Codes:
        self.quantizer.max_beam_size = self.beam
        return super().encode(A)

    def with_beam(self, beam: int) -> ResidualQuantizer:
        """Share the codebooks with an encoder of another beam."""
        other = ResidualQuantizer(_WORD * self.n_codebooks, self.seed, beam)
        other.quantizer, other.width = self.quantizer, self.width
        return other


class LocalSearchQuantizer(_Faiss):
    """faiss ``LocalSearchQuantizer`` (LSQ++); slow on wide tables."""

    def fit(self, A: Matrix) -> Self:
        import faiss

        self.width = A.shape[1]
        self.quantizer = faiss.LocalSearchQuantizer(self.width, self.n_codebooks, _WORD)
        self.quantizer.random_seed = self.seed
        self.quantizer.train(self._in(A))
        return self


class BinnedColumns:
    """scikit-learn's ``KBinsDiscretizer`` (k-means bins), with bits where they help most.

    One bit at a time goes to the column whose training error falls most; a column without a bit
    decodes to its mean, a bin to the mean of its training rows.
    """

    def __init__(self, bits: int, seed: int) -> None:
        self.bits = bits
        self.seed = seed

    def fit(self, A: Matrix) -> Self:
        columns = [_BinnedColumn(A[:, [j]]) for j in range(A.shape[1])]
        for _ in range(self.bits):
            max(columns, key=_BinnedColumn.gain).grow()
        self.coded = np.flatnonzero([column.bits for column in columns])
        self.columns = [columns[j] for j in self.coded]
        self.mean = A.mean(axis=0)
        return self

    @property
    def sizes(self) -> list[int]:
        return [len(column.values) for column in self.columns]

    def details(self) -> dict[str, Any]:
        return {"n_columns_coded": len(self.coded)}

    def encode(self, A: Matrix) -> Codes:
        parts = zip(self.columns, self.coded, strict=True)
        return np.stack([column.encode(A[:, [j]]) for column, j in parts], axis=1)

    def decode(self, codes: Codes) -> NDArray[np.floating]:
        output = np.tile(self.mean, (len(codes), 1))
        for j, column, code in zip(self.coded, self.columns, codes.T, strict=True):
            output[:, j] = column.values[code]
        return output


class _BinnedColumn:
    """One column, its bins, and what another bit would buy."""

    def __init__(self, cells: Matrix) -> None:
        self.cells = cells
        self.bits = 0
        self.values = np.array([cells.mean()])
        self.error = float(np.square(cells - cells.mean()).sum())
        self.binner: KBinsDiscretizer | None = None
        self.finer: _BinnedColumn | None = None

    def gain(self) -> float:
        if self.bits >= _MAX_BIN_BITS or self.error <= 0:
            return 0.0
        if self.finer is None:
            self.finer = _BinnedColumn(self.cells)
            self.finer.bin(self.bits + 1)
        return self.error - self.finer.error

    def grow(self) -> None:
        if self.gain() <= 0 or self.finer is None:
            return  # no column gains: the bit stays unspent
        self.bits, self.values, self.error = self.finer.bits, self.finer.values, self.finer.error
        self.binner, self.finer = self.finer.binner, None

    def bin(self, bits: int) -> None:
        self.bits = bits
        self.binner = KBinsDiscretizer(2**bits, encode="ordinal", strategy="kmeans")
        with warnings.catch_warnings():
            # A column of few distinct values gets fewer bins, which the rate counts.
            warnings.simplefilter("ignore", UserWarning)
            self.binner.fit(self.cells)
        code = self.encode(self.cells)
        count = np.bincount(code, minlength=self.binner.n_bins_[0])
        total = np.bincount(code, weights=self.cells[:, 0], minlength=len(count))
        self.values = total / np.maximum(count, 1)
        self.error = float(np.square(self.cells[:, 0] - self.values[code]).sum())

    def encode(self, cells: Matrix) -> NDArray[np.int64]:
        if self.binner is None:
            return np.zeros(len(cells), dtype=np.int64)
        return np.asarray(self.binner.transform(cells))[:, 0].astype(np.int64)


class CategoryKMeans:
    """One k-means of 256 centers per category of columns (Ward on ``1 - |r|``)."""

    def __init__(self, bits: int, seed: int) -> None:
        self.n_categories = n_codebooks(bits)
        self.seed = seed

    def fit(self, A: Matrix) -> Self:
        self.width = A.shape[1]
        self.categories: Categories = ward_categories(A, self.n_categories)
        parts = [A[:, columns] for columns in self.categories.values()]
        # A part of few distinct rows gets no more centers than these, and its rate counts so.
        sizes = [min(2**_WORD, len(np.unique(part, axis=0))) for part in parts]
        self.models = [
            KMeans(size, n_init=1, random_state=self.seed).fit(part)
            for part, size in zip(parts, sizes, strict=True)
        ]
        return self

    @property
    def sizes(self) -> list[int]:
        return [len(model.cluster_centers_) for model in self.models]

    def details(self) -> dict[str, Any]:
        return {"n_categories": len(self.categories)}

    def encode(self, A: Matrix) -> Codes:
        parts = zip(self.models, self.categories.values(), strict=True)
        return np.stack([model.predict(A[:, columns]) for model, columns in parts], axis=1)

    def decode(self, codes: Codes) -> NDArray[np.floating]:
        output = np.zeros((len(codes), self.width), dtype=np.float32)
        parts = zip(self.models, self.categories.values(), codes.T, strict=True)
        for model, columns, code in parts:
            output[:, columns] = model.cluster_centers_[code]
        return output
