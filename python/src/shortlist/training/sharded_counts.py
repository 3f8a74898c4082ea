"""Co-occurrence counts of logs that one core takes too long for: shards of users counted apart and added up."""

from __future__ import annotations

import itertools

import numpy as np

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import newest_training_time
from shortlist.models.cooccurrence import CooccurrenceConfig
from shortlist.models.pair_counts import PairCounts, count_pairs, merge_counts
from shortlist.training.cluster import map_tasks

Shared = tuple[EncodedLog, Split, CooccurrenceConfig, int | None]


def count_shards(log: EncodedLog, split: Split, config: CooccurrenceConfig, *, shards: int, workers: int = 1) -> PairCounts:
    """The counts of the whole log, by shards of about equally many training events; the sum does not depend on how it is cut, but for
    the rounding of weights. `workers` as in `map_tasks`.
    """
    now = newest_training_time(log, split) if config.half_life else None
    return merge_counts(map_tasks(_count, (log, split, config, now), user_shards(log, split, shards), workers))


def user_shards(log: EncodedLog, split: Split, shards: int) -> list[slice]:
    """At most `shards` slices of users, none empty, that hold about equally many training events."""
    events = np.cumsum(split.train_end - log.ptr[:-1])
    cuts = np.searchsorted(events, np.linspace(0, events[-1], shards + 1)[1:-1], side="right")
    edges = np.unique(np.concatenate(([0], cuts, [len(log.user_ids)]))).tolist()
    return [slice(begin, end) for begin, end in itertools.pairwise(edges)]


def _count(shared: Shared, users: slice) -> PairCounts:
    log, split, config, now = shared
    return count_pairs(log, split, config, users=users, now=now)
