"""
Semantic IDs of words
=====================

Recommenders and language models name an item by a few tokens instead of one number of its own, so
that similar items share tokens. Here the items are words: vectors of a small invented vocabulary
become a short ID each, and the share of words that collide is counted.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE

# %%
# A vocabulary of 1200 words: a topic, a sense within the topic, and what is the word's own.

rng = np.random.default_rng(0)
topics = ["animal", "vehicle", "food", "tool", "color", "city"]
of_topic = rng.normal(size=(6, 16))
of_sense = 0.5 * rng.normal(size=(6, 20, 16))
topic, sense = np.repeat(np.arange(6), 200), np.tile(np.repeat(np.arange(20), 10), 6)
vectors = of_topic[topic] + of_sense[topic, sense] + 0.3 * rng.normal(size=(1200, 16))
words = [f"{topics[t]}-{s}-{i % 10}" for i, (t, s) in enumerate(zip(topic, sense, strict=True))]

# %%
# An ID of three tokens, coarse to fine. One category: an ID names the whole vector.
# ``codebook_sizes`` fixes the size of each level's vocabulary, ``encode="token"`` makes token
# numbers unique.


def tokenizer(size):
    """Return a codec of three levels with `size` tokens each."""
    bits, one_category = int(3 * np.log2(size)), FeatureCharacterizer(1)
    return HierarchicalVQVAE(
        AdaptiveRatioSelector("uniform", bits=bits, characterizer=one_category),
        codebook_sizes=[size] * 3,
        encode="token",
        max_epochs=0,
        random_state=0,
    )


ids = tokenizer(16).fit_transform(vectors)
print(pd.DataFrame(ids, index=words).iloc[[0, 1, 2, 400, 401, 402]])

# %%
# Words that share the first token mostly share the topic; words that share two, the sense.

for n_tokens, name, labels in ((1, "topic", topic), (2, "sense", 20 * topic + sense)):
    prefix = pd.Series(list(map(tuple, ids[:, :n_tokens])))
    pure = pd.Series(labels).groupby(prefix).agg(lambda x: x.value_counts().iloc[0]).sum()
    print(
        f"first {n_tokens} token(s): {pure / len(words):.0%} of the words in their group's {name}"
    )

# %%
# Collision rate: share of words whose ID is not theirs alone. It falls with the size of the levels;
# what is left is told apart by one more number, as such systems do.

sizes, rates = [8, 16, 32, 64, 128], []
for size in sizes:
    whole = pd.Series(list(map(tuple, tokenizer(size).fit_transform(vectors))))
    rates.append(whole.duplicated(keep=False).mean())
    print(f"3 x {size} tokens: {rates[-1]:.1%} of the words collide")

fig, ax = plt.subplots(layout="constrained")
ax.plot(sizes, rates, "o-")
ax.set_xscale("log", base=2)
ax.set(xlabel="tokens per level", ylabel="collision rate", ylim=(0, None))
plt.show()
