"""The preranker: more query heads on the frozen two-tower, and counters between the request's segments and the item.

After InteractRank, arXiv 2504.06609: a masked network crosses what is known of the request into one query vector per task; items keep
their one vector, so that there is no item-side network at request time; counters bring in what a dot product cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from shortlist.errors import ConfigError
from shortlist.models.blocks import initialise
from shortlist.models.embedding import ColumnEmbedding, Columns, log_rate
from shortlist.models.masknet import ParallelMaskNet, PlainNet
from shortlist.models.session import Session, newest_events
from shortlist.models.two_tower import TwoTower, TwoTowerConfig, logit_scale, state_at
from shortlist.schema import TIME, Schema

Part = Literal["session", "counters", "masknet", "heads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrerankerConfig:
    """`recent_events` make the session. `task_weights` [T] weigh the logits in the score; empty means the first task alone.

    `mask_blocks` blocks of `block_width`, with masks made through `mask_width`, cross the request's features. `ablate` takes parts out to
    measure them: "session" (heads that know nothing of the history), "counters", "masknet" (a plain network instead), "heads" (one head
    for all tasks).
    """

    recent_events: int = 20
    mask_blocks: int = 3
    mask_width: int = 32
    block_width: int = 32
    dropout: float = 0.1
    task_weights: tuple[float, ...] = ()
    ablate: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.ablate) - set(get_args(Part))
        if unknown:
            raise ConfigError(
                f"PrerankerConfig.ablate names {', '.join(sorted(unknown))}",
                why="the preranker has no such part",
                fix=f"use some of {', '.join(get_args(Part))}",
            )

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
        self.schema, self.config, self.retrieval_width = schema, config, two_tower.retrieval_width
        self.logit_scale = logit_scale(two_tower.retrieval_width)
        self.user = ColumnEmbedding(schema.user, width) if schema.user else None
        self.context = ColumnEmbedding(schema.context, width) if schema.context else None
        self.session = None if "session" in config.ablate else Session(width, config.recent_events)
        features = width * max(1, len(schema.user) + len(schema.context) + (0 if self.session is None else 3))
        self.crossing: ParallelMaskNet | PlainNet
        if "masknet" in config.ablate:
            self.crossing = PlainNet(features, width, hidden=config.mask_blocks * config.block_width, dropout=config.dropout)
        else:
            self.crossing = ParallelMaskNet(
                features,
                width,
                blocks=config.mask_blocks,
                mask_width=config.mask_width,
                block_width=config.block_width,
                dropout=config.dropout,
            )
        own_heads = 1 if "heads" in config.ablate else tasks
        self.heads_out = nn.Linear(width, own_heads * two_tower.retrieval_width, bias=False)

        self.apply(initialise)
        if isinstance(self.crossing, ParallelMaskNet):
            self.crossing.start_open()
        nn.init.zeros_(self.heads_out.weight)  # an untrained preranker keeps the retriever's order
        # softplus keeps the weights of both dot products above 0: a larger dot product never lowers a score.
        self.dot_weight = nn.Parameter(torch.full((tasks, 2), 0.5413))  # softplus = 1
        self.cross_weight = nn.Parameter(torch.zeros(tasks, len(schema.cross)))
        self.bias = nn.Parameter(torch.zeros(tasks))
        self.temperature = nn.Parameter(torch.zeros(()))  # log of what multiplies logits in the in-batch loss; scores do not use it
        self.register_buffer("task_weights", torch.tensor(weights, dtype=torch.float32))

    @property
    def recent_events(self) -> int:
        """R: how many event vectors `heads` reads."""
        return 0 if self.session is None else self.config.recent_events

    def heads(self, state: Tensor, recent: Tensor, present: Tensor, user: Columns, context: Columns) -> Tensor:
        """State [...,D], newest event vectors [...,R,D] and whether each exists [...,R], columns [...] -> [...,T,K]."""
        features = [] if self.user is None else self.user.fields(user)
        features = features if self.context is None else features + self.context.fields(context)
        if self.session is None:
            x = self.crossing(torch.cat([field.expand_as(state) for field in features or [torch.zeros_like(state)]], dim=-1))
        else:
            # The session is read in the light of the request: a query asks for other events than the home page.
            request = torch.stack([state, *(field.expand_as(state) for field in features)]).sum(dim=0)
            features = [state, *self.session(request, recent, present), *features]
            x = state + self.crossing(torch.cat([field.expand_as(state) for field in features], dim=-1))
        heads: Tensor = self.heads_out(x) / self.logit_scale
        own = heads.view(*heads.shape[:-1], -1, self.retrieval_width)
        return own.expand(*own.shape[:-2], len(self.schema.tasks), -1)

    def task_logits(self, query_vectors: Tensor, item_vectors: Tensor, cross: Tensor) -> Tensor:
        """[B,Q,K], [B,M,K], [B,M,C] -> [B,M,T]: per task a weighted sum of the retrieval dot, its own dot and log counters."""
        dots = torch.matmul(item_vectors, query_vectors.transpose(-1, -2)) * self.logit_scale  # [B,M,Q]
        weight = functional.softplus(self.dot_weight)  # [T,2]
        logits = dots[..., :1] * weight[:, 0] + dots[..., 1:] * weight[:, 1] + self.bias
        if self.schema.cross and "counters" not in self.config.ablate:
            logits = logits + torch.matmul(log_rate(cross), self.cross_weight.transpose(0, 1))
        return logits

    def score(self, query_vectors: Tensor, item_vectors: Tensor, cross: Tensor) -> Tensor:
        """[B,Q,K], [B,M,K], [B,M,C] -> [B,M]."""
        return torch.matmul(self.task_logits(query_vectors, item_vectors, cross), self.task_weights)

    def merged_query(self, query_vectors: Tensor) -> Tensor:
        """[...,Q,K] -> [...,K]: the vector whose dot product with an item is the score without counters and biases."""
        weight = functional.softplus(self.dot_weight) * self.task_weights.unsqueeze(-1)  # [T,2]
        heads = torch.matmul(weight[:, 1], query_vectors[..., 1:, :])
        return (query_vectors[..., 0, :] * weight[:, 0].sum() + heads) * self.logit_scale


def query_vectors(two_tower: TwoTower, preranker: Preranker, history: Columns, length: Tensor, user: Columns, context: Columns) -> Tensor:
    """A request's query: history columns [B,N], length [B], user and context columns [B] -> [B,Q,K], head 0 the retrieval head."""
    events = two_tower.events(history)
    state = state_at(two_tower.states_of(events, length, history.get(TIME)), length)  # [B,D]
    recent = newest_events(events.new_zeros(events.shape[0], preranker.recent_events, events.shape[2]), events, length)
    return query_heads(two_tower, preranker, state, recent, length, user, context)


def query_heads(
    two_tower: TwoTower, preranker: Preranker, state: Tensor, recent: Tensor, length: Tensor, user: Columns, context: Columns
) -> Tensor:
    """What is left of `query_vectors` once the history is read: its state [B,D], R newest event vectors [B,R,D] and length [B]."""
    present = (torch.arange(recent.shape[1], device=recent.device) < length.unsqueeze(-1)).to(recent.dtype)
    heads = preranker.heads(state, recent, present, user, context)
    return torch.cat((two_tower.query_vector(state, user, context).unsqueeze(1), heads), dim=1)
