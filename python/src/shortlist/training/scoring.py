"""The three models applied to stretches of events: states, preranker logits and ranker logits at many positions at once.

A position is a moment of a user's life: the first `visible` events of a stretch, and a request made then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker, Ranker
from shortlist.models.session import recent_events
from shortlist.models.two_tower import TwoTower
from shortlist.training.batches import LogTensors, Rows, Sequences

if TYPE_CHECKING:
    from shortlist.training.mining import MinedPools


@dataclass(frozen=True)
class Stretches:
    """A batch of stretches of events: absolute indices [B,N] and lengths."""

    index: Tensor  # [B,N]; E on padding
    length: Tensor  # [B]
    start: Tensor  # [B]
    user: Tensor  # [B]


@dataclass(frozen=True)
class Lists:
    """Candidates M at positions P of B stretches."""

    visible: Tensor  # [B,P] events seen
    fresh: Tensor  # [B,P] whether the two-tower never trained on what happened then
    context: dict[str, Tensor]  # [B,P] or [B,P,W]
    rows: Tensor  # [B,P,M] catalog rows
    valid: Tensor  # [B,P,M]
    labels: Tensor  # [B,P,M,T]
    cross: Tensor  # [B,P,M,C]
    shown_at: Tensor | None = None  # [B,P,M] place on the logged page


def stretches(log: LogTensors, sequences: Sequences, batch: Rows) -> Stretches:
    start, length = (torch.from_numpy(x[batch]).to(log.device) for x in (sequences.start, sequences.length))
    index, _ = log.event_index(start, length, max(1, int(sequences.length[batch].max())))
    return Stretches(index, length, start, torch.from_numpy(sequences.user[batch]).to(log.device))


class FrozenRetriever:
    """The trained two-tower, whose weights no longer change: states, event vectors, catalog vectors."""

    def __init__(self, model: TwoTower, log: LogTensors) -> None:
        self.model = model.eval().requires_grad_(False)
        self.log = log
        with torch.no_grad():
            self.vectors = model.item_vectors(log.items)  # [I,K]
        self.pools: dict[int, MinedPools] = {}  # by size: the stages after it share them
        self._encoded: tuple[Stretches, tuple[Tensor, Tensor]] | None = None  # a step asks for its batch several times

    @torch.no_grad()
    def encode(self, batch: Stretches) -> tuple[Tensor, Tensor]:
        """Event vectors [B,N,D] and states [B,N+1,D]."""
        if self._encoded is None or self._encoded[0] is not batch:
            events = self.model.events(self.log.history(batch.index))
            self._encoded = batch, (events, self.model.states_of(events, batch.length, self.log.times(batch.index)))
        return self._encoded[1]

    @torch.no_grad()
    def queries(self, batch: Stretches, states: Tensor, visible: Tensor, context: dict[str, Tensor]) -> Tensor:
        """Retrieval vectors [B,P,K] after `visible` [B,P] events."""
        return self.model.query_vector(at(states, visible), user_at(self.log, batch, visible), context)


def at(states: Tensor, visible: Tensor) -> Tensor:
    """States [B,N+1,D] after `visible` [B,P] events -> [B,P,D]."""
    return states.gather(1, visible.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def user_at(log: LogTensors, batch: Stretches, visible: Tensor) -> dict[str, Tensor]:
    """User columns of every position [B,P]."""
    return log.user_columns(batch.user.unsqueeze(-1).expand_as(visible))


def prerank_queries(
    retriever: FrozenRetriever, preranker: Preranker, batch: Stretches, visible: Tensor, context: dict[str, Tensor]
) -> Tensor:
    """Query vectors [B,P,Q,K] after `visible` [B,P] events; gradients reach the preranker alone."""
    events, states = retriever.encode(batch)
    retrieval = retriever.queries(batch, states, visible, context)
    recent, present = recent_events(events, visible, preranker.config.recent_events)
    heads = preranker.heads(at(states, visible), recent, present, user_at(retriever.log, batch, visible), context)
    return torch.cat((retrieval.unsqueeze(-2), heads), dim=-2)


def task_logits(retriever: FrozenRetriever, preranker: Preranker, queries: Tensor, lists: Lists) -> Tensor:
    """Task logits [B,P,M,T] of the preranker, from query vectors [B,P,Q,K]."""
    logits = preranker.task_logits(queries.flatten(0, 1), retriever.vectors[lists.rows].flatten(0, 1), lists.cross.flatten(0, 1))
    return logits.view(*lists.rows.shape, -1)


def prerank_logits(retriever: FrozenRetriever, preranker: Preranker, batch: Stretches, lists: Lists) -> Tensor:
    """Task logits [B,P,M,T] of the preranker for lists."""
    return task_logits(retriever, preranker, prerank_queries(retriever, preranker, batch, lists.visible, lists.context), lists)


def encode_stretches(ranker: AnyRanker, retriever: FrozenRetriever, users: Stretches) -> tuple[Tensor, Tensor]:
    """Keys and values [B,L,H,N,D/H] of whole stretches; every position of a stretch reads a prefix of them."""
    past_keys, past_values = ranker.empty_past(len(users.length), users.length.device)
    return ranker.encode_history(retriever.log.history(users.index), users.length, past_keys, past_values)


def rank_logits(
    ranker: AnyRanker, retriever: FrozenRetriever, users: Stretches, keys: Tensor, values: Tensor, lists: Lists, prerank_score: Tensor
) -> Tensor:
    """Task logits [B,P,M,T]. Amortized rankers take all positions and candidates of a stretch in one pass."""
    log = retriever.log
    batch, positions, count = lists.rows.shape
    rows, place = torch.unique(lists.rows, return_inverse=True)
    token = ranker.item_tokens(log.item_columns(rows))[place]  # [B,P,M,D]
    request = ranker.request(user_at(log, users, lists.visible), lists.context)  # [B,P,D]
    if request is None:
        request = token.new_zeros(batch, positions, token.shape[-1])
    if isinstance(ranker, Ranker) and not ranker.fusion.amortized:
        return _list_by_list(ranker, keys, values, lists, request, token, prerank_score)
    visible = lists.visible.repeat_interleave(count, dim=1)
    spread = request.repeat_interleave(count, dim=1)
    logits = ranker.score_at(keys, values, visible, spread, token.flatten(1, 2), lists.cross.flatten(1, 2), prerank_score.flatten(1, 2))
    return logits.view(batch, positions, count, -1)


_PAIR_EVENTS = 1 << 18  # events x candidates of one part: bounds the memory of rankers that work per candidate


def _list_by_list(
    ranker: Ranker, keys: Tensor, values: Tensor, lists: Lists, request: Tensor, token: Tensor, prerank_score: Tensor
) -> Tensor:
    """As `rank_logits`, each list a request of its own: no work for lists without candidates, nor for events after a position.

    Parts of bounded size run one after another and are computed again in the backward pass.
    """
    count = token.shape[2]
    used = lists.valid.any(dim=2).nonzero()
    used = used[lists.visible[used[:, 0], used[:, 1]].argsort(stable=True)]  # lists of similar length share a part
    logits = token.new_zeros(*token.shape[:3], len(ranker.schema.tasks))
    begin = 0
    while begin < len(used):
        events = int(lists.visible[used[begin, 0], used[begin, 1]])
        end = begin + max(1, _PAIR_EVENTS // (count * (events + 1)))
        b, p = used[begin:end].unbind(dim=1)
        events = max(1, int(lists.visible[b, p].max()))
        inputs = (keys[b, ..., :events, :], values[b, ..., :events, :], lists.visible[b, p].unsqueeze(1), request[b, p].unsqueeze(1))
        candidates = (token[b, p], lists.cross[b, p], prerank_score[b, p])
        logits = logits.index_put((b, p), checkpoint(ranker.score_at, *inputs, *candidates, use_reentrant=False))
        begin = end
    return logits
