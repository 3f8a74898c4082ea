"""Negatives that all positions of a batch share: where they come from, and what is known of how often they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.count_min import CountMinSketch
from shortlist.errors import ConfigError
from shortlist.training.config import TwoTowerTraining


@dataclass(frozen=True)
class Negatives:
    """Catalog rows [n], each once, and what their logits are shifted by [n]."""

    rows: Tensor
    shift: Tensor


def item_shares(rows: npt.NDArray[np.int64], items: int, config: TwoTowerTraining) -> npt.NDArray[np.float32]:
    """Each item's share [I] of the catalog rows [n] of training events.

    A sketch makes no share too small; with width w it makes one too large by more than 2e / w with probability at most exp(-depth).
    """
    if config.frequencies == "count_min":
        sketch = CountMinSketch(config.sketch_width, config.sketch_depth)
        sketch.add(rows)
        return sketch.shares(np.arange(items))
    counts = np.bincount(rows, minlength=items).astype(np.float32)
    shares: npt.NDArray[np.float32] = counts / counts.sum()
    return shares


class NegativeSampler:
    """Draws from three sources: the batch's own targets, the catalog uniformly, and the catalog by popularity^`popularity_power`.

    An item's shift follows from `correction`:

    - expected: log(times drawn) - log(times expected), so that the sum over negatives estimates the sum over the catalog (LogQ correction)
    - inclusion: -log(probability to be drawn at all), 1 - (1-p)^draws for each source (as InteractRank, arXiv 2504.06609)
    - none: log(times drawn)

    All draws use torch's default generator, so a restored generator state repeats them.
    """

    def __init__(self, config: TwoTowerTraining, popularity: Tensor) -> None:
        """`popularity` [I]: each item's share of the training events, which is how in-batch draws are distributed."""
        self.config, self.popularity, self.items = config, popularity, len(popularity)
        powered = popularity**config.popularity_power
        self.powered = powered / powered.sum()
        if config.loss != "full_softmax" and self.draws == 0:
            raise ConfigError(
                "the two-tower has no negatives",
                why="in_batch_negatives, uniform_negatives and popularity_negatives are 0",
                fix="raise one of them, or set loss=full_softmax",
            )

    @property
    def draws(self) -> int:
        return self.config.in_batch_negatives + self.config.uniform_negatives + self.config.popularity_negatives

    def __call__(self, targets: Tensor) -> Negatives:
        """Draw for a batch with targets [S]; the whole catalog without a shift when the loss is the full softmax."""
        config, device = self.config, targets.device
        if config.loss == "full_softmax":
            return Negatives(torch.arange(self.items, device=device), torch.zeros(self.items, device=device))
        drawn = torch.cat(
            (
                targets[torch.randint(len(targets), (config.in_batch_negatives,)).to(device)],
                torch.randint(self.items, (config.uniform_negatives,)).to(device),
                self._by_popularity(config.popularity_negatives).to(device),
            )
        )
        rows, times = torch.unique(drawn, return_counts=True)
        return Negatives(rows, self._shift(rows, times))

    def _by_popularity(self, count: int) -> Tensor:
        if count == 0:
            return torch.empty(0, dtype=torch.int64)
        return torch.multinomial(self.powered.cpu(), count, replacement=True)

    def _shift(self, rows: Tensor, times: Tensor) -> Tensor:
        config = self.config
        sources = (
            (config.in_batch_negatives, self.popularity[rows]),
            (config.uniform_negatives, torch.full((len(rows),), 1 / self.items, device=rows.device)),
            (config.popularity_negatives, self.powered[rows]),
        )
        if config.correction == "expected":
            return times.log() - sum(count * share for count, share in sources).log()  # type: ignore[union-attr]
        if config.correction == "inclusion":
            missed = sum(count * torch.log1p(-share.clamp(max=1 - 1e-6)) for count, share in sources)
            return -(-torch.expm1(missed)).log()  # type: ignore[arg-type]
        return times.to(torch.float32).log()


def place_of(rows: Tensor, wanted: Tensor, items: int) -> Tensor:
    """The place of each of `wanted` [S] in `rows` [n], which holds each row once; -1 where it is absent."""
    table = torch.full((items,), -1, device=rows.device)
    table[rows] = torch.arange(len(rows), device=rows.device)
    return table[wanted]
