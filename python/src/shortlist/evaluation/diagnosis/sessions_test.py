"""Visits and their placebo: nothing is lost, and only the beginnings differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.dataset import EncodedLog
from shortlist.data.splits import leave_one_out
from shortlist.evaluation.diagnosis.sessions import PAUSE, cut, shifted_starts, visit_starts
from shortlist.testing.logs import encoded_log

# For each user, whether a pause lies before each event after the first.
histories = st.lists(st.lists(st.booleans(), max_size=8), min_size=1, max_size=6)


def log_of(users: list[list[bool]]) -> EncodedLog:
    users = [[False, False, False], *users]  # so that the split has something to hold out
    time = [int(t) for pauses in users for t in np.cumsum([5, *(PAUSE + 1 if pause else PAUSE for pause in pauses)])]
    return replace(encoded_log([list(range(len(pauses) + 1)) for pauses in users], items=9), time=np.array(time, dtype=np.int64))


@given(histories)
@settings(max_examples=50, deadline=None)
def test_a_visit_begins_after_a_pause_and_with_each_user(users: list[list[bool]]) -> None:
    wanted = [False, False, False, *(pause for pauses in users for pause in [True, *pauses])]
    assert visit_starts(log_of(users)).tolist() == [True, *wanted]


@given(histories, st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_shifted_visits_are_as_many_but_for_one_broken_by_the_turn(users: list[list[bool]], seed: int) -> None:
    log = log_of(users)
    starts = visit_starts(log)
    more = np.add.reduceat(shifted_starts(log, starts, seed).astype(int), log.ptr[:-1]) - np.add.reduceat(starts.astype(int), log.ptr[:-1])
    assert set(more) <= {0, 1}
    assert shifted_starts(log, starts, seed)[log.ptr[:-1]].all()


@given(histories)
@settings(max_examples=50, deadline=None)
def test_cutting_keeps_every_event_and_what_trains(users: list[list[bool]]) -> None:
    log = log_of(users)
    split = leave_one_out(log)
    starts = visit_starts(log)
    visits, visits_split = cut(log, split, starts)
    assert len(visits.user_ids) == starts.sum()
    assert np.array_equal(visits.item, log.item)
    assert (np.diff(visits.ptr) > 0).all()

    def trained(of: EncodedLog, end: np.ndarray) -> list[bool]:
        return (np.arange(len(of.item)) < np.repeat(end, np.diff(of.ptr))).tolist()

    assert trained(visits, visits_split.train_end) == trained(log, split.train_end)
