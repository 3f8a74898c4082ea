"""Calibration of task logits: an increasing affine map per task, so that a sigmoid of the result is a probability and no order changes.

After Platt, 1999; with one slope for all it would be the temperature of Guo et al., arXiv 1706.04599. The map is part of the ranker, so
its ONNX graph answers with calibrated logits and a server has nothing to apply.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shortlist.errors import ConfigError


class Calibration(nn.Module):
    """logit * slope + intercept for each of T tasks; the identity until `set`."""

    slope: Tensor
    intercept: Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(tasks))
        self.register_buffer("intercept", torch.zeros(tasks))

    def forward(self, logits: Tensor) -> Tensor:
        """[...,T] -> [...,T]."""
        return logits * self.slope + self.intercept

    @torch.no_grad()
    def set(self, slope: Sequence[float], intercept: Sequence[float]) -> None:
        """Raises ConfigError when a slope is not positive and finite: it would turn or flatten the order of its task."""
        slopes, intercepts = torch.tensor(slope, dtype=torch.float32), torch.tensor(intercept, dtype=torch.float32)
        if not (torch.isfinite(slopes) & (slopes > 0) & torch.isfinite(intercepts)).all():
            raise ConfigError(
                f"calibration has slopes {list(slope)} and intercepts {list(intercept)}",
                why="slopes are positive and all values finite, so that the order within a task stays",
                fix="fit it on held-out observations that have both labels",
            )
        self.slope.copy_(slopes)
        self.intercept.copy_(intercepts)

    def reset(self) -> None:
        """Back to the identity."""
        tasks = len(self.slope)
        self.set([1.0] * tasks, [0.0] * tasks)
