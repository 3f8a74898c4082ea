"""The GRU4Rec block: a gated recurrent unit over the events (arXiv 1511.06939), pre-norm and residual so that blocks stack."""

from __future__ import annotations

from torch import Tensor, nn

from shortlist.models.blocks import Dropout


class GruBlock(nn.Module):
    """x + GRU(norm(x)). It reads from left to right, so it needs neither positions nor a mask: a step knows what came before it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B,N,D] -> [B,N,D]."""
        hidden, _ = self.gru(self.norm(x))
        out: Tensor = x + self.dropout(hidden)
        return out
