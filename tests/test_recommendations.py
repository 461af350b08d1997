"""Planted faults are found and named; what is in order is left alone."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq import _error_rules as rules
from adaptive_vq._knee import least
from adaptive_vq._usage_rules import dead_codes, few_rows, one_code, shift
from adaptive_vq.diagnosis import Diagnosis, diagnose
from adaptive_vq.recommendations import Recommendation, recommend


def make_table(n: int, noise: bool = False, seed: int = 0) -> pd.DataFrame:
    """Four families of three equal-sized columns with two factors; one column may be noise."""
    rng = np.random.default_rng(seed)
    columns: dict[str, NDArray[np.float64]] = {}
    for family in "abcd":
        factors = rng.normal(size=(n, 2))
        for c in range(3):
            columns[f"{family}__{c}"] = factors @ [1.0, c - 1.0] + 0.1 * rng.normal(size=n)
    if noise:
        # One bit tells the quiet columns. Were they normal, noise would rightly get half the error.
        quiet = np.sign(rng.normal(size=n))
        for c in range(3):
            columns[f"d__{c}"] = quiet + 0.01 * rng.normal(size=n)
        columns["d__noise"] = rng.normal(size=n)
    return pd.DataFrame(columns)


def fit(X: pd.DataFrame, **parameters) -> HierarchicalVQVAE:
    note = FeatureCharacterizer(categories="prefix").fit_transform(X)
    return HierarchicalVQVAE(
        parameters.pop("compression_ratios", "0.5:1"),
        max_epochs=0,
        early_stopping=False,
        random_state=0,
        **parameters,
    ).fit(note)


@pytest.fixture(scope="module")
def split() -> tuple[pd.DataFrame, pd.DataFrame]:
    table = make_table(1300)
    return table.iloc[:1000], table.iloc[1000:]


@pytest.fixture(scope="module")
def vq(split) -> HierarchicalVQVAE:
    return fit(split[0], bits=32)


def found(diagnosis: Diagnosis, rule: str) -> list[Recommendation]:
    return [r for r in diagnosis.recommendations if r.rule == rule]


def report(codec: HierarchicalVQVAE, X: pd.DataFrame) -> Diagnosis:
    return diagnose(codec, X, embedding=None)


# ------------------------------------------------------------------------------- in order
def test_nothing_stands_out_where_all_is_in_order(vq, split):
    assert report(vq, split[1]).recommendations == []
    assert "Recommendations: none" in str(report(vq, split[1]))
    assert "Nothing stands out" in report(vq, split[1])._repr_html_()


# -------------------------------------------------------------------------- planted faults
def test_column_of_noise_in_a_quiet_category():
    X = make_table(1300, noise=True)
    own = report(fit(X.iloc[:1000], bits=16), X.iloc[1000:])
    (advice,) = found(own, "dominant_column")
    assert advice.subject == "d__noise"
    assert advice.value == own.columns.loc["d__noise", "share_of_category"] > advice.threshold
    assert "'d__noise'" in advice.message
    assert "categories=" in advice.message


def with_codewords(vq: HierarchicalVQVAE, name: str, change) -> HierarchicalVQVAE:
    """Copy of a codec whose codebook `name` and decoding tables are passed through `change`."""
    vq = copy.deepcopy(vq)
    j = list(vq.codebooks_).index(name)
    for key in list(vq._state):
        own = key.startswith("delta_") and key.endswith(f"_{j}")
        if own or key.startswith(f"codebooks.{j}."):
            vq._state[key] = change(vq._state[key], key.endswith("weight"))
    vq.codebooks_[name] = vq._state[f"codebooks.{j}.weight"]
    return vq


def test_codebook_with_half_its_codes_out_of_reach(vq, split):
    name = next(iter(vq.codebooks_))
    size = len(vq.codebooks_[name])

    def doubled(values, is_codewords):
        far = np.full_like(values, 1e4) if is_codewords else values
        return np.concatenate([values, far])

    faulty = with_codewords(vq, name, doubled)
    hits = faulty.training_["codes"][name]
    faulty.training_["codes"][name] = np.concatenate([hits, np.zeros(size, dtype=np.int64)])
    own = report(faulty, split[1])
    (dead,) = found(own, "dead_codes")
    assert dead.subject == name
    assert dead.value == size
    assert f"{size} of" in dead.message
    assert own.codebooks.loc[name, "training_dead"] == size
    assert own.codebooks.loc[name, "training_utilization"] == 0.5
    idle = [r for r in found(own, "low_utilization") if r.subject == name]
    assert not idle  # half is the limit, not below it
    faulty.training_["codes"][name][:1] = 0
    (idle,) = [r for r in found(report(faulty, split[1]), "low_utilization") if r.subject == name]
    assert idle.value < idle.threshold == 0.5
    assert "codebook_sizes" in idle.parameter


def test_codebook_that_only_these_rows_leave_idle(vq, split):
    idle = found(report(vq, pd.concat([split[1].iloc[:1]] * 300)), "low_utilization")
    assert idle
    for advice in idle:
        assert advice.parameter == "fit again, or the rows"
        assert "The training rows use 100%, so these differ from them." in advice.message
        assert "smaller codebook" not in advice.message


def test_level_whose_codes_are_all_one(vq, split):
    name = next(n for n in vq.codebooks_ if n.startswith("b__L1"))

    def only_first_near(values, is_codewords):
        values = values.copy()
        if is_codewords:
            values[1:] = 1e4
        return values

    own = report(with_codewords(vq, name, only_first_near), split[1])
    assert own.codebooks.loc[name, "top_share"] == 1.0
    (advice,) = found(own, "one_code")
    assert advice.subject == name
    assert "level 1 of category 'b'" in advice.message


def test_category_starved_to_two_bits(split):
    sizes = {"a": [64, 64], "b": [64, 64], "c": [64, 64], "d": [2, 2]}
    own = report(fit(split[0], bits=38, codebook_sizes=sizes), split[1])
    (advice,) = found(own, "worst_category")
    assert advice.subject == "d"
    errors = own.categories["nmse_capped"]
    assert advice.value == pytest.approx(errors["d"] / errors.median())
    assert "at 2 bits" in advice.message
    assert "minimax" in advice.parameter
    # Sizes that are given overrule any strategy: only they help.
    assert "codebook_sizes" in advice.parameter
    assert "larger codebook_sizes where these are given" in advice.message


def test_category_that_is_worst_on_these_rows_only(vq, split):
    # Columns that no longer go together, as after a change of wiring: more bits do not help.
    rng = np.random.default_rng(1)
    given = split[1].apply(lambda c: rng.permutation(c) if c.name.startswith("d__") else c)
    own = report(vq, given)
    (advice,) = found(own, "worst_category")
    assert advice.subject == "d"
    assert advice.parameter == "more training rows, or the rows"
    assert "In training" in advice.message
    assert "Give it more bits" not in advice.message
    starved = own.categories.assign(training_nmse=own.categories["nmse_capped"])
    unknown = own.categories.assign(training_nmse=np.nan)  # a codec without such figures
    for categories in (starved, unknown):
        (advice,) = [
            r for r in recommend(replace(own, categories=categories)) if r.rule == "worst_category"
        ]
        assert "Give it more bits" in advice.message


def test_starved_one_of_two_categories(split):
    train, unseen = (part.filter(regex="^[ab]__") for part in split)
    starved = fit(train, bits=20, codebook_sizes={"a": [256, 256], "b": [2, 1]})
    own = report(starved, unseen)
    (advice,) = found(own, "worst_category")
    assert advice.subject == "b"
    assert "at 1 bit, " in advice.message
    assert "the other category" in advice.message
    errors = own.categories["nmse_capped"]
    assert advice.value == pytest.approx(errors["b"] / errors["a"])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: 3 * c, "shift_capped"),
        (lambda c: c + 1.5, "shift_mean"),
        (lambda c: 0.2 * c, "shift_spread"),
        (lambda c: c.where(np.arange(len(c)) % 2 == 0), "shift_missing"),
    ],
)
def test_shifted_rows(vq, split, change, rule):
    given = split[1].copy()
    given["c__1"] = change(given["c__1"])
    own = report(vq, given)
    (advice,) = found(own, rule)
    assert advice.subject == "c__1"
    assert "1 column differs" in advice.message
    assert advice.value > advice.threshold


def test_shifted_scale_of_the_whole_table(vq, split):
    own = report(vq, 3 * split[1])
    (advice,) = found(own, "shift_capped")
    assert "12 columns differ" in advice.message
    assert found(own, "above_training")
    assert found(own, "beyond_caps")


def test_too_few_rows_for_a_shift_are_told(vq, split):
    own = report(vq, split[1].iloc[:29] + 10)
    assert not [r for r in own.recommendations if r.rule.startswith("shift")]
    assert own.notes["shift"].startswith("fewer than 30 rows")
    assert "shift" not in report(vq, split[1].iloc[:30] + 10).notes


def test_rows_of_the_same_kind_show_no_shift(vq):
    for seed in range(5):
        other = make_table(1300, seed=0).sample(60, random_state=seed)
        own = report(vq, other)
        assert not [r for r in own.recommendations if r.rule.startswith("shift")]


def test_few_cells_show_no_shift():
    # Their means, spreads and shares vary by chance, whatever the number of rows around them.
    columns = pd.DataFrame(
        {
            "missing": [0.0, 0.8, 0.95],
            "training_missing": [0.0, 0.8, 0.95],
            "capped": [0.0, 0.1, 0.5],
            "training_capped": 0.0,
            "mean_shift": [0.6, 0.8, 1.5],
            "spread_ratio": [1.0, 2.3, 4.0],
            "off_constant": np.nan,
        },
        index=["full", "gappy", "rare"],
    )
    summary = {"n_rows": 200, "n_training_rows": 600}
    assert not list(shift(SimpleNamespace(columns=columns, summary=summary)))
    # A rare flag may be constant in these rows, and caps cut as much off in training.
    same = columns.assign(spread_ratio=[0.0, 1.0, 1.0], capped=0.2, training_capped=0.2)
    assert not list(shift(SimpleNamespace(columns=same, summary=summary)))
    moved = columns.assign(mean_shift=[0.0, 1.2, 9.0])
    (advice,) = shift(SimpleNamespace(columns=moved, summary=summary))
    assert (advice.rule, advice.subject) == ("shift_mean", "gappy")
    assert advice.threshold == pytest.approx(0.5 + 3 * (1 / 40 + 1 / 120) ** 0.5)


def test_codewords_without_training_rows_are_counted():
    sizes, dead = [8, 8, 8, 16, 4], [1, 0, 3, 2, 1]
    books = pd.DataFrame({"size": sizes, "training_dead": dead}, index=list("abcde"))
    (advice,) = dead_codes(SimpleNamespace(codebooks=books))
    assert (advice.subject, advice.value) == ("c", 7.0)
    assert "7 of 44 codewords" in advice.message
    assert "'e': 1)" in advice.message  # all four are listed


def test_the_codebook_with_fewest_rows_per_codeword_is_named():
    books = pd.DataFrame({"rows_per_codeword": [8.0, 3.0, 30.0]}, index=list("abc"))
    (advice,) = few_rows(SimpleNamespace(codebooks=books))
    assert (advice.subject, advice.value) == ("b", 3.0)
    assert "in 2 codebooks, down to 3 in 'b'" in advice.message


def test_nearly_all_rows_in_one_code_are_not_told_to_be_all():
    books = pd.DataFrame({"top_share": [1.0, 1.0, 0.99999], "size": [1, 4, 4]}, index=list("abc"))
    books = books.assign(training_top_share=np.nan, bits=2.0, level=0, category="x")
    every, nearly = one_code(SimpleNamespace(codebooks=books, summary={"n_rows": 100_000}))
    assert (every.subject, nearly.subject) == ("b", "c")  # of one codeword there is no other code
    assert every.message.startswith("All rows have the same code in 'b', which")
    assert nearly.message.startswith("99.99% of the rows")


def test_tails_beyond_the_caps(vq, split):
    given = split[1].copy()
    given.iloc[3, 2] = 1e4
    own = report(vq, given)
    (advice,) = found(own, "beyond_caps")
    assert "'a__2'" in advice.message
    assert "scaler" in advice.parameter
    (column,) = found(own, "dominant_column")
    assert "scaler='quantile'" in column.message
    assert not found(own, "worst_category")  # more bits would not help


@pytest.mark.parametrize("clip", ["auto", None])
def test_column_constant_in_training(split, clip):
    # No clip, scaler or category helps: they were advised, and leave the error as it is.
    given = split[1].assign(a__0=np.arange(300) % 2)
    own = report(fit(split[0].assign(a__0=0), bits=32, clip=clip), given)
    (column,) = found(own, "dominant_column")
    assert column.subject == "a__0"
    capped = found(own, "beyond_caps")
    assert len(capped) == (clip is not None)
    for advice in [column, *capped]:
        assert "did not vary in training" in advice.message
        assert "fit again" in advice.message
        assert "widen clip" not in advice.message
        assert "categories=" not in advice.message


def test_extremes_beside_a_column_constant_in_training(split):
    given = split[1].assign(a__0=np.arange(300) % 2)
    own = report(fit(split[0].assign(a__0=0), bits=32), given)
    own.columns["share"] = [0.4, 0.3, 0.3, *[0.0] * 9]
    own.columns["share_beyond_caps"] = 1.0
    (advice,) = [r for r in recommend(own) if r.rule == "beyond_caps"]
    assert "in 'a__0', 'a__1'. If these extremes matter, widen clip" in advice.message
    assert "'a__0' did not vary in training" in advice.message


def test_too_few_rows_and_far_above_training(split):
    own = report(fit(split[0].iloc[:80], bits=36), split[1])
    (few,) = found(own, "few_rows")
    assert few.value == own.codebooks["rows_per_codeword"].min() < 10
    (above,) = found(own, "above_training")
    ratio = own.summary["nmse_capped"] / own.summary["training_nmse"]
    assert above.value == pytest.approx(ratio)


def test_category_of_one_column(split):
    train = split[0].assign(alone__0=np.arange(1000.0) % 7)
    own = report(fit(train, bits=32), train.iloc[:300])
    (advice,) = found(own, "single_column")
    assert advice.subject == "alone"
    assert "min_category_size" in advice.parameter


def test_columns_that_are_coded_exactly_alone_need_not_be_joined():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.integers(0, 3, size=(800, 5)), columns=list("abcde"))
    every = FeatureCharacterizer({name: [name] for name in table})

    def advice(bits):
        plan = AdaptiveRatioSelector(bits=bits, characterizer=every)
        codec = HierarchicalVQVAE(plan, max_epochs=0, random_state=0).fit(table[:600])
        return found(report(codec, table[600:]), "single_column")

    assert not advice(10)
    assert advice(6)  # something is left, which sharing might lower


def test_codes_that_training_never_had(vq, split):
    faulty = copy.deepcopy(vq)
    name = next(iter(faulty.codebooks_))
    codes = np.asarray(faulty.transform(split[1]))[:, 0]
    common = np.bincount(codes).argmax()
    faulty.training_["codes"][name][common] = 0
    own = report(faulty, split[1])
    (advice,) = found(own, "new_codes")
    assert advice.value == pytest.approx((codes == common).mean())
    assert own.codebooks.loc[name, "unseen"] == pytest.approx(advice.value)


# ------------------------------------------------------------------------------ the budget
def frontier(here: float, more: float, less: float) -> pd.DataFrame:
    index = pd.Index([16, 32, 40], name="bits")
    return pd.DataFrame({"predicted_nmse": [less, here, more]}, index=index)


@pytest.mark.parametrize(
    ("here", "more", "less", "rule"),
    [
        (0.2, 0.09, 0.5, "budget_too_small"),
        (0.2, 0.11, 0.5, None),
        (0.2, 0.19, 0.21, "budget_too_large"),
        (0.2, 0.19, 0.23, None),
        (0.001, 0.0001, 0.5, None),
    ],
)
def test_budget_knee(vq, split, here, more, less, rule):
    own = replace(report(vq, split[1]), frontier=frontier(here, more, less))
    rules = [r.rule for r in recommend(own) if r.rule.startswith("budget")]
    assert rules == ([] if rule is None else [rule])
    if rule == "budget_too_small":
        assert "bits=40" in recommend(own)[0].message


def test_least_is_the_best_of_all_divisions():
    rng = np.random.default_rng(0)
    curves = {name: np.sort(rng.random(6))[::-1] for name in "abc"}
    weights = {"a": 1.0, "b": 2.0, "c": 0.5}
    for budget in range(16):
        options = [
            sum(weights[n] * curves[n][b] for n, b in zip("abc", bits, strict=True)) / 3.5
            for bits in np.ndindex(6, 6, 6)
            if sum(bits) <= budget
        ]
        assert least(curves, weights, budget) == pytest.approx(min(options))


def test_level_that_gains_nothing(vq, split):
    own = report(vq, split[1])
    levels = own.levels.copy()
    levels.loc[2, "nmse_capped"] = 0.995 * levels.loc[1, "nmse_capped"]
    (advice,) = [r for r in recommend(replace(own, levels=levels)) if r.rule == "idle_level"]
    assert advice.subject == "L1"
    assert advice.value == pytest.approx(0.005)
    assert "takes 0.5% off the capped NMSE" in advice.message
    levels.loc[2, "nmse_capped"] = 1.4 * levels.loc[1, "nmse_capped"]
    (advice,) = [r for r in recommend(replace(own, levels=levels)) if r.rule == "idle_level"]
    assert "adds 40.0% to the capped NMSE" in advice.message


def test_worse_than_predicted_names_the_remedy(vq, split):
    own = report(vq, split[1])
    categories = own.categories.assign(nmse_capped=0.2, predicted_nmse=0.1)
    (advice,) = [
        r
        for r in recommend(replace(own, categories=categories, curves=None))
        if r.rule == "above_predicted"
    ]
    assert advice.value == pytest.approx(2.0)
    assert "4 categories" in advice.message
    assert "validation_fraction" in advice.message


# ------------------------------------------------------------------- rules on given figures
def categories(**figures) -> pd.DataFrame:
    """Table of the categories a, b, c and so on."""
    n = len(next(iter(figures.values())))
    return pd.DataFrame(figures, index=list("abcdef"[:n]))


def told(rule, **tables) -> list[Recommendation]:
    tables = {"frontier": None, "curves": None, **tables}
    return list(rule(SimpleNamespace(**tables)))


def worst_of(errors: list[float], bits: float = 8.0, **tables) -> list[Recommendation]:
    table = categories(nmse_capped=errors, training_nmse=errors, bits=[bits] * len(errors))
    return told(rules.worst_category, categories=table, **tables)


def test_categories_far_worse_than_the_median_are_told_worst_first():
    assert [advice.subject for advice in worst_of([0.1, 0.1, 0.1, 0.5, 0.9])] == ["e", "d"]
    assert not worst_of([0.1, 0.1, 0.1, 0.25])
    assert not worst_of([0.0001, 0.0001, 0.009])  # next to nothing, whatever the others are
    (advice,) = worst_of([1e-12, 1e-12, 0.2])
    assert "while the median category is coded exactly" in advice.message


@pytest.mark.parametrize(("at_three_bits", "helps"), [(0.1, True), (0.245, False)])
def test_another_division_is_advised_where_it_is_predicted_to_help(at_three_bits, helps):
    curves = {"a": [1.0, 0.01], "b": [1.0, 0.01], "c": [1.0, 0.5, 0.25, at_three_bits]}
    (advice,) = worst_of(
        [0.01, 0.01, 0.25],
        bits=2.0,
        curves={name: np.array(curve) for name, curve in curves.items()},
        frontier=frontier(0.2, 0.1, 0.5),
        summary={"budget": 5, "bits": 4.0},  # the plan need not have spent all
    )
    assert ("strategy='minimax'" in advice.message) == helps
    assert ("more bits in total." in advice.message.partition("No other division")[2]) != helps


def test_columns_with_half_of_the_error_beyond_the_caps_are_named():
    columns = pd.DataFrame(
        {"share": [0.2, 0.5, 0.3], "share_beyond_caps": 0.9, "mean_shift": 0.0, "nmse": 0.5},
        index=["some", "most", "more"],
    ).assign(capped=0.01, training_capped=0.01, missing=0.0, training_missing=0.0)
    shares = categories(share=[0.2, 0.8], share_beyond_caps=[0.9, 0.9])
    figures = {"categories": shares, "columns": columns}
    rows = {"n_rows": 100, "n_training_rows": 100}
    summary = {"nmse": 0.5, "nmse_capped": 0.1, **rows}
    (advice,) = told(rules.beyond_caps, summary=summary, **figures)
    assert advice.value == pytest.approx(0.9)
    assert "is in 'most'. " in advice.message
    little = {"nmse": 0.009, "nmse_capped": 0.001, **rows}
    assert not told(rules.beyond_caps, summary=little, **figures)
    columns["capped"] = [0.01, 0.9, 1.0]
    columns["share"] = [0.2, 0.4, 0.4]
    (advice,) = told(rules.beyond_caps, summary=summary, **figures)
    assert "'most', 'more' have left the caps: up to 100% of the cells" in advice.message


def test_single_columns_are_told_that_have_bits_and_others_to_join():
    def alone(n_columns, bits, nmse=0.2):
        table = categories(n_columns=n_columns, bits=bits)
        return told(rules.singletons, categories=table, summary={"nmse_capped": nmse})

    (advice,) = alone([1, 1, 4], [0.0, 8.0, 8.0])
    assert (advice.subject, advice.value) == ("b", 1)
    assert alone([1, 4], [8.0, 8.0], nmse=0.001)
    assert not alone([1, 1], [8.0, 8.0], nmse=0.001)
    assert not alone([1], [8.0])


def knee_at(
    budget: int, predicted: dict[int, float], spent: float | None = None
) -> list[Recommendation]:
    table = pd.DataFrame({"predicted_nmse": predicted})
    bits = float(budget) if spent is None else spent
    return told(rules.knee, frontier=table, summary={"budget": budget, "bits": bits})


def test_a_budget_that_leaves_nothing_may_be_lowered_but_not_to_nothing():
    (advice,) = knee_at(32, {16: 0.0, 32: 0.0, 40: 0.0})
    assert (advice.rule, advice.value) == ("budget_too_large", 1.0)
    assert "bits=16 or fewer" in advice.message
    assert not knee_at(16, {0: 0.0, 16: 0.0, 24: 0.0})


def test_a_budget_that_is_not_spent_is_lowered_below_what_is():
    # With bits=48, as was advised, no bit less is spent.
    (advice,) = knee_at(64, {4: 0.21, 48: 0.2, 64: 0.2, 72: 0.2}, spent=19.3)
    assert "16 bits fewer than the 20 in use" in advice.message
    assert "bits=4 or fewer" in advice.message
    assert not knee_at(64, {4: 0.9, 48: 0.2, 64: 0.2, 72: 0.2}, spent=19.3)
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, size=(300, 10)).astype(float)
    codec = HierarchicalVQVAE(bits=64, max_epochs=0, random_state=0).fit(X)
    assert codec.n_bits_ == 20
    assert 4 in report(codec, X).frontier.index


def test_levels_of_few_bits_may_gain_little():
    def idle(bits):
        levels = pd.DataFrame({"bits": bits, "nmse_capped": [1.0, 0.1, 0.0995]})
        return [advice.subject for advice in told(rules.idle_level, levels=levels)]

    assert idle([0.0, 10.0, 20.0]) == ["L1"]
    assert idle([0.0, 10.0, 11.0]) == []


def above(given: float, trained: float, share: list[float]) -> list[Recommendation]:
    table = categories(
        nmse_capped=[0.2, 0.3, 0.4, 0.9], training_nmse=[0.1, 0.1, 0.0, 0.1], share=share
    )
    summary = {"nmse_capped": given, "training_nmse": trained}
    return told(rules.above_training, categories=table, summary=summary)


def test_the_category_farthest_above_training_is_one_that_counts():
    (advice,) = above(0.4, 0.1, [0.4, 0.3, 0.26, 0.04])
    assert advice.value == pytest.approx(4.0)
    assert "worst in category 'b'" in advice.message
    (advice,) = above(0.4, 0.0, [0.97, 0.01, 0.01, 0.01])
    assert advice.value == np.inf
    assert "worst" not in advice.message  # than others, of which none counts
    assert not above(0.009, 0.001, [0.4, 0.3, 0.2, 0.1])


def test_the_category_farthest_above_its_prediction_is_named():
    table = categories(nmse_capped=[0.2, 0.3, 0.1], predicted_nmse=[0.1, 0.1, 0.1])
    (advice,) = told(rules.above_predicted, categories=table)
    assert (advice.subject, advice.value) == ("b", pytest.approx(3.0))
    assert "2 categories" in advice.message
