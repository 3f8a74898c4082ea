"""Mean reciprocal rank: 1 / rank of the best relevant item."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.metrics.order import NO_ITEM, NOT_RANKED, Ints, checked_ranks


def reciprocal_rank(ranks: Ints) -> npt.NDArray[np.float64]:
    """1 / rank per request [B], from the ranks [B] or [B,R] of its relevant items; 0 where none is ranked."""
    ranks_BR = checked_ranks(ranks)
    best = np.where(ranks_BR == NO_ITEM, NOT_RANKED, ranks_BR).min(axis=1)
    return np.where(best == NOT_RANKED, 0.0, 1.0 / best)
