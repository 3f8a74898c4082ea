"""SASRec with the cross-entropy over the whole catalog (arXiv 2309.07602's SASRec+). A check of the protocol, not a model to ship."""

from __future__ import annotations

from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import Optimisation, RunConfig, TwoTowerTraining, retriever_alone


def recipe() -> RunConfig:
    """The retriever alone. Published on ml-1m (full ranking): HR@10 0.3152, NDCG@10 0.1821."""
    return retriever_alone(
        name="published-sasrec-full",
        data="ml-1m:../shared/data/ml-1m",
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(width=64, retrieval_width=64, layers=2, heads=1, dropout=0.1, towers="tied", positions="learned"),
            optimisation=Optimisation(epochs=60, learning_rate=1e-3, final_rate=1.0, warmup_steps=0, patience=10),
            batch_events=16384,
            loss="full_softmax",
        ),
    )
