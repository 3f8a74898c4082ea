"""The amortized ranker: the history is encoded once, and every candidate only queries it.

After "append with cross-attention", arXiv 2412.06924. Candidates share all weights with history tokens, sit at one position, and attend to
the history and a learned first token alone. So a candidate's logits depend on no other candidate, on no padding and on no batch mate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shortlist.models.blocks import MASKED, Dropout, FeedForward, Rotary, attend, initialise, merge_heads, split_heads
from shortlist.models.calibration import Calibration
from shortlist.models.embedding import ColumnEmbedding, Columns, log_rate
from shortlist.schema import ACTION, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerConfig:
    """Sizes: D `width`, L `layers`, H `heads`. Heads of 32 or more run at GEMM speed on CPUs."""

    width: int = 64
    layers: int = 2
    heads: int = 2
    feed_forward_ratio: int = 2
    dropout: float = 0.1

    def build(self, schema: Schema) -> AmortizedRanker:
        return AmortizedRanker(schema, self)


class AmortizedBlock(nn.Module):
    """One layer with two doors: `history` makes keys and values, `candidates` only reads them.

    A learned key and value precede every history, so attention is defined without events.
    """

    def __init__(self, config: RankerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = FeedForward(width, config.feed_forward_ratio, config.dropout)
        self.dropout = Dropout(config.dropout)
        self.first_key = nn.Parameter(torch.empty(1, config.heads, 1, width // config.heads))
        self.first_value = nn.Parameter(torch.empty(1, config.heads, 1, width // config.heads))
        nn.init.normal_(self.first_key, std=0.02)
        nn.init.normal_(self.first_value, std=0.02)

    def history(
        self, x: Tensor, past_keys: Tensor, past_values: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x [B,N,D], past [B,H,P,D/H], mask [N,1+P+N], valid [B,1,N,1] -> x, keys and values [B,H,P+N,D/H]."""
        normed = self.norm(x)
        key, value = (split_heads(part, self.heads) for part in self.key_value(normed).chunk(2, dim=-1))
        keys = torch.cat((past_keys, Rotary.rotate(key, angles) * valid), dim=2)
        values = torch.cat((past_values, value * valid), dim=2)
        return self._read(x, normed, keys, values, angles, mask), keys, values

    def candidates(self, x: Tensor, keys: Tensor, values: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """x [B,M,D] reads keys and values [B,H,N,D/H] under a mask that broadcasts to [B,1,M,1+N]."""
        return self._read(x, self.norm(x), keys, values, angles, mask)

    def _read(self, x: Tensor, normed: Tensor, keys: Tensor, values: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        query = Rotary.rotate(split_heads(self.query(normed), self.heads), angles)
        batch = keys.shape[0]
        keys = torch.cat((self.first_key.expand(batch, -1, -1, -1), keys), dim=2)
        values = torch.cat((self.first_value.expand(batch, -1, -1, -1), values), dim=2)
        x = x + self.dropout(self.out(merge_heads(attend(query, keys, values, mask))))
        out: Tensor = x + self.feed_forward(x)
        return out


class AmortizedRanker(nn.Module):
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
        self.rotary = Rotary(width // config.heads)
        self.blocks = nn.ModuleList(AmortizedBlock(config) for _ in range(config.layers))
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

    def item_tokens(self, item: Columns) -> Tensor:
        """Item columns [M] -> [M,D]; computed when the catalog changes, not per request."""
        tokens: Tensor = self.item(item)
        return tokens

    def event_tokens(self, history: Columns) -> Tensor:
        """History columns [B,N] -> [B,N,D]."""
        token: Tensor = self.token_norm(self.item(history, self.schema.history) + self.action(history[ACTION]))
        return token

    def encode_history(self, history: Columns, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        """History columns [B,N], length [B], unpadded past [B,L,H,P,D/H] -> keys and values [B,L,H,P+N,D/H], past included.

        Event i of this call is at position P + i. Encoding a history in pieces equals encoding it whole.
        """
        x = self.event_tokens(history)
        count, past = x.shape[1], past_keys.shape[3]
        position = past + torch.arange(count, device=x.device)
        visible = torch.arange(-1, past + count, device=x.device) <= position.unsqueeze(-1)  # key -1 is the learned first one
        mask = (1.0 - visible.to(x.dtype)) * MASKED
        # Padding is never seen by a valid event; its own keys and values are set to 0 so that outputs are defined.
        valid = (torch.arange(count, device=x.device) < length.unsqueeze(-1)).to(x.dtype)[:, None, :, None]
        angles = self.rotary.angles(position)
        keys, values = [], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AmortizedBlock)
            x, layer_keys, layer_values = block.history(x, past_keys[:, layer], past_values[:, layer], angles, mask, valid)
            keys.append(layer_keys)
            values.append(layer_values)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)

    def empty_past(self, batch: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Past keys and values of nothing: [B,L,H,0,D/H]. Two tensors, since exporters mistake one passed twice."""
        shape = (batch, self.config.layers, self.config.heads, 0, self.config.width // self.config.heads)
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
        x = self.token_norm(token) + self.score_in(scores) + request
        position = torch.arange(-1, keys.shape[3], device=token.device)  # -1: the learned first key, always visible
        mask = (position >= visible.unsqueeze(-1)).to(token.dtype).unsqueeze(1) * MASKED  # [B,1,1 or M,1+N]
        cos, sin = self.rotary.angles(visible.unsqueeze(1))  # the position after the last visible event
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AmortizedBlock)
            x = block.candidates(x, keys[:, layer], values[:, layer], (cos, sin), mask)
        logits: Tensor = self.calibration(self.out(self.out_norm(x)) + prerank * self.prerank_weight)
        return logits
