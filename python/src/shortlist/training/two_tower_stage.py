"""Stage 1: the two-tower learns the next event at every position of every history at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shortlist.errors import ConfigError
from shortlist.losses.sampled_softmax import draw_negatives, sampled_softmax
from shortlist.models.two_tower import TwoTower, logit_scale
from shortlist.training.batches import LogTensors, Rows, bucketed, training_sequences
from shortlist.training.config import TwoTowerTraining
from shortlist.training.retrieval import rank_metrics, retrieval_ranks


class TwoTowerStage:
    name = "two_tower"
    monitor = "ndcg@10"

    def __init__(self, model: TwoTower, log: LogTensors, train_end: Rows, validation: Rows, config: TwoTowerTraining, seed: int) -> None:
        self.model, self.log, self.config, self.seed = model, log, config, seed
        self.validation = validation
        self.sequences = training_sequences(log.log, train_end)
        trained = np.arange(len(log.log.item)) < np.repeat(train_end, np.diff(log.log.ptr))
        counts = np.bincount(log.log.item[trained], minlength=log.item_count).astype(np.float32)
        self.popularity = torch.from_numpy(counts / counts.sum()).to(log.device)
        weights = config.action_weights or (1.0,) * len(log.schema.actions)
        if len(weights) != len(log.schema.actions):
            raise ConfigError(
                f"two_tower.action_weights has {len(weights)} values for {len(log.schema.actions)} actions",
                fix=f"give one weight for each of {', '.join(log.schema.actions)}, or none",
            )
        self.action_weights = torch.tensor((0.0, *weights), device=log.device)

    def batches(self, epoch: int) -> Sequence[Rows]:
        return bucketed(self.sequences.length, self.config.batch_events, (self.seed, 1, epoch))

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        log, model, sequences = self.log, self.model, self.sequences
        start, length = (torch.from_numpy(x[batch]).to(log.device) for x in (sequences.start, sequences.length))
        target, valid = log.event_index(start, length, int(sequences.length[batch].max()))  # state i predicts event i
        # A stretch that begins in the middle of a life must not teach that its first event follows an empty history.
        valid[:, 0] &= torch.from_numpy(sequences.whole[batch]).to(log.device)
        inputs, _ = log.event_index(start, length - 1, target.shape[1] - 1)
        states = model.states(log.history(inputs), length - 1)[valid]  # [S,D]: no further work on padding
        event = target[valid]
        query = model.query_vector(states, log.user_columns(log.event_user[event]), log.context_columns(event))
        query = query * logit_scale(model.config.retrieval_width)
        positive = log.rows(event)
        negative, expected = draw_negatives(
            positive, log.item_count, self.config.in_batch_negatives, self.config.uniform_negatives, self.popularity
        )
        rows, place = torch.unique(torch.cat((positive, negative)), return_inverse=True)
        vectors = model.item_vectors(log.item_columns(rows))[place]
        losses = sampled_softmax(query, vectors[: len(positive)], vectors[len(positive) :], expected, positive, negative)
        weight = self.action_weights[log.actions(event)]
        return {"loss": (losses * weight).sum() / weight.sum().clamp(min=1e-9)}

    def validate(self) -> dict[str, float]:
        return rank_metrics(retrieval_ranks(self.model, self.log, self.validation))
