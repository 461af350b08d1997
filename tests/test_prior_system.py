"""Every capability of the prior system has its place here and works, under its name there.

The prior system is spinlock (github.com/dgabriele/spinlock). One section per part of it: cleaning,
normalization, categories, network, loss, training, diagnostics, and what was wanted there but never
built.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    compare,
    diagnose,
    training,
    tune_categories,
)
from adaptive_vq._codebook import Codebook
from adaptive_vq.association import correlation_matrix
from adaptive_vq.datasets import make_feature_families
from adaptive_vq.displays import (
    CategoryErrorDisplay,
    CodebookUsageDisplay,
    RateDistortionDisplay,
    RatioDecisionDisplay,
    TrainingHistoryDisplay,
)
from adaptive_vq.metrics import quality_scorer, topographic_similarity, utilization_scorer
from adaptive_vq.recommendations import recommend
from benchmarks import quality
from benchmarks.cleaning import dirty_table, judge
from benchmarks.report import Results

QUICK = {"max_epochs": 2, "beam_width": 2, "random_state": 0}
# Without rows kept aside, and so without trying sizes of codebooks on them: most of the time of a
# fit on few rows, and nothing to tests of something else.
UNTRAINED = {"max_epochs": 0, "early_stopping": False}


@pytest.fixture(scope="module")
def families():
    return make_feature_families(400, missing=0.0)


@pytest.fixture(scope="module")
def table(families):
    """Three families of columns with names like ``family__feature``."""
    wanted = ("initial", "temporal", "spatial")
    return families.data[[c for c in families.data if c.split("__")[0] in wanted]]


@pytest.fixture(scope="module")
def pipeline(table):
    steps = [
        ("characterize", FeatureCharacterizer("prefix")),
        ("ratios", AdaptiveRatioSelector("balanced", bits=32)),
        ("vq", HierarchicalVQVAE(**QUICK)),
    ]
    return Pipeline(steps).fit(table.iloc[:300])


@pytest.fixture(scope="module")
def report(pipeline, table):
    return diagnose(pipeline, table.iloc[300:], embedding="tsne")


# --- cleaning ------------------------------------------------------------------------------------


def cleaned(columns, **parameters):
    cleaner = FeatureCleaner(**parameters).fit(pd.DataFrame(columns))
    return cleaner, list(cleaner.get_feature_names_out())


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(size=(300, 3))


def test_cleaning_drops_columns_without_spread(noise):
    _, kept = cleaned({"a": noise[:, 0], "flat": 1 + 1e-11 * noise[:, 1]})
    assert kept == ["a"]


def test_cleaning_drops_extreme_variance_with_coefficient_of_variation(noise):
    wild, level = 1e6 * noise[:, 0], 1e6 * (5 + noise[:, 1])
    wild_cv = np.std(wild) / abs(np.mean(wild))
    cleaner, kept = cleaned(
        {"wild": wild, "level": level, "a": noise[:, 2]}, max_variance=1e6, max_cv=wild_cv / 2
    )
    assert kept == ["level", "a"]
    assert cleaner.report_.set_index("column").loc["wild", "reason"] == "extreme variance"


def test_cleaning_keeps_the_first_of_two_alike(noise):
    _, kept = cleaned({"a": noise[:, 0], "b": -3 * noise[:, 0] + 1e-3 * noise[:, 1]})
    assert kept == ["a"]


def test_cleaning_keeps_the_more_informative_of_two_alike(noise):
    coarse = np.round(noise[:, 0] * 4) / 4
    columns = {"coarse": coarse, "fine": noise[:, 0]}
    assert abs(np.corrcoef(coarse, noise[:, 0])[0, 1]) > 0.99
    assert cleaned(columns)[1] == ["coarse"]
    assert cleaned(columns, keep="informative")[1] == ["fine"]


def test_cleaning_keeps_of_two_alike_the_one_with_fewer_outliers(noise):
    wild = np.where(np.arange(300) % 20 == 0, 2.2 * noise[:, 0], noise[:, 0])
    columns = {"wild": wild, "calm": noise[:, 0]}
    rule = {"caps": None, "max_correlation": 0.95}
    assert abs(np.corrcoef(wild, noise[:, 0])[0, 1]) > 0.95
    assert cleaned(columns, **rule)[1] == ["wild"]
    assert cleaned(columns, keep="informative", **rule)[1] == ["calm"]


def test_cleaning_fills_missing_cells_with_medians(noise):
    columns = {"a": np.where(np.arange(300) < 100, np.nan, noise[:, 0]), "b": noise[:, 1]}
    cleaner, _ = cleaned(columns, fill="median", caps=None)
    out = cleaner.transform(pd.DataFrame(columns))
    assert (out["a"][:100] == np.median(noise[100:, 0])).all()


@pytest.mark.parametrize("caps", ["percentile", "iqr", "mad"])
def test_cleaning_keeps_its_caps_for_new_rows(noise, caps):
    cleaner, _ = cleaned({"a": noise[:, 0], "b": noise[:, 1]}, caps=caps)
    new = pd.DataFrame({"a": [1e9, -1e9], "b": [0.0, 0.0]})
    assert cleaner.transform(new)["a"].tolist() == [cleaner.upper_[0], cleaner.lower_[0]]
    width = {"percentile": 0.5, "iqr": 1.5, "mad": 3.0}[caps]
    low, first, middle, third, _ = np.quantile(noise[:, 0], [0.005, 0.25, 0.5, 0.75, 0.995])
    expected = {
        "percentile": low,
        "iqr": first - width * (third - first),
        "mad": middle - width * 1.4826 * np.median(np.abs(noise[:, 0] - middle)),
    }
    assert cleaner.lower_[0] == pytest.approx(expected[caps])


@pytest.mark.filterwarnings("ignore:Columns .'residual__never'. have no observed cell")
def test_cleaning_a_dirty_table_costs_nothing():
    table, categories = dirty_table(4200, seed=0)
    train, held = table.iloc[:2800], table.iloc[2800:]
    without, with_cleaner = (
        judge(train, held, categories, cleaner, bits=24, beam_width=8, **UNTRAINED)
        for cleaner in (False, True)
    )
    assert with_cleaner["n_dropped"] >= 6
    assert max(with_cleaner["per_category"].values()) < 1
    assert max(without["per_category"].values()) < 1
    # Plans made from some hundred rows differ by more than this whatever the cleaner does.
    assert with_cleaner["nmse"] <= 1.02 * without["nmse"]


# --- normalization -------------------------------------------------------------------------------


@pytest.mark.parametrize("scaler", ["standard", "robust"])
def test_normalization_per_column_has_an_inverse(table, scaler):
    X = table.to_numpy()
    fitted = HierarchicalVQVAE(
        auto_compression_strategy="uniform", bits=32, scaler=scaler, clip=None, **UNTRAINED
    ).fit(X)
    Z = fitted.units_.to_codec(X)
    center, spread = X.mean(axis=0), X.std(axis=0)
    if scaler == "robust":
        center = np.median(X, axis=0)
        spread = 1.4826 * np.median(np.abs(X - center), axis=0)
    column = list(table).index("temporal__step_00")
    np.testing.assert_allclose(
        Z[:, column], ((X - center)[:, column] / spread[column]), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(fitted.units_.from_codec(Z), X, rtol=1e-4, atol=1e-4)


# --- categories ----------------------------------------------------------------------------------


def test_categories_by_agglomeration_of_correlations(families):
    found = FeatureCharacterizer("silhouette").fit(families.data)
    assert 2 <= len(found.categories_) <= 25
    assert sorted(np.concatenate(list(found.categories_.values()))) == list(
        range(families.data.shape[1])
    )


def test_categories_number_by_silhouette_with_precomputed_distance(families):
    found = FeatureCharacterizer().fit(families.data)
    Z = families.data.clip(families.data.quantile(0.005), families.data.quantile(0.995), axis=1)
    distance = 1 - np.abs(correlation_matrix(Z))
    related = np.flatnonzero((distance < 1).sum(axis=1) > 1)

    def score(categories):
        labels = np.empty(len(distance), dtype=int)
        for i, columns in enumerate(categories.values()):
            labels[columns] = i
        inside = np.clip(distance[np.ix_(related, related)], 0, 1)
        np.fill_diagonal(inside, 0)
        return silhouette_score(inside, labels[related], metric="precomputed")

    several = [cut for cut in found.cuts_ if len(cut) > 1]
    assert score(found.categories_) == pytest.approx(max(map(score, several)), abs=0.01)


def test_categories_below_the_minimum_size_go_to_the_nearest(families):
    sizes = [
        len(columns)
        for columns in FeatureCharacterizer(min_category_size=3)
        .fit(families.data)
        .categories_.values()
    ]
    assert min(sizes) >= 3
    assert sum(sizes) == families.data.shape[1]


def test_categories_isolated_by_prefix(table):
    found = FeatureCharacterizer(isolate=["temporal"]).fit(table)
    temporal = [i for i, c in enumerate(table) if c.startswith("temporal__")]
    assert found.categories_["temporal"].tolist() == temporal
    assert any(name.startswith("cluster_") for name in found.categories_)


def test_categories_within_each_family(table):
    with pytest.warns(UserWarning, match="Categories overlap"):
        found = FeatureCharacterizer("prefix_auto").fit(table)
    families_of = {
        name: {table.columns[i].split("__")[0] for i in columns}
        for name, columns in found.categories_.items()
    }
    assert all(len(names) == 1 for names in families_of.values())
    assert len(families_of) >= 3


def test_categories_from_a_mapping_in_json(table, tmp_path):
    path = tmp_path / "categories.json"
    path.write_text(json.dumps({"mine": list(table.columns[:5])}))
    with pytest.warns(UserWarning, match="Categories overlap"):
        found = FeatureCharacterizer(str(path)).fit(table)
    assert found.categories_["mine"].tolist() == [0, 1, 2, 3, 4]
    assert "remainder" in found.categories_


@pytest.mark.parametrize("correlation", ["spearman", "mutual_information"])
def test_categories_by_other_associations(correlation):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(500, 2))
    X = np.column_stack([np.exp(3 * factors[:, [0]] * s) for s in (1, 2, 3)] + [factors[:, [1]]])
    X = np.column_stack([X, factors[:, 1] ** 3, np.sinh(4 * factors[:, 1])])
    found = FeatureCharacterizer(2, correlation=correlation).fit(X)
    assert sorted(map(tuple, found.categories_.values())) == [(0, 1, 2), (3, 4, 5)]


def test_categories_refined_by_measured_error(table):
    """In place of the gradient refinement, which its own tests did not support."""
    selector = AdaptiveRatioSelector("rate_distortion", bits=24).fit(table)
    characterizer = FeatureCharacterizer().fit(table)
    cuts = [{tuple(c) for c in cut.values()} for cut in characterizer.cuts_]
    assert {tuple(columns) for columns in selector.categories_.values()} in cuts


# --- scores, strategies and forms of ratios ------------------------------------------------------


@pytest.mark.parametrize(
    "strategy", ["uniform", "variance", "dimensionality", "information", "balanced"]
)
def test_ratios_by_strategy_from_scores(table, strategy):
    characterizer = FeatureCharacterizer("prefix")
    fitted = AdaptiveRatioSelector(strategy, bits=32, characterizer=characterizer).fit(table)
    assert set(fitted.ratios_) == {"initial", "temporal", "spatial"}
    if strategy == "uniform":
        assert fitted.ratios_["initial"] == [0.5, 1.0, 1.5]
    d = math.log10(len(fitted.categories_["temporal"]) + 1) / math.log10(101)
    assert fitted.decisions_.loc["temporal", "dimensionality"] == pytest.approx(d)


@pytest.mark.parametrize("ratios", [[0.5, 1.0, 1.5], "0.5:1:1.5", "auto", "per category"])
def test_ratios_in_every_form_of_input(table, ratios):
    if ratios == "per category":
        ratios = {name: [0.5, 1.0, 1.5] for name in ("initial", "temporal", "spatial")}
    steps = [("c", FeatureCharacterizer("prefix")), ("vq", None)]
    codec = HierarchicalVQVAE(ratios, bits=24, **UNTRAINED)
    if ratios == "auto":
        steps.insert(1, ("r", AdaptiveRatioSelector("uniform", bits=24)))
        codec.set_params(bits=None)
    fitted = Pipeline(steps).set_params(vq=codec).fit(table)[-1]
    assert set(map(tuple, fitted.ratios_.values())) == {(0.5, 1.0, 1.5)}


# --- network -------------------------------------------------------------------------------------


def test_network_has_an_encoder_per_category_and_one_joint_decoder(pipeline):
    module = pipeline[-1]._module()
    assert len(module.encoders) == len(module.layout.categories)
    for encoder, category in zip(module.encoders, module.layout.categories, strict=True):
        assert encoder.columns.tolist() == category.columns
        assert encoder.body[0].out_features == 128
        assert encoder.body[2].p == 0.1
    assert module.correction[0].out_features == 256
    assert module.correction[3].out_features == module.layout.n_features


def test_network_takes_an_encoder_of_its_own_per_family_and_trains_it(table):
    """There, encoders of families stayed as they were drawn."""
    torch.manual_seed(0)
    series = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 4, 3, padding=1), torch.nn.Flatten()
    )
    given = series[1].weight.detach().clone()
    fitted = HierarchicalVQVAE(
        AdaptiveRatioSelector("uniform", bits=24, characterizer=FeatureCharacterizer("prefix")),
        encoders={"temporal": series},
        early_stopping=False,
        **QUICK,
    ).fit(table)
    module = fitted._module()
    place = [c.name for c in module.layout.categories].index("temporal")
    assert isinstance(module.encoders[place].body[1], torch.nn.Conv1d)
    assert not torch.equal(module.encoders[place].body[1].weight, given)
    assert torch.equal(series[1].weight, given)  # what was given is copied
    assert module.encoders[place].gate.abs().max() > 0


def test_network_widths_and_dropout_are_parameters(table):
    widths = {"group_embedding_dim": 7, "group_hidden_dim": 5, "dropout": 0.3}
    fitted = HierarchicalVQVAE("0.5:1:1.5", bits=24, **widths, **UNTRAINED).fit(table)
    module = fitted._module()
    assert module.encoders[0].body[0].out_features == 5
    assert module.correction[0].out_features == 7
    assert module.correction[2].p == 0.3


def test_network_activation_is_relu_where_asked_for(table):
    fitted = HierarchicalVQVAE("0.5:1:1.5", bits=24, activation="relu", **UNTRAINED).fit(table)
    module = fitted._module()
    assert isinstance(module.encoders[0].body[1], torch.nn.ReLU)
    assert isinstance(module.correction[1], torch.nn.ReLU)


def test_network_codebooks_hold_as_many_codes_as_are_given(table):
    fitted = HierarchicalVQVAE(
        codebook_sizes=24, auto_compression_strategy="uniform", bits=28, **UNTRAINED
    ).fit(table.iloc[:, :7])
    assert {len(book) for book in fitted.codebooks_.values()} == {24}


def test_network_codes_levels_and_decodes_every_prefix(pipeline, table):
    levels = {name.rsplit("__L", 1)[1][0] for name in pipeline[-1].get_feature_names_out()}
    assert levels == {"0", "1", "2"}
    codes = pipeline[-1].transform(table.iloc[:300])
    X = table.iloc[:300].to_numpy()
    Z = pipeline[-1].units_.to_codec(X)
    errors = [
        ((pipeline[-1].units_.to_codec(np.asarray(rows)) - Z) ** 2).sum()
        for rows in (pipeline[-1].inverse_transform(codes, n_levels=n) for n in (1, 2, 3))
    ]
    assert errors[0] > errors[1] > errors[2]


# --- loss ----------------------------------------------------------------------------------------


def test_loss_is_reconstruction_plus_weighted_commitment(pipeline):
    """Free of how many codebooks there are: in units of the variance of the table."""
    from adaptive_vq.training import CodecLoss

    target, output = torch.zeros(4, 3), torch.full((4, 3), 2.0)
    commitment, weight = torch.full((4,), 5.0), torch.ones(4, 3)
    loss = CodecLoss(commitment_weight=0.25, variance=3.0)((output, commitment, weight), target)
    assert float(loss) == pytest.approx((3 * 4.0 + 0.25 * 5.0) / 3.0)


def trained(table, **parameters):
    quick = {"auto_compression_strategy": "balanced", "bits": 32, "dropout": 0.0, "random_state": 0}
    more = {"max_epochs": 15, "early_stopping": False, "beam_width": 2, "clip": None}
    return HierarchicalVQVAE(**{**quick, **more, **parameters}).fit(table)


def test_loss_orthogonality_has_a_gradient_and_turns_codewords_apart(table):
    """There, the term had no gradient."""
    from adaptive_vq.objectives import overlap

    found = [
        overlap([torch.from_numpy(book) for book in fitted.codebooks_.values()])
        for fitted in (
            trained(table, codebook_update="gradient", lr=0.01, orthogonality_weight=weight)
            for weight in (0.0, 1.0)
        )
    ]
    assert found[1] < 0.9 * found[0]


def test_loss_partial_reconstruction_makes_categories_decode_alone(table):
    """Its "informativeness": every category and prefix of levels says something by itself."""
    from adaptive_vq.objectives import Step, partial_error

    errors = []
    for weight in (0.0, 5.0):
        fitted = trained(table, partial_weight=weight, codebook_update="gradient", lr=0.01)
        Z = torch.from_numpy(fitted._codec_rows(table)[0])
        module = fitted._module()
        codes = module.encode(Z, 2)
        latents = [encoder(Z) for encoder in module.encoders]
        words = [book.weight for book in module.codebooks]
        with torch.no_grad():
            step = Step(Z, torch.ones_like(Z), latents, codes, words)
            errors.append(float(partial_error(module, step).sum()))
    assert errors[1] < 0.98 * errors[0]


def test_loss_topographic_similarity_keeps_distances(table):
    found = []
    for weight in (0.0, 10.0):
        fitted = trained(table, topographic_weight=weight, lr=0.01)
        latents = fitted.set_params(encode="embedding").transform(table)
        rows = fitted.units_.to_codec(table.to_numpy()).astype(float)
        found.append(topographic_similarity(rows, latents, random_state=0))
    assert found[1] > found[0] + 0.02


# --- training ------------------------------------------------------------------------------------


def test_training_stops_early_and_restores_the_best_weights():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(400, 4))
    noisy = factors[:, :2] + 0.1 * rng.normal(size=(400, 2))
    # Squares say more than a linear decoder can: training finds something to learn.
    curved = np.hstack([factors, factors[:, :2] ** 2, noisy])
    fitted = HierarchicalVQVAE(
        "0.5:1:1.5", bits=12, max_epochs=30, n_iter_no_change=1, lr=0.01, random_state=0
    ).fit(curved)
    best = [record["epoch"] for record in fitted.history_ if record["best"]]
    assert fitted.n_iter_ == max(best) < len(fitted.history_) < 30


def test_training_by_adam_in_batches_for_the_epochs_given(table, monkeypatch):
    steps = []

    class Adam(training.PlainAdam):  # torch.optim.Adam, called past what readies it to be compiled
        def step(self, *args, **kwargs):
            steps.append({group["lr"] for group in self.param_groups})
            return super().step(*args, **kwargs)

    assert issubclass(Adam, torch.optim.Adam)
    monkeypatch.setattr(training, "PlainAdam", Adam)
    settings = {"max_epochs": 3, "batch_size": 160, "lr": 2e-3, "early_stopping": False}
    fitted = HierarchicalVQVAE("0.5:1:1.5", bits=24, beam_width=2, **settings).fit(table)
    assert len(fitted.history_) == 3
    assert steps == [{2e-3}] * (3 * math.ceil(len(table) / 160))


def test_training_keeps_a_tenth_of_the_rows_aside():
    defaults = HierarchicalVQVAE()
    assert defaults.validation_fraction == 0.1
    assert defaults.early_stopping
    assert defaults.ema_decay == 0.99
    assert 0.25 <= defaults.commitment_weight <= 0.45


def test_training_moves_codewords_by_moving_averages():
    book = Codebook(2, 1)
    book.start(torch.tensor([[0.0], [10.0]]), torch.ones(2))
    rows = torch.tensor([[1.0], [10.0]])
    book.update(rows, torch.tensor([0, 1]), torch.ones(2), decay=0.9)
    assert book.weight.flatten().tolist() == pytest.approx([0.1, 10.0])


def test_training_revives_dead_codewords_for_good():
    """There, a reset wrote the vector alone, and the next step undid it."""
    book = Codebook(2, 1)
    book.start(torch.tensor([[0.0], [50.0]]), torch.tensor([1.0, 1e-9]))
    rows, weight = torch.tensor([[0.0], [3.0]]), torch.ones(2)
    book.update(rows, torch.tensor([0, 0]), weight, decay=0.9)
    assert book.weight[1].item() == 3.0
    book.update(rows, torch.tensor([0, 1]), weight, decay=0.9)
    assert book.weight[1].item() == pytest.approx(3.0)


def test_training_starts_without_dead_codes(table):
    fitted = HierarchicalVQVAE("0.5:1:1.5", bits=32, **UNTRAINED).fit(table)
    codes = fitted.transform(table)
    for j, book in enumerate(fitted.codebooks_.values()):
        assert len(np.unique(codes[:, j])) == len(book)


def test_training_tunes_the_worst_categories_at_a_fixed_budget(table):
    """Its manager of the worst categories could not run."""
    codec = HierarchicalVQVAE(
        AdaptiveRatioSelector("uniform", bits=24, characterizer=FeatureCharacterizer("prefix")),
        max_epochs=0,
        beam_width=2,
        random_state=0,
    )
    best, report = tune_categories(codec, table.iloc[:300], max_rounds=1, max_epochs=1)
    worst = report.loc[report["kept"] & (report["round"] > 0)]
    assert len(worst) == 1
    assert worst["nmse_after"].item() < worst["nmse_before"].item()
    assert worst["total_after"].item() < worst["total_before"].item()
    assert best.n_bits_ <= 24


# --- diagnostics ---------------------------------------------------------------------------------


def test_diagnostics_per_category(report):
    assert set(report.categories.index) == {"initial", "temporal", "spatial"}
    assert {"nmse", "mae"} <= set(report.categories)
    assert {"max_min", "gini"} <= set(report.summary)


def test_diagnostics_of_the_ten_worst_columns(report):
    worst = report.worst_columns(10)
    for category, columns in report.columns.groupby("category"):
        listed = worst[worst["category"] == category]
        assert len(listed) == min(10, len(columns))
        assert listed["share_of_category"].min() >= columns["share_of_category"].drop(
            listed.index
        ).to_numpy().max(initial=0)


def test_diagnostics_per_codebook(report):
    assert {"utilization", "perplexity", "entropy", "dead", "rare"} <= set(report.codebooks)
    assert report.codebooks["utilization"].between(0, 1).all()


def test_diagnostics_count_codes_with_fewer_than_five_hits(report, pipeline, table):
    codes = np.asarray(pipeline.transform(table.iloc[300:]))
    for j, (name, size) in enumerate(report.codebooks["size"].items()):
        hits = np.bincount(codes[:, j], minlength=size)
        dead, rare = report.codebooks.loc[name, ["dead", "rare"]]
        assert dead == (hits == 0).sum()
        assert dead + rare == (hits < 5).sum()


def test_diagnostics_of_the_latent_space(report):
    assert report.latent_map.method == "tsne"
    assert report.latent_map.points.shape[1] >= 2
    text = " ".join(map(str, [*report.latent_map.scores.columns, *report.latent_map.scores.index]))
    assert "silhouette" in text
    assert "davies_bouldin" in text


def test_diagnostics_recommend_what_to_change(table):
    small = HierarchicalVQVAE(
        codebook_sizes={"initial": [2, 1, 1], "temporal": 64, "spatial": 64},
        compression_ratios=AdaptiveRatioSelector(
            "uniform", bits=40, characterizer=FeatureCharacterizer("prefix")
        ),
        **UNTRAINED,
    ).fit(table.iloc[:300])
    found = diagnose(small, table.iloc[300:], embedding="pca")
    assert [r.rule for r in found.recommendations] == [r.rule for r in recommend(found)]
    assert all(r.message for r in found.recommendations)
    assert found.recommendations


def test_diagnostics_as_text_json_and_pictures(report, tmp_path):
    assert "temporal" in report.to_text()
    assert set(json.loads(report.to_json())) >= {"summary", "categories", "codebooks"}
    report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("<svg") >= 4


@pytest.mark.parametrize(
    ("rule", "planted"),
    [
        ("worst_category", lambda d: d.categories.__setitem__("nmse_capped", [0.1, 0.9, 0.1])),
        ("low_utilization", lambda d: d.codebooks.__setitem__("training_utilization", 0.4)),
        ("dead_codes", lambda d: d.codebooks.__setitem__("training_dead", 3)),
        ("dominant_column", lambda d: d.columns.__setitem__("share_of_category", 0.95)),
    ],
)
def test_diagnostics_recommend_by_the_rules_of_there(pipeline, table, rule, planted):
    """Worst category, utilization below a half, dead codes, a column with most of the error."""
    found = diagnose(pipeline, table.iloc[300:], embedding=None)
    planted(found)
    (advice, *_) = [r for r in recommend(found) if r.rule == rule]
    assert advice.message
    assert advice.parameter


@pytest.mark.parametrize(
    "kind",
    [
        CategoryErrorDisplay,
        CodebookUsageDisplay,
        RatioDecisionDisplay,
        RateDistortionDisplay,
        TrainingHistoryDisplay,
    ],
)
def test_diagnostics_draw_five_kinds_of_plots(kind, pipeline, table):
    rows = () if kind in (RatioDecisionDisplay, TrainingHistoryDisplay) else (table.iloc[300:],)
    display = kind.from_estimator(pipeline, *rows)
    axes = np.atleast_1d(display.plot().figure_.axes)
    assert any(ax.has_data() for ax in axes)


# --- wanted there, never built -------------------------------------------------------------------


def test_wanted_comparison_on_the_same_data(table, pipeline):
    uniform = Pipeline(pipeline.steps).set_params(ratios__strategy="uniform")
    other = HierarchicalVQVAE(
        AdaptiveRatioSelector("uniform", bits=32, characterizer=FeatureCharacterizer("prefix")),
        **UNTRAINED,
    ).fit(table.iloc[:300])
    found = compare({"balanced": pipeline, "uniform": other}, table.iloc[300:])
    assert set(found.to_frame().index) == {"balanced", "uniform"}
    assert uniform.get_params()["ratios__strategy"] == "uniform"


def test_wanted_ablation_of_strategies_at_equal_bits(table):
    strategies = ["uniform", "variance", "dimensionality", "information", "balanced"]
    characterizer = FeatureCharacterizer("prefix")
    fitted = {
        strategy: HierarchicalVQVAE(
            AdaptiveRatioSelector(strategy, bits=32, characterizer=characterizer),
            beam_width=2,
            **UNTRAINED,
        ).fit(table.iloc[:300])
        for strategy in strategies
    }
    found = compare(fitted, table.iloc[300:]).to_frame()  # refuses different rates
    assert sorted(found.index) == sorted(strategies)
    assert found["nmse"].nunique() == len(strategies)


def test_wanted_several_data_sets_in_one_run():
    rows = Results("quality", {"threads": 1}, None)
    quality.run(rows, ["diabetes", "wine"], ["kbins", "ours:uniform"], [16], [0])
    assert {(row["set"], row["method"]) for row in rows.rows} == {
        (name, method) for name in ("diabetes", "wine") for method in ("kbins", "ours:uniform")
    }
    assert all(0 < row["nmse"] < 1 for row in rows.rows)


def test_wanted_strategies_per_level(table):
    selector = AdaptiveRatioSelector(["uniform", "dimensionality", "variance"], bits=32)
    assert selector.fit(table).ratios_["cluster_1"][0] == 0.5


def test_wanted_ratios_learned_during_training(table):
    fitted = HierarchicalVQVAE(
        auto_compression_strategy="learned", bits=24, max_epochs=1, random_state=0
    ).fit(table)
    assert "moves" in fitted.history_[0]
    assert fitted.n_bits_ <= 24


def test_wanted_ratios_in_a_search_of_parameters(table, pipeline):
    search = GridSearchCV(
        Pipeline(pipeline.steps).set_params(vq__max_epochs=0, vq__early_stopping=False),
        {"ratios__strategy": ["uniform", "dimensionality"]},
        cv=2,
        scoring={"quality": quality_scorer, "utilization": utilization_scorer},
        refit="quality",
    ).fit(table)
    assert search.best_params_["ratios__strategy"] in ("uniform", "dimensionality")


def test_wanted_report_of_decisions(pipeline):
    decisions = pipeline["ratios"].decisions_
    assert {"variance", "dimensionality", "information", "correlation", "reason"} <= set(decisions)
    assert decisions["reason"].str.len().min() > 20


def test_wanted_best_strategy_per_family(table, pipeline):
    """What is best for temporal, summary or initial columns shows in one comparison."""
    per_family = {}
    for strategy in ("uniform", "rate_distortion"):
        fitted = HierarchicalVQVAE(
            AdaptiveRatioSelector(strategy, bits=32, characterizer=FeatureCharacterizer("prefix")),
            **UNTRAINED,
        ).fit(table.iloc[:300])
        per_family[strategy] = diagnose(fitted, table.iloc[300:], embedding="pca").categories
    assert all(set(c.index) == {"initial", "temporal", "spatial"} for c in per_family.values())
    assert per_family["rate_distortion"]["share"].sum() == pytest.approx(1)


def test_wanted_monitoring_of_utilization(pipeline):
    assert all(0 < record["utilization"] <= 1 for record in pipeline[-1].history_)
    assert all(0 < record["perplexity_share"] <= 1 for record in pipeline[-1].history_)
