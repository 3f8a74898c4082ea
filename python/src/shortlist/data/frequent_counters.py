"""Cross counters of logs too large to count at once: two passes over chunks, memory bounded by a sketch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from shortlist.data.count_min import CountMinSketch
from shortlist.data.counters import CounterTable

Ints = npt.NDArray[np.int64]
Chunks = Iterable[tuple[Ints, Ints]]


def frequent_counters(
    chunks: Callable[[], Chunks], keys: tuple[str, ...] | None, *, items: int, prior: float, least: int, sketch: CountMinSketch
) -> CounterTable:
    """The table of all pairs with at least `least` events, with exact counts; rarer pairs have rate 0.

    `chunks()` starts a pass over the log: segment ids [n] (-1: none; positions in `keys`, or catalog rows when it is None) and catalog
    rows [n]. The first pass fills the empty `sketch`; the second counts only pairs that the sketch calls frequent. A sketch never
    undercounts, so none is missed, and its error only decides how many rare pairs are counted for nothing: beside the sketch, memory is
    that of the distinct pairs whose estimate reaches `least`, and of one total per segment.
    """
    totals = np.zeros(items if keys is None else len(keys), dtype=np.int64)
    for segments, rows in chunks():
        named = segments >= 0
        sketch.add(segments[named] * items + rows[named])
        totals += np.bincount(segments[named], minlength=len(totals))
    pairs, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for segments, rows in chunks():
        named = segments >= 0
        found, times = np.unique(segments[named] * items + rows[named], return_counts=True)
        frequent = sketch.estimate(found) >= least
        pairs, place = np.unique(np.concatenate([pairs, found[frequent]]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, times[frequent]]), minlength=len(pairs)).astype(np.int64)
    pairs, counts = pairs[counts >= least], counts[counts >= least]
    return CounterTable.of_counts(keys, pairs, counts, totals, items=items, prior=prior)
