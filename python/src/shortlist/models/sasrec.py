"""The SASRec block, pre-norm: causal softmax attention and a GELU feed-forward (arXiv 1808.09781). BERT4Rec uses it both ways."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from shortlist.models.blocks import Dropout, FeedForward, Rotary, merge_heads, split_heads

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


class SasRecBlock(nn.Module):
    """x + attention, then x + feed-forward."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, ratio, dropout)

    def forward(self, x: Tensor, angles: Angles | None, visible: Tensor | None = None) -> Tensor:
        """[B,N,D] -> [B,N,D]; as `SelfAttention`."""
        x = x + self.attention(x, angles, visible)
        out: Tensor = x + self.feed_forward(x)
        return out
