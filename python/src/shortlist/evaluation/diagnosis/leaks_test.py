"""Each sign of a leak is seen where it is, and not where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shortlist.data.dataset import EncodedLog
from shortlist.data.splits import by_time, leave_one_out
from shortlist.evaluation.diagnosis.leaks import DOUBLED_EVENTS, DOUBLED_USERS, FUTURE, SAME_INSTANT, TOLD_BY, count_leaks
from shortlist.testing.logs import encoded_log

ITEMS = 40


def random_log(users: int = 200, length: int = 6) -> EncodedLog:
    rng = np.random.default_rng(0)
    log = encoded_log([rng.permutation(ITEMS)[:length].tolist() for _ in range(users)], items=ITEMS)
    return replace(log, time=np.sort(rng.integers(0, 10_000, (users, length)), axis=1).reshape(-1))


def means(log: EncodedLog, *, clock: bool = True, in_time: bool = True) -> dict[str, float]:
    split = by_time(log, 6000, 8000) if in_time else leave_one_out(log)
    shares = count_leaks(log, split, split.validation, clock=clock)
    assert all(len(values) == len(shares.users[name]) for name, values in shares.values.items())
    return {name: float(values.mean()) for name, values in shares.values.items()}


def test_clean_data_shows_nothing() -> None:
    found = means(random_log())
    assert set(found) == {DOUBLED_EVENTS, DOUBLED_USERS, SAME_INSTANT, f"{TOLD_BY}context.surface", f"{TOLD_BY}user.gender"}
    assert found[DOUBLED_EVENTS] == found[DOUBLED_USERS] == found[SAME_INSTANT] == 0
    assert max(found.values()) < 0.2


def test_ranks_are_no_clock() -> None:
    assert not {DOUBLED_EVENTS, SAME_INSTANT, FUTURE} & set(means(random_log(), clock=False, in_time=False))


def test_leave_one_out_over_a_clock_trains_on_the_future() -> None:
    assert FUTURE not in means(random_log())
    assert 0.05 < means(random_log(), in_time=False)[FUTURE] < 0.6


def test_doubled_events_and_what_stands_in_the_history_at_the_same_instant() -> None:
    log = random_log()
    item, time = log.item.reshape(-1, 6).copy(), log.time.reshape(-1, 6).copy()
    item[:, 5], time[:, 5] = item[:, 4], time[:, 4]  # the last event is the one before again
    found = means(replace(log, item=item.reshape(-1), time=time.reshape(-1)))
    assert found[DOUBLED_EVENTS] == 1 / 6
    assert found[SAME_INSTANT] > 0.1
    other_action = replace(log, item=item.reshape(-1), time=time.reshape(-1), action=np.arange(len(log.item)) % 2 + 1)
    assert means(other_action)[DOUBLED_EVENTS] == 0
    assert means(other_action)[SAME_INSTANT] == found[SAME_INSTANT]


def test_doubled_users() -> None:
    log = random_log()
    item = log.item.reshape(-1, 6).copy()
    item[:50] = item[50:100]
    assert means(replace(log, item=item.reshape(-1)))[DOUBLED_USERS] == 0.5


def test_columns_that_tell_the_target() -> None:
    log = random_log()
    told_now = means(replace(log, context={"surface": log.item + 7}))
    assert told_now[f"{TOLD_BY}context.surface"] == 1
    told_last = means(replace(log, users={"gender": log.item[log.ptr[1:] - 1]}))
    assert told_last[f"{TOLD_BY}user.gender"] == 1
    all_different = means(replace(log, users={"gender": np.arange(len(log.user_ids))}))
    assert f"{TOLD_BY}user.gender" not in all_different  # nothing can be said of values that do not recur
