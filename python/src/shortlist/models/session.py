"""The session: what the newest events of a history say about the request at hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shortlist.models.blocks import MASKED


class Session(nn.Module):
    """Two summaries of the R newest events: what the request attends to, and a mean with one learned weight per age.

    After the real-time sequence module of InteractRank (arXiv 2504.06609).
    """

    def __init__(self, width: int, events: int) -> None:
        super().__init__()
        self.attention_query = nn.Linear(width, width, bias=False)
        self.attention_key = nn.Linear(width, width, bias=False)
        self.recency = nn.Parameter(torch.linspace(0.0, -2.0, events))  # logits of the weighted mean, newest first

    def forward(self, request: Tensor, recent: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Request [...,D], newest events [...,R,D] and whether each exists [...,R] -> two summaries [...,D], 0 without events."""
        absent = (1.0 - present) * MASKED
        # (W_k e) . (W_q r) = e . (W_k^T W_q r): one product for the request instead of one for each event.
        query = torch.matmul(self.attention_query(request), self.attention_key.weight)
        logits = torch.matmul(recent, query.unsqueeze(-1)).squeeze(-1) * query.shape[-1] ** -0.5
        attended = (logits + absent).softmax(dim=-1) * present
        weighted = (self.recency + absent).softmax(dim=-1) * present
        mixed = torch.matmul(torch.stack((attended, weighted), dim=-2), recent)  # [...,2,D]
        return mixed[..., 0, :], mixed[..., 1, :]


def recent_events(events: Tensor, position: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` newest of the first `position` [B,S] events of [B,N,D], newest first: [B,S,R,D] and 1 where one exists [B,S,R]."""
    index = position.unsqueeze(-1) - 1 - torch.arange(count, device=position.device)  # [B,S,R]
    present = (index >= 0).to(events.dtype)
    flat = index.clamp(min=0).flatten(1).unsqueeze(-1).expand(-1, -1, events.shape[-1])
    return events.gather(1, flat).view(*index.shape, -1), present


def newest_events(past: Tensor, events: Tensor, length: Tensor) -> Tensor:
    """The R newest of R `past` events [B,R,D], newest first, and `length` [B] new ones of [B,N,D]: [B,R,D], newest first.

    An absent past event is 0, and so is then an absent event of the result.
    """
    count = past.shape[1]
    age = torch.arange(count, device=events.device)
    length = length.unsqueeze(-1)
    index = torch.where(age < length, count + length - 1 - age, age - length)  # the new ones follow the past ones
    return torch.cat((past, events), dim=1).gather(1, index.unsqueeze(-1).expand(-1, -1, events.shape[-1]))
