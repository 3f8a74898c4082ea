"""The ranker's stage: every kind trains, per-candidate kinds score as one pass would, and the place tower takes up position bias."""

from __future__ import annotations

import pytest
import torch

from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import KINDS, RankerConfig, RankerKind
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import ACTION, Column, Op, Schema
from shortlist.training import scoring
from shortlist.training.batches import LogTensors, fresh_start
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import (
    CandidateSampling,
    Cascade,
    Optimisation,
    PrerankerTraining,
    RankerTraining,
    RunConfig,
    TwoTowerTraining,
)
from shortlist.training.cross import CrossCounters
from shortlist.training.ranker_stage import DebiasedRanker, RankerStage
from shortlist.training.scoring import FrozenRetriever, encode_stretches, rank_logits, stretches
from shortlist.training.source import Source, load_source

torch.set_num_threads(1)

OPTIMISATION = Optimisation(epochs=1)
SAMPLING = CandidateSampling(positions=2, hard=4, pool=100, uniform=2)
CONFIG = RunConfig(
    name="tiny",
    data="marketplace:users=120,items=150,events=2500,logged_requests=400",
    split="time",
    fresh_share=0.3,
    two_tower=TwoTowerTraining(model=TwoTowerConfig(width=16, retrieval_width=16, layers=1), optimisation=OPTIMISATION),
    preranker=PrerankerTraining(optimisation=OPTIMISATION),
    ranker=RankerTraining(optimisation=OPTIMISATION, sampling=SAMPLING, old_positions=1, batch_events=512),
    cascade=Cascade(retrieve=60, prerank=30),
)


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(CONFIG)


def stage_of(source: Source, kind: RankerKind, config: RankerTraining = CONFIG.ranker) -> RankerStage:
    torch.manual_seed(0)
    log, tower = LogTensors(source.log, torch.device("cpu")), CONFIG.two_tower.model
    retriever = FrozenRetriever(tower.build(log.schema), log)
    preranker, ranker = PrerankerConfig().build(log.schema, tower), RankerConfig(kind=kind, width=16, dropout=0.0).build(log.schema)
    cross, fresh = CrossCounters(source.log, source.split), fresh_start(source.log, source.split.train_end, CONFIG.fresh_share)
    evaluation = CascadeEvaluation(retriever, cross, source.split.validation[:20], CONFIG.cascade)
    return RankerStage(ranker, preranker, retriever, cross, source.split, fresh, evaluation, config, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_its_first_batch(kind: RankerKind, source: Source) -> None:
    stage = stage_of(source, kind)
    optimizer = torch.optim.Adam(stage.model.parameters(), lr=5e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(1)  # the same lists in every step
        optimizer.zero_grad()
        loss = stage.loss(stage.batches(0)[0])["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert stage.model.place.weight.abs().sum() > 0  # pages train the places' bias
    stage.model.eval()
    assert 0 <= stage.validate()["ndcg@10"] <= 1


@pytest.mark.parametrize("kind", ["bst", "transact", "din"])
def test_list_by_list_equals_one_pass(kind: RankerKind, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients, with parts so small that there are several."""
    monkeypatch.setattr(scoring, "_PAIR_EVENTS", 300)
    stage = stage_of(source, kind)
    ranker = stage.model.ranker
    torch.nn.init.normal_(ranker.out.weight)
    users = stretches(stage.retriever.log, stage.sequences, stage.batches(0)[0])
    lists = stage.next_event(users, 1)
    found = []
    for one_pass in (False, True):
        ranker.fusion.amortized = one_pass
        ranker.zero_grad()
        keys, values = encode_stretches(ranker, stage.retriever, users)
        logits = rank_logits(ranker, stage.retriever, users, keys, values, lists, torch.zeros(lists.rows.shape))
        used = logits * lists.valid.unsqueeze(-1)
        used.square().sum().backward()
        found.append((used.detach(), {name: value.grad for name, value in ranker.named_parameters() if value.grad is not None}))
    (ours, our_gradients), (want, gradients) = found
    assert lists.valid.any(dim=2).sum() < lists.valid[..., 0].numel()  # some lists are not used
    torch.testing.assert_close(ours, want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(our_gradients, gradients, rtol=1e-3, atol=1e-4)


BIAS = torch.tensor([0.0, -0.4, -0.7, -0.9, -1.1, -1.2, -1.3, -1.4])


def test_the_place_tower_recovers_a_planted_position_bias() -> None:
    """And clicks by place alone would be far off, since the policy that made the pages shows appealing items first."""
    torch.manual_seed(0)
    item = Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple(map(str, range(30))), in_history=True)
    schema = Schema(item_id="int64", user=(), context=(), item=(item,), actions=("click",), tasks=("click",))
    pages, places, appeal = 2000, len(BIAS), torch.randn(30)
    rows = torch.rand(pages, 30).argsort(dim=1)[:, :places]
    rows = rows.gather(1, (appeal[rows] + torch.randn(rows.shape)).argsort(dim=1, descending=True))
    clicks = (torch.rand(rows.shape) < torch.sigmoid(appeal[rows] + BIAS)).float()
    model = DebiasedRanker(RankerConfig(kind="mean-pool", width=8, dropout=0.0).build(schema))
    history, length = {"id": torch.zeros(pages, 1, dtype=torch.int64), ACTION: torch.zeros(pages, 1, dtype=torch.int64)}, torch.zeros(pages)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-2)
    for step in range(80):
        optimizer.param_groups[0]["lr"] = 4e-2 * (1 - step / 80)
        optimizer.zero_grad()
        keys, values = model.ranker.encode_history(history, length, *model.ranker.empty_past(pages))
        token = model.ranker.item_tokens({"id": torch.arange(1, 31)})[rows]
        logits = model.ranker.score(keys, values, length, {}, {}, token, torch.zeros(*rows.shape, 0), torch.zeros(rows.shape))
        biased = logits + model.bias(torch.arange(places).expand(pages, -1))
        torch.nn.functional.binary_cross_entropy_with_logits(biased[..., 0], clicks).backward()
        optimizer.step()
    learned, naive = model.place.weight.detach()[:places, 0], torch.logit(clicks.mean(dim=0))
    error, naive_error = (((x - x.mean()) - (BIAS - BIAS.mean())).abs().max().item() for x in (learned, naive))
    assert error < 0.2
    assert naive_error > 0.5
