"""Any sequence of fit, partial_fit, save, load, copy and failure leaves a codec that works."""

import copy
import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sklearn.exceptions import NotFittedError

from adaptive_vq import HierarchicalVQVAE, load, save


def table(seed, n=40, d=5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))[:, rng.integers(0, 2, d)] + 0.3 * rng.normal(size=(n, d))
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


class CodecLife(RuleBasedStateMachine):
    """One codec and the codes that it gave last for one table."""

    def __init__(self):
        super().__init__()
        self.vq = HierarchicalVQVAE(
            bits=8, max_epochs=1, beam_width=2, group_hidden_dim=4, group_embedding_dim=4
        )
        self.rows = table(0)
        self.width = None

    def new_rows(self, seed, n):
        return table(seed, n, self.width or 5)

    @rule(seed=st.integers(0, 50), d=st.integers(1, 6), epochs=st.integers(0, 1))
    def fit(self, seed, d, epochs):
        self.vq.set_params(max_epochs=epochs, warm_start=False)
        self.width, X = d, table(seed, 40, d)
        self.vq.fit(X)
        self.rows = X
        # A refit forgets: it is what a new codec makes of the same rows.
        fresh = HierarchicalVQVAE(**self.vq.get_params()).fit(X)
        assert fresh.transform(X).tobytes() == self.vq.transform(X).tobytes()
        assert set(vars(fresh)) == set(vars(self.vq))

    @rule(seed=st.integers(0, 50))
    def fit_warm(self, seed):
        self.vq.set_params(warm_start=True)
        self.rows = self.new_rows(seed, 40)
        self.width = self.rows.shape[1]
        self.vq.fit(self.rows)

    @rule(seed=st.integers(0, 50), n=st.integers(2, 30))
    def partial_fit(self, seed, n):
        before = getattr(self.vq, "bits_", None)
        self.rows = self.new_rows(seed, n)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Columns .* have no observed cell")
            self.vq.partial_fit(self.rows)
        self.width = self.rows.shape[1]
        assert before is None or self.vq.bits_ == before

    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save(self.vq, path)
            first = path.read_bytes()
            back = load(path)
            save(back, path)
            assert path.read_bytes() == first
        self.swap(back)

    @rule()
    def pickle(self):
        self.swap(pickle.loads(pickle.dumps(self.vq)))

    @rule()
    def deep_copy(self):
        self.swap(copy.deepcopy(self.vq))

    def swap(self, other):
        if self.width is not None:
            assert other.transform(self.rows).tobytes() == self.vq.transform(self.rows).tobytes()
        self.vq = other

    @precondition(lambda self: self.width is not None)
    @rule()
    def refused_rows_change_nothing(self):
        before = pickle.dumps(self.vq)
        with pytest.raises(ValueError, match="infinity"):
            self.vq.partial_fit(np.full((3, self.width), np.inf))
        with pytest.raises(ValueError, match="features"):
            self.vq.partial_fit(np.ones((3, self.width + 1)))
        assert pickle.dumps(self.vq) == before

    @invariant()
    def works(self):
        if self.width is None:
            with pytest.raises(NotFittedError):
                self.vq.transform(self.rows)
            return
        codes = self.vq.transform(self.rows)
        sizes = np.array([len(book) for book in self.vq.codebooks_.values()], dtype=int)
        assert (codes < sizes).all()
        assert np.isfinite(self.vq.inverse_transform(codes)).all()
        assert np.isfinite(self.vq.score(self.rows))
        assert self.vq.n_bits_ <= 8 + 1e-9
        assert self.vq.n_features_in_ == self.width


CodecLife.TestCase.settings = settings(
    max_examples=settings().max_examples // 25, stateful_step_count=6
)
TestCodecLife = CodecLife.TestCase
