"""Objectives and network options: each has a gradient and does what its name says."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr

from adaptive_vq import HierarchicalVQVAE, _joint_tables, classical
from adaptive_vq._layout import layout_of
from adaptive_vq.classical import CategorySpec, StartOptions
from adaptive_vq.modules import ACTIVATIONS, CodecModule
from adaptive_vq.objectives import (
    Objectives,
    Step,
    overlap,
    partial_error,
    partial_targets,
    passed,
    row_terms,
    similarity,
    unevenness,
)
from adaptive_vq.training import CodecLoss, Rows, TrainingModule, TrainingOptions, train

COLUMNS = {"a": [0, 1, 2, 3], "b": [4, 5, 6]}


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def rows():
    factors = normal(400, 2)[:, [0, 0, 0, 0, 1, 1, 1]]
    table = factors + 0.4 * normal(400, 7, seed=1)
    table[:, [1, 5]] = table[:, [0, 4]] ** 2 - 1
    return Rows(table, torch.ones_like(table))


@pytest.fixture(scope="module")
def start(rows):
    return start_of(rows)


def start_of(rows):
    """A network that starts as the classical codec of the rows."""
    weight = torch.ones(len(rows))
    parts = [
        classical.fit_category(
            rows.table,
            CategorySpec(name, torch.tensor(columns), [[4], [8]], [2, 3]),
            weight,
            StartOptions(0),
            0.0,
        )
        for name, columns in COLUMNS.items()
    ]
    codec = classical.Codec(7, 2, parts, _joint_tables.offset_of(parts, rows.table.mean(0)))
    _joint_tables.fit_tables(codec, rows.table, None, weight, None, 8)
    torch.manual_seed(0)
    module = CodecModule(layout_of(codec, 16, 16, 0.0), [4, 8] * 2)
    module.start_from(codec, [torch.full((k,), 50.0 / k) for k in (4, 8, 4, 8)])
    return module


@pytest.fixture
def codec(start):
    return copy.deepcopy(start)


def trained(start, rows, epochs=10, lr=1e-2, **objectives):
    """A copy trained without rows kept aside: the last epoch stays."""
    codec = copy.deepcopy(start)
    asked = Objectives(**objectives)
    options = TrainingOptions(epochs, 100, lr, 0.25, 0.9, 99, 4, 0, objectives=asked)
    torch.manual_seed(0)
    history, _ = train(codec, rows, None, options, lambda *_: False)
    assert all(np.isfinite(record["train_loss"]) for record in history)
    return codec


@torch.no_grad()
def step_of(codec, rows):
    codec.eval()
    found = codec.quantize(rows.table, 4, len(rows))
    words = [book.weight for book in codec.codebooks]
    return Step(rows.table, rows.weight, found.latents, found.codes, words)


# --- each term is the figure it is named after ---------------------------------------------------


def test_partial_error_is_that_of_every_category_decoded_alone(codec, rows):
    rows = Rows(rows.table, (normal(400, 7, seed=5) > -1).float())
    for encoder in codec.encoders:
        encoder.shift += 0.3
    step = step_of(codec, rows)
    expected = torch.zeros(400)
    for g, encoder in enumerate(codec.encoders):
        targets = partial_targets(codec, step, g)
        for n_levels in (1, 2):
            value = torch.zeros(400, encoder.basis.shape[1])
            for j in range(2 * g, 2 * g + n_levels):
                book = codec.codebooks[j].weight
                value[:, : book.shape[1]] += book[step.codes[:, j]]
            own = (value + encoder.shift) @ encoder.basis.T + encoder.mean
            missed = rows.weight * 0
            left = rows.table[:, encoder.columns] - own
            torch.testing.assert_close(targets[n_levels - 1], left @ encoder.basis)
            missed[:, encoder.columns] = left**2
            expected += (missed * rows.weight).sum(1) / 2
    torch.testing.assert_close(partial_error(codec, step), expected, rtol=1e-4, atol=1e-5)


def test_rows_count_by_their_weights_where_codewords_are_trained(codec, rows):
    once, asked = step_of(codec, rows), Objectives(codebook_update="gradient")
    plain = row_terms(codec, once, asked)
    heavy = row_terms(codec, replace(once, weight=3.0 * once.weight), asked)
    assert float(plain.min()) > 0
    torch.testing.assert_close(heavy, 3.0 * plain)


def test_overlap_is_the_mean_squared_cosine():
    book = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    assert float(overlap([book])) == pytest.approx(1 / 3)  # one pair of three is parallel
    assert float(overlap([torch.eye(3), book])) == pytest.approx(1 / 6)
    assert float(overlap([torch.ones(2, 2)])) == pytest.approx(1.0)
    assert float(overlap([torch.ones(1, 4)])) == 0.0


def test_similarity_is_pearsons_between_distances(rows):
    latents = rows.table[:40, :2].numpy()
    expected = pearsonr(pdist(rows.table[:40].numpy()), pdist(latents)).statistic
    assert float(similarity(rows.table[:40], torch.from_numpy(latents))) == pytest.approx(
        expected, abs=1e-5
    )
    for few in (rows.table[:1], rows.table[:2]):
        assert float(similarity(few, few)) == 0.0
    assert float(similarity(rows.table[:9], torch.ones(9, 2))) == 0.0


def test_unevenness_is_0_for_even_use_and_near_1_for_a_single_codeword(codec, rows):
    step = step_of(codec, rows)
    for words in step.words:
        words.copy_(words[:1].expand_as(words))  # all alike: soft assignments are even
    assert float(unevenness(codec, step)) == pytest.approx(0.0, abs=1e-5)
    for words in step.words:
        words[1:] += 1e3  # one near, the others far from every row
    step = Step(step.table, step.weight, step.latents, torch.zeros_like(step.codes), step.words)
    assert float(unevenness(codec, step)) == pytest.approx(1.0, abs=1e-4)


def test_a_codebook_of_one_word_is_used_evenly(codec, rows):
    step = step_of(codec, rows)
    others = float(unevenness(codec, step))
    words = [*step.words]
    words[1], codes = words[1][:1], step.codes.clone()
    codes[:, 1] = 0
    one = Step(step.table, step.weight, step.latents, codes, words)
    assert 0.0 < float(unevenness(codec, one)) < 1.0
    assert others > 0.0


# --- the gradient --------------------------------------------------------------------------------


def test_both_gradients_pass_the_values():
    latents, values = normal(20, 3), normal(20, 3, seed=1)
    for gradient in ("straight_through", "rotation"):
        torch.testing.assert_close(passed(latents, values, gradient), values)
        values.requires_grad_()
        assert not passed(latents, values, gradient).requires_grad
        values.requires_grad_(False)
    none = torch.zeros(2, 3)
    assert torch.equal(passed(none, values[:2], "rotation"), values[:2])


def test_rotation_turns_and_scales_the_gradient():
    """The Jacobian is |q| / |z| times the rotation that maps z onto q."""
    z, q = normal(1, 3)[0], normal(1, 3, seed=1)[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda latents: passed(latents[None], q[None], "rotation")[0], z
    )
    torch.testing.assert_close(jacobian @ z, q)
    turn = jacobian * z.norm() / q.norm()
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), atol=1e-5, rtol=1e-5)
    assert float(torch.linalg.det(turn)) == pytest.approx(1.0, abs=1e-5)
    aside = torch.linalg.cross(z, q)
    torch.testing.assert_close(turn @ aside, aside)  # a rotation in the plane of z and q
    plain = torch.autograd.functional.jacobian(
        lambda latents: passed(latents[None], q[None], "straight_through")[0], z
    )
    torch.testing.assert_close(plain, torch.eye(3))


TERMS = {
    "partial_weight": "gradient",
    "topographic_weight": "ema",
    "perplexity_weight": "ema",
    "orthogonality_weight": "gradient",
    "codebook_weight": "gradient",
}


def _gradients(codec, rows, **objectives):
    """Gradients of the loss for the gates of the encoders and for the codewords."""
    module = TrainingModule(copy.deepcopy(codec), 0.9, Objectives(**objectives))
    for encoder in module.codec.encoders:
        encoder.gate.data.fill_(0.1)
    CodecLoss(0.25, 7.0)(module(rows.table, rows.weight), rows.table).backward()
    gates = torch.cat([encoder.gate.grad for encoder in module.codec.encoders])
    return gates, [word.grad for word in module.words]


@pytest.mark.parametrize(("term", "update"), TERMS.items())
def test_every_term_has_a_gradient_in_proportion_to_its_weight(codec, rows, term, update):
    found = {
        weight: _gradients(codec, rows, codebook_update=update, **{term: weight})
        for weight in (0.0, 1.0, 2.0)
    }
    pairs = {
        weight: torch.cat([g, *[w.flatten() for w in ws]]) for weight, (g, ws) in found.items()
    }
    once, twice = pairs[1.0] - pairs[0.0], pairs[2.0] - pairs[0.0]
    assert float(once.norm()) > 1e-4
    torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=1e-3)


def test_codewords_have_a_gradient_only_where_they_are_trained(codec, rows):
    assert _gradients(codec, rows)[1] == []
    words = _gradients(codec, rows, codebook_update="gradient")[1]
    assert len(words) == 4
    assert all(float(gradient.abs().sum()) > 0 for gradient in words)


# --- training with a term changes the figure it is named after -----------------------------------


def test_defaults_train_as_before_the_objectives(start, rows):
    one, two = trained(start, rows, 2), trained(start, rows, 2, codebook_weight=1.0)
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_partial_weight_improves_categories_decoded_alone(start, rows, update):
    plain, asked = (
        trained(
            start,
            rows,
            lr=2e-3 if update == "ema" else 3e-3,
            partial_weight=w,
            codebook_update=update,
        )
        for w in (0.0, 10.0)
    )
    errors = [float(partial_error(c, step_of(c, rows)).sum()) for c in (plain, asked)]
    assert errors[1] < 0.99 * errors[0]


def test_orthogonality_weight_makes_codewords_more_orthogonal(start, rows):
    plain, asked = (
        trained(start, rows, orthogonality_weight=w, codebook_update="gradient") for w in (0.0, 1.0)
    )
    found = [float(overlap([b.weight for b in c.codebooks])) for c in (plain, asked)]
    assert found[1] < 0.9 * found[0]


def test_topographic_weight_raises_topographic_similarity():
    noise = Rows(normal(400, 7, seed=3) * torch.tensor([3.0, 2, 1, 1, 3, 1, 1]), torch.ones(400, 7))
    plain, asked = (trained(start_of(noise), noise, topographic_weight=w) for w in (0.0, 10.0))
    found = [
        float(similarity(noise.table, c.embed(c.encode(noise.table, 4)))) for c in (plain, asked)
    ]
    assert found[1] > found[0] + 0.005


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_perplexity_weight_makes_use_more_even(start, rows, update):
    plain, asked = (
        trained(start, rows, perplexity_weight=w, codebook_update=update) for w in (0.0, 3.0)
    )
    found = [float(unevenness(c, step_of(c, rows))) for c in (plain, asked)]
    assert found[1] < 0.92 * found[0]


def test_trained_codebooks_move_by_the_optimizer_and_stay_consistent(start, rows):
    still = trained(start, rows, 1, lr=1e-12, codebook_update="gradient")
    for before, after in zip(start.codebooks, still.codebooks, strict=True):
        torch.testing.assert_close(before.weight, after.weight)
    moved = trained(start, rows, 1, codebook_update="gradient")
    for before, after in zip(start.codebooks, moved.codebooks, strict=True):
        assert not torch.equal(before.weight, after.weight)
        torch.testing.assert_close(after.total, after.weight * after.count[:, None])


def test_rotation_trains_other_weights(start, rows):
    one, two = (trained(start, rows, 2, gradient=g) for g in ("straight_through", "rotation"))
    assert not torch.equal(one.encoders[0].gate, two.encoders[0].gate)


# --- through the estimator -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    factors = np.repeat(rng.normal(size=(200, 2)), 4, axis=1)
    factors[:, [1, 5]] **= 2  # what training learns and lines can not say
    return factors + 0.3 * rng.normal(size=(200, 8)) + 5.0


def vq(**parameters):
    quick = {
        "auto_compression_strategy": "balanced",
        "bits": 12,  # codebooks of 16 at most: larger ones would have to prove themselves first
        "max_epochs": 2,
        "lr": 0.01,
        "group_hidden_dim": 8,
        "group_embedding_dim": 8,
        "random_state": 0,
    }
    return HierarchicalVQVAE(**{**quick, **parameters})


GRADIENT = {"codebook_update": "gradient"}


@pytest.fixture(scope="module")
def compared(X):
    """Codecs that the others are compared with, by how codebooks are trained; not to be changed."""
    return {update: vq(codebook_update=update).fit(X) for update in ("ema", "gradient")}


@pytest.mark.parametrize(
    "parameters",
    [
        {"partial_weight": 1.0},
        {"topographic_weight": 1.0},
        {"perplexity_weight": 1.0},
        {"gradient": "rotation"},
        {"activation": "relu"},
        GRADIENT,
        {**GRADIENT, "orthogonality_weight": 1.0},
        {**GRADIENT, "codebook_weight": 4.0},
    ],
    ids=lambda p: list(p)[-1],
)
def test_parameter_reaches_the_training_and_never_harms(X, compared, parameters):
    base = compared[parameters["codebook_update"] if len(parameters) > 1 else "ema"]
    asked = vq(**parameters).fit(X)
    losses = [[record["train_loss"] for record in e.history_] for e in (base, asked)]
    assert losses[0] != losses[1]
    best = [r["valid_nmse"] for r in asked.history_ if r["best"]]
    assert asked.n_iter_ == 0 or best[-1] < asked.history_[0]["start_nmse"]
    assert asked.score(X) > 0.8


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_is_the_networks(X, activation):
    from adaptive_vq.estimation import module_of

    fitted = vq(activation=activation).fit(X)
    module = module_of(fitted)
    kinds = {type(part) for part in module.modules()} & set(ACTIVATIONS.values())
    assert kinds == {ACTIVATIONS[activation]}


def test_activations_are_those_that_may_be_asked_for():
    options = HierarchicalVQVAE._parameter_constraints["activation"][0].options
    assert options == set(ACTIVATIONS)


def test_warm_start_with_another_activation_starts_anew(X):
    fitted = vq(warm_start=True).fit(X)
    again = fitted.set_params(activation="tanh").fit(X)
    fresh = vq(activation="tanh").fit(X)
    assert again._state.keys() == fresh._state.keys()
    assert all(np.array_equal(again._state[k], v) for k, v in fresh._state.items())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"orthogonality_weight": 0.1}, r"orthogonality_weight=0\.1 has no effect.*'gradient'"),
        ({"codebook_weight": 2.0}, r"codebook_weight=2\.0 has no effect.*'gradient'"),
        ({**GRADIENT, "ema_decay": 0.9}, r"ema_decay=0\.9 has no effect.*'ema'"),
        ({"partial_weight": -1.0}, "'partial_weight'"),
        ({"topographic_weight": -1.0}, "'topographic_weight'"),
        ({"perplexity_weight": -1.0}, "'perplexity_weight'"),
        ({**GRADIENT, "orthogonality_weight": -1.0}, "'orthogonality_weight'"),
        ({**GRADIENT, "codebook_weight": -1.0}, "'codebook_weight'"),
        ({"gradient": "rotate"}, "'gradient'"),
        ({"codebook_update": "adam"}, "'codebook_update'"),
        ({"activation": "cube"}, "'activation'"),
        ({"min_rows_per_codeword": 0.5}, "'min_rows_per_codeword'"),
        ({"min_rows_per_codeword": 101}, r"no codebook of two codewords with 200.*at most 100"),
        (
            {"min_rows_per_codeword": 50, "codebook_sizes": 8, "bits": 64},
            "asks for 8 codewords, min_rows_per_codeword allows 4",
        ),
    ],
)
def test_bad_values_are_named(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        vq(**parameters).fit(X)


@pytest.mark.parametrize("strategy", ["balanced", "learned"])
def test_min_rows_per_codeword_bounds_every_codebook(X, strategy):
    free = vq(auto_compression_strategy=strategy, bits=14).fit(X)
    bound = vq(auto_compression_strategy=strategy, bits=14, min_rows_per_codeword=30).fit(X)
    assert max(len(book) for book in free.codebooks_.values()) > 200 / 30
    assert max(len(book) for book in bound.codebooks_.values()) <= 200 / 30
    # The bits are not lost: they are in more codebooks.
    assert len(bound.codebooks_) > len(free.codebooks_)
    assert free.n_bits_ - 3 <= bound.n_bits_ <= 14


def test_own_encoder_is_trained_with_the_rest_and_refitted_from_what_was_given(X):
    """Both fits, on the rows to fit on and on all rows, start from the module as given."""
    body = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh())
    given = copy.deepcopy(body.state_dict())
    fitted = vq(encoders={"cluster_1": body}, lr=0.02, early_stopping=False).fit(X)
    assert fitted.n_iter_ == 2
    for key, value in given.items():
        assert torch.equal(body.state_dict()[key], value)
        own = fitted._state[f"encoders.0.body.{key}"]
        assert not np.array_equal(own, value.numpy())
    assert (fitted._state["encoders.0.gate"] != 0).all()
