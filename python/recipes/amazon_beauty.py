"""Amazon Beauty (5-core, S3-Rec's file), leave-one-out, full ranking: short histories, many items, item attributes."""

from __future__ import annotations

from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import CandidateSampling, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining


def recipe() -> RunConfig:
    """One block is enough for nine events a user. It overfits soon: dropout is high, and both fits end in a mean of epochs."""
    return RunConfig(
        name="amazon-beauty",
        data="amazon-beauty:../shared/data/amazon-beauty",
        fresh_share=0.05,
        validation_targets=8000,
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(width=128, retrieval_width=128, layers=1, heads=1, dropout=0.4),
            optimisation=Optimisation(epochs=11, learning_rate=1e-3, patience=5, average_epochs=4),
            batch_events=2048,
            loss="full_softmax",
        ),
        preranker=PrerankerTraining(optimisation=Optimisation(epochs=3, learning_rate=1e-3)),
        ranker=RankerTraining(
            model=RankerConfig(width=64, layers=1, heads=2, dropout=0.2),
            optimisation=Optimisation(epochs=1, learning_rate=5e-4),
            sampling=CandidateSampling(positions=4, hard=24, pool=500, uniform=8),
            pretrained_items=False,
        ),
        refit=Optimisation(epochs=10, learning_rate=8e-4, warmup_steps=10, patience=10, average_epochs=4),
    )
