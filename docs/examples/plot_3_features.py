"""
Codes as features
=================

Handwritten digits (8 x 8 pixels) in a few dozen bits, classified from the codes alone.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE

X, y = load_digits(return_X_y=True)
train, test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# The number of categories is a choice: it moves the error of decoding and the worth of the codes as
# features, and not by as much. Here one category is best at both; on other tables more make better
# features.

found = []
for n_categories in (1, 4, 8):
    selector = AdaptiveRatioSelector(
        "water_filling", bits=48, characterizer=FeatureCharacterizer(n_categories)
    )
    vq = HierarchicalVQVAE(selector, encode="onehot", max_epochs=0, random_state=0)
    model = make_pipeline(vq, LogisticRegression(C=0.3, max_iter=500)).fit(train, y_train)
    accuracy = model.score(test, y_test)
    found.append((n_categories, accuracy, model[0].score(test)))
    print(f"{n_categories} categories: accuracy {accuracy:.3f}, quality {found[-1][2]:.3f}")

# %%

fig, ax = plt.subplots(layout="constrained")
for n_categories, accuracy, quality in found:
    ax.plot(quality, accuracy, "o")
    ax.annotate(f" {n_categories} categories", (quality, accuracy))
ax.set(xlabel="quality of reconstruction", ylabel="accuracy from one-hot codes")
ax.margins(0.3)
plt.show()
