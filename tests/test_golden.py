"""Quality is compared with stored figures: a change that makes codes worse fails.

After a change that is meant to move them: ``python tests/test_golden.py`` writes the figures anew;
read the difference before you commit it.
"""

import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden.json")

#: A held-out NMSE may be this much worse than the stored one, or this much better (then the stored
#: one is out of date).
WORSE, BETTER = 1.05, 0.85

#: name -> (training rows, strategy, bits)
CASES = {
    "ar1": (600, "rate_distortion", 12),
    "power": (600, "water_filling", 16),
    "blocks": (600, "minimax", 16),
    "families": (300, "balanced", 32),
}


def rows_of(name, n_train):
    """Training rows, rows held out, and the true categories."""
    from adaptive_vq.datasets import make_feature_families, make_gaussian_table

    n = 2 * n_train
    if name.startswith("families"):
        table = make_feature_families(n_samples=n, random_state=0)
    else:
        table = make_gaussian_table(n, 24, spectrum=name, random_state=0)
    return table.data[:n_train], table.data[n_train:]


def figures(name):
    from adaptive_vq import HierarchicalVQVAE

    n_train, strategy, bits = CASES[name]
    train, held = rows_of(name, n_train)
    vq = HierarchicalVQVAE(
        auto_compression_strategy=strategy, bits=bits, max_epochs=2, beam_width=4, random_state=0
    ).fit(train)
    return {"nmse": round(1 - vq.score(held), 6), "bits": round(vq.n_bits_, 3)}


@pytest.mark.parametrize("name", CASES)
def test_quality_is_what_it_was(name):
    stored, found = json.loads(GOLDEN.read_text(encoding="utf-8"))[name], figures(name)
    assert found["bits"] <= CASES[name][2]
    ratio = found["nmse"] / stored["nmse"]
    assert ratio <= WORSE, f"{name}: NMSE {found['nmse']}, stored {stored['nmse']}"
    assert ratio >= BETTER, f"{name}: better than stored; run python tests/test_golden.py"


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    fresh = {name: figures(name) for name in CASES}
    GOLDEN.write_text(json.dumps(fresh, indent=2) + "\n", encoding="utf-8")
    print(GOLDEN.read_text(encoding="utf-8"))
