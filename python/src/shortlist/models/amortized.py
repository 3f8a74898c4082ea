"""Amortized fusion: the history attends to itself once, and every candidate only queries its keys and values.

After "append with cross-attention", arXiv 2412.06924: cost is linear in candidates, and exact for any number of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shortlist.models.blocks import MASKED, Activation, Dropout, FeedForward, Rotary, attend, split_heads
from shortlist.models.fusion import Fusion


class AmortizedFusion(Fusion):
    """Candidates share all weights with events, sit at one position (after the last visible event) and see events alone.

    With `candidate_self` a candidate also sees its own key and value, as the targets of HSTU do (arXiv 2402.17152), never another's.
    """

    amortized = True

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        feed_forward_ratio: int,
        dropout: float,
        candidate_self: bool,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.cache_shape = (layers, heads, width // heads)
        self.rotary = Rotary(width // heads)
        feed_forward = (FeedForward(width, feed_forward_ratio, dropout, activation) for _ in range(layers))
        self.blocks = nn.ModuleList(AmortizedBlock(width, heads, branch, dropout, candidate_self) for branch in feed_forward)

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
        # Rows [B M,D]: runtimes fuse bias and activation into a product of two matrices, not into one with more axes.
        rows = x.flatten(0, 1)
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, AmortizedBlock)
            rows = block.candidates(rows, keys[:, layer], values[:, layer], angles, mask)
        return rows.view(x.shape)


class AmortizedBlock(nn.Module):
    """One layer with two doors: `history` makes keys and values, `candidates` only reads them.

    A learned key and value precede every history, so attention is defined without events.
    """

    def __init__(self, width: int, heads: int, feed_forward: FeedForward, dropout: float, candidate_self: bool) -> None:
        super().__init__()
        self.heads, self.candidate_self = heads, candidate_self
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = feed_forward
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
        values = torch.cat((past_values, self._ready(value) * valid), dim=2)
        query = Rotary.rotate(split_heads(self.query(normed), self.heads), angles)
        return self._add(x, attend(query, *self._with_first(keys, values), mask)), keys, values

    def candidates(self, x: Tensor, keys: Tensor, values: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """x [B M,D] reads keys and values [B,H,N,D/H] under a mask that broadcasts to [B,1,M,1+N]."""
        normed = self.norm(x).view(keys.shape[0], -1, x.shape[-1])
        keys, values = self._with_first(keys, values)
        query, turned = self._ask(normed, keys, angles)
        if not self.candidate_self:
            return self._add(x, attend(query, turned, values, mask))
        own_key, own_value = (split_heads(part, self.heads) for part in self.key_value(normed).chunk(2, dim=-1))
        # Both are at one position: their rotations cancel.
        own = (split_heads(self.query(normed), self.heads) * own_key).sum(dim=-1, keepdim=True)
        return self._add(x, attend_with_own(query, turned, values, mask, own, self._ready(own_value)))

    def _ask(self, normed: Tensor, keys: Tensor, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries of M candidates and keys, such that their dot products are the attention's.

        Candidates at one position, as in serving, leave to the keys all that they share, since a chunk has more candidates than its
        history has events: the keys turn back by that position or, with one head, pass the query matrix, which turns for all of them,
        so that a candidate's normed state is its query.
        """
        cos, sin = angles
        if cos.shape[-2] > 1:  # [B,1,M,D/H / 2]: each candidate at its own
            return Rotary.rotate(split_heads(self.query(normed), self.heads), angles), keys
        if self.heads > 1:
            return split_heads(self.query(normed), self.heads), Rotary.rotate(keys, (cos, -sin))
        turned = Rotary.rotate(self.query.weight.transpose(0, 1), angles)  # [B,1,D,D]
        return normed.unsqueeze(1), torch.matmul(keys, turned.transpose(-1, -2))

    def _ready(self, value: Tensor) -> Tensor:
        """Values [B,H,N,D/H] as attention sums them up. With one head the output matrix is applied here: it commutes with the sum, and
        there are fewer events than candidates."""
        ready: Tensor = self.out(value) if self.heads == 1 else value
        return ready

    def _with_first(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        batch = keys.shape[0]
        first_key, first_value = self.first_key.expand(batch, -1, -1, -1), self._ready(self.first_value).expand(batch, -1, -1, -1)
        return torch.cat((first_key, keys), dim=2), torch.cat((first_value, values), dim=2)

    def _add(self, x: Tensor, attended: Tensor) -> Tensor:
        mixed = attended.reshape(x.shape) if self.heads == 1 else self.out(attended.transpose(1, 2).reshape(x.shape))
        x = x + self.dropout(mixed)
        out: Tensor = x + self.feed_forward(x)
        return out


def attend_with_own(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, own: Tensor, own_value: Tensor) -> Tensor:
    """As `attend`, where each query [B,H,M,D/H] has one more key of its own: dot products `own` [B,H,M,1], values [B,H,M,D/H]."""
    scale = query.shape[-1] ** -0.5
    logits = torch.matmul(query * scale, keys.transpose(-1, -2)) + mask
    weights = torch.cat((logits, own * scale), dim=-1).softmax(dim=-1)
    return torch.matmul(weights[..., :-1], values) + weights[..., -1:] * own_value
