"""BERT4Rec: an encoder that looks both ways and fills in masked events; the next event is a mask after the last (arXiv 1904.06690).

It retrieves, and that is all: what it knows after an event depends on the events that follow, so later stages cannot build on its states.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shortlist.errors import ConfigError
from shortlist.models.embedding import Columns
from shortlist.models.two_tower import TwoTower, TwoTowerConfig, state_at
from shortlist.schema import Schema


class Bert4Rec(TwoTower):
    """A two-tower whose query is the state of a mask put after the history."""

    def __init__(self, schema: Schema, config: TwoTowerConfig) -> None:
        super().__init__(schema, config)
        self.mask = nn.Parameter(torch.empty(config.width))
        nn.init.normal_(self.mask, std=0.02)

    def masked_states(self, events: Tensor, masked: Tensor, length: Tensor) -> Tensor:
        """Event vectors [B,N,D], which of them are hidden (bool [B,N]), length [B] -> what fills each place in, [B,N,D]."""
        states: Tensor = self.encoder(torch.where(masked.unsqueeze(-1), self.mask, events), length)
        return states[:, 1:]

    def query(self, history: Columns, length: Tensor, user: Columns, context: Columns) -> Tensor:
        """As `TwoTower.query`. The oldest event of a full window makes room for the mask in the positions, not in the attention."""
        events = self.events(history)
        events = torch.cat((events, torch.zeros_like(events[:, :1])), dim=1)  # [B,N+1,D]
        masked = torch.arange(events.shape[1], device=events.device) == length.unsqueeze(-1)
        return self.query_vector(state_at(self.masked_states(events, masked, length + 1), length), user, context)

    def states_of(self, events: Tensor, length: Tensor, time: Tensor | None = None) -> Tensor:
        """There are none. Raises ConfigError."""
        raise ConfigError(
            "bert4rec has no state after each event", why="it looks both ways", fix="use it as a retriever alone, or another encoder"
        )
