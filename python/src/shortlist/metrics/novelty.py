"""Novelty: mean self-information -log2 p(item) of what is shown (Zhou et al., 2010), p the item's share of training events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.order import Ints


def self_information(counts_I: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Bits [I] from event counts, each with one event added: an item nobody has met is the most novel, not infinitely so."""
    counts = np.asarray(counts_I, dtype=np.float64)
    if counts.ndim != 1 or counts.size == 0 or not (np.isfinite(counts) & (counts >= 0)).all():
        raise DataError("item counts must be a non-empty vector of finite numbers >= 0", fix="count the training events of each row")
    return np.asarray(-np.log2((counts + 1) / (counts + 1).sum()))


def novelty(lists_BK: Ints, counts_I: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean bits of each list [B] (-1 is padding); 0 for an empty list."""
    bits = self_information(counts_I)
    shown = lists_BK >= 0
    total = np.where(shown, bits[np.where(shown, lists_BK, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(shown.sum(axis=1), 1))
