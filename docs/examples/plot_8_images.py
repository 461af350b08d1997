"""
Images, level by level
======================

Handwritten digits arrive coarse first: the codes of level 0 already give a picture, every further
level sharpens it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq.metrics import reconstruction_nmse

X, y = load_digits(return_X_y=True)
train, test, _, y_test = train_test_split(X, y, random_state=0)

# %%
# All pixels in one category, four levels, 40 bits per picture of 64 pixels.

selector = AdaptiveRatioSelector(
    "uniform", bits=40, n_levels=4, characterizer=FeatureCharacterizer(1)
)
vq = HierarchicalVQVAE(selector, scaler=None, clip=None, max_epochs=0, random_state=0).fit(train)
codes = vq.transform(test)
bits = next(iter(vq.bits_.values()))
print("bits per level:", bits)

# %%
# One row of pictures per number of levels.

shown = [np.flatnonzero(y_test == digit)[0] for digit in range(8)]
fig, axes = plt.subplots(5, 8, figsize=(8, 5.4), layout="constrained")
for n_levels in range(1, 5):
    decoded = vq.inverse_transform(codes, n_levels=n_levels)
    nmse = reconstruction_nmse(test, decoded)
    print(f"{n_levels} level(s): {sum(bits[:n_levels])} bits, NMSE {nmse:.3f}")
    axes[n_levels - 1, 0].set_ylabel(f"{sum(bits[:n_levels])} bits")
    for ax, row in zip(axes[n_levels - 1], shown, strict=True):
        ax.imshow(decoded[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
axes[4, 0].set_ylabel("original")
for ax, row in zip(axes[4], shown, strict=True):
    ax.imshow(test[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()
