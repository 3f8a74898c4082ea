"""Bounded counting equals exact counting, less the rare pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.count_min import CountMinSketch
from shortlist.data.frequent_counters import frequent_counters

ITEMS, KEYS = 5, ("a", "b", "c")
EVENTS = st.lists(st.tuples(st.integers(-1, len(KEYS) - 1), st.integers(0, ITEMS - 1)), max_size=60)


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.integers(1, 5), st.integers(1, 20), st.integers(1, 6))
def test_frequent_pairs_have_their_exact_rates(events: list[tuple[int, int]], least: int, chunk: int, bits: int) -> None:
    """Whatever the size of the sketch and of the chunks."""

    def chunks() -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        for begin in range(0, len(events), chunk):
            segments, rows = np.array(events[begin : begin + chunk], dtype=np.int64).T
            yield segments, rows

    table = frequent_counters(chunks, KEYS, items=ITEMS, prior=2.0, least=least, sketch=CountMinSketch(1 << bits, 2))
    count, total = Counter(events), Counter(segment for segment, _ in events)
    wanted = [[(c := count[segment, row]) * (c >= least) / (total[segment] + 2.0) for row in range(ITEMS)] for segment in range(len(KEYS))]
    rates = table.rates(np.arange(len(KEYS)), np.tile(np.arange(ITEMS), (len(KEYS), 1)))
    np.testing.assert_array_equal(rates, np.array(wanted, dtype=np.float32))
    assert len(table.rows) == sum(c >= least for (segment, _), c in count.items() if segment >= 0)
