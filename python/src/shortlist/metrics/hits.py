"""Hit rate: is any relevant item among the k best? With one relevant item it equals recall."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.metrics.checks import positive_k
from shortlist.metrics.order import NO_ITEM, Ints, checked_ranks


def hits_at_k(ranks: Ints, k: int) -> npt.NDArray[np.float64]:
    """1 or 0 per request [B], from the ranks [B] or [B,R] of its relevant items."""
    ranks_BR = checked_ranks(ranks)
    hit = (ranks_BR != NO_ITEM) & (ranks_BR <= positive_k(k))
    return np.asarray(hit.any(axis=1), dtype=np.float64)
