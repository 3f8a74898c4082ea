"""MovieLens-100K, leave-one-out, full ranking: a small real data set for quick experiments."""

from __future__ import annotations

from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import CandidateSampling, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining


def recipe() -> RunConfig:
    """A few minutes on two CPU cores."""
    return RunConfig(
        name="ml-100k",
        data="ml-100k:../shared/data/ml-100k",
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(width=64, retrieval_width=64, layers=2, heads=1, dropout=0.1),
            optimisation=Optimisation(epochs=16, learning_rate=1e-3),
        ),
        preranker=PrerankerTraining(optimisation=Optimisation(epochs=2, learning_rate=1e-3)),
        ranker=RankerTraining(
            model=RankerConfig(width=64, layers=2, heads=2, dropout=0.1),
            optimisation=Optimisation(epochs=5, learning_rate=1e-3),
            sampling=CandidateSampling(positions=8, hard=24, pool=200, uniform=8),
        ),
    )
