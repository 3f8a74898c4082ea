"""The offline funnel: retrieve -> prerank -> rank for held-out events, and where each stage ranks the true item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from shortlist.metrics.order import NOT_RANKED, order_rows
from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker
from shortlist.training.batches import Rows, bucketed, target_histories
from shortlist.training.config import Cascade
from shortlist.training.cross import CrossCounters
from shortlist.training.retrieval import SEEN, mask_seen, rank_metrics, target_ranks
from shortlist.training.scoring import (
    FrozenRetriever,
    Lists,
    Stretches,
    encode_stretches,
    prerank_logits,
    rank_logits,
    stretches,
)

_BATCH_EVENTS = 8192


class CascadeEvaluation:
    """Ranks of target events under the frozen retriever and any preranker and ranker. Retrieval runs once, at the first use."""

    def __init__(self, retriever: FrozenRetriever, cross: CrossCounters, target: Rows, config: Cascade) -> None:
        self.retriever, self.cross, self.target, self.config = retriever, cross, target, config
        self._retrieved: list[tuple[Rows, Stretches, Lists, Tensor, Tensor]] = []  # with the target's row and the scores
        self._retrieval_ranks = np.full(len(target), NOT_RANKED)

    def metrics(self, preranker: Preranker, ranker: AnyRanker | None) -> dict[str, dict[str, float]]:
        """Metrics by model: two_tower, preranker (retrieved items in its order), cascade (the ranker's order of the kept ones)."""
        return {model: rank_metrics(ranks) for model, ranks in self.ranks(preranker, ranker).items()}

    def ranks(self, preranker: Preranker, ranker: AnyRanker | None) -> dict[str, Rows]:
        """Rank from 1 of each target [n] by model; NOT_RANKED where a stage before dropped it."""
        return {model: ranks for model, (ranks, _) in self.ranked(preranker, ranker, depth=1).items()}

    @torch.no_grad()
    def ranked(self, preranker: Preranker, ranker: AnyRanker | None, *, depth: int = 10) -> dict[str, tuple[Rows, Rows]]:
        """As `ranks`, and the `depth` best rows [n,depth] for each target, best first; -1 is padding."""
        if not self._retrieved:
            self._retrieve()
        count = len(self.target)
        preranked, ranked = np.full(count, NOT_RANKED), np.full(count, NOT_RANKED)
        heads = {model: np.full((count, depth), -1) for model in ("two_tower", "preranker", "cascade")}
        for chosen, users, lists, row, retrieved in self._retrieved:
            heads["two_tower"][chosen] = best_rows(retrieved, lists, depth)
            scores = torch.matmul(prerank_logits(self.retriever, preranker, users, lists), preranker.task_weights)
            preranked[chosen] = ranks_in_list(scores[:, 0], lists, row).cpu().numpy()
            heads["preranker"][chosen] = best_rows(scores[:, 0], lists, depth)
            if ranker is None:
                continue
            lists, logits = self._rank(ranker, users, lists, scores)
            ranked[chosen] = ranks_in_list(logits[:, 0, :, 0], lists, row).cpu().numpy()
            heads["cascade"][chosen] = best_rows(logits[:, 0, :, 0], lists, depth)
        ranks = {"two_tower": self._retrieval_ranks, "preranker": preranked} | ({} if ranker is None else {"cascade": ranked})
        return {model: (found, heads[model]) for model, found in ranks.items()}

    @torch.no_grad()
    def rankings(self, preranker: Preranker, ranker: AnyRanker) -> Iterator[tuple[Rows, Lists, Tensor]]:
        """Places in `target`, the candidates that reach the ranker [B,1,M], and its task logits [B,1,M,T]."""
        if not self._retrieved:
            self._retrieve()
        for chosen, users, lists, *_ in self._retrieved:
            scores = torch.matmul(prerank_logits(self.retriever, preranker, users, lists), preranker.task_weights)
            yield chosen, *self._rank(ranker, users, lists, scores)

    def _rank(self, ranker: AnyRanker, users: Stretches, lists: Lists, scores: Tensor) -> tuple[Lists, Tensor]:
        """The `prerank` best of lists by scores [B,1,M], and the ranker's task logits of them."""
        kept, best = scores.masked_fill(~lists.valid, SEEN).topk(min(self.config.prerank, scores.shape[2]), dim=2)
        lists = pick(lists, best)
        keys, values = encode_stretches(ranker, self.retriever, users)
        return lists, rank_logits(ranker, self.retriever, users, keys, values, lists, kept.masked_fill(~lists.valid, 0.0))

    def _retrieve(self) -> None:
        log = self.retriever.log
        histories = target_histories(log.log, self.target)
        for chosen in bucketed(histories.length + 1, _BATCH_EVENTS, (0,)):
            users = stretches(log, histories, chosen)
            event = torch.from_numpy(self.target[chosen]).to(log.device).unsqueeze(-1)  # [B,1]
            visible, context, row = users.length.unsqueeze(-1), log.context_columns(event), log.rows(event[:, 0])
            _, states = self.retriever.encode(users)
            query = self.retriever.queries(users, states, visible, context)[:, 0]
            scores = mask_seen(torch.matmul(query, self.retriever.vectors.T), log, self.target[chosen])
            self._retrieval_ranks[chosen] = target_ranks(scores, row).cpu().numpy()
            best, rows = scores.topk(min(self.config.retrieve, scores.shape[1]), dim=1)
            rows, valid = rows.unsqueeze(1), (best > SEEN).unsqueeze(1)
            labels = torch.zeros((), device=log.device).expand(*rows.shape, len(log.schema.tasks))
            cross = self.cross.at_events(event, rows, training=False)
            lists = Lists(visible, torch.ones_like(visible, dtype=torch.bool), context, rows, valid, labels, cross)
            self._retrieved.append((chosen, users, lists, row, best))


def pick(lists: Lists, index: Tensor) -> Lists:
    """The candidates at `index` [B,P,m] of every list."""

    def along(x: Tensor) -> Tensor:
        return x.gather(2, index.unsqueeze(-1).expand(-1, -1, -1, x.shape[-1]))

    rows, valid = lists.rows.gather(2, index), lists.valid.gather(2, index)
    return Lists(lists.visible, lists.fresh, lists.context, rows, valid, along(lists.labels), along(lists.cross))


def ranks_in_list(scores: Tensor, lists: Lists, row: Tensor) -> Tensor:
    """Rank from 1 of each row [B] by scores [B,M] of the lists' single position, under the tie rule; NOT_RANKED where absent."""
    rows, valid = lists.rows[:, 0], lists.valid[:, 0]
    scores = scores.masked_fill(~valid, SEEN)
    here = (rows == row.unsqueeze(-1)) & valid
    own = torch.where(here, scores, SEEN).amax(dim=1, keepdim=True)
    better = (scores > own) | ((scores == own) & (rows < row.unsqueeze(-1)))
    return torch.where(here.any(dim=1), 1 + (better & valid).sum(dim=1), NOT_RANKED)


def best_rows(scores: Tensor, lists: Lists, depth: int) -> Rows:
    """The `depth` best rows [B,depth] by scores [B,M] of the lists' single position, under the tie rule; -1 is padding."""
    rows = torch.where(lists.valid[:, 0], lists.rows[:, 0], -1).cpu().numpy()
    best = order_rows(rows, scores.masked_fill(~lists.valid[:, 0], SEEN).float().cpu().numpy())[:, :depth]
    return np.pad(best, ((0, 0), (0, depth - best.shape[1])), constant_values=-1)
