"""The neural peer: vector-quantize-pytorch's ``ResidualVQ`` inside an autoencoder."""

# ruff: noqa: D102 (measure.Codec documents the methods)
from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.measure import Codes
from benchmarks.peers import n_codebooks
from benchmarks.protocol import Matrix


class ResidualAutoencoder:
    """A perceptron d-512-64, ``ResidualVQ`` of 256-word codebooks, and its mirror image.

    Codebooks start by k-means on the first batch; codewords that fall out of use are replaced.

    Parameters
    ----------
    bits, seed : int
        Rate (a multiple of 8) and seed.
    epochs, batch_size : int
        Passes over the training rows, and rows per step.
    lr : float
        Step size of Adam.
    """

    def __init__(
        self, bits: int, seed: int, epochs: int = 20, batch_size: int = 256, lr: float = 1e-3
    ) -> None:
        self.n_codebooks = n_codebooks(bits)
        self.seed = seed
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr

    def fit(self, A: Matrix) -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._build(A.shape[1])
            self._train(torch.from_numpy(np.ascontiguousarray(A)))
        for part in self.parts:
            part.eval()
        return self

    def _build(self, width: int) -> None:
        from vector_quantize_pytorch import ResidualVQ

        self.encoder = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, 64))
        self.decoder = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, width))
        self.quantizer: Any = ResidualVQ(
            dim=64,
            num_quantizers=self.n_codebooks,
            codebook_size=256,
            kmeans_init=True,
            threshold_ema_dead_code=2,
        )
        self.parts: list[nn.Module] = [self.encoder, self.quantizer, self.decoder]

    def _train(self, rows: Tensor) -> None:
        weights = [weight for part in self.parts for weight in part.parameters()]
        optimizer = torch.optim.Adam(weights, lr=self.lr)
        batches = max(1, len(rows) // self.batch_size)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(rows)).tensor_split(batches):
                quantized, _, commitment = self.quantizer(self.encoder(rows[batch]))
                error = nn.functional.mse_loss(self.decoder(quantized), rows[batch])
                optimizer.zero_grad()
                (error + commitment.sum()).backward()
                optimizer.step()

    @property
    def sizes(self) -> list[int]:
        return [256] * self.n_codebooks

    def details(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    @torch.no_grad()
    def encode(self, A: Matrix) -> Codes:
        latent = self.encoder(torch.from_numpy(np.ascontiguousarray(A)))
        return np.asarray(self.quantizer(latent)[1].numpy())

    @torch.no_grad()
    def decode(self, codes: Codes) -> NDArray[np.floating]:
        latent = self.quantizer.get_output_from_indices(torch.from_numpy(codes))
        return np.asarray(self.decoder(latent).numpy())
