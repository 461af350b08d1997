"""Training: batches, straight-through gradient, loss, the best weights, history."""

import copy
import math
import subprocess
import sys

import pytest
import torch

from adaptive_vq import _joint_tables, classical
from adaptive_vq._layout import layout_of
from adaptive_vq._optimizer import PlainAdam
from adaptive_vq.classical import CategorySpec, StartOptions
from adaptive_vq.modules import CodecModule
from adaptive_vq.training import (
    MOST_REGAINED,
    CodecLoss,
    Rows,
    TensorBatches,
    TrainingModule,
    TrainingOptions,
    train,
    valid_error,
)

FIT_WITHOUT_COMPILER = """
import sys
import numpy as np
from adaptive_vq import HierarchicalVQVAE
X = np.random.default_rng(0).normal(size=(120, 4))
vq = HierarchicalVQVAE(bits=6, max_epochs=1, random_state=0).fit(X)
print(len(vq.history_), "torch._dynamo" in sys.modules)
"""
COLUMNS = {"a": [0, 1, 2], "b": [3, 4, 5]}


def normal(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def rows():
    # Curved: a linear codec leaves something to learn.
    factors = normal(300, 2)[:, [0, 0, 0, 1, 1, 1]]
    table = factors + 0.05 * normal(300, 6, seed=1)
    table[:, [1, 4]] = table[:, [0, 3]] ** 2 - 1
    return Rows(table, torch.ones_like(table))


@pytest.fixture
def codec(rows):
    weight = torch.ones(len(rows))
    parts = [
        classical.fit_category(
            rows.table,
            CategorySpec(name, torch.tensor(columns), [[4], [4]], [2, 3]),
            weight,
            StartOptions(0),
            0.0,
        )
        for name, columns in COLUMNS.items()
    ]
    start = classical.Codec(6, 2, parts, _joint_tables.offset_of(parts, rows.table.mean(0)))
    _joint_tables.fit_tables(start, rows.table, None, weight, None, 8)
    torch.manual_seed(0)
    module = CodecModule(layout_of(start, 8, 8, 0.0), [4] * 4)
    module.start_from(start, [torch.ones(4)] * 4)
    return module


def options(**changed):
    usual = {
        "max_epochs": 3,
        "batch_size": 64,
        "lr": 1e-3,
        "commitment_weight": 0.25,
        "ema_decay": 0.99,
        "patience": 10,
        "beam": 4,
        "seed": 0,
    }
    return TrainingOptions(**{**usual, **changed})


def go_on(record, codec):
    return False


# --- batches -------------------------------------------------------------------------------------


def test_batches_hold_every_row_once(rows):
    batches = list(TensorBatches(rows, 64, torch.Generator().manual_seed(0)))
    assert [len(target) for _, target in batches] == [64, 64, 64, 64, 44]
    together = torch.cat([target for _, target in batches])
    assert torch.equal(together.sort(0).values, rows.table.sort(0).values)
    assert not torch.equal(together, rows.table)
    assert len(TensorBatches(rows, 64)) == 5


def test_rows_without_cells_are_left_out(rows):
    weight = rows.weight.clone()
    weight[[3, 7]] = 0.0
    weight[5, :5] = 0.0
    assert len(Rows(rows.table, weight).observed()) == 298
    assert rows.observed() is rows


# --- the gradient --------------------------------------------------------------------------------


def test_straight_through_gradient_of_the_reconstruction(codec, rows):
    """The gradient passes the codeword as if it were the latent."""
    module = TrainingModule(codec, 0.99).eval()
    for encoder in codec.encoders:
        encoder.gate.data.fill_(0.1)
    table = rows.table[:50]
    out, _, _ = module(table, torch.ones_like(table))
    codes = codec.quantize(table, 4, 50).codes
    codec.corrects.fill_(True)
    torch.testing.assert_close(out, codec.decode(codes, 2), atol=1e-5, rtol=1e-5)
    out.retain_grad()
    ((table - out) ** 2).sum().backward()
    encoder = codec.encoders[0]
    body = encoder.head(encoder.body(table[:, encoder.columns] - encoder.mean))
    expected = (out.grad[:, encoder.columns] @ encoder.basis * body).sum(0)
    torch.testing.assert_close(encoder.gate.grad, expected, atol=1e-4, rtol=1e-4)


def test_gradient_reaches_encoders_and_correction_not_codebooks(codec, rows):
    module = TrainingModule(codec, 0.99)
    loss = CodecLoss(0.25, 6.0)(module(rows.table, rows.weight), rows.table)
    loss.backward()
    assert float(codec.encoders[0].gate.grad.abs().sum()) > 0
    assert float(codec.correction[3].weight.grad.abs().sum()) > 0
    assert not list(codec.codebooks[0].parameters())


def test_codebooks_follow_in_training_only(codec, rows):
    module = TrainingModule(codec, 0.5)
    before = codec.codebooks[1].weight.clone()
    module.eval()(rows.table, rows.weight)
    assert torch.equal(codec.codebooks[1].weight, before)
    module.train()(rows.table, rows.weight)
    assert not torch.equal(codec.codebooks[1].weight, before)


# --- the loss ------------------------------------------------------------------------------------


def test_commitment_weight_scales_the_commitment_term_only(codec, rows):
    module = TrainingModule(codec, 0.99).eval()
    with torch.no_grad():
        output = module(rows.table, rows.weight)
    losses = [float(CodecLoss(w, 6.0)(output, rows.table)) for w in (0.0, 0.25, 0.5, 2.0)]
    found = codec.quantize(rows.table, 4, len(rows))
    distance = sum(
        float(((z.detach() - value) ** 2).sum())
        for z, value in zip(found.latents, found.values, strict=True)
    )
    assert losses[1] - losses[0] == pytest.approx(0.25 * distance / (300 * 6.0), rel=1e-4)
    assert losses[3] - losses[0] == pytest.approx(8 * (losses[1] - losses[0]), rel=1e-3)
    error = float(((rows.table - output[0]) ** 2).sum())
    assert losses[0] == pytest.approx(error / (300 * 6.0), rel=1e-5)


def test_commitment_pulls_latents_to_codewords(codec, rows):
    module = TrainingModule(codec, 0.99).eval()
    codec.encoders[0].gate.data.fill_(0.1)
    _, commitment, _ = module(rows.table, rows.weight)
    commitment.sum().backward()
    encoder, found = codec.encoders[0], codec.quantize(rows.table, 4, len(rows))
    body = encoder.head(encoder.body(rows.table[:, encoder.columns] - encoder.mean))
    expected = (2 * (found.latents[0] - found.values[0]) * body).sum(0)
    torch.testing.assert_close(encoder.gate.grad, expected, atol=1e-3, rtol=1e-3)


def test_missing_cells_have_no_weight_in_the_loss():
    target, out = torch.zeros(2, 3), torch.ones(2, 3)
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    commitment = torch.tensor([1.0, 100.0])  # of a row without any cell
    assert float(CodecLoss(1.0, 1.0)((out, commitment, weight), target)) == pytest.approx(1.0)


def test_loss_is_in_units_of_the_variance():
    target, out, weight = torch.zeros(5, 2), torch.ones(5, 2), torch.ones(5, 2)
    loss = CodecLoss(0.0, variance=4.0)((out, torch.zeros(5), weight), target)
    assert float(loss) == pytest.approx(2 / 4)


# --- training ------------------------------------------------------------------------------------


@pytest.fixture
def off(codec):
    """A start that is easy to improve on: it decodes everything too high."""
    codec.offsets.add_(0.3)
    return codec


def split(rows):
    return tuple(Rows(rows.table[a:b], rows.weight[a:b]) for a, b in ((0, 250), (250, 300)))


def test_training_improves_what_can_be_improved(off, rows):
    fit, valid = split(rows)
    codec = off
    before = valid_error(codec, valid, 4)[0]
    history, improved = train(codec, fit, valid, options(lr=0.01), go_on)
    assert improved
    assert valid_error(codec, valid, 4)[0] < 0.98 * before
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_best_weights_are_restored(off, rows):
    fit, valid = split(rows)
    codec = off
    states = []

    def remember(record, codec):
        states.append(copy.deepcopy(codec.state_dict()))
        return False

    history, _ = train(codec, fit, valid, options(lr=0.1, max_epochs=8), remember)
    best = [i for i, record in enumerate(history) if record["best"]]
    errors = [record["valid_nmse"] for record in history]
    assert best
    assert best[-1] == min(range(8), key=lambda i: errors[i]) < 7  # later epochs were worse
    for key, value in codec.state_dict().items():
        assert torch.equal(value, states[best[-1]][key])


def test_start_is_restored_where_training_only_harms(codec, rows):
    fit, valid = split(rows)
    before = copy.deepcopy(codec.state_dict())
    history, improved = train(codec, fit, valid, options(lr=0.01, patience=2), go_on)
    assert not improved
    assert len(history) == 2  # patience
    for key, value in codec.state_dict().items():
        assert torch.equal(value, before[key])


def test_patience_ends_at_once_where_too_much_is_lost(codec, rows):
    fit, valid = split(rows)
    history, improved = train(codec, fit, valid, options(lr=0.3, patience=2), go_on)
    lost = history[0]["valid_nmse"] / history[0]["start_nmse"]
    assert len(history) == 1
    assert not improved
    assert lost > 1 + MOST_REGAINED
    # More patience has room for as much more.
    patience = math.ceil((lost - 1) / MOST_REGAINED) + 2
    longer, _ = train(codec, fit, valid, options(lr=0.3, patience=patience), go_on)
    assert len(longer) > 1


def test_divergence_stops_and_is_undone(codec, rows):
    broken = Rows(rows.table.clone(), rows.weight)
    broken.table[0, 0] = math.nan
    before = copy.deepcopy(codec.state_dict())
    history, improved = train(codec, broken, None, options(), go_on)
    assert history[-1]["diverged"]
    assert len(history) == 1
    assert not improved
    assert torch.equal(codec.codebooks[0].weight, before["codebooks.0.weight"])


def test_without_rows_kept_aside_the_last_epoch_stays(codec, rows):
    history, improved = train(codec, rows, None, options(patience=1), go_on)
    assert improved
    assert [record["best"] for record in history] == [True] * 3
    assert history[0]["start_nmse"] is None


def test_callback_can_stop(codec, rows):
    history, _ = train(codec, rows, None, options(), lambda record, codec: record["epoch"] == 2)
    assert len(history) == 2


def test_history_describes_every_epoch(codec, rows):
    fit, valid = split(rows)
    history, _ = train(codec, fit, valid, options(max_epochs=1), go_on)
    record = history[0]
    assert set(record["valid_error_per_category"]) == {"a", "b"}
    assert 0 < record["utilization"] <= 1
    assert 0 < record["perplexity_share"] <= 1
    energy = float(((valid.table - codec.offset) ** 2).sum())
    per_column = ((valid.table - codec.offset) ** 2).sum(0)
    total = sum(
        error * float(per_column[COLUMNS[name]].sum())
        for name, error in record["valid_error_per_category"].items()
    )
    assert total / energy == pytest.approx(record["valid_nmse"], rel=1e-3)


def test_usage_counts_all_training_rows(codec, rows):
    module = TrainingModule(codec, 0.99)
    for inputs, _ in TensorBatches(rows, 64):
        module(**inputs)
    usage = module.take_usage()
    assert [int(hits.sum()) for hits in usage] == [300] * 4
    assert all(int(hits.sum()) == 0 for hits in module.take_usage())


def test_same_seed_same_weights(codec, rows):
    one, two = copy.deepcopy(codec), copy.deepcopy(codec)
    for module in (one, two):
        torch.manual_seed(3)
        train(module, rows, None, options(max_epochs=1), go_on)
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key])


def test_a_column_without_spread_is_not_corrected(off, rows):
    still = rows.table.clone()
    still[:, 1] = 1e-9 * torch.randn(len(still), generator=torch.Generator().manual_seed(0))
    train(off, Rows(still, rows.weight), None, options(max_epochs=3, lr=0.1), lambda *_: False)
    last = off.correction[-1]
    assert (last.weight[1] == 0).all()
    assert last.bias[1] == 0
    assert last.weight[0].abs().max() > 0


def test_rows_taken_keep_their_weights(rows):
    uneven = Rows(rows.table, normal(300, 6, seed=2))
    one = Rows(rows.table, torch.ones(1, 1).expand(300, 6))
    for chosen in (torch.tensor([7, 3]), rows.table[:, 0] > 0):
        for of in (uneven, one):
            assert torch.equal(of.take(chosen).table, of.table[chosen])
            assert torch.equal(of.take(chosen).weight, of.weight[chosen])
    assert one.take(torch.tensor([7, 3])).weight.stride() == (0, 0)


def test_weights_held_as_one_number_change_nothing(codec, rows):
    fitted = []
    for weight in (torch.ones(300, 6), torch.ones(1, 1).expand(300, 6)):
        module = copy.deepcopy(codec)
        history, _ = train(
            module, Rows(rows.table, weight), None, options(max_epochs=2), lambda *_: False
        )
        fitted.append((history, module.state_dict()))
    assert fitted[0][0] == fitted[1][0]
    for name, value in fitted[0][1].items():
        assert torch.equal(value, fitted[1][1][name]), name


def test_optimizer_takes_the_steps_of_adam():
    found = []
    for kind in (torch.optim.Adam, PlainAdam):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        optimizer = kind(layer.parameters(), lr=0.1)
        for step in range(6):
            optimizer.zero_grad()
            (layer(normal(20, 4, seed=step)) ** 2).sum().backward()
            optimizer.step()
            if step == 2:
                state = optimizer.state_dict()
                optimizer = kind(layer.parameters(), lr=9.0)
                optimizer.load_state_dict(state)
        found.append((layer.weight, layer.weight.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_fit_does_not_load_the_compiler():
    done = subprocess.run(
        [sys.executable, "-c", FIT_WITHOUT_COMPILER], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "False"]
