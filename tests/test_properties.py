"""Properties that hold for any table, plan and seed (hypothesis)."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE, quantize
from adaptive_vq.ratios import STRATEGIES

# Examples follow the profile: `--hypothesis-profile long` has twenty times as many.
few = settings(max_examples=settings().max_examples // 16)
more = settings(max_examples=settings().max_examples // 5)

seeds = st.integers(0, 10_000)
kinds = st.sampled_from(["plain", "rounded", "heavy", "mixed", "holes", "flags"])


def make_table(seed, kind, n=None, d=None):
    """Correlated columns of one kind; size and content follow from the seed."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 120)) if n is None else n
    d = int(rng.integers(1, 9)) if d is None else d
    X = rng.normal(size=(n, 2))[:, rng.integers(0, 2, d)] + 0.3 * rng.normal(size=(n, d))
    if kind == "rounded":
        X = np.round(X)
    elif kind == "heavy":
        X = np.exp(2 * X)
    elif kind == "mixed":
        X[:, ::2] = np.round(X[:, ::2] * 0.7)
    elif kind == "holes":
        X[rng.random(X.shape) < 0.2] = np.nan
        X[0] = 1.0  # no column is missing altogether
    elif kind == "flags":
        X = (X > 0).astype(float)
    return X


def codec(**parameters):
    quick = {
        "auto_compression_strategy": "balanced",
        "max_epochs": 0,
        "beam_width": 2,
        "group_hidden_dim": 4,
        "group_embedding_dim": 4,
        "random_state": 0,
    }
    settings = {**quick, **parameters}
    if "compression_ratios" in settings:
        del settings["auto_compression_strategy"]  # idle beside these, which is told
    return HierarchicalVQVAE(**settings)


def planned(**parameters):
    """Codec without rows kept aside, which do not decide on the plan: a tenth of the time."""
    return codec(early_stopping=False, **parameters)


def training_error(fitted, X, n_levels):
    """Squared error over observed cells in codec units, rows capped as in training."""
    Z = fitted.units_.to_codec(X)
    if n_levels == 0:
        output = np.broadcast_to(fitted.units_.reference_, Z.shape)
    else:
        output = fitted._decode(fitted._codes(fitted._codec_rows(X)[0]), n_levels)
    return float(np.nansum((Z - output) ** 2, dtype=np.float64))


# --- any table, any budget -----------------------------------------------------------------------


@more
@given(
    seed=seeds,
    kind=kinds,
    bits=st.integers(1, 24),
    n_levels=st.integers(1, 4),
    epochs=st.integers(0, 1),
)
def test_budget_codebooks_and_levels(seed, kind, bits, n_levels, epochs):
    X = make_table(seed, kind)
    fitted = codec(bits=bits, n_levels=n_levels, max_epochs=epochs).fit(X)
    sizes = [len(book) for book in fitted.codebooks_.values()]
    codes = fitted.transform(X)
    # The budget is never exceeded, and what is stored is what is spent.
    assert fitted.n_bits_ <= bits + 1e-9
    assert fitted.n_bits_ == pytest.approx(np.log2(sizes).sum() if sizes else 0.0)
    # Whole bits hold the codebooks of their level.
    for name, levels in fitted.bits_.items():
        assert len(levels) == n_levels
        for level, b in enumerate(levels):
            books = [k for k in fitted.codebooks_ if k.startswith(f"{name}__L{level}")]
            assert np.prod([len(fitted.codebooks_[k]) for k in books]) <= 2**b
    # No codeword is unused, no codebook says nothing.
    assert [len(np.unique(column)) for column in codes.T] == sizes
    assert all(size > 1 for size in sizes)
    # Bits are left only where no row has an error worth a codeword.
    errors = [training_error(fitted, X, p) for p in range(n_levels + 1)]
    if bits - fitted.n_bits_ >= 1:
        assert errors[-1] <= 0.03 * max(errors[0], 1e-9)
    # One more level never makes the training rows worse.
    for fewer, one_more in pairwise(errors):
        assert one_more <= fewer + 1e-5 * errors[0] + 1e-6


@few
@given(seed=seeds, kind=kinds)
def test_decoding_is_a_pure_function_of_the_codes(seed, kind):
    X = make_table(seed, kind)
    fitted = codec(bits=12, max_epochs=1).fit(X)
    codes = fitted.transform(X)
    rng = np.random.default_rng(seed)
    order = rng.integers(0, len(X), 300)  # repeats rows, more than a tile
    decoded = fitted.inverse_transform(codes)
    np.testing.assert_array_equal(fitted.inverse_transform(codes[order]), decoded[order])
    np.testing.assert_array_equal(fitted.inverse_transform(codes[:1]), decoded[:1])
    np.testing.assert_array_equal(fitted.reconstruct(X), decoded)


@few
@given(seed=seeds, kind=kinds, joint=st.booleans())
def test_a_row_is_coded_alike_in_any_company(seed, kind, joint):
    X = make_table(seed, kind)
    fitted = codec(bits=12, max_epochs=1, context="joint" if joint else "local").fit(X)
    codes = fitted.transform(X)
    order = np.random.default_rng(seed).permutation(np.tile(np.arange(len(X)), 12))[:1300]
    np.testing.assert_array_equal(fitted.transform(X[order]), codes[order])
    for part in np.array_split(np.arange(len(X)), 3):
        if len(part):
            np.testing.assert_array_equal(fitted.transform(X[part]), codes[part])


@few
@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 1e3, 1e12]))
def test_codes_of_any_new_row_are_in_range(seed, scale):
    fitted = planned(bits=12).fit(make_table(seed, "plain", d=6))
    new = scale * np.random.default_rng(seed).standard_cauchy((50, 6))
    new[::7, ::2] = np.nan
    codes = fitted.transform(new)
    assert (codes < [len(book) for book in fitted.codebooks_.values()]).all()
    assert np.isfinite(fitted.inverse_transform(codes)).all()


@pytest.mark.filterwarnings("ignore:Categories overlap")
@few
@given(seed=seeds, epochs=st.integers(0, 2))
def test_codes_of_a_category_do_not_move_when_other_columns_do(seed, epochs):
    X = make_table(seed, "plain", n=100, d=8)
    selector = AdaptiveRatioSelector(
        "uniform",
        bits=12,
        characterizer=FeatureCharacterizer({"a": [0, 3, 5], "b": [1, 2, 4, 6, 7]}),
    )
    fitted = codec(compression_ratios=selector, max_epochs=epochs).fit(X)
    of_a = [j for j, name in enumerate(fitted.codebooks_) if name.startswith("a__")]
    other = X.copy()
    other[:, [1, 2, 4, 6, 7]] = 1e3 * np.random.default_rng(seed).normal(size=(100, 5))
    other[::3, [1, 4]] = np.nan
    np.testing.assert_array_equal(fitted.transform(other)[:, of_a], fitted.transform(X)[:, of_a])
    assert of_a
    assert (fitted.transform(other) != fitted.transform(X)).any()


@few
@given(seed=seeds, random_state=st.integers(0, 100))
def test_same_seed_same_bytes(seed, random_state):
    X = make_table(seed, "holes", n=60, d=5)
    torch.manual_seed(seed)
    one = codec(bits=10, max_epochs=1, random_state=random_state).fit(X)
    torch.rand(3)
    two = codec(bits=10, max_epochs=1, random_state=random_state).fit(X)
    assert one.transform(X).tobytes() == two.transform(X).tobytes()
    assert one.history_ == two.history_
    for key, value in one._state.items():
        assert value.tobytes() == two._state[key].tobytes()
    again = pickle.loads(pickle.dumps(one))
    assert again.inverse_transform(one.transform(X)).tobytes() == one.reconstruct(X).tobytes()


# --- ratios through the codec --------------------------------------------------------------------


@few
@given(
    ratios=st.lists(st.floats(0.01, 10), min_size=1, max_size=4),
    bits=st.integers(1, 24),
    as_text=st.booleans(),
)
def test_given_ratios_reach_the_codec(ratios, bits, as_text):
    X = make_table(3, "plain", n=80, d=8)
    given_as = ":".join(map(repr, ratios)) if as_text else ratios
    fitted = planned(compression_ratios=given_as, bits=bits).fit(X)
    assert list(fitted.ratios_.values()) == [ratios] * len(fitted.categories_)
    assert all(len(levels) == len(ratios) for levels in fitted.bits_.values())
    assert fitted.n_bits_ <= bits + 1e-9


@few
@given(strategy=st.sampled_from(sorted(STRATEGIES)), n_levels=st.integers(1, 4), seed=seeds)
def test_strategy_ratios_are_positive_one_per_level(strategy, n_levels, seed):
    X = make_table(seed, "mixed", n=60)
    fitted = planned(auto_compression_strategy=strategy, bits=14, n_levels=n_levels).fit(X)
    for ratios in fitted.ratios_.values():
        assert len(ratios) == n_levels
        assert all(np.isfinite(r) and r > 0 for r in ratios)


@pytest.mark.filterwarnings("ignore:Categories overlap")
@few
@given(seed=seeds)
def test_order_of_categories_changes_only_the_order(seed):
    X = make_table(seed, "plain", n=90, d=7)
    groups = {"a": [0, 1, 4], "b": [2, 3], "c": [5, 6]}
    shuffled = {name: groups[name] for name in ("c", "a", "b")}
    one, two = (
        codec(
            compression_ratios=AdaptiveRatioSelector(
                "dimensionality", bits=12, characterizer=FeatureCharacterizer(g)
            )
        ).fit(X)
        for g in (groups, shuffled)
    )
    assert one.bits_ == two.bits_
    assert one.ratios_ == two.ratios_
    assert sorted(one.codebooks_) == sorted(two.codebooks_)
    first, second = one.transform(X), two.transform(X)
    for j, name in enumerate(one.codebooks_):
        k = list(two.codebooks_).index(name)
        np.testing.assert_array_equal(first[:, j], second[:, k])


@few
@given(seed=seeds)
def test_order_of_columns_changes_only_the_order(seed):
    X = make_table(seed, "plain", n=90, d=7)
    order = np.random.default_rng(seed).permutation(7)
    one, two = (planned(bits=14).fit(table) for table in (X, X[:, order]))
    assert one.bits_ == two.bits_
    assert one.ratios_ == two.ratios_
    for name, columns in two.categories_.items():
        assert sorted(order[columns]) == sorted(one.categories_[name])


# --- the quantizer -------------------------------------------------------------------------------


@st.composite
def chains(draw, beams=(1, 5)):
    """Latents and a chain of fitted codebooks, the last ones wider than the first."""
    generator = torch.Generator().manual_seed(draw(seeds))
    width = draw(st.integers(1, 5))
    rows = torch.randn(draw(st.integers(2, 150)), width, generator=generator)
    sizes = draw(st.lists(st.sampled_from([2, 3, 8, 16]), min_size=1, max_size=4))
    widths = sorted(draw(st.lists(st.integers(1, width), min_size=len(sizes), max_size=len(sizes))))
    beam = draw(st.sampled_from(beams))
    return rows, quantize.fit_chain(rows, sizes, widths, generator, beam=beam)[0]


def errors(rows, codes, chain):
    return ((rows - quantize.decode(codes, chain, rows.shape[1])) ** 2).sum(1)


@more
@given(chains(), st.integers(1, 6))
def test_search_gives_codes_in_range(case, beam):
    rows, chain = case
    codes = quantize.codes_of(rows, chain, beam)
    assert codes.shape == (len(rows), len(chain))
    assert all(
        0 <= int(c.min()) <= int(c.max()) < len(b) for c, b in zip(codes.T, chain, strict=True)
    )


@more
@given(chains(beams=(1,)))
def test_one_more_codebook_never_hurts_the_training_rows(case):
    rows, chain = case
    before = float((rows**2).sum())
    for stages in range(1, len(chain) + 1):
        first = chain[:stages]
        after = float(errors(rows, quantize.codes_of(rows, first), first).sum())
        assert after <= before * (1 + 1e-5) + 1e-6
        before = after


@more
@given(chains(), st.integers(0, 3))
def test_reencoding_from_the_codes_at_hand_never_hurts(case, n_sweeps):
    rows, chain = case
    tables = [torch.nn.functional.pad(b, (0, rows.shape[1] - b.shape[1])) for b in chain]
    codes = quantize.codes_of(rows, chain)
    decoded = quantize.decode(codes, chain, rows.shape[1])
    for target in (rows, decoded):
        again = quantize.refine(target, codes, tables, n_sweeps)
        grown = errors(target, again, chain) - errors(target, codes, chain)
        assert float(grown.max()) <= 1e-4


@more
@given(chains())
def test_codewords_code_themselves(case):
    codebook = case[1][:1] or [torch.zeros(1, 1)]
    width = codebook[0].shape[1]
    decoded = quantize.decode(quantize.codes_of(codebook[0], codebook), codebook, width)
    torch.testing.assert_close(decoded, codebook[0])
    assert float((codebook[0] - decoded).abs().max()) <= 1e-5


@more
@given(chains())
def test_greedy_reencoding_of_decoded_rows_adds_no_error(case):
    rows, chain = case
    codes = quantize.codes_of(rows, chain)
    decoded = quantize.decode(codes, chain, rows.shape[1])
    again = errors(decoded, quantize.codes_of(decoded, chain), chain)
    assert float(again.sum()) <= float(errors(rows, codes, chain).sum()) + 1e-4
