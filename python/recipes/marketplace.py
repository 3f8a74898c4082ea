"""A large synthetic marketplace: 50,000 items and 2 million events, three models in half an hour of two CPU cores."""

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
    """Each stage has its share of the half hour: where an epoch does not fit any more it is cut, and the best weights are kept."""
    return RunConfig(
        name="marketplace-2m",
        data="marketplace:users=100000,items=50000,events=2000000",
        split="time",
        fresh_share=0.05,
        validation_targets=4000,
        final_targets=20_000,
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(width=64, retrieval_width=64, layers=2, heads=1, dropout=0.1),
            optimisation=Optimisation(epochs=8, learning_rate=2e-3, max_minutes=14),
            batch_events=8192,
            uniform_negatives=1024,
        ),
        preranker=PrerankerTraining(
            optimisation=Optimisation(epochs=4, learning_rate=2e-3, max_minutes=4),
            sampling=CandidateSampling(positions=2, hard=24, pool=500, uniform=8),
        ),
        ranker=RankerTraining(
            model=RankerConfig(width=64, layers=2, heads=2, dropout=0.1),
            optimisation=Optimisation(epochs=4, learning_rate=1e-3, max_minutes=11),
            sampling=CandidateSampling(positions=2, hard=16, pool=500, uniform=8),
            old_positions=0,
        ),
        cascade=Cascade(retrieve=500, prerank=200),
    )
