"""Stage 1: the two-tower learns the next event at every position of every history at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shortlist.errors import ConfigError
from shortlist.losses.shared_negatives import shared_negatives_loss
from shortlist.models.two_tower import TwoTower, logit_scale
from shortlist.training import parallel
from shortlist.training.batches import LogTensors, Rows, WindowWarmup, bucketed, training_sequences
from shortlist.training.config import TwoTowerTraining
from shortlist.training.negatives import Negatives, NegativeSampler, item_shares, place_of
from shortlist.training.retrieval import rank_metrics, retrieval_ranks
from shortlist.training.self_play import Opponent
from shortlist.training.usage import Stopwatch


class TwoTowerStage:
    name = "two_tower"
    monitor = "ndcg@10"

    def __init__(self, model: TwoTower, log: LogTensors, train_end: Rows, validation: Rows, config: TwoTowerTraining, seed: int) -> None:
        self.model, self.log, self.config, self.seed = model, log, config, seed
        self.validation = validation
        self.warmup = WindowWarmup(training_sequences(log.log, train_end), config.window_warmup)
        self.sequences = self.warmup.sequences
        trained = np.arange(len(log.log.item)) < np.repeat(train_end, np.diff(log.log.ptr))
        shares = item_shares(log.log.item[trained], log.item_count, config)
        self.negatives = NegativeSampler(config, torch.from_numpy(shares).to(log.device))
        weights = config.action_weights or (1.0,) * len(log.schema.actions)
        if len(weights) != len(log.schema.actions):
            raise ConfigError(
                f"two_tower.action_weights has {len(weights)} values for {len(log.schema.actions)} actions",
                fix=f"give one weight for each of {', '.join(log.schema.actions)}, or none",
            )
        self.making = Stopwatch()
        self.opponent = Opponent(model, log, config.self_play)
        self.action_weights = torch.tensor((0.0, *weights), device=log.device)

    def batches(self, epoch: int) -> Sequence[Rows]:
        self.opponent.begin_epoch(epoch)
        chosen = self.warmup.chosen(epoch)
        return [chosen[part] for part in bucketed(self.sequences.length[chosen], self.config.batch_events, (self.seed, 1, epoch))]

    @property
    def parallel(self) -> bool:
        """Whether processes may share a batch (`shortlist.training.parallel`); self-play picks from a whole one."""
        return not self.config.self_play.weight

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        log, model, sequences = self.log, self.model, self.sequences
        with self.making:
            everyone, known = self._targets(batch)  # of all processes: their negatives and their divisor are the same
            drawn = None if self.config.own_negatives else self.negatives(log.rows(everyone[known]))
            divisor = self.action_weights[log.actions(everyone[known])].sum().clamp(min=1e-9)
            share = parallel.share(batch)
            target, valid = self._targets(share)
            start, length = (torch.from_numpy(x[share]).to(log.device) for x in (sequences.start, sequences.length))
            inputs, _ = log.event_index(start, length - 1, target.shape[1] - 1)
            event = target[valid]
            user, context, times = log.user_columns(log.event_user[event]), log.context_columns(event), log.times(inputs)
        states = model.states_of(self._events(inputs), length - 1, times)[valid]  # [S,D]: no further work on padding
        query = model.query_vector(states, user, context) * logit_scale(model.config.retrieval_width)
        loss = self._loss(query, log.rows(event), self.action_weights[log.actions(event)] / divisor, drawn)
        if self.opponent.frozen is None:
            return {"loss": loss}
        picked = self.opponent.loss(inputs, length - 1, target, valid, query)
        return {"loss": loss + self.config.self_play.weight * picked, "next_event": loss, "self_play": picked}

    def _targets(self, batch: Rows) -> tuple[Tensor, Tensor]:
        """Absolute indices [B,N] of the events to predict, state i's being event i, and whether each is one."""
        log, sequences = self.log, self.sequences
        start, length = (torch.from_numpy(x[batch]).to(log.device) for x in (sequences.start, sequences.length))
        target, valid = log.event_index(start, length, int(sequences.length[batch].max()))
        # A stretch that begins in the middle of a life must not teach that its first event follows an empty history.
        valid[:, 0] &= torch.from_numpy(sequences.whole[batch]).to(log.device)
        return target, valid

    def _events(self, index: Tensor) -> Tensor:
        """Event vectors [B,N,D]; each item of the batch is embedded once, however often it occurs. Padding may hold any item."""
        log, model = self.log, self.model
        rows, place = torch.unique(log.rows(index).clamp(max=log.item_count - 1), return_inverse=True)
        embedded = model.item(log.item_columns(rows), model.history_columns)
        return model.events_of(embedded[place], log.actions(index))

    def _loss(self, query: Tensor, positive: Tensor, weight: Tensor, drawn: Negatives | None = None) -> Tensor:
        """Queries [S,K], catalog rows [S] of their positives, weights [S], negatives (none: drawn here) -> a scalar."""
        config, log = self.config, self.log
        if config.own_negatives:
            return self._own_negatives(query, positive, weight)
        drawn = drawn or self.negatives(positive)
        rows, place = torch.unique(torch.cat((positive, drawn.rows)), return_inverse=True)
        vectors = self.model.item_vectors(log.item_columns(rows))[place]
        binary = config.loss in ("bce", "gbce")
        return shared_negatives_loss(
            query,
            vectors[: len(positive)],
            vectors[len(positive) :],
            place_of(drawn.rows, positive, log.item_count),
            drawn.shift,
            weight,
            form="binary" if binary else "softmax",
            positive_power=self._positive_power(self.negatives.draws),
            low_precision=config.low_precision,
        )

    def _own_negatives(self, query: Tensor, positive: Tensor, weight: Tensor) -> Tensor:
        """Binary cross-entropy with uniform negatives of each position's own; one of them is SASRec's loss."""
        log, count = self.log, self.config.own_negatives
        if self.config.loss not in ("bce", "gbce"):
            raise ConfigError(
                f"two_tower.own_negatives={count} with loss={self.config.loss}",
                why="only the binary losses use them",
                fix="set loss to bce or gbce, or own_negatives to 0",
            )
        drawn = torch.randint(log.item_count, (len(positive), count)).to(log.device)
        rows, place = torch.unique(torch.cat((positive.unsqueeze(-1), drawn), dim=1), return_inverse=True)
        logits = torch.matmul(self.model.item_vectors(log.item_columns(rows))[place], query.unsqueeze(-1)).squeeze(-1)  # [S,1+count]
        misses = functional.softplus(logits[:, 1:]) * (drawn != positive.unsqueeze(-1))
        losses = self._positive_power(count) * functional.softplus(-logits[:, 0]) + misses.sum(dim=-1)
        return (losses * weight).sum()

    def _positive_power(self, negatives: int) -> float:
        """gBCE's beta = a (t (1 - 1/a) + 1/a) with the sampling rate a and the calibration t; 1 for every other loss."""
        if self.config.loss != "gbce":
            return 1.0
        rate, calibration = negatives / max(1, self.log.item_count - 1), self.config.calibration
        return rate * (calibration * (1 - 1 / rate) + 1 / rate)

    def validate(self) -> dict[str, float]:
        return rank_metrics(retrieval_ranks(self.model, self.log, self.validation))
