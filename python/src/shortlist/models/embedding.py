"""Embedding of feature columns, driven by the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from shortlist.schema import Column, Op

Columns = Mapping[str, Tensor]


class ColumnEmbedding(nn.Module):
    """Sum of one D-wide vector per column.

    Id columns look up a row (row 0, unknown, is learned too); list columns average the rows of their non-zero ids; numbers pass a
    signed log and standardisation and scale a learned direction. The statistics of numbers are set from data by `fit_numbers`.
    """

    def __init__(self, columns: Sequence[Column], width: int) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.width = width
        self.tables = nn.ModuleDict({c.name: nn.Embedding(c.cardinality, width) for c in self.columns if c.op is not Op.NUMBER})
        self.numbers = nn.ModuleDict({c.name: Number(width) for c in self.columns if c.op is Op.NUMBER})

    def forward(self, values: Columns, only: Sequence[Column] | None = None) -> Tensor:
        """Columns [...] or [...,W] -> [...,D]. `only` restricts to a subset, such as the columns that a history carries."""
        parts = self.fields(values, only)
        return torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]

    def fields(self, values: Columns, only: Sequence[Column] | None = None) -> list[Tensor]:
        """One [...,D] per column, for networks that cross columns instead of adding them."""
        return [self._embed(column, values[column.name]) for column in (self.columns if only is None else only)]

    def _embed(self, column: Column, value: Tensor) -> Tensor:
        if column.op is Op.NUMBER:
            number: Tensor = self.numbers[column.name](value)
            return number
        rows: Tensor = self.tables[column.name](value)
        if not column.width:
            return rows
        present = (value > 0).to(rows.dtype)
        mean = torch.matmul(present.unsqueeze(-2), rows).squeeze(-2)  # [...,D]
        return mean / present.sum(dim=-1, keepdim=True).clamp(min=1.0)

    @torch.no_grad()
    def fit_numbers(self, values: Columns) -> None:
        """Set mean and deviation of every number column from values [n] of the training data."""
        for name, number in self.numbers.items():
            assert isinstance(number, Number)
            number.fit(values[name])


class Number(nn.Module):
    """A number as a vector: signed log, standardised, clipped to four deviations, times a learned direction."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        self.direction = nn.Linear(1, width)

    def forward(self, value: Tensor) -> Tensor:
        """[...] -> [...,D]."""
        z = ((signed_log(value) - self.mean) / self.deviation).clamp(-4.0, 4.0)
        out: Tensor = self.direction(z.unsqueeze(-1))
        return out

    @torch.no_grad()
    def fit(self, value: Tensor) -> None:
        logs = signed_log(value.double())
        self.mean.copy_(logs.mean())
        self.deviation.copy_(logs.std(unbiased=False).clamp(min=1e-3))


def signed_log(value: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return value.sign() * value.abs().log1p()


def log_rate(rate: Tensor) -> Tensor:
    """Counter rates in [0,1] -> [0,9.3] on a log scale: 0 stays 0 and rates near 1e-4 still differ."""
    return torch.log1p(rate * 1e4)
