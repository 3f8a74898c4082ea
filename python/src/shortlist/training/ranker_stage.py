"""Stage 3: the ranker, of any kind, on the next event and on logged pages, with a bias for the place on the page."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shortlist.data.dataset import Split
from shortlist.models.preranker import Preranker
from shortlist.models.ranker import Ranker
from shortlist.training.batches import Rows, bucketed, training_sequences
from shortlist.training.candidates import NextEventLists, ShownLists, has_pages
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import RankerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.preranker_stage import base_logits, listwise, pointwise, untouched_generator
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches, encode_stretches, prerank_logits, rank_logits, stretches
from shortlist.training.usage import Stopwatch

_PLACES = 64  # places on a page that have their own bias; later ones share the last


class DebiasedRanker(nn.Module):
    """The ranker with a position tower that only training has: what a place on the page adds to every task's logit."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker
        self.place = nn.Embedding(_PLACES, len(ranker.schema.tasks))
        nn.init.zeros_(self.place.weight)

    def bias(self, shown_at: Tensor) -> Tensor:
        """Places [B,P,M] -> [B,P,M,T]."""
        bias: Tensor = self.place(shown_at.clamp(max=_PLACES - 1))
        return bias


class RankerStage:
    name = "ranker"
    monitor = "ndcg@10"

    def __init__(
        self,
        model: Ranker,
        preranker: Preranker,
        retriever: FrozenRetriever,
        cross: CrossCounters,
        split: Split,
        fresh_start: Rows,
        evaluation: CascadeEvaluation,
        config: RankerTraining,
        seed: int,
    ) -> None:
        self.model = DebiasedRanker(model).to(retriever.log.device)
        self.preranker = preranker.eval().requires_grad_(False)
        self.retriever, self.config, self.seed, self.evaluation = retriever, config, seed, evaluation
        log = retriever.log
        self.sequences = training_sequences(log.log, split.train_end)
        self.making = Stopwatch()
        self.next_event = NextEventLists(retriever, cross, split, fresh_start, config.sampling)
        self.shown = ShownLists(log, cross, split, fresh_start, config.sampling.positions) if has_pages(log.log, split) else None
        self._scale_prerank_score()

    def batches(self, epoch: int) -> Sequence[Rows]:
        return bucketed(self.sequences.length, self.config.batch_events, (self.seed, 3, epoch))

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        with self.making:
            users = stretches(self.retriever.log, self.sequences, batch)
        keys, values = encode_stretches(self.model.ranker, self.retriever, users)
        with self.making:
            lists = self.next_event(users, self.config.old_positions)
        logits = rank_logits(self.model.ranker, self.retriever, users, keys, values, lists, self._prerank_feature(users, lists))
        order = listwise(logits[..., 0], lists)
        with self.making:
            pages = self.shown(users, fresh_only=False) if self.shown is not None else None
        if pages is not None and pages.shown_at is not None:
            shown = rank_logits(self.model.ranker, self.retriever, users, keys, values, pages, self._prerank_feature(users, pages))
            lists, logits = pages, shown + self.model.bias(pages.shown_at)
        each = pointwise(logits, lists, self.config.focus)
        return {"loss": each + self.config.listwise_weight * order, "pointwise": each, "listwise": order}

    def validate(self) -> dict[str, float]:
        return self.evaluation.metrics(self.preranker, self.model.ranker)["cascade"]

    @torch.no_grad()
    def _prerank(self, users: Stretches, lists: Lists) -> Tensor:
        """The preranker's score [B,P,M]."""
        return torch.matmul(prerank_logits(self.retriever, self.preranker, users, lists), self.preranker.task_weights)

    def _prerank_feature(self, users: Stretches, lists: Lists) -> Tensor:
        """The preranker's score where it is honest; where the two-tower trained on the answer, the mean, which tells nothing."""
        score = self._prerank(users, lists)
        return torch.where(lists.fresh.unsqueeze(-1), score, self.model.ranker.prerank_mean)

    @torch.no_grad()
    def _scale_prerank_score(self) -> None:
        """Standardise the preranker's score as it is among candidates, and start at the base rates of the tasks."""
        with untouched_generator():
            users = stretches(self.retriever.log, self.sequences, self.batches(0)[0])
            mined = self.next_event(users)
            lists = (self.shown(users, fresh_only=False) if self.shown is not None else None) or mined
        score, ranker = self._prerank(users, mined)[mined.valid], self.model.ranker
        ranker.prerank_mean.copy_(score.mean())
        ranker.prerank_deviation.copy_(score.std().clamp(min=1e-3))
        ranker.out.bias.copy_(base_logits(lists))
