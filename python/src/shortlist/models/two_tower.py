"""The two-tower retriever: a sequence encoder over the history on one side, item columns on the other, a dot product between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from shortlist.errors import ConfigError
from shortlist.models.blocks import FeedForward, initialise
from shortlist.models.embedding import ColumnEmbedding, Columns
from shortlist.models.encoder import Encoder, EncoderConfig
from shortlist.schema import ACTION, TIME, Op, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTowerConfig(EncoderConfig):
    """The encoder's settings, and K `retrieval_width`.

    `towers`: "deep" embeds all columns and ends both sides in a feed-forward and a projection; "tied" is the form of the papers, where an
    item's vector is its row of the one table of ids, and the query is the encoder's state (K = D; user, context and actions unused).
    """

    retrieval_width: int = 64
    towers: Literal["deep", "tied"] = "deep"

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        if self.towers == "tied" and self.retrieval_width != self.width:
            raise ConfigError(
                f"retrieval_width {self.retrieval_width} with tied towers of width {self.width}",
                why="a tied item vector is the item's embedding",
                fix="give both the same value",
            )

    def build(self, schema: Schema) -> TwoTower:
        from shortlist.models.bert4rec import Bert4Rec  # built on TwoTower

        return Bert4Rec(schema, self) if self.encoder == "bert4rec" else TwoTower(schema, self)


class TwoTower(nn.Module):
    """A query tower (any encoder of `shortlist.models.encoder`) and a tower for items; both share the item columns' tables."""

    def __init__(self, schema: Schema, config: TwoTowerConfig) -> None:
        super().__init__()
        self.schema, self.config = schema, config
        width, deep = config.width, config.towers == "deep"
        self.item_columns = schema.item if deep else tuple(column for column in schema.item if column.op is Op.ITEM_ROW)
        self.history_columns = tuple(column for column in self.item_columns if column.in_history)
        self.item = ColumnEmbedding(self.item_columns, width)
        self.action = nn.Embedding(len(schema.actions) + 1, width) if deep else None
        self.user = ColumnEmbedding(schema.user, width) if schema.user and deep else None
        self.context = ColumnEmbedding(schema.context, width) if schema.context and deep else None
        self.item_mlp, self.query_mlp = (FeedForward(width, 1, config.dropout) if deep else None for _ in range(2))
        self.item_out, self.query_out = (nn.Linear(width, config.retrieval_width, bias=False) if deep else None for _ in range(2))
        self.event_norm = nn.LayerNorm(width)
        self.encoder = Encoder(config, schema.history_max_events)
        self.apply(initialise)
        for projection in (self.item_out, self.query_out):
            if projection is not None:  # both towers start as the identity where the widths allow: a dot product of tied embeddings
                nn.init.eye_(projection.weight)

    def item_vectors(self, item: Columns) -> Tensor:
        """Item columns [M] -> [M,K]."""
        return self.vectors_of(self.item(item))

    def vectors_of(self, embedded: Tensor) -> Tensor:
        """Embedded item columns [M,D] -> [M,K]."""
        if self.item_mlp is None or self.item_out is None:
            return embedded
        vectors: Tensor = self.item_out(embedded + self.item_mlp(embedded))
        return vectors

    def events(self, history: Columns) -> Tensor:
        """History columns [B,N] -> event vectors [B,N,D], each of its own event alone."""
        return self.events_of(self.item(history, self.history_columns), history[ACTION])

    def events_of(self, embedded: Tensor, action: Tensor) -> Tensor:
        """Embedded history columns [B,N,D] and actions [B,N] -> [B,N,D]."""
        x: Tensor = self.event_norm(embedded if self.action is None else embedded + self.action(action))
        return x

    def states(self, history: Columns, length: Tensor) -> Tensor:
        """History columns [B,N], length [B] -> [B,N+1,D]; state i knows the first i events. States past the length are 0."""
        return self.states_of(self.events(history), length, history.get(TIME))

    def states_of(self, events: Tensor, length: Tensor, time: Tensor | None = None) -> Tensor:
        """As `states`, from event vectors [B,N,D]; times [B,N] are for an encoder with a time bias."""
        states: Tensor = self.encoder(events, length, time)
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
        if self.query_mlp is not None and self.query_out is not None:
            x = self.query_out(x + self.query_mlp(x))
        return x / logit_scale(self.config.retrieval_width)

    def query(self, history: Columns, length: Tensor, user: Columns, context: Columns) -> Tensor:
        """The retrieval vectors [B,K] of requests: history columns [B,N], length [B], user and context columns [B]."""
        return self.query_vector(state_at(self.states(history, length), length), user, context)


def logit_scale(retrieval_width: int) -> float:
    """What a dot product of a query and an item vector is multiplied by to be a logit: K^0.5."""
    return float(retrieval_width**0.5)


def state_at(states: Tensor, length: Tensor) -> Tensor:
    """The state after `length` [B] events: [B,N+1,D] -> [B,D]."""
    index = length.view(-1, 1, 1).expand(-1, 1, states.shape[-1])
    return states.gather(1, index).squeeze(1)
