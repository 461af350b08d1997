"""
Coarse to fine
==============

Every prefix of the levels decodes. Here one row per curve: a damped wave, sampled at 40 points.
"""

import matplotlib.pyplot as plt
import numpy as np

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq.metrics import reconstruction_nmse

rng = np.random.default_rng(0)
t = np.linspace(0, 1, 40)
frequency, damping, phase = rng.uniform([2, 0.5, 0], [5, 4, 6.3], size=(1500, 3)).T[:, :, None]
waves = np.exp(-damping * t) * np.cos(2 * np.pi * frequency * t + phase)
train, test = waves[:1200], waves[1200:]

# %%
# One category (all points belong together), 48 bits in three levels.

selector = AdaptiveRatioSelector(bits=48, characterizer=FeatureCharacterizer(1))
vq = HierarchicalVQVAE(selector, max_epochs=3, random_state=0).fit(train)
codes = vq.transform(test)
print(vq.bits_)

# %%
# Fewer levels, coarser curves.

fig, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for n_levels, ax in enumerate(axes, start=1):
    decoded = vq.inverse_transform(codes, n_levels=n_levels)
    for row in range(3):
        ax.plot(t, test[row], color="0.8", lw=3)
        ax.plot(t, decoded[row], lw=1)
    ax.set_title(f"{n_levels} level(s), NMSE {reconstruction_nmse(test, decoded):.3f}")
plt.show()
