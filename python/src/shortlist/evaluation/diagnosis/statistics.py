"""What can be counted without a model: one number per target or user, whose mean is a share with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import training_mask
from shortlist.evaluation.diagnosis.sessions import visit_starts
from shortlist.evaluation.scorer import users_of
from shortlist.evaluation.slices import HEAD_SHARE, training_counts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FEW_EVENTS = 5  # of a history that is short
COLD_EVENTS = 3  # an item with fewer training events is cold

SEEN_BEFORE = "targets that the user had met before"
COLD = "targets whose item is cold"
SHORT = "targets with a short history"
IN_VISIT = "targets in the middle of a visit"
HEAD = "training events on the most popular fifth of the items in them"
FIRST_RANK = "targets that the best variant ranks first"


@dataclass(frozen=True)
class Shares:
    """Values [n] of 0 and 1 by name, each with the user of every value."""

    values: dict[str, Floats]
    users: dict[str, Ints]


def first_meeting(log: EncodedLog, targets: Ints) -> Mask:
    """Which targets [T] are the first event of their user with their item: the only ones that a list without seen items can hit."""
    pairs = users_of(log, np.arange(len(log.item))) * len(log.item_ids) + log.item
    first = np.zeros(len(pairs), dtype=np.bool_)
    first[np.unique(pairs, return_index=True)[1]] = True
    found: Mask = first[targets]
    return found


def count_shares(log: EncodedLog, split: Split, targets: Ints, *, clock: bool) -> Shares:
    """The shares of this module; visits are counted only where times are a `clock`."""
    user = users_of(log, targets)
    values = {
        SEEN_BEFORE: ~first_meeting(log, targets),
        COLD: training_counts(log, split)[log.item[targets]] < COLD_EVENTS,
        SHORT: targets - log.ptr[user] < FEW_EVENTS,
    }
    if clock:
        values[IN_VISIT] = ~visit_starts(log)[targets]
    training = np.flatnonzero(training_mask(log, split))
    head = np.zeros(len(log.item_ids), dtype=np.bool_)
    counts = training_counts(log, split)
    head[np.argsort(-counts, kind="stable")[: max(1, round(HEAD_SHARE * np.count_nonzero(counts)))]] = True
    values[HEAD] = head[log.item[training]]
    users = dict.fromkeys(values, user) | {HEAD: users_of(log, training)}
    return Shares({name: mask.astype(np.float64) for name, mask in values.items()}, users)
