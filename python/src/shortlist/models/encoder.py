"""Sequence encoders: a history becomes a state after each of its events. The blocks are interchangeable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from shortlist.errors import ConfigError
from shortlist.models.blocks import Dropout, Rotary
from shortlist.models.gru4rec import GruBlock
from shortlist.models.hstu import HstuBlock, RelativeBias
from shortlist.models.ligr import LigrBlock
from shortlist.models.sasrec import SasRecBlock

Kind = Literal["sasrec", "ligr", "hstu", "gru4rec", "bert4rec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Sizes: D `width`, L `layers`, H `heads`.

    bert4rec is the SASRec block that looks both ways (`shortlist.models.bert4rec`). `positions` are rotary, or learned from the newest
    event back as SASRec's; HSTU has its own relative ones; GRU4Rec reads in order and has none, nor heads or a feed-forward.
    `time_bias` (HSTU alone) lets elapsed seconds between events count. `checkpointing` recomputes activations in the backward pass: less
    memory, a third more time.
    """

    encoder: Kind = "sasrec"
    width: int = 64
    layers: int = 2
    heads: int = 1
    feed_forward_ratio: int = 4
    dropout: float = 0.1
    positions: Literal["rotary", "learned"] = "rotary"
    time_bias: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ConfigError(
                f"encoder width {self.width} does not suit {self.heads} heads",
                why="a head has an even, whole number of channels",
                fix="make width a multiple of 2 x heads",
            )
        if self.time_bias and self.encoder != "hstu":
            raise ConfigError(
                f"time_bias with encoder {self.encoder}", why="only HSTU looks at times", fix="use encoder=hstu, or no time_bias"
            )

    @property
    def cache_shape(self) -> tuple[int, int, int]:
        """L, H and D/H of the keys and values that `shortlist.models.extension` keeps of a history. L is 0 where nothing can be kept:
        the encoder looks both ways, counts positions from the newest event, needs the past's times, or has a state and no keys."""
        extendable = not self.time_bias if self.encoder == "hstu" else self.encoder in ("sasrec", "ligr") and self.positions == "rotary"
        return self.layers if extendable else 0, self.heads, self.width // self.heads


class Encoder(nn.Module):
    """A learned start state, then the blocks, then a norm. State i knows the first i events, and nothing after them (but for bert4rec)."""

    def __init__(self, config: EncoderConfig, max_events: int) -> None:
        super().__init__()
        self.config, self.max_events = config, max_events
        width = config.width
        self.start = nn.Parameter(torch.empty(width))
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(self._block() for _ in range(config.layers))
        self.bias = RelativeBias(max_events, time=config.time_bias) if config.encoder == "hstu" else None
        placed = config.encoder not in ("hstu", "gru4rec")
        rotary = placed and config.positions == "rotary"
        self.rotary = Rotary(width // config.heads) if rotary else None
        learned = placed and config.positions == "learned"
        self.position = nn.Embedding(max_events + 1, width) if learned else None
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.start, std=0.02)

    def _block(self) -> nn.Module:
        config = self.config
        if config.encoder == "hstu":
            return HstuBlock(config.width, config.heads, self.max_events, config.dropout)
        if config.encoder == "gru4rec":
            return GruBlock(config.width, config.dropout)
        kinds: dict[str, type[SasRecBlock | LigrBlock]] = {"sasrec": SasRecBlock, "bert4rec": SasRecBlock, "ligr": LigrBlock}
        return kinds[config.encoder](config.width, config.heads, config.feed_forward_ratio, config.dropout)

    def forward(self, events: Tensor, length: Tensor, time: Tensor | None = None) -> Tensor:
        """Event vectors [B,N,D], length [B], times [B,N] (HSTU with `time_bias`) -> [B,N+1,D]; states past the length are 0."""
        x = torch.cat((self.start.expand(events.shape[0], 1, -1), events), dim=1)
        place = torch.arange(x.shape[1], device=x.device)
        if self.position is not None:  # counted from the newest event, which is at `max_events`
            x = x + self.position((self.max_events - length.unsqueeze(-1) + place).clamp(0, self.max_events))
        x = self.dropout(x)
        valid = place <= length.unsqueeze(-1)  # [B,N+1]
        context = self._context(place, valid, time)
        for block in self.blocks:
            x = self._run(block, x, *context)
        states: Tensor = self.norm(x) * valid.to(x.dtype).unsqueeze(-1)
        return states

    def _context(self, place: Tensor, valid: Tensor, time: Tensor | None) -> tuple[Tensor | tuple[Tensor, Tensor] | None, ...]:
        """What every block is given beside x."""
        if self.config.encoder == "gru4rec":
            return ()
        if self.bias is None:
            angles = self.rotary.angles(place) if self.rotary is not None else None
            return (angles, valid) if self.config.encoder == "bert4rec" else (angles,)
        if time is not None:  # the start is at the time of the first event
            time = torch.cat((time[:, :1], time), dim=1)
        elif self.config.time_bias:
            raise ConfigError("the encoder has a time bias, but no times were given", fix="give the events' times, or switch time_bias off")
        earlier = (place.unsqueeze(-1) >= place).to(self.start.dtype)
        return self.bias(place, time), earlier

    def _run(self, block: Callable[..., Tensor], x: Tensor, *context: object) -> Tensor:
        if self.config.checkpointing and self.training:
            out: Tensor = checkpoint(block, x, *context, use_reentrant=False)
            return out
        return block(x, *context)
