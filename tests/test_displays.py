"""Displays: what is drawn equals the figures, and stays readable at 12 and 60 categories."""

import itertools
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.text import Text
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq import displays as shown
from adaptive_vq._plotting import CYCLE, RED, label
from adaptive_vq.diagnosis import Diagnosis, diagnose

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(300, 3))
    X = factors[:, np.arange(9) // 3] + 0.3 * rng.normal(size=(300, 9))
    return pd.DataFrame(X, columns=[f"f{j // 3}__{j}" for j in range(9)])


@pytest.fixture(scope="module")
def pipe(table):
    return make_pipeline(
        FeatureCharacterizer(categories="prefix"),
        AdaptiveRatioSelector("rate_distortion", bits=24),
        HierarchicalVQVAE(max_epochs=2, beam_width=4, random_state=0),
    ).fit(table)


@pytest.fixture(scope="module")
def report(pipe, table) -> Diagnosis:
    return diagnose(pipe, table, embedding="pca")


def texts(ax) -> list[str]:
    return [t.get_text() for t in ax.get_yticklabels()]


# --------------------------------------------------------------------------- what is drawn
def test_category_errors(pipe, table, report):
    display = shown.CategoryErrorDisplay.from_estimator(pipe, table)
    expected = report.categories["nmse_capped"].sort_values(ascending=False)
    assert [bar.get_width() for bar in display.ax_.patches] == expected.tolist()
    assert texts(display.ax_) == list(expected.index)
    marks = display.ax_.lines[0].get_xdata()
    assert list(marks) == report.categories["predicted_nmse"][expected.index].tolist()


def test_category_beyond_three_times_the_median_is_red(report):
    categories = report.categories.assign(nmse_capped=[0.1, 0.31, 0.1])
    bars = shown.CategoryErrorDisplay(categories).plot().ax_.patches
    assert [to_hex(bar.get_facecolor()).upper() == RED for bar in bars] == [True, False, False]


def test_codebook_usage(pipe, table, report):
    display = shown.CodebookUsageDisplay.from_estimator(pipe, table)
    for name, book in report.codebooks.iterrows():
        level = str(name).rsplit("__", 1)[1]
        share = display.shares.loc[book["category"], level]
        assert share == pytest.approx(book["perplexity"] / book["size"])
    drawn = [t.get_text() for t in display.ax_.texts]
    assert sorted(drawn) == sorted(f"{100 * s:.0f}" for s in display.shares.stack())
    training = shown.CodebookUsageDisplay.from_estimator(pipe, table, rows="training")
    assert "training rows" in training.ax_.get_title(loc="left")


def test_levels_stay_in_order_when_split():
    books = pd.DataFrame(
        {"category": ["a"] * 4, "level": [0, 1, 1, 2], "size": 4, "perplexity": 2.0},
        index=["a__L0", "a__L1a", "a__L1b", "a__L2"],
    )
    assert list(shown.CodebookUsageDisplay(books).shares) == ["L0", "L1a", "L1b", "L2"]


def test_ratio_decisions(pipe):
    display = shown.RatioDecisionDisplay.from_estimator(pipe)
    bits = pipe[-1].bits_
    widths: dict[int, float] = {}
    for bar in display.ax_.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        widths[row] = widths.get(row, 0) + bar.get_width()
    order = sorted(bits, key=lambda name: -sum(bits[name]))
    assert [widths[i] for i in range(3)] == [sum(bits[name]) for name in order]
    ratios = [":".join(f"{r:.2g}" for r in pipe[-1].ratios_[name]) for name in order]
    assert [t.get_text() for t in display.ax_.texts] == ratios


def test_ratio_decisions_of_a_selector(pipe):
    selector = pipe[:-1]
    display = shown.RatioDecisionDisplay.from_estimator(selector)
    assert display.decisions is selector[-1].decisions_


def test_ratio_decisions_of_a_pipeline_in_a_pipeline(pipe):
    nested = make_pipeline("passthrough", make_pipeline("passthrough", pipe))
    assert shown.RatioDecisionDisplay.from_estimator(nested).decisions is pipe[-1].decisions_


def test_rate_distortion(pipe, table, report):
    display = shown.RateDistortionDisplay.from_estimator(pipe, table)
    lines = {line.get_label(): line for line in display.ax_.lines}
    measured = lines["capped, measured"]
    assert list(measured.get_ydata()) == report.levels["nmse_capped"].tolist()
    assert list(measured.get_xdata()) == report.levels["bits"].tolist()
    assert len(lines["capped, predicted"].get_xdata()) == len(report.frontier)
    curves = shown.RateDistortionDisplay.from_estimator(pipe, table, kind="categories").ax_
    for name, curve in pipe[-1].curves_.items():
        (line,) = [line for line in curves.lines if line.get_label() == name]
        assert np.array_equal(line.get_ydata(), np.where(curve > 0, curve, np.nan), equal_nan=True)


def test_plan_that_was_not_measured_says_so(report):
    display = shown.RateDistortionDisplay(report.levels, None, None, {})
    assert display.plot(kind="categories").ax_.texts[0].get_text() == "The plan was not measured."
    assert "capped, predicted" not in [line.get_label() for line in display.plot().ax_.lines]


def test_training_history(pipe):
    display = shown.TrainingHistoryDisplay.from_estimator(pipe)
    losses = [record["train_loss"] for record in pipe[-1].history_]
    (line,) = [line for line in display.ax_.lines if line.get_label() == "training loss"]
    assert list(line.get_ydata()) == losses
    empty = shown.TrainingHistoryDisplay([]).plot()
    assert empty.ax_.texts[0].get_text() == "No epoch was trained."


def test_latent_map(report):
    display = shown.LatentMapDisplay.from_diagnosis(report)
    points = np.concatenate([c.get_offsets() for c in display.ax_.collections])
    assert sorted(points[:, 0]) == sorted(report.latent_map.points["x"])
    with pytest.raises(ValueError, match="embedding=None"):
        shown.LatentMapDisplay.from_diagnosis(
            Diagnosis(
                **{**vars(report), "latent_map": None, "notes": {"latent_map": "embedding=None"}}
            )
        )


def test_latent_map_of_an_estimator_is_that_of_its_diagnosis(pipe, table):
    display, one = shown.LatentMapDisplay, {"n_map_rows": 90, "random_state": 3}
    own = display.from_estimator(pipe, table, embedding="pca", **one)
    report = diagnose(pipe, table, embedding="pca", **one)
    pd.testing.assert_frame_equal(own.latent_map.points, report.latent_map.points)
    legends = [d.ax_.get_legend() for d in (own, display.from_diagnosis(report))]
    assert len({tuple(text.get_text() for text in legend.get_texts()) for legend in legends}) == 1
    for name, bad in {
        "embedding": ("umap", None),
        "n_map_rows": (2,),
        "random_state": (-1,),
    }.items():
        for value in bad:
            with pytest.raises(ValueError, match=name):
                display.from_estimator(pipe, table, **{name: value})
    with pytest.raises(ValueError, match="no map of the codes: the rows have fewer than 3"):
        display.from_estimator(pipe, pd.concat([table.iloc[:1]] * 9))


def test_from_diagnosis_is_from_estimator(pipe, table, report):
    for name in ("CategoryErrorDisplay", "CodebookUsageDisplay", "RateDistortionDisplay"):
        display = getattr(shown, name)
        one, other = display.from_estimator(pipe, table).ax_, display.from_diagnosis(report).ax_
        assert [p.get_bbox().bounds for p in one.patches if hasattr(p, "get_bbox")] == [
            p.get_bbox().bounds for p in other.patches if hasattr(p, "get_bbox")
        ]
        assert texts(one) == texts(other)
    for name in ("RatioDecisionDisplay", "TrainingHistoryDisplay"):
        display = getattr(shown, name)
        assert texts(display.from_estimator(pipe).ax_) == texts(display.from_diagnosis(report).ax_)


def test_given_axes_are_used(pipe, table, report):
    for name in shown.__all__:
        figure, ax = plt.subplots()
        display = getattr(shown, name).from_diagnosis(report, ax=ax)
        assert display.ax_ is ax
        assert display.figure_ is figure


def test_current_axes_stay_current(report):
    for name in shown.__all__:
        figure, (left, right) = plt.subplots(1, 2)
        getattr(shown, name).from_diagnosis(report, ax=left)
        assert plt.gca() is right, name
        assert plt.gcf() is figure
        display = getattr(shown, name).from_diagnosis(report)
        assert plt.gca() is display.ax_, name


# ------------------------------------------------------------------------------ readability
def wide(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = [f"category {i} with quite a long name" for i in range(n)]
    table = pd.DataFrame(
        {"nmse": rng.random(n), "nmse_capped": rng.random(n), "predicted_nmse": rng.random(n)},
        index=names,
    )
    for level in range(3):
        table[f"bits_L{level}"] = rng.integers(0, 8, n)
        table[f"ratio_L{level}"] = rng.random(n)
    return table.assign(bits=table[[f"bits_L{level}" for level in range(3)]].sum(axis=1))


@pytest.mark.parametrize("n", [12, 60])
@pytest.mark.parametrize("own_axes", [True, False])
def test_row_labels_do_not_overlap(n, own_axes):
    for name in ("CategoryErrorDisplay", "RatioDecisionDisplay"):
        ax = None if own_axes else plt.subplots(figsize=(6, 8))[1]
        ax = getattr(shown, name)(wide(n)).plot(ax).ax_
        ax.figure.draw_without_rendering()
        boxes = [t.get_window_extent() for t in ax.get_yticklabels()]
        assert len(boxes) == n
        tops = sorted((box.y0, box.y1) for box in boxes)
        # Line boxes are a little higher than letters; these must stay apart.
        assert all(
            low[1] - 0.25 * (low[1] - low[0]) < high[0] for low, high in itertools.pairwise(tops)
        )


def several(n: int) -> pd.DataFrame:
    """Levels of a codec whose last two cost nothing."""
    errors = np.array([1.0, 0.3, 0.2, 0.2, 0.2])
    return pd.DataFrame(
        {"bits": [0.0, 9.0, 12.0, 12.0, 12.0], "nmse": 1.1 * errors, "nmse_capped": errors},
        index=pd.RangeIndex(5, name="n_levels"),
    ).head(n)


def drawn() -> list:
    """Every display with a legend, with names as long as they get."""
    names = [f"category {i} with quite a long name" for i in range(12)]
    curves = {name: np.logspace(0, -3 - i / 5, 20) for i, name in enumerate(names)}
    bits = dict.fromkeys(names, 4)
    levels = pd.Series([1.0, 0.1], index=pd.Index([0, 20], name="bits"), name="predicted_nmse")
    curve = shown.RateDistortionDisplay(several(5), levels.to_frame(), curves, bits)
    history = [
        {"epoch": k, "train_loss": 1 / k, "valid_nmse": 1 / k, "start_nmse": 1.0}
        | {"utilization": 0.9, "perplexity_share": 0.8}
        for k in (1, 2)
    ]
    return [
        shown.CategoryErrorDisplay(wide(12)).plot(),
        shown.RatioDecisionDisplay(wide(12)).plot(),
        curve.plot(),
        shown.RateDistortionDisplay(several(5), None, curves, bits).plot(kind="categories"),
        shown.TrainingHistoryDisplay(history).plot(),
    ]


def is_title(text: Text, ax) -> bool:
    return text.get_text() == ax.get_title(loc="left")


def test_legend_covers_neither_axes_nor_title():
    for display in drawn():
        figure, ax = display.figure_, display.ax_
        figure.draw_without_rendering()
        legend = ax.get_legend().get_window_extent()
        (title,) = (t.get_window_extent() for t in ax.findobj(Text) if is_title(t, ax))
        assert ax.get_window_extent().y1 <= legend.y0
        assert legend.y1 <= title.y0
        assert legend.x1 <= figure.bbox.x1
        assert title.y1 <= figure.bbox.y1


def test_marks_of_errors_are_few_enough_to_stay_apart():
    """Numbers like 0.005 at every half step filled the axis of a report's picture."""
    table = wide(5).assign(nmse_capped=[0.033, 0.023, 0.023, 0.012, 0.0], predicted_nmse=0.01)
    ax = shown.CategoryErrorDisplay(table).plot().ax_
    assert len([x for x in ax.get_xticks() if x <= ax.get_xlim()[1]]) <= 6


def test_marks_of_bits_are_whole_and_errors_plain_numbers():
    display = shown.RateDistortionDisplay(several(3), None, None, {}).plot()
    display.figure_.draw_without_rendering()
    assert all(float(x).is_integer() for x in display.ax_.get_xticks())
    marks = [t.get_text() for t in display.ax_.get_yticklabels()]
    assert {"0.2", "0.5", "1"} <= set(marks)
    bars = shown.RatioDecisionDisplay(wide(3)).plot().ax_
    assert all(float(x).is_integer() for x in bars.get_xticks())


def test_levels_at_the_same_rate_share_a_name():
    ax = shown.RateDistortionDisplay(several(5), None, None, {}).plot().ax_
    assert [t.get_text() for t in ax.texts] == ["L0", "L1-L3"]


def test_bars_have_an_edge_where_there_are_bits():
    table = wide(2).assign(bits_L1=0)
    with mpl.rc_context({"axes.edgecolor": "#123456"}):
        bars = shown.RatioDecisionDisplay(table).plot().ax_.patches
    assert {to_hex(bar.get_edgecolor()) for bar in bars} == {"#123456"}
    assert all((bar.get_linewidth() > 0) == (bar.get_width() > 0) for bar in bars)


def test_longest_bar_ends_before_the_ratios():
    table = wide(3).assign(bits_L0=8, bits_L1=0, bits_L2=0, bits=8)
    assert shown.RatioDecisionDisplay(table).plot().ax_.get_xlim()[1] > 8


def test_scale_of_use_is_that_of_its_cells():
    books = pd.DataFrame(
        {"category": ["a"], "level": [0], "size": 4, "perplexity": 2.0}, index=["a__L0"]
    )
    ax = shown.CodebookUsageDisplay(books).plot().ax_
    assert [t.get_text() for t in ax.texts] == ["50"]
    assert ax.collections[0].get_clim() == (0, 100)
    assert ax.collections[0].get_array() == 50


def test_colors_are_told_apart_without_red_and_green():
    """Distances between the colors as people without green cones see them (Vienot et al., 1999)."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in CYCLE]) ** 2.2
    to_lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    lms = rgb @ to_lms.T
    lms[:, 1] = 0.494207 * lms[:, 0] + 1.24827 * lms[:, 2]
    seen = np.clip(lms @ np.linalg.inv(to_lms).T, 0, 1) ** (1 / 2.2)
    gaps = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert gaps[np.triu_indices(len(CYCLE), 1)].min() > 0.1


def test_long_and_odd_names():
    assert len(label("x" * 100)) == 22
    assert label("a$b$") == r"a\$b\$"
    assert label("two\nlines") == "two lines"
    display = shown.CategoryErrorDisplay(wide(3).set_axis([r"$\frac{", "<b>", "né__0"])).plot()
    display.figure_.draw_without_rendering()
    assert set(texts(display.ax_)) == {r"\$\frac{", "<b>", "né__0"}


def test_legend_names_what_begins_with_an_underscore(report):
    curves = {f"_{name}": curve for name, curve in report.curves.items()}
    bits = {f"_{name}": int(b) for name, b in report.decisions["bits"].items()}
    display = shown.RateDistortionDisplay(report.levels, None, curves, bits)
    legend = display.plot(kind="categories").ax_.get_legend()
    assert {text.get_text().lstrip("\u200b") for text in legend.get_texts()} == set(curves)


# -------------------------------------------------------------------------------- bad input
def test_bad_input(table):
    judging = ("CategoryErrorDisplay", "CodebookUsageDisplay", "RateDistortionDisplay")
    for name in (*judging, "LatentMapDisplay"):
        with pytest.raises(TypeError, match=f"{name} needs a fitted HierarchicalVQVAE"):
            getattr(shown, name).from_estimator(LinearRegression(), table)
        with pytest.raises(NotFittedError):
            getattr(shown, name).from_estimator(HierarchicalVQVAE(), table)
    for name in ("RatioDecisionDisplay", "TrainingHistoryDisplay"):
        with pytest.raises(TypeError, match=f"{name} needs a fitted HierarchicalVQVAE"):
            getattr(shown, name).from_estimator(LinearRegression())
        with pytest.raises(NotFittedError):
            getattr(shown, name).from_estimator(HierarchicalVQVAE())
    for plan in (AdaptiveRatioSelector(), make_pipeline(AdaptiveRatioSelector())):
        with pytest.raises(NotFittedError, match="AdaptiveRatioSelector"):
            shown.RatioDecisionDisplay.from_estimator(plan)


def test_unknown_choices(report):
    with pytest.raises(ValueError, match="rows='all'"):
        shown.CodebookUsageDisplay(report.codebooks, rows="all")
    with pytest.raises(ValueError, match="kind='rows'"):
        shown.RateDistortionDisplay.from_diagnosis(report, kind="rows")
