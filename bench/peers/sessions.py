"""Users who come back: an endless stream of calls in which histories grow by an event or two from one call to the next.

The stream goes on from rate to rate of a search, so that a server meets a session's later calls after its earlier ones, as in a day of
traffic. Only the pauses are shorter than in life: with 500 sessions and 60 calls a second a user is back after 8 seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shortlist.export.golden import set_items
from shortlist.export.reader import Bundle
from shortlist.export.writer import to_json_lines
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

SESSIONS = 500  # alive at a time
CALLS = 10  # of a session, in the mean
FIRST_EVENTS = (50, 190)  # of a history when its session begins
GROWTH = (1, 2)  # events between two calls


class Sessions:
    """Calls of random live sessions; the same seed makes the same stream."""

    def __init__(self, bundle: Bundle, seed: int = 3, live: int = SESSIONS) -> None:
        self._ids = np.array(bundle.content.catalog.ids, dtype=object)
        self._warmup = bundle.warmup
        self._rng = np.random.default_rng(seed)
        self._live = [self._begin() for _ in range(live)]
        self._ahead: list[wire.RecommendRequest] = []

    def take(self, calls: int) -> None:
        """Goes past calls that were sent."""
        del self._ahead[:calls]

    def ahead(self, calls: int) -> list[wire.RecommendRequest]:
        """The next calls."""
        while len(self._ahead) < calls:
            self._ahead.append(self._call())
        return self._ahead[:calls]

    def write(self, path: Path, calls: int) -> None:
        """The next calls, as a trace of shortlist-load."""
        path.write_bytes(to_json_lines(self.ahead(calls)))

    def _begin(self) -> wire.RecommendRequest:
        request = wire.RecommendRequest.FromString(self._warmup[int(self._rng.integers(len(self._warmup)))].SerializeToString())
        request.ClearField("candidates")
        request.user.history.Clear()
        low, high = FIRST_EVENTS
        set_items(request.user.history.items, self._events(int(self._rng.integers(low, high + 1))))
        return request

    def _call(self) -> wire.RecommendRequest:
        place = int(self._rng.integers(len(self._live)))
        session = self._live[place]
        sent = wire.RecommendRequest.FromString(session.SerializeToString())
        if self._rng.random() < 1 / CALLS:
            self._live[place] = self._begin()
        else:
            items = session.user.history.items
            low, high = GROWTH
            grown = self._events(int(self._rng.integers(low, high + 1)))
            (items.strings if items.strings else items.ints).extend(grown)
        return sent

    def _events(self, count: int) -> list:
        return self._ids[self._rng.integers(len(self._ids), size=count)].tolist()
