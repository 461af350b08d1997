"""
Where the bits go
=================

The same table and the same budget, planned by a formula and by measuring.
"""

# %%
# A table of seven families of columns whose difficulty differs.

import matplotlib.pyplot as plt

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer
from adaptive_vq.datasets import make_feature_families
from adaptive_vq.displays import RatioDecisionDisplay

X = make_feature_families(800, random_state=0).data
families = FeatureCharacterizer("prefix")

# %%
# ``"balanced"`` shares 64 bits in proportion to columns and ratios.

balanced = AdaptiveRatioSelector("balanced", bits=64, characterizer=families).fit(X)
RatioDecisionDisplay.from_estimator(balanced)
plt.show()

# %%
# ``"rate_distortion"`` measures what every further bit buys.

measured = AdaptiveRatioSelector("rate_distortion", bits=64, characterizer=families).fit(X)
RatioDecisionDisplay.from_estimator(measured)
plt.show()

# %%
# The measured curves behind it: error of each family on rows kept aside, and where it ended up.

fig, ax = plt.subplots(layout="constrained")
for name, curve in measured.curves_.items():
    (line,) = ax.plot(curve, label=name)
    bits = sum(measured.bits_[name])
    ax.plot(bits, curve[bits], "o", color=line.get_color())
ax.set(xlim=(0, 30), xlabel="bits", ylabel="NMSE of the category")
ax.legend()
plt.show()
