"""The two-tower retriever: a causal transformer over the history on one side, item columns on the other, a dot product between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shortlist.models.blocks import CausalBlock, FeedForward, Rotary, initialise
from shortlist.models.embedding import ColumnEmbedding, Columns
from shortlist.schema import ACTION, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTowerConfig:
    """Sizes: D `width`, K `retrieval_width`, L `layers`, H `heads`."""

    width: int = 64
    retrieval_width: int = 64
    layers: int = 2
    heads: int = 1
    feed_forward_ratio: int = 4
    dropout: float = 0.1

    def build(self, schema: Schema) -> TwoTower:
        return TwoTower(schema, self)


class TwoTower(nn.Module):
    """SASRec-like (arXiv 1808.09781) query tower and a feature tower for items; both share the item columns' tables."""

    def __init__(self, schema: Schema, config: TwoTowerConfig) -> None:
        super().__init__()
        self.schema, self.config = schema, config
        width = config.width
        self.item = ColumnEmbedding(schema.item, width)
        self.action = nn.Embedding(len(schema.actions) + 1, width)
        self.user = ColumnEmbedding(schema.user, width) if schema.user else None
        self.context = ColumnEmbedding(schema.context, width) if schema.context else None

        self.item_mlp = FeedForward(width, 1, config.dropout)
        self.item_out = nn.Linear(width, config.retrieval_width, bias=False)

        self.start = nn.Parameter(torch.empty(width))
        self.event_norm = nn.LayerNorm(width)
        self.event_dropout = nn.Dropout(config.dropout)
        self.rotary = Rotary(width // config.heads)
        self.blocks = nn.ModuleList(
            CausalBlock(width, config.heads, config.feed_forward_ratio, config.dropout) for _ in range(config.layers)
        )
        self.state_norm = nn.LayerNorm(width)
        self.query_mlp = FeedForward(width, 1, config.dropout)
        self.query_out = nn.Linear(width, config.retrieval_width, bias=False)

        self.apply(initialise)
        nn.init.normal_(self.start, std=0.02)
        # Both towers start as the identity on their embeddings where the widths allow: a dot product of tied embeddings.
        nn.init.eye_(self.item_out.weight)
        nn.init.eye_(self.query_out.weight)

    def item_vectors(self, item: Columns) -> Tensor:
        """Item columns [M] -> [M,K]."""
        x = self.item(item)
        vectors: Tensor = self.item_out(x + self.item_mlp(x))
        return vectors

    def events(self, history: Columns) -> Tensor:
        """History columns [B,N] -> event vectors [B,N,D], each of its own event alone."""
        x: Tensor = self.event_norm(self.item(history, self.schema.history) + self.action(history[ACTION]))
        return x

    def states(self, history: Columns, length: Tensor) -> Tensor:
        """History columns [B,N], length [B] -> [B,N+1,D]; state i knows the first i events. States past the length are 0."""
        return self.states_of(self.events(history), length)

    def states_of(self, events: Tensor, length: Tensor) -> Tensor:
        """As `states`, from event vectors [B,N,D]."""
        start = self.start.expand(events.shape[0], 1, -1)
        x = self.event_dropout(torch.cat((start, events), dim=1))
        position = torch.arange(x.shape[1], device=x.device)
        angles = self.rotary.angles(position)
        for block in self.blocks:
            x = block(x, angles)
        valid = (position <= length.unsqueeze(-1)).to(x.dtype)  # [B,N+1]
        states: Tensor = self.state_norm(x) * valid.unsqueeze(-1)
        return states

    def query_vector(self, state: Tensor, user: Columns, context: Columns) -> Tensor:
        """States [...,D] with user and context columns whose axes broadcast to [...] -> [...,K].

        Scaled by K^-0.5: dot products stay small, and where they cancel to near 0 the rounding of fp32 stays within parity's tolerance.
        Training multiplies it back (`logit_scale`).
        """
        x = state
        if self.user is not None:
            x = x + self.user(user)
        if self.context is not None:
            x = x + self.context(context)
        vector: Tensor = self.query_out(x + self.query_mlp(x)) / logit_scale(self.config.retrieval_width)
        return vector


def logit_scale(retrieval_width: int) -> float:
    """What a dot product of a query and an item vector is multiplied by to be a logit: K^0.5."""
    return float(retrieval_width**0.5)


def state_at(states: Tensor, length: Tensor) -> Tensor:
    """The state after `length` [B] events: [B,N+1,D] -> [B,D]."""
    index = length.view(-1, 1, 1).expand(-1, 1, states.shape[-1])
    return states.gather(1, index).squeeze(1)
