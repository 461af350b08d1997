"""Training on two processes: one codebook, and that of one process on the union of their rows."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from adaptive_vq import HierarchicalVQVAE
from adaptive_vq._codebook import Codebook
from adaptive_vq._distributed import mean, own_share, worst_rows
from adaptive_vq.estimation import module_of
from adaptive_vq.training import Rows, TrainingOptions, train

RANKS = 2
SIZE = 4


def table():
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(161, 2)), 3, axis=1) + 0.3 * rng.normal(size=(161, 6))


def trained():
    """State after two epochs, without dropout; the last batch is of one row."""
    X = table()
    vq = HierarchicalVQVAE(
        [0.5, 1.0], bits=12, max_epochs=0, dropout=0.0, beam_width=2, early_stopping=False
    ).fit(X)
    Z, seen = vq._codec_rows(X)
    rows = Rows(torch.from_numpy(Z), torch.from_numpy(seen.astype(np.float32)))
    codec = module_of(vq)
    options = TrainingOptions(2, 32, 1e-3, 0.25, 0.9, 5, 2, 0)
    history, _ = train(codec, rows, Rows(rows.table[:40], rows.weight[:40]), options, lambda *_: 0)
    return codec.state_dict(), history


def revived():
    """A codebook of eight with two codewords in use, after a step that revives the others."""
    book = Codebook(2 * SIZE, 2)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3 * SIZE, 2, generator=generator)
    book.start(torch.zeros(2 * SIZE, 2), torch.tensor([1.0, 1.0] + [0.0] * (2 * SIZE - 2)))
    codes = (rows[:, 0] > 0).long()
    mine = own_share(torch.arange(len(rows)))
    book.update(rows[mine], codes[mine], torch.ones(len(mine)), 0.5)
    return book.state_dict()


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    try:
        state, history = trained()
        loss = mean([torch.tensor(float(rank)), torch.tensor(4.0)], [1 + rank, 1])
        checkpoint = ""
        try:
            HierarchicalVQVAE(checkpoint=f"{folder}/{rank}").fit(table())
        except ValueError as error:
            checkpoint = str(error)
        found = {"state": state, "history": history, "loss": loss, "checkpoint": checkpoint}
        torch.save({**found, "revived": revived()}, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, (str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.fixture(scope="module")
def alone():
    """One process; the last batch, of one row for two ranks, is one that they leave out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("adaptive_vq._distributed.own_share", lambda rows: rows)
            patch.setattr("adaptive_vq.training.TensorBatches.__iter__", _without_the_last)
            return trained()
    finally:
        torch.set_num_threads(threads)


def _without_the_last(batches):
    order = torch.randperm(len(batches.dataset), generator=batches.generator)
    for chosen in order[: len(order) // 32 * 32].split(32):
        rows, weight = batches.dataset.table[chosen], batches.dataset.weight[chosen]
        yield {"table": rows, "weight": weight}, rows


def test_ranks_end_with_the_same_bits(ranks):
    one, other = (rank["state"] for rank in ranks)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert ranks[0]["history"] == ranks[1]["history"]


def test_they_learn_what_one_process_learns_from_the_union(ranks, alone):
    state, history = alone
    start = torch.cat([b.flatten() for n, b in state.items() if n.endswith("gate")])
    assert float(start.abs().max()) > 0  # something was learned
    for name, values in state.items():
        torch.testing.assert_close(ranks[0]["state"][name], values, rtol=1e-5, atol=1e-5)
    for theirs, own in zip(ranks[0]["history"], history, strict=True):
        for figure in ("train_loss", "valid_nmse", "utilization", "perplexity_share"):
            assert theirs[figure] == pytest.approx(own[figure], abs=1e-5)


def test_dead_codewords_move_to_the_worst_rows_of_any_rank(ranks):
    expected = revived()
    for rank in ranks:
        for name in ("weight", "count", "total"):
            torch.testing.assert_close(rank["revived"][name], expected[name])
    assert (expected["count"] > 0).all()


def test_losses_are_averaged_over_all_rows(ranks):
    assert [rank["loss"] for rank in ranks] == [pytest.approx((0 + 4 + 2 * 1 + 4) / 5)] * 2


def test_a_checkpoint_is_for_one_process(ranks):
    assert all("checkpoint=... is for one process" in rank["checkpoint"] for rank in ranks)


def test_alone_nothing_changes():
    rows, error = torch.eye(3), torch.tensor([1.0, 3.0, 2.0])
    torch.testing.assert_close(worst_rows(rows, error, 2), rows[[1, 2]])
    assert own_share(torch.arange(3)).tolist() == [0, 1, 2]


def test_more_processes_than_rows_of_a_batch_are_refused(monkeypatch):
    monkeypatch.setattr("adaptive_vq._distributed.n_ranks", lambda: 3)
    with pytest.raises(ValueError, match=r"batch_size=2 .*3 train together.* at least 3"):
        HierarchicalVQVAE(bits=8, batch_size=2).fit(table())
