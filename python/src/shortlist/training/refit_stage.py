"""The last step of a run: the two-tower learns the fresh events that were kept from it for the sake of the later stages.

Stacked models are usually fitted this way: later stages learn from scores of events that the first stage did not train on, as all events
are at serving, and then the first stage is fitted to everything. It continues from its weights, so that the geometry which the
preranker's heads read stays in place.
"""

from __future__ import annotations

import dataclasses

from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker
from shortlist.models.two_tower import TwoTower
from shortlist.training.batches import LogTensors, Rows
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import Cascade, TwoTowerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.two_tower_stage import TwoTowerStage


class RefitStage(TwoTowerStage):
    """Trains the two-tower alone, and is judged by the whole funnel; `ranker` None: by the preranker's order."""

    name = "refit"

    def __init__(
        self,
        model: TwoTower,
        preranker: Preranker,
        ranker: AnyRanker | None,
        log: LogTensors,
        train_end: Rows,
        validation: Rows,
        cross: CrossCounters,
        cascade: Cascade,
        config: TwoTowerTraining,
        seed: int,
    ) -> None:
        super().__init__(model.requires_grad_(True), log, train_end, validation, dataclasses.replace(config, window_warmup=()), seed)
        self.preranker, self.ranker, self.cross, self.cascade = preranker, ranker, cross, cascade

    def validate(self) -> dict[str, float]:
        evaluation = CascadeEvaluation(FrozenRetriever(self.model, self.log), self.cross, self.validation, self.cascade)
        metrics = evaluation.metrics(self.preranker, self.ranker)
        self.model.requires_grad_(True)  # the retriever froze it
        return metrics["preranker" if self.ranker is None else "cascade"]
