"""Amortized fusion: the history attends to itself once, and every candidate only queries its keys and values.

After "append with cross-attention", arXiv 2412.06924: cost is linear in candidates, and exact for any number of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shortlist.models.blocks import MASKED, Dropout, FeedForward, Rotary, attend, merge_heads, split_heads
from shortlist.models.fusion import Fusion


class AmortizedFusion(Fusion):
    """Candidates share all weights with events, sit at one position (after the last visible event) and see events alone.

    With `candidate_self` a candidate also sees its own key and value, as the targets of HSTU do (arXiv 2402.17152), never another's.
    """

    amortized = True

    def __init__(self, *, width: int, layers: int, heads: int, feed_forward_ratio: int, dropout: float, candidate_self: bool) -> None:
        super().__init__()
        self.cache_shape = (layers, heads, width // heads)
        self.rotary = Rotary(width // heads)
        self.blocks = nn.ModuleList(AmortizedBlock(width, heads, feed_forward_ratio, dropout, candidate_self) for _ in range(layers))

    def encode(self, tokens: Tensor, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        """Event i of this call is at position P + i. Encoding a history in pieces equals encoding it whole."""
        x = tokens
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

    def read(self, x: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
        position = torch.arange(-1, keys.shape[3], device=x.device)  # -1: the learned first key, always visible
        mask = (position >= visible.unsqueeze(-1)).to(x.dtype).unsqueeze(1) * MASKED  # [B,1,1 or M,1+N]
        angles = self.rotary.angles(visible.unsqueeze(1))  # the position after the last visible event
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AmortizedBlock)
            x = block.candidates(x, keys[:, layer], values[:, layer], angles, mask)
        return x


class AmortizedBlock(nn.Module):
    """One layer with two doors: `history` makes keys and values, `candidates` only reads them.

    A learned key and value precede every history, so attention is defined without events.
    """

    def __init__(self, width: int, heads: int, feed_forward_ratio: int, dropout: float, candidate_self: bool) -> None:
        super().__init__()
        self.heads, self.candidate_self = heads, candidate_self
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = FeedForward(width, feed_forward_ratio, dropout)
        self.dropout = Dropout(dropout)
        self.first_key = nn.Parameter(torch.empty(1, heads, 1, width // heads))
        self.first_value = nn.Parameter(torch.empty(1, heads, 1, width // heads))
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
        query = Rotary.rotate(split_heads(self.query(normed), self.heads), angles)
        return self._add(x, attend(query, *self._with_first(keys, values), mask)), keys, values

    def candidates(self, x: Tensor, keys: Tensor, values: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """x [B,M,D] reads keys and values [B,H,N,D/H] under a mask that broadcasts to [B,1,M,1+N]."""
        normed = self.norm(x)
        query = split_heads(self.query(normed), self.heads)
        rotated = Rotary.rotate(query, angles)
        keys, values = self._with_first(keys, values)
        if not self.candidate_self:
            return self._add(x, attend(rotated, keys, values, mask))
        own_key, own_value = (split_heads(part, self.heads) for part in self.key_value(normed).chunk(2, dim=-1))
        own = (query * own_key).sum(dim=-1, keepdim=True)  # both at one position: their rotations cancel
        return self._add(x, attend_with_own(rotated, keys, values, mask, own, own_value))

    def _with_first(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        batch = keys.shape[0]
        first_key, first_value = self.first_key.expand(batch, -1, -1, -1), self.first_value.expand(batch, -1, -1, -1)
        return torch.cat((first_key, keys), dim=2), torch.cat((first_value, values), dim=2)

    def _add(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.out(merge_heads(attended)))
        out: Tensor = x + self.feed_forward(x)
        return out


def attend_with_own(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, own: Tensor, own_value: Tensor) -> Tensor:
    """As `attend`, where each query [B,H,M,D/H] has one more key of its own: dot products `own` [B,H,M,1], values [B,H,M,D/H]."""
    scale = query.shape[-1] ** -0.5
    logits = torch.matmul(query * scale, keys.transpose(-1, -2)) + mask
    weights = torch.cat((logits, own * scale), dim=-1).softmax(dim=-1)
    return torch.matmul(weights[..., :-1], values) + weights[..., -1:] * own_value
