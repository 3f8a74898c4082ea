"""Cuts a log into training, validation and test without looking ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedImpressions, EncodedLog, Split
from shortlist.errors import DataError
from shortlist.schema import Op

Ints = npt.NDArray[np.int64]

_LEAST_EVENTS = 3  # one to train, one to validate, one to test


def leave_one_out(log: EncodedLog) -> Split:
    """Each user's last event is test, the one before validation. Users with fewer than three events only train."""
    ends = log.ptr[1:]
    held_out = np.diff(log.ptr) >= _LEAST_EVENTS
    split = Split(train_end=np.where(held_out, ends - 2, ends), validation=ends[held_out] - 2, test=ends[held_out] - 1)
    return _not_empty(log, split, f"no user has {_LEAST_EVENTS} events", "use more data, or split by time")


def by_time(log: EncodedLog, validation_start: int, test_start: int) -> Split:
    """Events before `validation_start` train, those from `test_start` are test, those between are validation.

    Times are in the log's unit. Raises DataError when they are ranks within each user's sequence (ml-1m): those are no common clock.
    """
    if times_are_ranks(log):
        raise DataError(f"{log.name} cannot be split by time", why="its times are ranks in each user's sequence", fix="use leave_one_out")
    if validation_start >= test_start:
        raise DataError(f"validation_start {validation_start} is not before test_start {test_start}", fix="swap or move them")
    user = event_users(log)
    train_end = log.ptr[:-1] + np.bincount(user[log.time < validation_start], minlength=len(log.user_ids))
    validation = np.flatnonzero((log.time >= validation_start) & (log.time < test_start))
    test = np.flatnonzero(log.time >= test_start)
    split = Split(train_end=train_end, validation=validation, test=test, times=(validation_start, test_start))
    span = f"events lie in [{log.time.min(initial=0)}, {log.time.max(initial=0)}]"
    return _not_empty(log, split, f"a part of the split at {validation_start} and {test_start} is empty: {span}", "move the times")


def times_are_ranks(log: EncodedLog) -> bool:
    """Whether times are places in each user's sequence (ml-1m) and so no common clock."""
    return np.array_equal(log.time, np.arange(len(log.item)) - np.repeat(log.ptr[:-1], np.diff(log.ptr)))


def newest_training_time(log: EncodedLog, split: Split) -> int:
    """The time that ages of training events are counted back from. Raises DataError when times are no common clock."""
    if times_are_ranks(log):
        raise DataError(
            f"events of {log.name} have no age",
            why="their times are ranks in each user's sequence",
            fix="switch half lives and windows off",
        )
    return int(log.time[training_mask(log, split)].max(initial=0))


def event_users(log: EncodedLog, events: Ints | None = None) -> Ints:
    """User row of every event [E], or of the given ones in their shape."""
    if events is None:
        return np.repeat(np.arange(len(log.user_ids)), np.diff(log.ptr))
    return np.searchsorted(log.ptr, events, side="right") - 1


def training_mask(log: EncodedLog, split: Split) -> npt.NDArray[np.bool_]:
    """Which events train, [E]."""
    mask: npt.NDArray[np.bool_] = np.arange(len(log.item)) < np.repeat(split.train_end, np.diff(log.ptr))
    return mask


def split_counts(log: EncodedLog, split: Split) -> dict[str, int]:
    """What a split does with users and targets, so that nothing goes missing unseen."""
    held_out = np.zeros(len(log.user_ids), dtype=np.bool_)
    held_out[event_users(log, np.concatenate((split.validation, split.test)))] = True
    trained = np.zeros(len(log.item_ids), dtype=np.bool_)
    trained[log.item[training_mask(log, split)]] = True
    lengths = np.diff(log.ptr)
    return {
        "training events": int((split.train_end - log.ptr[:-1]).sum()),
        "validation targets": len(split.validation),
        "test targets": len(split.test),
        "users without events": int((lengths == 0).sum()),
        "users with one event": int((lengths == 1).sum()),
        "users that only train": int((~held_out & (lengths > 0)).sum()),
        "items that no training event has": int((~trained).sum()),
        "validation targets of such items": int((~trained[log.item[split.validation]]).sum()),
        "test targets of such items": int((~trained[log.item[split.test]]).sum()),
    }


def training_view(log: EncodedLog, split: Split) -> EncodedLog:
    """The log as it was before the split: training events, and the requests before `split.times` (none when the split is not by time)."""
    mask = training_mask(log, split)
    kept = np.concatenate([[0], np.cumsum(mask)])
    requests, before = None, np.zeros(0, dtype=bool)
    if log.impressions is not None and split.times is not None:
        before = log.impressions.time < split.times[0]
        requests = select_requests(log.impressions, before)
        requests = replace(requests, history_end=kept[requests.history_end])
    segments = dict(log.segments)
    for name, segment in log.segments.items():
        if name.startswith("context."):
            asked = segment.requests[before] if segment.requests is not None and requests is not None else None
            segments[name] = replace(segment, ids=segment.ids[mask], requests=asked)
    return replace(
        log,
        ptr=kept[log.ptr],
        item=log.item[mask],
        action=log.action[mask],
        time=log.time[mask],
        value=log.value[mask],
        context={name: values[mask] for name, values in log.context.items()},
        impressions=requests,
        segments=segments,
    )


def with_trained_ids(log: EncodedLog, split: Split) -> EncodedLog:
    """The log with a shorter vocabulary of item ids: those of training events. Others get row 0, as items that are new to a model do."""
    known = np.bincount(log.item[training_mask(log, split)], minlength=len(log.item_ids)) > 0
    column = next(column for column in log.schema.item if column.op is Op.ITEM_ROW)
    vocabulary = tuple(str(item) for item in log.item_ids[known])
    item = tuple(replace(other, vocabulary=vocabulary) if other is column else other for other in log.schema.item)
    rows = np.where(known, np.cumsum(known), 0)
    return replace(log, schema=replace(log.schema, item=item), items={**log.items, column.name: rows})


def split_requests(impressions: EncodedImpressions, split: Split) -> tuple[Ints, Ints, Ints]:
    """Indices of the requests that train, validate and test. Raises DataError when the split is not by time."""
    if split.times is None:
        raise DataError("requests cannot be split by leave-one-out", why="a page has no single last item", fix="split by time")
    part = np.searchsorted(np.array(split.times), impressions.time, side="right")
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1), np.flatnonzero(part == 2)


def _not_empty(log: EncodedLog, split: Split, why: str, fix: str) -> Split:
    training = int((split.train_end - log.ptr[:-1]).sum())
    if training == 0 or len(split.validation) == 0 or len(split.test) == 0:
        what = f"{log.name}: {training} training, {len(split.validation)} validation and {len(split.test)} test events"
        raise DataError(what, why=why, fix=fix)
    return split


def select_requests(impressions: EncodedImpressions, keep: npt.NDArray[np.bool_]) -> EncodedImpressions:
    """The requests under a mask [R], for instance those of a time span."""
    counts = np.diff(impressions.ptr)
    rows = np.repeat(keep, counts)
    return EncodedImpressions(
        ptr=np.concatenate([[0], np.cumsum(counts[keep])]),
        user=impressions.user[keep],
        history_end=impressions.history_end[keep],
        time=impressions.time[keep],
        context={name: values[keep] for name, values in impressions.context.items()},
        item=impressions.item[rows],
        position=impressions.position[rows],
        labels=impressions.labels[rows],
    )
