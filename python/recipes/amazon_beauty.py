"""Amazon Beauty (5-core, S3-Rec's file), leave-one-out, full ranking: short histories, many items, item attributes."""

from __future__ import annotations

from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import CandidateSampling, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining


def recipe() -> RunConfig:
    """One block is enough for nine events a user; more dropout, since most items have few events."""
    return RunConfig(
        name="amazon-beauty",
        data="amazon-beauty:../shared/data/amazon-beauty",
        fresh_share=0.05,
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(width=64, retrieval_width=64, layers=1, heads=1, dropout=0.3),
            optimisation=Optimisation(epochs=20, learning_rate=2e-3, patience=5),
            batch_events=4096,
            loss="full_softmax",
        ),
        preranker=PrerankerTraining(optimisation=Optimisation(epochs=3, learning_rate=1e-3)),
        ranker=RankerTraining(
            model=RankerConfig(width=64, layers=1, heads=2, dropout=0.2),
            optimisation=Optimisation(epochs=3, learning_rate=5e-4),
            sampling=CandidateSampling(positions=4, hard=24, pool=500, uniform=8),
        ),
    )
