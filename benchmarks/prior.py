"""The system before this one, in short: parallel levels, every codebook of one size."""

# ruff: noqa: D102 (measure.Codec documents the methods)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adaptive_vq.ratios import latent_width
from benchmarks.measure import Codes
from benchmarks.protocol import Matrix, ward_categories

_EMBEDDING, _HIDDEN, _DECODER = 256, 128, 256


class PriorSystem:
    """One encoder per category, three parallel heads with a codebook each, one joint decoder.

    The ratios set latent widths only; the bits are spread evenly over the codebooks, which start
    at random. Left out: the terms of its loss other than reconstruction and quantization, and the
    codeword resets, which did not survive the next step there.

    Parameters
    ----------
    bits, seed : int
        Rate and seed.
    n_categories : int
        Categories of columns (Ward on ``1 - |r|``); fewer where the bits do not suffice.
    ratios : sequence of float
        Latent width over number of columns, per level.
    epochs : int
        Most passes over the training rows; the tenth of them kept aside stops it.
    """

    def __init__(
        self,
        bits: int,
        seed: int,
        n_categories: int = 8,
        ratios: Sequence[float] = (0.5, 1.0, 1.5),
        epochs: int = 100,
    ) -> None:
        self.bits = bits
        self.seed = seed
        self.n_categories = max(1, min(n_categories, bits // len(ratios)))
        self.ratios = ratios
        self.epochs = epochs

    def fit(self, A: Matrix) -> Self:
        categories = list(ward_categories(A, self.n_categories).values())
        self.categories = [torch.from_numpy(columns) for columns in categories]
        self.size = int(2 ** (self.bits / (len(categories) * len(self.ratios))))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._build(A.shape[1])
            self._train(torch.from_numpy(np.ascontiguousarray(A)))
        self.network.eval()
        return self

    def _build(self, width: int) -> None:
        from vector_quantize_pytorch import VectorQuantize

        encoders, heads, quantizers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        total = 0
        for columns in self.categories:
            encoders.append(_encoder(len(columns)))
            for ratio in self.ratios:
                latent = latent_width(len(columns), ratio)
                heads.append(nn.Linear(_EMBEDDING, latent))
                quantizers.append(
                    VectorQuantize(latent, self.size, decay=0.99, commitment_weight=0.25)
                )
                total += latent
        decoder = nn.Sequential(nn.Linear(total, _DECODER), nn.ReLU(), nn.Linear(_DECODER, width))
        parts = {"encoders": encoders, "heads": heads, "quantizers": quantizers, "decoder": decoder}
        self.network = nn.ModuleDict(parts)

    def _latents(self, rows: Tensor) -> list[Tensor]:
        encoders: Any = self.network["encoders"]
        heads: Any = self.network["heads"]
        embedded = [
            encoder(rows[:, columns])
            for encoder, columns in zip(encoders, self.categories, strict=True)
        ]
        return [head(embedded[i // len(self.ratios)]) for i, head in enumerate(heads)]

    def _quantized(self, rows: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        quantizers: Any = self.network["quantizers"]
        return [q(latent) for q, latent in zip(quantizers, self._latents(rows), strict=True)]

    def _error(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        latents, _, commitments = zip(*self._quantized(rows), strict=True)
        output = self.network["decoder"](torch.cat(latents, dim=1))
        return nn.functional.mse_loss(output, rows), torch.stack(commitments).sum()

    def _train(self, rows: Tensor, batch_size: int = 512, patience: int = 10) -> None:
        rows = rows[torch.randperm(len(rows))]
        aside, rows = rows[: len(rows) // 10], rows[len(rows) // 10 :]
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        best, since = float("inf"), 0
        for _ in range(self.epochs):
            self.network.train()
            for batch in torch.randperm(len(rows)).split(batch_size):
                error, commitment = self._error(rows[batch])
                optimizer.zero_grad()
                (error + commitment).backward()
                optimizer.step()
            self.network.eval()
            with torch.no_grad():
                error = self._error(aside)[0]
            best, since = (float(error), 0) if float(error) < best else (best, since + 1)
            if since == patience:
                break

    @property
    def sizes(self) -> list[int]:
        return [self.size] * (len(self.categories) * len(self.ratios))

    def details(self) -> dict[str, Any]:
        return {"ratios": list(self.ratios), "n_categories": len(self.categories)}

    @torch.no_grad()
    def encode(self, A: Matrix) -> Codes:
        rows = torch.from_numpy(np.ascontiguousarray(A))
        return np.asarray(torch.stack([codes for _, codes, _ in self._quantized(rows)], 1).numpy())

    @torch.no_grad()
    def decode(self, codes: Codes) -> NDArray[np.floating]:
        quantizers: Any = self.network["quantizers"]
        index = torch.from_numpy(np.asarray(codes, dtype=np.int64))
        latents = [
            quantizer.get_output_from_indices(column)
            for quantizer, column in zip(quantizers, index.T, strict=True)
        ]
        return np.asarray(self.network["decoder"](torch.cat(latents, dim=1)).numpy())


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, _HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(_HIDDEN, _EMBEDDING),
        nn.LayerNorm(_EMBEDDING),
    )
