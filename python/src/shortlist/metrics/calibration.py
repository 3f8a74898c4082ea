"""Calibration: do predicted probabilities mean what they say? Ratio, reliability bins and expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import binary, same_shape
from shortlist.metrics.log_loss import checked_probabilities

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBins:
    """Observations in bins of their prediction; empty bins are left out."""

    count: npt.NDArray[np.int64]
    prediction: Floats  # mean prediction of each bin
    label: Floats  # mean label of each bin


def reliability_bins(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15, edges: Literal["width", "mass"] = "width"
) -> ReliabilityBins:
    """Bins of equal width, or of equal mass (about as many observations in each), which suits rare outcomes.

    A prediction on an edge belongs to the bin above it, equal predictions are never parted.
    """
    label, p = binary("labels", labels), checked_probabilities(probabilities)
    same_shape(labels=label, probabilities=p)
    if bins < 1:
        raise DataError(f"bins is {bins}", why="at least one bin is needed")
    cuts = np.arange(1, bins) / bins if edges == "width" else np.unique(np.quantile(p, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(cuts, p, side="right")
    count = np.bincount(bin_of, minlength=len(cuts) + 1)
    used = count > 0
    mean_p = np.bincount(bin_of, weights=p, minlength=len(count))[used] / count[used]
    mean_label = np.bincount(bin_of, weights=label, minlength=len(count))[used] / count[used]
    return ReliabilityBins(count[used], mean_p, mean_label)


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Mean |prediction - label| over the bins, weighted by their size (Guo et al., 2017)."""
    return float(np.average(np.abs(bins.prediction - bins.label), weights=bins.count))


def calibration_ratio(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Predicted / observed number of positives: above 1 the model promises too much. Raises DataError without positives."""
    label, p = binary("labels", labels), checked_probabilities(probabilities)
    same_shape(labels=label, probabilities=p)
    if label.sum() == 0:
        raise DataError("calibration ratio without a positive label", why="it divides by their number", fix="use a larger sample")
    return float(p.sum() / label.sum())
