"""MovieLens-1M, leave-one-out, full ranking: the run behind docs/reports/ml-1m.md."""

from __future__ import annotations

from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import CandidateSampling, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining


def recipe() -> RunConfig:
    """HSTU knows how many events lie between two; its time bias stays off, since this file has no times."""
    return RunConfig(
        name="ml-1m",
        data="ml-1m:../shared/data/ml-1m",
        fresh_share=0.03,
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(encoder="hstu", width=64, retrieval_width=64, layers=3, heads=1, dropout=0.2),
            optimisation=Optimisation(epochs=30, learning_rate=2e-3, patience=5),
            batch_events=4096,
            loss="full_softmax",
        ),
        preranker=PrerankerTraining(optimisation=Optimisation(epochs=2, learning_rate=1e-3)),
        ranker=RankerTraining(
            model=RankerConfig(width=64, layers=2, heads=2, dropout=0.1),
            optimisation=Optimisation(epochs=2, learning_rate=5e-4),
            sampling=CandidateSampling(positions=8, hard=24, pool=500, uniform=8),
            old_positions=0,
        ),
    )
