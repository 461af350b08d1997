"""Formula strategies, ratio forms and the sharing of bits."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_vq.plan import Goal, Plan, default_budget
from adaptive_vq.ratios import (
    STRATEGIES,
    latent_width,
    parse_ratios,
    resample_levels,
    share_bits,
)
from adaptive_vq.sharing import latent_shares, split_levels
from adaptive_vq.strategies import check_strategy, strategy_label, strategy_ratios

unit = st.floats(0, 1)
scores = st.fixed_dictionaries(
    dict.fromkeys(("variance", "dimensionality", "information", "correlation"), unit)
)
names = st.sampled_from(sorted(STRATEGIES))
rows = st.integers(1, 5).flatmap(
    lambda n: st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.lists(st.floats(0.01, 10), min_size=n, max_size=n),
        min_size=1,
    )
)

PUBLISHED = [
    (24, 1.000, 0.697, 0.983, 0.793, [0.31, 0.85, 1.91]),
    (5, 1.000, 0.388, 1.000, 0.577, [0.32, 0.88, 2.00]),
    (11, 1.000, 0.538, 0.949, 0.669, [0.30, 0.83, 1.91]),
    (10, 1.000, 0.520, 0.965, 0.686, [0.30, 0.83, 1.92]),
    (17, 1.000, 0.626, 0.964, 0.664, [0.31, 0.84, 1.91]),
    (20, 1.000, 0.660, 0.944, 0.656, [0.31, 0.84, 1.90]),
    (31, 1.000, 0.751, 0.954, 0.663, [0.31, 0.85, 1.90]),
]


# --- strategies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "v", "d", "i", "c", "expected"), PUBLISHED)
def test_published_rows_reproduce(k, v, d, i, c, expected):
    given_scores = {"variance": v, "dimensionality": d, "information": i, "correlation": c}
    assert STRATEGIES["balanced"](given_scores) == expected
    assert d == pytest.approx(math.log10(k + 1) / math.log10(101), abs=5e-4)


@pytest.mark.parametrize(
    ("strategy", "values", "expected"),
    [
        ("uniform", {}, [0.5, 1.0, 1.5]),
        ("variance", {"variance": 0.71}, [0.25, 0.75, 2.0]),
        ("variance", {"variance": 0.7}, [0.4, 1.0, 1.8]),
        ("variance", {"variance": 0.41}, [0.4, 1.0, 1.8]),
        ("variance", {"variance": 0.4}, [0.5, 1.0, 1.5]),
        ("dimensionality", {"dimensionality": 0.81}, [0.3, 0.8, 1.5]),
        ("dimensionality", {"dimensionality": 0.8}, [0.4, 1.0, 1.8]),
        ("dimensionality", {"dimensionality": 0.51}, [0.4, 1.0, 1.8]),
        ("dimensionality", {"dimensionality": 0.5}, [0.5, 1.2, 2.0]),
        ("information", {"information": 0.9, "correlation": 0.6}, [0.3, 0.7, 1.2]),
        ("information", {"information": 0.8, "correlation": 0.6}, [0.5, 1.0, 1.5]),
        ("information", {"information": 0.5, "correlation": 0.25}, [0.6, 1.5, 2.5]),
    ],
)
def test_strategies_equal_their_tables(strategy, values, expected):
    assert STRATEGIES[strategy](values) == expected


def test_balanced_takes_thirds_where_all_weights_are_zero():
    flat = {"variance": 0.0, "dimensionality": 0.0, "information": 1.0, "correlation": 0.0}
    assert STRATEGIES["balanced"](flat) == [0.5, 1.07, 1.67]


@given(names, scores, st.integers(1, 7))
def test_ratios_are_positive_finite_and_one_per_level(strategy, values, n_levels):
    ratios = strategy_ratios(strategy, values, n_levels)
    assert len(ratios) == n_levels
    assert all(math.isfinite(r) and r > 0 for r in ratios)
    if n_levels == 3:
        assert ratios == STRATEGIES[strategy](values)


@given(names, scores)
def test_strategies_leave_the_scores_alone(strategy, values):
    before = dict(values)
    first, second = STRATEGIES[strategy](values), STRATEGIES[strategy](values)
    assert first == second
    assert first is not second
    assert values == before


def test_resampling_keeps_the_ends():
    assert resample_levels([0.2, 1.0, 2.0], 2) == [0.2, 2.0]
    assert resample_levels([0.2, 1.0, 2.0], 3) == [0.2, 1.0, 2.0]
    assert resample_levels([0.2, 1.0, 2.0], 4) == pytest.approx([0.2, 11 / 15, 4 / 3, 2.0])
    assert resample_levels([0.5, 1.0, 1.5], 1) == [1.0]


def test_one_strategy_per_level():
    values = {"variance": 0.9, "dimensionality": 0.9, "information": 0.1, "correlation": 0.1}
    mixed = ["variance", lambda _, level: 10.0 + level, "information"]
    assert strategy_ratios(mixed, values, 3) == [0.25, 11.0, 2.5]
    assert strategy_label(mixed) == "variance, <lambda>, information"


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, "1"])
@pytest.mark.parametrize("name", ["variance", "dimensionality", "information", "balanced"])
def test_scores_that_are_no_numbers_are_named_with_their_category(name, bad):
    scores = dict.fromkeys(("variance", "dimensionality", "information", "correlation"), 0.5)
    key = "variance" if name == "balanced" else name
    spoiled = {**scores, key: bad}
    with pytest.raises(ValueError, match=f"the score '{key}' is {bad!r}: give a finite number"):
        STRATEGIES[name](spoiled)
    for strategy in (name, ["uniform", name, "uniform"]):
        with pytest.raises(ValueError, match=f"strategy='{name}', category 'tail': the score"):
            strategy_ratios(strategy, spoiled, 3, "tail")
    del spoiled[key]
    with pytest.raises(ValueError, match=f"the score '{key}' is None"):
        STRATEGIES[name](spoiled)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, None, "1", [1.0], True])
def test_callable_must_return_a_positive_number(bad):
    def mine(scores, level):
        return bad

    with pytest.raises(
        ValueError, match=r"strategy: mine returned .* for category 'tail' at level 0"
    ):
        strategy_ratios(mine, {}, 2, "tail")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("balance", "strategy='balance' is not a strategy: did you mean 'balanced'"),
        ("rate-distortion", "did you mean 'rate_distortion'"),
        ("foo", r"'foo' is not a strategy\. Known are, the closest first, '.*'minimax'"),
        ("mini", r"did you mean 'minimax'\? Known are, the closest first, 'minimax', '"),
        (["variance"], "lists 1 strategy for n_levels=3"),
        (["variance", "minimax", "uniform"], r"strategy\[1\]='minimax' divides the bits"),
        (["variance", "uniforn", "uniform"], r"strategy\[1\]='uniforn' .* mean 'uniform'"),
    ],
)
def test_unusable_strategies_are_named(strategy, message):
    with pytest.raises(ValueError, match=message):
        check_strategy(strategy, 3)


def test_objects_that_are_no_strategies_are_refused():
    with pytest.raises(TypeError, match="strategy must be a name"):
        check_strategy(3, 3)
    with pytest.raises(TypeError, match=r"strategy\[0\] must be"):
        check_strategy([3], 1)


# --- ratio forms ---------------------------------------------------------------------------------


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_ratio_forms_agree(values):
    assert parse_ratios(values) == values
    assert parse_ratios(":".join(map(repr, values)), len(values)) == values


@pytest.mark.parametrize("bad", ["", "a:b", "1:-1", "1::2", [0.0], [], [math.inf], [None], "nan"])
def test_bad_ratios_name_the_parameter(bad):
    with pytest.raises(ValueError, match=r"compression_ratios=.* positive, finite"):
        parse_ratios(bad)


def test_ratios_must_match_the_levels():
    with pytest.raises(ValueError, match="mine='1:2' has 2 ratios for 3 levels"):
        parse_ratios("1:2", 3, name="mine")


@pytest.mark.parametrize(
    ("k", "ratio", "width"),
    [
        (1, 0.1, 4),
        (1, 1e-12, 4),
        (24, 0.31, 8),
        (24, 1.91, 48),
        (10, 1.2, 12),
        (8, 1, 8),
        (25, 1.12, 28),
        (100, 0.28, 28),
        (100, 0.281, 32),
    ],
)
def test_latent_width(k, ratio, width):
    assert latent_width(k, ratio) == width


# --- sharing -------------------------------------------------------------------------------------


def columns_of(ratios, data):
    return {name: data.draw(st.integers(1, 40), label=name) for name in ratios}


@given(rows, st.integers(0, 80), st.data())
def test_budget_is_spent_and_never_exceeded(ratios, budget, data):
    n_columns = columns_of(ratios, data)
    caps = {name: data.draw(st.integers(0, 20)) for name in sorted(ratios)[::2]}
    bits = share_bits(ratios, n_columns, budget, caps)
    totals = {name: sum(levels) for name, levels in bits.items()}
    room = sum(caps.get(name, budget) for name in ratios)
    assert sum(totals.values()) == min(budget, room)
    for name, levels in bits.items():
        assert len(levels) == len(ratios[name])
        assert totals[name] <= caps.get(name, budget)
        assert totals[name] == 0 or levels[0] >= 1
        assert totals[name] >= min(1, caps.get(name, 1)) or budget < len(ratios)


@given(rows, st.integers(0, 80), st.data())
def test_larger_budgets_take_no_bit_away(ratios, budget, data):
    n_columns = columns_of(ratios, data)
    less, more = (share_bits(ratios, n_columns, b) for b in (budget, budget + 1))
    assert all(sum(more[name]) >= sum(less[name]) for name in ratios)


@given(rows, st.integers(0, 80), st.data())
def test_order_of_categories_changes_nothing(ratios, budget, data):
    n_columns = columns_of(ratios, data)
    order = data.draw(st.permutations(list(ratios)))
    moved = share_bits({name: ratios[name] for name in order}, n_columns, budget)
    assert list(moved) == order
    assert moved == share_bits(ratios, n_columns, budget)


@given(rows, st.data())
def test_parts_are_close_to_proportional(ratios, data):
    """Without the rule of one bit each, every part is within a bit or two of its share."""
    n_columns = columns_of(ratios, data)
    bits = share_bits(ratios, n_columns, 400)
    for name, share in latent_shares(ratios, n_columns).items():
        assert sum(bits[name]) == pytest.approx(400 * share, abs=len(ratios) + 1)


def test_uniform_shares_in_proportion_to_columns():
    ratios = {name: [0.5, 1.0, 1.5] for name in "abc"}
    bits = share_bits(ratios, {"a": 32, "b": 16, "c": 16}, 64)
    assert {name: sum(levels) for name, levels in bits.items()} == {"a": 32, "b": 16, "c": 16}


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"a": [0, 0]}, r"ratios\['a'\]=\[0, 0\]: give one positive"),
        ({"b": [1, 1]}, "n_columns has no entry for category 'b'"),
        ({}, "names no category"),
    ],
)
def test_what_can_not_be_shared_is_named(ratios, message):
    with pytest.raises(ValueError, match=message):
        share_bits(ratios, {"a": 3}, 8)


@pytest.mark.parametrize("ratio", [1e308, 5e-324])
def test_only_proportions_of_ratios_count(ratio):
    ratios = {"a": [ratio] * 3, "b": [ratio] * 3}
    ones = {name: [1.0] * 3 for name in ratios}
    assert share_bits(ratios, {"a": 6, "b": 2}, 8) == share_bits(ones, {"a": 6, "b": 2}, 8)


def test_levels_share_likewise():
    assert split_levels(6, [0.5, 1.0, 1.5]) == [1, 2, 3]
    assert split_levels(1, [0.1, 1.0, 5.0]) == [1, 0, 0]
    assert split_levels(0, [1.0, 1.0]) == [0, 0]


# --- plan ----------------------------------------------------------------------------------------


def small_plan(**changes):
    parts = {
        "strategy": "uniform",
        "budget": 8,
        "n_levels": 2,
        "categories": {"a": np.array([0, 2]), "b": np.array([1])},
        "ratios": {"a": [0.5, 1.5], "b": [0.5, 1.5]},
        "bits": {"a": [2, 3], "b": [1, 1]},
        "decisions": [
            {
                "category": "a",
                "n_columns": 2,
                "variance": 1.0,
                "predicted_nmse": 0.2,
                "reason": "A.",
            },
            {
                "category": "b",
                "n_columns": 1,
                "variance": 0.5,
                "predicted_nmse": 0.1,
                "reason": "B.",
            },
        ],
        "curves": {"a": np.array([1.0, 0.5]), "b": np.array([1.0, 0.25])},
        "explicit_budget": True,
    }
    return Plan(**(parts | changes))


@pytest.mark.parametrize("changes", [{}, {"curves": None}])
def test_plan_survives_json(changes):
    plan = small_plan(**changes)
    note = json.loads(json.dumps(plan.to_note()))
    back = Plan.from_note(note)
    assert back.to_note() == plan.to_note()
    assert back.categories["a"].dtype == np.int64
    back.bits["a"][0] = 7
    assert note["bits"]["a"][0] == 2


def test_decisions_follow_bits_that_moved():
    plan = small_plan()
    plan.bits["a"] = [1, 1]
    frame = plan.decisions_frame()
    assert list(frame.columns) == [
        "n_columns",
        "variance",
        "ratio_L0",
        "ratio_L1",
        "bits_L0",
        "bits_L1",
        "bits",
        "predicted_nmse",
        "reason",
    ]
    assert frame.index.name == "category"
    assert frame["bits"].to_dict() == {"a": 2, "b": 2}
    assert plan.unspent == 4


def test_default_budget():
    assert [default_budget(k) for k in (1, 16, 58, 128, 625)] == [16, 16, 58, 128, 128]


def test_goal():
    assert not Goal(3).explicit
    assert Goal(3, bits=5).explicit
    assert Goal(3, bits=5).budget(99) == 5
    assert Goal(3, max_nmse=0.1).limits(1) == [16, 32]
    assert Goal(3, max_nmse=0.1).limits(20)[-1] == 640
