"""Money: what a ranking finds is worth. Relevance counts every request alike; these metrics count it by what its true item brought in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import finite, same_shape
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.order import Ints

Floats = npt.NDArray[np.float64]


def value_at_k(ranks_B: Ints, values_B: npt.ArrayLike, k: int) -> Floats:
    """The value of each request's true item where it is among the k best, else 0 [B]; in the unit of the log's values."""
    hits, values = hits_at_k(ranks_B, k), checked_values(values_B)
    same_shape(ranks=hits, values=values)
    return hits * values


def value_weighted(metric_B: npt.ArrayLike, values_B: npt.ArrayLike) -> float:
    """Mean of a metric over requests, each weighing what its true item is worth: `hr@k` becomes the share of the money that is found."""
    metric, values = finite("metric", metric_B), checked_values(values_B)
    same_shape(metric=metric, values=values)
    return float((metric * values).sum() / values.sum())


def checked_values(values_B: npt.ArrayLike) -> Floats:
    """Values in float64. Raises DataError when one is below 0 or none is above it."""
    values = finite("values", values_B)
    if (values < 0).any():
        raise DataError(
            f"values has {int((values < 0).sum())} of {values.size} below 0",
            why="a negative weight makes a weighted mean meaningless",
            fix="leave refunds out of events.value",
        )
    if not values.any():
        raise DataError("no request has a value", why="nothing was earned, so no share of it can be found", fix="use the plain metric")
    return values
