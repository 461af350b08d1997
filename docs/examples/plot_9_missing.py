"""
Missing cells and odd rows
==========================

Decoding fills every cell, also those that were missing; and a row that decodes badly is unlike the
training rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from adaptive_vq import HierarchicalVQVAE

X = load_breast_cancer().data
train, test = train_test_split(X, random_state=0)
vq = HierarchicalVQVAE(bits=48, clip=None, max_epochs=0, random_state=0).fit(train)

# %%
# A tenth of the cells is taken away and filled in again; the error is in standard deviations.

rng = np.random.default_rng(0)
gone = rng.random(test.shape) < 0.1
holed = np.where(gone, np.nan, test)
filled = {
    "mean": SimpleImputer().fit(train).transform(holed),
    "codes": vq.reconstruct(holed),
}
spread = train.std(axis=0)
for name, table in filled.items():
    error = np.sqrt(np.mean((((table - test) / spread)[gone]) ** 2))
    print(f"filled by {name}: root mean squared error {error:.2f}")

# %%
# Odd rows: each cell is one that occurs, but not in this company.

odd = np.column_stack([rng.permutation(column) for column in test.T])


def error_of(rows):
    """Return the mean squared error of each row in variances."""
    return np.mean(((vq.reconstruct(rows) - rows) / spread) ** 2, axis=1)


usual, unusual = error_of(test), error_of(odd)
area = roc_auc_score(np.repeat([0, 1], len(test)), np.r_[usual, unusual])
print(f"area under the curve that tells odd rows by their error: {area:.3f}")

# %%

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
column = 0
seen = gone[:, column]
left.plot(test[seen, column], filled["mean"][seen, column], "x", color="0.6", label="mean")
left.plot(test[seen, column], filled["codes"][seen, column], "o", label="codes")
left.axline((15, 15), slope=1, color="0.8", zorder=0)
left.set(xlabel="true cell (mean radius)", ylabel="filled in")
left.legend()
bins = np.geomspace(1e-3, 30, 40)
right.hist([usual, unusual], bins, label=["as they are", "columns shuffled"], histtype="step")
right.set(xscale="log", xlabel="error of a row", ylabel="rows")
right.legend()
plt.show()
