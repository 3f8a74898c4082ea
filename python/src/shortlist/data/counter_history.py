"""Cross counters as they were at any moment: what training reads, so that no feature of an event knows what came after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CounterHistory:
    """The rates that a `CounterTable` of the events before a moment would have, for every moment, exactly.

    Events are ranked by time; a pair's events lie together in rank order, so a count is the distance of two binary searches. Memory is
    two int64 per event.
    """

    items: int
    prior: float
    window: int  # seconds; 0: all events before the moment
    _times: Ints  # [E] ascending
    _pairs: Ints  # distinct segment * items + row, ascending
    _of_pairs: Ints  # [E] place of the pair * (E + 1) + rank, ascending
    _of_segments: Ints  # [E] segment * (E + 1) + rank, ascending

    @classmethod
    def count(cls, segments: Ints, rows: Ints, times: Ints, *, items: int, prior: float, window: int = 0) -> Self:
        """Events as parallel segment ids [E] (-1: none), catalog rows [E] and times [E] in seconds."""
        named = segments >= 0
        segments, rows, times = segments[named], rows[named], times[named]
        ascending = np.sort(times)
        rank = np.searchsorted(ascending, times)  # events at one second share a rank
        pairs, place = np.unique(segments * items + rows, return_inverse=True)
        span = len(times) + 1
        return cls(items, prior, window, ascending, pairs, np.sort(place * span + rank), np.sort(segments * span + rank))

    def rates(self, segments: Ints, rows: Ints, moments: Ints) -> Floats:
        """Rates [...,M] of rows [...,M] for segment ids [...] (-1: no segment, rate 0) by the events before moments [...]."""
        if len(self._times) == 0:
            return np.zeros(rows.shape, dtype=np.float32)
        until = np.searchsorted(self._times, moments)
        since = np.searchsorted(self._times, moments - self.window) if self.window else np.zeros_like(until)
        wanted = segments[..., None] * self.items + rows
        place = np.searchsorted(self._pairs, wanted).clip(max=len(self._pairs) - 1)
        found = (segments[..., None] >= 0) & (rows >= 0) & (self._pairs[place] == wanted)
        counts = np.zeros(found.shape, dtype=np.int64)  # most pairs never met: only the others are searched for
        since_M, until_M = (np.broadcast_to(rank[..., None], found.shape)[found] for rank in (since, until))
        counts[found] = self._between(self._of_pairs, place[found], since_M, until_M)
        totals = self._between(self._of_segments, segments, since, until) * (segments >= 0)
        rates: Floats = (counts / (totals[..., None] + self.prior)).astype(np.float32)
        return rates

    def _between(self, sorted_keys: Ints, group: Ints, since: Ints, until: Ints) -> Ints:
        """How many events of each group have since <= rank < until."""
        base = group * (len(self._times) + 1)
        count: Ints = np.searchsorted(sorted_keys, base + until) - np.searchsorted(sorted_keys, base + since)
        return count
