"""The rankers: one front and one set of task heads around a fusion of candidates and history, by `RankerConfig.kind`.

Whatever the kind, a candidate's logits depend on no other candidate, on no padding and on no batch mate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shortlist.errors import ConfigError
from shortlist.models.amortized import AmortizedFusion
from shortlist.models.blocks import Activation, initialise
from shortlist.models.calibration import Calibration
from shortlist.models.early_fusion import Bst, Din, MeanPool, TransAct
from shortlist.models.embedding import ColumnEmbedding, Columns, log_rate
from shortlist.models.fusion import Fusion
from shortlist.models.trees import TreeRanker
from shortlist.schema import ACTION, Schema

RankerKind = Literal["amortized", "amortized-self", "bst", "transact", "din", "mean-pool", "trees"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerConfig:
    """Sizes: D `width`, L `layers`, H `heads`. Speed on CPUs falls with every head and with GELU: docs/reports/graph_rate.md.

    `kind`: "amortized" is the product; "amortized-self" adds each candidate's own key; "bst", "transact", "din" and "mean-pool" are the
    baselines (the last two have no layers and no heads). "trees" are boosted trees, which none of these sizes concerns.
    """

    kind: RankerKind = "amortized"
    width: int = 64
    layers: int = 2
    heads: int = 2
    feed_forward_ratio: int = 2
    activation: Activation = "gelu"
    dropout: float = 0.1

    def build(self, schema: Schema) -> AnyRanker:
        return TreeRanker(schema) if self.kind == "trees" else Ranker(schema, self)

    def fusion(self) -> Fusion:
        """Raises ConfigError for a kind that does not exist."""
        merge = {"width": self.width, "feed_forward_ratio": self.feed_forward_ratio}
        layers = merge | {"layers": self.layers, "heads": self.heads}
        match self.kind:
            case "amortized" | "amortized-self":
                return AmortizedFusion(
                    **layers, dropout=self.dropout, candidate_self=self.kind == "amortized-self", activation=self.activation
                )
            case "bst":
                return Bst(**layers, dropout=self.dropout)
            case "transact":
                return TransAct(**layers, dropout=self.dropout)
            case "din":
                return Din(**merge, dropout=self.dropout)
            case "mean-pool":
                return MeanPool(**merge, dropout=self.dropout)
        raise ConfigError(f"RankerConfig.kind is {self.kind!r}", why="there is no such ranker", fix=f"use one of {', '.join(KINDS)}")


# The neural ones, which differ in their fusion alone.
KINDS: tuple[RankerKind, ...] = ("amortized", "amortized-self", "bst", "transact", "din", "mean-pool")


class Ranker(nn.Module):
    """Encode a history once; score any number of candidates against it, for T tasks."""

    prerank_mean: Tensor
    prerank_deviation: Tensor

    def __init__(self, schema: Schema, config: RankerConfig) -> None:
        super().__init__()
        self.schema, self.config = schema, config
        width, tasks = config.width, len(schema.tasks)
        self.item = ColumnEmbedding(schema.item, width)
        self.action = nn.Embedding(len(schema.actions) + 1, width)
        self.user = ColumnEmbedding(schema.user, width) if schema.user else None
        self.context = ColumnEmbedding(schema.context, width) if schema.context else None
        self.token_norm = nn.LayerNorm(width)
        self.fusion = config.fusion()
        self.score_in = nn.Linear(1 + len(schema.cross), width)
        self.out_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, tasks)
        self.apply(initialise)
        # The preranker's score goes straight to every logit and the rest starts at 0: an untrained ranker keeps the preranker's order.
        nn.init.zeros_(self.out.weight)
        self.prerank_weight = nn.Parameter(torch.ones(tasks))
        self.register_buffer("prerank_mean", torch.zeros(()))
        self.register_buffer("prerank_deviation", torch.ones(()))
        self.calibration = Calibration(tasks)  # after training: see `shortlist.training.calibration`

    @property
    def width(self) -> int:
        """D of ranker tokens."""
        return self.config.width

    def item_tokens(self, item: Columns) -> Tensor:
        """Item columns [M] -> [M,D]; computed when the catalog changes, not per request."""
        tokens: Tensor = self.token_norm(self.item(item))
        return tokens

    def event_tokens(self, history: Columns) -> Tensor:
        """History columns [B,N] -> [B,N,D]."""
        token: Tensor = self.token_norm(self.item(history, self.schema.history) + self.action(history[ACTION]))
        return token

    def encode_history(self, history: Columns, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        """History columns [B,N], length [B], unpadded past [B,L,H,P,D/H] -> keys and values [B,L,H,P+N,D/H], past included.

        Encoding a history in pieces equals encoding it whole.
        """
        return self.fusion.encode(self.event_tokens(history), length, past_keys, past_values)

    def empty_past(self, batch: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Past keys and values of nothing: [B,L,H,0,D/H]. Two tensors, since exporters mistake one passed twice."""
        layers, heads, width = self.fusion.cache_shape
        shape = (batch, layers, heads, 0, width)
        return torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def score(
        self,
        keys: Tensor,
        values: Tensor,
        length: Tensor,
        user: Columns,
        context: Columns,
        token: Tensor,
        cross: Tensor,
        prerank_score: Tensor,
    ) -> Tensor:
        """Keys and values [B,L,H,N,D/H], length [B], columns [B], token [B,M,D], cross [B,M,C], prerank_score [B,M] -> [B,M,T]."""
        request = self.request(user, context)
        request = token.new_zeros(()) if request is None else request.unsqueeze(1)
        return self.score_at(keys, values, length.unsqueeze(-1), request, token, cross, prerank_score)

    def request(self, user: Columns, context: Columns) -> Tensor | None:
        """What is known of the request alone: columns [...] -> [...,D]; None where the schema has no such column."""
        parts = [self.user(user)] if self.user is not None else []
        if self.context is not None:
            parts.append(self.context(context))
        return sum(parts[1:], parts[0]) if parts else None

    def score_at(
        self, keys: Tensor, values: Tensor, visible: Tensor, request: Tensor, token: Tensor, cross: Tensor, prerank_score: Tensor
    ) -> Tensor:
        """As `score`, where each candidate sees its own number of events: visible [B,1] or [B,M], request broadcasts to [B,M,D].

        Training scores many positions of one history in one pass this way.
        """
        prerank = (prerank_score - self.prerank_mean).unsqueeze(-1)
        scores = torch.cat((prerank / self.prerank_deviation, log_rate(cross)), dim=-1)
        request = request + self.score_in.bias  # once per request, not per candidate
        x = token + functional.linear(scores, self.score_in.weight) + request
        x = self.fusion.read(x, keys, values, visible)
        logits: Tensor = self.calibration(self.out(self.out_norm(x)) + prerank * self.prerank_weight)
        return logits


AnyRanker = Ranker | TreeRanker
