"""Figures on arrays: known values, bounds, invariances and bad input."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adaptive_vq import _usage, metrics
from adaptive_vq.metrics import (
    category_nmse,
    code_entropy,
    codebook_perplexity,
    codebook_utilization,
    dead_codes,
    gaussian_distortion_rate,
    imbalance,
    rate_bits,
    rate_distortion_scorer,
    reconstruction_nmse,
    topographic_similarity,
)

finite = st.floats(-100, 100, width=32)
seeds = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# ------------------------------------------------------------------------- reconstruction NMSE
def test_nmse_known_values():
    X = np.array([[0.0, 10.0], [2.0, 30.0]])
    assert reconstruction_nmse(X, X) == 0.0
    assert reconstruction_nmse(X, np.tile(X.mean(axis=0), (2, 1))) == 1.0
    X_hat = [[1.0, 10.0], [2.0, 30.0]]
    # one error of 1; deviations from (0, 10): 0 + 0 + 4 + 400
    assert reconstruction_nmse(X, X_hat, reference=[0, 10]) == pytest.approx(1 / 404)


def test_nmse_leaves_missing_cells_out():
    X = np.array([[0.0, np.nan], [2.0, 5.0], [np.nan, 7.0]])
    X_hat = np.array([[1.0, 1e9], [2.0, 5.0], [-1e9, 7.0]])
    assert reconstruction_nmse(X, X_hat) == pytest.approx(1 / (2 + 2))
    X_hat[0, 1] = np.nan
    assert reconstruction_nmse(X, X_hat) == pytest.approx(1 / 4)


def test_nmse_against_another_mean_than_its_own():
    X, X_hat = normal(0, 50, 3) + 4, normal(1, 50, 3)
    reference = np.array([1.0, 2.0, 3.0])
    expected = np.square(X - X_hat).sum() / np.square(X - reference).sum()
    assert reconstruction_nmse(X, X_hat, reference=reference) == pytest.approx(expected)


@given(seeds, st.sampled_from([1e-200, 1.0, 3e307]))
def test_weights_act_like_repeated_rows(seed, scale):
    X, X_hat = normal(seed, 6, 3), normal(seed + 1, 6, 3)
    X[0, 0] = np.nan
    times = np.array([0, 1, 2, 3, 1, 5])
    repeated = reconstruction_nmse(np.repeat(X, times, axis=0), np.repeat(X_hat, times, axis=0))
    assert reconstruction_nmse(X, X_hat, sample_weight=times * scale) == pytest.approx(repeated)


@given(seeds, st.sampled_from([1e-200, 1e-12, 1.0, 1e12, 1e200]))
def test_nmse_ignores_scale_shift_and_order(seed, scale):
    X, X_hat = normal(seed, 20, 4), normal(seed + 1, 20, 4)
    X[3, 2] = np.nan
    expected = reconstruction_nmse(X, X_hat)
    order = np.random.default_rng(seed).permutation(20)
    assert reconstruction_nmse(X * scale, X_hat * scale) == pytest.approx(expected)
    assert reconstruction_nmse(X + 5, X_hat + 5) == pytest.approx(expected)
    assert reconstruction_nmse(X[order], X_hat[order]) == pytest.approx(expected)


@given(
    hnp.arrays(np.float64, (5, 2), elements=finite), hnp.arrays(np.float64, (5, 2), elements=finite)
)
def test_nmse_is_never_negative_and_zero_for_itself(X, X_hat):
    assert reconstruction_nmse(X, X_hat) >= 0
    assert reconstruction_nmse(X, X) == 0


def test_constant_table():
    X = np.full((1000, 2), 0.1)
    assert reconstruction_nmse(X, X) == 0.0
    assert reconstruction_nmse(X, X.astype(np.float32)) == 0.0
    assert reconstruction_nmse(X, X + 0.01) == np.inf
    assert reconstruction_nmse(X, X, reference=[0.0, 0.0]) == 0.0


@pytest.mark.parametrize(
    ("X", "X_hat", "options", "message"),
    [
        (np.ones((3, 2)), np.ones((2, 2)), {}, r"same shape; got \(3, 2\) and \(2, 2\)"),
        (np.empty((0, 2)), np.empty((0, 2)), {}, "0 sample"),
        (np.ones(3), np.ones(3), {}, "Expected 2D array"),
        ([[np.inf]], [[1.0]], {}, "X contains infinity"),
        ([[1.0]], [[np.inf]], {}, "X_hat contains infinity"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), {}, "no observed cell"),
        (np.ones((2, 2)), [[1, 1], [1, np.nan]], {}, "X_hat is NaN in column 1"),
        (np.ones((2, 2)), np.ones((2, 2)), {"reference": [1]}, r"reference .* shape \(2,\)"),
        (np.ones((2, 2)), np.ones((2, 2)), {"reference": [1, np.nan]}, "reference must be finite"),
        (np.ones((2, 2)), np.ones((2, 2)), {"sample_weight": [1]}, "one per row; it has the shape"),
        (
            np.ones((2, 2)),
            np.ones((2, 2)),
            {"sample_weight": [1, -1]},
            ">= 0, one per row; row 1 has -1",
        ),
        (np.ones((2, 2)), np.ones((2, 2)), {"sample_weight": [0, 0]}, "zero in every row"),
        ([[np.nan], [1.0]], [[0], [1]], {"sample_weight": [1, 0]}, "no observed cell"),
        (pd.DataFrame({"flag": [True], "a": [1j]}), np.ones((1, 2)), {}, "Complex data"),
    ],
)
def test_nmse_bad_input(X, X_hat, options, message):
    with pytest.raises(ValueError, match=message):
        reconstruction_nmse(X, X_hat, **options)


# ------------------------------------------------------------------------------ category NMSE
@given(seeds)
def test_category_nmse_is_the_nmse_of_its_columns(seed):
    X, X_hat, reference = normal(seed, 9, 5), normal(seed + 1, 9, 5), normal(seed + 2, 5)
    X[2, 1] = np.nan
    categories = {"b": np.array([0, 3]), "a": np.array([4, 1, 2])}
    errors = category_nmse(X, X_hat, categories, reference=reference)
    assert list(errors) == ["b", "a"]
    for name, cols in categories.items():
        alone = reconstruction_nmse(X[:, cols], X_hat[:, cols], reference=reference[cols])
        assert errors[name] == pytest.approx(alone)
    total = reconstruction_nmse(X, X_hat, reference=reference)
    assert min(errors.values()) <= total + 1e-12
    assert max(errors.values()) >= total - 1e-12


def test_category_that_cannot_be_judged():
    X = np.column_stack([normal(0, 8), np.full(8, np.nan), np.full(8, 3.0)])
    categories = {"seen": [0], "missing": [1], "flat": [2]}
    errors = category_nmse(X, np.nan_to_num(X), categories)
    assert errors["seen"] == errors["flat"] == 0.0
    assert np.isnan(errors["missing"])
    X_hat = np.nan_to_num(X)
    X_hat[:, 2] += 1e-8
    assert category_nmse(X, X_hat, categories)["flat"] == 0.0
    X_hat[:, 2] += 1e-2
    assert category_nmse(X, X_hat, categories)["flat"] == np.inf


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ({}, "categories is empty"),
        ({"a": []}, "'a' must be a non-empty list"),
        ({"a": ["x"]}, "'a' must be a non-empty list of column indices"),
        ({"a": [0], "b": [2]}, r"'b' names a column outside 0\.\.1"),
        ({"a": [-1]}, "'a' names a column outside"),
        ({"a": [0], "b": [1, 0, 1]}, r"'b' names a column twice: \[1, 0, 1\]"),
    ],
)
def test_category_nmse_bad_categories(categories, message):
    with pytest.raises(ValueError, match=message):
        category_nmse(np.ones((2, 2)), np.ones((2, 2)), categories)


# ---------------------------------------------------------------------------------- imbalance
def test_imbalance_known_values():
    spread = imbalance({"a": 1.0, "b": 2.0, "c": 9.0})
    assert spread["max_min"] == 9.0
    assert spread["max_median"] == 4.5
    # mean absolute difference 2 * (1 + 8 + 7) / 9, over twice the mean 4
    assert spread["gini"] == pytest.approx(32 / 9 / 8)
    assert imbalance([0.0, 0.0, 0.0]) == {"max_min": 1.0, "max_median": 1.0, "gini": 0.0}
    one_bad = imbalance([0.0, 0.0, 3.0])
    assert one_bad == {"max_min": np.inf, "max_median": np.inf, "gini": pytest.approx(2 / 3)}
    assert imbalance([0.0, 0.0, np.inf]) == one_bad
    assert imbalance([np.inf, np.inf]) == {"max_min": 1.0, "max_median": 1.0, "gini": 0.0}
    assert imbalance([np.nan, 1.0, 2.0]) == imbalance([1.0, 2.0])


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(1e-3, 1e3), seeds)
def test_imbalance_bounds_and_invariances(errors, scale, seed):
    spread = imbalance(errors)
    assert spread["max_min"] >= spread["max_median"] >= 1
    assert 0 <= spread["gini"] <= 1 - 1 / len(errors) + 1e-12
    values = np.array(errors)
    pairwise = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert spread["gini"] == pytest.approx(pairwise, abs=1e-9)
    shuffled = np.random.default_rng(seed).permutation(values) * scale
    assert imbalance(shuffled) == pytest.approx(spread, abs=1e-9)


@pytest.mark.parametrize(
    ("errors", "message"),
    [([], "at least one"), ({}, "at least one"), ([np.nan], "only NaN"), ([1.0, -1.0], "got -1")],
)
def test_imbalance_bad_input(errors, message):
    with pytest.raises(ValueError, match=message):
        imbalance(errors)


# -------------------------------------------------------------------------------------- codes
def test_code_figures_known_values():
    codes = np.array([[0, 3, 0], [1, 3, 0], [0, 1, 0], [1, 3, 0]], dtype=np.uint8)
    sizes = [2, 4, 1]
    assert codebook_utilization(codes, sizes).tolist() == [1.0, 0.5, 1.0]
    assert dead_codes(codes, sizes).tolist() == [0, 2, 0]
    assert dead_codes(codes, sizes, min_hits=3).tolist() == [2, 3, 0]
    quarter = -0.25 * np.log2(0.25) - 0.75 * np.log2(0.75)
    assert code_entropy(codes) == pytest.approx([1.0, quarter, 0.0])
    assert codebook_perplexity(codes, sizes) == pytest.approx([2.0, 2**quarter, 1.0])
    assert rate_bits(sizes) == 3.0
    assert rate_bits([]) == 0.0


@st.composite
def codes_and_sizes(draw):
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=4))
    rows = draw(st.integers(1, 60))
    dtype = draw(st.sampled_from([np.uint16, np.int64, np.uint64]))
    columns = [
        draw(hnp.arrays(np.int64, rows, elements=st.integers(0, size - 1))) for size in sizes
    ]
    return np.column_stack(columns).astype(dtype), sizes


@given(codes_and_sizes(), seeds)
def test_code_figures_bounds_and_invariances(drawn, seed):
    codes, sizes = drawn
    used = codebook_utilization(codes, sizes)
    dead = dead_codes(codes, sizes)
    perplexity = codebook_perplexity(codes, sizes)
    bits = code_entropy(codes)
    assert ((used > 0) & (used <= 1)).all()
    assert (used * sizes <= len(codes) + 1e-9).all()
    assert dead == pytest.approx((1 - used) * sizes)
    assert (dead <= dead_codes(codes, sizes, min_hits=2)).all()
    assert ((perplexity >= 1 - 1e-9) & (perplexity <= sizes)).all()
    assert (perplexity <= used * sizes + 1e-6).all()
    assert np.exp2(bits) == pytest.approx(perplexity)
    assert bits.sum() <= rate_bits(sizes) + 1e-9
    rng = np.random.default_rng(seed)
    renamed = np.column_stack(
        [rng.permutation(size)[c.astype(int)] for c, size in zip(codes.T, sizes, strict=True)]
    )[rng.permutation(len(codes))]
    assert codebook_perplexity(renamed, sizes) == pytest.approx(perplexity)
    assert codebook_utilization(renamed, sizes) == pytest.approx(used)


def test_codes_in_other_containers():
    frame = pd.DataFrame({"a__L0": [0, 1], "a__L1": [0, 0]}, dtype="uint8")
    assert codebook_utilization(frame, [2, 2]).tolist() == [1.0, 0.5]
    assert codebook_utilization([0, 1, 1], 4).tolist() == [0.5]
    none = np.empty((3, 0), dtype=np.uint8)
    assert codebook_perplexity(none, []).shape == code_entropy(none).shape == (0,)
    with pytest.raises(ValueError, match=r"'a__L1' holds 3, but its codebook has 2 codewords"):
        codebook_utilization(frame.assign(a__L1=[0, 3]), [2, 2])


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[0, 2]], [2, 2], r"column 1 holds 2, but its codebook has 2 codewords \(codes 0\.\.1\)"),
        ([[0, -1]], [2, 2], "column 1 is"),
        ([[0.0, 1.0]], [2, 2], "codes must be integers"),
        ([[0, 1]], [2], "got 1 sizes for 2 columns"),
        ([[0, 1]], [2, 0], "sizes must be positive integers"),
        ([[0, 1]], [2.0, 2.0], "sizes must be positive integers"),
        (np.empty((0, 2), dtype=int), [2, 2], "0 sample"),
    ],
)
@pytest.mark.parametrize("figure", [codebook_utilization, codebook_perplexity, dead_codes])
def test_code_figures_bad_input(figure, codes, sizes, message):
    with pytest.raises(ValueError, match=message):
        figure(codes, sizes)


def test_other_bad_input_of_code_figures():
    with pytest.raises(ValueError, match="must not be negative"):
        code_entropy([[-1]])
    with pytest.raises(ValueError, match="min_hits == 0"):
        dead_codes([[0]], [1], min_hits=0)
    with pytest.raises(TypeError, match="min_hits"):
        dead_codes([[0]], [1], min_hits=1.5)
    with pytest.raises(ValueError, match="sizes must be positive"):
        rate_bits([4, 0])


# -------------------------------------------------------------------------- Gaussian yardstick
def bisected(spectrum, bits):
    """Reverse water-filling by 200 halvings of the logarithm of the water level."""
    spectrum = np.asarray(spectrum)[np.asarray(spectrum) > 0]
    low, high = np.log2(spectrum.min()) - 2 * bits - 1, np.log2(spectrum.max())
    for _ in range(200):
        middle = (low + high) / 2
        rate = np.maximum(0, (np.log2(spectrum) - middle) / 2).sum()
        low, high = (middle, high) if rate > bits else (low, middle)
    return np.minimum(2.0**high, spectrum).sum()


spectra = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=12)


@given(spectra, st.floats(0, 60))
def test_water_filling_equals_bisection(spectrum, bits):
    assume(max(spectrum) > 0)
    assert gaussian_distortion_rate(spectrum, bits) == pytest.approx(bisected(spectrum, bits))


def test_water_filling_known_values():
    assert gaussian_distortion_rate([1.0] * 8, 8.0) == pytest.approx(8 / 4)
    assert gaussian_distortion_rate([3.0], 2.0) == pytest.approx(3 / 16)
    # 1 bit levels 4 down to 1; one bit more brings both to 1/2
    assert gaussian_distortion_rate([4.0, 1.0], [0, 1, 2]) == pytest.approx([5, 2, 1])
    assert gaussian_distortion_rate([0.0, 0.0], 3.0) == 0.0
    assert gaussian_distortion_rate([0.0], [1.0, 2.0]).tolist() == [0.0, 0.0]
    assert gaussian_distortion_rate([2.0, 1.0], np.inf) == 0.0


@given(seeds, st.integers(1, 6))
def test_water_filling_of_a_covariance(seed, d):
    factor = normal(seed, d, d)
    cov = factor @ factor.T
    bits = np.linspace(0, 20, 81)
    curve = gaussian_distortion_rate(cov, bits)
    assert curve == pytest.approx(gaussian_distortion_rate(np.linalg.eigvalsh(cov), bits))
    assert curve[0] == pytest.approx(np.trace(cov))
    assert (np.diff(curve) < 0).all()
    assert (np.diff(curve, 2) > -1e-9 * curve[0]).all()
    # 6.02 dB per bit and dimension at best, and never less than what one dimension gives
    assert (curve >= curve[0] * 4.0**-bits - 1e-12).all()
    assert gaussian_distortion_rate(cov * 1e150, bits) == pytest.approx(curve * 1e150)


@pytest.mark.parametrize(
    ("source", "bits", "message"),
    [
        ([1.0], -1.0, "bits must not be negative"),
        ([1.0], np.nan, "bits must not be negative or NaN"),
        ([], 1.0, "not empty"),
        ([1.0, np.nan], 1.0, "NaN or infinity"),
        ([1.0, -0.5], 1.0, "the smallest is -0.5"),
        (np.ones((2, 3)), 1.0, r"square and symmetric; got shape \(2, 3\)"),
        ([[1.0, 0.5], [0.0, 1.0]], 1.0, "square and symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], 1.0, "the smallest is -1"),
    ],
)
def test_water_filling_bad_input(source, bits, message):
    with pytest.raises(ValueError, match=message):
        gaussian_distortion_rate(source, bits)


# --------------------------------------------------------------------- topographic similarity
@given(seeds, st.sampled_from([1e-6, 1.0, 1e6]))
def test_topographic_similarity_is_one_for_a_similarity_map(seed, scale):
    X = normal(seed, 12, 3)
    turn, _ = np.linalg.qr(normal(seed + 1, 3, 3))
    assert topographic_similarity(X, scale * X @ turn + 7) == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1e306, 1e200, 1e-200, 1e-300])
def test_topographic_similarity_does_not_depend_on_the_scale(scale):
    rng = np.random.default_rng(0)
    X, Y = rng.uniform(-1, 1, size=(30, 3)), rng.normal(size=(30, 2))
    expected = topographic_similarity(X, Y)
    assert topographic_similarity(scale * X, Y) == pytest.approx(expected)
    assert topographic_similarity(Y, scale * X) == pytest.approx(expected)
    assert topographic_similarity(4.0 * X, Y) == expected


def test_topographic_similarity_of_all_pairs_and_of_some():
    X, Y = normal(0, 40, 3), normal(1, 40, 2)
    left, right = np.triu_indices(40, k=1)
    expected = np.corrcoef(
        np.linalg.norm(X[left] - X[right], axis=1), np.linalg.norm(Y[left] - Y[right], axis=1)
    )[0, 1]
    assert topographic_similarity(X, Y) == pytest.approx(expected)
    X, Y = normal(2, 3000, 3), normal(3, 3000, 3)
    near = X + 0.1 * Y
    sampled = [topographic_similarity(X, near, n_pairs=5000, random_state=s) for s in (0, 0, 1)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert sampled[0] == pytest.approx(sampled[2], abs=0.01)
    assert min(sampled) > 0.95
    assert abs(topographic_similarity(X, Y, random_state=0)) < 0.1


def test_a_row_is_never_paired_with_itself():
    corners = np.eye(4)  # all at one distance from each other
    for seed in range(20):
        some = topographic_similarity(corners, normal(0, 4, 3), n_pairs=5, random_state=seed)
        assert np.isnan(some)


def test_topographic_similarity_that_cannot_be_computed_or_is_refused():
    X = normal(0, 5, 2)
    assert np.isnan(topographic_similarity(X, np.zeros((5, 2))))
    assert np.isnan(topographic_similarity(np.eye(3), normal(0, 3, 3)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        topographic_similarity(X, X[:4])
    with pytest.raises(ValueError, match="Y contains NaN"):
        topographic_similarity(X, np.full((5, 1), np.nan))
    with pytest.raises(ValueError, match="minimum of 3"):
        topographic_similarity(X[:2], X[:2])
    with pytest.raises(ValueError, match="n_pairs == 1"):
        topographic_similarity(X, X, n_pairs=1)


# ------------------------------------------------------------- numbers of any type, and scale
def test_tables_of_small_integers_do_not_wrap_around():
    X, X_hat = np.array([[0], [200]], np.uint8), np.array([[10], [190]], np.uint8)
    assert reconstruction_nmse(X, X_hat) == pytest.approx(0.01)
    far = np.array([[0], [200], [50]], np.uint8)
    assert topographic_similarity(far, far.astype(float)) == pytest.approx(1.0)
    assert topographic_similarity(far.astype(float), far) == pytest.approx(1.0)


def test_columns_of_objects_are_read_as_numbers():
    def column(*values):
        return np.array(values, dtype=object)

    X, X_hat = [[0.0], [2.0]], [[0.0], [1.0]]
    found = reconstruction_nmse(X, X_hat, reference=column(0), sample_weight=column(3, 1))
    assert found == pytest.approx(0.25)
    assert imbalance(column(1, 2))["max_min"] == 2.0
    assert gaussian_distortion_rate(column(4, 1), column(0, 1)) == pytest.approx([5, 2])


def test_figures_at_the_ends_of_float64():
    assert reconstruction_nmse([[0.0], [1.0]], [[1e200], [0.0]]) == np.inf
    assert imbalance([5e-324, 1.0])["max_min"] == np.inf
    assert gaussian_distortion_rate([1e300, 1e-300], 1.0) == pytest.approx(1e300 / 4)
    X = normal(0, 12, 3)
    assert topographic_similarity(1e-120 * X, 1e120 * X) == pytest.approx(1.0)


def test_one_number_is_a_python_float():
    assert type(gaussian_distortion_rate([1.0], 1)) is float
    assert type(gaussian_distortion_rate([0.0], 1)) is float
    assert dead_codes(np.empty((3, 0), dtype=int), []).dtype == np.int64


def test_a_single_observed_cell_has_an_error():
    X, X_hat = [[2.0, 1.0], [np.nan, 3.0]], [[1.0, 1.0], [0.0, 3.0]]
    assert category_nmse(X, X_hat, {"a": [0]}, reference=[0, 0]) == {"a": 0.25}


def test_rounding_of_a_constant_column_is_measured_by_its_level_and_the_spread_of_the_table():
    n = 100
    X = np.column_stack([np.tile([-1.0, 1.0], n // 2), np.full(n, 1.0), np.zeros(n)])
    parts = {"one": [1], "zero": [2]}

    def errors(of_one, of_zero):
        return category_nmse(
            X, X + np.array([0.0, of_one, of_zero]), parts, reference=[0.0, 1.0, 0.0]
        )

    assert errors(1.2e-6, 0.4e-6) == {"one": 0.0, "zero": 0.0}
    assert errors(1e-5, 1e-5) == {"one": np.inf, "zero": np.inf}


def test_a_covariance_is_symmetric_up_to_rounding_at_its_own_scale():
    for scale in (1e-12, 1.0, 1e12):
        cov = scale * np.array([[2.0, 1.0], [1.0, 2.0]])
        near, off = cov.copy(), cov.copy()
        near[0, 1] *= 1 + 1e-12
        off[0, 1] *= 1 + 1e-4
        assert gaussian_distortion_rate(near, 0) == pytest.approx(4 * scale)
        with pytest.raises(ValueError, match="square and symmetric"):
            gaussian_distortion_rate(off, 0)
    assert gaussian_distortion_rate(np.zeros((2, 2)), 1) == 0.0


# ------------------------------------------------------------------------------ pairs of rows
def test_all_pairs_are_taken_if_they_are_few_enough():
    X, Y = normal(0, 4, 3), normal(1, 4, 3)
    assert topographic_similarity(X, Y, n_pairs=6) == topographic_similarity(X, Y)
    some = {topographic_similarity(X, Y, n_pairs=5, random_state=seed) for seed in range(9)}
    assert len(some) > 1
    assert topographic_similarity(X, X, n_pairs=2, random_state=0) == pytest.approx(1.0)


def test_any_two_rows_can_be_drawn_as_a_pair():
    pairs = [_usage._pairs(3, 2, seed) for seed in range(20)]
    drawn = {
        (int(a), int(b)) for first, second in pairs for a, b in zip(first, second, strict=True)
    }
    assert drawn == {(a, b) for a in range(3) for b in range(3) if a != b}
    first, second = _usage._pairs(1000, 500, 0)
    assert len(np.unique((second - first) % 1000)) > 300


# ------------------------------------------------------------------------- what messages say
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reconstruction_nmse([[np.inf]], [[0.0]]), "Input X contains infinity"),
        (lambda: reconstruction_nmse([[0.0]], [[np.inf]]), "Input X_hat contains infinity"),
        (
            lambda: reconstruction_nmse(np.zeros((3, 2)), [[0, np.nan], [0, 0], [0, 0]]),
            "^X_hat is NaN in column 1 where X is observed; .* must fill every observed cell.$",
        ),
        (
            lambda: reconstruction_nmse([[np.nan]], [[0.0]]),
            "^X holds no observed cell: every cell is NaN or has weight 0.$",
        ),
        (
            lambda: reconstruction_nmse([[1.0]], [[0.0]], sample_weight=[-1]),
            "^sample_weight must be 1 finite numbers >= 0, one per row; row 0 has -1.$",
        ),
        (
            lambda: reconstruction_nmse([[1.0]], [[0.0]], sample_weight=[0]),
            "^sample_weight is zero in every row; give at least one row a weight.$",
        ),
        (
            lambda: reconstruction_nmse([[1.0]], [[0.0]], reference=[np.nan]),
            "^reference must be finite; use 0 for a column without a training mean.$",
        ),
        (
            lambda: category_nmse([[1.0]], [[0.0]], {}),
            "^categories is empty; give at least one category with its columns.$",
        ),
        (
            lambda: category_nmse([[1.0]], [[0.0]], {"a": [[0]]}),
            "^category 'a' must be a non-empty list of column indices.$",
        ),
        (lambda: imbalance([[1.0]]), "^errors must hold one number per category, and at least one"),
        (lambda: imbalance([]), "^errors must hold one number per category, and at least one.$"),
        (
            lambda: imbalance([np.nan]),
            "^errors holds only NaN; at least one category needs a known error.$",
        ),
        (
            lambda: gaussian_distortion_rate([], 1),
            r"^give a covariance matrix \(d, d\) or its eigenvalues \(d,\), not empty.$",
        ),
        (
            lambda: gaussian_distortion_rate([np.inf], 1),
            "^the covariance or spectrum holds NaN or infinity.$",
        ),
        (lambda: gaussian_distortion_rate([1, -2, 3], 1), "the smallest is -2.$"),
        (lambda: code_entropy([[0.5]]), "^codes must be integers .what transform returns"),
        (lambda: code_entropy(np.array([[1]], dtype=object)), "got dtype object.$"),
        (lambda: code_entropy([[np.nan]]), "Input codes contains NaN"),
        (
            lambda: rate_bits([0]),
            "^sizes must be positive integers, one codebook size per code column.$",
        ),
        (lambda: topographic_similarity([[np.nan]] * 3, np.eye(3)), "Input X contains NaN"),
        (lambda: topographic_similarity(np.eye(2), np.eye(3)), "2 sample.* minimum of 3"),
        (lambda: topographic_similarity(np.eye(3), np.eye(2)), "2 sample.* minimum of 3"),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_public_names():
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    assert metrics.__all__ == sorted(metrics.__all__)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: category_nmse([[1.0]], [[0.0]], [[0]]), TypeError, "categories must be a mapping"),
        (lambda: reconstruction_nmse([[1.0]], [[0.0]], reference="a"), ValueError, "reference='a'"),
        (lambda: imbalance("a"), ValueError, "errors='a'"),
        (lambda: gaussian_distortion_rate([1.0], "a"), ValueError, "bits='a'"),
        (lambda: gaussian_distortion_rate({}, 1), TypeError, "cov_or_eigenvalues={}"),
        (lambda: rate_distortion_scorer("a"), ValueError, "lmbda must be finite .* got 'a'"),
    ],
)
def test_what_is_no_number_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
