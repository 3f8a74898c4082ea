"""Stage 3 for the tree ranker: boosted trees on the lists that the neural rankers train on, one thread, seeded.

Trees start from what the preranker's score alone says (LightGBM's init_score), and validation chooses how many rounds to keep: none leaves
the preranker's order. Lists of fresh events only: elsewhere the score is that of an answer that the two-tower trained on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.dataset import Split
from shortlist.errors import DataError
from shortlist.models.preranker import Preranker
from shortlist.models.trees import TreeConfig, TreeRanker
from shortlist.training.affine import fit_affine
from shortlist.training.batches import Rows, bucketed, training_sequences
from shortlist.training.candidates import NextEventLists, ShownLists, has_pages
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import RankerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.logs import RunLog
from shortlist.training.loop import Progress
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches, encode_stretches, prerank_logits, stretches, user_at

Floats = npt.NDArray[np.float32]

_STEPS = 4  # numbers of rounds that validation compares, beside none


class TreeStage:
    name = "ranker"
    monitor = "ndcg@10"

    def __init__(
        self,
        model: TreeRanker,
        preranker: Preranker,
        retriever: FrozenRetriever,
        cross: CrossCounters,
        split: Split,
        fresh_start: Rows,
        evaluation: CascadeEvaluation,
        config: RankerTraining,
        seed: int,
    ) -> None:
        self.model, self.preranker, self.retriever, self.config, self.seed = model, preranker.eval(), retriever, config, seed
        self.evaluation = evaluation
        log = retriever.log
        self.sequences = training_sequences(log.log, split.train_end)
        self.next_event = NextEventLists(retriever, cross, split, fresh_start, config.sampling)
        self.shown = ShownLists(log, cross, split, fresh_start, config.sampling.positions) if has_pages(log.log, split) else None
        old = np.arange(len(log.log.item)) < np.repeat(fresh_start, np.diff(log.log.ptr))
        model.features.fit(log.items, torch.tensor(log.log.item[old]), torch.tensor(log.log.action[old]))

    def validate(self) -> dict[str, float]:
        return self.evaluation.metrics(self.preranker, self.model)["cascade"]

    def train(self, folder: Path) -> Progress:
        """Boost, then keep as many rounds as validate best. Raises DataError when the lists teach nothing."""
        begin = time.monotonic()
        torch.manual_seed(self.seed)
        sources = self._sources()
        boosters = [self._boost(task, sources, self.config.trees) for task in range(len(self.model.schema.tasks))]
        log = RunLog(folder / "logs", self.name)
        progress = Progress(step=sum(len(source.labels) for source in sources))
        best: list[str] = []
        try:
            for step in range(_STEPS + 1):
                rounds = self.config.trees.rounds * step // _STEPS
                texts = [booster.model_to_string(num_iteration=rounds) for booster in boosters] if rounds else []
                self.model.trees.set(texts)
                metrics = self.validate()
                log.write(rounds, {**metrics, "epoch": rounds}, show=True)
                progress.epochs.append({"rounds": rounds, **metrics})
                if metrics[self.monitor] > progress.best:
                    progress.best, progress.best_epoch, best = metrics[self.monitor], rounds, texts
        finally:
            log.close()
        self.model.trees.set(best)
        progress.epoch, progress.seconds = self.config.trees.rounds, time.monotonic() - begin
        return progress

    def _sources(self) -> list[TrainingRows]:
        """The rows of next-event lists, and those of logged pages where there are any."""
        mined, shown = [], []
        for batch in bucketed(self.sequences.length, self.config.batch_events, (self.seed, 3, 0)):
            users = stretches(self.retriever.log, self.sequences, batch)
            mined.append(self._rows(users, self.next_event(users)))
            if self.shown is not None and (pages := self.shown(users, fresh_only=True)) is not None:
                shown.append(self._rows(users, pages))
        sources = [TrainingRows.join(parts) for parts in (mined, shown) if parts]
        if not any(source.labels[:, 0].any() for source in sources):
            raise DataError(
                "the tree ranker has no positive candidate to train on",
                why="no fresh event was retrieved among the pool, and no fresh page has an outcome",
                fix="use more data, a larger fresh_share or a larger ranker.sampling.pool",
            )
        return sources

    @torch.no_grad()
    def _rows(self, users: Stretches, lists: Lists) -> TrainingRows:
        """Features, prerank scores and labels of the valid candidates that a fresh position has."""
        log, ranker = self.retriever.log, self.model
        count = lists.rows.shape[2]
        keys, _ = encode_stretches(ranker, self.retriever, users)
        rows, place = torch.unique(lists.rows, return_inverse=True)
        token = ranker.item_tokens(log.item_columns(rows))[place].flatten(1, 2)
        request = ranker.request(user_at(log, users, lists.visible), lists.context)
        spread = token.new_zeros(*token.shape[:2], 0) if request is None else request.repeat_interleave(count, dim=1)
        visible = lists.visible.repeat_interleave(count, dim=1)
        features = ranker.features(keys[:, 0, 0], visible, spread, token, lists.cross.flatten(1, 2))
        score = torch.matmul(prerank_logits(self.retriever, self.preranker, users, lists), self.preranker.task_weights)
        used = lists.valid & lists.fresh.unsqueeze(-1)
        arrays: tuple[Tensor, ...] = (features.view(*lists.rows.shape, -1)[used], score[used], lists.labels[used])
        return TrainingRows(*(array.float().cpu().numpy() for array in arrays))

    def _boost(self, task: int, sources: list[TrainingRows], config: TreeConfig) -> Any:
        """The booster of a task. Each source has its own base rate, which starts its rows; the last source's is the one that serves."""
        import lightgbm

        starts = []
        for source in sources:
            start = fit_affine(source.scores.astype(np.float64), source.labels[:, task].astype(np.float64))
            self.model.prerank_slope[task], self.model.prerank_intercept[task] = start.slope, start.intercept
            starts.append(start(source.scores.astype(np.float64)))
        rows = TrainingRows.join(sources)
        data = lightgbm.Dataset(
            rows.features,
            np.ascontiguousarray(rows.labels[:, task]),
            init_score=np.concatenate(starts),
            feature_name=self.model.features.names,
            free_raw_data=True,
        )
        parameters = {
            "objective": "binary",
            "num_leaves": config.leaves,
            "learning_rate": config.learning_rate,
            "min_data_in_leaf": config.least_in_leaf,
            "feature_fraction": config.feature_share,
            "use_missing": False,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "seed": self.seed,
            "verbose": -1,
        }
        return lightgbm.train(parameters, data, num_boost_round=config.rounds)


class TrainingRows:
    """Candidates as rows: features [n,F], the preranker's scores [n], labels [n,T]."""

    def __init__(self, features: Floats, scores: Floats, labels: Floats) -> None:
        self.features, self.scores, self.labels = features, scores, labels

    @classmethod
    def join(cls, parts: list[TrainingRows]) -> TrainingRows:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "scores", "labels")))
