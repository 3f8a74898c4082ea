"""How a candidate meets a history: the one part in which rankers differ.

`encode` runs once per history and its keys and values are cached across requests; `read` runs for candidates. Every fusion obeys the
same laws: a candidate's state depends on no other candidate and no event past `visible`, and nothing stored of an event on later ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shortlist.models.blocks import MASKED


class Fusion(nn.Module):
    """`cache_shape` is L, H and D/H of keys and values. `amortized`: reading costs no more per candidate than attention itself."""

    cache_shape: tuple[int, int, int]
    amortized: bool

    def encode(self, tokens: Tensor, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        """Event tokens [B,N,D], length [B], unpadded past [B,L,H,P,D/H] -> keys and values [B,L,H,P+N,D/H], past included."""
        raise NotImplementedError

    def read(self, x: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
        """Candidates x [B,M,D] after the first `visible` [B,1] or [B,M] events -> [B,M,D]."""
        raise NotImplementedError


def visible_events(count: int, visible: Tensor) -> Tensor:
    """1.0 for each of `count` events that is among the first `visible` [...], else 0.0: [...,N]."""
    return (torch.arange(count, device=visible.device) < visible.unsqueeze(-1)).to(torch.float32)


def hidden_events(seen: Tensor) -> Tensor:
    """What to add to attention logits, from 1.0 where an event is seen and 0.0 where not."""
    return (1.0 - seen) * MASKED
