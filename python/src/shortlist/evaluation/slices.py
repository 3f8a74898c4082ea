"""Groups of targets whose quality an average hides: newcomers, short histories, items of the tail, and each kind of user."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import training_mask
from shortlist.evaluation.scorer import users_of
from shortlist.schema import Op

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHORT_HISTORY = 10
HEAD_SHARE = 0.2
USER_VALUES = 12  # columns of users with more values would make slices too small to tell anything


def training_counts(log: EncodedLog, split: Split) -> Ints:
    """Training events of each item [I]."""
    return np.bincount(log.item[training_mask(log, split)], minlength=len(log.item_ids)).astype(np.int64)


def target_slices(log: EncodedLog, split: Split, targets: Ints) -> dict[str, Mask]:
    """Masks [T] of the slices that have a target.

    new_user: the model was not trained on this user. short_history: fewer than 10 events before the target. new_item: the target's item
    has no training event. head_item, tail_item: it is among the 20% most popular items of the catalog, or not. <column>=<value>: users
    with this value of a vocabulary column of at most 12 values; <column>=unknown: with none of them.
    """
    user = users_of(log, targets)
    counts = training_counts(log, split)
    by_popularity = np.lexsort((np.arange(len(counts)), -counts))
    head = np.zeros(len(counts), dtype=np.bool_)
    head[by_popularity[: int(np.ceil(HEAD_SHARE * len(counts)))]] = True
    item = log.item[targets]
    slices = {
        "new_user": split.train_end[user] == log.ptr[user],
        "short_history": targets - log.ptr[user] < SHORT_HISTORY,
        "new_item": counts[item] == 0,
        "head_item": head[item],
        "tail_item": ~head[item],
    }
    for column in log.schema.user:
        if column.op is Op.VOCABULARY and len(column.vocabulary) <= USER_VALUES:
            encoded = log.users[column.name][user]
            slices |= {f"{column.name}={value}": encoded == place for place, value in enumerate(("unknown", *column.vocabulary))}
    return {name: mask for name, mask in slices.items() if mask.any()}
