"""The rankers to beat: fusions that keep events as they are and do their work again for every candidate, and the plain mean.

Their keys and values are the two halves of the event tokens (L = H = 1), so that they export under the same contract.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from shortlist.models.blocks import Dropout, FeedForward, Rotary, attend, merge_heads, split_heads
from shortlist.models.fusion import Fusion, hidden_events, visible_events


class StoredEvents(Fusion):
    """A fusion whose cache is the event tokens themselves."""

    amortized = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cache_shape = (1, 1, width // 2)

    def encode(self, tokens: Tensor, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        seen = visible_events(tokens.shape[1], length).unsqueeze(-1)
        first, second = (tokens * seen)[:, None, None].chunk(2, dim=-1)
        return torch.cat((past_keys, first), dim=3), torch.cat((past_values, second), dim=3)

    def read(self, x: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
        return self.fuse(x, torch.cat((keys, values), dim=-1)[:, 0, 0], visible)

    def fuse(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        """Candidates x [B,M,D], event tokens [B,N,D], visible [B,1] or [B,M] -> [B,M,D]."""
        raise NotImplementedError


class PairFusion(StoredEvents):
    """A fusion that runs a whole network for each pair of history and candidate."""

    def fuse(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        repeated = events.unsqueeze(1).expand(-1, x.shape[1], -1, -1).flatten(0, 1)
        each = visible.expand(-1, x.shape[1]).flatten()
        return self.fuse_pairs(x.flatten(0, 1), repeated, each).view(x.shape)

    def fuse_pairs(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        """One candidate x [S,D], event tokens [S,N,D] and visible [S] of each pair -> [S,D]."""
        raise NotImplementedError


class Bst(PairFusion):
    """Behavior Sequence Transformer, arXiv 1905.06874: the candidate is one more token, and all tokens see each other.

    Its own last state is the answer, so the last layer runs for the candidate alone.
    """

    def __init__(self, *, width: int, layers: int, heads: int, feed_forward_ratio: int, dropout: float) -> None:
        super().__init__(width)
        self.rotary = Rotary(width // heads)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, feed_forward_ratio, dropout) for _ in range(layers))

    def fuse_pairs(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        count = events.shape[1]
        tokens = torch.cat((x.unsqueeze(1), events), dim=1)  # [S,1+N,D]
        place = torch.arange(count, device=x.device).expand(x.shape[0], -1)
        position = torch.cat((visible.unsqueeze(-1), place), dim=1)  # the candidate comes after the last visible event
        mask = functional.pad(hidden_events(visible_events(count, visible)), (1, 0))[:, None, None]
        cos, sin = (part.unsqueeze(1) for part in self.rotary.angles(position))
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            asking = 1 if layer == last else count + 1
            tokens = block(tokens[:, :asking], tokens, (cos[:, :, :asking], sin[:, :, :asking]), (cos, sin), mask)
        return tokens[:, 0]


class TransAct(PairFusion):
    """TransAct, arXiv 2306.00248: the candidate joins every event, then a transformer; out come its maximum and its newest outputs.

    A learned first event makes the maximum defined without events. Its random time window in training is left out: logs may lack times.
    """

    newest = 10

    def __init__(self, *, width: int, layers: int, heads: int, feed_forward_ratio: int, dropout: float) -> None:
        super().__init__(width)
        self.first_event = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.first_event, std=0.02)
        self.join = nn.Linear(2 * width, width)
        self.rotary = Rotary(width // heads)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, feed_forward_ratio, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear((1 + self.newest) * width, width)

    def fuse_pairs(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        count = events.shape[1]
        events = torch.cat((self.first_event.expand(x.shape[0], 1, -1), events), dim=1)  # [S,1+N,D]
        tokens = self.join(torch.cat((events, x.unsqueeze(1).expand(-1, count + 1, -1)), dim=-1))
        hidden = functional.pad(hidden_events(visible_events(count, visible)), (1, 0))  # [S,1+N]
        angles = self.rotary.angles(torch.arange(count + 1, device=x.device))
        for block in self.blocks:
            tokens = block(tokens, tokens, angles, angles, hidden[:, None, None])
        tokens = self.norm(tokens)
        place = visible.unsqueeze(-1) - torch.arange(self.newest, device=x.device)  # [S,R]; place 0 is the learned first event
        newest = tokens.gather(1, place.clamp(min=0).unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        newest = newest * (place > 0).to(tokens.dtype).unsqueeze(-1)
        largest = (tokens + hidden.unsqueeze(-1)).amax(dim=1, keepdim=True)
        out: Tensor = x + self.out(torch.cat((largest, newest), dim=1).flatten(1))
        return out


class Din(StoredEvents):
    """Deep Interest Network, arXiv 1706.06978: a small network weighs each event for the candidate; the weighted sum is not normalised.

    The network's first layer on (event, candidate, event * candidate) is three products that are summed.
    """

    def __init__(self, *, width: int, feed_forward_ratio: int, dropout: float) -> None:
        super().__init__(width)
        self.event = nn.Linear(width, width // 2)
        self.candidate = nn.Linear(width, width // 2, bias=False)
        self.product = nn.Linear(width, width // 2, bias=False)
        self.weight = nn.Linear(width // 2, 1)
        self.merge = Merge(width, feed_forward_ratio, dropout)

    def fuse(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        products = self.product(x.unsqueeze(2) * events.unsqueeze(1))  # [B,M,N,D/2]
        hidden = functional.gelu(products + self.event(events).unsqueeze(1) + self.candidate(x).unsqueeze(2))
        weights = self.weight(hidden).squeeze(-1) * visible_events(events.shape[1], visible)  # [B,M,N]
        merged: Tensor = self.merge(x, torch.matmul(weights, events))
        return merged


class MeanPool(StoredEvents):
    """The mean of the visible events, whatever the candidate; the floor for the others. It is amortized by nature."""

    amortized = True

    def __init__(self, *, width: int, feed_forward_ratio: int, dropout: float) -> None:
        super().__init__(width)
        self.merge = Merge(width, feed_forward_ratio, dropout)

    def fuse(self, x: Tensor, events: Tensor, visible: Tensor) -> Tensor:
        seen = visible_events(events.shape[1], visible)  # [B,1 or M,N]
        mean = torch.matmul(seen, events) / seen.sum(dim=-1, keepdim=True).clamp(min=1.0)
        merged: Tensor = self.merge(x, mean.expand(x.shape))
        return merged


class Merge(nn.Module):
    """Adds to a candidate what a network makes of it and a summary of the history."""

    def __init__(self, width: int, feed_forward_ratio: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.up = nn.Linear(2 * width, 2 * feed_forward_ratio * width)
        self.down = nn.Linear(2 * feed_forward_ratio * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, summary: Tensor) -> Tensor:
        """Both [B,M,D] -> [B,M,D]."""
        hidden = functional.gelu(self.up(self.norm(torch.cat((x, summary), dim=-1))))
        merged: Tensor = x + self.dropout(self.down(hidden))
        return merged


class AttentionBlock(nn.Module):
    """Pre-norm attention without causality; queries may be fewer than the tokens that they see."""

    def __init__(self, width: int, heads: int, feed_forward_ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = FeedForward(width, feed_forward_ratio, dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, tokens: Tensor, query_angles: tuple[Tensor, Tensor], key_angles: tuple[Tensor, Tensor], mask: Tensor
    ) -> Tensor:
        """x [S,A,D] sees tokens [S,N,D] under a mask [S,1,1,N] -> [S,A,D]; angles broadcast to [S,1,A or N,D/H/2]."""
        key, value = (split_heads(part, self.heads) for part in self.key_value(self.norm(tokens)).chunk(2, dim=-1))
        query = Rotary.rotate(split_heads(self.query(self.norm(x)), self.heads), query_angles)
        x = x + self.dropout(self.out(merge_heads(attend(query, Rotary.rotate(key, key_angles), value, mask))))
        out: Tensor = x + self.feed_forward(x)
        return out
