"""Visits: a user's events without a long pause between them; and the placebo that shows whether their boundaries mean anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog, Split

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PAUSE = 30 * 60  # seconds; the convention of web analytics


def visit_starts(log: EncodedLog, pause: int = PAUSE) -> Mask:
    """Which events [E] begin a visit: each user's first one, and those after a pause of more than `pause`."""
    starts: Mask = np.diff(log.time, prepend=log.time[:1]) > pause
    starts[log.ptr[:-1][np.diff(log.ptr) > 0]] = True
    return starts


def shifted_starts(log: EncodedLog, starts: Mask, seed: int = 0) -> Mask:
    """Visits of the same sizes that begin elsewhere: the starts are turned around each user's events by a random amount.

    Apart from the visit that the turn breaks in two, each user has as many visits of the same lengths. So what the true ones gain over
    these is due to where they begin.
    """
    shifted = np.zeros_like(starts)
    count = np.diff(log.ptr)
    amount = np.random.default_rng(seed).integers(0, np.maximum(count, 1))
    user = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(log.item)) - log.ptr[user]
    moved = log.ptr[user] + (place + amount[user]) % np.maximum(count[user], 1)
    shifted[moved[starts]] = True
    shifted[log.ptr[:-1][count > 0]] = True
    return shifted


def cut(log: EncodedLog, split: Split, starts: Mask) -> tuple[EncodedLog, Split]:
    """The log with every visit as a user of its own, so that any model fitted on it sees a visit and nothing before."""
    begin = np.flatnonzero(starts)
    user = np.searchsorted(log.ptr, begin, side="right") - 1
    ptr = np.append(begin, len(log.item))
    visits = replace(
        log,
        user_ids=np.arange(len(begin)),
        users={name: values[user] for name, values in log.users.items()},
        ptr=ptr,
        impressions=None,
        segments={},
    )
    return visits, replace(split, train_end=np.clip(split.train_end[user], ptr[:-1], ptr[1:]))
