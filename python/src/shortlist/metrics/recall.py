"""Recall: the share of relevant items among the k best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.metrics.checks import positive_k
from shortlist.metrics.order import NO_ITEM, Ints, checked_ranks


def recall_at_k(ranks: Ints, k: int) -> npt.NDArray[np.float64]:
    """Found / relevant per request [B], from the ranks [B] or [B,R] of its relevant items."""
    ranks_BR = checked_ranks(ranks)
    relevant = ranks_BR != NO_ITEM
    return np.asarray((relevant & (ranks_BR <= positive_k(k))).sum(axis=1) / relevant.sum(axis=1))
