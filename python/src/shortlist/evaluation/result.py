"""The result of evaluating one model on one split."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shortlist.evaluation.bootstrap import Estimate
from shortlist.metrics.calibration import ReliabilityBins


@dataclass(frozen=True)
class SliceResult:
    targets: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Histogram:
    """Counts [H] between edges [H+1]."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """Metrics of a model, over `targets` requests.

    `values` keeps the metrics of every request for paired comparisons; a metric with `weights` is a weighted mean of them.
    """

    model: str
    split: str
    targets: int
    metrics: dict[str, Estimate]
    slices: dict[str, SliceResult] = field(default_factory=dict)
    baseline: bool = False
    reliability: dict[str, ReliabilityBins] = field(default_factory=dict)  # task -> bins
    scores: dict[str, Histogram] = field(default_factory=dict)  # task -> predicted probabilities
    values: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False)  # metric -> [T]
    weights: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False)  # metric -> [T]
    groups: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)  # user of each target [T]
