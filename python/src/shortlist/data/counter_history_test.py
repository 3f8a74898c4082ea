"""Counters at a moment: against a slow count of the events before it, and blind to everything from it on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.counter_history import CounterHistory
from shortlist.data.counters import CounterTable, count_crosses, count_histories, event_segments
from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
from shortlist.data.splits import by_time, training_mask
from shortlist.errors import SchemaError
from shortlist.schema import CrossFeature

ITEMS, SEGMENTS, PRIOR = 4, 3, 2.0
EVENTS = st.lists(st.tuples(st.integers(-1, SEGMENTS - 1), st.integers(0, ITEMS - 1), st.integers(0, 30)), max_size=40)
MARKET = MarketplaceConfig(users=80, items=120, events=1_500, logged_requests=50)


def _history(events: list[tuple[int, int, int]], window: int) -> CounterHistory:
    segments, rows, times = np.array(events, dtype=np.int64).reshape(-1, 3).T
    return CounterHistory.count(segments, rows, times, items=ITEMS, prior=PRIOR, window=window)


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.integers(0, 12), st.lists(st.integers(-3, 40), min_size=1, max_size=4))
def test_rates_equal_a_slow_count_of_the_events_before(events: list[tuple[int, int, int]], window: int, moments: list[int]) -> None:
    segments, rows = np.arange(-1, SEGMENTS), np.arange(-1, ITEMS)
    got = _history(events, window).rates(
        np.tile(segments, (len(moments), 1)),
        np.tile(rows, (len(moments), len(segments), 1)),
        np.tile(np.array(moments)[:, None], len(segments)),
    )
    for m, moment in enumerate(moments):
        before = [event for event in events if event[2] < moment and (not window or event[2] >= moment - window)]
        for s, segment in enumerate(segments):
            total = sum(event[0] == segment for event in before)
            wanted = [0.0 if segment < 0 else sum(e[:2] == (segment, row) for e in before) / (total + PRIOR) for row in rows]
            np.testing.assert_array_equal(got[m, s], np.array(wanted, dtype=np.float32))


@settings(max_examples=30, deadline=None)
@given(EVENTS, EVENTS, st.integers(0, 12), st.integers(0, 30))
def test_the_future_changes_nothing(past: list[tuple[int, int, int]], future: list[tuple[int, int, int]], window: int, moment: int) -> None:
    later = [(segment, row, moment + time) for segment, row, time in future]
    segments, rows, moments = np.arange(SEGMENTS), np.tile(np.arange(ITEMS), (SEGMENTS, 1)), np.full(SEGMENTS, moment)
    np.testing.assert_array_equal(
        _history(past + later, window).rates(segments, rows, moments),
        _history([e for e in past if e[2] < moment], window).rates(segments, rows, moments),
    )


@pytest.fixture(scope="module")
def market() -> EncodedLog:
    return encode(make_marketplace(MARKET))


def test_after_the_last_event_a_history_equals_the_released_table(market: EncodedLog) -> None:
    split = by_time(market, MARKET.validation_start, MARKET.test_start)
    tables, histories = count_crosses(market, split), count_histories(market, split, market.schema.cross)
    events = np.arange(0, len(market.item), 7)
    rows = np.tile(np.arange(len(market.item_ids)), (len(events), 1))
    moments = np.full(len(events), market.time[training_mask(market, split)].max() + 1)
    windows = {cross.window for cross in market.schema.cross}
    assert len(windows) > 1
    for cross in market.schema.cross:
        segments = event_segments(market, cross.segment, events)
        wanted = tables[cross.name].rates(segments, rows)
        assert wanted.any()
        np.testing.assert_array_equal(histories[cross.name].rates(segments, rows, moments), wanted)


def test_a_window_counts_only_its_newest_seconds(market: EncodedLog) -> None:
    everything = Split(train_end=market.ptr[1:], validation=np.zeros(0, np.int64), test=np.zeros(0, np.int64))
    tables = count_crosses(market, everything)
    recent = tables["gender_item_7d"]
    assert recent.totals is not None
    named = event_segments(market, "user.gender", np.arange(len(market.item))) >= 0
    assert recent.totals.sum() == (named & (market.time > market.time.max() - 7 * 86_400)).sum()
    assert isinstance(tables["gender_item"], CounterTable)
    assert tables["gender_item"].totals is not None
    assert tables["gender_item"].totals.sum() == named.sum() > recent.totals.sum()


def test_windows_need_a_common_clock(market: EncodedLog) -> None:
    ranks = np.arange(len(market.item)) - np.repeat(market.ptr[:-1], np.diff(market.ptr))
    everything = Split(train_end=market.ptr[1:], validation=np.zeros(0, np.int64), test=np.zeros(0, np.int64))
    with pytest.raises(SchemaError, match="'query_item_7d' has a window of 604800 s"):
        count_crosses(replace(market, time=ranks), everything)
    endless = replace(market.schema, cross=(CrossFeature(name="city_item", segment="user.city"),))
    assert count_crosses(replace(market, time=ranks, schema=endless), everything)["city_item"].totals is not None
