"""The HSTU block: pointwise SiLU attention with a bias for relative position and elapsed time (arXiv 2402.17152)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shortlist.models.blocks import Dropout, Sight, merge_heads, split_heads

# Elapsed seconds in steps of a quarter of a doubling: 128 of them reach 2^32 s, more than a century.
TIME_BUCKETS = 128
_BUCKETS_PER_DOUBLING = 4
# The least whole seconds of each bucket; the lowest buckets hold no whole second and share theirs.
LEAST_SECONDS = [math.ceil(2 ** (bucket / _BUCKETS_PER_DOUBLING)) - 1 for bucket in range(TIME_BUCKETS)]


class RelativeBias(nn.Module):
    """What the distance between two events, in events and in seconds, adds to their attention logit; one number for all heads."""

    least: Tensor  # [TIME_BUCKETS]

    def __init__(self, max_events: int, *, time: bool) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(max_events + 1))
        self.time = nn.Parameter(torch.zeros(TIME_BUCKETS)) if time else None
        self.register_buffer("least", torch.tensor(LEAST_SECONDS), persistent=False)

    def forward(self, place: Tensor, time: Tensor | None) -> Tensor:
        """[1 or B,N,N] for positions [N] and their times [B,N] in seconds; entry i,j is how i sees j."""
        bias = self.between(place, place).unsqueeze(0)
        if self.time is not None and time is not None:
            bias = bias + self.time[time_bucket(time.unsqueeze(-1) - time.unsqueeze(-2), self.least)]
        return bias

    def between(self, place: Tensor, seen: Tensor) -> Tensor:
        """[...,M,S]: what positions [...,M] add to their logits of positions [S], by distance alone."""
        return self.position[(place.unsqueeze(-1) - seen).clamp(min=0, max=self.position.shape[0] - 1)]


def time_bucket(seconds: Tensor, least: Tensor) -> Tensor:
    """Bucket of elapsed int64 seconds: logarithmic, 0 for none and for a negative time. `least` [`TIME_BUCKETS`] are their first seconds.

    Runtimes round logarithms differently, which at an edge is another bucket; so the logarithm is a guess that whole numbers correct.
    Bounds are by `where`: ONNX Runtime's Clip of int64 (1.31) is wrong from 2^31 on.
    """
    seconds = torch.where(seconds > 0, seconds, torch.zeros_like(seconds))
    seconds = torch.where(seconds < least[-1], seconds, least[-1])
    guess = (torch.log2(seconds.to(torch.float32) + 1.0) * _BUCKETS_PER_DOUBLING).to(torch.int64).clamp(max=TIME_BUCKETS - 1)
    above = (guess + 1).clamp(max=TIME_BUCKETS - 1)
    return torch.where(seconds < least[guess], guess - 1, torch.where(seconds >= least[above], above, guess))


class HstuBlock(nn.Module):
    """x + out(norm(A V) * U), with A = SiLU(Q K^T + bias) / `max_events` over earlier positions.

    The weights do not sum to 1, so that the strength of a preference is kept. There is no feed-forward: the gate U stands in for it.
    """

    def __init__(self, width: int, heads: int, max_events: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.max_events = heads, max_events
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 4 * width, bias=False)
        self.mixed_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, earlier: Tensor) -> Tensor:
        """x [B,N,D], bias [1 or B,N,N], earlier [N,N] 1 where a position may look -> [B,N,D]."""
        gate, value, query, key = functional.silu(self.project(self.norm(x))).chunk(4, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in (query, key, value))
        return self._add(x, gate, query, key, value, Sight(None, bias.unsqueeze(1), earlier))

    def tell(self, x: Tensor, angles: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """What rows [B,N,D] let later ones see: keys and values [B,H,N,D/H]. There are no angles to turn by."""
        value, key = self._projected(x, 1, 3)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def ask(self, x: Tensor, keys: Tensor, values: Tensor, sight: Sight) -> Tensor:
        """Rows [B,M,D] look at keys and values [B,H,S,D/H] -> [B,M,D]. What `forward` does, for any rows and keys."""
        gate, query = self._projected(x, 0, 2)
        return self._add(x, gate, split_heads(query, self.heads), keys, values, sight)

    def _projected(self, x: Tensor, *parts: int) -> tuple[Tensor, ...]:
        """Some of the four parts of the projection: gate, value, query and key, each [B,N,D]."""
        width = x.shape[-1]
        weight = torch.cat([self.project.weight[part * width : (part + 1) * width] for part in parts])
        return functional.silu(functional.linear(self.norm(x), weight)).chunk(len(parts), dim=-1)

    def _add(self, x: Tensor, gate: Tensor, query: Tensor, keys: Tensor, values: Tensor, sight: Sight) -> Tensor:
        assert sight.visible is not None
        logits = torch.matmul(query * query.shape[-1] ** -0.5, keys.transpose(-1, -2)) + sight.bias
        mixed = merge_heads(torch.matmul(functional.silu(logits) * (sight.visible / self.max_events), values))
        out: Tensor = x + self.out(self.dropout(self.mixed_norm(mixed) * gate))
        return out
