"""Transformer parts that the encoders and the ranker share: rotary positions, attention, feed-forward, dropout."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Added to attention logits that must not count. exp() of it is 0 in fp32, and unlike -inf it cannot make NaN.
MASKED = -1e9

Activation = Literal["gelu", "relu"]


class Rotary(nn.Module):
    """Rotary position embedding, arXiv 2104.09864: rotates channel pairs of queries and keys by angle position * frequency."""

    inverse_frequency: Tensor

    def __init__(self, head_width: int, base: float = 10_000.0) -> None:
        super().__init__()
        exponent = torch.arange(0, head_width, 2, dtype=torch.float32) / head_width
        self.register_buffer("inverse_frequency", base**-exponent, persistent=False)

    def angles(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each [..., D/H / 2], of int64 positions [...]."""
        angle = position.to(torch.float32).unsqueeze(-1) * self.inverse_frequency
        return angle.cos(), angle.sin()

    @staticmethod
    def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate x [B,H,N,D/H]; the angles broadcast to its leading axes."""
        cos, sin = angles
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B,N,D] -> [B,H,N,D/H]."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B,H,N,D/H] -> [B,N,D]."""
    return x.transpose(1, 2).flatten(2)


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention of query [B,H,M,D/H] over keys and values [B,H,N,D/H]; `mask` is added and broadcasts to [B,H,M,N].

    Plain products: the mask is never expanded over M, and every runtime has these operators.
    """
    logits = torch.matmul(query * query.shape[-1] ** -0.5, keys.transpose(-1, -2)) + mask
    return torch.matmul(logits.softmax(dim=-1), values)


class Sight(NamedTuple):
    """How the M rows that ask see S keys. All of it broadcasts to the attention's axes."""

    angles: tuple[Tensor, Tensor] | None  # of the rows' positions, [...,1,M,D/H / 2]; None without rotary positions
    bias: Tensor  # what is added to the logits, [...,1,M,S]; softmax attention hides later keys by it
    visible: Tensor | None  # 1 where a row may look, else 0, [...,1,M,S]: for attention whose weights a bias cannot make 0


class Dropout(nn.Module):
    """Dropout whose probability is rounded to 1/256 on the CPU: a random byte per value is several times cheaper than a Bernoulli draw.

    Draws come from torch's default generator and repeat with it.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability)
        dropped = round(self.probability * 256)  # of 256 byte values
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = (words.view(torch.uint8)[: x.numel()] >= dropped).view(x.shape)
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))


class FeedForward(nn.Module):
    """Branch of two layers with its own norm; the caller adds the residual."""

    def __init__(self, width: int, ratio: int = 4, dropout: float = 0.0, activation: Activation = "gelu") -> None:
        super().__init__()
        self.activation = functional.relu if activation == "relu" else functional.gelu
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.down(self.activation(self.up(self.norm(x))))
        dropped: Tensor = self.dropout(hidden)
        return dropped


def initialise(module: nn.Module) -> None:
    """Normal(0, 0.02) for linear and embedding weights, zero biases; for use with `Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
