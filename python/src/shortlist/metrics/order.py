"""The order of a ranking: score descending, then row ascending. Exact top-k and exact ranks under that tie rule.

Scores are float32 as the graphs give them. Each (score, row) becomes one unsigned 64-bit key whose order is the tie rule, so a partial
sort is exact and no two keys are equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import positive_k, refuse_not_finite

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Rank of a relevant item that was filtered or fell off the list, and of the padding in `ranks` [B,R] (no such item).
NOT_RANKED = int(np.iinfo(np.int64).max)
NO_ITEM = 0

_SIGN = np.uint32(0x80000000)
_LAST_ROW = np.uint64(2**32 - 1)


def order_keys(scores_BI: npt.NDArray[np.floating], excluded_BI: Mask | None = None) -> npt.NDArray[np.uint64]:
    """Unsigned keys [B,I] whose descending order is the tie rule; 0 where excluded. Raises DataError on NaN or infinity."""
    if scores_BI.ndim != 2:
        raise DataError(f"scores have shape {list(scores_BI.shape)}", why="scores are [requests, items]", fix="pass a matrix")
    keys = _keys(scores_BI, np.arange(scores_BI.shape[1]))
    if excluded_BI is not None:
        keys[excluded_BI] = 0
    return keys


def order_rows(rows_BM: Ints, scores_BM: npt.NDArray[np.floating]) -> Ints:
    """Candidate rows [B,M] in the order of their scores; -1 is padding, stays at the end, and its score is ignored."""
    if rows_BM.shape != scores_BM.shape:
        raise DataError(f"scores have shape {list(scores_BM.shape)}", why=f"the candidates have {list(rows_BM.shape)}")
    padding = rows_BM < 0
    keys = _keys(np.where(padding, np.zeros((), scores_BM.dtype), scores_BM), rows_BM)
    keys[padding] = 0
    return _rows(np.sort(keys, axis=1)[:, ::-1])


def top_k(keys_BI: npt.NDArray[np.uint64], k: int) -> Ints:
    """The k best rows [B,k] of `order_keys`, best first; -1 where fewer are allowed."""
    k = min(positive_k(k), keys_BI.shape[1])
    best = keys_BI if k == keys_BI.shape[1] else np.partition(keys_BI, keys_BI.shape[1] - k, axis=1)[:, -k:]
    best = np.sort(best, axis=1)[:, ::-1]
    return _rows(best)


def target_ranks(keys_BI: npt.NDArray[np.uint64], targets_B: Ints) -> Ints:
    """The rank [B], from 1, of one target row per request; NOT_RANKED where the target is excluded."""
    target_keys = np.take_along_axis(keys_BI, targets_B[:, None], axis=1)
    ranks = 1 + np.count_nonzero(keys_BI > target_keys, axis=1).astype(np.int64)
    return np.where(target_keys[:, 0] == 0, NOT_RANKED, ranks)


def ranks_in_lists(lists_BK: Ints, targets_B: Ints) -> Ints:
    """The rank [B], from 1, of each target in its list of rows (best first); NOT_RANKED where it is absent."""
    found = lists_BK == targets_B[:, None]
    return np.where(found.any(axis=1), 1 + found.argmax(axis=1).astype(np.int64), NOT_RANKED)


def relevant_ranks(scores_BI: npt.NDArray[np.floating], relevant_BI: Mask) -> Ints:
    """The ranks [B,R] of all relevant items, padded with NO_ITEM, R the most that a request has."""
    if relevant_BI.shape != scores_BI.shape:
        raise DataError(f"relevant has shape {list(relevant_BI.shape)}", why=f"scores have {list(scores_BI.shape)}")
    order = np.argsort(~order_keys(scores_BI), axis=1)
    ranked = np.take_along_axis(relevant_BI, order, axis=1)
    request, position = np.nonzero(ranked)
    counts = ranked.sum(axis=1)
    ranks = np.full((len(scores_BI), max(1, int(counts.max(initial=0)))), NO_ITEM, dtype=np.int64)
    ranks[request, np.arange(len(request)) - np.repeat(np.cumsum(counts) - counts, counts)] = position + 1
    return ranks


def checked_ranks(ranks: Ints) -> Ints:
    """Ranks as [B,R]. Raises DataError when a request has no relevant item or a rank is below 0."""
    ranks_BR = ranks[:, None] if ranks.ndim == 1 else ranks
    if ranks_BR.ndim != 2 or ranks_BR.size == 0 or ranks_BR.dtype.kind != "i":
        raise DataError(
            f"ranks are {ranks.dtype} {list(ranks.shape)}", why="they are int64 [B] or [B,R], not empty", fix="use metrics.order"
        )
    if (ranks_BR < 0).any():
        raise DataError(f"a rank is {int(ranks_BR.min())}", why="ranks count from 1", fix="use metrics.order")
    empty = ~(ranks_BR != NO_ITEM).any(axis=1)
    if empty.any():
        raise DataError(
            f"{int(empty.sum())} of {len(empty)} requests have no relevant item, the first is {int(empty.argmax())}",
            why="ranking metrics are undefined without one",
            fix="leave these requests out and report how many there are",
        )
    return ranks_BR


def _keys(scores: npt.NDArray[np.floating], rows: Ints) -> npt.NDArray[np.uint64]:
    if scores.dtype != np.float32:
        raise DataError(f"scores are {scores.dtype}", why="rounding them here could make ties", fix="pass float32")
    refuse_not_finite("scores", scores)
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    # Floats order like their bits but for the sign: set it on positive numbers, flip everything on negative ones.
    ordered = bits.view(np.uint32) ^ ((bits >> 31).view(np.uint32) | _SIGN)
    keys = ordered.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= _LAST_ROW - rows.astype(np.uint64)
    return keys


def _rows(keys: npt.NDArray[np.uint64]) -> Ints:
    rows = (_LAST_ROW - (keys & _LAST_ROW)).astype(np.int64)
    return np.where(keys == 0, np.int64(-1), rows)
