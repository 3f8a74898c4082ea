"""The preranker: more query heads on the frozen two-tower, and counters between the request's segments and the item.

After InteractRank, arXiv 2504.06609: one query vector per task, one vector per item, and no item-side network at request time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from shortlist.errors import ConfigError
from shortlist.models.blocks import MASKED, FeedForward, initialise
from shortlist.models.embedding import ColumnEmbedding, Columns, log_rate
from shortlist.models.two_tower import TwoTower, TwoTowerConfig, logit_scale, state_at
from shortlist.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class PrerankerConfig:
    """`recent_events` make the session context. `task_weights` [T] weigh the logits in the score; empty means the first task alone."""

    recent_events: int = 20
    dropout: float = 0.1
    task_weights: tuple[float, ...] = ()

    def build(self, schema: Schema, two_tower: TwoTowerConfig) -> Preranker:
        return Preranker(schema, self, two_tower)


class Preranker(nn.Module):
    """One query head per task: Q = 1 + T with the retrieval head."""

    task_weights: Tensor

    def __init__(self, schema: Schema, config: PrerankerConfig, two_tower: TwoTowerConfig) -> None:
        super().__init__()
        tasks, width = len(schema.tasks), two_tower.width
        weights = config.task_weights or (1.0,) + (0.0,) * (tasks - 1)
        if len(weights) != tasks:
            raise ConfigError(
                f"PrerankerConfig.task_weights has {len(weights)} values for {tasks} tasks",
                why=f"the schema's tasks are {', '.join(schema.tasks)}",
                fix="give one weight per task, or none",
            )
        self.schema, self.config = schema, config
        self.logit_scale = logit_scale(two_tower.retrieval_width)
        self.user = ColumnEmbedding(schema.user, width) if schema.user else None
        self.context = ColumnEmbedding(schema.context, width) if schema.context else None
        self.attention_query = nn.Linear(width, width, bias=False)
        self.attention_key = nn.Linear(width, width, bias=False)
        self.recency = nn.Parameter(torch.linspace(0.0, -2.0, config.recent_events))  # logits of the weighted mean, newest first
        self.merge = nn.Linear(3 * width, width)
        self.feed_forward = FeedForward(width, 2, config.dropout)
        self.heads_out = nn.Linear(width, tasks * two_tower.retrieval_width, bias=False)

        self.apply(initialise)
        nn.init.zeros_(self.heads_out.weight)  # an untrained preranker keeps the retriever's order
        # softplus keeps the weights of both dot products above 0: a larger dot product never lowers a score.
        self.dot_weight = nn.Parameter(torch.full((tasks, 2), 0.5413))  # softplus = 1
        self.cross_weight = nn.Parameter(torch.zeros(tasks, len(schema.cross)))
        self.bias = nn.Parameter(torch.zeros(tasks))
        self.register_buffer("task_weights", torch.tensor(weights, dtype=torch.float32))

    def heads(self, state: Tensor, recent: Tensor, present: Tensor, user: Columns, context: Columns) -> Tensor:
        """State [...,D], newest event vectors [...,R,D] and whether each exists [...,R], columns [...] -> [...,T,K]."""
        allowed = (1.0 - present) * MASKED
        logits = torch.matmul(self.attention_key(recent), self.attention_query(state).unsqueeze(-1)).squeeze(-1)
        attended = (logits * state.shape[-1] ** -0.5 + allowed).softmax(dim=-1) * present
        weighted = (self.recency + allowed).softmax(dim=-1) * present  # both are 0 without events
        mixed = torch.matmul(torch.stack((attended, weighted), dim=-2), recent)  # [...,2,D]
        x = state + self.merge(torch.cat((state, mixed.flatten(-2)), dim=-1))
        if self.user is not None:
            x = x + self.user(user)
        if self.context is not None:
            x = x + self.context(context)
        heads: Tensor = self.heads_out(x + self.feed_forward(x)) / self.logit_scale
        return heads.view(*heads.shape[:-1], len(self.schema.tasks), -1)

    def task_logits(self, query_vectors: Tensor, item_vectors: Tensor, cross: Tensor) -> Tensor:
        """[B,Q,K], [B,M,K], [B,M,C] -> [B,M,T]: per task a weighted sum of the retrieval dot, its own dot and log counters."""
        dots = torch.matmul(item_vectors, query_vectors.transpose(-1, -2)) * self.logit_scale  # [B,M,Q]
        weight = functional.softplus(self.dot_weight)  # [T,2]
        logits = dots[..., :1] * weight[:, 0] + dots[..., 1:] * weight[:, 1] + self.bias
        if self.schema.cross:
            logits = logits + torch.matmul(log_rate(cross), self.cross_weight.transpose(0, 1))
        return logits

    def score(self, query_vectors: Tensor, item_vectors: Tensor, cross: Tensor) -> Tensor:
        """[B,Q,K], [B,M,K], [B,M,C] -> [B,M]."""
        return torch.matmul(self.task_logits(query_vectors, item_vectors, cross), self.task_weights)


def recent_events(events: Tensor, position: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` newest of the first `position` [B,S] events of [B,N,D], newest first: [B,S,R,D] and 1 where one exists [B,S,R]."""
    index = position.unsqueeze(-1) - 1 - torch.arange(count, device=position.device)  # [B,S,R]
    present = (index >= 0).to(events.dtype)
    flat = index.clamp(min=0).flatten(1).unsqueeze(-1).expand(-1, -1, events.shape[-1])
    return events.gather(1, flat).view(*index.shape, -1), present


def query_vectors(two_tower: TwoTower, preranker: Preranker, history: Columns, length: Tensor, user: Columns, context: Columns) -> Tensor:
    """The query encoder: history columns [B,N], length [B], user and context columns [B] -> [B,Q,K], head 0 the retrieval head."""
    events = two_tower.events(history)
    state = state_at(two_tower.states_of(events, length), length)  # [B,D]
    retrieval = two_tower.query_vector(state, user, context)
    recent, present = recent_events(events, length.unsqueeze(-1), preranker.config.recent_events)
    heads = preranker.heads(state, recent.squeeze(1), present.squeeze(1), user, context)
    return torch.cat((retrieval.unsqueeze(1), heads), dim=1)
