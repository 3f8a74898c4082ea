"""The SASRec block, pre-norm: causal softmax attention and a GELU feed-forward (arXiv 1808.09781). BERT4Rec uses it both ways."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from shortlist.models.blocks import Dropout, FeedForward, Rotary, Sight, merge_heads, split_heads

Angles = tuple[Tensor, Tensor]


class SelfAttention(nn.Module):
    """Softmax self-attention over earlier positions, with its own norm; the caller adds the residual.

    Right padding needs no mask: a valid position never looks at a later one. Given `visible`, it looks both ways, at visible positions.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, angles: Angles | None, visible: Tensor | None = None) -> Tensor:
        """[B,N,D] -> [B,N,D]; angles are those of positions [N], None where positions are embedded; visible bool [B,N]."""
        query, key, value = (split_heads(part, self.heads) for part in self.project(self.norm(x)).chunk(3, dim=-1))
        if angles is not None:
            query, key = Rotary.rotate(query, angles), Rotary.rotate(key, angles)
        mask = None if visible is None else visible[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=visible is None)
        branch: Tensor = self.dropout(self.out(merge_heads(mixed)))
        return branch

    def tell(self, x: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor]:
        """What rows [B,N,D] let later ones see: keys and values [B,H,N,D/H]."""
        told = functional.linear(self.norm(x), self.project.weight[x.shape[-1] :])
        key, value = (split_heads(part, self.heads) for part in told.chunk(2, dim=-1))
        return (key if angles is None else Rotary.rotate(key, angles)), value

    def ask(self, x: Tensor, keys: Tensor, values: Tensor, sight: Sight) -> Tensor:
        """Rows [B,M,D] look at keys and values [B,H,S,D/H] -> [B,M,D]. What `forward` does, in eval, for any rows and keys."""
        query = split_heads(functional.linear(self.norm(x), self.project.weight[: x.shape[-1]]), self.heads)
        query = query if sight.angles is None else Rotary.rotate(query, sight.angles)
        mixed = functional.scaled_dot_product_attention(query, keys, values, attn_mask=sight.bias)
        branch: Tensor = self.out(merge_heads(mixed))
        return branch


class SasRecBlock(nn.Module):
    """x + attention, then x + feed-forward."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, ratio, dropout)

    def forward(self, x: Tensor, angles: Angles | None, visible: Tensor | None = None) -> Tensor:
        """[B,N,D] -> [B,N,D]; as `SelfAttention`."""
        return self._add(x, self.attention(x, angles, visible))

    def tell(self, x: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor]:
        """As `SelfAttention.tell`."""
        return self.attention.tell(x, angles)

    def ask(self, x: Tensor, keys: Tensor, values: Tensor, sight: Sight) -> Tensor:
        """As `SelfAttention.ask`, through the whole block."""
        return self._add(x, self.attention.ask(x, keys, values, sight))

    def _add(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + attended
        out: Tensor = x + self.feed_forward(x)
        return out
