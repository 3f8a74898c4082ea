"""How often two items belong together in the training histories: the counts under every co-occurrence similarity.

Counting is by shard of users and sums: `merge_counts` of the shards' `count_pairs` is the count of the whole log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import newest_training_time

if TYPE_CHECKING:
    from shortlist.models.cooccurrence import CooccurrenceConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LONGEST_HISTORY = 1000  # items of one user that whole-history pairs use, the newest: the pairs of a robot would outweigh everybody's
_PAIRS_AT_ONCE = 8_000_000  # 12 bytes each


@dataclass(frozen=True)
class PairCounts:
    """Weighted counts of I items.

    `pairs` [I,I] (sparse CSR, float64) counts (item, later item) for pairs in a window and is symmetric for pairs of whole histories.
    `taken` [I] is the weight of the users that took an item, `users` the weight of all users (whole histories only; 0 otherwise).
    """

    pairs: Any
    taken: Floats
    users: float


def count_pairs(
    log: EncodedLog, split: Split, config: CooccurrenceConfig, *, users: slice = slice(None), now: int | None = None
) -> PairCounts:
    """Pairs in the training events of a shard of users.

    `now` is the time that ages of events are counted back from: the newest training event of all shards (None: of this log).
    """
    shard = np.arange(len(log.user_ids))[users]
    begin, end = log.ptr[shard], split.train_end[shard]
    length = end - begin
    user_weight = np.where(length > 0, np.maximum(length, 1) ** -float(config.length_power), 0.0)
    index = np.arange(int(length.sum())) + np.repeat(begin - (np.cumsum(length) - length), length)  # training events of the shard [e]
    weight = np.repeat(user_weight, length)
    if config.half_life:
        now = newest_training_time(log, split) if now is None else now
        weight = weight * np.exp2((log.time[index] - now) / config.half_life)
    local = np.concatenate([[0], np.cumsum(length)])
    if config.pairs == "history":
        return _history_pairs(log.item[index], weight, local, float(user_weight.sum()), len(log.item_ids))
    pairs = _window_pairs(log.item[index], weight, local, config, len(log.item_ids))
    return PairCounts(pairs, np.zeros(len(log.item_ids)), 0.0)


def merge_counts(parts: Iterable[PairCounts]) -> PairCounts:
    """The counts of all shards together."""
    return reduce(lambda a, b: PairCounts(a.pairs + b.pairs, a.taken + b.taken, a.users + b.users), parts)


def shards(log: EncodedLog, split: Split, config: CooccurrenceConfig) -> list[slice]:
    """Slices of users whose pairs fit into memory at once (a single user may exceed it)."""
    length = split.train_end - log.ptr[:-1]
    pairs = np.minimum(length, LONGEST_HISTORY) ** 2 if config.pairs == "history" else length * config.window
    return blocks(pairs, _PAIRS_AT_ONCE)


def blocks(sizes: Ints, at_once: int) -> list[slice]:
    """Consecutive slices of rows whose `sizes` sum to about `at_once` each (a single row may exceed it)."""
    block = np.cumsum(sizes) // at_once
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(sizes)]
    return [slice(begin, end) for begin, end in pairwise(edges)]


def _window_pairs(item: Ints, weight: Floats, ptr: Ints, config: CooccurrenceConfig, items: int) -> Any:
    """With X [E,I] the one-hot events and Y [E,I] the decayed sum of each event's followers, the counts are X^T Y.

    It is summed over slices of events, since one user may have very many. A pair is as old as its later event.
    """
    end_of_event = np.repeat(ptr[1:], np.diff(ptr))
    gaps = np.arange(1, config.window + 1)
    decays = config.gap_decay ** (gaps - 1.0)
    counts = sparse.csr_array((items, items), dtype=np.float64)
    step = max(1, _PAIRS_AT_ONCE // config.window)
    for begin in range(0, len(item), step):
        events = np.arange(begin, min(begin + step, len(item)))
        followers = events[:, None] + gaps  # [e,window]
        counted = followers < end_of_event[events, None]
        later = followers[counted]
        indptr = np.concatenate([[0], np.cumsum(counted.sum(axis=1))])
        count = np.broadcast_to(decays, counted.shape)[counted] * weight[later]
        after = sparse.csr_array((count, item[later], indptr), shape=(len(events), items))
        here = sparse.csc_array((np.ones(len(events)), item[events], np.arange(len(events) + 1)), shape=(items, len(events)))
        counts = counts + here.tocsr() @ after
    return counts


def _history_pairs(item: Ints, weight: Floats, ptr: Ints, users: float, items: int) -> PairCounts:
    """With X [U,I] the square roots of the weights of what each user took (once per item, its newest event), the counts are X^T X."""
    user = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    _, newest = np.unique((user * items + item)[::-1], return_index=True)
    kept = np.sort(len(item) - 1 - newest)  # in the order of events
    count = np.bincount(user[kept], minlength=len(ptr) - 1)
    from_end = np.repeat(np.cumsum(count), count) - np.arange(len(kept))
    kept = kept[from_end <= LONGEST_HISTORY]
    taken = sparse.csr_array((np.sqrt(weight[kept]), (user[kept], item[kept])), shape=(len(ptr) - 1, items))
    pairs = (taken.T.tocsr() @ taken).tocsr()
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    item_weight = np.bincount(item[kept], weights=weight[kept], minlength=items).astype(np.float64)
    return PairCounts(pairs, item_weight, users)
