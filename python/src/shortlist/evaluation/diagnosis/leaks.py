"""Signs that the data tells what it should not: each is a share with an interval, and normal data has next to none of it.

What it cannot see: a number column that was computed over all time, such as an item's count of ratings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import Array, EncodedLog, Split
from shortlist.data.splits import training_mask
from shortlist.evaluation.diagnosis.statistics import Shares
from shortlist.evaluation.scorer import users_of
from shortlist.schema import Op

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DOUBLED_EVENTS = "events that repeat another in user, item, action and time"
DOUBLED_USERS = "users whose whole history is also another user's"
SAME_INSTANT = "targets whose item stands in the history at the same instant"
FUTURE = "training events later than the target they help to predict"
TOLD_BY = "targets told by the column "

_LEAST_EVENTS = 5  # of a user whose history is no coincidence
_PAIRS = 200_000
_FEWEST_ASKED = 50  # targets whose value was taught; and they must be so large a share of all
_KNOWN_SHARE = 0.05


def count_leaks(log: EncodedLog, split: Split, targets: Ints, *, clock: bool, seed: int = 0) -> Shares:
    """The shares of this module; `FUTURE` only where the split ignores times that are a `clock`."""
    random = np.random.default_rng(seed)
    values: dict[str, npt.NDArray[np.bool_]] = {}
    users: dict[str, Ints] = {}
    owner = users_of(log, np.arange(len(log.item)))
    long_enough = np.flatnonzero(np.diff(log.ptr) >= _LEAST_EVENTS)
    if len(long_enough):
        values[DOUBLED_USERS], users[DOUBLED_USERS] = _same_history(log, long_enough), long_enough
    if clock:
        values[DOUBLED_EVENTS], users[DOUBLED_EVENTS] = _repeated(np.stack([owner, log.item, log.action, log.time], axis=1)), owner
        values[SAME_INSTANT], users[SAME_INSTANT] = _repeated(np.stack([owner, log.item, log.time], axis=1))[targets], owner[targets]
        if split.times is None:
            training = np.flatnonzero(training_mask(log, split))
            some = random.choice(targets, _PAIRS)
            values[FUTURE], users[FUTURE] = log.time[random.choice(training, _PAIRS)] > log.time[some], owner[some]
    for role, columns in (("context", log.schema.context), ("user", log.schema.user)):
        for column in columns:
            if column.op is Op.TOKENS:  # free text: a title would tell, and a query may well be the title
                continue
            told, asked = _told(log, split, role, column.name, random)
            if len(asked):
                values[f"{TOLD_BY}{role}.{column.name}"], users[f"{TOLD_BY}{role}.{column.name}"] = told, owner[asked]
    return Shares({name: mask.astype(np.float64) for name, mask in values.items()}, users)


def _told(log: EncodedLog, split: Split, role: str, name: str, random: np.random.Generator) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Whether the item that goes most often with a column's value is the target's, and the targets asked; none where too few values recur.

    Context columns are taught by training events and asked about validation; user columns are taught by the last events of half of the
    users and asked about those of the others, because a column made from too new a log knows the last event best.
    """
    if role == "context":
        teach, ask = np.flatnonzero(training_mask(log, split)), split.validation
        taught, asked = _codes(log.context[name][teach], log.context[name][ask])
    else:
        users = random.permutation(np.flatnonzero(np.diff(log.ptr) > 1))
        half = len(users) // 2
        teach, ask = log.ptr[users[:half] + 1] - 1, log.ptr[users[half:] + 1] - 1
        taught, asked = _codes(log.users[name][users[:half]], log.users[name][users[half:]])
    told = _most_frequent(taught, log.item[teach], asked)
    known = told >= 0
    if known.sum() < max(_FEWEST_ASKED, _KNOWN_SHARE * len(ask)):
        return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64)
    return told[known] == log.item[ask[known]], ask[known]


def _most_frequent(value: Ints, item: Ints, asked: Ints) -> Ints:
    """The item that goes most often with each asked value, -1 for a value that was not taught."""
    pairs, counts = np.unique(np.stack([value, item], axis=1), axis=0, return_counts=True)
    order = np.lexsort((counts, pairs[:, 0]))
    best = np.full(int(max(value.max(initial=-1), asked.max(initial=-1))) + 1, -1, dtype=np.int64)
    best[pairs[order, 0]] = pairs[order, 1]  # the last one written is the most frequent
    return best[asked]


def _codes(first: Array, second: Array) -> tuple[Ints, Ints]:
    """Values [n] or [n,W] of both as integers that are equal where the values are."""
    both = np.concatenate([first, second])
    _, codes = np.unique(both.reshape(len(both), -1), axis=0, return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    return codes[: len(first)], codes[len(first) :]


def _repeated(rows: Ints) -> npt.NDArray[np.bool_]:
    """Which rows [n,k] equal an earlier one."""
    order = np.lexsort(rows.T[::-1])
    same = np.zeros(len(rows), dtype=np.bool_)
    same[order[1:]] = (rows[order[1:]] == rows[order[:-1]]).all(axis=1)  # lexsort is stable, so the first of equals stays unmarked
    return same


def _same_history(log: EncodedLog, users: Ints) -> npt.NDArray[np.bool_]:
    """Which of the users have the item sequence of another one."""
    keys = [log.item[log.ptr[user] : log.ptr[user + 1]].tobytes() for user in users]
    _, inverse, counts = np.unique(np.array(keys, dtype=object), return_inverse=True, return_counts=True)
    found: npt.NDArray[np.bool_] = counts[inverse] > 1
    return found
