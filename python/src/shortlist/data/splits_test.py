"""Splits by hand, and the law that matters: nothing that training sees depends on what comes after the split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.counters import count_crosses
from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
from shortlist.data.splits import (
    by_time,
    leave_one_out,
    select_requests,
    split_counts,
    split_requests,
    training_mask,
    training_view,
    with_trained_ids,
)
from shortlist.errors import DataError
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.testing.small_data import small

CONFIG = MarketplaceConfig(users=60, items=120, events=1_500, seed=5)


@pytest.fixture(scope="module")
def market() -> EncodedLog:
    return encode(make_marketplace(CONFIG))


def _split(kind: str, log: EncodedLog) -> Split:
    return leave_one_out(log) if kind == "leave_one_out" else by_time(log, CONFIG.validation_start, CONFIG.test_start)


def test_leave_one_out_by_hand() -> None:
    split = leave_one_out(encode(small()))  # users with 1, 3 and 0 events
    assert split.train_end.tolist() == [1, 2, 4]
    assert split.validation.tolist() == [2]
    assert split.test.tolist() == [3]


def test_by_time_by_hand() -> None:
    split = by_time(encode(small()), 11, 12)  # times 11 | 10 12 12 |
    assert split.train_end.tolist() == [0, 2, 4]
    assert split.validation.tolist() == [0]
    assert split.test.tolist() == [2, 3]


@pytest.mark.parametrize(("validation", "test"), [(12, 12), (13, 12)])
def test_times_must_rise(validation: int, test: int) -> None:
    with pytest.raises(DataError, match="is not before"):
        by_time(encode(small()), validation, test)


def test_ranks_are_no_clock() -> None:
    with pytest.raises(DataError, match="ranks"):
        by_time(replace(encode(small()), time=np.array([0, 0, 1, 2])), 1, 2)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match="0 training, 1 validation and 3 test events"):
        by_time(replace(encode(small()), time=np.array([11, 12, 12, 12])), 11, 12)


@pytest.mark.parametrize("kind", ["leave_one_out", "by_time"])
def test_parts_cover_every_event_once(kind: str, market: EncodedLog) -> None:
    split = _split(kind, market)
    parts = np.concatenate([np.flatnonzero(training_mask(market, split)), split.validation, split.test])
    assert sorted(parts.tolist()) == list(range(len(market.item)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["leave_one_out", "by_time"]))
def test_shuffling_the_future_changes_nothing_that_training_sees(market: EncodedLog, seed: int, kind: str) -> None:
    split = _split(kind, market)
    shuffled = _shuffled_future(market, split, seed)
    _assert_equal(training_view(market, split), training_view(shuffled, split))
    before, after = count_crosses(market, split), count_crosses(shuffled, split)
    for name, table in before.items():
        np.testing.assert_array_equal(table.rows, after[name].rows)
        np.testing.assert_array_equal(table.rate_values, after[name].rate_values)
    np.testing.assert_array_equal(with_trained_ids(market, split).items["id"], with_trained_ids(shuffled, split).items["id"])
    for name, values in _counted(market, split).items():
        np.testing.assert_array_equal(values, _counted(shuffled, split)[name], err_msg=name)


@pytest.mark.parametrize("kind", ["leave_one_out", "by_time"])
def test_a_planted_leak_is_caught(kind: str, market: EncodedLog) -> None:
    """One held-out event too many in the training part changes what is counted: the law above would fail."""
    split = _split(kind, market)
    held_out = np.flatnonzero(split.train_end < market.ptr[1:])
    train_end = split.train_end.copy()
    train_end[held_out] += 1
    shuffled = _shuffled_future(market, split, seed=0)
    leaking = replace(split, train_end=train_end)
    found, expected = _counted(shuffled, leaking), _counted(market, leaking)
    assert {name for name in found if not np.array_equal(found[name], expected[name])} == set(found)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["leave_one_out", "by_time"]))
def test_scores_of_a_target_do_not_depend_on_it_or_on_what_follows(market: EncodedLog, seed: int, kind: str) -> None:
    """Histories end before the target: another target and another future give the same scores."""
    split = _split(kind, market)
    first = np.unique(np.searchsorted(market.ptr, split.validation, side="right") - 1, return_index=True)[1]
    targets = split.validation[first]  # of each user the first held-out event: all before it trains
    shuffled = _shuffled_future(market, split, seed)
    model = Cooccurrence.fit(market, split)
    np.testing.assert_array_equal(model.score_events(market, targets), model.score_events(shuffled, targets))


@pytest.mark.parametrize("kind", ["leave_one_out", "by_time"])
def test_the_training_view_counts_like_the_split_log(kind: str, market: EncodedLog) -> None:
    split = _split(kind, market)
    view = training_view(market, split)
    everything = Split(train_end=view.ptr[1:], validation=split.validation[:0], test=split.test[:0])
    for name, table in count_crosses(market, split).items():
        np.testing.assert_array_equal(table.rate_values, count_crosses(view, everything)[name].rate_values)


def test_training_requests_come_before_the_split_and_see_training_events_only(market: EncodedLog) -> None:
    split = _split("by_time", market)
    view = training_view(market, split)
    assert view.impressions is not None
    assert market.impressions is not None
    assert view.impressions.time.max() < CONFIG.validation_start
    train, validation, test = split_requests(market.impressions, split)
    assert len(view.impressions.user) == len(train)
    assert len(train) + len(validation) + len(test) == len(market.impressions.user)
    assert CONFIG.validation_start <= market.impressions.time[validation].min() < market.impressions.time[test].min()
    assert (view.impressions.history_end <= view.ptr[view.impressions.user + 1]).all()
    earlier = view.impressions.history_end > view.ptr[view.impressions.user]
    assert (view.time[view.impressions.history_end[earlier] - 1] < view.impressions.time[earlier]).all()


def test_requests_cannot_be_left_one_out(market: EncodedLog) -> None:
    assert market.impressions is not None
    with pytest.raises(DataError, match="split by time"):
        split_requests(market.impressions, leave_one_out(market))


def test_selected_requests_keep_their_items(market: EncodedLog) -> None:
    pages = market.impressions
    assert pages is not None
    keep = np.arange(len(pages.user)) % 3 == 1
    chosen = select_requests(pages, keep)
    for new, old in enumerate(np.flatnonzero(keep)[:50]):
        np.testing.assert_array_equal(chosen.item[chosen.ptr[new] : chosen.ptr[new + 1]], pages.item[pages.ptr[old] : pages.ptr[old + 1]])


def test_items_without_training_events_lose_their_embedding_row(market: EncodedLog) -> None:
    split = _split("by_time", market)
    known = with_trained_ids(market, split)
    column = next(column for column in known.schema.item if column.name == "id")
    trained = np.unique(market.item[training_mask(market, split)])
    assert 0 < len(trained) < len(market.item_ids)
    assert column.vocabulary == tuple(str(item) for item in market.item_ids[trained])
    assert known.items["id"][trained].tolist() == list(range(1, len(trained) + 1))
    assert (np.delete(known.items["id"], trained) == 0).all()


def _shuffled_future(market: EncodedLog, split: Split, seed: int) -> EncodedLog:
    """The log with its held-out events in another order."""
    future = np.flatnonzero(~training_mask(market, split))
    order = np.arange(len(market.item))
    order[future] = np.random.default_rng(seed).permutation(future)
    return replace(
        market,
        item=market.item[order],
        action=market.action[order],
        value=market.value[order],
        context={name: values[order] for name, values in market.context.items()},
        segments={
            name: replace(segment, ids=segment.ids[order]) if name.startswith("context.") else segment
            for name, segment in market.segments.items()
        },
    )


def _counted(log: EncodedLog, split: Split) -> dict[str, np.ndarray]:
    """What is counted from training events: popularity, co-occurrence."""
    events = np.arange(0, len(log.item), 50)
    training = events[training_mask(log, split)[events]]
    return {
        "popularity": Popularity.fit(log, split).scores,
        "cooccurrence": Cooccurrence.fit(log, split).score_events(log, training),
    }


def _assert_equal(left: EncodedLog, right: EncodedLog) -> None:
    for name in ("ptr", "item", "action", "time", "value"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name, values in left.context.items():
        np.testing.assert_array_equal(values, right.context[name])
    for name, segment in left.segments.items():
        np.testing.assert_array_equal(segment.ids, right.segments[name].ids)
    assert (left.impressions is None) == (right.impressions is None)
    if left.impressions is not None and right.impressions is not None:
        np.testing.assert_array_equal(left.impressions.history_end, right.impressions.history_end)
        np.testing.assert_array_equal(left.impressions.item, right.impressions.item)


def test_counts_say_what_a_split_leaves_out() -> None:
    """Users of 0, 1 and 3 events; the item of the test target never trains."""
    log = encode(small())
    assert split_counts(log, leave_one_out(log)) == {
        "training events": 2,
        "validation targets": 1,
        "test targets": 1,
        "users without events": 1,
        "users with one event": 1,
        "users that only train": 1,
        "items that no training event has": 1,
        "validation targets of such items": 0,
        "test targets of such items": 1,
    }
