"""Normalised discounted cumulative gain (Jarvelin and Kekalainen, 2002), gain 1 per relevant item, discount 1 / log2(1 + rank)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.metrics.checks import positive_k
from shortlist.metrics.order import NO_ITEM, Ints, checked_ranks


def ndcg_at_k(ranks: Ints, k: int) -> npt.NDArray[np.float64]:
    """NDCG@k per request [B], from the ranks [B] or [B,R] of its relevant items; the ideal puts min(k, relevant) of them on top."""
    ranks_BR = checked_ranks(ranks)
    counted = (ranks_BR != NO_ITEM) & (ranks_BR <= positive_k(k))
    gains = np.where(counted, 1.0 / np.log2(1.0 + np.where(counted, ranks_BR, 1)), 0.0).sum(axis=1)
    relevant = (ranks_BR != NO_ITEM).sum(axis=1)
    ideal = np.cumsum(1.0 / np.log2(2.0 + np.arange(relevant.max())))
    return np.asarray(gains / ideal[np.minimum(relevant, k) - 1])
