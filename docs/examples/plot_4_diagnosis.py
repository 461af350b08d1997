"""
Reading a diagnosis
===================

Fit, then judge the very same object on rows it has not seen.
"""

import matplotlib.pyplot as plt

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE, diagnose
from adaptive_vq.datasets import make_feature_families
from adaptive_vq.displays import CategoryErrorDisplay, CodebookUsageDisplay

X = make_feature_families(1000, random_state=0).data
train, test = X.iloc[:800], X.iloc[800:]
selector = AdaptiveRatioSelector(
    "water_filling", bits=48, characterizer=FeatureCharacterizer("prefix")
)
vq = HierarchicalVQVAE(selector, max_epochs=2, random_state=0).fit(train)

# %%

report = diagnose(vq, test, embedding=None)
print(report)

# %%
# Which families the error comes from.

CategoryErrorDisplay.from_estimator(vq, test)
plt.show()

# %%
# How evenly codewords are used.

CodebookUsageDisplay.from_estimator(vq, test)
plt.show()
