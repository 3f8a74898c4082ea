"""The demo: a small synthetic marketplace, all three models in a minute on two CPU cores."""

from __future__ import annotations

from shortlist.models.ranker import RankerConfig
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


def recipe() -> RunConfig:
    """Trains on generated data of 2,000 users and 1,500 items; needs no files."""
    return RunConfig(
        name="marketplace",
        data="marketplace:users=2000,items=1500,events=60000",
        split="time",
        fresh_share=0.1,
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(width=64, retrieval_width=64, layers=2, heads=1, dropout=0.1),
            optimisation=Optimisation(epochs=10, learning_rate=2e-3, warmup_steps=20),
            batch_events=2048,
        ),
        preranker=PrerankerTraining(optimisation=Optimisation(epochs=4, learning_rate=2e-3, warmup_steps=10), batch_events=4096),
        ranker=RankerTraining(
            model=RankerConfig(width=64, layers=2, heads=2, dropout=0.1),
            optimisation=Optimisation(epochs=6, learning_rate=1e-3, warmup_steps=10),
            sampling=CandidateSampling(positions=4, hard=16, pool=300, uniform=8),
            batch_events=4096,
        ),
        cascade=Cascade(retrieve=300, prerank=100),
    )
