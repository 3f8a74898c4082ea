"""The LiGR block: each branch reaches the residual through a learned gate, and the feed-forward is SwiGLU (arXiv 2502.03417)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from shortlist.models.blocks import Dropout, Sight
from shortlist.models.sasrec import Angles, SelfAttention


class SwiGlu(nn.Module):
    """SwiGLU branch (arXiv 2002.05202) with its own norm; the caller adds the residual."""

    def __init__(self, width: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * ratio * width, bias=False)
        self.down = nn.Linear(ratio * width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(self.norm(x)).chunk(2, dim=-1)
        branch: Tensor = self.dropout(self.down(functional.silu(gate) * value))
        return branch


class LigrBlock(nn.Module):
    """x + sigmoid(gate(x)) * branch(x), for attention and for SwiGLU."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.attention_gate = nn.Linear(width, width)
        self.feed_forward = SwiGlu(width, ratio, dropout)
        self.feed_forward_gate = nn.Linear(width, width)

    def forward(self, x: Tensor, angles: Angles | None) -> Tensor:
        """[B,N,D] -> [B,N,D]; angles as in `SelfAttention`."""
        return self._add(x, self.attention(x, angles))

    def tell(self, x: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor]:
        """As `SelfAttention.tell`."""
        return self.attention.tell(x, angles)

    def ask(self, x: Tensor, keys: Tensor, values: Tensor, sight: Sight) -> Tensor:
        """As `SelfAttention.ask`, through the whole block."""
        return self._add(x, self.attention.ask(x, keys, values, sight))

    def _add(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.attention_gate(x).sigmoid() * attended
        out: Tensor = x + self.feed_forward_gate(x).sigmoid() * self.feed_forward(x)
        return out
