"""Stage 2: query heads and counter weights on the frozen two-tower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from shortlist.data.dataset import Split
from shortlist.losses.listwise import listwise_softmax
from shortlist.losses.pointwise import binary_cross_entropy
from shortlist.models.preranker import Preranker
from shortlist.training.batches import Rows, bucketed, training_sequences
from shortlist.training.candidates import NextEventLists, ShownLists, has_pages
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import PrerankerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.scoring import FrozenRetriever, Lists, prerank_logits, stretches


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
        self.next_event = NextEventLists(retriever, cross, fresh_start, config.sampling)
        self.shown = ShownLists(log, cross, split, fresh_start, config.sampling.positions) if has_pages(log.log, split) else None
        self._start_at_base_rates()

    def batches(self, epoch: int) -> Sequence[Rows]:
        return bucketed(self.sequences.length, self.config.batch_events, (self.seed, 2, epoch))

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        users = stretches(self.retriever.log, self.sequences, batch)
        lists = self.next_event(users)
        logits = prerank_logits(self.retriever, self.model, users, lists)
        # The order that serving uses is that of the weighted sum, so that is what the listwise part trains.
        order = listwise(torch.matmul(logits, self.model.task_weights), lists)
        pages = self.shown(users, fresh_only=True) if self.shown is not None else None
        if pages is not None:  # what was seen and left is the better negative for probabilities
            lists, logits = pages, prerank_logits(self.retriever, self.model, users, pages)
        each = pointwise(logits, lists, self.config.focus)
        return {"loss": each + self.config.listwise_weight * order, "pointwise": each, "listwise": order}

    def validate(self) -> dict[str, float]:
        return self.evaluation.metrics(self.model, None)["preranker"]

    @torch.no_grad()
    def _start_at_base_rates(self) -> None:
        """Set the biases so that mean logits are those of the mean labels; else the first epoch learns little more than that."""
        with untouched_generator():
            users = stretches(self.retriever.log, self.sequences, self.batches(0)[0])
            lists = (self.shown(users, fresh_only=True) if self.shown is not None else None) or self.next_event(users)
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


def pointwise(logits: Tensor, lists: Lists, focus: float) -> Tensor:
    """Mean cross-entropy of logits [B,P,M,T] over valid candidates, summed over tasks."""
    losses = binary_cross_entropy(logits, lists.labels, focus) * lists.valid.unsqueeze(-1)
    return losses.sum() / lists.valid.sum().clamp(min=1)
