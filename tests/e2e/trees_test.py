"""Boosted trees through the whole product: trained, released, proved by shortlistd and ranked with, in the graphs of any ranker."""

from __future__ import annotations

from pathlib import Path

import torch

from harness import Server
from shortlist.client import AdminClient, Client, History
from shortlist.export.from_run import ReleaseConfig, plan_from_run
from shortlist.export.release import export_release
from shortlist.models.ranker import RankerConfig
from shortlist.models.trees import TreeConfig, TreeRanker
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import (
    CandidateSampling,
    Cascade,
    Optimisation,
    PrerankerTraining,
    RankerTraining,
    RunConfig,
    TwoTowerTraining,
)
from shortlist.training.run import load_run, train_config
from shortlist.training.source import load_source

torch.set_num_threads(1)

ONE_EPOCH = Optimisation(epochs=1, learning_rate=3e-3, warmup_steps=2)
CONFIG = RunConfig(
    name="trees",
    data="marketplace:users=150,items=200,events=3000,logged_requests=600",
    split="time",
    fresh_share=0.3,
    threads=1,
    two_tower=TwoTowerTraining(model=TwoTowerConfig(width=16, retrieval_width=16, layers=1), optimisation=ONE_EPOCH, batch_events=512),
    preranker=PrerankerTraining(optimisation=ONE_EPOCH),
    ranker=RankerTraining(
        model=RankerConfig(kind="trees"),
        optimisation=ONE_EPOCH,
        sampling=CandidateSampling(positions=8, hard=8, pool=100, uniform=4),
        trees=TreeConfig(rounds=20, leaves=7, least_in_leaf=20),
    ),
    cascade=Cascade(retrieve=100, prerank=40),
)
ANY_QUALITY = [
    f"{model} beats {other}" for model, other in (("two_tower", "popularity"), ("two_tower", "cooccurrence"), ("cascade", "two_tower"))
]


def test_trees_are_trained_released_proved_and_ranked_with(binaries: Path, tmp_path: Path) -> None:
    source = load_source(CONFIG)
    folder = train_config(CONFIG, source, tmp_path / "runs")
    run = load_run(folder)
    ranker = run.models.ranker
    assert isinstance(ranker, TreeRanker)
    rounds = run.record["stages"]["ranker"]["best_epoch"]
    assert rounds, "validation kept no tree, so that the release would prove nothing of them"
    assert [booster.num_trees() for booster in ranker.trees.boosters] == [rounds] * 3
    assert [epoch["rounds"] for epoch in run.record["stages"]["ranker"]["epochs"]] == [0, 5, 10, 15, 20]
    again = load_run(train_config(CONFIG, source, tmp_path / "again"))
    assert torch.equal(again.models.ranker.state_dict()["trees.text"], ranker.state_dict()["trees.text"])

    plan = plan_from_run(run, source, ReleaseConfig(golden_cases=32, warmup_requests=16))
    release = export_release(plan, tmp_path / "models", override=ANY_QUALITY)
    with Server(release.parent, tmp_path / "server") as server:
        with AdminClient(server.admin) as admin:
            test = admin.self_test()
        assert test.passed, test.messages
        assert test.cases >= 32
        items = source.log.item_ids.tolist()
        with Client(server.data) as client:
            answer = client.rank(history=History(items=items[:5]), candidates=items[:50], limit=10)
    assert len(answer.items) == 10
