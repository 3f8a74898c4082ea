from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from shortlist.models.two_tower import TwoTowerConfig
from shortlist.testing.logs import random_log
from shortlist.training import mining
from shortlist.training.batches import LogTensors, training_sequences
from shortlist.training.mining import MinedPools, pools_of
from shortlist.training.scoring import FrozenRetriever, Stretches, stretches

SIZE = 7


class Ground:
    """An untrained retriever over a random log, and all users as one batch with a position before each event."""

    def __init__(self) -> None:
        log = random_log()
        tensors = LogTensors(log, torch.device("cpu"))
        torch.manual_seed(0)
        self.retriever = FrozenRetriever(TwoTowerConfig(width=8, retrieval_width=8, layers=1, dropout=0.0).build(log.schema), tensors)
        self.train_end = log.ptr[1:] - 1
        self.fresh_start = self.train_end - 2
        sequences = training_sequences(log, self.train_end)
        self.batch = stretches(tensors, sequences, np.arange(len(sequences)))
        offset = torch.arange(self.batch.index.shape[1])
        self.used = offset < self.batch.length.unsqueeze(-1)
        self.visible = torch.where(self.used, offset, 0)
        self.fresh = self.used & (
            self.batch.start.unsqueeze(-1) + offset >= torch.from_numpy(self.fresh_start)[self.batch.user].unsqueeze(-1)
        )

    def ask(self, pools: MinedPools, used: Tensor | None = None) -> tuple[Tensor, Tensor]:
        context = self.retriever.log.context_columns(self.batch.start.unsqueeze(-1) + self.visible)
        return pools(self.batch, self.visible, self.used if used is None else used, self.fresh, context)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


def test_pools_are_the_best_unseen_items(ground: Ground) -> None:
    log, retriever = ground.retriever.log, ground.retriever
    rows, holds = ground.ask(MinedPools(retriever, ground.fresh_start, ground.train_end, SIZE))
    _, states = retriever.encode(ground.batch)
    some = 0
    for user, position in ground.used.nonzero().tolist():
        at = int(ground.batch.start[user]) + position
        visible = torch.tensor([[position]])
        one = Stretches(*(x[user : user + 1] for x in (ground.batch.index, ground.batch.length, ground.batch.start, ground.batch.user)))
        query = retriever.queries(one, states[user : user + 1], visible, log.context_columns(torch.tensor([[at]])))
        scores = torch.mv(retriever.vectors, query[0, 0]).double()
        positive = int(log.log.item[at])
        own = float(scores[positive])
        scores[[positive, *log.log.item[int(ground.batch.start[user]) : at].tolist()]] = -torch.inf
        best = scores.topk(SIZE)
        assert rows[user, position].tolist() == best.indices.tolist()
        assert bool(holds[user, position]) == (own > float(best.values[-1]))
        some += bool(holds[user, position])
    assert 0 < some < int(ground.used.sum())


def test_fresh_positions_are_mined_once(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = MinedPools(ground.retriever, ground.fresh_start, ground.train_end, SIZE)
    mined: list[int] = []
    mine = MinedPools._mine

    def counted(self: MinedPools, batch: Stretches, visible: Tensor, chosen: Tensor, context: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        mined.append(int(chosen.sum()))
        return mine(self, batch, visible, chosen, context)

    monkeypatch.setattr(MinedPools, "_mine", counted)
    half = ground.used & (torch.rand(ground.used.shape) < 0.5)
    ground.ask(pools, half)
    again = ground.ask(pools)
    known = int((half & ground.fresh).sum())
    assert 0 < known < int(ground.fresh.sum())
    assert mined == [int(half.sum()), int(ground.used.sum()) - known]
    assert ground.ask(pools)[0].equal(again[0])
    assert mined[-1] == int((ground.used & ~ground.fresh).sum())
    anew = ground.ask(MinedPools(ground.retriever, ground.fresh_start, ground.train_end, SIZE))
    assert anew[0].equal(again[0])
    assert anew[1].equal(again[1])


def test_pools_that_do_not_fit_are_mined_anew(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ground.ask(MinedPools(ground.retriever, ground.fresh_start, ground.train_end, SIZE))
    monkeypatch.setattr(mining, "_MOST_BYTES", 0)
    pools = MinedPools(ground.retriever, ground.fresh_start, ground.train_end, SIZE)
    assert len(pools.rows) == 0
    for _ in range(2):
        for got, want in zip(ground.ask(pools), kept, strict=True):
            assert got.equal(want)


def test_pools_are_mined_under_autocast(ground: Ground) -> None:
    """As training on a GPU asks for them: queries in bfloat16, vectors not."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows, _ = ground.ask(MinedPools(ground.retriever, ground.fresh_start, ground.train_end, SIZE))
    exact, _ = ground.ask(MinedPools(ground.retriever, ground.fresh_start, ground.train_end, SIZE))
    shared = (rows[ground.used].unsqueeze(-1) == exact[ground.used].unsqueeze(-2)).any(dim=-1).float().mean()
    assert shared > 0.8


def test_a_pool_is_no_larger_than_the_catalog(ground: Ground) -> None:
    everything = len(ground.retriever.vectors)
    rows, _ = ground.ask(MinedPools(ground.retriever, ground.fresh_start, ground.train_end, 10_000))
    assert rows.shape[-1] == everything


def test_stages_share_the_pools_of_a_size(ground: Ground) -> None:
    first = pools_of(ground.retriever, ground.fresh_start, ground.train_end, SIZE)
    assert pools_of(ground.retriever, ground.fresh_start, ground.train_end, SIZE) is first
    assert pools_of(ground.retriever, ground.fresh_start, ground.train_end, SIZE + 1) is not first
