"""SASRec as published (arXiv 1808.09781): binary cross-entropy, one negative per position. A check of the protocol, not a model to ship."""

from __future__ import annotations

from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import Optimisation, RunConfig, TwoTowerTraining, retriever_alone


def recipe() -> RunConfig:
    """The retriever alone. Published on ml-1m (full ranking): HR@10 0.2392, NDCG@10 0.1259."""
    return retriever_alone(
        name="published-sasrec",
        data="ml-1m:../shared/data/ml-1m",
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(
                width=50, retrieval_width=50, layers=2, heads=1, feed_forward_ratio=1, dropout=0.2, towers="tied", positions="learned"
            ),
            optimisation=Optimisation(epochs=200, learning_rate=1e-3, final_rate=1.0, warmup_steps=0, patience=20),
            batch_events=16384,
            loss="bce",
            own_negatives=1,
        ),
    )
