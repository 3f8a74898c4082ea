"""Parallel MaskNet, arXiv 2102.07619: feature crossing in which every input decides how much of each feature counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskBlock(nn.Module):
    """One crossing: features times a mask made of the same features, projected, normalised, rectified."""

    def __init__(self, features: int, mask_width: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(features, mask_width)
        self.widen = nn.Linear(mask_width, features)
        self.project = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised features [...,F] -> [...,width]."""
        mask = self.widen(functional.relu(self.narrow(x)))
        crossed: Tensor = functional.relu(self.norm(self.project(x * mask)))
        return crossed


class ParallelMaskNet(nn.Module):
    """Mask blocks side by side on the same features, joined and projected: [...,F] -> [...,D]."""

    def __init__(self, features: int, width: int, *, blocks: int, mask_width: int, block_width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.blocks = nn.ModuleList(MaskBlock(features, mask_width, block_width) for _ in range(blocks))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(blocks * block_width, width)

    def start_open(self) -> None:
        """Masks of 1: without this, small random masks would start every block near 0. To be called after `initialise`."""
        for block in self.blocks:
            assert isinstance(block, MaskBlock)
            nn.init.ones_(block.widen.bias)

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features)
        crossed: Tensor = self.out(self.dropout(torch.cat([block(x) for block in self.blocks], dim=-1)))
        return crossed


class PlainNet(nn.Module):
    """What the masks are compared with: one hidden layer on the same features, without crossing, of about the same cost."""

    def __init__(self, features: int, width: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.up = nn.Linear(features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, width)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.out(self.dropout(functional.gelu(self.up(self.norm(features)))))
        return out
