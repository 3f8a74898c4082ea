"""Stage 2: query heads and counter weights on the frozen two-tower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from shortlist.data.dataset import Split
from shortlist.data.splits import training_mask
from shortlist.errors import ConfigError
from shortlist.losses.in_batch import in_batch_softmax
from shortlist.losses.listwise import listwise_softmax
from shortlist.losses.pointwise import binary_cross_entropy
from shortlist.models.preranker import Preranker
from shortlist.training.batches import Rows, bucketed, training_sequences
from shortlist.training.candidates import NextEventLists, ShownLists, has_pages
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import PrerankerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches, prerank_logits, prerank_queries, stretches, task_logits
from shortlist.training.usage import Stopwatch

_HOTTEST = 100.0  # bound of the learned factor of in-batch logits


class PrerankerStage:
    name = "preranker"
    monitor = "ndcg@10"

    def __init__(
        self,
        model: Preranker,
        retriever: FrozenRetriever,
        cross: CrossCounters,
        split: Split,
        fresh_start: Rows,
        evaluation: CascadeEvaluation,
        config: PrerankerTraining,
        seed: int,
    ) -> None:
        self.model, self.retriever, self.config, self.seed, self.evaluation = model, retriever, config, seed, evaluation
        log = retriever.log
        self.sequences = training_sequences(log.log, split.train_end)
        self.making = Stopwatch()
        self.next_event = NextEventLists(retriever, cross, split, fresh_start, config.sampling)
        self.shown = ShownLists(log, cross, split, fresh_start, config.sampling.positions) if has_pages(log.log, split) else None
        self.head_weights = torch.tensor(head_weights(config, log.schema.tasks), device=log.device)
        trained = log.log.item[training_mask(log.log, split)]
        counts = np.bincount(trained, minlength=log.item_count).astype(np.float32)
        self.shares = torch.from_numpy(counts / max(1, len(trained))).to(log.device)
        self._start_at_base_rates()

    def batches(self, epoch: int) -> Sequence[Rows]:
        return bucketed(self.sequences.length, self.config.batch_events, (self.seed, 2, epoch))

    def draw(self, batch: Rows) -> tuple[Stretches, Lists, Lists | None]:
        """The stretches of a batch with lists to train on: next events among hard and uniform negatives, and logged pages if there are."""
        with self.making:
            users = stretches(self.retriever.log, self.sequences, batch)
            return users, self.next_event(users), None if self.shown is None else self.shown(users, fresh_only=True)

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        users, lists, pages = self.draw(batch)
        queries = prerank_queries(self.retriever, self.model, users, lists.visible, lists.context)
        logits = task_logits(self.retriever, self.model, queries, lists)
        # The order that serving uses is that of the weighted sum, so that is what the listwise part trains.
        order = listwise(torch.matmul(logits, self.model.task_weights), lists)
        parts = {"listwise": order}
        total = self.config.listwise_weight * order
        if self.config.in_batch_weight:
            parts["in_batch"] = self._in_batch(queries, lists)
            total = total + self.config.in_batch_weight * parts["in_batch"]
        if pages is not None:  # what was seen and left is the better negative for probabilities
            lists, logits = pages, prerank_logits(self.retriever, self.model, users, pages)
        parts["pointwise"] = pointwise(logits, lists, self.config.focus, self.head_weights)
        return {"loss": parts["pointwise"] + total, **parts}

    def _in_batch(self, queries: Tensor, lists: Lists) -> Tensor:
        """Mean in-batch softmax of the positions' merged queries [B,P,Q,K] against their positives, the first of each list."""
        used = lists.valid[..., 0]
        rows = lists.rows[..., 0][used]
        if len(rows) == 0:
            return queries.sum() * 0.0
        query = self.model.merged_query(queries[used]) * self.model.temperature.exp().clamp(max=_HOTTEST)
        return in_batch_softmax(query, self.retriever.vectors[rows], rows, self.shares[rows])

    def validate(self) -> dict[str, float]:
        return self.evaluation.metrics(self.model, None)["preranker"]

    @torch.no_grad()
    def _start_at_base_rates(self) -> None:
        """Set the biases so that mean logits are those of the mean labels; else the first epoch learns little more than that."""
        with untouched_generator():
            users, lists, pages = self.draw(self.batches(0)[0])
            lists = pages or lists
            logits = prerank_logits(self.retriever, self.model, users, lists)
        self.model.bias.add_(base_logits(lists) - logits[lists.valid].mean(dim=0))


@contextmanager
def untouched_generator() -> Iterator[None]:
    """Looking at data must not change the draws of the training after it."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def base_logits(lists: Lists) -> Tensor:
    """Logits [T] of the mean labels."""
    return torch.logit(lists.labels[lists.valid].mean(dim=0), eps=1e-4)


def listwise(scores: Tensor, lists: Lists) -> Tensor:
    """Mean listwise softmax of scores [B,P,M] against the first task's labels, over lists that have one."""
    valid, gains = lists.valid.flatten(0, 1), lists.labels[..., 0].flatten(0, 1)
    losses = listwise_softmax(scores.flatten(0, 1), gains, valid)
    return losses.sum() / ((gains * valid).sum(dim=-1) > 0).sum().clamp(min=1)


def head_weights(config: PrerankerTraining, tasks: tuple[str, ...]) -> tuple[float, ...]:
    """One weight per task. Raises ConfigError for another number of them."""
    weights = config.head_weights or (1.0,) * len(tasks)
    if len(weights) != len(tasks):
        raise ConfigError(
            f"preranker.head_weights has {len(weights)} values for {len(tasks)} tasks",
            why=f"the schema's tasks are {', '.join(tasks)}",
            fix="give one weight per task, or none",
        )
    return weights


def pointwise(logits: Tensor, lists: Lists, focus: float, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of logits [B,P,M,T] over valid candidates, summed over tasks with their weights [T]."""
    losses = binary_cross_entropy(logits, lists.labels, focus) * lists.valid.unsqueeze(-1)
    if weights is not None:
        losses = losses * weights
    return losses.sum() / lists.valid.sum().clamp(min=1)
