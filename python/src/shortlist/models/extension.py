"""An encoder that reads a history once and is extended by new events alone: what servers run, in eval.

The start looks at nothing but itself, so its keys and values are constants of the model: they precede every history, as the ranker's
learned first ones do, and are no part of what is kept. Only the newest state leaves the encoder, so in the last layer only that row asks.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from shortlist.models.blocks import MASKED, Sight
from shortlist.models.encoder import Encoder
from shortlist.models.hstu import HstuBlock
from shortlist.models.ligr import LigrBlock
from shortlist.models.sasrec import SasRecBlock

Block = SasRecBlock | LigrBlock | HstuBlock


class Extension(nn.Module):
    """Reads N new events after P past ones. Reading a history in pieces equals reading it whole, and equals `Encoder.forward`."""

    first_keys: Tensor  # of the start, [L,H,1,D/H]
    first_values: Tensor
    first_state: Tensor  # [D]

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        keys, values, state = self._start()
        self.register_buffer("first_keys", keys)
        self.register_buffer("first_values", values)
        self.register_buffer("first_state", state)

    @torch.no_grad()
    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        place, x = torch.zeros(1, 1, dtype=torch.int64), self.encoder.start.view(1, 1, -1)
        sight, keys, values = self._sight(place, 1), [], []
        for block in self._blocks():
            key, value = block.tell(x, sight.angles)
            x = block.ask(x, key, value, sight)
            keys.append(key[0])
            values.append(value[0])
        return torch.stack(keys), torch.stack(values), self.encoder.norm(x).flatten()

    def forward(self, events: Tensor, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Event vectors [B,N,D], of which `length` [B] are valid, unpadded past [B,L,H,P,D/H] -> the newest state [B,D], keys and
        values [B,L,H,P+N,D/H], past included. `length` may be 0 where P is."""
        batch, count, past = events.shape[0], events.shape[1], past_keys.shape[3]
        order = torch.arange(count, device=events.device)
        every = self._sight((past + 1 + order).unsqueeze(0), 1 + past + count)  # the start is at 0
        newest = self._sight((past + length).unsqueeze(-1), 1 + past + count)
        # Padding is never seen by a valid event; its own keys and values are set to 0 so that outputs are defined.
        valid = (order < length.unsqueeze(-1)).to(events.dtype)[:, None, :, None]
        x, blocks, new_keys, new_values = events, self._blocks(), [], []
        for layer, block in enumerate(blocks):
            key, value = (told * valid for told in block.tell(x, every.angles))
            keys = torch.cat((self.first_keys[layer].expand(batch, -1, -1, -1), past_keys[:, layer], key), dim=2)
            values = torch.cat((self.first_values[layer].expand(batch, -1, -1, -1), past_values[:, layer], value), dim=2)
            new_keys.append(key)
            new_values.append(value)
            if layer + 1 < len(blocks):
                x = block.ask(x, keys, values, every)
        row = (length - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, x.shape[-1])
        state = self.encoder.norm(blocks[-1].ask(x.gather(1, row), keys, values, newest)).squeeze(1)
        state = torch.where(length.unsqueeze(-1) > 0, state, self.first_state)
        keys = torch.cat((past_keys, torch.stack(new_keys, dim=1)), dim=3)
        values = torch.cat((past_values, torch.stack(new_values, dim=1)), dim=3)
        return state, keys, values

    def _blocks(self) -> list[Block]:
        return cast(list[Block], list(self.encoder.blocks))

    def _sight(self, place: Tensor, count: int) -> Sight:
        """Of rows at positions [1 or B,M] on the first `count` positions."""
        seen = torch.arange(count, device=place.device)
        later = (seen > place.unsqueeze(-1)).to(torch.float32).unsqueeze(1)  # [1 or B,1,M,S]
        if self.encoder.bias is not None:
            return Sight(None, self.encoder.bias.between(place, seen).unsqueeze(1), 1.0 - later)
        assert self.encoder.rotary is not None
        cos, sin = self.encoder.rotary.angles(place)
        return Sight((cos.unsqueeze(1), sin.unsqueeze(1)), later * MASKED, None)
