"""Popularity bias: how much more popular are the lists than what the users took themselves?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.order import Ints


def mean_popularity_rank(lists_BK: Ints, counts_I: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean popularity percentile of each list [B]: 1 is the most popular item of the catalog, 0 the least (-1 is padding)."""
    percentile = popularity_percentile(counts_I)
    shown = lists_BK >= 0
    total = np.where(shown, percentile[np.where(shown, lists_BK, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(shown.sum(axis=1), 1))


def popularity_lift(lists_BK: Ints, targets_B: Ints, counts_I: npt.ArrayLike) -> float:
    """Mean training count of the items shown / of the items taken. 1: unbiased; above: the lists favour popular items."""
    counts = np.asarray(counts_I, dtype=np.float64)
    shown = lists_BK[lists_BK >= 0]
    taken = counts[targets_B].mean() if len(targets_B) else 0.0
    if taken == 0 or len(shown) == 0:
        raise DataError("popularity lift is undefined", why="no item was shown, or none of the targets was met in training")
    return float(counts[shown].mean() / taken)


def popularity_percentile(counts_I: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mid-rank percentile [I] of each item's count: equal counts share it."""
    counts = np.asarray(counts_I)
    if counts.ndim != 1 or counts.size == 0:
        raise DataError("item counts must be a non-empty vector", fix="count the training events of each row")
    ordered = np.sort(counts)
    middle = (np.searchsorted(ordered, counts, "left") + np.searchsorted(ordered, counts, "right") - 1) / 2
    return np.asarray(middle / max(1, len(counts) - 1))
