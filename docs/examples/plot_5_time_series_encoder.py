"""
An own encoder for time series
==============================

A category can have a torch module of its own: ``encoders={"category": module}`` takes its columns
(n, k), in codec units and in their order, and returns (n, any width). It is trained with the rest.
Here the columns of one category are time steps, and the module is a 1-D convolution.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq.metrics import category_nmse

# %%
# Oscillations with a chirp of random onset, and four figures about each of them.

rng = np.random.default_rng(0)
n, n_steps = 2500, 32
time = np.linspace(0, 1, n_steps)
onset, pitch, height = rng.uniform(0, 0.6, n), rng.uniform(2, 4, n), rng.gamma(4, 0.25, n)
since = np.clip(time - onset[:, None], 0, None)
series = height[:, None] * np.sin(2 * np.pi * pitch[:, None] * since) * np.exp(-3 * since)
series += 0.05 * rng.normal(size=series.shape)
summary = np.c_[onset, height, series.max(1), series.std(1)] + 0.05 * rng.normal(size=(n, 4))
names = [f"temporal__t{t:02d}" for t in range(n_steps)]
names += [f"summary__{name}" for name in ("onset", "height", "max", "std")]
X = pd.DataFrame(np.hstack([series, summary]), columns=names)
train, test = X.iloc[:2000], X.iloc[2000:]

# %%
# The module sees a row as a signal: neighbors in time share their weights.


class SeriesEncoder(nn.Module):
    """Two convolutions over time."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(channels, channels, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Flatten(),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Features (n, channels * steps / 2) of series (n, steps)."""
        return self.layers(rows[:, None, :])


# %%
# Same plan, same seed: no training at all, the default encoder, the convolution. All start from the
# same classical codec, and epochs that do not lower the error on rows kept aside are not kept.

torch.manual_seed(0)
plan = AdaptiveRatioSelector("water_filling", bits=12, characterizer=FeatureCharacterizer("prefix"))
training = {"lr": 3e-3, "max_epochs": 10, "n_iter_no_change": 4}
convolution = {"temporal": SeriesEncoder()}
codecs = {
    "no training": HierarchicalVQVAE(plan, max_epochs=0, random_state=0),
    "default encoder": HierarchicalVQVAE(plan, **training, random_state=0),
    "convolution": HierarchicalVQVAE(plan, **training, encoders=convolution, random_state=0),
}
scale, mean = train.std().to_numpy(), (train.mean() / train.std()).to_numpy()
errors = {}
for name, codec in codecs.items():
    decoded = codec.fit(train).reconstruct(test).to_numpy()
    errors[name] = category_nmse(
        test.to_numpy() / scale, decoded / scale, codec.categories_, reference=mean
    )
    print(f"{name}: score {codec.score(test):.4f} on new rows, {codec.n_iter_} epochs kept")

# %%
# What it changed in the error of the series, on rows that no fit has seen. The start already knows
# the principal directions of the series, so that little is left for any encoder to find: judge an
# own encoder beside the default one before keeping it.

for name in ("no training", "default encoder"):
    change = errors["convolution"]["temporal"] / errors[name]["temporal"] - 1
    print(f"convolution against {name}: {100 * change:+.1f} %")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
pd.DataFrame(errors).T.plot.barh(ax=left)
left.set(xlabel="NMSE on new rows", title="12 bits per row", xlim=(0, 0.42))
shown = test.iloc[:3, :n_steps].to_numpy()
decoded = codecs["convolution"].reconstruct(test.iloc[:3]).iloc[:, :n_steps].to_numpy()
for i, (row, back) in enumerate(zip(shown, decoded, strict=True)):
    right.plot(time, row + 3 * i, color=f"C{i}", label="series" if i == 0 else None)
    right.plot(time, back + 3 * i, color=f"C{i}", ls="--", label="decoded" if i == 0 else None)
right.set(xlabel="time", yticks=[], title="New rows and what is decoded")
right.legend()
plt.show()
